"""HTTP/1.1 on one connection, in one task: what is hot is answered right here, the rest goes to the ASGI app.

    intake ─ head ─ hot?  ─ yes ─ the direct app: a call and its reply, without a task or a framework between
                          └ no ── the ASGI app; the connection comes back after its answer

What is true here: both ways judge and answer by the same endpoints, so the bytes are the same; a request that cannot be
read is refused in the API's form and ends the connection; a request for a WebSocket leaves, with what came in behind
it, for the lane of these. Reading belongs to ``ticketd.front.intake``, and sockets to ``ticketd.front.connections``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol
from urllib.parse import unquote

import trio
from hypercorn.typing import ASGIFramework

from handlers.call import BodyLost, ListenerKind, RawRequest, Reply
from ticketd.errors import ErrorCode, Refusal
from ticketd.front.answers import reply_head
from ticketd.front.asgi import AppExchange
from ticketd.front.connections import Connection
from ticketd.front.faults import PeerGone, log_fault
from ticketd.front.heads import Head, read_head
from ticketd.front.idle import IdleWatch
from ticketd.front.intake import Intake
from ticketd.front.limits import FrontLimits
from ticketd.front.refusals import FrontRefusal, refusal_bytes
from ticketd.front.upgrade import UpgradeHead
from ticketd.front.websocket_lane import WebSocketLane

_ANSWERS_A_TURN: Final = 16
"""How many requests of one read are answered before other connections have their turn."""
_LARGE_BODY_BYTES: Final = 16_384
"""A body from this size on is sent by itself: joining it to its head would cost more than another call."""


Answerer = Callable[[RawRequest], Awaitable[Reply]]
"""Gives the finished reply to a request. Raises BodyLost if ``read_body`` did."""


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
        self._websocket_lane = websocket_lane

    async def run(self) -> None:
        """Ends connections that are silent for too long, for ever."""
        await self.watch.run()

    async def __call__(self, connection: Connection) -> None:
        """Serves ``connection`` until it ends, a WebSocket that it becomes included."""
        upgrade = await _Conversation(connection, self).run()
        if upgrade is not None and self._websocket_lane is not None:
            websocket = self._websocket_lane(connection, upgrade)
            # It lives long, and in thousands: nothing of the request is kept alive by this frame.
            del upgrade
            await websocket


class _Conversation:
    """One connection: its requests one after the other."""

    __slots__ = ("_connection", "_in_flight", "_intake", "_is_over", "_lane", "_scope", "_silence")

    def __init__(self, connection: Connection, lane: FastLane) -> None:
        self._connection = connection
        self._lane = lane
        self._intake = Intake(connection)
        self._scope = trio.CancelScope()
        self._in_flight = False
        self._is_over = False
        self._silence = lane.watch.watch(connection.limits.header_timeout_seconds, self._end)

    async def run(self) -> UpgradeHead | None:
        """Serves requests to the last one, or to one that asks for a WebSocket, which is returned."""
        connection = self._connection
        connection.on_drain = self._on_drain
        try:
            if connection.draining:
                return None
            with self._scope:
                return await self._serve()
        except PeerGone:
            pass
        finally:
            connection.on_drain = None
            self._lane.watch.forget(self._silence)
        return None

    def _on_drain(self) -> None:
        if not self._in_flight and not self._intake.held:
            self._end()

    def _end(self) -> None:
        """Nothing is in flight, and nothing more is waited for."""
        self._is_over = True
        self._scope.cancel()

    async def _serve(self) -> UpgradeHead | None:
        intake, connection, lane = self._intake, self._connection, self._lane
        answered = 0
        while True:
            data = await intake.next_head(self._silence, lane.idle_seconds)
            if self._is_over or data is None:
                break
            head = read_head(data) if isinstance(data, bytes) else data
            if isinstance(head, FrontRefusal):
                await self._refuse(head, data)
                break
            if "upgrade" in head.fields and head.asks_for_websocket:
                if lane.takes_upgrades:
                    lines = [(name.lower(), value) for name, value in head.lines]
                    return UpgradeHead(head.target.encode("ascii"), lines, intake.held)
                await self._refuse(FrontRefusal.NO_WEBSOCKET, data)
                break
            self._in_flight = True
            if not await self._answer(head):
                break
            self._in_flight = False
            if connection.draining and not intake.held:
                break
            answered += 1
            if intake.held and answered % _ANSWERS_A_TURN == 0:
                await trio.sleep(0)
        await connection.close(linger=not self._is_over)
        return None

    async def _refuse(self, refusal: FrontRefusal, data: bytes | FrontRefusal) -> None:
        self._in_flight = True  # To the end: a refusal is as good an answer as any.
        with_body = not (isinstance(data, bytes) and data.startswith(b"HEAD "))
        await self._connection.send(refusal_bytes(refusal, with_body=with_body))

    def _answer(self, head: Head) -> Awaitable[bool]:
        """Answers one request; whether another may follow."""
        if head.body_bytes:
            self._intake.begin_body(head)
        path, _, query = head.target.partition("?")
        if "%" in path:
            path = unquote(path)
        direct = self._lane.direct
        if direct is not None and (answerer := direct.find(head.method, path)) is not None:
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
            return self._answer_directly(answerer, request, keeps_alive=head.keeps_alive)
        return self._answer_by_app(head)

    async def _answer_by_app(self, head: Head) -> bool:
        exchange = AppExchange(self._connection, self._intake, head)
        await exchange.run(self._lane.app)
        if exchange.keeps_alive:
            self._intake.skip_body()
        return exchange.keeps_alive

    async def _answer_directly(self, answerer: Answerer, request: RawRequest, *, keeps_alive: bool) -> bool:
        connection, intake = self._connection, self._intake
        has_body = request.method != "HEAD"
        try:
            reply = await answerer(request)
            closes = not keeps_alive or connection.draining or not intake.body_is_here
            first = reply_head(reply, closes=closes)
        except Exception as fault:
            await self._answer_for(fault, with_body=has_body)
            return False
        body = reply.body if has_body else b""
        if len(body) < _LARGE_BODY_BYTES:
            first += body
            body = b""
        if (sent := connection.send_nowait(first)) < len(first):
            await connection.send(memoryview(first)[sent:])
        if body and (sent := connection.send_nowait(body)) < len(body):
            await connection.send(memoryview(body)[sent:])
        intake.skip_body()
        return not closes

    async def _answer_for(self, fault: Exception, *, with_body: bool) -> None:
        """Says what has gone wrong, to whoever is still there."""
        refusal = self._intake.loss
        if not isinstance(fault, BodyLost):
            log_fault("front.app_failed", fault, listener=self._connection.listener.value)
            refusal = FrontRefusal.APP_FAILED
        if refusal is not None:
            await self._connection.send(refusal_bytes(refusal, with_body=with_body))

    async def _read_body(self, limit: int) -> bytes:
        intake = self._intake
        whole = b""
        if intake.announced_bytes <= limit:
            while len(whole) <= limit and (piece := await intake.next_piece()):
                whole += piece
            if len(whole) <= limit:
                return whole
        raise Refusal(ErrorCode.BODY_TOO_LARGE, details={"max_bytes": limit})
