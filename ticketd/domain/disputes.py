"""Disputes: the buyer's bank takes the money of an order back, and later decides whose it is.

What is recorded is what the gateway was asked about, never what it told of itself. True here: the money that a bank
takes, gives again or keeps is in the ledger once for each dispute, in the commit that marks the order; tickets that die
by disputes live again once all of these are won; seats whose money is lost with their tickets are on sale again.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from storage.engine import Reader, Transaction
from storage.schema.disputes import DisputeRecord
from storage.schema.ids import EventId, OrderId, TicketId
from storage.schema.layout import DISPUTES, event_partition
from storage.schema.movements import MovementKind
from storage.schema.records import OrderRecord
from storage.schema.states import DISPUTE_MOVES, DisputeState, OrderState, PaymentState, TicketState
from ticketd.domain.cancellation import cancel_paid
from ticketd.domain.checkout import OrderStep
from ticketd.domain.ledger import Movement, read_balance, record_movement
from ticketd.domain.order_book import load_order, save_order, trail_line
from ticketd.domain.reservations import return_seats
from ticketd.domain.ticket_book import load_ticket, move_ticket
from ticketd.domain.tickets import VALID_TICKET_STATES, latest_tickets, void_ticket

_TAKEN: Final = frozenset({DisputeState.OPEN, DisputeState.WON, DisputeState.LOST})
"""States of a dispute whose money the bank has taken, whatever became of it."""

_BY_WEIGHT: Final = (
    DisputeState.OPEN,
    DisputeState.LOST,
    DisputeState.INQUIRY,
    DisputeState.WON,
    DisputeState.CLOSED,
)

_ENDED: Final = frozenset({DisputeState.WON, DisputeState.LOST, DisputeState.CLOSED})

_MOVED_BY: Final = {DisputeState.WON: MovementKind.DISPUTE_WON, DisputeState.LOST: MovementKind.DISPUTE_LOST}


class NoteDispute(OrderStep, frozen=True, kw_only=True):
    """The gateway has a dispute of the order's payment in this state. ``voids_tickets``: the order's tickets end with
    it, unless it is won."""

    dispute_ref: str
    state: DisputeState
    amount_minor: int
    reason: str = ""
    voids_tickets: bool = False


def list_disputes(reader: Reader, event_id: EventId, order_id: OrderId) -> list[DisputeRecord]:
    """The disputes of an order's payment, oldest first."""
    found = [dispute for _, dispute in DISPUTES.scan(reader, event_partition(event_id), order_id)]
    return sorted(found, key=lambda dispute: dispute.seen_at_ms)


def is_news(before: DisputeRecord | None, state: DisputeState) -> bool:
    """Whether a dispute that was ``before`` may come to ``state``, and has not yet."""
    return before is None or state in DISPUTE_MOVES[before.state]


def note_dispute(tx: Transaction, command: NoteDispute) -> bool:
    """Records where a dispute stands, and what follows for its order; whether the store knows of it now.

    It does not where the bank took money that the ledger does not say was taken yet: then the capture is recorded
    first. A step that no dispute takes, and one that was recorded before, change nothing.
    """
    event_id, partition = command.event_id, event_partition(command.event_id)
    order = load_order(tx, event_id, command.order_id)
    before = DISPUTES.get(tx, partition, command.order_id, command.dispute_ref)
    if not is_news(before, command.state):
        return True
    is_taken = command.state in _TAKEN
    if is_taken and not read_balance(tx, event_id, command.order_id).captured_minor:
        return False
    was_taken = before is not None and before.state in _TAKEN
    dispute = before if before is not None and was_taken else _as_told(tx, command, before)
    after = _move_money(tx, command, order, dispute, was_taken=was_taken)
    dispute = replace(
        dispute, state=command.state, ended_at_ms=tx.now_ms if command.state in _ENDED else None
    )
    if command.state is DisputeState.WON:
        _revive_tickets(tx, event_id, order, dispute)
    elif is_taken and command.voids_tickets and not dispute.voided:
        dispute = replace(dispute, voided=_void_tickets(tx, event_id, order, dispute))
    DISPUTES.put(tx, dispute, partition, order.order_id, dispute.dispute_ref)
    states = {each.state for each in list_disputes(tx, event_id, order.order_id)}
    after = replace(after, dispute=next(state for state in _BY_WEIGHT if state in states))
    line = trail_line(tx, f"dispute {dispute.dispute_ref}: {command.state.value.lower()}")
    if order.payment_state is PaymentState.REFUND_PENDING:
        # What the gateway refused while the bank had the money, it may give back now; or the buyer has it already.
        after = replace(after, due_at_ms=tx.now_ms, tries=0)
    after = save_order(tx, event_id, order, after, line)
    if command.state is DisputeState.LOST and _nobody_may_come(tx, event_id, order, dispute):
        # Neither money nor a ticket is left of the sale: the seats may be sold again.
        return_seats(tx, event_id, order.user_id, order.order_id, order.kept_seats)
        cancel_paid(tx, event_id, after, after.refund_minor, trail_line(tx, "lost to the buyer's bank"))
    return True


