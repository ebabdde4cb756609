"""Frames of RFC 6455, in and out, without a socket: the server's side of one connection.

What is true here: a reader keeps nothing between messages but its own few fields, since of ten thousand connections
nearly all are silent; the bounds on a message are judged on each frame's header, before any of its payload is kept;
what is no frame, or no UTF-8, is a ``Fault``, after which nothing more can be read. Extensions are never agreed to,
so a reserved bit is always a fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_FRAGMENTS: Final = 64
"""Of one message. Of 4 KiB, such a message has fragments of 64 bytes: no client needs more."""

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES: Final = frozenset({_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG})
_CONTROL: Final = 0x8
_FINAL: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_MASK_BYTES: Final = 4
_MAX_CONTROL_BYTES: Final = 125

_PROTOCOL_ERROR: Final = 1002
_NOT_TEXT: Final = 1003
_NO_CODE: Final = 1005
_NOT_UTF8: Final = 1007
_POLICY: Final = 1008
_TOO_LARGE: Final = 1009
_REASONS: Final = {
    _PROTOCOL_ERROR: "This is not as RFC 6455 has it.",
    _NOT_TEXT: "Only text is understood here.",
    _NOT_UTF8: "Text must be UTF-8.",
    _POLICY: "The message has too many fragments.",
    _TOO_LARGE: "The message is too large.",
}


def is_close_code(code: int) -> bool:
    """Whether a close frame may carry the code: section 7.4 and IANA's registry (1012 to 1014), less those that only
    tell of a close that never came (1005, 1006, 1015)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def text_frame(payload: bytes) -> bytes:
    """One whole text message, unmasked, as a server sends it."""
    size = len(payload)
    if size <= _MAX_CONTROL_BYTES:
        return b"%c%c%b" % (_FINAL | _TEXT, size, payload)
    if size < 1 << 16:
        return b"%c\x7e%b%b" % (_FINAL | _TEXT, size.to_bytes(2, "big"), payload)
    return b"%c\x7f%b%b" % (_FINAL | _TEXT, size.to_bytes(8, "big"), payload)


@dataclass(frozen=True, slots=True)
class Text:
    """A whole message."""

    text: str


@dataclass(frozen=True, slots=True)
class Pinged:
    """The peer wants this payload back."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Ponged:
    """The peer is there; ``payload`` is that of the ping it answers."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer closes, with 1005 if it named no code; nothing follows."""

    code: int


@dataclass(frozen=True, slots=True)
class Fault:
    """What came is against the protocol or the bounds; the connection is to be closed so; nothing follows."""

    code: int
    reason: str


Incoming = Text | Pinged | Ponged | Closed | Fault


class _Malformed(Exception):
    """What came is against the protocol or the bounds; ``code`` is the connection's close code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Frames:
    """Reads one connection's frames."""

    __slots__ = ("_fragments", "_held", "_max_message_bytes", "_pieces")

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._held = b""
        """The beginning of a frame, less than all of it."""
        self._pieces = b""
        self._fragments = 0
        """Of the message so far, without the frame that is coming in."""

    @property
    def within_message(self) -> bool:
        """A message has begun, and its last fragment has not all come."""
        return self._fragments > 0 or (bool(self._held) and not self._held[0] & _CONTROL)

    def feed(self, data: bytes) -> Iterator[Incoming]:
        """What these bytes complete. Not to be called again once it gave ``Closed`` or ``Fault``.

        Whoever breaks off is given the rest by another call, with more bytes or none.
        """
        self._held += data
        try:
            while (found := self._header(self._held)) is not None and found[1] <= len(self._held):
                incoming = self._next(*found)
                if incoming is not None:
                    yield incoming
                if isinstance(incoming, Closed):
                    return
        except _Malformed as malformed:
            yield Fault(malformed.code, _REASONS[malformed.code])

    def _next(self, payload_at: int, end: int) -> Incoming | None:
        """Takes the next frame in, of which all is here; what it completes."""
        frame, self._held = self._held[:end], self._held[end:]
        payload = _unmasked(frame[payload_at:], frame[payload_at - _MASK_BYTES : payload_at])
        return self._take(frame[0] & 0x0F, payload, is_final=bool(frame[0] & _FINAL))

    def _header(self, data: bytes) -> tuple[int, int] | None:
        """Judges a frame's header: where its payload begins and ends; None if not all of the header is here."""
        if len(data) < 2:
            return None
        first, second = data[0], data[1]
        opcode, size, payload_at = first & 0x0F, second & 0x7F, 2 + _MASK_BYTES
        if first & _RESERVED or not second & _MASKED or opcode not in _OPCODES:
            raise _Malformed(_PROTOCOL_ERROR)
        if opcode & _CONTROL and (size > _MAX_CONTROL_BYTES or not first & _FINAL):
            raise _Malformed(_PROTOCOL_ERROR)
        if size > _MAX_CONTROL_BYTES:
            width = 2 if size == 126 else 8
            if len(data) < 2 + width:
                return None
            size = int.from_bytes(data[2 : 2 + width], "big")
            # The shortest form is the only one (section 5.2).
            if size <= (_MAX_CONTROL_BYTES if width == 2 else 0xFFFF) or size >> 63:
                raise _Malformed(_PROTOCOL_ERROR)
            payload_at += width
        if not opcode & _CONTROL:
            self._judge(opcode, size)
        return payload_at, payload_at + size

    def _judge(self, opcode: int, size: int) -> None:
        """Puts the bounds on a data frame. Asked again as long as a part of the frame is not here: changes nothing."""
        if (opcode == _CONTINUATION) is not (self._fragments > 0):
            raise _Malformed(_PROTOCOL_ERROR)
        if opcode == _BINARY:
            raise _Malformed(_NOT_TEXT)
        if len(self._pieces) + size > self._max_message_bytes:
            raise _Malformed(_TOO_LARGE)
        if self._fragments == MAX_FRAGMENTS:
            raise _Malformed(_POLICY)

    def _take(self, opcode: int, payload: bytes, *, is_final: bool) -> Incoming | None:
        if opcode == _PING:
            return Pinged(payload)
        if opcode == _PONG:
            return Ponged(payload)
        if opcode == _CLOSE:
            return Closed(_read_close(payload))
        if not is_final:
            self._pieces += payload
            self._fragments += 1
            return None
        text, self._pieces, self._fragments = self._pieces + payload, b"", 0
        return Text(_utf8(text))


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    """Both as one large integer each: a payload is a few KiB at most, and a loop in Python is slow."""
    size = len(payload)
    key = (mask * (size // _MASK_BYTES + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


def _read_close(payload: bytes) -> int:
    if not payload:
        return _NO_CODE
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not is_close_code(code):
        raise _Malformed(_PROTOCOL_ERROR)
    _utf8(payload[2:])
    return code


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _Malformed(_NOT_UTF8) from None


def ping_frame(payload: bytes) -> bytes:
    """A ping; ``payload`` is at most 125 bytes."""
    return bytes((_FINAL | _PING, len(payload))) + payload


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping of this payload."""
    return bytes((_FINAL | _PONG, len(payload))) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """The last frame; with 1005 it names no code. A reason that is too long is cut, between letters."""
    if code == _NO_CODE:
        return bytes((_FINAL | _CLOSE, 0))
    text = reason.encode()[: _MAX_CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return bytes((_FINAL | _CLOSE, 2 + len(text))) + code.to_bytes(2, "big") + text
