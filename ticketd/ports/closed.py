"""Ports that are closed: for a tool that works on a store while no daemon runs, and so neither takes money nor mails.

Every call is refused, with nothing done.
"""

from __future__ import annotations

from typing import NoReturn

from storage.schema.ids import OrderId
from ticketd.ports.mail import MailUnavailable, Message
from ticketd.ports.payments import (
    Charge,
    DisputePage,
    DisputeSnapshot,
    GatewayUnavailable,
    MethodRequest,
    PaymentPage,
    PaymentSnapshot,
    Refunded,
)


def _refuse() -> NoReturn:
    raise GatewayUnavailable("no daemon is running, so no gateway is open", effect_possible=False)


class ClosedGateway:
    """A ``PaymentGateway`` that cannot be reached."""

    @property
    def name(self) -> str:
        return "closed"

    async def describe_method(self, request: MethodRequest, idempotency_key: str) -> NoReturn:
        _refuse()

    async def forget_method(self, method_ref: str) -> None:
        _refuse()

    async def authorise(self, charge: Charge, idempotency_key: str) -> NoReturn:
        _refuse()

    async def capture(self, payment_ref: str, amount_minor: int, idempotency_key: str) -> NoReturn:
        _refuse()

    async def void(self, payment_ref: str, idempotency_key: str) -> NoReturn:
        _refuse()

    async def refund(self, payment_ref: str, amount_minor: int, idempotency_key: str) -> NoReturn:
        _refuse()

    async def fetch(self, payment_ref: str) -> PaymentSnapshot | None:
        _refuse()

    async def find_by_order(self, order_id: OrderId, method_ref: str | None = None) -> None:
        _refuse()

    async def list_refunds(self, payment_ref: str) -> tuple[Refunded, ...]:
        _refuse()

    async def list_payments(self, since_ms: int, cursor: str | None = None) -> PaymentPage:
        _refuse()

    async def disputes_of(self, payment_ref: str) -> tuple[DisputeSnapshot, ...]:
        _refuse()

    async def list_disputes(self, since_ms: int, cursor: str | None = None) -> DisputePage:
        _refuse()


class ClosedMailer:
    """A ``Mailer`` that cannot be reached."""

    async def send(self, message: Message) -> None:
        raise MailUnavailable("no daemon is running, so no mail is sent")
