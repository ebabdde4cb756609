"""Who is let in, and when: the part of the waiting room that goes on by itself.

Buyers are let in strictly in the order of the line, at most ``max_active`` at once and at most ``admit_per_minute``
in any 60 seconds, both exact. Every step here is bounded, so that no commit grows with the room. What a buyer asks for
is ``ticketd.domain.rooms``'; when a step is taken is ``ticketd.tasks.rooms``'.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from storage.engine import Reader, Transaction
from storage.schema.ids import EntryId, EventId
from storage.schema.layout import ADMISSIONS, DUE_ENTRIES, LINE, LOBBY, ROOM, event_partition
from storage.schema.states import EntryState
from ticketd.domain.room_book import ADMITTING_PHASES, OVER_PHASES, RoomBook, RoomReading, entry_id_of
from ticketd.domain.sales import SalePhase, sale_ends_ms, sale_opens_ms

ADMISSIONS_KEPT_MS: Final = 600_000
"""How long admissions are remembered: far over the rate's window, for the estimate of the wait."""

FEWEST_FORGOTTEN: Final = 4
"""How many old admissions a commit that lets anybody in forgets: more than it adds, so that they do not pile up."""


def advance_room(tx: Transaction, event_id: EventId, limit: int) -> int | None:
    """Does what is due in a room, at most ``limit`` of each kind; returns when to come again.

    In this order: lapses the READY that nobody claimed and the SHOPPING whose window is over; then, while the sale
    lasts, opens the lobby and lets in who may come in; after its end, ends the entries of those who still wait. The
    result is milliseconds UTC: ``tx.now_ms`` if more is due already, None if nothing is until something changes.
    """
    book = RoomBook.open(tx, event_id)
    if book is None:
        return None
    room = book.room
    lapse_due(book, limit)
    if book.phase in OVER_PHASES:
        end_waiting(book, limit)
    else:
        open_lobby(book, limit)
        fill_places(book, limit)
    if book.room != room:
        book.save()
    return next_step_ms(book, tx)


def next_room_step(reader: Reader, event_id: EventId, now_ms: int) -> int | None:
    """When ``advance_room`` has something to do: ``now_ms`` if it has already, None if not until something changes."""
    reading = RoomReading.of(reader, event_id, now_ms)
    return None if reading is None else next_step_ms(reading, reader)


def room_is_empty(reader: Reader, event_id: EventId) -> bool:
    """Whether nobody waits and nobody shops, so that the room needs no task; so too for an event that is gone."""
    room = ROOM.get(reader, event_partition(event_id))
    return room is None or room.waiting + room.lobby + room.active == 0


def next_step_ms(reading: RoomReading, reader: Reader) -> int | None:
    """The earliest time at which the room has something to do by itself, not before its ``now_ms``; None if never."""
    times = list(_waiters_times(reading)) if reading.queue_size else []
    for due_at_ms, _ in DUE_ENTRIES.scan(reader, reading.partition, limit=1):
        if isinstance(due_at_ms, int):
            times.append(due_at_ms)
    return max(reading.now_ms, min(times)) if times else None


def _waiters_times(reading: RoomReading) -> Iterator[int]:
    """When something changes for those who wait. In a room that is sold out only the end of the sale does by itself:
    they go on waiting, since held or cancelled seats may come back."""
    if reading.phase in OVER_PHASES:
        yield reading.now_ms
        return
    sale = reading.sale
    yield sale_ends_ms(sale)
    if reading.room.lobby:
        yield sale.general_sale_start_ms
    if reading.room.waiting == 0:
        return
    if reading.phase in ADMITTING_PHASES:
        slot_ms = reading.next_slot_ms()
        if slot_ms is not None:
            yield slot_ms
    elif reading.phase is not SalePhase.SOLD_OUT:
        yield sale_opens_ms(sale)


def fill_places(book: RoomBook, limit: int) -> int:
    """Lets in the first in line while sale, places and rate allow it, at most ``limit``; returns how many."""
    admitted = 0
    for seq, entry_id in _first_in_line(book, limit):
        if not book.admits_now() or _stands_behind_the_lobby(book, seq):
            break
        entry = book.entry(entry_id)
        book.admit(entry, entry)
        admitted += 1
    if admitted:
        forget_admissions(book, 2 * admitted + FEWEST_FORGOTTEN)
    return admitted


def _first_in_line(book: RoomBook, limit: int) -> Iterator[tuple[int, EntryId]]:
    if book.room.waiting == 0 or not book.admits_now():
        return
    for (seq,), entry_id in list(LINE.scan(book.tx, book.partition, limit=limit)):
        if isinstance(seq, int):
            yield seq, entry_id


def _stands_behind_the_lobby(book: RoomBook, seq: int) -> bool:
    """Whether part of the lobby has yet to take its places, which are before ``seq``."""
    return book.room.lobby > 0 and book.room.opening_seq is not None and seq >= book.room.opening_seq


def begin_opening(book: RoomBook) -> None:
    """Keeps places in the line for all in the lobby, once its time is over: who joins later stands behind them."""
    if book.room.lobby and book.room.opening_seq is None and book.lobby_is_over:
        first = book.take_seqs(book.room.lobby)
        book.room = replace(book.room, opening_seq=first)


def postpone_opening(book: RoomBook) -> None:
    """Gives back the places kept for the lobby: the opening was moved, and more may join the lobby until then."""
    if book.room.opening_seq is not None:
        book.room = replace(book.room, opening_seq=None)


def open_lobby(book: RoomBook, limit: int) -> int:
    """Moves at most ``limit`` from the lobby to the places kept for them in the line; returns how many."""
    begin_opening(book)
    seq = book.room.opening_seq
    if seq is None:
        return 0
    moved = 0
    for entry_id in next_from_lobby(book, limit):
        entry = book.entry(entry_id)
        book.write_entry(entry, replace(entry, state=EntryState.QUEUED, seq=seq + moved))
        moved += 1
    book.room = replace(book.room, opening_seq=seq + moved)
    return moved


def next_from_lobby(book: RoomBook, limit: int) -> list[EntryId]:
    """The next of those in the lobby, in the order in which they come to stand in the line: that of joining.

    This is the one place that decides that order.
    """
    return [entry_id for _, entry_id in LOBBY.scan(book.tx, book.partition, limit=limit)]


def lapse_due(book: RoomBook, limit: int) -> int:
    """Ends at most ``limit`` entries whose time is over, oldest first; returns how many."""
    due = list(DUE_ENTRIES.until(book.tx, book.partition, book.now_ms, limit))
    for _, entry_id in due:
        book.end_entry(book.entry(entry_id_of(entry_id)), EntryState.EXPIRED)
    return len(due)


def end_waiting(book: RoomBook, limit: int) -> int:
    """Ends at most ``limit`` entries of those who wait for a sale that is over; returns how many."""
    waiting = [entry_id for _, entry_id in LINE.scan(book.tx, book.partition, limit=limit)]
    in_lobby = LOBBY.scan(book.tx, book.partition, limit=limit - len(waiting))
    waiting += [entry_id for _, entry_id in in_lobby]
    for entry_id in waiting:
        book.end_entry(book.entry(entry_id), EntryState.EXPIRED)
    return len(waiting)


def forget_admissions(book: RoomBook, limit: int) -> None:
    """Forgets at most ``limit`` of the admissions that are too old for the rate and for the estimate."""
    for (ordinal,), at_ms in list(ADMISSIONS.scan(book.tx, book.partition, limit=limit)):
        if at_ms >= book.now_ms - ADMISSIONS_KEPT_MS:
            break
        ADMISSIONS.delete(book.tx, book.partition, ordinal)
