"""Forms of the orders part."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

import msgspec

from handlers.wire.common import Address, AnswerBody, Money, Pagination, RequestBody, Time

DeliveryMethod = Literal["MOBILE", "EMAIL", "PRINT", "WILL_CALL"]


class CreateOrder(RequestBody, frozen=True, kw_only=True):
    """A hold is to be paid."""

    reservation_id: UUID
    payment_method_id: Annotated[
        str,
        msgspec.Meta(
            max_length=64,
            description="One of the buyer's payment methods",
            extra_json_schema={"format": "uuid"},
        ),
    ]
    billing_address: Address
    delivery_method: DeliveryMethod = "MOBILE"


class OrderSeat(AnswerBody, frozen=True, kw_only=True):
    """A seat of an order, as it stands in the hall."""

    seat_id: UUID
    section: str
    row: str
    seat: str
    price: Money


class NextAction(AnswerBody, frozen=True, kw_only=True):
    """What the buyer has to do before the payment goes on, until ``expires_at``. With ``client_secret`` a page of
    one's own can let the buyer act, by the payment gateway's script, instead of a redirection."""

    type: Literal["REDIRECT"]
    redirect_url: str
    expires_at: Time
    client_secret: str | msgspec.UnsetType = msgspec.UNSET


class OrderCreated(AnswerBody, frozen=True, kw_only=True):
    """A placed order. ``status`` is PENDING until the money is captured; ``payment_status`` is AUTHORIZED, or
    REQUIRES_ACTION with ``next_action``."""

    order_id: UUID
    reservation_id: UUID
    status: str
    seats: list[OrderSeat]
    currency: str
    subtotal: Money
    fees: Money
    taxes: Money
    total: Money
    payment_status: str
    delivery_method: DeliveryMethod
    created_at: Time
    next_action: NextAction | msgspec.UnsetType = msgspec.UNSET


class OrderEvent(AnswerBody, frozen=True, kw_only=True):
    """What the order is for."""

    event_id: UUID
    name: str
    date: Time
    venue: str


class OrderTicket(AnswerBody, frozen=True, kw_only=True):
    """A ticket of the order. ``qr_code`` is a base64 PNG, empty for a ticket that is void or was transferred."""

    ticket_id: UUID
    qr_code: str
    download_url: str
    status: str


class OrderSummary(AnswerBody, frozen=True, kw_only=True):
    """One order of a list."""

    order_id: UUID
    event: OrderEvent
    seat_count: int
    currency: str
    total: Money
    status: str
    payment_status: str
    created_at: Time
    confirmed_at: Time | None = None
    cancelled_at: Time | None = None


class OrderDetails(AnswerBody, frozen=True, kw_only=True):
    """An order. Its tickets are there once it is CONFIRMED; those that were refunded are VOID. ``refund_amount`` is all
    that was given back of it, or is on its way."""

    order_id: UUID
    reservation_id: UUID
    event: OrderEvent
    seats: list[OrderSeat]
    currency: str
    subtotal: Money
    fees: Money
    taxes: Money
    total: Money
    status: str
    payment_status: str
    delivery_method: DeliveryMethod
    tickets: list[OrderTicket]
    created_at: Time
    confirmed_at: Time | None = None
    cancelled_at: Time | None = None
    refund_amount: Money | None = None
    next_action: NextAction | msgspec.UnsetType = msgspec.UNSET


class OrderList(AnswerBody, frozen=True, kw_only=True):
    """The buyer's orders, newest first."""

    orders: list[OrderSummary]
    pagination: Pagination


class OrderCancelled(AnswerBody, frozen=True, kw_only=True):
    """A cancelled order. ``refund_status`` is PROCESSING while the money is on its way back, NOT_CHARGED if none was
    ever set aside."""

    order_id: UUID
    status: str
    refund_amount: Money
    currency: str
    refund_status: str
    cancelled_at: Time
