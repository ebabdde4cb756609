"""What comes in on one HTTP/1.1 connection: heads, and bodies piece by piece, each within its time.

Nothing is read beyond one read behind the request in flight, so a client that sends on is held back by its own socket.
What a request means, and how it is answered, does not belong here.
"""

from __future__ import annotations

import contextlib
from typing import Final, NoReturn

import trio

from handlers.call import BodyLost
from ticketd.front.chunks import ChunkedBody, ChunkFault
from ticketd.front.connections import Connection
from ticketd.front.faults import PeerGone
from ticketd.front.heads import CHUNKED, END, Head, HeadPart
from ticketd.front.refusals import FrontRefusal

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Intake:
    """Reads one connection. ``held``: what came in and belongs to no request yet. ``is_over``: the peer sends no more.
    ``loss``: how the connection is to be refused after a body was lost, None where the peer is gone."""

    __slots__ = (
        "_body_until", "_chunks", "_connection", "_head_until", "_is_gone",
        "_left", "_owes_continue", "_unread",
        "held", "is_over", "loss",
    )  # fmt: skip

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._head_until: float | None = trio.current_time() + connection.limits.header_timeout_seconds
        """When the head that is awaited has to be there; None before its first byte."""
        self._body_until = 0.0
        self._left = 0
        self._chunks: ChunkedBody | None = None
        self._unread = b""
        """What was taken of a chunked body before anybody asked for it."""
        self._owes_continue = False
        self.is_over = False
        self._is_gone = False
        self.held = b""
        self.loss: FrontRefusal | None = None

    @property
    def has_begun(self) -> bool:
        """Whether a head was read, so that it is the next one that is waited for."""
        return self._head_until is None

    def take_in(self, data: bytes) -> bytes | None:
        """Takes in what came while nothing was held, which is nothing at the end of the input: the head, if it is one
        and no more than that; else None, and it is held."""
        if not data:
            self.is_over = True
        elif (
            data.endswith(END)
            and len(data) == data.find(END) + len(END) <= self._connection.limits.max_header_bytes
        ):
            self._head_until = None
            return data
        self.held = data
        return None

    async def next_head(self) -> bytes | FrontRefusal | None:
        """The next head, of which a part is held, how the connection is to be refused instead, or None if no other
        request comes. Raises PeerGone."""
        limits = self._connection.limits
        part, looked_at = None, 0
        while True:
            end = self.held.find(END)
            if 0 <= end <= limits.max_header_bytes - len(END):
                head, self.held = self.held[: end + len(END)], self.held[end + len(END) :]
                self._head_until = None
                return head
            if len(self.held) >= limits.max_header_bytes:
                return FrontRefusal.HEADERS_TOO_LARGE
            if not self.held:
                return None
            part = part or HeadPart()
            fault = part.feed(self.held[looked_at:])
            looked_at = len(self.held)
            if fault is not None:
                return fault
            data = await self._receive_head_part(limits.header_timeout_seconds)
            if data is None:
                return FrontRefusal.TOO_SLOW
            if not data:
                self.is_over = True
                return FrontRefusal.NOT_HTTP
            self.held += data

    async def _receive_head_part(self, seconds: float) -> bytes | None:
        """More of a head, nothing at the end of the input, None when it did not come in time."""
        if self.is_over:
            return b""
        if self._head_until is None:
            self._head_until = trio.current_time() + seconds
        with trio.CancelScope(deadline=self._head_until):
            return await self._connection.receive()
        return None

    def begin_body(self, head: Head) -> None:
        """What follows is the body of this request, which has one."""
        self._left = max(head.body_bytes, 0)
        self._chunks = ChunkedBody() if head.body_bytes == CHUNKED else None
        self._owes_continue = head.waits_for_continue
        self._body_until = trio.current_time() + self._connection.limits.body_timeout_seconds

    def forgo_continue(self) -> None:
        """The answer begins: from here on, telling the client to send its body would be within the answer."""
        self._owes_continue = False

    @property
    def body_is_here(self) -> bool:
        """Whether nothing of the request in flight has still to come in."""
        if self._chunks is not None:
            # A fault leaves the body unfinished: it is told to whoever reads on.
            with contextlib.suppress(ChunkFault):
                self._unread += self._decode(self._chunks)
        return self._chunks is None and self._left <= len(self.held)

    @property
    def announced_bytes(self) -> int:
        """How long the rest of the body is said to be; 0 where that is told as it comes."""
        return self._left

    @property
    def body_is_read(self) -> bool:
        """Whether all of the body was taken by ``next_piece``."""
        return self._chunks is None and self._left == 0 and not self._unread

    async def next_piece(self) -> bytes:
        """The next piece of the body, nothing once it was read to its end. Raises BodyLost."""
        while not self.body_is_read:
            try:
                piece = self._take()
            except ChunkFault:
                self._lose(FrontRefusal.NOT_HTTP)
            if piece:
                return piece
            if not self.body_is_read:
                await self._receive_body_part()
        return b""

    def skip_body(self) -> None:
        """Throws away what is here of a body that nobody read. Only where ``body_is_here``."""
        self.held = self.held[self._left :]
        self._left, self._unread = 0, b""

    def _take(self) -> bytes:
        if self._unread:
            piece, self._unread = self._unread, b""
            return piece
        if self._chunks is None:
            piece, self.held = self.held[: self._left], self.held[self._left :]
            self._left -= len(piece)
            return piece
        return self._decode(self._chunks)

    def _decode(self, chunks: ChunkedBody) -> bytes:
        piece, self.held = chunks.feed(self.held), b""
        if chunks.ended:
            self.held, self._chunks = chunks.rest, None
        return piece

    async def _receive_body_part(self) -> None:
        data = None
        if self.is_over:
            self._lose(FrontRefusal.NOT_HTTP)
        try:
            with trio.CancelScope(deadline=self._body_until):
                if self._owes_continue:
                    self._owes_continue = False
                    await self._say_continue()
                data = await self._connection.receive()
        except PeerGone:
            self._lose(None)
        if data is None:
            self._lose(FrontRefusal.TOO_SLOW)
        if not data:
            self.is_over = True
            self._lose(FrontRefusal.NOT_HTTP)
        self._owes_continue = False
        self.held += data

    async def _say_continue(self) -> None:
        # At once: whoever answers meanwhile must not find the connection taken.
        sent = self._connection.send_nowait(_CONTINUE)
        if sent < len(_CONTINUE):
            await self._connection.send(_CONTINUE[sent:])

    def _lose(self, loss: FrontRefusal | None) -> NoReturn:
        self.loss = loss
        raise BodyLost

    async def wait_until_gone(self) -> None:
        """Waits until the peer is gone for good: one that only sends no more may still be waiting for its answer.

        What comes in meanwhile is held, up to the size of a head; then the peer is no longer listened to.
        """
        while (
            not (self._is_gone or self.is_over) and len(self.held) < self._connection.limits.max_header_bytes
        ):
            try:
                data = await self._connection.receive()
            except PeerGone:
                self._is_gone = True
                return
            self.is_over = not data
            self.held += data
        if not self._is_gone:
            await trio.sleep_forever()
