"""Holds: seats reserved for one buyer for a while, all or none, and how each of them ends.

Here stand the checks, in the order in which they refuse; how a hold is written is ``ticketd.domain.hold_book``'s.
``expires_at_ms`` is what the buyer was told; a payment may move ``due_at_ms`` alone. Money is asked for by the orders.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from storage.engine import Reader, Transaction
from storage.schema.events import SeatsMoved
from storage.schema.ids import EventId, OrderId, ReservationId, SeatNumber, SectionId, TierId, UserId
from storage.schema.layout import DUE_RESERVATIONS, RESERVATIONS, event_partition
from storage.schema.records import EntryRecord, PurchaseRecord, ReservationRecord, SaleRecord
from storage.schema.states import ReservationState, SeatState
from ticketd.domain.hoarding import (
    MOST_SUBJECTS,
    NO_LIMITS,
    LapseLimits,
    check_cooldown,
    forget_lapses,
    note_lapse,
)
from ticketd.domain.hold_book import begin_hold, end_hold, move_hold, purchases_of, write_purchases
from ticketd.domain.rooms import require_shopping
from ticketd.domain.sales import SalePhase, load_sale, phase_by_date, sale_opens_ms
from ticketd.domain.seat_choice import (
    Holder,
    choose_best,
    find_tier,
    new_hold,
    not_free,
    require_so_many_free,
    sections_to_search,
)
from ticketd.domain.seats import (
    SeatBook,
    SeatMove,
    move_seats,
)
from ticketd.domain.times import rfc3339
from ticketd.errors import ErrorCode, Refusal


class Buying(Holder, frozen=True, kw_only=True):
    """Who reserves in which event: ``entry_id`` is the buyer's place in the room."""

    event_id: EventId
    lapse_limits: LapseLimits = NO_LIMITS


class ReserveSeats(Buying, frozen=True, kw_only=True):
    """A buyer wants these very seats: at least one, none twice."""

    seats: tuple[SeatNumber, ...]


class ReserveBest(Buying, frozen=True, kw_only=True):
    """A buyer wants the best ``quantity`` seats that stand together; at least 1. None: of any section, or tier."""

    quantity: int
    section_id: SectionId | None = None
    tier_id: TierId | None = None


class ReleaseReservation(msgspec.Struct, frozen=True):
    """A buyer gives up a hold."""

    event_id: EventId
    user_id: UserId
    reservation_id: ReservationId


# --- reserving ------------------------------------------------------------------------------------------------------


def reserve_seats(tx: Transaction, command: ReserveSeats) -> ReservationRecord:
    """Holds the seats, all or none, for the event's ``hold_seconds``. Asked again by a buyer for exactly the seats of a
    live hold: that hold as it is.

    Refuses, in this order: EVENT_NOT_FOUND; SEAT_NOT_FOUND with ``seat_ids``; ACCESS_EXPIRED; SALE_ENDED with
    ``reason`` CANCELLED or ENDED; SALE_NOT_OPEN with ``opens_at``; RATE_LIMITED with ``reason`` LAPSED_HOLDS for a new
    hold; SEATS_UNAVAILABLE if any seat is sold or blocked,
    SEATS_TAKEN if any is held, with ``seat_ids`` and ``reason``; PURCHASE_LIMIT_EXCEEDED with ``limit``, ``held`` and
    ``bought``.
    A hold that is over, but not swept yet, still has its seats.
    """
    sale = load_sale(tx, command.event_id)
    book = SeatBook(tx, command.event_id)
    found = book.find(command.seats)
    entry = _require_open_sale(tx, sale, command)
    are_free = all(row.states[position] == SeatState.AVAILABLE for row, position in found)
    if not are_free:
        held = _hold_of_the_very_seats(tx, book, command)
        if held is not None:
            return held
    check_cooldown(tx, command.event_id, entry, command.lapse_limits, tx.now_ms)
    if not are_free:
        raise not_free(book, command.seats)
    has = _purchases_within_limit(tx, sale, command, len(command.seats))
    hold = new_hold(tx, sale, book, command, command.seats)
    begin_hold(tx, book, hold, has)
    return hold


