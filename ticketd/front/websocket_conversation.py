"""Serving one connection as a WebSocket, from behind its upgrade to the end of the socket.

    news (whoever has some) ─┐
    frames that came in      ├─ session ─ frames ─ socket
    time, room in the socket ┘

What is true here: a connection has one task, and it waits in one place; all the rest is done at once by whoever has
cause to, mostly the hub that has news for thousands. Only while a socket is full is there a second task, which waits
for room. Whoever ends the conversation first says why, and the connection's task alone closes; all that waits for the
peer has a deadline. In line is no more than the rest of one message, a ping and a pong, and what one read brought. What
is said over the WebSocket does not belong here; see ``handlers.websocket``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import trio

from handlers.websocket import (
    MessageProblem,
    SessionEnds,
    WebSocketSession,
)
from ticketd.front.connections import Connection
from ticketd.front.faults import PeerGone, faults_logged
from ticketd.front.frames import (
    Closed,
    Fault,
    Frames,
    Incoming,
    Pinged,
    Ponged,
    Text,
    close_frame,
    ping_frame,
    pong_frame,
    text_frame,
)
from ticketd.front.limits import FrontLimits
from ticketd.front.outflow import Outflow
from ticketd.front.sockets import read_nowait, wait_for_room, wait_until_readable

CLOSE_SECONDS: Final = 5.0
"""For the last frames and the peer's own close frame; half of the time to shut down, if that is less."""

_READ_BYTES: Final = 8192
FRAMES_A_TURN: Final = 32
"""How many frames of one read are taken in before other connections have their turn."""
MESSAGES_A_TURN: Final = 32
"""How many messages of one session are sent before others have theirs."""

_BUNCH_SECONDS: Final = 0.125
"""Pings go out at multiples of this."""

_GOING_AWAY: Final = 1001
_FAILED: Final = 1011
_TRY_AGAIN_LATER: Final = 1013
_POLICY: Final = 1008


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


