"""Refunds that an operator asks for: a whole order, or some of its tickets, whatever the event's dates say.

Asking is one commit: the tickets die, their seats are on sale again, and the money is due. That the gateway gave it
back, or refused to, is recorded afterwards; how much is whose is in ``refund_amounts``. Refunds of tickets come before
what is left of an order that ended meanwhile, so that no two are under way for one payment.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from storage.engine import Reader, Transaction
from storage.schema.ids import EventId, OrderId, RefundId, SeatNumber, TicketId
from storage.schema.layout import ASKED_REFUNDS, ORDERS, REFUNDS, event_partition
from storage.schema.movements import BOX_OFFICE
from storage.schema.records import OrderRecord, TicketRecord
from storage.schema.refunds import RefundRecord
from storage.schema.states import (
    REFUND_MOVES,
    DisputeState,
    OrderState,
    PaymentState,
    RefundState,
    TicketState,
    check_move,
)
from ticketd.domain.cancellation import PAYMENT_DISPUTED, cancel_paid, cancel_unpaid
from ticketd.domain.checkout import OrderStep
from ticketd.domain.ledger import FREE_REF, note_refunds, read_balance
from ticketd.domain.order_book import load_order, save_order, trail_line
from ticketd.domain.refund_amounts import list_refunds_asked, refunded_seats, rest_minor, seats_minor
from ticketd.domain.reservations import return_seats
from ticketd.domain.sales import load_sale
from ticketd.domain.tickets import latest_tickets, order_tickets, void_ticket, void_tickets
from ticketd.errors import Detail, ErrorCode, Refusal

BY_OPERATOR: Final = "refunded by the operator"


class AskRefund(msgspec.Struct, frozen=True, kw_only=True):
    """The operator gives money back. ``ticket_ids`` None: the whole order. ``with_fees`` None: as the event's
    ``refund_fees`` says, and of a cancelled event always. ``even_used``: also tickets that were used, or that went to
    another person."""

    event_id: EventId
    order_id: OrderId
    refund_id: RefundId
    ticket_ids: tuple[TicketId, ...] | None = None
    with_fees: bool | None = None
    even_used: bool = False
    reason: str = ""
    till: str | None = None
    """The key of the till that gives the money back itself; None: the order's gateway is to."""


class RefundMade(OrderStep, frozen=True, kw_only=True):
    """The gateway has given ``amount_minor`` back, as ``refund_ref``; both are empty where no money had to move."""

    refund_id: RefundId
    refund_ref: str
    amount_minor: int


class RefundFailed(OrderStep, frozen=True, kw_only=True):
    """The gateway refuses for good; ``problem`` is its word."""

    refund_id: RefundId
    problem: str


class _Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The seats of a refund, whether their fees go back, and the last ticket of each that dies with it."""

    seats: tuple[SeatNumber, ...]
    tickets: tuple[TicketRecord, ...]
    with_fees: bool


def ask_refund(tx: Transaction, command: AskRefund) -> RefundRecord:
    """Ends tickets, or a whole order, and makes their money due back.

    Refunding the last tickets of an order is refunding it whole: it is CANCELLED, and given back is all that has not
    been, less what the buyer's bank keeps. Tickets whose refund the gateway refused may be named again.

    Refuses in this order: ORDER_NOT_FOUND; ORDER_ALREADY_CANCELLED; ORDER_NOT_CANCELLABLE with ``reason`` NOT_PAID,
    PAID_AT_BOX_OFFICE, NOT_CONFIRMED where single tickets are named of an order that has none yet, or PAYMENT_DISPUTED
    while a bank has its money, or, for single tickets, where it keeps it;
    TICKET_NOT_FOUND with ``ticket_id``; ORDER_NOT_CANCELLABLE with ``reason`` TICKET_VOID, TICKET_USED or
    TICKET_TRANSFERRED, and ``ticket_id``.
    """
    event_id = command.event_id
    order = ORDERS.get(tx, event_partition(event_id), command.order_id)
    if order is None:
        raise Refusal(ErrorCode.ORDER_NOT_FOUND)
    if order.state is OrderState.CANCELLED:
        raise Refusal(ErrorCode.ORDER_ALREADY_CANCELLED)
    if order.state in {OrderState.FAILED, OrderState.INTENT}:
        raise _not_refundable("NOT_PAID")
    if order.gateway == BOX_OFFICE and command.till is None:
        # No gateway can give back what went over a counter.
        raise _not_refundable("PAID_AT_BOX_OFFICE")
    if command.ticket_ids is not None and order.state is not OrderState.CONFIRMED:
        raise _not_refundable("NOT_CONFIRMED")
    if order.dispute is DisputeState.OPEN or (order.dispute is DisputeState.LOST and command.ticket_ids):
        # A gateway gives nothing back of what the buyer's bank has taken. Lost, the order can be ended all the same.
        raise _not_refundable(PAYMENT_DISPUTED)
    choice = _choose(tx, command, order)
    if not set(order.kept_seats) - set(choice.seats):
        return _refund_rest(tx, command, order, choice)
    return _refund_tickets(tx, command, order, choice)


def first_asked(reader: Reader, event_id: EventId, order_id: OrderId) -> RefundRecord | None:
    """The refund of an order's tickets that the gateway is to make next; None if there is none."""
    partition = event_partition(event_id)
    for parts in ASKED_REFUNDS.scan(reader, partition, order_id, limit=1):
        return REFUNDS.get(reader, partition, *parts)
    return None


