"""Serving an app on its listeners, from the app's own start to the end of its last request.

Nurseries, outer to inner: the app's lifespan; the connections; the accept loops. They end in the opposite
order. How one connection is served does not belong here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

import structlog
import trio
from hypercorn.typing import ASGIFramework

from ticketd.front.connections import Door, Lane
from ticketd.front.hypercorn_lane import HypercornLane
from ticketd.front.lifespan import Lifespan
from ticketd.front.limits import FrontLimits
from ticketd.front.listeners import BoundAddress, NamedListener
from ticketd.front.websocket_app import WebSocketApp
from ticketd.front.websocket_lane import WebSocketLane

_log: structlog.stdlib.BoundLogger = structlog.get_logger("ticketd.front")
# What the app has for its own shut-down when its requests have used up all the time.
_LEAST_LIFESPAN_SECONDS: Final = 0.5


async def serve_listeners(  # noqa: PLR0913  # two apps, and when to stop
    app: ASGIFramework,
    listeners: Sequence[NamedListener],
    limits: FrontLimits,
    *,
    stop: trio.Event,
    websocket_app: WebSocketApp | None = None,
    task_status: trio.TaskStatus[list[BoundAddress]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves ``app`` on ``listeners`` until ``stop`` is set; reports where it listens once it does.

    Requests for WebSockets are answered by ``websocket_app``, and refused with 404 without one.

    After ``stop`` nothing more is accepted, connections without a request in flight are closed at once, the
    others after their answer, WebSockets with 1001, and what is left after ``shutdown_seconds`` is cut off.
    Being cancelled cuts off everything at once. The listeners are closed in any case.

    No request ends it. It raises, in an exception group, ``LifespanError`` when the app does not start or
    ends on its own, and ``OSError`` when a listening socket fails.
    """
    with _closing(listeners):
        async with trio.open_nursery() as lifespans:
            lifespan = Lifespan(app)
            await lifespans.start(lifespan.run)
            websocket_lane = WebSocketLane(websocket_app, limits) if websocket_app is not None else None
            lane = HypercornLane(app, limits, websocket_lane)
            stop_at = await _serve_until(stop, lane, listeners, limits, task_status)
            lifespan.request_stop()
            lifespans.cancel_scope.deadline = max(stop_at, trio.current_time() + _LEAST_LIFESPAN_SECONDS)
        if lifespans.cancel_scope.cancelled_caught:
            _log.warning("front.app_shutdown_cut_off")


async def _serve_until(
    stop: trio.Event,
    lane: Lane,
    listeners: Sequence[NamedListener],
    limits: FrontLimits,
    task_status: trio.TaskStatus[list[BoundAddress]],
) -> float:
    """Returns when no connection is left, the deadline of the shut-down."""
    doors = [Door(listener, lane, limits) for listener in listeners]
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            for door in doors:
                accepting.start_soon(door.run_accepting, connections)
            task_status.started([listener.address for listener in listeners])
            await stop.wait()
            accepting.cancel_scope.cancel()
        stop_at = trio.current_time() + limits.shutdown_seconds
        connections.cancel_scope.deadline = stop_at
        for listener in listeners:
            listener.close()
        for door in doors:
            door.drain()
        _log.info("front.draining", open=sum(door.live_count for door in doors))
    if connections.cancel_scope.cancelled_caught:
        _log.warning("front.cut_off", shutdown_seconds=limits.shutdown_seconds)
    return stop_at


@contextlib.contextmanager
def _closing(listeners: Sequence[NamedListener]) -> Iterator[None]:
    try:
        yield
    finally:
        for listener in listeners:
            listener.close()
