"""HTTP/1.1 on one connection: what is hot is answered right here, the rest goes to the ASGI app.

    intake ─ head ─ hot?  ─ yes ─ the direct app: a call and its reply, without a task or a framework between
                          └ no ── the ASGI app; the connection comes back after its answer

Between its requests a connection is parked, and its task sleeps. What comes then is begun where it is found
(``_Conversation._on_readable``), and sent at the end of that turn (``_Conversation._on_turn_over``); if that is all
there is to do, the connection stays parked, else its task goes on. What the task answers is put off in the same way.

What is true here: both ways judge and answer by the same endpoints, so the bytes are the same; a request that cannot be
read is refused in the API's form and ends the connection; a request for a WebSocket leaves, with what came in behind
it, for the lane of these. Reading belongs to ``ticketd.front.intake``, and sockets to ``ticketd.front.connections``.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Iterable
from typing import Final, Protocol
from urllib.parse import unquote

import msgspec
import trio
from hypercorn.typing import ASGIFramework

from handlers.call import Answerer, BodyLost, ListenerKind, RawRequest, Reply
from ticketd.errors import ErrorCode, Refusal
from ticketd.front.answers import UnsafeHeader, reply_head
from ticketd.front.asgi import AppExchange
from ticketd.front.connections import Connection
from ticketd.front.faults import PeerGone, log_fault
from ticketd.front.heads import Head, read_head
from ticketd.front.idle import IdleWatch
from ticketd.front.intake import Intake
from ticketd.front.limits import FrontLimits
from ticketd.front.parking import Finish, Parking
from ticketd.front.refusals import FrontRefusal, refusal_bytes
from ticketd.front.upgrade import UpgradeHead
from ticketd.front.websocket_lane import WebSocketLane

_ANSWERS_A_TURN: Final = 16
"""How many requests of one read are answered before other connections have their turn."""
_LARGE_BODY_BYTES: Final = 16_384
"""A body from this size on is sent by itself: joining it to its head would cost more than another call."""


class DirectApp(Protocol):
    """Who answers hot requests."""

    listener: ListenerKind

    def find(self, method: str, path: str) -> Answerer | None:
        """What answers a request of this kind; None if it is the ASGI app's. ``path`` is decoded."""


