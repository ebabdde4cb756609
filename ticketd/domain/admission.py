"""Who is let in, and when: the part of the waiting room that goes on by itself.

Buyers are let in strictly in the order of the line, in which the lobby stands as it was drawn, at most ``max_active``
at once and at most ``admit_per_minute`` in any 60 seconds, both exact. Every step here is bounded, so that no commit
grows with the room. What a buyer asks for is ``ticketd.domain.rooms``'; when a step is taken is
``ticketd.tasks.rooms``'.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from storage.engine import Reader, Transaction
from storage.keys import Part
from storage.schema.ids import EventId
from storage.schema.layout import ADMISSIONS, DUE_ENTRIES, LINE, ROOM, event_partition
from storage.schema.records import EntryRecord
from storage.schema.states import EntryState
from ticketd.domain.draws import end_undrawn, next_drawn, settle_opening
from ticketd.domain.room_book import ADMITTING_PHASES, OVER_PHASES, RoomBook, RoomReading, entry_id_of
from ticketd.domain.sales import SalePhase, sale_ends_ms, sale_opens_ms

ADMISSIONS_KEPT_MS: Final = 600_000
"""How long admissions are remembered: far over the rate's window, for the estimate of the wait."""

FEWEST_FORGOTTEN: Final = 4
"""How many old admissions a commit that lets anybody in forgets: more than it adds, so that they do not pile up."""


def advance_room(
    tx: Transaction, event_id: EventId, limit: int, draw_seed: bytes | None = None
) -> int | None:
    """Does what is due in a room, at most ``limit`` of each kind; returns when to come again.

    In this order: lapses the READY that nobody claimed and the SHOPPING whose window is over; closes the list of the
    lobby's draw at the opening, or opens it again; then, while the sale lasts, lets in who may come in; after its end,
    ends the entries of those who still wait. The draw itself is ``ticketd.tasks.draws``'; ``draw_seed`` is for one that
    was never prepared. The result is milliseconds UTC: ``tx.now_ms`` if more is due already, None if nothing is until
    something changes.
    """
    book = RoomBook.open(tx, event_id)
    if book is None:
        return None
    room = book.room
    lapse_due(book, limit)
    settle_opening(book, draw_seed)
    if book.phase in OVER_PHASES:
        end_waiting(book, limit)
    else:
        fill_places(book, limit)
    if book.room != room:
        book.save()
    return next_step_ms(book, tx)


def next_room_step(reader: Reader, event_id: EventId, now_ms: int) -> int | None:
    """When ``advance_room`` has something to do: ``now_ms`` if it has already, None if not until something changes."""
    reading = RoomReading.of(reader, event_id, now_ms)
    return None if reading is None else next_step_ms(reading, reader)


def draw_is_due(reader: Reader, event_id: EventId, now_ms: int) -> bool:
    """Whether the list of the lobby's draw is closed, and its order is to be worked out."""
    reading = RoomReading.of(reader, event_id, now_ms)
    return reading is not None and reading.draw_is_due and reading.lobby_is_over


def room_is_empty(reader: Reader, event_id: EventId) -> bool:
    """Whether nobody waits and nobody shops, and no draw is to be made, so that the room needs no task; so too for an
    event that is gone."""
    room = ROOM.get(reader, event_partition(event_id))
    if room is None:
        return True
    if room.waiting + room.lobby + room.active:
        return False
    reading = RoomReading.of(reader, event_id, now_ms=0)
    return reading is None or not reading.draw_is_due


def next_step_ms(reading: RoomReading, reader: Reader) -> int | None:
    """The earliest time at which the room has something to do by itself, not before its ``now_ms``; None if never."""
    times = list(_waiters_times(reading, reader)) if reading.queue_size or reading.draw_is_due else []
    for due_at_ms, _ in DUE_ENTRIES.scan(reader, reading.partition, limit=1):
        if isinstance(due_at_ms, int):
            times.append(due_at_ms)
    return max(reading.now_ms, min(times)) if times else None


