"""The app's own start and end, by the lifespan part of ASGI: one task, alive while anything is served.

An app that ends on its own while it should serve is an error that ends the front: whatever ran inside it is
gone.
"""

from __future__ import annotations

import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveEvent, ASGISendEvent, LifespanScope


class LifespanError(Exception):
    """The app did not start, did not stop, or ended while it should serve."""


class Lifespan:
    """Runs the lifespan of one app, once."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = app
        self._asked_startup = False
        self._started = False
        self._stop = trio.Event()
        self._failure: str | None = None
        self._running = trio.CancelScope()
        self._task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Starts the app, reports it, and returns when it has shut down after ``request_stop``.

        Raises ``LifespanError``; what the app itself raises passes through.
        """
        self._task_status = task_status
        scope: LifespanScope = {
            "type": "lifespan",
            "asgi": {"spec_version": "2.0", "version": "3.0"},
            "state": {},
        }
        with self._running:
            await self._app(scope, self._receive, self._send)
        if self._failure is not None:
            raise LifespanError(self._failure)
        if not self._started:
            raise LifespanError("The app ended without having started; it must support the lifespan of ASGI.")
        if not self._stop.is_set():
            raise LifespanError("The app ended while it should serve.")

    def request_stop(self) -> None:
        """Asks the app to shut down; ``run`` returns once it has."""
        self._stop.set()

    async def _receive(self) -> ASGIReceiveEvent:
        if not self._asked_startup:
            self._asked_startup = True
            return {"type": "lifespan.startup"}
        await self._stop.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: ASGISendEvent) -> None:
        if message["type"] == "lifespan.startup.complete":
            self._started = True
            self._task_status.started()
        elif message["type"] == "lifespan.startup.failed":
            self._fail(f"The app did not start: {message['message']}")
        elif message["type"] == "lifespan.shutdown.failed":
            self._fail(f"The app did not shut down cleanly: {message['message']}")

    def _fail(self, failure: str) -> None:
        self._failure = failure
        self._running.cancel()
