"""Running the ASGI app for one request: what it is told, what becomes of what it raises.

What is true here: an app that fails or answers nothing is answered for with a 500; telling an app something
never blocks for longer than the app runs. How bytes become requests does not belong here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import trio
from hypercorn.config import Config
from hypercorn.trio.task_group import TaskGroup
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, Scope

from ticketd.front.connections import Connection
from ticketd.front.faults import PeerGone, faults_logged
from ticketd.front.refusals import FrontRefusal, refusal_parts

# Pieces of a body that may wait for the app; beyond it the socket is not read.
_QUEUED_EVENTS: Final = 10

SendToStream = Callable[[ASGISendEvent | None], Awaitable[None]]


class AppTasks(TaskGroup):
    """The tasks of one connection.

    Each request's scope gets ``extensions["ticketd"]``: ``listener`` (its name) and ``peer_uid`` (or None).
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    async def spawn_app(
        self, app: AppWrapper, config: Config, scope: Scope, send: SendToStream
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Starts the app for one request and returns the way to tell it what comes in."""
        if scope["type"] != "lifespan":
            scope["extensions"]["ticketd"] = {
                "listener": self._connection.listener.value,
                "peer_uid": self._connection.peer_uid,
            }
        inbox = _Inbox()
        self.spawn(self._run_app, app, scope, inbox, send)
        return inbox.put

    async def _run_app(self, app: AppWrapper, scope: Scope, inbox: _Inbox, send: SendToStream) -> None:
        answer = _Answer(send)
        with faults_logged("front.app_failed", listener=self._connection.listener.value):
            await app(scope, inbox.receive, answer.send, trio.to_thread.run_sync, trio.from_thread.run)
        with contextlib.suppress(PeerGone):
            await answer.finish()


class _Inbox:
    """What one request has to tell its app; it blocks nobody once the answer is finished or the peer has left."""

    def __init__(self) -> None:
        self._put, self._take = trio.open_memory_channel[ASGIReceiveEvent](_QUEUED_EVENTS)

    async def put(self, event: ASGIReceiveEvent) -> None:
        if event["type"] == "http.disconnect":
            self._put.close()
            return
        # It is closed, perhaps while this waits for room, when the answer is finished or the peer has left.
        with contextlib.suppress(trio.ClosedResourceError):
            await self._put.send(event)

    async def receive(self) -> ASGIReceiveEvent:
        try:
            return await self._take.receive()
        except trio.EndOfChannel:
            return {"type": "http.disconnect"}


class _Answer:
    """What the app sends, whether it has begun to, and whether there was somebody to take it."""

    def __init__(self, send: SendToStream) -> None:
        self._send = send
        self._begun = False
        self._peer_gone = False

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
        try:
            await self._send(message)
        except PeerGone:
            self._peer_gone = True
            raise

    async def finish(self) -> None:
        """Ends the answer, or gives one if the app gave none."""
        if self._peer_gone:
            return
        if not self._begun:
            headers, body = refusal_parts(FrontRefusal.APP_FAILED)
            await self._send(
                {"type": "http.response.start", "status": FrontRefusal.APP_FAILED.status, "headers": headers}
            )
            await self._send({"type": "http.response.body", "body": body, "more_body": False})
        await self._send(None)