def record_refund_made(tx: Transaction, made: RefundMade) -> OrderRecord:
    """The money of some tickets went back. Recorded again, it changes nothing."""
    order = load_order(tx, made.event_id, made.order_id)
    refund = REFUNDS.get(tx, event_partition(made.event_id), made.order_id, made.refund_id)
    if refund is None or refund.state is not RefundState.ASKED:
        return order
    before, moved = order, [(made.refund_ref, made.amount_minor)] if made.amount_minor else []
    order = note_refunds(tx, made.event_id, order, moved)
    _end(tx, made.event_id, replace(refund, refund_ref=made.refund_ref), RefundState.DONE)
    return _count_ended(tx, made.event_id, before, order)


def record_refund_failed(tx: Transaction, failed: RefundFailed) -> OrderRecord:
    """The gateway refuses to give back the money of some tickets. Of an order that has ended it is due all the same,
    with what is left. Recorded again, it changes nothing."""
    order = load_order(tx, failed.event_id, failed.order_id)
    refund = REFUNDS.get(tx, event_partition(failed.event_id), failed.order_id, failed.refund_id)
    if refund is None or refund.state is not RefundState.ASKED:
        return order
    _end(tx, failed.event_id, replace(refund, problem=failed.problem), RefundState.REFUSED)
    after = order
    if order.state is OrderState.CONFIRMED:
        after = replace(order, refund_minor=order.refund_minor - refund.amount_minor)
    return _count_ended(tx, failed.event_id, order, after)


# --- asking -----------------------------------------------------------------------------------------------------------


def _not_refundable(reason: str, ticket_id: TicketId | None = None) -> Refusal:
    details: dict[str, Detail] = {"reason": reason}
    if ticket_id is not None:
        details["ticket_id"] = str(ticket_id)
    return Refusal(ErrorCode.ORDER_NOT_CANCELLABLE, details=details)


def _choose(tx: Transaction, command: AskRefund, order: OrderRecord) -> _Choice:
    """The seats that are meant, in the order of the order's seats."""
    latest = dict(zip(order.seats, latest_tickets(tx, command.event_id, order), strict=False))
    kept = frozenset(order.kept_seats)
    if command.ticket_ids is None:
        chosen = {seat: latest[seat].ticket_id for seat in order.kept_seats if seat in latest}
        seats = order.kept_seats
    else:
        chosen = _named_seats(tx, command, order, latest)
        seats = tuple(seat for seat in order.seats if seat in chosen)
    refunded = refunded_seats(list_refunds_asked(tx, command.event_id, order))
    for seat, named in chosen.items():
        _require_refundable(latest[seat], named, is_refunded=seat in refunded, even_used=command.even_used)
    dying = tuple(latest[seat] for seat in seats if seat in latest and seat in kept)
    sale = load_sale(tx, command.event_id)
    with_fees = sale.refund_fees or sale.cancelled if command.with_fees is None else command.with_fees
    return _Choice(seats=seats, tickets=dying, with_fees=with_fees)


def _named_seats(
    tx: Transaction, command: AskRefund, order: OrderRecord, latest: dict[SeatNumber, TicketRecord]
) -> dict[SeatNumber, TicketId]:
    """The seats of the tickets that are named: by the ticket that the buyer has or had, or by the seat's latest one."""
    seat_of = {ticket.ticket_id: seat for seat, ticket in latest.items()}
    own = zip(order.seats, order_tickets(tx, command.event_id, order), strict=True)
    seat_of |= {ticket.ticket_id: seat for seat, ticket in own}
    named: dict[SeatNumber, TicketId] = {}
    for ticket_id in command.ticket_ids or ():
        if ticket_id not in seat_of:
            raise Refusal(ErrorCode.TICKET_NOT_FOUND, details={"ticket_id": str(ticket_id)})
        named[seat_of[ticket_id]] = ticket_id
    return named


def _require_refundable(ticket: TicketRecord, named: TicketId, *, is_refunded: bool, even_used: bool) -> None:
    if is_refunded:
        raise _not_refundable("TICKET_VOID", named)
    if even_used:
        return
    if ticket.state is TicketState.USED:
        raise _not_refundable("TICKET_USED", named)
    if ticket.issue > 1:
        raise _not_refundable("TICKET_TRANSFERRED", named)


