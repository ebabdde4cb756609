"""Cards and payments to start from, made through the port of any gateway."""

from __future__ import annotations

import itertools
from uuid import UUID, uuid4

from storage.schema.ids import OrderId, UserId
from ticketd.ports.payments import (
    Authorised,
    Captured,
    CardAdded,
    Charge,
    MethodRequest,
    PaymentGateway,
    PaymentSnapshot,
)

TOTAL_MINOR = 186_000
BUYER = UserId(UUID("5f0c3f0e-2f4f-4c0f-9d1b-0c7f6f3f2a11"))

_numbers = itertools.count(1)


def new_key() -> str:
    """A key that was never used, in this run or another."""
    return f"{uuid4()}-{next(_numbers)}"


def new_order() -> OrderId:
    """An order that nobody has paid for."""
    return OrderId(uuid4())


def card(token: str = "tok_visa", customer_ref: str | None = None) -> MethodRequest:
    """What asks for a card of the one buyer to be added."""
    return MethodRequest(card_token=token, user_id=BUYER, customer_ref=customer_ref)


async def add_card(gateway: PaymentGateway, token: str = "tok_visa") -> str:
    """The reference of a card just added."""
    added = await gateway.describe_method(card(token), new_key())
    assert isinstance(added, CardAdded)
    return added.gateway_method_ref


def charge_of(method_ref: str, *, order_id: OrderId | None = None, amount_minor: int = TOTAL_MINOR) -> Charge:
    """A charge of the card for an order, a new one by default."""
    return Charge(
        order_id=new_order() if order_id is None else order_id,
        amount_minor=amount_minor,
        currency="USD",
        method_ref=method_ref,
        description="Eras Tour, Floor A 1 to 3",
        return_url="https://tickets.example/orders/back",
    )


async def authorise(
    gateway: PaymentGateway, token: str = "tok_visa", *, amount_minor: int = TOTAL_MINOR
) -> str:
    """The reference of a payment just authorised."""
    charge = charge_of(await add_card(gateway, token), amount_minor=amount_minor)
    outcome = await gateway.authorise(charge, new_key())
    assert isinstance(outcome, Authorised)
    return outcome.payment_ref


async def capture(gateway: PaymentGateway, *, amount_minor: int = TOTAL_MINOR) -> str:
    """The reference of a payment just captured in full."""
    payment_ref = await authorise(gateway, amount_minor=amount_minor)
    assert await gateway.capture(payment_ref, amount_minor, new_key()) == Captured(amount_minor)
    return payment_ref


async def list_all(gateway: PaymentGateway, *, since_ms: int) -> list[PaymentSnapshot]:
    """All payments that were begun since then, from all pages."""
    found: list[PaymentSnapshot] = []
    page = await gateway.list_payments(since_ms)
    found.extend(page.payments)
    while page.next_cursor is not None:
        page = await gateway.list_payments(since_ms, page.next_cursor)
        found.extend(page.payments)
    return found


async def snapshot(gateway: PaymentGateway, payment_ref: str) -> PaymentSnapshot:
    """The payment as it stands; it must be there."""
    found = await gateway.fetch(payment_ref)
    assert found is not None
    assert found.payment_ref == payment_ref
    return found
