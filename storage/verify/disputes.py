"""Invariants of disputes and of cancelled events: the ledger says what was recorded, nothing of what ended is left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from storage.schema.disputes import DisputeRecord
from storage.schema.movements import MovementKind
from storage.schema.states import DisputeState, OrderState, TicketState
from storage.verify.contents import EventContents
from storage.verify.problem import Problem

_K: Final = MovementKind

_MOVED: Final = {
    DisputeState.INQUIRY: ((),),
    DisputeState.CLOSED: ((),),
    DisputeState.OPEN: ((_K.DISPUTED,),),
    # A bank that had decided for the buyer may give the money back all the same.
    DisputeState.WON: ((_K.DISPUTED, _K.DISPUTE_WON), (_K.DISPUTED, _K.DISPUTE_LOST, _K.DISPUTE_WON)),
    DisputeState.LOST: ((_K.DISPUTED, _K.DISPUTE_LOST),),
}
"""What the ledger may say of a dispute, in this order, by its state."""

_DISPUTES: Final = frozenset({_K.DISPUTED, _K.DISPUTE_WON, _K.DISPUTE_LOST})

_BY_WEIGHT: Final = (
    DisputeState.OPEN,
    DisputeState.LOST,
    DisputeState.INQUIRY,
    DisputeState.WON,
    DisputeState.CLOSED,
)


def check_disputes(event: EventContents) -> Iterator[Problem]:
    """Each dispute is of an order, which is marked by it; its movements are those of its state, each of its amount; and
    the tickets that ended by it are dead until it is won."""
    for order_id, disputes in event.disputes.items():
        if order_id not in event.orders:
            text = f"{len(disputes)} disputes are those of no order"
            yield event.problem("dispute-has-order", f"order {order_id}", text)
        for dispute in disputes:
            yield from _check_tickets(event, dispute)
    for order_id, order in event.orders.items():
        disputes = event.disputes.get(order_id, [])
        states = {dispute.state for dispute in disputes}
        wanted = next((state for state in _BY_WEIGHT if state in states), None)
        if order.dispute is not wanted:
            text = f"it is marked {order.dispute}, and its disputes say {wanted}"
            yield event.problem("order-marked-by-dispute", f"order {order_id}", text)
        by_ref = {dispute.dispute_ref: dispute for dispute in disputes}
        moved: dict[str, list[tuple[MovementKind, int]]] = {ref: [] for ref in by_ref}
        for movement in event.movements.get(order_id, ()):
            if movement.kind in _DISPUTES:
                moved.setdefault(movement.movement_ref, []).append((movement.kind, movement.amount_minor))
        for ref, movements in moved.items():
            known = by_ref.get(ref)
            kinds = tuple(kind for kind, _ in movements)
            fits = known is not None and kinds in _MOVED[known.state]
            if not fits or any(known is None or amount != known.amount_minor for _, amount in movements):
                state = "not known" if known is None else f"{known.state.value} over {known.amount_minor}"
                text = f"dispute {ref} is {state}, and the ledger has {movements}"
                yield event.problem("dispute-in-ledger", f"order {order_id}", text)


def _check_tickets(event: EventContents, dispute: DisputeRecord) -> Iterator[Problem]:
    for ticket_id in dispute.voided:
        ticket = event.tickets.get(ticket_id)
        where = f"dispute {dispute.dispute_ref}"
        if ticket is None or ticket.order_id != dispute.order_id:
            yield event.problem("dispute-of-ticket", where, f"ticket {ticket_id} is none of its order's")
        elif dispute.state is not DisputeState.WON and ticket.state is not TicketState.VOID:
            text = f"ticket {ticket_id}, which it ended, is {ticket.state.value}"
            yield event.problem("disputed-ticket-is-void", where, text)


def check_cancellation(event: EventContents) -> Iterator[Problem]:
    """Once the cancellation of an event is done, no order of it is under way or sold, but for those whose money a till
    owes, and of these no ticket is good."""
    progress = event.cancellation
    if progress is None:
        return
    if event.sale is not None and not event.sale.cancelled:
        yield event.problem("cancelled-event", "its sale", "it is cancelled, and its sale goes on")
    if progress.done_at_ms is None:
        return
    for order in event.orders.values():
        is_left = order.state is OrderState.PENDING or (
            order.state is OrderState.CONFIRMED and not order.owed_at_till
        )
        if is_left:
            text = f"it is {order.state.value}, and the event is cancelled"
            yield event.problem("cancelled-event-is-over", f"order {order.order_id}", text)
