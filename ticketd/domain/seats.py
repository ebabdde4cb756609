"""The seats of an event: what state each is in and who has it, how they move, and the counts that follow.

True here: a seat is moved from a state that it is in, along the table of legal moves; the counts of its section and
tier, the event's total and the section's openings change in the same breath. Why a seat is moved is decided by the
reservations, the orders and the operator; what is told of it is emitted by them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from storage.engine import Reader, Transaction
from storage.schema.events import SeatsMoved
from storage.schema.ids import EventId, RowKey, SeatNumber, row_and_position, seat_id, seat_number
from storage.schema.layout import COUNTS, OPENINGS, ROWS, SECTIONS, TOTAL, event_partition
from storage.schema.records import CountRecord
from storage.schema.states import SEAT_MOVES, IllegalMove, SeatState, check_move
from ticketd.domain.best_seats import (
    WORD_BYTES,
    best_in_section,
    openings_of,
    unpack_openings,
)
from ticketd.domain.sales import load_sale
from ticketd.domain.seat_rows import SeatRow, read_row
from ticketd.errors import ErrorCode, Refusal

HELD_REASON: Final = "Held in a reservation"
SOLD_REASON: Final = "Already purchased by another user"
BLOCKED_REASON: Final = "Not for sale"


class BlockSeats(msgspec.Struct, frozen=True):
    """An operator takes seats off the sale, or puts them back on."""

    event_id: EventId
    seats: tuple[SeatNumber, ...]


class SeatMove(NamedTuple):
    """One move of some seats: to a new ``owner``, None for AVAILABLE and BLOCKED. ``owned_by`` is whose they must be
    now, None if that is not asked."""

    before: SeatState
    after: SeatState
    owner: UUID | None = None
    owned_by: UUID | None = None


class SeatBook:
    """The seats of one event as one transaction has them open. Each row is read once."""

    def __init__(self, reader: Reader, event_id: EventId) -> None:
        self.event_id = event_id
        self.partition = event_partition(event_id)
        self._reader = reader
        self._rows: dict[RowKey, SeatRow | None] = {}
        self._found: tuple[Iterable[SeatNumber], list[tuple[SeatRow, int]]] = (), []

    def row(self, row_key: RowKey) -> SeatRow | None:
        """A row; None if the event has none such."""
        try:
            return self._rows[row_key]
        except KeyError:
            row = self._rows[row_key] = read_row(self._reader, self.partition, row_key)
            return row

    def find(self, seats: Iterable[SeatNumber]) -> list[tuple[SeatRow, int]]:
        """The row and the position of each seat. Refuses SEAT_NOT_FOUND with the ``seat_ids`` of those unknown."""
        of_seats, found = self._found
        # Whoever asks about some seats goes on to price and move them.
        return found if of_seats is seats else self._find(seats)

    def _find(self, seats: Iterable[SeatNumber]) -> list[tuple[SeatRow, int]]:
        found: list[tuple[SeatRow, int]] = []
        unknown: list[SeatNumber] = []
        for seat in seats:
            row_key, position = row_and_position(seat)
            row = self.row(row_key)
            if row is None or not row.has_seat(position):
                unknown.append(seat)
            else:
                found.append((row, position))
        if unknown:
            raise Refusal(ErrorCode.SEAT_NOT_FOUND, details={"seat_ids": public_ids(self.event_id, unknown)})
        if isinstance(seats, tuple):
            self._found = seats, found
        return found

    def by_state(self, seats: Iterable[SeatNumber]) -> dict[SeatState, list[SeatNumber]]:
        """The seats by the state that they are in, each once. Refuses as ``find``."""
        in_state: dict[SeatState, list[SeatNumber]] = {state: [] for state in SeatState}
        each_once = tuple(dict.fromkeys(seats))
        for seat, (row, position) in zip(each_once, self.find(each_once), strict=True):
            in_state[SeatState(row.states[position])].append(seat)
        return in_state

    def best_block(self, section_key: int, quantity: int, tier: int | None) -> tuple[SeatNumber, ...] | None:
        """The best ``quantity`` free seats of a section that stand together, in order; None if it has none such."""
        section = SECTIONS.get(self._reader, self.partition, section_key)
        openings = OPENINGS.get(self._reader, self.partition, section_key)
        if section is None or openings is None:
            return None
        row_keys = section.row_keys

        def row_at(place: int) -> SeatRow:
            row = self.row(row_keys[place])
            if row is None:
                raise LookupError(f"event {self.event_id}: there is no row {row_keys[place]}")
            return row

        found = best_in_section(unpack_openings(openings), row_at, quantity, tier)
        if found is None:
            return None
        place, positions = found
        return tuple(seat_number(row_keys[place], position) for position in positions)

    def move(self, tx: Transaction, seats: Sequence[SeatNumber], move: SeatMove) -> None:
        """Moves seats, and all that is counted of them. Emits nothing.

        Refuses SEAT_NOT_FOUND. A seat that is not in ``move.before``, or not the present owner's, and a move that the
        table does not have, are faults in the program (IllegalMove).
        """
        before, after, owner, owned_by = move
        check_move(SEAT_MOVES, before, after)
        rows: dict[RowKey, SeatRow] = {}
        moved: dict[tuple[int, int], int] = {}
        for row, position in self.find(seats):
            if row.states[position] != before or (
                owned_by is not None and row.owners.get(position) != owned_by
            ):
                raise IllegalMove(
                    f"event {self.event_id}: seat {row.row_key}/{position} is not there to be {after.name}"
                )
            row.states[position] = after
            if owner is None:
                row.owners.pop(position, None)
            else:
                row.owners[position] = owner
            rows[row.row_key] = row
            group = row.shape.section_key, row.tiers[position]
            moved[group] = moved.get(group, 0) + 1
        for row in rows.values():
            ROWS.put(tx, row.record(), self.partition, row.row_key)
        if SeatState.AVAILABLE in {before, after}:
            self._write_openings(tx, rows.values())
        self._write_counts(tx, moved, before, after)

    def _write_openings(self, tx: Transaction, rows: Iterable[SeatRow]) -> None:
        sections: dict[int, bytearray] = {}
        for row in rows:
            section_key, at = row.shape.section_key, row.shape.place * WORD_BYTES
            packed = sections.get(section_key)
            if packed is None:
                packed = sections[section_key] = bytearray(
                    OPENINGS.get(tx, self.partition, section_key) or b""
                )
            packed[at : at + WORD_BYTES] = openings_of(row).to_bytes(WORD_BYTES, "little")
        for section_key, packed in sections.items():
            OPENINGS.put(tx, bytes(packed), self.partition, section_key)

    def _write_counts(
        self, tx: Transaction, moved: dict[tuple[int, int], int], before: SeatState, after: SeatState
    ) -> None:
        for (section_key, tier), seats in moved.items():
            count = COUNTS.get(tx, self.partition, section_key, tier) or CountRecord()
            COUNTS.put(tx, moved_count(count, before, after, seats), self.partition, section_key, tier)
        total = TOTAL.get(tx, self.partition) or CountRecord()
        TOTAL.put(tx, moved_count(total, before, after, sum(moved.values())), self.partition)


def seat_states(
    reader: Reader, event_id: EventId, seats: Iterable[SeatNumber]
) -> list[tuple[SeatState, UUID | None]]:
    """The state and the owner (a reservation, or an order) of each seat. Refuses SEAT_NOT_FOUND with ``seat_ids``."""
    found = SeatBook(reader, event_id).find(seats)
    return [(SeatState(row.states[position]), row.owners.get(position)) for row, position in found]


def public_ids(event_id: EventId, seats: Iterable[SeatNumber]) -> list[str]:
    """The seats' ids as the API has them."""
    return [str(seat_id(event_id, seat)) for seat in seats]


