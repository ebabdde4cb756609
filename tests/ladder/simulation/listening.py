"""A WebSocket of the simulated daemon, without a socket: what is heard must be whole, numbered and true in the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import trio

from handlers.websocket import SessionEnds, UpgradeAccepted, UpgradeRequest, WebSocketSession
from storage.verify import Problem
from tests.ladder.simulation.world import Crashed, Life, World


class Ear:
    """What one listener has heard."""

    def __init__(self) -> None:
        self._seq = 0
        self._place: int | None = None

    def hear(self, text: bytes) -> Iterator[Problem]:
        """One message."""
        message: dict[str, Any] = json.loads(text)
        self._seq += 1
        if message["seq"] != self._seq:
            yield self._problem("messages-numbered", f"message {self._seq} has the number {message['seq']}")
        if message["type"] == "error" and message["error"]["code"] == "INTERNAL_ERROR":
            yield self._problem("error-is-known", str(message))
        if message["type"] in {"subscribed", "queue_update"} and message.get("status") == "QUEUED":
            place = message["queue_position"]
            if self._place is not None and place > self._place:
                yield self._problem("nobody-overtakes", f"one heard of {self._place}, then of {place}")
            self._place = place
        if message.get("available_seats", 0) < 0:
            yield self._problem("free-seats-counted", str(message))

    def _problem(self, invariant: str, text: str) -> Problem:
        return Problem(invariant=invariant, where="WebSocket", text=text)


async def listen(
    world: World,
    event: str,
    token: str,
    address: str,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Subscribes, and hears until it is cancelled, or the daemon is dead."""
    life = await world.wait_up()
    scope = trio.CancelScope()
    life.requests[scope] = None
    try:
        with scope:
            session = await _open(life, token, address)
            task_status.started()
            if session is not None:
                await _hear_all(world, session, event)
    except* Crashed:
        world.watch.note("unheard")
    finally:
        life.requests.pop(scope, None)


async def _open(life: Life, token: str, address: str) -> WebSocketSession | None:
    assert life.sockets is not None
    asked = UpgradeRequest(
        path="/v1/realtime", query=urlencode({"token": token}), headers={}, subprotocols=(), client=address
    )
    opened = await life.sockets.open_websocket(asked)
    return opened.session if isinstance(opened, UpgradeAccepted) else None


class _News:
    """What a session has to tell of."""

    def __init__(self) -> None:
        self._told = trio.Event()

    def note(self) -> None:
        self._told.set()

    async def wait(self) -> None:
        """Returns once something was told since the last time."""
        await self._told.wait()
        self._told = trio.Event()


async def _hear_all(world: World, session: WebSocketSession, event: str) -> None:
    ear, news = Ear(), _News()
    session.listen(news.note)
    try:
        while not session.takes_messages:
            await news.wait()
        session.receive(json.dumps({"type": "subscribe", "event_id": event}))
        while True:
            text = session.next_message()
            if text is None:
                await news.wait()
                continue
            world.watch.figures["heard"] += 1
            world.watch.note("heard")
            world.watch.report(ear.hear(text))
    except SessionEnds as end:
        world.watch.note(f"session ends {end.code}")
    finally:
        session.close()
