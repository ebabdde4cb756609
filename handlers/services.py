"""What an endpoint may use. Made once, by the nursery tree, and handed to every endpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from config.settings import Settings
from handlers.access import AccessDesk
from handlers.event_texts import EventTexts
from handlers.hoarding import HoardingRefusals
from storage.clock import Clock
from storage.engine import Engine
from ticketd.metrics import Metrics
from ticketd.ports.payments import PaymentGateway
from ticketd.ports.sandbox_payments import SandboxGateway
from ticketd.rate_limits.addresses import TrustedProxies
from ticketd.rate_limits.limits import RateLimits
from ticketd.realtime.hub import Hub
from ticketd.tasks.payments import PaymentDesk
from ticketd.views.catalogue import Catalogue
from ticketd.views.draw_texts import DrawWriter
from ticketd.views.key_book import KeyBook
from ticketd.views.positions import Positions
from ticketd.views.seat_maps import SeatMaps


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of the running daemon, by the name of what they do."""

    settings: Settings
    data: Path
    public_url: str
    engine: Engine
    clock: Clock
    keys: KeyBook
    positions: Positions
    draw_writer: DrawWriter
    catalogue: Catalogue
    seat_maps: SeatMaps
    gateway: PaymentGateway
    payments: PaymentDesk
    metrics: Metrics
    access: AccessDesk
    hub: Hub
    rate_limits: RateLimits
    proxies: TrustedProxies
    hoarding: HoardingRefusals
    api_document: Callable[[], bytes]
    """The OpenAPI document as JSON, made when it is first asked for."""
    sandbox: SandboxGateway | None = None
    event_texts: EventTexts = field(default_factory=EventTexts)
    running_requests: set[bytes] = field(default_factory=set)
    """Digests of idempotent requests that have not been answered yet."""
