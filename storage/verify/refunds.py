"""Invariants of the refunds that operators asked for: what was asked is counted, found, and what the order says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from storage.schema.ids import SeatNumber
from storage.schema.layout import ASKED_REFUNDS
from storage.schema.movements import MovementKind
from storage.schema.records import OrderRecord
from storage.schema.refunds import RefundRecord
from storage.schema.states import OrderState, RefundState, TicketState
from storage.verify.contents import EventContents
from storage.verify.problem import Problem


def check_refunds_of_orders(event: EventContents) -> Iterator[Problem]:
    """Each refund is of an order, of seats and tickets that are its own; no seat's money is given back twice; and the
    order counts what was asked of it."""
    for order_id, refunds in event.refunds.items():
        if order_id not in event.orders:
            text = f"{len(refunds)} refunds are those of no order"
            yield event.problem("refund-has-order", f"order {order_id}", text)
    for order in event.orders.values():
        refunds = event.refunds.get(order.order_id, [])
        for invariant, text in (*_wrong_sums(order, refunds), *_wrong_seats(order, refunds)):
            yield event.problem(invariant, f"order {order.order_id}", text)
        for refund in refunds:
            yield from _check_refund(event, order, refund)


def check_asked_refunds(event: EventContents) -> Iterator[Problem]:
    """Exactly the refunds of tickets that are still to be made stand in the index of such."""
    wanted = (
        (order_id, refund.refund_id)
        for order_id, refunds in event.refunds.items()
        for refund in refunds
        if refund.state is RefundState.ASKED and not refund.closes
    )
    found = ASKED_REFUNDS.scan(event.reader, event.partition)
    return event.compare("asked-refunds", ASKED_REFUNDS.name, wanted, found)


def check_refunds_in_ledger(event: EventContents) -> Iterator[Problem]:
    """A refund of tickets that was made is a movement of the ledger, of its name and its amount."""
    for order_id, refunds in event.refunds.items():
        moved = {
            movement.movement_ref: movement.amount_minor
            for movement in event.movements.get(order_id, ())
            if movement.kind is MovementKind.REFUNDED
        }
        for refund in refunds:
            if refund.refund_ref and moved.get(refund.refund_ref) != refund.amount_minor:
                text = f"{refund.amount_minor} went back as {refund.refund_ref}, of which the ledger says otherwise"
                yield event.problem("refund-in-ledger", f"refund {refund.refund_id}", text)


def _wrong_sums(order: OrderRecord, refunds: Sequence[RefundRecord]) -> Iterator[tuple[str, str]]:
    asked = sum(refund.state is RefundState.ASKED and not refund.closes for refund in refunds)
    if asked != order.refunds_asked:
        yield "refunds-counted", f"it counts {order.refunds_asked} refunds to be made, and has {asked}"
    standing = sum(refund.amount_minor for refund in refunds if refund.state is not RefundState.REFUSED)
    is_all = order.state is OrderState.CONFIRMED
    if refunds and (standing > order.refund_minor or (is_all and standing != order.refund_minor)):
        yield "refunds-add-up", f"{order.refund_minor} are given back, its refunds add up to {standing}"


def _wrong_seats(order: OrderRecord, refunds: Sequence[RefundRecord]) -> Iterator[tuple[str, str]]:
    times: Counter[SeatNumber] = Counter()
    returned: set[SeatNumber] = set()
    for refund in refunds:
        if refund.state is not RefundState.REFUSED:
            times.update(refund.seats)
        if not refund.closes:
            returned.update(refund.seats)
    if twice := sorted(seat for seat, count in times.items() if count > 1):
        yield "refund-once", f"the money of seats {twice} is given back more than once"
    if returned != set(order.returned_seats) or not returned <= set(order.seats):
        text = f"seats {sorted(returned)} were refunded, {sorted(order.returned_seats)} are not the order's any more"
        yield "refunded-seats", text


def _check_refund(event: EventContents, order: OrderRecord, refund: RefundRecord) -> Iterator[Problem]:
    where = f"refund {refund.refund_id}"
    if refund.amount_minor < 0 or (refund.closes and order.state is not OrderState.CANCELLED):
        text = f"it gives back {refund.amount_minor}, and the order is {order.state.value}"
        yield event.problem("refund-fits-order", where, text)
    if (refund.ended_at_ms is None) != (refund.state is RefundState.ASKED):
        text = f"it is {refund.state.value}, ended at {refund.ended_at_ms}"
        yield event.problem("refund-times", where, text)
    for ticket_id in refund.ticket_ids:
        ticket = event.tickets.get(ticket_id)
        if ticket is None or ticket.order_id != order.order_id or ticket.seat not in refund.seats:
            yield event.problem("refund-of-ticket", where, f"ticket {ticket_id} is none of the order's")
        elif ticket.state is not TicketState.VOID:
            text = f"ticket {ticket_id}, which it paid back, is {ticket.state.value}"
            yield event.problem("refunded-ticket-is-void", where, text)
