"""The one tree of nurseries. Everything that runs in the daemon hangs in it, and nothing is started anywhere else.

    signals and the end
    └─ writer                the pinned thread; ends last, once it has committed what was asked of it
       └─ tasks              time · rooms · holds · payments · disputes · cancelled events · pacing · transfers ·
       │                  mails · housekeeping · realtime · seat maps · the gateway
          └─ listeners       operator · public: they start last and stop first

A task that fails takes the whole tree with it: a half-dead daemon that still answers is the worst state there is. Where
it is the store that fails, those who wait for it are answered first, which takes a second at most.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio

from config.settings import ServerSettings, Settings
from handlers.call import ListenerKind
from handlers.direct import HotEndpoints
from handlers.quart_app import build_app
from handlers.realtime import RealtimeApp
from handlers.router import Router
from handlers.routes import ENDPOINTS
from handlers.serve import Server
from handlers.services import Services
from storage.clock import SteadyClock
from storage.engine import EngineStopped, OutcomeUnknown, StorageError
from storage.open import open_engine
from storage.schema.events import EVENT_CODEC
from storage.writer import WritingEngine
from ticketd.app import Place, build_services
from ticketd.domain.hoarding import LapseLimits
from ticketd.first_start import prepare_store
from ticketd.front.certificates import Certificates, load_certificates
from ticketd.front.limits import FrontLimits
from ticketd.front.listeners import (
    BoundAddress,
    ListenerName,
    NamedListener,
    open_tcp_listener,
    open_unix_listener,
)
from ticketd.front.serve import Served, serve_listeners
from ticketd.garbage import spare_what_stays
from ticketd.loading import load_rooms
from ticketd.outside import open_outside
from ticketd.places import SOCKET_FILE
from ticketd.ports.mail import Mailer
from ticketd.realtime.hub import run_realtime
from ticketd.tasks.cancellations import event_cancellation
from ticketd.tasks.deadlines import run_due_work
from ticketd.tasks.holds import hold_expiry
from ticketd.tasks.housekeeping import run_housekeeping
from ticketd.tasks.mails import mail_delivery
from ticketd.tasks.pacing import run_pacing
from ticketd.tasks.rooms import run_rooms
from ticketd.tasks.seat_maps import run_seat_maps
from ticketd.tasks.timekeeper import Timekeeper, credit_time_down
from ticketd.tasks.transfers import transfer_expiry

_log: structlog.stdlib.BoundLogger = structlog.get_logger("ticketd.tree")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A daemon that is ready: where it listens, and what it is made of."""

    public: BoundAddress
    operator: BoundAddress
    public_url: str
    services: Services


OnReady = Callable[[Running], None]
AfterReady = Callable[[Running], Awaitable[None]]


async def run_daemon(
    settings: Settings, data: Path, on_ready: OnReady, after_ready: AfterReady | None = None
) -> None:
    """Serves until SIGTERM or SIGINT, then ends in order; a second of them ends it at once, by SystemExit.

    ``on_ready`` is called once all listeners are open, then ``after_ready`` is awaited while the daemon serves.

    Raises StorageError or ListenError if it cannot start, and whatever a part of it failed with.
    """
    clock = SteadyClock()
    end = _End(on_ready, after_ready)
    async with trio.open_nursery() as signals:
        await signals.start(_watch_signals, end.stop)
        with open_engine(data, settings.storage, clock, EVENT_CODEC) as engine:
            clock.start_no_earlier(engine.newest_commit_ms())
            async with trio.open_nursery() as writer:
                await writer.start(_run_writer, engine, end)
                try:
                    await _run_above_writer(settings, data, engine, clock, end)
                except* (EngineStopped, OutcomeUnknown):
                    # Where the store has failed, the writer says why, in one sentence.
                    if engine.is_running():
                        raise
                finally:
                    end.answered.set()
                writer.cancel_scope.cancel()
        signals.cancel_scope.cancel()


@dataclass(frozen=True, slots=True)
class _End:
    """How the daemon tells that it is ready, how it learns that it is to stop, and when all answers are given."""

    on_ready: OnReady
    after_ready: AfterReady | None
    stop: trio.Event = field(default_factory=trio.Event)
    answered: trio.Event = field(default_factory=trio.Event)


async def _run_writer(
    engine: WritingEngine, end: _End, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """The writer. If the store fails, the listeners are told to stop, and may bring out the answers that are left."""
    try:
        await engine.run(task_status=task_status)
    except StorageError:
        end.stop.set()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _LEFT_FOR_ANSWERS_SECONDS):
            await end.answered.wait()
        raise


async def _run_above_writer(
    settings: Settings, data: Path, engine: WritingEngine, clock: SteadyClock, end: _End
) -> None:
    await credit_time_down(engine)
    await prepare_store(engine, clock.now_ms(), settings.payments.gateway)
    certificates = load_certificates(settings.server)
    listeners = ExitStack()
    with listeners:
        public = await open_tcp_listener(settings.server.bind, ListenerName.PUBLIC)
        listeners.callback(public.close)
        operator = await _open_operator_listener(settings.server, data)
        listeners.callback(operator.close)
        scheme = "http" if certificates is None else "https"
        url = settings.server.public_url or f"{scheme}://{public.address}"
        outside = open_outside(settings, data, url, clock)
        listeners.callback(outside.close)
        place = Place(data=data, public_url=url)
        services = build_services(settings, place, engine, clock, outside)
        timekeeper = Timekeeper(engine, clock)
        services.metrics.add_readings(timekeeper.readings)
        await load_rooms(engine, services.positions)
        spare_what_stays()
        async with trio.open_nursery() as tasks:
            await tasks.start(_run_tasks_over_store, services, outside.mailer, timekeeper)
            if outside.run_gateway is not None:
                tasks.start_soon(outside.run_gateway)
            await _serve(services, public, operator, certificates, end)
            tasks.cancel_scope.cancel()


