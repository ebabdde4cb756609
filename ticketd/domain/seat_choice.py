"""Which seats somebody gets, whoever sells them: these very ones if all are free, or the best that stand together, and
what they cost. Who may have them, and what becomes of them, is the seller's to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from storage.engine import Reader, Transaction
from storage.schema.ids import EntryId, EventId, ReservationId, SeatNumber, SectionId, TierId, UserId
from storage.schema.layout import COUNTS, EVENT, SECTIONS, event_partition
from storage.schema.records import ReservationRecord, SaleRecord
from storage.schema.states import ReservationState, SeatState
from ticketd.domain.money import amounts_of
from ticketd.domain.seats import BLOCKED_REASON, HELD_REASON, SOLD_REASON, SeatBook, refuse_seats
from ticketd.errors import ErrorCode, Refusal

TOO_FEW_REASON: Final = "Not so many seats are free"
NOT_TOGETHER_REASON: Final = "Enough seats are free, but not side by side"


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Whose a new hold is. ``reservation_id`` is new; ``entry_id`` is the place in the room that it comes from."""

    user_id: UserId
    entry_id: EntryId
    reservation_id: ReservationId


def not_free(book: SeatBook, seats: Sequence[SeatNumber]) -> Refusal:
    """The refusal of seats of which some are not free: sold or blocked ones weigh more than held ones."""
    by_state = book.by_state(seats)
    gone = [*by_state[SeatState.SOLD], *by_state[SeatState.BLOCKED]]
    if gone:
        reason = SOLD_REASON if by_state[SeatState.SOLD] else BLOCKED_REASON
        return refuse_seats(ErrorCode.SEATS_UNAVAILABLE, book.event_id, gone, reason)
    return refuse_seats(ErrorCode.SEATS_TAKEN, book.event_id, by_state[SeatState.RESERVED], HELD_REASON)


def new_hold(
    tx: Transaction, sale: SaleRecord, book: SeatBook, holder: Holder, seats: tuple[SeatNumber, ...]
) -> ReservationRecord:
    """A hold of these free seats, at the prices and for the time that the sale sets. It is not written."""
    tiers = [sale.tiers[row.tiers[position]] for row, position in book.find(seats)]
    prices = tuple((tier.price_minor, tier.fees_minor) for tier in tiers)
    amounts = amounts_of(prices, sale.tax_rate_ppm)
    expires_at_ms = tx.now_ms + sale.hold_seconds * 1000
    return ReservationRecord(
        reservation_id=holder.reservation_id,
        user_id=holder.user_id,
        entry_id=holder.entry_id,
        state=ReservationState.HELD,
        seats=seats,
        prices=prices,
        subtotal_minor=amounts.subtotal_minor,
        fees_minor=amounts.fees_minor,
        taxes_minor=amounts.taxes_minor,
        created_at_ms=tx.now_ms,
        expires_at_ms=expires_at_ms,
        due_at_ms=expires_at_ms,
    )


def find_tier(sale: SaleRecord, tier_id: TierId | None) -> int | None:
    """The number of a price in the sale; None for None. Refuses SEAT_NOT_FOUND with ``tier_id``."""
    if tier_id is None:
        return None
    for index, tier in enumerate(sale.tiers):
        if tier.tier_id == tier_id:
            return index
    raise Refusal(ErrorCode.SEAT_NOT_FOUND, details={"tier_id": str(tier_id)})


def sections_to_search(reader: Reader, event_id: EventId, section_id: SectionId | None) -> tuple[int, ...]:
    """The keys of the sections that may be searched, in their order. Refuses SEAT_NOT_FOUND with ``section_id``."""
    partition = event_partition(event_id)
    event = EVENT.get(reader, partition)
    section_keys = () if event is None else event.section_keys
    if section_id is None:
        return section_keys
    for section_key in section_keys:
        section = SECTIONS.get(reader, partition, section_key)
        if section is not None and section.section_id == section_id:
            return (section_key,)
    raise Refusal(ErrorCode.SEAT_NOT_FOUND, details={"section_id": str(section_id)})


def require_so_many_free(
    reader: Reader, book: SeatBook, quantity: int, sections: Sequence[int], tier: int | None
) -> dict[int, int]:
    """How many seats are free in each of the sections, in their order. Refuses SEATS_UNAVAILABLE with ``available`` if
    they are fewer than ``quantity`` in all."""
    free = dict.fromkeys(sections, 0)
    for (section_key, of_tier), count in COUNTS.scan(reader, book.partition):
        if isinstance(section_key, int) and section_key in free and (tier is None or of_tier == tier):
            free[section_key] += count.free
    if sum(free.values()) < quantity:
        raise _not_so_many(ErrorCode.SEATS_UNAVAILABLE, quantity, free, TOO_FEW_REASON)
    return free


def choose_best(
    book: SeatBook, quantity: int, free: dict[int, int], tier: int | None
) -> tuple[SeatNumber, ...]:
    """The best ``quantity`` seats that stand together, where so many are ``free`` in each section. Refuses
    NO_ADJACENT_SEATS with ``available``."""
    for section_key, seats_free in free.items():
        if seats_free >= quantity and (seats := book.best_block(section_key, quantity, tier)) is not None:
            return seats
    raise _not_so_many(ErrorCode.NO_ADJACENT_SEATS, quantity, free, NOT_TOGETHER_REASON)


def _not_so_many(code: ErrorCode, quantity: int, free: dict[int, int], reason: str) -> Refusal:
    return Refusal(code, details={"quantity": quantity, "available": sum(free.values()), "reason": reason})