def move_seats(tx: Transaction, event_id: EventId, seats: Sequence[SeatNumber], move: SeatMove) -> None:
    """As ``SeatBook.move``, for one who has no book open."""
    SeatBook(tx, event_id).move(tx, seats, move)


def block_seats(tx: Transaction, command: BlockSeats) -> int:
    """Takes seats off the sale, all or none; how many were not blocked yet.

    Refuses, in this order: EVENT_NOT_FOUND; SEAT_NOT_FOUND; SEATS_UNAVAILABLE if any is sold; SEATS_TAKEN if any is
    held; each with the ``seat_ids`` concerned.
    """
    load_sale(tx, command.event_id)
    book = SeatBook(tx, command.event_id)
    in_state = book.by_state(command.seats)
    if sold := in_state[SeatState.SOLD]:
        raise refuse_seats(ErrorCode.SEATS_UNAVAILABLE, command.event_id, sold, SOLD_REASON)
    if held := in_state[SeatState.RESERVED]:
        raise refuse_seats(ErrorCode.SEATS_TAKEN, command.event_id, held, HELD_REASON)
    return _move_and_tell(tx, book, in_state[SeatState.AVAILABLE], SeatState.AVAILABLE, SeatState.BLOCKED)


def unblock_seats(tx: Transaction, command: BlockSeats) -> int:
    """Puts blocked seats back on the sale; how many were blocked. Those that are not blocked stay as they are.

    Refuses, in this order: EVENT_NOT_FOUND; SEAT_NOT_FOUND with ``seat_ids``.
    """
    load_sale(tx, command.event_id)
    book = SeatBook(tx, command.event_id)
    blocked = book.by_state(command.seats)[SeatState.BLOCKED]
    return _move_and_tell(tx, book, blocked, SeatState.BLOCKED, SeatState.AVAILABLE)


def refuse_seats(code: ErrorCode, event_id: EventId, seats: Sequence[SeatNumber], reason: str) -> Refusal:
    """The refusal that names these seats."""
    return Refusal(code, details={"seat_ids": public_ids(event_id, seats), "reason": reason})


def moved_count(count: CountRecord, before: SeatState, after: SeatState, seats: int) -> CountRecord:
    """The count after so many seats went from one state to another. There must have been so many (ValueError)."""
    in_state = [count.free, count.held, count.sold, count.blocked]
    in_state[before] -= seats
    in_state[after] += seats
    if in_state[before] < 0:
        raise ValueError(
            f"{seats} seats left {before.name}, where only {seats + in_state[before]} were counted"
        )
    free, held, sold, blocked = in_state
    return CountRecord(free=free, held=held, sold=sold, blocked=blocked)


def _move_and_tell(
    tx: Transaction, book: SeatBook, seats: Sequence[SeatNumber], before: SeatState, after: SeatState
) -> int:
    if seats:
        book.move(tx, seats, SeatMove(before, after))
        tx.emit(book.partition, SeatsMoved(event_id=book.event_id, seats=tuple(seats), state=after))
    return len(seats)
