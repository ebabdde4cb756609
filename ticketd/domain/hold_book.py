"""The one way in which holds are written: the record and all that is kept in step with it.

True here: a live hold (HELD, PAYING) has all its seats, is counted in its buyer's purchases, and stands in the due
index under its ``due_at_ms``; one that has ended has none of these; each step tells the change log. Whether a step may
be taken is decided by ``ticketd.domain.reservations``.
"""

from __future__ import annotations

from msgspec.structs import replace

from storage.engine import Partition, Reader, Transaction
from storage.schema.events import HoldMoved, SeatsMoved
from storage.schema.ids import EventId, UserId
from storage.schema.layout import DUE_RESERVATIONS, PURCHASES, RESERVATIONS, event_partition
from storage.schema.records import PurchaseRecord, ReservationRecord
from storage.schema.states import RESERVATION_MOVES, ReservationState, SeatState, check_move
from ticketd.domain.seats import SeatBook, SeatMove


def purchases_of(reader: Reader, partition: Partition, user_id: UserId) -> PurchaseRecord:
    """How many seats of an event the buyer holds, and has bought."""
    return PURCHASES.get(reader, partition, user_id) or PurchaseRecord()


def write_purchases(tx: Transaction, partition: Partition, user_id: UserId, has: PurchaseRecord) -> None:
    """Writes what the buyer holds, and has bought. Neither may be below 0 (ValueError)."""
    if has.held < 0 or has.bought < 0:
        raise ValueError(f"buyer {user_id} would hold {has.held} and have bought {has.bought} seats")
    if has.held or has.bought:
        PURCHASES.put(tx, has, partition, user_id)
    else:
        PURCHASES.delete(tx, partition, user_id)


def begin_hold(tx: Transaction, book: SeatBook, hold: ReservationRecord, has: PurchaseRecord) -> None:
    """Writes a new hold (HELD) of seats that are all AVAILABLE; ``has`` is what its buyer has without it."""
    move = SeatMove(SeatState.AVAILABLE, SeatState.RESERVED, hold.reservation_id)
    book.move(tx, hold.seats, move)
    RESERVATIONS.put(tx, hold, book.partition, hold.reservation_id)
    DUE_RESERVATIONS.add(tx, book.partition, hold.due_at_ms, hold.reservation_id)
    write_purchases(tx, book.partition, hold.user_id, replace(has, held=has.held + len(hold.seats)))
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
    has = purchases_of(tx, book.partition, hold.user_id)
    bought = has.bought + seats if sold else has.bought
    write_purchases(tx, book.partition, hold.user_id, PurchaseRecord(held=has.held - seats, bought=bought))
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


def credit_hold(
    tx: Transaction, event_id: EventId, before: ReservationRecord, credit_ms: int
) -> ReservationRecord:
    """Puts the end of a live hold off by ``credit_ms``: what its buyer was told, and when its seats fall free."""
    after = replace(
        before, expires_at_ms=before.expires_at_ms + credit_ms, due_at_ms=before.due_at_ms + credit_ms
    )
    return _write_due(tx, event_id, before, after)


def move_hold(
    tx: Transaction, event_id: EventId, before: ReservationRecord, after: ReservationRecord
) -> ReservationRecord:
    """Writes the next state of a hold that stays live, and where it now stands in the due index."""
    check_move(RESERVATION_MOVES, before.state, after.state)
    return _write_due(tx, event_id, before, after)


def _write_due(
    tx: Transaction, event_id: EventId, before: ReservationRecord, after: ReservationRecord
) -> ReservationRecord:
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
