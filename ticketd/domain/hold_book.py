"""The one way in which holds are written: the record and all that is kept in step with it.

True here: a live hold (HELD, PAYING) has all its seats, is counted in its buyer's purchases, and stands in the due
index under its ``due_at_ms``; one that has ended has none of these; each step tells the change log. Whether a step may
be taken is decided by ``ticketd.domain.reservations``.
"""

from __future__ import annotations

from msgspec.structs import replace

from storage.engine import Reader, Transaction
from storage.schema.events import HoldMoved, SeatsMoved
from storage.schema.ids import EventId, UserId
from storage.schema.layout import DUE_RESERVATIONS, PURCHASES, RESERVATIONS, event_partition
from storage.schema.records import PurchaseRecord, ReservationRecord
from storage.schema.states import RESERVATION_MOVES, ReservationState, SeatState, check_move
from ticketd.domain.seats import SeatBook, SeatMove


def purchases_of(reader: Reader, event_id: EventId, user_id: UserId) -> PurchaseRecord:
    """How many seats of the event the buyer holds, and has bought."""
    return PURCHASES.get(reader, event_partition(event_id), user_id) or PurchaseRecord()


def count_purchases(
    tx: Transaction, event_id: EventId, user_id: UserId, held: int = 0, bought: int = 0
) -> None:
    """Adds to what the buyer holds, and has bought. Neither can fall below 0 (ValueError)."""
    partition = event_partition(event_id)
    has = purchases_of(tx, event_id, user_id)
    held, bought = has.held + held, has.bought + bought
    if held < 0 or bought < 0:
        raise ValueError(
            f"event {event_id}: buyer {user_id} would hold {held} and have bought {bought} seats"
        )
    if held or bought:
        PURCHASES.put(tx, PurchaseRecord(held=held, bought=bought), partition, user_id)
    else:
        PURCHASES.delete(tx, partition, user_id)


def begin_hold(tx: Transaction, book: SeatBook, hold: ReservationRecord) -> None:
    """Writes a new hold (HELD) of seats that are all AVAILABLE."""
    move = SeatMove(SeatState.AVAILABLE, SeatState.RESERVED, hold.reservation_id)
    book.move(tx, hold.seats, move)
    RESERVATIONS.put(tx, hold, book.partition, hold.reservation_id)
    DUE_RESERVATIONS.add(tx, book.partition, hold.due_at_ms, hold.reservation_id)
    count_purchases(tx, book.event_id, hold.user_id, held=len(hold.seats))
    tx.emit(
        book.partition,
        SeatsMoved(
            event_id=book.event_id,
            seats=hold.seats,
            state=SeatState.RESERVED,
            reservation_id=hold.reservation_id,
            user_id=hold.user_id,
            due_at_ms=hold.due_at_ms,
        ),
    )


def end_hold(
    tx: Transaction, event_id: EventId, hold: ReservationRecord, state: ReservationState
) -> ReservationRecord:
    """Ends a live hold: ORDERED sells its seats to its order, RELEASED and EXPIRED free them."""
    ended = replace(hold, state=check_move(RESERVATION_MOVES, hold.state, state))
    book, reservation_id, seats = SeatBook(tx, event_id), hold.reservation_id, len(hold.seats)
    sold = state is ReservationState.ORDERED
    after, owner = (SeatState.SOLD, hold.order_id) if sold else (SeatState.AVAILABLE, None)
    book.move(tx, hold.seats, SeatMove(SeatState.RESERVED, after, owner, owned_by=reservation_id))
    RESERVATIONS.put(tx, ended, book.partition, reservation_id)
    DUE_RESERVATIONS.remove(tx, book.partition, hold.due_at_ms, reservation_id)
    count_purchases(tx, event_id, hold.user_id, held=-seats, bought=seats if sold else 0)
    tx.emit(
        book.partition,
        SeatsMoved(
            event_id=event_id,
            seats=hold.seats,
            state=after,
            reservation_id=reservation_id,
            order_id=hold.order_id if sold else None,
            user_id=hold.user_id,
            expired=state is ReservationState.EXPIRED,
        ),
    )
    return ended


def move_hold(
    tx: Transaction, event_id: EventId, before: ReservationRecord, after: ReservationRecord
) -> ReservationRecord:
    """Writes the next state of a hold that stays live, and where it now stands in the due index."""
    check_move(RESERVATION_MOVES, before.state, after.state)
    partition, reservation_id = event_partition(event_id), before.reservation_id
    RESERVATIONS.put(tx, after, partition, reservation_id)
    DUE_RESERVATIONS.remove(tx, partition, before.due_at_ms, reservation_id)
    DUE_RESERVATIONS.add(tx, partition, after.due_at_ms, reservation_id)
    moved = HoldMoved(
        event_id=event_id,
        reservation_id=reservation_id,
        user_id=after.user_id,
        due_at_ms=after.due_at_ms,
    )
    tx.emit(partition, moved)
    return after
