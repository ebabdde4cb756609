"""The head of a request: bytes in, a ``Head`` or a refusal out. No socket, no state.

llhttp (httptools) reads it, strictly: lines end in CRLF, no header is folded, no length is said twice, no control
character passes. What it leaves open is closed here, so that nobody in front or behind could read the same bytes as
another request (RFC 9112, section 11.2). Bodies do not belong here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import httptools
import msgspec

from ticketd.front.refusals import FrontRefusal

END: Final = b"\r\n\r\n"
CHUNKED: Final = -1
"""The ``body_bytes`` of a body that tells its length as it comes."""

_ABSOLUTE_FORMS: Final = (b"http://", b"https://")
_UNKNOWN_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?= )")
_METHOD_PART: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]*(?:( )|\Z)")
_HOST: Final = re.compile(r"[0-9A-Za-z\-._~%!$&'()*+,;=:\[\]]*")
"""The characters of a host and a port (RFC 3986, section 3.2.2); it may be empty."""
_NO_HOST: Final = " "
"""What stands for a host that is not named, though it must be: no host."""
_STAND_IN: Final = b"POST"
_VERSIONS: Final = {"HTTP/1.1": "1.1", "HTTP/1.0": "1.0"}
_REQUEST_LINE_PARTS: Final = 3
_BLANKS: Final = " \t"
_MOST_LENGTH_DIGITS: Final = 18
_KNOWN_NAMES: Final = (
    *("accept", "accept-encoding", "accept-language", "authorization", "connection", "content-length"),
    *("content-type", "cookie", "expect", "host", "idempotency-key", "if-none-match", "origin", "referer"),
    *("sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "upgrade", "user-agent", "x-api-key"),
    *("x-device-id", "x-forwarded-for", "x-request-id", "x-session-id"),
)
_NAMES: Final = (
    {name: name for name in _KNOWN_NAMES}
    | {"-".join(part.capitalize() for part in name.split("-")): name for name in _KNOWN_NAMES}
    | {"X-API-Key": "x-api-key", "X-Device-ID": "x-device-id", "X-Request-ID": "x-request-id"}
)


class _NobodyListens:
    """What llhttp calls back with where nobody wants to know."""


_NOBODY: Final = _NobodyListens()


class Head(msgspec.Struct, frozen=True, gc=False):
    """A request line and its headers.

    ``target`` is in origin form, ASCII. ``fields`` have their names in lower case, several lines of one name joined by
    commas; ``line_texts`` are the header lines as they came, in Latin-1. ``body_bytes`` is the body's length, 0 for
    none, CHUNKED if it is told as it comes. ``keeps_alive``: the client expects to send another request.
    """

    method: str
    target: str
    version: str
    fields: Mapping[str, str]
    line_texts: Sequence[str]
    body_bytes: int
    keeps_alive: bool

    @property
    def lines(self) -> list[tuple[bytes, bytes]]:
        """The headers one by one, names and values as they came."""
        pairs = (text.partition(":") for text in self.line_texts)
        return [(name.encode("latin-1"), value.strip(_BLANKS).encode("latin-1")) for name, _, value in pairs]

    @property
    def waits_for_continue(self) -> bool:
        """Whether the client sends its body only once it is told to."""
        return self.version == "1.1" and self.fields.get("expect", "").lower() == "100-continue"

    @property
    def asks_for_websocket(self) -> bool:
        """Whether this is the opening of a WebSocket (RFC 6455, section 4.1)."""
        return (
            "upgrade" in self.fields
            and self.method == "GET"
            and self.version == "1.1"
            and "websocket" in _tokens(self.fields["upgrade"])
            and "upgrade" in _tokens(self.fields.get("connection", ""))
        )


def read_head(data: bytes) -> Head | FrontRefusal:
    """A whole head, the empty line that ends it included."""
    # Without callbacks: what llhttp has found to be in form is taken apart faster than it can tell it piece by piece.
    parser = httptools.HttpRequestParser(_NOBODY)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserInvalidMethodError:
        # llhttp knows the registered methods; any other is the application's to refuse.
        found = _UNKNOWN_METHOD.match(data)
        return FrontRefusal.NOT_HTTP if found is None else _with_unknown_method(data, found[0])
    except httptools.HttpParserError:
        return FrontRefusal.NOT_HTTP
    return _take_apart(data, parser.get_method().decode("ascii"))


class HeadPart:
    """The beginning of a head whose end has not come. What was fed is looked at once, however it comes in."""

    __slots__ = ("_is_in_method", "_parser")

    def __init__(self) -> None:
        # Without callbacks: what a head says is read once it is whole.
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(_NOBODY)
        self._is_in_method = True

    def feed(self, data: bytes) -> FrontRefusal | None:
        """What is wrong with it now that ``data`` follows; None if it may become a head."""
        if self._parser is not None:
            try:
                self._parser.feed_data(data)
            except (httptools.HttpParserUpgrade, httptools.HttpParserInvalidMethodError):
                # llhttp knows the beginnings of registered methods only, and these are all of tokens.
                self._parser = None
            except httptools.HttpParserError:
                return FrontRefusal.NOT_HTTP
        if self._parser is None and self._is_in_method:
            found = _METHOD_PART.match(data)
            if found is None:
                return FrontRefusal.NOT_HTTP
            self._is_in_method = not found[1]
        return None


def fault_of_part(data: bytes) -> FrontRefusal | None:
    """What is wrong with the beginning of a head, whose end has not come; None if it may become one."""
    return HeadPart().feed(data)


def _with_unknown_method(data: bytes, method: bytes) -> Head | FrontRefusal:
    found = read_head(_STAND_IN + data[len(method) :])
    if isinstance(found, FrontRefusal):
        return found
    return msgspec.structs.replace(found, method=method.decode("ascii"))


def _take_apart(data: bytes, method: str) -> Head | FrontRefusal:
    """A head that llhttp takes for one: lines that end in CRLF, each with a name, a colon and no control character."""
    request_line, *lines = data[: -len(END)].decode("latin-1").split("\r\n")
    parts = request_line.split(" ")
    version = _VERSIONS.get(parts[-1])
    if version is None or len(parts) != _REQUEST_LINE_PARTS or parts[0] != method:
        # Nothing stands before the request line, and no second space in it.
        is_in_form = len(parts) == _REQUEST_LINE_PARTS and parts[0] == method and parts[2].startswith("HTTP/")
        return FrontRefusal.HTTP_VERSION if is_in_form else FrontRefusal.NOT_HTTP
    target = parts[1]
    fields = _fields(lines)
    if fields is None or not _HOST.fullmatch(fields.get("host", _NO_HOST if version == "1.1" else "")):
        return FrontRefusal.NOT_HTTP
    body_bytes = 0
    if "content-length" in fields or "transfer-encoding" in fields:
        length = _body_bytes(fields, version)
        if isinstance(length, FrontRefusal):
            return length
        body_bytes = length
    if method == "CONNECT":
        return FrontRefusal.CONNECT
    if not target.startswith("/"):
        found = origin_form(target.encode("latin-1"))
        if found is None:
            return FrontRefusal.TARGET
        target = found.decode("latin-1")
    keeps_alive = version == "1.1"
    if "connection" in fields and "close" in _tokens(fields["connection"]):
        keeps_alive = False
    return Head(method, target, version, fields, lines, body_bytes, keeps_alive)


def _fields(lines: Iterable[str]) -> dict[str, str] | None:
    """The headers by their names; None if they name two hosts."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        key = _NAMES.get(name) or name.lower()
        # White space around a value is no part of it (RFC 9112, section 5.1).
        text = value.strip(_BLANKS)
        if key in fields:
            if key == "host":
                return None
            text = f"{fields[key]}, {text}"
        fields[key] = text
    return fields


def _body_bytes(fields: Mapping[str, str], version: str) -> int | FrontRefusal:
    coding = fields.get("transfer-encoding")
    length = fields.get("content-length")
    if coding is not None:
        # HTTP/1.0 knows no codings: a proxy that speaks it would have read another body.
        if length is not None or coding.lower() != "chunked" or version != "1.1":
            return FrontRefusal.TWO_LENGTHS if length is not None else FrontRefusal.NOT_HTTP
        return CHUNKED
    if length is None:
        return 0
    if len(length) > _MOST_LENGTH_DIGITS or not (length.isascii() and length.isdigit()):
        return FrontRefusal.NOT_HTTP
    return int(length)


def origin_form(target: bytes) -> bytes | None:
    """Path and query of a target in origin or absolute form (RFC 9112 section 3.2), None for any other."""
    if target.startswith(b"/"):
        return target
    for scheme in _ABSOLUTE_FORMS:
        if target[: len(scheme)].lower() == scheme:
            authority, slash, rest = target[len(scheme) :].partition(b"/")
            if authority and b"?" not in authority:
                return b"/" + rest if slash else b"/"
    return None


def _tokens(value: str) -> set[str]:
    return {token.strip() for token in value.lower().split(",")}
