"""Frames of RFC 6455, in and out, without a socket.

What is whose: wsproto reads what comes in (headers, masks, UTF-8, the order of fragments, close codes) and makes the
control frames; the bounds on a message are put on each frame's header by ``_Bounds``, before any of its payload is
kept; the frames of our own messages are made here, since a server's frame is a header of 2 to 10 bytes before bytes
that are ready. After a fault nothing more can be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

MAX_FRAGMENTS: Final = 64
"""Of one message. Of 4 KiB, such a message has fragments of 64 bytes: no client needs more."""

_FINAL_TEXT: Final = 0x80 | Opcode.TEXT
_REASONS: Final = {
    CloseReason.INVALID_FRAME_PAYLOAD_DATA: "Text must be UTF-8.",
    CloseReason.MESSAGE_TOO_BIG: "The message is too large.",
    CloseReason.POLICY_VIOLATION: "The message has too many fragments.",
    CloseReason.UNSUPPORTED_DATA: "Only text is understood here.",
}


def text_frame(payload: bytes) -> bytes:
    """One whole text message, unmasked, as a server sends it."""
    size = len(payload)
    if size < 126:
        return bytes((_FINAL_TEXT, size)) + payload
    if size < 1 << 16:
        return bytes((_FINAL_TEXT, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_FINAL_TEXT, 127)) + size.to_bytes(8, "big") + payload


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


class _Bounds(Extension):
    """Judges each data frame by its header. To wsproto it is an extension, which is where it asks about headers."""

    name = "bounds"

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        # Of the message so far, without the frame that is coming in.
        self._bytes = 0
        self._fragments = 0
        # Of that frame; None for a control frame, or between frames.
        self._coming_bytes: int | None = None

    @property
    def within_message(self) -> bool:
        """A message has begun and not ended."""
        return self._fragments > 0 or self._coming_bytes is not None

    def offer(self) -> bool:
        """Never asked of a server: this is no extension that a peer could hear of."""
        return False

    def enabled(self) -> bool:
        return True

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        # Asked again about the same header as long as a part of it is not here: it must change no sum.
        if opcode.iscontrol():
            return RsvBits(False, False, False)
        if any(rsv) or (opcode is Opcode.CONTINUATION) is not (self._fragments > 0):
            return CloseReason.PROTOCOL_ERROR
        if opcode is Opcode.BINARY:
            return CloseReason.UNSUPPORTED_DATA
        if self._bytes + payload_length > self._max_message_bytes:
            return CloseReason.MESSAGE_TOO_BIG
        if self._fragments == MAX_FRAGMENTS:
            return CloseReason.POLICY_VIOLATION
        self._coming_bytes = payload_length
        return RsvBits(False, False, False)

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> None:
        if self._coming_bytes is None:
            return
        self._bytes += self._coming_bytes
        self._fragments += 1
        self._coming_bytes = None
        if fin:
            self._bytes = self._fragments = 0


class Frames:
    """One connection's frames, the server's side of it."""

    def __init__(self, max_message_bytes: int) -> None:
        self._bounds = _Bounds(max_message_bytes)
        self._connection = Connection(ConnectionType.SERVER, [self._bounds])
        self._text = ""

    @property
    def within_message(self) -> bool:
        """A message has begun, and its last fragment has not all come."""
        return self._bounds.within_message

    def feed(self, data: bytes) -> Iterator[Incoming]:
        """What these bytes complete. Not to be called again once it gave ``Closed`` or ``Fault``."""
        self._connection.receive_data(data)
        for event in self._connection.events():
            found = self._incoming(event)
            if found is not None:
                yield found
            if isinstance(found, Closed | Fault):
                return

    def _incoming(self, event: Event) -> Incoming | None:
        match event:
            case TextMessage():
                return self._add(event)
            case Ping():
                return Pinged(bytes(event.payload))
            case Pong():
                return Ponged(bytes(event.payload))
            case CloseConnection() if self._connection.state is ConnectionState.OPEN:
                # Not the peer's: wsproto's word on what it could not read.
                code = CloseReason(event.code)
                return Fault(code, _REASONS.get(code, "This is not as RFC 6455 has it."))
            case CloseConnection():
                return Closed(event.code)
        return None

    def _add(self, event: TextMessage) -> Text | None:
        self._text += event.data
        if not event.message_finished:
            return None
        text, self._text = self._text, ""
        return Text(text)

    def ping(self, payload: bytes) -> bytes:
        return self._connection.send(Ping(payload=payload))

    def pong(self, payload: bytes) -> bytes:
        return self._connection.send(Pong(payload=payload))

    def close(self, code: int, reason: str) -> bytes:
        """A close frame, the last one: with 1005 it names no code."""
        return self._connection.send(
            CloseConnection(code=CloseReason.NO_STATUS_RCVD if code == 1005 else code, reason=reason)
        )