def _as_told(tx: Transaction, command: NoteDispute, before: DisputeRecord | None) -> DisputeRecord:
    """A dispute whose money the bank has not taken yet: what an inquiry is about need not be what is taken later."""
    return DisputeRecord(
        order_id=command.order_id,
        dispute_ref=command.dispute_ref,
        state=command.state,
        amount_minor=command.amount_minor,
        reason=command.reason,
        seen_at_ms=tx.now_ms if before is None else before.seen_at_ms,
    )


def _move_money(
    tx: Transaction, command: NoteDispute, order: OrderRecord, dispute: DisputeRecord, *, was_taken: bool
) -> OrderRecord:
    """Adds to the ledger what the bank did since the dispute was looked at last."""
    kinds = [MovementKind.DISPUTED] if command.state in _TAKEN and not was_taken else []
    if (decided := _MOVED_BY.get(command.state)) is not None:
        kinds.append(decided)
    for kind in kinds:
        movement = Movement(kind=kind, amount_minor=dispute.amount_minor, movement_ref=dispute.dispute_ref)
        order = record_movement(tx, command.event_id, order, movement)
    return order


def _void_tickets(
    tx: Transaction, event_id: EventId, order: OrderRecord, dispute: DisputeRecord
) -> tuple[TicketId, ...]:
    """Ends the tickets of a confirmed order that could still open a door, whoever holds them; which ones, with those
    that another dispute has ended."""
    if order.state is not OrderState.CONFIRMED:
        return ()
    dead = _ended_by_others(tx, event_id, dispute)
    dying = [ticket for ticket in latest_tickets(tx, event_id, order) if ticket.state in VALID_TICKET_STATES]
    for ticket in dying:
        void_ticket(tx, event_id, ticket)
    return (*dead, *(ticket.ticket_id for ticket in dying))


def _revive_tickets(tx: Transaction, event_id: EventId, order: OrderRecord, dispute: DisputeRecord) -> None:
    """Gives the tickets that a dispute ended their life back, where the order still has their seats and no other
    dispute keeps them dead."""
    if order.state is not OrderState.CONFIRMED:
        return
    dead = _ended_by_others(tx, event_id, dispute)
    for ticket_id in dispute.voided:
        ticket = load_ticket(tx, event_id, ticket_id)
        if ticket_id not in dead and ticket.state is TicketState.VOID and ticket.seat in order.kept_seats:
            move_ticket(tx, event_id, ticket, TicketState.ACTIVE)


def _ended_by_others(tx: Transaction, event_id: EventId, dispute: DisputeRecord) -> tuple[TicketId, ...]:
    """The tickets that are dead by other disputes of the same order."""
    others = [
        other
        for other in list_disputes(tx, event_id, dispute.order_id)
        if other.dispute_ref != dispute.dispute_ref and other.state is not DisputeState.WON
    ]
    return tuple({ticket_id: None for other in others for ticket_id in other.voided})


def _nobody_may_come(tx: Transaction, event_id: EventId, order: OrderRecord, dispute: DisputeRecord) -> bool:
    """Whether a dispute has ended all that was left of a confirmed order; not if somebody has come already."""
    if order.state is not OrderState.CONFIRMED or not dispute.voided:
        return False
    return all(ticket.state is TicketState.VOID for ticket in latest_tickets(tx, event_id, order))
