"""Serving one connection as a WebSocket, from its upgrade to the end of the socket.

    connection ─ reader     frames → session.receive; the only one that reads
               ├ writer     session.next_message → frames, once the socket can take one
               └ keeper     pongs, and our pings with the time for theirs

What is true here: whichever of the three ends first says why, the others are cancelled, and one task alone closes; all
that waits for the peer has a deadline; a connection holds one message of each direction, a ping and a pong, and what
one read brought. What is said over the WebSocket does not belong here; see ``ticketd.front.websocket_app``.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from ticketd.front.connections import Connection
from ticketd.front.faults import PeerGone, faults_logged
from ticketd.front.frames import Closed, Fault, Frames, Incoming, Pinged, Ponged, Text, text_frame
from ticketd.front.limits import FrontLimits
from ticketd.front.outflow import Outflow, Stalled
from ticketd.front.refusals import FrontRefusal, refusal_bytes
from ticketd.front.upgrade import UpgradeHead, accepted_bytes, read_upgrade, refused_bytes
from ticketd.front.websocket_app import (
    MessageProblem,
    SessionEnds,
    UpgradeRefused,
    WebSocketApp,
    WebSocketSession,
)

CLOSE_SECONDS: Final = 5.0
"""For the last frames and the peer's own close frame; half of the time to shut down, if that is less."""

_FRAMES_A_TURN: Final = 32
"""How many frames of one read are taken in before other connections have their turn."""

_GOING_AWAY: Final = 1001
_FAILED: Final = 1011
_TRY_AGAIN_LATER: Final = 1013
_POLICY: Final = 1008


class WebSocketLane:
    """Serves upgraded connections with one application; one instance is the lane of any number of them."""

    def __init__(self, app: WebSocketApp, limits: FrontLimits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, connection: Connection, head: UpgradeHead) -> None:
        """Answers the upgrade, and serves the WebSocket until it has ended."""
        request = read_upgrade(head, connection.client[0] if connection.client is not None else "")
        if isinstance(request, FrontRefusal):
            await _answer_and_close(connection, refusal_bytes(request))
            return
        answer, accepted = refusal_bytes(FrontRefusal.APP_FAILED), None
        with faults_logged("front.app_failed", listener=connection.listener.value):
            outcome = await self._app.open_websocket(request)
            if isinstance(outcome, UpgradeRefused):
                answer = refused_bytes(outcome)
            else:
                accepted = outcome
        if accepted is None:
            await _answer_and_close(connection, answer)
            return
        try:
            await connection.send(accepted_bytes(request, accepted))
            await _Conversation(connection, accepted.session, self._limits).run(head.rest)
        finally:
            accepted.session.close()