class FastLane:
    """Serves connections; one instance is the lane of any number of them. ``run`` has to run beside them."""

    def __init__(
        self,
        app: ASGIFramework,
        limits: FrontLimits,
        direct: DirectApp | None = None,
        websocket_lane: WebSocketLane | None = None,
    ) -> None:
        self.app = app
        self.direct = direct
        self.takes_upgrades = websocket_lane is not None
        self.idle_seconds = limits.idle_timeout_seconds
        self.watch = IdleWatch(limits.idle_timeout_seconds)
        self.parking = Parking()
        self._websocket_lane = websocket_lane

    async def run(self) -> None:
        """Ends connections that are silent for too long, and sees to those that wait, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.watch.run)
            nursery.start_soon(self.parking.run)

    async def __call__(self, connection: Connection) -> None:
        """Serves ``connection`` until it ends, a WebSocket that it becomes included."""
        upgrade = await _Conversation(connection, self).run()
        if upgrade is not None and self._websocket_lane is not None:
            websocket = self._websocket_lane(connection, upgrade)
            # It lives long, and in thousands: nothing of the request is kept alive by this frame.
            del upgrade
            await websocket


class _Answer(msgspec.Struct, frozen=True, gc=False):
    """An answer as bytes, to be sent one after the other. ``closes``: no other request may follow it."""

    first: bytes
    rest: bytes
    closes: bool


_Given = _Answer | bool
"""An answer; or, where one was sent, whether another request may follow it."""
_Giving = _Given | Awaitable[_Given]
"""The same, or what will give it."""
_Begun = FrontRefusal | Head | _Giving
"""How the connection is to be refused, the opening of a WebSocket, or what is given for a request."""


class _Conversation:
    """One connection: its requests one after the other."""

    __slots__ = (
        "_begun", "_connection", "_in_flight", "_intake", "_is_over",
        "_lane", "_scope", "_silence", "_unsent", "_wants_no_body",
    )  # fmt: skip

    def __init__(self, connection: Connection, lane: FastLane) -> None:
        self._connection = connection
        self._lane = lane
        self._intake = Intake(connection)
        self._scope = trio.CancelScope()
        self._in_flight = False
        self._is_over = False
        self._wants_no_body = False
        self._begun: _Begun | None = None
        """What was begun while the connection was parked, for its task to go on with."""
        self._unsent: _Answer | None = None
        """What was put off to the end of the turn."""
        self._silence = lane.watch.watch(connection.limits.header_timeout_seconds, self._on_silence)

    async def run(self) -> UpgradeHead | None:
        """Serves requests to the last one, or to one that asks for a WebSocket, which is returned."""
        connection = self._connection
        connection.on_drain = self._on_drain
        try:
            if connection.draining:
                return None
            with self._scope:
                return await self._serve()
            # Ended while nothing was in flight: by its silence, or by the daemon's end.
            await connection.close(linger=not connection.is_settled)
        except PeerGone:
            pass
        finally:
            connection.on_drain = None
            self._lane.watch.forget(self._silence)
        return None

    def _on_silence(self) -> None:
        if self._connection.has_come:
            # It was not silent: it was not looked at in time.
            self._silence = self._lane.watch.watch(self._lane.idle_seconds, self._on_silence)
        else:
            self._end()

    def _on_drain(self) -> None:
        if not self._in_flight and not self._intake.held and not self._connection.has_come:
            self._end()

    def _end(self) -> None:
        """Nothing is in flight, and nothing more is waited for."""
        self._is_over = True
        self._scope.cancel()

    async def _serve(self) -> UpgradeHead | None:
        intake, connection = self._intake, self._connection
        answered = 0
        while (begun := await self._next()) is not None:
            if isinstance(begun, Head) and self._lane.takes_upgrades:
                lines = [(name.lower(), value) for name, value in begun.lines]
                return UpgradeHead(begun.target.encode("ascii"), lines, intake.held)
            if isinstance(begun, FrontRefusal | Head):
                refusal = FrontRefusal.NO_WEBSOCKET if isinstance(begun, Head) else begun
                await connection.send(refusal_bytes(refusal, with_body=not self._wants_no_body))
                break
            may_follow = await self._give(begun)
            # Nothing of a request is kept while the next one is waited for.
            del begun
            if not may_follow:
                break
            self._in_flight = self._unsent is not None
            if connection.draining and not intake.held and not self._in_flight:
                break
            answered += 1
            if intake.held and answered % _ANSWERS_A_TURN == 0:
                await trio.sleep(0)
        await connection.close(linger=not self._is_over)
        return None

    async def _give(self, giving: _Giving) -> bool:
        """Sends an answer, or puts it off to the end of the turn where nothing is to be done before the next request
        comes; whether another request may follow."""
        given = giving if isinstance(giving, (_Answer, bool)) else await giving
        if not isinstance(given, _Answer):
            return given
        if given.closes or self._intake.held or self._intake.is_over:
            sent = self._send(given)
            return sent if isinstance(sent, bool) else await sent
        self._unsent = given
        return True

    async def _next(self) -> _Begun | None:
        """What is begun of the next request that is more than can be done at once; None if no other comes."""
        intake = self._intake
        if not intake.held and not intake.is_over:
            finish = None if self._unsent is None else self._on_turn_over
            # While an answer is sent, however long that takes, nothing else is awaited.
            if finish is None and intake.has_begun:
                self._silence.until = trio.current_time() + self._lane.idle_seconds
            await self._lane.parking.wait(self._connection.socket, self._on_readable, finish)
            if self._begun is not None:
                begun, self._begun = self._begun, None
                return begun
        data = await intake.next_head()
        if data is None:
            return None
        self._in_flight = True
        return self._open(data) if isinstance(data, bytes) else data

    def _on_readable(self) -> bool | Finish:
        """Something has come for a connection that is parked; whether it stays there. Raises PeerGone."""
        data = self._connection.receive_nowait()
        if data is None:
            return True
        # Whatever it is, it is no silence any more, however late the task gets to it.
        self._silence.until = math.inf
        whole = self._intake.take_in(data)
        if whole is None:
            return False
        self._in_flight = True
        begun = self._open(whole)
        if isinstance(begun, _Answer):
            self._unsent = begun
            return self._on_turn_over
        self._begun = begun
        return False

    def _on_turn_over(self) -> bool:
        """Sends what was put off; whether the connection stays parked. Raises PeerGone."""
        answer, self._unsent = self._unsent, None
        if answer is None:
            raise AssertionError("nothing was put off")
        sent = self._send(answer)
        if sent is not True or self._connection.draining:
            self._begun = sent
            return False
        self._in_flight = False
        self._silence.until = trio.current_time() + self._lane.idle_seconds
        return True

    def _open(self, data: bytes) -> _Begun:
        """Begins what a head asks for."""
        head = read_head(data)
        if isinstance(head, FrontRefusal):
            self._wants_no_body = data.startswith(b"HEAD ")
            return head
        return head if head.asks_for_websocket else self._begin(head)

    def _begin(self, head: Head) -> _Answer | Awaitable[_Given]:
        """Answers a request, or begins to."""
        if head.body_bytes:
            self._intake.begin_body(head)
        path, _, query = head.target.partition("?")
        if "%" in path:
            path = unquote(path)
        direct = self._lane.direct
        if direct is None or (answerer := direct.find(head.method, path)) is None:
            return self._answer_by_app(head)
        client = self._connection.client
        request = RawRequest(
            method=head.method,
            path=path,
            query=query,
            headers=head.fields,
            client=client[0] if client is not None else "",
            listener=direct.listener,
            read_body=self._read_body,
        )
        try:
            reply = answerer(request)
        except Exception as fault:
            return self._answer_for(fault, head)
        return self._form(reply, head) if isinstance(reply, Reply) else self._answer_later(reply, head)

    async def _answer_later(self, answering: Awaitable[Reply], head: Head) -> _Given:
        try:
            reply = await answering
        except Exception as fault:
            return await self._answer_for(fault, head)
        formed = self._form(reply, head)
        return formed if isinstance(formed, _Answer) else await formed

    async def _answer_by_app(self, head: Head) -> bool:
        exchange = AppExchange(self._connection, self._intake, head)
        await exchange.run(self._lane.app)
        if exchange.keeps_alive:
            self._intake.skip_body()
        return exchange.keeps_alive

    async def _answer_for(self, fault: Exception, head: Head) -> bool:
        """Says what has gone wrong, to whoever is still there. Nothing may follow."""
        refusal = self._intake.loss
        if not isinstance(fault, BodyLost):
            log_fault("front.app_failed", fault, listener=self._connection.listener.value)
            refusal = FrontRefusal.APP_FAILED
        if refusal is not None:
            await self._connection.send(refusal_bytes(refusal, with_body=head.method != "HEAD"))
        return False

    def _form(self, reply: Reply, head: Head) -> _Answer | Awaitable[bool]:
        """A reply as it goes on the wire."""
        closes = not head.keeps_alive or self._connection.draining or not self._intake.body_is_here
        if not closes:
            self._intake.skip_body()
        try:
            first = reply_head(reply, closes=closes)
        except UnsafeHeader as fault:
            return self._answer_for(fault, head)
        body = reply.body if head.method != "HEAD" else b""
        if len(body) < _LARGE_BODY_BYTES:
            return _Answer(first + body, b"", closes)
        return _Answer(first, body, closes)

    def _send(self, answer: _Answer) -> bool | Awaitable[bool]:
        """Sends an answer, as far as there is room for it: whether another request may follow it, or what sends the
        rest, and then tells."""
        connection, first, rest = self._connection, answer.first, answer.rest
        if (sent := connection.send_nowait(first)) < len(first):
            return self._send_rest((memoryview(first)[sent:], rest), closes=answer.closes)
        if rest and (sent := connection.send_nowait(rest)) < len(rest):
            return self._send_rest((memoryview(rest)[sent:],), closes=answer.closes)
        return not answer.closes

    async def _send_rest(self, pieces: Iterable[bytes | memoryview], *, closes: bool) -> bool:
        for piece in pieces:
            if piece:
                await self._connection.send(piece)
        return not closes

    async def _read_body(self, limit: int) -> bytes:
        intake = self._intake
        whole = b""
        if intake.announced_bytes <= limit:
            while len(whole) <= limit and (piece := await intake.next_piece()):
                whole += piece
            if len(whole) <= limit:
                return whole
        raise Refusal(ErrorCode.BODY_TOO_LARGE, details={"max_bytes": limit})
