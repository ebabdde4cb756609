"""Serving one connection by Hypercorn's HTTP/1.1: reading, and how long each part of a request may take.

What is true here: a connection is in one phase at a time, and every phase but the answer has a deadline; the
socket is never read further than one head beyond the request in flight. Accepting and supervising do not
belong here.
"""

from __future__ import annotations

import enum
import math

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ASGIFramework, ConnectionState

from ticketd.front.app_tasks import AppTasks
from ticketd.front.connections import Connection
from ticketd.front.faults import PeerGone
from ticketd.front.http11 import PlainHttp11, plain_config
from ticketd.front.limits import FrontLimits
from ticketd.front.refusals import FrontRefusal
from ticketd.front.upgrade import UpgradeHead
from ticketd.front.websocket_lane import WebSocketLane


class HypercornLane:
    """Serves connections with one ASGI app; one instance is the lane of any number of them."""

    def __init__(
        self, app: ASGIFramework, limits: FrontLimits, websocket_lane: WebSocketLane | None = None
    ) -> None:
        self._app: AppWrapper = ASGIWrapper(app)
        self._websocket_lane = websocket_lane
        self._config = plain_config(limits.max_header_bytes)
        self._context = WorkerContext(None)

    async def __call__(self, connection: Connection) -> None:
        """Serves ``connection`` until it ends. Returns when the app is done with its last request, too.

        A connection that becomes a WebSocket is served to its end by the lane for these, if there is one.
        """
        upgrade = await self._serve_http(connection)
        if upgrade is not None and self._websocket_lane is not None:
            websocket = self._websocket_lane(connection, upgrade)
            # It lives long, and in thousands: nothing of the request is kept alive by this frame.
            del upgrade
            await websocket

    async def _serve_http(self, connection: Connection) -> UpgradeHead | None:
        """Serves requests to the last one, or to one that asks for a WebSocket, which is returned."""
        async with AppTasks(connection) as tasks:
            protocol = PlainHttp11(
                self._app,
                self._config,
                self._context,
                tasks,
                ConnectionState({}),
                False,
                connection.client,
                connection.server,
                _not_connected,
            )
            protocol.takes_upgrades = self._websocket_lane is not None
            return await _Conversation(connection, protocol).run()


async def _not_connected(event: Event) -> None:
    raise AssertionError(f"the protocol sent {type(event).__name__} before the conversation began")


class _Phase(enum.Enum):
    """What is awaited of the peer."""

    FRESH = "the first byte of the first request"
    IDLE = "the first byte of another request"
    HEAD = "the rest of a request's headers"
    BODY = "the rest of a request's body"
    ANSWER = "nothing: the app has the whole request"


class _Conversation:
    """Reads one connection and feeds its protocol, which calls back with what is to be sent."""

    def __init__(self, connection: Connection, protocol: PlainHttp11) -> None:
        self._connection = connection
        self._protocol = protocol
        self._phase = _Phase.FRESH
        self._ended = False
        self._linger = False
        self._half_closed = False
        self._upgrade: UpgradeHead | None = None
        self._reader = trio.CancelScope()
        self._wait = trio.CancelScope(deadline=trio.current_time() + connection.limits.header_timeout_seconds)

    async def run(self) -> UpgradeHead | None:
        """Serves requests to the last one, or to one that asks for a WebSocket, which is returned."""
        await self._protocol.initiate()
        self._protocol.send = self._on_protocol_event
        self._protocol.draining = lambda: self._connection.draining
        self._connection.on_drain = self._on_drain
        if self._connection.draining:
            self._on_drain()
        with self._reader:
            await self._read()
        if self._upgrade is None and not self._half_closed:
            await self._protocol.handle(Closed())
            await self._connection.close(linger=self._linger)
        return self._upgrade

    def _on_drain(self) -> None:
        if self._phase in (_Phase.FRESH, _Phase.IDLE) and not self._protocol.held_bytes:
            self._end(linger=False)

    def _end(self, *, linger: bool) -> None:
        """Nothing more is read or sent. May be called from the app's task as well as from the reader's."""
        self._linger = linger
        self._ended = True
        self._reader.cancel()

    async def _read(self) -> None:
        try:
            while not self._ended:
                data = await self._wait_for_bytes()
                if data is None:
                    await self._give_up()
                elif data:
                    await self._feed(data)
                else:
                    await self._meet_end_of_input()
                    return
        except PeerGone:
            self._end(linger=False)

    async def _wait_for_bytes(self) -> bytes | None:
        """Some bytes, none at the end of the input, or None when they did not come in time."""
        deadline = self._wait.deadline
        with trio.CancelScope(deadline=deadline) as self._wait:
            return await self._connection.receive()
        return None

    async def _give_up(self) -> None:
        if self._phase in (_Phase.HEAD, _Phase.BODY):
            await self._protocol.refuse(FrontRefusal.TOO_SLOW)
        else:
            self._end(linger=False)

    async def _feed(self, data: bytes) -> None:
        # In pieces, so that a head too large is noticed also when all of it comes in one read.
        start = 0
        while start < len(data) and not (self._ended or self._protocol.takes_no_more):
            room = max(1, self._connection.limits.max_header_bytes - self._protocol.held_bytes)
            await self._protocol.handle(RawData(data[start : start + room]))
            start += room
            self._follow_protocol()
            if self._protocol.upgrade is not None and not self._ended:
                self._upgrade = self._protocol.upgrade.followed_by(self._protocol.held + data[start:])
                self._ended = True

    async def _meet_end_of_input(self) -> None:
        """A peer that has shut down its sending side after a whole request still gets the answer."""
        if self._phase is _Phase.ANSWER:
            self._half_closed = True
        elif self._phase in (_Phase.HEAD, _Phase.BODY):
            await self._protocol.handle(RawData(b""))
        else:
            self._end(linger=False)

    async def _on_protocol_event(self, event: Event) -> None:
        if isinstance(event, RawData):
            try:
                await self._connection.send(event.data)
            except PeerGone:
                self._end(linger=False)
                raise
        elif isinstance(event, Closed) or (
            isinstance(event, Updated) and event.idle and self._connection.broken
        ):
            self._end(linger=True)
        elif isinstance(event, Updated):
            self._enter(_Phase.IDLE if event.idle else _Phase.BODY)

    def _follow_protocol(self) -> None:
        """Notes what the protocol awaits after it was fed, where it did not tell by itself."""
        if self._protocol.awaits_request:
            if self._protocol.held_bytes:
                self._enter(_Phase.HEAD)
        elif not self._protocol.awaits_body:
            self._enter(_Phase.ANSWER)

    def _enter(self, phase: _Phase) -> None:
        # The time for a head runs on: it began with the connection, or with the first byte.
        runs_on = phase is _Phase.HEAD and self._phase in (_Phase.FRESH, _Phase.HEAD)
        self._phase = phase
        if runs_on:
            return
        limits = self._connection.limits
        seconds = {
            _Phase.IDLE: limits.idle_timeout_seconds,
            _Phase.HEAD: limits.header_timeout_seconds,
            _Phase.BODY: limits.body_timeout_seconds,
        }.get(phase, math.inf)
        self._wait.deadline = trio.current_time() + seconds
