"""Cancelling an order: the seats go back on sale, the tickets die, and the money is due back, all in one commit."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from storage.engine import Transaction
from storage.schema.ids import EventId, OrderId, UserId
from storage.schema.layout import RESERVATIONS, event_partition
from storage.schema.movements import BOX_OFFICE
from storage.schema.records import OrderRecord, SaleRecord, TrailRecord
from storage.schema.states import DisputeState, OrderState, PaymentState, ReservationState, TicketState
from ticketd.domain.hold_book import end_hold
from ticketd.domain.order_book import find_order, save_order, trail_line
from ticketd.domain.refund_amounts import rest_minor
from ticketd.domain.reservations import return_seats, thaw_reservation
from ticketd.domain.sales import load_sale
from ticketd.domain.tickets import blocking_ticket, void_tickets
from ticketd.errors import ErrorCode, Refusal

PAYMENT_DISPUTED: Final = "PAYMENT_DISPUTED"
WITH_BANK: Final = frozenset({DisputeState.OPEN, DisputeState.LOST})
"""States of an order's dispute in which the buyer's bank has its money."""


class CancelOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A buyer takes an order back. ``event_id`` is the one that the order was found in."""

    event_id: EventId
    order_id: OrderId
    user_id: UserId
    session_id: str = ""


def cancel_order(tx: Transaction, command: CancelOrder) -> OrderRecord:
    """Cancels a whole order. ``refund_minor`` is what the buyer gets back: the total, less the fees if the event keeps
    them, and 0 if no money was set aside yet; what was refunded of it before is in it.

    Refuses in this order: ORDER_NOT_FOUND; ORDER_ALREADY_CANCELLED; ORDER_NOT_CANCELLABLE with ``reason`` NOT_PAID,
    PAID_AT_BOX_OFFICE, PAYMENT_DISPUTED, EVENT_STARTED, PAST_REFUNDABLE_UNTIL, TICKET_USED or TICKET_TRANSFERRED.
    """
    event_id, order = find_order(tx, command.user_id, command.order_id)
    if order.state is OrderState.CANCELLED:
        raise Refusal(ErrorCode.ORDER_ALREADY_CANCELLED)
    sale = load_sale(tx, event_id)
    _check_cancellable(tx, event_id, order, sale)
    if order.payment_state is PaymentState.REQUIRES_ACTION:
        line = trail_line(tx, "cancelled before it was paid", command.session_id)
        return cancel_unpaid(tx, event_id, order, line)
    return_seats(tx, event_id, order.user_id, order.order_id, order.kept_seats)
    void_tickets(tx, event_id, order.order_id)
    all_minor = order.refund_minor + rest_minor(tx, event_id, order, with_fees=sale.refund_fees)
    line = trail_line(tx, "cancelled by the buyer", command.session_id)
    return cancel_paid(tx, event_id, order, all_minor, line)


def cancel_paid(
    tx: Transaction, event_id: EventId, order: OrderRecord, all_minor: int, line: TrailRecord
) -> OrderRecord:
    """Writes an order whose seats and tickets have ended as CANCELLED. ``all_minor`` of its money, with what was given
    back before, is not the seller's to keep."""
    cancelled = replace(
        order,
        state=OrderState.CANCELLED,
        payment_state=PaymentState.REFUND_PENDING,
        refund_minor=all_minor,
        cancelled_at_ms=tx.now_ms,
        due_at_ms=tx.now_ms,
        tries=0,
    )
    return save_order(tx, event_id, order, cancelled, line)


def _check_cancellable(tx: Transaction, event_id: EventId, order: OrderRecord, sale: SaleRecord) -> None:
    reason = None
    if order.state is OrderState.FAILED:
        reason = "NOT_PAID"
    elif order.gateway == BOX_OFFICE:
        # The money went over a counter, and comes back over it.
        reason = "PAID_AT_BOX_OFFICE"
    elif order.dispute in WITH_BANK:
        # The bank gives the money back, or has; nobody is to get it twice.
        reason = PAYMENT_DISPUTED
    elif tx.now_ms >= sale.date_ms:
        reason = "EVENT_STARTED"
    elif sale.refundable_until_ms is not None and tx.now_ms >= sale.refundable_until_ms:
        reason = "PAST_REFUNDABLE_UNTIL"
    else:
        match blocking_ticket(tx, event_id, order):
            case TicketState.USED:
                reason = "TICKET_USED"
            case TicketState.TRANSFERRED:
                reason = "TICKET_TRANSFERRED"
            case _:
                pass
    if reason is not None:
        raise Refusal(ErrorCode.ORDER_NOT_CANCELLABLE, details={"reason": reason})


def cancel_unpaid(tx: Transaction, event_id: EventId, order: OrderRecord, line: TrailRecord) -> OrderRecord:
    """Cancels an order that waits for its buyer to act at the gateway: the hold ends, nothing was charged."""
    _release_hold(tx, event_id, order)
    cancelled = replace(
        order,
        state=OrderState.CANCELLED,
        cancelled_at_ms=tx.now_ms,
        redirect_url=None,
        client_secret=None,
        due_at_ms=tx.now_ms,
        tries=0,
    )
    return save_order(tx, event_id, order, cancelled, line)


def _release_hold(tx: Transaction, event_id: EventId, order: OrderRecord) -> None:
    """Frees the seats that are held for an order's payment. A hold that is over already has none."""
    partition = event_partition(event_id)
    hold = RESERVATIONS.get(tx, partition, order.reservation_id)
    if hold is None or hold.state is not ReservationState.PAYING or hold.order_id != order.order_id:
        return
    thaw_reservation(tx, event_id, order.reservation_id)
    if (thawed := RESERVATIONS.get(tx, partition, order.reservation_id)) is not None:
        end_hold(tx, event_id, thawed, ReservationState.RELEASED)