def reserve_best(tx: Transaction, command: ReserveBest) -> ReservationRecord:
    """Holds the best seats that stand together, as ``ticketd.domain.best_seats`` says which they are.

    Refuses, in this order: EVENT_NOT_FOUND; SEAT_NOT_FOUND with ``section_id`` or ``tier_id`` if the event has none
    such; ACCESS_EXPIRED; SALE_ENDED; SALE_NOT_OPEN; RATE_LIMITED with ``reason`` LAPSED_HOLDS; SEATS_UNAVAILABLE with
    ``available`` if fewer are free; PURCHASE_LIMIT_EXCEEDED with ``limit``, ``held`` and ``bought`` if
    ``quantity`` alone is over the limit; NO_ADJACENT_SEATS with ``available``; PURCHASE_LIMIT_EXCEEDED.
    """
    sale = load_sale(tx, command.event_id)
    tier = find_tier(sale, command.tier_id)
    sections = sections_to_search(tx, command.event_id, command.section_id)
    entry = _require_open_sale(tx, sale, command)
    check_cooldown(tx, command.event_id, entry, command.lapse_limits, tx.now_ms)
    book = SeatBook(tx, command.event_id)
    free = require_so_many_free(tx, book, command.quantity, sections, tier)
    if command.quantity > sale.purchase_limit:
        # Such a number is never had: a large hall is not searched for it.
        _purchases_within_limit(tx, sale, command, command.quantity)
    seats = choose_best(book, command.quantity, free, tier)
    has = _purchases_within_limit(tx, sale, command, command.quantity)
    hold = new_hold(tx, sale, book, command, seats)
    begin_hold(tx, book, hold, has)
    return hold


def _require_open_sale(tx: Transaction, sale: SaleRecord, buying: Buying) -> EntryRecord:
    entry = require_shopping(tx, buying.event_id, buying.entry_id, tx.now_ms)
    phase = phase_by_date(sale, tx.now_ms)
    if phase in {SalePhase.CANCELLED, SalePhase.ENDED}:
        raise Refusal(ErrorCode.SALE_ENDED, details={"reason": phase.value})
    if phase in {SalePhase.UPCOMING, SalePhase.LOBBY}:
        raise Refusal(ErrorCode.SALE_NOT_OPEN, details={"opens_at": rfc3339(sale_opens_ms(sale))})
    return entry


def _hold_of_the_very_seats(
    tx: Transaction, book: SeatBook, command: ReserveSeats
) -> ReservationRecord | None:
    """The live hold of this buyer that has exactly these seats, if there is one."""
    row, position = book.find(command.seats[:1])[0]
    owner = row.owners.get(position)
    if row.states[position] != SeatState.RESERVED or owner is None:
        return None
    held = RESERVATIONS.get(tx, book.partition, owner)
    if (
        held is not None
        and held.user_id == command.user_id
        and held.due_at_ms > tx.now_ms
        and set(held.seats) == set(command.seats)
    ):
        return held
    return None


def _purchases_within_limit(tx: Transaction, sale: SaleRecord, buying: Buying, seats: int) -> PurchaseRecord:
    """What the buyer has of the event, if so many more seats may be added to it."""
    has = purchases_of(tx, event_partition(buying.event_id), buying.user_id)
    if has.held + has.bought + seats > sale.purchase_limit:
        details = {"limit": sale.purchase_limit, "held": has.held, "bought": has.bought}
        raise Refusal(ErrorCode.PURCHASE_LIMIT_EXCEEDED, details=details)
    return has


# --- the life of a hold ---------------------------------------------------------------------------------------------


def find_reservation(
    reader: Reader, event_id: EventId, user_id: UserId, reservation_id: ReservationId, now_ms: int
) -> ReservationRecord:
    """A live hold of the buyer.

    Refuses, in this order: RESERVATION_NOT_FOUND if there is none, if it is another buyer's, or if it was released;
    ORDER_EXISTS with ``order_id`` if it was sold; RESERVATION_EXPIRED if it is over at ``now_ms``, swept or not.
    """
    reservation = RESERVATIONS.get(reader, event_partition(event_id), reservation_id)
    if (
        reservation is None
        or reservation.user_id != user_id
        or reservation.state is ReservationState.RELEASED
    ):
        raise _unknown(reservation_id)
    if reservation.state is ReservationState.ORDERED:
        raise _ordered(reservation)
    over = reservation.state is ReservationState.HELD and reservation.due_at_ms <= now_ms
    if over or reservation.state is ReservationState.EXPIRED:
        raise _expired(reservation_id)
    return reservation


def release_reservation(tx: Transaction, command: ReleaseReservation) -> None:
    """Gives up a hold; its seats are free in the same commit.

    Refuses as ``find_reservation``; ORDER_EXISTS with ``order_id`` also while a payment is under way.
    """
    reservation = _find_unpaid(tx, command.event_id, command.user_id, command.reservation_id)
    end_hold(tx, command.event_id, reservation, ReservationState.RELEASED)


def expire_reservations(
    tx: Transaction, event_id: EventId, limit: int, lapse_limits: LapseLimits = NO_LIMITS
) -> int | None:
    """Ends at most ``limit`` holds whose time is over and frees their seats; when the next is due (milliseconds UTC,
    may be past), None if there is none.

    A payment that did not end in its time does not keep the seats either. Each counts as lapsed by ``lapse_limits``.
    """
    partition = event_partition(event_id)
    for _, reservation_id in list(DUE_RESERVATIONS.until(tx, partition, tx.now_ms, limit)):
        hold = RESERVATIONS.get(tx, partition, reservation_id)
        if hold is None:
            raise LookupError(f"event {event_id}: the due index names {reservation_id!r}, which is not there")
        end_hold(tx, event_id, hold, ReservationState.EXPIRED)
        note_lapse(tx, event_id, hold, lapse_limits)
        forget_lapses(tx, event_id, MOST_SUBJECTS)
    return next_expiry_ms(tx, event_id)


