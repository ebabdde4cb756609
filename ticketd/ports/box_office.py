"""The gateway of a venue where nothing is sold but at tills: it takes no card and asks nobody, so it needs no network.

What a till sells never comes by here. Orders that another gateway began are out of its reach: nothing is known of them,
and they wait for theirs to be in force again.
"""

from __future__ import annotations

from typing import Final, NoReturn

from storage.schema.ids import OrderId
from storage.schema.movements import BOX_OFFICE
from ticketd.ports.payments import (
    Charge,
    DisputePage,
    GatewayUnavailable,
    MethodRefused,
    MethodRequest,
    PaymentPage,
)

_NO_CARDS: Final = "no cards are taken but at the tills"


def _refuse() -> NoReturn:
    # Whether a call had an effect earlier, at the gateway that was in force then, is not known here.
    raise GatewayUnavailable("payments.gateway is 'box_office', which reaches no other", effect_possible=True)


class BoxOfficeGateway:
    """A ``PaymentGateway`` that refuses every card."""

    @property
    def name(self) -> str:
        return BOX_OFFICE

    def close(self) -> None:
        """Nothing is open."""

    async def describe_method(self, request: MethodRequest, idempotency_key: str) -> MethodRefused:
        return MethodRefused(_NO_CARDS)

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

    async def fetch(self, payment_ref: str) -> None:
        _refuse()

    async def find_by_order(self, order_id: OrderId, method_ref: str | None = None) -> None:
        _refuse()

    async def list_refunds(self, payment_ref: str) -> NoReturn:
        _refuse()

    async def list_payments(self, since_ms: int, cursor: str | None = None) -> PaymentPage:
        return PaymentPage(payments=(), next_cursor=None)

    async def disputes_of(self, payment_ref: str) -> NoReturn:
        _refuse()

    async def list_disputes(self, since_ms: int, cursor: str | None = None) -> DisputePage:
        return DisputePage(disputes=(), next_cursor=None)
