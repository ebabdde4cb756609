"""Money that was set aside after its hold had ended: the very seats again, if nobody else has them, or none at all.

True here: nobody loses a seat to such a payment, and it buys nothing that could not be reserved anew at that moment.
"""

from __future__ import annotations

from msgspec.structs import replace

from storage.engine import Transaction
from storage.schema.events import SeatsMoved
from storage.schema.ids import EventId
from storage.schema.layout import DUE_RESERVATIONS, RESERVATIONS, event_partition
from storage.schema.records import OrderRecord, ReservationRecord
from storage.schema.states import RESERVATION_MOVES, ReservationState, SeatState, check_move
from ticketd.domain.hold_book import purchases_of, write_purchases
from ticketd.domain.sales import OPEN_PHASES, load_sale, phase_by_date
from ticketd.domain.seats import SeatBook, SeatMove
from ticketd.errors import Refusal


def retake_hold(tx: Transaction, event_id: EventId, order: OrderRecord) -> bool:
    """Gives the order's hold its seats again, as if it had not ended; whether that was possible.

    It is if the hold ran out during this payment, each of its seats is free, the sale is open, and the buyer stays
    within the purchase limit.
    """
    hold = RESERVATIONS.get(tx, event_partition(event_id), order.reservation_id)
    if (
        hold is None
        or hold.state is not ReservationState.EXPIRED
        or hold.order_id != order.order_id
        or not _may_be_bought(tx, event_id, hold)
    ):
        return False
    _revive(tx, event_id, hold)
    return True


def _may_be_bought(tx: Transaction, event_id: EventId, hold: ReservationRecord) -> bool:
    sale = load_sale(tx, event_id)
    if phase_by_date(sale, tx.now_ms) not in OPEN_PHASES:
        return False
    try:
        in_state = SeatBook(tx, event_id).by_state(hold.seats)
    except Refusal:
        # A seat has left the plan meanwhile.
        return False
    if len(in_state[SeatState.AVAILABLE]) < len(hold.seats):
        return False
    has = purchases_of(tx, event_partition(event_id), hold.user_id)
    return has.held + has.bought + len(hold.seats) <= sale.purchase_limit


def _revive(tx: Transaction, event_id: EventId, hold: ReservationRecord) -> None:
    revived = replace(
        hold,
        state=check_move(RESERVATION_MOVES, hold.state, ReservationState.PAYING),
        due_at_ms=tx.now_ms,
    )
    book = SeatBook(tx, event_id)
    book.move(tx, hold.seats, SeatMove(SeatState.AVAILABLE, SeatState.RESERVED, hold.reservation_id))
    RESERVATIONS.put(tx, revived, book.partition, hold.reservation_id)
    DUE_RESERVATIONS.add(tx, book.partition, revived.due_at_ms, hold.reservation_id)
    has = purchases_of(tx, book.partition, hold.user_id)
    write_purchases(tx, book.partition, hold.user_id, replace(has, held=has.held + len(hold.seats)))
    tx.emit(
        book.partition,
        SeatsMoved(
            event_id=event_id,
            seats=hold.seats,
            state=SeatState.RESERVED,
            reservation_id=hold.reservation_id,
            user_id=hold.user_id,
            due_at_ms=revived.due_at_ms,
        ),
    )