def next_expiry_ms(reader: Reader, event_id: EventId) -> int | None:
    """When the next hold of the event ends (milliseconds UTC), None if it has no live one."""
    for due_at_ms, _ in DUE_RESERVATIONS.scan(reader, event_partition(event_id), limit=1):
        if isinstance(due_at_ms, int):
            return due_at_ms
    return None


def freeze_reservation(  # noqa: PLR0913, PLR0917  # the hold, and what freezes it
    tx: Transaction,
    event_id: EventId,
    user_id: UserId,
    reservation_id: ReservationId,
    order_id: OrderId,
    due_at_ms: int,
) -> ReservationRecord:
    """Keeps a hold while the order's payment is under way, until ``due_at_ms`` (milliseconds UTC) at most.

    Refuses as ``find_reservation``; ORDER_EXISTS with ``order_id`` also while another payment is under way.
    """
    reservation = _find_unpaid(tx, event_id, user_id, reservation_id)
    return move_hold(
        tx,
        event_id,
        reservation,
        replace(reservation, state=ReservationState.PAYING, order_id=order_id, due_at_ms=due_at_ms),
    )


def thaw_reservation(
    tx: Transaction, event_id: EventId, reservation_id: ReservationId, *, excused: bool = False
) -> None:
    """Lets a hold run on to its own end, since its payment came to nothing; one that has ended meanwhile stays ended.
    ``excused``: that was not the buyer's doing, so if it runs out it is not counted against them.

    Refuses RESERVATION_NOT_FOUND. To thaw what was sold is a fault in the program (IllegalMove).
    """
    reservation = _load(tx, event_id, reservation_id)
    if reservation.state in {ReservationState.HELD, ReservationState.EXPIRED, ReservationState.RELEASED}:
        return
    move_hold(
        tx,
        event_id,
        reservation,
        replace(
            reservation,
            state=ReservationState.HELD,
            order_id=None,
            due_at_ms=reservation.expires_at_ms,
            excused=reservation.excused or excused,
        ),
    )


def sell_reservation(tx: Transaction, event_id: EventId, reservation_id: ReservationId) -> ReservationRecord:
    """Turns a frozen hold into a sale: its seats are the order's from now on.

    A hold that is over, but not swept yet, can still be sold. Refuses, in this order: RESERVATION_NOT_FOUND;
    RESERVATION_EXPIRED if its seats have fallen free. To sell what no payment has frozen is a fault (IllegalMove).
    """
    reservation = _load(tx, event_id, reservation_id)
    if reservation.state is ReservationState.EXPIRED:
        raise _expired(reservation_id)
    return end_hold(tx, event_id, reservation, ReservationState.ORDERED)


def return_seats(
    tx: Transaction, event_id: EventId, user_id: UserId, order_id: OrderId, seats: Sequence[SeatNumber]
) -> None:
    """Puts sold seats of an order back on sale; its buyer may buy so many more again.

    Refuses SEAT_NOT_FOUND. Seats that are not the order's are a fault in the program (IllegalMove).
    """
    move_seats(tx, event_id, seats, SeatMove(SeatState.SOLD, SeatState.AVAILABLE, owned_by=order_id))
    partition = event_partition(event_id)
    has = purchases_of(tx, partition, user_id)
    write_purchases(tx, partition, user_id, replace(has, bought=has.bought - len(seats)))
    tx.emit(
        partition,
        SeatsMoved(
            event_id=event_id,
            seats=tuple(seats),
            state=SeatState.AVAILABLE,
            order_id=order_id,
            user_id=user_id,
        ),
    )


def _find_unpaid(
    tx: Transaction, event_id: EventId, user_id: UserId, reservation_id: ReservationId
) -> ReservationRecord:
    reservation = find_reservation(tx, event_id, user_id, reservation_id, tx.now_ms)
    if reservation.state is ReservationState.PAYING:
        raise _ordered(reservation)
    return reservation


def _load(reader: Reader, event_id: EventId, reservation_id: ReservationId) -> ReservationRecord:
    reservation = RESERVATIONS.get(reader, event_partition(event_id), reservation_id)
    if reservation is None:
        raise _unknown(reservation_id)
    return reservation


def _unknown(reservation_id: ReservationId) -> Refusal:
    return Refusal(ErrorCode.RESERVATION_NOT_FOUND, details={"reservation_id": str(reservation_id)})


def _expired(reservation_id: ReservationId) -> Refusal:
    return Refusal(ErrorCode.RESERVATION_EXPIRED, details={"reservation_id": str(reservation_id)})


def _ordered(reservation: ReservationRecord) -> Refusal:
    return Refusal(ErrorCode.ORDER_EXISTS, details={"order_id": str(reservation.order_id)})