def _refund_tickets(tx: Transaction, command: AskRefund, order: OrderRecord, choice: _Choice) -> RefundRecord:
    event_id, partition = command.event_id, event_partition(command.event_id)
    amount_minor = seats_minor(tx, event_id, order, frozenset(choice.seats), with_fees=choice.with_fees)
    # Where there is no money to move nobody is asked to move it.
    is_due = amount_minor > 0 and order.payment_ref != FREE_REF
    refund = _new_refund(tx, command, choice, amount_minor, closes=False)
    if not is_due:
        refund = replace(refund, state=RefundState.DONE, ended_at_ms=tx.now_ms)
    given_up = tuple(ticket.seat for ticket in choice.tickets)
    if given_up:
        return_seats(tx, event_id, order.user_id, order.order_id, given_up)
    for ticket in choice.tickets:
        if ticket.state is not TicketState.VOID:
            void_ticket(tx, event_id, ticket)
    REFUNDS.put(tx, refund, partition, order.order_id, refund.refund_id)
    if is_due:
        ASKED_REFUNDS.add(tx, partition, order.order_id, refund.refund_id)
    refunding = replace(
        order,
        refund_minor=order.refund_minor + amount_minor,
        returned_seats=(*order.returned_seats, *given_up),
        refunds_asked=order.refunds_asked + is_due,
        due_at_ms=tx.now_ms if is_due else order.due_at_ms,
        tries=0,
    )
    # No line of the trail: an order may have a thousand tickets, and the refund's own record tells it.
    save_order(tx, event_id, order, refunding, None)
    return refund


def _refund_rest(tx: Transaction, command: AskRefund, order: OrderRecord, choice: _Choice) -> RefundRecord:
    """Ends the order. Its money goes back as that of an order that its buyer cancels."""
    said = BY_OPERATOR if command.till is None else f"given back at the till of {command.till}"
    event_id, line = command.event_id, trail_line(tx, said)
    partition = event_partition(event_id)
    if order.payment_state is PaymentState.REQUIRES_ACTION:
        refund = _new_refund(tx, command, choice, 0, closes=True)
        refund = replace(refund, state=RefundState.DONE, ended_at_ms=tx.now_ms)
        cancel_unpaid(tx, event_id, order, line)
    else:
        owed_minor = order.refund_minor + rest_minor(tx, event_id, order, with_fees=choice.with_fees)
        # What a bank has taken for good goes back without anybody here.
        left_minor = read_balance(tx, event_id, order.order_id).beside_bank_minor(owed_minor)
        amount_minor = max(0, left_minor - order.refund_minor)
        refunded = refunded_seats(list_refunds_asked(tx, event_id, order))
        unrefunded = tuple(seat for seat in order.seats if seat not in refunded)
        rest = replace(choice, seats=unrefunded)
        refund = _new_refund(tx, command, rest, amount_minor, closes=True)
        return_seats(tx, event_id, order.user_id, order.order_id, order.kept_seats)
        void_tickets(tx, event_id, order.order_id, even_used=command.even_used)
        cancel_paid(tx, event_id, order, owed_minor, line)
    REFUNDS.put(tx, refund, partition, order.order_id, refund.refund_id)
    return refund


def _new_refund(
    tx: Transaction, command: AskRefund, choice: _Choice, amount_minor: int, *, closes: bool
) -> RefundRecord:
    return RefundRecord(
        refund_id=command.refund_id,
        order_id=command.order_id,
        state=RefundState.ASKED,
        seats=choice.seats,
        ticket_ids=tuple(ticket.ticket_id for ticket in choice.tickets),
        amount_minor=amount_minor,
        with_fees=choice.with_fees,
        closes=closes,
        reason=command.reason,
        asked_at_ms=tx.now_ms,
    )


# --- ending -----------------------------------------------------------------------------------------------------------


def end_closing_refund(tx: Transaction, event_id: EventId, order: OrderRecord) -> None:
    """The money of an order that ended is settled: so is the operator's refund that ended it, if one did. With it went
    what the gateway had refused to give back ticket by ticket."""
    refunds = list_refunds_asked(tx, event_id, order)
    done_minor = sum(refund.amount_minor for refund in refunds if refund.state is RefundState.DONE)
    for refund in refunds:
        if refund.closes and refund.state is RefundState.ASKED:
            settled = replace(refund, amount_minor=max(0, order.refund_minor - done_minor))
            _end(tx, event_id, settled, RefundState.DONE)


def _end(tx: Transaction, event_id: EventId, refund: RefundRecord, state: RefundState) -> None:
    partition = event_partition(event_id)
    ended = replace(refund, state=check_move(REFUND_MOVES, refund.state, state), ended_at_ms=tx.now_ms)
    REFUNDS.put(tx, ended, partition, refund.order_id, refund.refund_id)
    ASKED_REFUNDS.remove(tx, partition, refund.order_id, refund.refund_id)


def _count_ended(tx: Transaction, event_id: EventId, before: OrderRecord, order: OrderRecord) -> OrderRecord:
    """Saves an order of which one refund of tickets has ended: due again if there is more to do."""
    left = order.refunds_asked - 1
    is_due = left > 0 or order.payment_state is PaymentState.REFUND_PENDING
    after = replace(order, refunds_asked=left, due_at_ms=tx.now_ms if is_due else None, tries=0)
    return save_order(tx, event_id, before, after, None)
