"""The configured gateway as a command sees it that works on the store itself: it may look, and moves no money."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from config.settings import Settings
from storage.clock import Clock
from ticketd.outside import open_gateway
from ticketd.ports.box_office import BoxOfficeGateway
from ticketd.ports.closed import ClosedGateway
from ticketd.ports.payments import (
    DisputePage,
    DisputeSnapshot,
    GatewayUnavailable,
    PaymentGateway,
    PaymentPage,
    PaymentSnapshot,
    Refunded,
)
from ticketd.ports.sandbox_ledger import LedgerUnusable
from ticketd.ports.sandbox_payments import SandboxGateway


class VisitedGateway(ClosedGateway):
    """Opens the gateway of the settings for each look and closes it again: each call of a command runs a loop of its
    own, over which no connection lasts. Every call that could move money is refused, as by a closed gateway."""

    def __init__(self, settings: Settings, data: Path, clock: Clock) -> None:
        self._settings = settings
        self._data = data
        self._clock = clock

    @property
    def name(self) -> str:
        """The name of the gateway that is visited."""
        return self._settings.payments.gateway

    async def fetch(self, payment_ref: str) -> PaymentSnapshot | None:
        """As PaymentGateway.fetch."""
        async with self._visit() as gateway:
            return await gateway.fetch(payment_ref)

    async def list_refunds(self, payment_ref: str) -> tuple[Refunded, ...]:
        """As PaymentGateway.list_refunds."""
        async with self._visit() as gateway:
            return await gateway.list_refunds(payment_ref)

    async def list_payments(self, since_ms: int, cursor: str | None = None) -> PaymentPage:
        """As PaymentGateway.list_payments."""
        async with self._visit() as gateway:
            return await gateway.list_payments(since_ms, cursor)

    async def disputes_of(self, payment_ref: str) -> tuple[DisputeSnapshot, ...]:
        """As PaymentGateway.disputes_of."""
        async with self._visit() as gateway:
            return await gateway.disputes_of(payment_ref)

    async def list_disputes(self, since_ms: int, cursor: str | None = None) -> DisputePage:
        """As PaymentGateway.list_disputes."""
        async with self._visit() as gateway:
            return await gateway.list_disputes(since_ms, cursor)

    @asynccontextmanager
    async def _visit(self) -> AsyncIterator[PaymentGateway]:
        url = self._settings.server.public_url
        try:
            gateway = open_gateway(self._settings, self._data, url, self._clock)
        except LedgerUnusable as problem:
            raise GatewayUnavailable(str(problem), effect_possible=False) from problem
        try:
            yield gateway
        finally:
            if isinstance(gateway, SandboxGateway | BoxOfficeGateway):
                gateway.close()
            else:
                await gateway.close()