def _waiters_times(reading: RoomReading, reader: Reader) -> Iterator[int]:
    """When something changes for those who wait. In a room that is sold out only the end of the sale does by itself:
    they go on waiting, since held or cancelled seats may come back. The end of a draw is no time: it is told."""
    sale = reading.sale
    if reading.draw_is_due and not reading.lobby_is_over:
        yield reading.now_ms
    if reading.phase in OVER_PHASES:
        if reading.room.waiting or not reading.draw_is_due:
            yield reading.now_ms
        return
    yield sale_ends_ms(sale)
    if reading.room.lobby and not reading.lobby_is_closed:
        yield sale.general_sale_start_ms
    if not _somebody_is_next(reading, reader):
        return
    if reading.phase in ADMITTING_PHASES:
        slot_ms = reading.next_slot_ms()
        if slot_ms is not None:
            yield slot_ms
    elif reading.phase is not SalePhase.SOLD_OUT:
        yield sale_opens_ms(sale)


def _somebody_is_next(reading: RoomReading, reader: Reader) -> bool:
    """Whether there is one whom the room would let in next. Those behind a lobby have to wait for its draw."""
    if reading.lobby_is_drawn and reading.room.lobby:
        return True
    if reading.room.waiting == 0:
        return False
    if not reading.draw_is_due or reading.room.lobby == 0:
        return True
    return any(
        _stands_before_lobby(reading, seq) for (seq,), _ in LINE.scan(reader, reading.partition, limit=1)
    )


def _stands_before_lobby(reading: RoomReading, seq: Part) -> bool:
    opening_seq = reading.room.opening_seq
    return opening_seq is None or (isinstance(seq, int) and seq < opening_seq)


def fill_places(book: RoomBook, limit: int) -> int:
    """Lets in the first in line while sale, places and rate allow it, at most ``limit``; returns how many."""
    admitted = 0
    if book.queue_size and book.admits_now():
        for entry in _first_in_line(book, limit):
            if admitted == limit or not book.admits_now():
                break
            book.admit(entry, entry)
            admitted += 1
    if admitted:
        forget_admissions(book, 2 * admitted + FEWEST_FORGOTTEN)
    return admitted


def _first_in_line(book: RoomBook, limit: int) -> Iterator[EntryRecord]:
    """Those who wait in the order in which they come in: before the lobby, the lobby as drawn, behind it. Each is taken
    once the one before was let in."""
    line = list(LINE.scan(book.tx, book.partition, limit=limit)) if book.room.waiting else []
    before = [entry_id for (seq,), entry_id in line if _stands_before_lobby(book, seq)]
    yield from map(book.entry, before)
    if book.lobby_is_drawn:
        yield from next_drawn(book, limit)
    if not book.lobby_is_closed or book.room.lobby == 0:
        yield from (book.entry(entry_id) for _, entry_id in line[len(before) :])


def lapse_due(book: RoomBook, limit: int) -> int:
    """Ends at most ``limit`` entries whose time is over, oldest first; returns how many."""
    due = list(DUE_ENTRIES.until(book.tx, book.partition, book.now_ms, limit))
    for _, entry_id in due:
        book.end_entry(book.entry(entry_id_of(entry_id)), EntryState.EXPIRED)
    return len(due)


def end_waiting(book: RoomBook, limit: int) -> int:
    """Ends at most ``limit`` entries of those who wait for a sale that is over; returns how many. A draw that is under
    way is made first."""
    line = list(LINE.scan(book.tx, book.partition, limit=limit))
    for _, entry_id in line:
        book.end_entry(book.entry(entry_id), EntryState.EXPIRED)
    ended = len(line)
    if book.lobby_is_drawn:
        for entry in next_drawn(book, limit - ended):
            book.end_entry(entry, EntryState.EXPIRED)
            ended += 1
    elif not book.draw_is_due:
        ended += end_undrawn(book, limit - ended)
    return ended


def forget_admissions(book: RoomBook, limit: int) -> None:
    """Forgets at most ``limit`` of the admissions that are too old for the rate and for the estimate."""
    for (ordinal,), at_ms in list(ADMISSIONS.scan(book.tx, book.partition, limit=limit)):
        if at_ms >= book.now_ms - ADMISSIONS_KEPT_MS:
            break
        ADMISSIONS.delete(book.tx, book.partition, ordinal)
