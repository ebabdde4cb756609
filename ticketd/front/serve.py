"""Serving an app on its listeners, from the app's own start to the end of its last request.

Nurseries, outer to inner: the app's lifespan; what the lane runs beside its connections; the connections; the accept
loops. They end in the opposite order. How one connection is served does not belong here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import structlog
import trio
from hypercorn.typing import ASGIFramework

from handlers.websocket import WebSocketApp
from ticketd.front.certificates import Certificates
from ticketd.front.connections import Lane
from ticketd.front.doors import Door
from ticketd.front.fast_lane import DirectApp, FastLane
from ticketd.front.http2_lane import Http2Lane
from ticketd.front.hypercorn_lane import HypercornLane
from ticketd.front.lifespan import Lifespan
from ticketd.front.limits import FrontLimits
from ticketd.front.listeners import BoundAddress, NamedListener
from ticketd.front.tls import TlsLane
from ticketd.front.websocket_lane import WebSocketLane
from ticketd.rate_limits.addresses import TrustedProxies

_log: structlog.stdlib.BoundLogger = structlog.get_logger("ticketd.front")
# What the app has for its own shut-down when its requests have used up all the time.
_LEAST_LIFESPAN_SECONDS: Final = 0.5

FrontKind = Literal["fast", "hypercorn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What is served, and how.

    ``app`` answers what ``direct`` does not take; ``websocket_app`` answers requests for WebSockets, which are refused
    with 404 without one. ``kind`` "fast" reads HTTP/1.1 itself; "hypercorn" leaves it to Hypercorn, and ``direct``
    unused. Connections of ``proxies`` are not counted by address. With ``certificates`` TLS is spoken, and with it
    HTTP/2, by Hypercorn's protocol.
    """

    app: ASGIFramework
    limits: FrontLimits
    kind: FrontKind = "fast"
    direct: DirectApp | None = None
    websocket_app: WebSocketApp | None = None
    proxies: TrustedProxies | None = None
    certificates: Certificates | None = None


async def serve_listeners(
    served: Served,
    listeners: Sequence[NamedListener],
    *,
    stop: trio.Event,
    task_status: trio.TaskStatus[list[BoundAddress]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves ``served`` on ``listeners`` until ``stop`` is set; reports where it listens once it does.

    After ``stop`` nothing more is accepted, connections without a request in flight are closed at once, the
    others after their answer, WebSockets with 1001, and what is left after ``shutdown_seconds`` is cut off.
    Being cancelled cuts off everything at once. The listeners are closed in any case.

    No request ends it. It raises, in an exception group, ``LifespanError`` when the app does not start or
    ends on its own, and ``OSError`` when a listening socket fails.
    """
    with _closing(listeners):
        async with trio.open_nursery() as lifespans:
            lifespan = Lifespan(served.app)
            await lifespans.start(lifespan.run)
            async with trio.open_nursery() as beside:
                lane = _make_lane(served, beside)
                doors = [Door(listener, lane, served.limits, served.proxies) for listener in listeners]
                stop_at = await _serve_until(stop, doors, listeners, served.limits, task_status)
                beside.cancel_scope.cancel()
            lifespan.request_stop()
            lifespans.cancel_scope.deadline = max(stop_at, trio.current_time() + _LEAST_LIFESPAN_SECONDS)
        if lifespans.cancel_scope.cancelled_caught:
            _log.warning("front.app_shutdown_cut_off")


def _make_lane(served: Served, beside: trio.Nursery) -> Lane:
    """The lane of all connections; what has to run beside them is started in ``beside``."""
    http11 = _make_http11_lane(served, beside)
    if served.certificates is None:
        return http11
    return TlsLane(served.certificates, http11, Http2Lane(served.app, served.limits))


def _make_http11_lane(served: Served, beside: trio.Nursery) -> Lane:
    websocket_app, limits = served.websocket_app, served.limits
    websocket_lane = WebSocketLane(websocket_app, limits) if websocket_app is not None else None
    if served.kind == "hypercorn":
        return HypercornLane(served.app, limits, websocket_lane)
    lane = FastLane(served.app, limits, served.direct, websocket_lane)
    beside.start_soon(lane.run)
    return lane


async def _serve_until(
    stop: trio.Event,
    doors: Sequence[Door],
    listeners: Sequence[NamedListener],
    limits: FrontLimits,
    task_status: trio.TaskStatus[list[BoundAddress]],
) -> float:
    """Returns when no connection is left, the deadline of the shut-down."""
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
