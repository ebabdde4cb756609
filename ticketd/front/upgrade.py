"""The request that asks for a WebSocket, and the answer to it, as bytes: the handshake of RFC 6455, section 4.2.

What is true here: a head that passes is one that any reader of RFC 6455 would take, ASCII throughout; no extension is
ever agreed to, so no message is ever compressed. Who may have a WebSocket is judged by the application.
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import http
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote

from wsproto.utilities import generate_accept_token

from handlers.websocket import UpgradeAccepted, UpgradeRefused, UpgradeRequest
from ticketd.front.refusals import FrontRefusal

_VERSION: Final = "13"
_KEY_BYTES: Final = 16
_ONCE: Final = frozenset({"host", "sec-websocket-key", "sec-websocket-version"})


@dataclass(frozen=True, slots=True)
class UpgradeHead:
    """What came in: the target in origin form, the headers (names in lower case), and the bytes beyond the head."""

    target: bytes
    headers: Sequence[tuple[bytes, bytes]]
    rest: bytes = b""

    def followed_by(self, rest: bytes) -> UpgradeHead:
        """The same, with what came in behind it."""
        return replace(self, rest=rest)


def read_upgrade(head: UpgradeHead, client: str) -> UpgradeRequest | FrontRefusal:
    """The request as the application is given it, or why it is none."""
    try:
        pairs = [(name.decode("ascii"), value.decode("ascii")) for name, value in head.headers]
        target = head.target.decode("ascii")
    except UnicodeDecodeError:
        return FrontRefusal.WEBSOCKET_HANDSHAKE
    headers: dict[str, str] = {}
    for name, value in pairs:
        if name in headers and name in _ONCE:
            return FrontRefusal.WEBSOCKET_HANDSHAKE
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if "transfer-encoding" in headers or headers.get("content-length", "0").strip("0"):
        return FrontRefusal.WEBSOCKET_BODY
    if headers.get("sec-websocket-version") != _VERSION:
        return FrontRefusal.WEBSOCKET_VERSION
    if not _is_key(headers.get("sec-websocket-key", "")):
        return FrontRefusal.WEBSOCKET_HANDSHAKE
    path, _, query = target.partition("?")
    offered = (token.strip() for token in headers.get("sec-websocket-protocol", "").split(","))
    return UpgradeRequest(
        path=unquote(path),
        query=query,
        headers=headers,
        subprotocols=tuple(token for token in offered if token),
        client=client,
    )


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_BYTES
    except binascii.Error:
        return False


def accepted_bytes(request: UpgradeRequest, accepted: UpgradeAccepted) -> bytes:
    """The 101 that ends HTTP on this connection."""
    token = generate_accept_token(request.headers["sec-websocket-key"].encode("ascii"))
    headers = [
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-accept", token.decode("ascii")),
        *accepted.headers,
    ]
    if accepted.subprotocol is not None:
        headers.append(("sec-websocket-protocol", accepted.subprotocol))
    return _head(101, headers)


def refused_bytes(refused: UpgradeRefused) -> bytes:
    """The application's refusal as a whole answer, the last one of its connection."""
    headers = [
        *refused.headers,
        ("content-length", str(len(refused.body))),
        ("connection", "close"),
    ]
    return _head(refused.status, headers) + refused.body


def _head(status: int, headers: Sequence[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status} {_phrase(status)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines += [f"date: {email.utils.formatdate(usegmt=True)}", "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""
