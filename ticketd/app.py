"""The parts of the daemon put together: from settings, a store and ports to the services that endpoints use.

Nothing is started here; the nursery tree (``ticketd.tree``) does that.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from config.settings import Settings
from handlers.access import AccessDesk
from handlers.answers import encode_json
from handlers.commit_versions import VersionedEngine
from handlers.hoarding import HoardingRefusals
from handlers.openapi import build_document
from handlers.orders import render_created, render_refused
from handlers.realtime_session import find_queue_place
from handlers.routes import ENDPOINTS
from handlers.services import Services
from handlers.wire.realtime import encode_update
from storage.clock import Clock
from storage.engine import Engine
from storage.writer import WritingEngine
from ticketd.credentials.external import ExternalIssuer
from ticketd.metrics import Metrics, Reading
from ticketd.ports.mail import Mailer
from ticketd.ports.payments import PaymentGateway
from ticketd.ports.sandbox_payments import SandboxGateway
from ticketd.process_metrics import read_process
from ticketd.rate_limits.addresses import TrustedProxies
from ticketd.rate_limits.limits import RateLimits
from ticketd.realtime.hub import Hub, HubParts
from ticketd.store_metrics import read_store
from ticketd.tasks.checkout_health import CheckoutHealth
from ticketd.tasks.payments import DeskParts, PaymentDesk
from ticketd.tasks.placing import Answers
from ticketd.views.catalogue import Catalogue
from ticketd.views.draw_texts import DrawWriter
from ticketd.views.key_book import KeyBook
from ticketd.views.positions import Positions
from ticketd.views.seat_maps import SeatMaps


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The ports to the outside world, and the operator's identity provider."""

    gateway: PaymentGateway
    mailer: Mailer
    sandbox: SandboxGateway | None = None
    run_gateway: Callable[[], Awaitable[None]] | None = None
    """What the gateway does for as long as the daemon runs, if anything."""
    external: ExternalIssuer | None = None
    now_ms: Callable[[], int] | None = None
    """The time of the world outside, where it may not be that of the daemon; by it ``external`` is judged."""

    def close(self) -> None:
        """Closes what is kept open: the sandbox's ledger."""
        if self.sandbox is not None:
            self.sandbox.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where this daemon lives: its data folder and the address that the world knows it by."""

    data: Path
    public_url: str


def _api_document(public_url: str) -> bytes:
    return encode_json(build_document(ENDPOINTS, public_url, version("ticketd")))


def _read_limits(limits: RateLimits) -> dict[str, Reading]:
    text = "Counts that rate limits keep now, one for each caller and class."
    return {"ticketd_rate_limit_callers": Reading(text, limits.known_callers)}


def _read_health(health: CheckoutHealth) -> dict[str, Reading]:
    text = "Rooms into which fewer are let now, since payments fail."
    return {"ticketd_room_slowed": Reading(text, health.rooms_slowed)}


def _read_refunds(payments: PaymentDesk) -> dict[str, Reading]:
    text = "Refunds of tickets that the gateway refused for good since the start."
    return {"ticketd_refunds_refused": Reading(text, payments.refunds_refused)}


def _read_hub(hub: Hub) -> dict[str, Reading]:
    return {
        "ticketd_realtime_connections": Reading("WebSockets that are open now.", hub.connection_count),
        "ticketd_realtime_events": Reading("Events that a WebSocket listens to now.", hub.feed_count),
    }


def build_services(
    settings: Settings, place: Place, engine: WritingEngine, clock: Clock, outside: Outside
) -> Services:
    """The services over a prepared store (``ticketd.first_start``). Reads the store; starts nothing."""
    keys = KeyBook(engine, outside.external, settings.auth.leeway_seconds, outside.now_ms)
    metrics = Metrics()
    metrics.add_readings(partial(read_store, engine))
    metrics.add_readings(read_process)
    limits = RateLimits(settings.rate_limits, lambda rate: metrics.rate_limited(rate.value))
    metrics.add_readings(partial(_read_limits, limits))
    versioned: Engine = VersionedEngine(engine) if settings.server.commit_header else engine
    desk = DeskParts(
        engine=versioned,
        clock=clock,
        gateway=outside.gateway,
        settings=settings,
        ticket_kid=lambda: keys.ticket_key.kid,
        answers=Answers(created=render_created, refused=render_refused),
    )
    payments = PaymentDesk(desk)
    metrics.add_readings(partial(_read_health, payments.health))
    metrics.add_readings(partial(_read_refunds, payments))
    access = AccessDesk(versioned, keys, settings.auth)
    positions = Positions(engine)
    hub = Hub(
        HubParts(
            engine=engine,
            clock=clock,
            encode=encode_update,
            find_place=find_queue_place(positions),
            grant_access=access.grant_by_id,
        )
    )
    metrics.add_readings(partial(_read_hub, hub))
    return Services(
        settings=settings,
        data=place.data,
        public_url=place.public_url,
        engine=versioned,
        clock=clock,
        keys=keys,
        positions=positions,
        draw_writer=DrawWriter(engine),
        catalogue=Catalogue(engine, clock),
        seat_maps=SeatMaps(engine, clock),
        gateway=outside.gateway,
        payments=payments,
        metrics=metrics,
        access=access,
        hub=hub,
        rate_limits=limits,
        proxies=TrustedProxies(settings.server.trusted_proxies),
        hoarding=HoardingRefusals(metrics),
        api_document=functools.cache(partial(_api_document, place.public_url)),
        sandbox=outside.sandbox,
    )
