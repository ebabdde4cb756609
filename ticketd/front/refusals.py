"""Answers that the front gives by itself, before or instead of the app, as the bytes that go on the wire.

Each says ``Connection: close`` (426 names the upgrade too) and carries the API's error form. Nothing of the
request is repeated in them, so that nothing secret can be. What the app answers does not belong here.
"""

from __future__ import annotations

import datetime
import email.utils
import enum
import http
import uuid

import msgspec

from ticketd.errors import DEFAULT_RETRY_AFTER_SECONDS, ErrorCode


class FrontRefusal(enum.Enum):
    """Every refusal: its HTTP status, its code, its sentence.

    408 and 431 are the statuses that HTTP itself has for these cases (RFC 9110 section 15.5.9, RFC 6585
    section 5).
    """

    status: int
    code: ErrorCode
    message: str

    WEBSOCKET_HANDSHAKE = (
        400,
        ErrorCode.INVALID_REQUEST,
        "The request for a WebSocket is not as RFC 6455 has it.",
    )
    WEBSOCKET_BODY = 400, ErrorCode.INVALID_REQUEST, "A request for a WebSocket has no body."
    WEBSOCKET_VERSION = 426, ErrorCode.INVALID_REQUEST, "Only version 13 of WebSocket is spoken here."
    NOT_HTTP = 400, ErrorCode.INVALID_REQUEST, "This is not a request in HTTP/1.1."
    HTTP_VERSION = 400, ErrorCode.INVALID_REQUEST, "Only HTTP/1.1 and HTTP/1.0 are served here."
    TWO_LENGTHS = 400, ErrorCode.INVALID_REQUEST, "The request says in two ways how long its body is."
    TARGET = 400, ErrorCode.INVALID_REQUEST, "The request's target is not a path."
    CONNECT = 400, ErrorCode.INVALID_REQUEST, "This is not a proxy."
    NO_WEBSOCKET = 404, ErrorCode.NOT_FOUND, "No WebSocket is served at this address."
    TOO_SLOW = 408, ErrorCode.INVALID_REQUEST, "The request did not arrive in time."
    HEADERS_TOO_LARGE = 431, ErrorCode.INVALID_REQUEST, "The request line and headers are too large."
    APP_FAILED = 500, ErrorCode.INTERNAL_ERROR, ErrorCode.INTERNAL_ERROR.message
    TOO_MANY_CONNECTIONS = 503, ErrorCode.OVERLOADED, ErrorCode.OVERLOADED.message

    def __new__(cls, status: int, code: ErrorCode, message: str) -> FrontRefusal:
        member = object.__new__(cls)
        member._value_ = (status, message)
        member.status = status
        member.code = code
        member.message = message
        return member


def refusal_parts(refusal: FrontRefusal) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers (without ``Date``) and the JSON body of a refusal, under a fresh request id."""
    request_id = str(uuid.uuid4())
    timestamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    error = {
        "code": refusal.code.name,
        "message": refusal.message,
        "details": {},
        "request_id": request_id,
        "timestamp": timestamp,
    }
    body = msgspec.json.encode({"error": error})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode("ascii")),
        (b"x-request-id", request_id.encode("ascii")),
        (b"connection", b"close"),
    ]
    if refusal is FrontRefusal.WEBSOCKET_VERSION:
        headers[-1] = (b"connection", b"upgrade, close")
        headers += [(b"upgrade", b"websocket"), (b"sec-websocket-version", b"13")]
    if refusal.status == 503:
        headers.append((b"retry-after", str(DEFAULT_RETRY_AFTER_SECONDS).encode("ascii")))
    return headers, body


def refusal_bytes(refusal: FrontRefusal, *, with_body: bool = True) -> bytes:
    """A refusal as a whole HTTP/1.1 answer; ``with_body=False`` is for the answer to a HEAD."""
    headers, body = refusal_parts(refusal)
    headers.append((b"date", email.utils.formatdate(usegmt=True).encode("ascii")))
    status_line = f"HTTP/1.1 {refusal.status} {http.HTTPStatus(refusal.status).phrase}\r\n".encode("ascii")
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return status_line + lines + b"\r\n" + (body if with_body else b"")