async def _answer_and_close(connection: Connection, answer: bytes) -> None:
    await connection.send(answer)
    await connection.close(linger=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ending:
    """Why a connection ends, and what is due to its peer before.

    ``code`` is None when the peer is gone. ``flushed``: what the session has in line is sent first. ``awaited``: the
    peer is given time for a close frame of its own.
    """

    code: int | None
    reason: str = ""
    flushed: bool = False
    awaited: bool = False


class _Conversation:
    """One WebSocket."""

    def __init__(self, connection: Connection, session: WebSocketSession, limits: FrontLimits) -> None:
        self._connection = connection
        self._session = session
        self._limits = limits
        self._frames = Frames(limits.max_message_bytes)
        self._outflow = Outflow(connection, limits.stalled_seconds)
        self._ending: _Ending | None = None
        self._tasks = trio.CancelScope()
        self._message_until = math.inf
        self._receiving = False
        self._keeper_woken = trio.Event()
        self._pong: bytes | None = None
        self._ping_number = 0
        self._pong_awaited = False
        self._keeper_until = trio.current_time() + limits.ping_seconds

    async def run(self, rest: bytes) -> None:
        """Talks until somebody ends it, then closes. ``rest`` came in behind the upgrade."""
        with self._tasks:
            self._connection.on_drain = self._on_drain
            if self._connection.draining:
                self._on_drain()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._ending_with, self._write)
                nursery.start_soon(self._ending_with, self._keep_alive)
                await self._ending_with(partial(self._read, rest))
        if self._ending is not None:
            await self._close(self._ending)

    def _on_drain(self) -> None:
        self._end(_Ending(code=_GOING_AWAY, reason="The server goes away.", awaited=True))

    def _end(self, ending: _Ending) -> None:
        """Ends the conversation; the first word counts. Never blocks."""
        if self._ending is None:
            self._ending = ending
            self._tasks.cancel()

    async def _ending_with(self, work: Callable[[], Awaitable[None]]) -> None:
        """Runs one of the three tasks; however it ends, the conversation ends with it."""
        with faults_logged("front.session_failed", listener=self._connection.listener.value):
            try:
                await work()
            except PeerGone:
                self._end(_Ending(code=None))
            except Stalled:
                self._end(_Ending(code=_TRY_AGAIN_LATER, reason="Nothing was read for too long."))
            except SessionEnds as ends:
                self._end(_Ending(code=ends.code, reason=ends.reason, flushed=True, awaited=True))
        self._end(_Ending(code=_FAILED, reason="Something went wrong here.", awaited=True))

    async def _write(self) -> None:
        while True:
            # First the room, then the message: what is put off until it can be sent is the newest.
            await self._outflow.wait_for_room()
            message = await self._session.next_message()
            await self._outflow.send(text_frame(message))

    async def _read(self, data: bytes) -> None:
        taken = 0
        while self._ending is None:
            for incoming in self._frames.feed(data):
                await self._take(incoming)
                taken += 1
                if taken % _FRAMES_A_TURN == 0:
                    await trio.sleep(0)
            if not self._frames.within_message:
                self._message_until = math.inf
            elif self._message_until == math.inf:
                self._message_until = trio.current_time() + self._limits.body_timeout_seconds
            data = await self._receive()

    async def _receive(self) -> bytes:
        with trio.CancelScope(deadline=self._message_until):
            data = await self._connection.receive()
            if not data:  # Whoever shuts down one direction without a close frame has left.
                raise PeerGone
            return data
        self._end(_Ending(code=_POLICY, reason="The message took too long."))
        return b""

    async def _take(self, incoming: Incoming) -> None:
        match incoming:
            case Text(text):
                self._message_until = math.inf
                self._receiving = True
                await self._session.receive(text)
                self._receiving = False
            case Pinged(payload):
                # Only the newest ping needs its pong (RFC 6455, 5.5.3), so a flood of them costs one.
                self._pong = payload
                self._keeper_woken.set()
            case Ponged(payload):
                if self._pong_awaited and payload == self._ping_payload():
                    self._pong_awaited = False
                    self._keeper_until = trio.current_time() + self._limits.ping_seconds
                    self._keeper_woken.set()
            case Closed(code):
                self._end(_Ending(code=code))
            case Fault(code, reason):
                problem = next((each for each in MessageProblem if each.value == code), None)
                if problem is not None:
                    self._session.refuse_message(problem)
                self._end(_Ending(code=code, reason=reason, flushed=problem is not None))

    async def _keep_alive(self) -> None:
        while self._ending is None:
            self._keeper_woken = trio.Event()
            if self._pong is not None:
                payload, self._pong = self._pong, None
                await self._outflow.send(self._frames.pong(payload))
            elif trio.current_time() < self._keeper_until:
                with trio.CancelScope(deadline=self._keeper_until):
                    await self._keeper_woken.wait()
            elif not self._pong_awaited:
                await self._ping()
            elif (
                self._receiving
            ):  # The pong may be here: the reader is not, while the session takes a message in.
                self._keeper_until = trio.current_time() + self._limits.pong_timeout_seconds
            else:
                self._end(_Ending(code=_TRY_AGAIN_LATER, reason="No pong came in time."))

    async def _ping(self) -> None:
        self._ping_number += 1
        self._pong_awaited = True
        await self._outflow.send(self._frames.ping(self._ping_payload()))
        if self._pong_awaited:
            # The time runs from when the socket took the ping; before, the peer may be slow, and is watched by that.
            self._keeper_until = trio.current_time() + self._limits.pong_timeout_seconds

    def _ping_payload(self) -> bytes:
        return self._ping_number.to_bytes(4, "big")

    async def _close(self, ending: _Ending) -> None:
        if ending.code is None:
            await self._connection.close(linger=False)
            return
        seconds = min(CLOSE_SECONDS, self._limits.shutdown_seconds / 2)
        with trio.move_on_after(seconds):
            try:
                await self._say_last(ending, ending.code)
                if ending.awaited:
                    await self._wait_for_close_frame()
            except (PeerGone, Stalled):
                pass
        self._connection.broken = self._connection.broken or self._outflow.begun
        await self._connection.close(linger=True)

    async def _say_last(self, ending: _Ending, code: int) -> None:
        self._outflow.open_wide()
        await self._outflow.send_line()
        with faults_logged("front.session_failed", listener=self._connection.listener.value):
            while ending.flushed and (message := self._session.next_message_nowait()) is not None:
                await self._outflow.send(text_frame(message))
        await self._outflow.send(self._frames.close(code, ending.reason))

    async def _wait_for_close_frame(self) -> None:
        while data := await self._connection.receive():
            if any(isinstance(incoming, Closed | Fault) for incoming in self._frames.feed(data)):
                return