async def _run_tasks_over_store(
    services: Services,
    mailer: Mailer,
    timekeeper: Timekeeper,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """The tasks. That they cannot go on without the store ends them alone: the writer ends the rest, and says why."""
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(timekeeper.run)
            await nursery.start(run_tasks, services, mailer)
            task_status.started()
    except* (EngineStopped, OutcomeUnknown):
        if services.engine.is_running():
            raise


async def run_tasks(
    services: Services, mailer: Mailer, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """The long-lived tasks, until they are cancelled; ready once each of them is. One that fails ends them all."""
    engine, clock = services.engine, services.clock
    lapse_limits = LapseLimits.of(services.settings.hoarding)
    async with trio.open_nursery() as nursery:
        await nursery.start(run_rooms, engine, clock)
        await nursery.start(run_due_work, engine, clock, hold_expiry(engine, lapse_limits))
        await nursery.start(services.payments.run)
        await nursery.start(services.payments.disputes.run)
        await nursery.start(run_due_work, engine, clock, event_cancellation(engine))
        await nursery.start(run_due_work, engine, clock, transfer_expiry(engine))
        await nursery.start(run_due_work, engine, clock, mail_delivery(engine, mailer))
        await nursery.start(run_housekeeping, engine, clock, services.settings)
        await nursery.start(run_realtime, services.hub)
        await nursery.start(run_seat_maps, services.seat_maps, clock)
        pacing = partial(run_pacing, enabled=services.settings.rooms.slow_on_payment_trouble)
        await nursery.start(pacing, engine, clock, services.payments.health)
        task_status.started()


async def _serve(
    services: Services,
    public: NamedListener,
    operator: NamedListener,
    certificates: Certificates | None,
    end: _End,
) -> None:
    settings = services.settings.server
    server = Server(services, Router(ENDPOINTS))
    operator_kind = ListenerKind.OPERATOR if operator.address.path is not None else ListenerKind.OPERATOR_TCP
    limits = front_limits(services.settings)
    public_app = build_app(server, ENDPOINTS, ListenerKind.PUBLIC, settings.max_body_bytes)
    operator_app = build_app(server, ENDPOINTS, operator_kind, settings.operator_max_body_bytes)
    at_public = Served(
        app=public_app,
        limits=limits,
        kind=settings.front,
        direct=HotEndpoints(server),
        websocket_app=RealtimeApp(services),
        proxies=services.proxies,
        certificates=certificates,
    )
    # The credential of the Unix socket is its file's mode; what goes over it leaves the machine in no case.
    at_operator = Served(
        app=operator_app,
        limits=limits,
        kind=settings.front,
        certificates=None if operator.address.path is not None else certificates,
    )
    async with trio.open_nursery() as nursery:

        async def serve(
            door: NamedListener,
            *,
            task_status: trio.TaskStatus[list[BoundAddress]] = trio.TASK_STATUS_IGNORED,
        ) -> None:
            served = at_public if door is public else at_operator
            await serve_listeners(served, [door], stop=end.stop, task_status=task_status)

        await nursery.start(serve, operator)
        await nursery.start(serve, public)
        running = Running(
            public=public.address,
            operator=operator.address,
            public_url=services.public_url,
            services=services,
        )
        end.on_ready(running)
        if end.after_ready is not None:
            await end.after_ready(running)


async def _open_operator_listener(settings: ServerSettings, data: Path) -> NamedListener:
    if settings.operator_bind:
        return await open_tcp_listener(settings.operator_bind, ListenerName.OPERATOR)
    return open_unix_listener(data / SOCKET_FILE, ListenerName.OPERATOR)


def front_limits(settings: Settings) -> FrontLimits:
    """What one connection may take, by the settings."""
    server, realtime = settings.server, settings.realtime
    return FrontLimits(
        max_connections=server.max_connections,
        max_connections_per_address=server.max_connections_per_address,
        header_timeout_seconds=server.header_timeout_seconds,
        body_timeout_seconds=server.body_timeout_seconds,
        idle_timeout_seconds=server.idle_timeout_seconds,
        send_timeout_seconds=server.send_timeout_seconds,
        shutdown_seconds=max(server.shutdown_seconds - _LEFT_FOR_THE_REST_SECONDS, 1),
        max_header_bytes=server.max_header_bytes,
        max_message_bytes=realtime.max_message_bytes,
        ping_seconds=realtime.ping_seconds,
        pong_timeout_seconds=realtime.pong_timeout_seconds,
        stalled_seconds=realtime.stalled_seconds,
    )


_LEFT_FOR_ANSWERS_SECONDS: Final = 1
"""When the store has failed, what the listeners have to answer those who waited for it."""
_LEFT_FOR_THE_REST_SECONDS: Final = 2
"""Of the time to shut down, what the tasks and the writer have after the listeners."""
_ON_SIGHUP: Final = "new certificates are taken without a signal; new settings need a restart"


async def _watch_signals(
    stop: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGHUP:
                # To many daemons it means that files are to be read anew. Here it must not end a sale.
                _log.info("SIGHUP ignored", note=_ON_SIGHUP)
                continue
            if stop.is_set():
                # Asked a second time: no more waiting.
                raise SystemExit(128 + number)
            _log.info("stopping", signal=signal.Signals(number).name)
            stop.set()
