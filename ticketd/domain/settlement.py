"""What becomes of an order's money once it is set aside: captured, voided, refunded. One commit for each outcome.

Which call of the gateway is next follows from the order alone (``next_move``); the payments task makes it and
records here what came of it. Recorded again, an outcome changes nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec.structs import replace

from storage.engine import Transaction
from storage.schema.ids import TicketId
from storage.schema.movements import MovementKind
from storage.schema.records import OrderRecord
from storage.schema.states import OrderState, PaymentState
from ticketd.domain.checkout import OrderStep
from ticketd.domain.ledger import (
    Movement,
    note_capture,
    note_refunds,
    note_release,
    read_balance,
    record_movement,
)
from ticketd.domain.order_book import load_order, save_order, trail_line
from ticketd.domain.refunds import end_closing_refund
from ticketd.domain.reservations import return_seats
from ticketd.domain.tickets import IssueTickets, issue_tickets


class Move(enum.Enum):
    """What is to be done next about an order's money."""

    AUTHORISE = "authorise"
    """Ask again for the authorisation, under the same key: the answer was lost."""
    AWAIT_BUYER = "await buyer"
    """Look whether the buyer has acted; end the order if the time to act is over."""
    CAPTURE = "capture"
    FIND_LOST = "find lost"
    """The order was given up without an answer: ask again under the same key, and void what was set aside."""
    VOID = "void"
    REFUND_TICKETS = "refund tickets"
    """Refund those tickets of the order that the operator named."""
    REFUND = "refund"
    """Refund what was captured, or void what was only set aside."""
    NOTHING = "nothing"


_NEXT_MOVES: Final[Mapping[tuple[OrderState, PaymentState], Move]] = {
    (OrderState.INTENT, PaymentState.STARTED): Move.AUTHORISE,
    (OrderState.PENDING, PaymentState.REQUIRES_ACTION): Move.AWAIT_BUYER,
    (OrderState.PENDING, PaymentState.AUTHORIZED): Move.CAPTURE,
    (OrderState.FAILED, PaymentState.STARTED): Move.FIND_LOST,
    (OrderState.FAILED, PaymentState.AUTHORIZED): Move.VOID,
    (OrderState.FAILED, PaymentState.REQUIRES_ACTION): Move.VOID,
    (OrderState.FAILED, PaymentState.REFUND_PENDING): Move.REFUND,
    (OrderState.CANCELLED, PaymentState.REQUIRES_ACTION): Move.VOID,
    (OrderState.CANCELLED, PaymentState.REFUND_PENDING): Move.REFUND,
}
"""All other states are at rest."""


class ConfirmOrder(OrderStep, frozen=True, kw_only=True):
    """The gateway has taken ``captured_minor``. ``ticket_ids``, one for each seat, and ``seed``, 32 random bytes, are
    new; ``kid`` names the key that signs the tickets' codes."""

    captured_minor: int
    ticket_ids: tuple[TicketId, ...]
    seed: bytes
    kid: str


class PutOff(OrderStep, frozen=True, kw_only=True):
    """A step could not be made; try again after ``delay_ms``."""

    delay_ms: int


def next_move(order: OrderRecord) -> Move:
    """What is to be done next about an order's money, by its states, and by whether refunds of tickets were asked."""
    if order.refunds_asked:
        return Move.REFUND_TICKETS
    return _NEXT_MOVES.get((order.state, order.payment_state), Move.NOTHING)


def confirm_order(tx: Transaction, command: ConfirmOrder) -> OrderRecord:
    """The money is in: the order is CONFIRMED, and its tickets are issued in the same commit.

    Of an order that was cancelled meanwhile only the ledger tells that the money was taken: its refund is due already.
    """
    order = load_order(tx, command.event_id, command.order_id)
    if next_move(order) is Move.REFUND:
        return record_taken(tx, command, command.captured_minor)
    if next_move(order) is not Move.CAPTURE:
        return order
    issued = issue_tickets(
        tx,
        IssueTickets(
            event_id=command.event_id,
            order_id=order.order_id,
            user_id=order.user_id,
            seats=order.seats,
            ticket_ids=command.ticket_ids,
            seed=command.seed,
            kid=command.kid,
        ),
    )
    confirmed = replace(
        note_capture(tx, command.event_id, order, command.captured_minor),
        state=OrderState.CONFIRMED,
        payment_state=PaymentState.CAPTURED,
        confirmed_at_ms=tx.now_ms,
        ticket_ids=issued,
        due_at_ms=None,
        tries=0,
    )
    return save_order(tx, command.event_id, order, confirmed, trail_line(tx, "captured"))


def record_taken(tx: Transaction, step: OrderStep, captured_minor: int) -> OrderRecord:
    """The gateway has taken the money of an order that is due a refund: the ledger tells so before it is given back."""
    order = load_order(tx, step.event_id, step.order_id)
    if next_move(order) is not Move.REFUND:
        return order
    taken = note_capture(tx, step.event_id, order, captured_minor)
    return order if taken is order else save_order(tx, step.event_id, order, taken, None)


