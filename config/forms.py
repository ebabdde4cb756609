"""The written forms that a setting's text may have: addresses, origins, networks, paths.

Each function says whether a text has the form, and nothing else: what is reachable, exists or is permitted is found out
by whoever uses the setting. Nothing here touches the network or the file system.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
_BIND: Final = re.compile(r"(?P<host>\[[^\[\]]+\]|[^:\[\]]+):(?P<port>0|[1-9][0-9]{0,4})")
_MAILBOX: Final = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@(?P<domain>[^@]+)"
)
_SECRET: Final = re.compile(r"[!-~]*")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HIGHEST_PORT: Final = 65535
_URL_CHARACTERS: Final = 2048


def is_host(text: str) -> bool:
    """A host name, an IPv4 address, or an IPv6 address without brackets."""
    if not text.isprintable():
        return False
    if re.fullmatch(r"[0-9.]+", text) or ":" in text:
        try:
            ipaddress.ip_address(text)
        except ValueError:
            return False
        return True
    return _HOST_NAME.fullmatch(text) is not None


def is_bind(text: str) -> bool:
    """``HOST:PORT``, an IPv6 address in brackets, the port from 0 (the system chooses) to 65535."""
    match = _BIND.fullmatch(text)
    if match is None or int(match["port"]) > _HIGHEST_PORT:
        return False
    host = match["host"]
    if host.startswith("["):
        return ":" in host and is_host(host[1:-1])
    return is_host(host)


def is_bind_or_empty(text: str) -> bool:
    return text == "" or is_bind(text)


def is_host_or_empty(text: str) -> bool:
    return text == "" or is_host(text)


def is_public_url_or_empty(text: str) -> bool:
    """An ``http`` or ``https`` URL that paths can be written behind: no user, query, fragment or final slash."""
    return text == "" or is_web_url(text)


def is_web_url(text: str) -> bool:
    """As ``is_public_url_or_empty``, and not empty."""
    parts = _split_web_url(text)
    return parts is not None and not text.endswith("/") and "?" not in text and "#" not in text


def is_return_url_or_empty(text: str) -> bool:
    """An ``http`` or ``https`` URL that a gateway can add parameters to: no user or fragment, at most 2048 long."""
    return text == "" or (
        _split_web_url(text) is not None and "#" not in text and len(text) <= _URL_CHARACTERS
    )


def is_origin(text: str) -> bool:
    """An origin as browsers send it (RFC 6454): lower case, no path, no default port; or ``*`` for every origin."""
    if text == "*":
        return True
    parts = _split_web_url(text)
    return (
        parts is not None
        and text == text.lower()
        and text == f"{parts.scheme}://{parts.netloc}"
        and parts.port != _DEFAULT_PORTS[parts.scheme]
    )


def is_network(text: str) -> bool:
    """An address, or a network in CIDR notation whose host bits are zero."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def is_mailbox(text: str) -> bool:
    """A bare e-mail address (RFC 5322 ``dot-atom``), without a display name."""
    match = _MAILBOX.fullmatch(text)
    return match is not None and is_host(match["domain"])


def is_path(text: str) -> bool:
    """The name of a file or folder: not empty, no control characters."""
    return text != "" and is_line_or_empty(text)


def is_line_or_empty(text: str) -> bool:
    """Any text of one line: no control characters, no lone surrogates."""
    return text == "" or text.isprintable()


def is_secret_or_empty(text: str) -> bool:
    """Printable ASCII without spaces, as keys for an HTTP header are."""
    return _SECRET.fullmatch(text) is not None


def _split_web_url(text: str) -> SplitResult | None:
    """The parts of an ``http(s)`` URL with a good host and port and no user; None for anything else."""
    if not text.isascii() or not text.isprintable() or " " in text:
        return None
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or parts.hostname is None or "@" in parts.netloc:
        return None
    if port == 0 or parts.netloc.endswith(":") or not is_host(parts.hostname):
        return None
    return parts
