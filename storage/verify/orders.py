"""Invariants of the orders: money that adds up, states that fit each other, and everyone finds their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from storage.schema.ids import ReservationId
from storage.schema.layout import BUYER_ORDERS, DUE_ORDERS, EVENT_OF_ORDER, SYSTEM, buyer_partition
from storage.schema.records import OrderRecord
from storage.schema.states import OrderState, PaymentState
from storage.verify.contents import EventContents, owns_seats
from storage.verify.problem import Problem

_UNFINISHED: Final = frozenset(
    {
        (OrderState.INTENT, PaymentState.STARTED),
        (OrderState.PENDING, PaymentState.REQUIRES_ACTION),
        (OrderState.PENDING, PaymentState.AUTHORIZED),
        (OrderState.FAILED, PaymentState.STARTED),
        (OrderState.FAILED, PaymentState.REQUIRES_ACTION),
        (OrderState.FAILED, PaymentState.AUTHORIZED),
        (OrderState.FAILED, PaymentState.REFUND_PENDING),
        (OrderState.CANCELLED, PaymentState.REQUIRES_ACTION),
        (OrderState.CANCELLED, PaymentState.AUTHORIZED),
        (OrderState.CANCELLED, PaymentState.REFUND_PENDING),
    }
)
"""Where an order and its money may be while the payments task has yet to do something: it falls due."""

_AT_REST: Final = frozenset(
    {
        (OrderState.CONFIRMED, PaymentState.CAPTURED),
        (OrderState.FAILED, PaymentState.FAILED),
        (OrderState.FAILED, PaymentState.VOIDED),
        (OrderState.FAILED, PaymentState.REFUNDED),
        (OrderState.CANCELLED, PaymentState.VOIDED),
        (OrderState.CANCELLED, PaymentState.REFUNDED),
    }
)
"""Where they may be when nothing more is to be done."""

_LIVE: Final = frozenset({OrderState.INTENT, OrderState.PENDING, OrderState.CONFIRMED})
_SHOWN: Final = frozenset({OrderState.PENDING, OrderState.CONFIRMED, OrderState.CANCELLED})
_MONEY_MOVED: Final = frozenset({PaymentState.AUTHORIZED, PaymentState.CAPTURED, PaymentState.REFUND_PENDING})
_MONEY_BACK: Final = frozenset({PaymentState.REFUND_PENDING, PaymentState.REFUNDED, PaymentState.VOIDED})


def check_order_money(event: EventContents) -> Iterator[Problem]:
    """An order's amounts add up, are its hold's, and are in the event's currency while it has its seats."""
    for order in event.orders.values():
        where = f"order {order.order_id}"
        parts = (order.subtotal_minor, order.fees_minor, order.taxes_minor)
        if min(parts) < 0 or sum(parts) != order.total_minor:
            text = f"{parts[0]} + {parts[1]} + {parts[2]} is not its total of {order.total_minor}"
            yield event.problem("order-adds-up", where, text)
        hold = event.hold(order.reservation_id)
        if hold is not None and parts != (hold.subtotal_minor, hold.fees_minor, hold.taxes_minor):
            yield event.problem("order-as-held", where, "its amounts are not those of its hold")
        if event.sale is not None and owns_seats(order) and order.currency != event.sale.currency:
            text = f"it is in {order.currency}, the event in {event.sale.currency}"
            yield event.problem("order-currency", where, text)


def check_refunds(event: EventContents) -> Iterator[Problem]:
    """Nothing is given back that was not to be, and never more than the total."""
    for order in event.orders.values():
        where = f"order {order.order_id}"
        if not 0 <= order.refund_minor <= order.total_minor:
            text = f"{order.refund_minor} are given back of {order.total_minor}"
            yield event.problem("refund-within-total", where, text)
        elif (
            order.refund_minor
            and order.payment_state not in _MONEY_BACK
            and not event.refunds.get(order.order_id)
        ):
            text = f"{order.refund_minor} are given back of a payment that is {order.payment_state.value}"
            yield event.problem("refund-of-ended-payment", where, text)


def check_order_states(event: EventContents) -> Iterator[Problem]:
    """An order's state and its payment's fit each other, and what money moved for is known at the gateway.

    So a confirmed order has its money captured, and no other order has.
    """
    for order in event.orders.values():
        where = f"order {order.order_id}"
        states = (order.state, order.payment_state)
        if states not in _UNFINISHED | _AT_REST:
            text = (
                f"an order cannot be {order.state.value} with a payment that is {order.payment_state.value}"
            )
            yield event.problem("order-and-payment-agree", where, text)
        elif (order.due_at_ms is not None) != (states in _UNFINISHED or order.refunds_asked > 0):
            text = f"it is {order.state.value} and {order.payment_state.value}, and falls due at {order.due_at_ms}"
            yield event.problem("order-due-by-state", where, text)
        if order.payment_state in _MONEY_MOVED and order.payment_ref is None:
            text = f"its payment is {order.payment_state.value}, and has no name at the gateway"
            yield event.problem("payment-is-named", where, text)
        confirmed, cancelled = order.confirmed_at_ms is not None, order.cancelled_at_ms is not None
        # An order that is cancelled may have been confirmed before.
        confirmed_fits = order.state is OrderState.CANCELLED or confirmed == (
            order.state is OrderState.CONFIRMED
        )
        if not confirmed_fits or cancelled != (order.state is OrderState.CANCELLED):
            times = f"confirmed at {order.confirmed_at_ms}, cancelled at {order.cancelled_at_ms}"
            yield event.problem("order-times", where, f"it is {order.state.value}, {times}")


def check_one_order_a_hold(event: EventContents) -> Iterator[Problem]:
    """A hold is paid by one order at most."""
    orders: Counter[ReservationId] = Counter(
        order.reservation_id for order in event.orders.values() if order.state in _LIVE
    )
    for reservation_id, count in orders.items():
        if count > 1:
            text = f"{count} orders that have not ended are for it"
            yield event.problem("one-order-a-hold", f"reservation {reservation_id}", text)


def check_due_orders(event: EventContents) -> Iterator[Problem]:
    """Exactly the orders that fall due stand in the index of what does."""
    wanted = (
        (order.due_at_ms, order.order_id) for order in event.orders.values() if order.due_at_ms is not None
    )
    found = DUE_ORDERS.scan(event.reader, event.partition)
    return event.compare("due-orders", DUE_ORDERS.name, wanted, found)


def check_orders_are_found(event: EventContents) -> Iterator[Problem]:
    """An order that its buyer may see is found by its buyer and by its id; one whose payment has no outcome is not."""
    for order in event.orders.values():
        if order.state is not OrderState.FAILED:
            yield from _check_order_is_found(event, order)


def _check_order_is_found(event: EventContents, order: OrderRecord) -> Iterator[Problem]:
    wanted = event.event_id if order.state in _SHOWN else None
    by_buyer = BUYER_ORDERS.get(event.reader, buyer_partition(order.user_id), order.order_id)
    by_id = EVENT_OF_ORDER.get(event.reader, SYSTEM, order.order_id)
    if by_buyer != wanted:
        text = f"its buyer finds it in event {by_buyer}"
        yield event.problem("buyer-finds-order", f"order {order.order_id}", text)
    if by_id != wanted:
        text = f"by its id it is found in event {by_id}"
        yield event.problem("event-of-order", f"order {order.order_id}", text)