def record_voided(tx: Transaction, step: OrderStep) -> OrderRecord:
    """What was set aside is free again: nothing was charged.

    An order of which the ledger says that money was taken stays as it is: that is owed to its buyer.
    """
    order = load_order(tx, step.event_id, step.order_id)
    if next_move(order) not in {Move.VOID, Move.REFUND}:
        return order
    if read_balance(tx, step.event_id, step.order_id).captured_minor:
        return order
    return _end_payment(tx, step, note_release(tx, step.event_id, order), PaymentState.VOIDED)


def record_refunded(tx: Transaction, step: OrderStep, refunds: Iterable[tuple[str, int]]) -> OrderRecord:
    """What was to be given back was given back. ``refunds`` are all that the gateway has made of the payment, each with
    its name and its amount, also those that somebody made by hand. What the buyer's bank keeps is owed no more."""
    order = load_order(tx, step.event_id, step.order_id)
    if next_move(order) is not Move.REFUND:
        return order
    after = note_refunds(tx, step.event_id, order, refunds)
    given_back_minor = read_balance(tx, step.event_id, step.order_id).given_back_minor(after)
    return _end_payment(tx, step, replace(after, refund_minor=given_back_minor), PaymentState.REFUNDED)


def record_nothing_lost(tx: Transaction, step: OrderStep) -> OrderRecord:
    """An order that was given up without an answer had set no money aside."""
    order = load_order(tx, step.event_id, step.order_id)
    if next_move(order) is not Move.FIND_LOST:
        return order
    return _end_payment(tx, step, order, PaymentState.FAILED)


def record_found(tx: Transaction, step: OrderStep, payment_ref: str, *, set_aside: bool) -> OrderRecord:
    """An order that was given up without an answer has a payment, which is due to be voided. ``set_aside``: with the
    money set aside; else it waits for a buyer who was never asked."""
    order = load_order(tx, step.event_id, step.order_id)
    if next_move(order) is not Move.FIND_LOST:
        return order
    state = PaymentState.AUTHORIZED if set_aside else PaymentState.REQUIRES_ACTION
    found = replace(order, payment_state=state, payment_ref=payment_ref, due_at_ms=tx.now_ms, tries=0)
    line = trail_line(tx, "needs the buyer although no answer came")
    if set_aside:
        movement = Movement(kind=MovementKind.AUTHORISED, amount_minor=order.total_minor)
        found = record_movement(tx, step.event_id, found, movement)
        line = trail_line(tx, "authorised although no answer came")
    return save_order(tx, step.event_id, order, found, line)


def owe_refund(tx: Transaction, step: OrderStep, captured_minor: int) -> OrderRecord:
    """The gateway has taken ``captured_minor`` of an order that is over: all of it is due back."""
    order = load_order(tx, step.event_id, step.order_id)
    if next_move(order) is not Move.VOID:
        return order
    owing = replace(
        note_capture(tx, step.event_id, order, captured_minor),
        payment_state=PaymentState.REFUND_PENDING,
        refund_minor=captured_minor,
        due_at_ms=tx.now_ms,
        tries=0,
    )
    return save_order(tx, step.event_id, order, owing, trail_line(tx, "taken although the order was over"))


def record_capture_refused(tx: Transaction, step: OrderStep) -> OrderRecord:
    """The gateway refuses the capture for good: no money, so no tickets. The order is FAILED, its seats are on sale."""
    order = load_order(tx, step.event_id, step.order_id)
    if next_move(order) is not Move.CAPTURE:
        return order
    return_seats(tx, step.event_id, order.user_id, order.order_id, order.seats)
    failed = replace(
        note_release(tx, step.event_id, order),
        state=OrderState.FAILED,
        payment_state=PaymentState.FAILED,
        due_at_ms=None,
        tries=0,
    )
    return save_order(tx, step.event_id, order, failed, trail_line(tx, "capture refused"))


def wake_order(tx: Transaction, step: OrderStep) -> OrderRecord:
    """Makes an unfinished order due at once: something has happened at the gateway."""
    order = load_order(tx, step.event_id, step.order_id)
    if next_move(order) is Move.NOTHING:
        return order
    return save_order(tx, step.event_id, order, replace(order, due_at_ms=tx.now_ms), None)


def put_off(tx: Transaction, command: PutOff) -> OrderRecord:
    """Counts a try that came to nothing, and makes the order due again later."""
    order = load_order(tx, command.event_id, command.order_id)
    if next_move(order) is Move.NOTHING:
        return order
    later = replace(order, due_at_ms=tx.now_ms + command.delay_ms, tries=order.tries + 1)
    return save_order(tx, command.event_id, order, later, None)


_ENDS: Final = {
    PaymentState.VOIDED: "voided",
    PaymentState.REFUNDED: "refunded",
    PaymentState.FAILED: "no money was set aside",
}


def _end_payment(tx: Transaction, step: OrderStep, order: OrderRecord, end: PaymentState) -> OrderRecord:
    """Ends the payment of an order, whose movements may be counted further than they are saved."""
    before = load_order(tx, step.event_id, step.order_id)
    end_closing_refund(tx, step.event_id, order)
    ended = replace(order, payment_state=end, due_at_ms=None, tries=0)
    return save_order(tx, step.event_id, before, ended, trail_line(tx, _ENDS[end]))