class WebSocketConversation:
    """One WebSocket. Times are Trio's."""

    __slots__ = (
        "_connection",
        "_ending",
        "_frames",
        "_is_full",
        "_is_paused",
        "_is_ping_due",
        "_keeper_until",
        "_limits",
        "_message_until",
        "_outflow",
        "_ping_number",
        "_pong",
        "_pong_awaited",
        "_session",
        "_socket",
        "_waiting",
    )

    def __init__(self, connection: Connection, session: WebSocketSession, limits: FrontLimits) -> None:
        self._connection = connection
        self._session = session
        self._limits = limits
        self._socket = connection.socket
        self._frames = Frames(limits.max_message_bytes)
        self._outflow = Outflow(self._socket, limits.stalled_seconds)
        self._ending: _Ending | None = None
        self._waiting: trio.CancelScope | None = None
        # There may be something to send that the socket has no room for.
        self._is_full = False
        # A message has come that the session does not take yet.
        self._is_paused = False
        self._message_until = math.inf
        self._pong: bytes | None = None
        self._is_ping_due = False
        self._pong_awaited = False
        self._ping_number = 0
        self._keeper_until = self._next_ping()

    async def run(self, rest: bytes) -> None:
        """Talks until somebody ends it, then closes. ``rest`` came in behind the upgrade."""
        self._connection.on_drain = self._on_drain
        if self._connection.draining:
            self._on_drain()
        self._session.listen(self._on_news)
        self._send_on()
        if rest:
            await self._take_in(rest)
        while self._ending is None:
            if self._is_full:
                await self._wait_for_room()
                continue
            # Here a connection spends its life, with a task of three frames.
            with trio.CancelScope(deadline=self._next_time()) as self._waiting:
                await wait_until_readable(self._socket)
            if not self._waiting.cancelled_caught:
                await self._take_in(self._read())
            self._look_after()
        await self._close(self._ending)

    def _on_drain(self) -> None:
        self._end(_Ending(code=_GOING_AWAY, reason="The server goes away.", awaited=True))

    def _on_news(self) -> None:
        self._send_on()
        if self._is_full or self._is_paused:
            self._wake()

    def _end(self, ending: _Ending) -> None:
        """Ends the conversation; the first word counts. Never blocks."""
        if self._ending is None:
            self._ending = ending
            self._wake()

    def _wake(self) -> None:
        """What the connection's task waits for is not all that there is to do."""
        if self._waiting is not None:
            self._waiting.cancel()

    # --- sending ----------------------------------------------------------------------------------------------------

    def _send_on(self) -> None:
        """Sends what there is, as long as the socket has room. Whoever has news may call it: it raises nothing."""
        try:
            self._is_full = self._ending is None and not self._send_while_room()
        except PeerGone:
            self._end(_Ending(code=None))
        except SessionEnds as ends:
            self._end(_Ending(code=ends.code, reason=ends.reason, flushed=True, awaited=True))
        except Exception as fault:
            self._fail(fault)
        if self._is_full:
            self._outflow.watch(trio.current_time())

    def _send_while_room(self) -> bool:
        """Whether all is sent; if not there was no room, or others should have their turn."""
        for _ in range(MESSAGES_A_TURN):
            # First the room, then the message: what is put off until it can be sent is the newest.
            if not self._outflow.has_room():
                return False
            if self._pong is not None:
                payload, self._pong = self._pong, None
                self._outflow.send(pong_frame(payload))
            elif self._is_ping_due:
                self._ping()
            elif (message := self._session.next_message()) is not None:
                self._outflow.send(text_frame(message))
            else:
                return True
        return False

    def _fail(self, fault: Exception) -> None:
        self._end(_Ending(code=_FAILED, reason="Something went wrong here.", awaited=True))
        with faults_logged("front.session_failed", listener=self._connection.listener.value):
            raise fault

    # --- taking in --------------------------------------------------------------------------------------------------

    def _read(self) -> bytes:
        """What has come in; ends the conversation at its end."""
        try:
            data = read_nowait(self._socket, _READ_BYTES)
        except OSError:
            data = b""
        if data == b"":  # Whoever shuts down one direction without a close frame has left.
            self._end(_Ending(code=None))
        return data or b""

    async def _take_in(self, data: bytes) -> None:
        for number, incoming in enumerate(self._frames.feed(data), 1):
            if isinstance(incoming, Text):
                self._message_until = math.inf
                await self._wait_for_session()
            if self._ending is None:
                self._take(incoming)
            if number % FRAMES_A_TURN == 0:
                self._send_on()
                await trio.sleep(0)
            if self._ending is not None:  # What comes behind, a close frame perhaps, is left for ``_close``.
                return
        self._send_on()
        if not self._frames.within_message:
            self._message_until = math.inf
        elif self._message_until == math.inf:
            self._message_until = trio.current_time() + self._limits.body_timeout_seconds

    def _take(self, incoming: Incoming) -> None:
        try:
            self._act_on(incoming)
        except SessionEnds as ends:
            self._end(_Ending(code=ends.code, reason=ends.reason, flushed=True, awaited=True))
        except Exception as fault:
            self._fail(fault)

    def _act_on(self, incoming: Incoming) -> None:
        match incoming:
            case Text(text):
                self._session.receive(text)
            case Pinged(payload):
                # Only the newest ping needs its pong (RFC 6455, 5.5.3), so a flood of them costs one.
                self._pong = payload
            case Ponged(payload):
                if self._pong_awaited and payload == self._ping_payload():
                    self._pong_awaited = False
                    self._keeper_until = self._next_ping()
            case Closed(code):
                self._end(_Ending(code=code))
            case Fault(code, reason):
                problem = next((each for each in MessageProblem if each.value == code), None)
                if problem is not None:
                    self._session.refuse_message(problem)
                self._end(_Ending(code=code, reason=reason, flushed=problem is not None))

    # --- waiting ----------------------------------------------------------------------------------------------------

    async def _wait_for_session(self) -> None:
        """Waits until the session takes a message, or the conversation ends; nothing is read meanwhile."""
        while not self._is_heard() and self._ending is None:
            self._is_paused = True
            # What it waits for may be that its answers are taken.
            self._send_on()
            if self._is_heard():
                break
            if self._is_full:
                await self._wait_for_room()
            else:
                with trio.CancelScope(deadline=self._next_time()) as self._waiting:
                    await trio.sleep_forever()
                self._look_after()
        self._is_paused = False

    def _is_heard(self) -> bool:
        return self._session.takes_messages

    async def _wait_for_room(self) -> None:
        """Waits until the full socket takes something, or has something that may be read, and sees to it."""
        readable = False
        async with trio.open_nursery() as nursery:
            self._waiting = nursery.cancel_scope
            self._waiting.deadline = self._next_time()
            nursery.start_soon(self._wake_when_writable)
            if self._is_paused:
                await trio.sleep_forever()
            await wait_until_readable(self._socket)
            readable = True
            self._wake()
        self._send_on()
        self._look_after()
        if readable:
            await self._take_in(self._read())

    async def _wake_when_writable(self) -> None:
        await wait_for_room(self._socket)
        self._wake()

    def _next_time(self) -> float:
        return min(self._outflow.look_at, self._message_until, self._keeper_until)

    def _look_after(self) -> None:
        """Does what it is time for."""
        now = trio.current_time()
        if now >= self._outflow.look_at and not self._outflow.look(now):
            self._end(_Ending(code=_TRY_AGAIN_LATER, reason="Nothing was read for too long."))
        elif now >= self._message_until:
            self._end(_Ending(code=_POLICY, reason="The message took too long."))
        elif now >= self._keeper_until:
            self._keep_alive(now)

    def _keep_alive(self, now: float) -> None:
        if not self._pong_awaited:
            self._is_ping_due, self._keeper_until = True, math.inf
            self._send_on()
        elif self._is_paused:
            # The pong may be here: nobody reads, while the session does not take what has come.
            self._keeper_until = now + self._limits.pong_timeout_seconds
        else:
            self._end(_Ending(code=_TRY_AGAIN_LATER, reason="No pong came in time."))

    def _ping(self) -> None:
        """Sends a ping. The time runs from now, when the socket takes it; before, the peer may be slow, and is watched
        by that."""
        self._is_ping_due, self._pong_awaited = False, True
        self._ping_number += 1
        self._keeper_until = trio.current_time() + self._limits.pong_timeout_seconds
        self._outflow.send(ping_frame(self._ping_payload()))

    def _next_ping(self) -> float:
        """When to ping, up to a little later than need be: those of one bunch share the event loop's turn."""
        return math.ceil((trio.current_time() + self._limits.ping_seconds) / _BUNCH_SECONDS) * _BUNCH_SECONDS

    def _ping_payload(self) -> bytes:
        return self._ping_number.to_bytes(4, "big")

    # --- the end ----------------------------------------------------------------------------------------------------

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
            except PeerGone:
                pass
        self._connection.broken = self._connection.broken or self._outflow.begun
        await self._connection.close(linger=True)

    async def _say_last(self, ending: _Ending, code: int) -> None:
        self._outflow.open_wide()
        await self._outflow.finish()
        with faults_logged("front.session_failed", listener=self._connection.listener.value):
            while ending.flushed and (message := self._session.last_message()) is not None:
                self._outflow.send(text_frame(message))
                await self._outflow.finish()
        self._outflow.send(close_frame(code, ending.reason))
        await self._outflow.finish()

    async def _wait_for_close_frame(self) -> None:
        data = b""
        while not any(isinstance(incoming, Closed | Fault) for incoming in self._frames.feed(data)):
            data = await self._connection.receive()
            if not data:
                return
