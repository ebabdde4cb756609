"""The lobby's draw as it goes through the store: prepared, its list closed, its order kept, and made.

    prepared        a secret seed, whose hash is public from the lobby's opening
    list closed     at the opening of the sale; whoever joins from then on stands behind the lobby
    order kept      chunk by chunk, as ``ticketd.tasks.draws`` works it out between commits
    drawn           one small commit, by which all of the lobby stand in the line

No commit writes more than a few records, however many are in the lobby: a drawn entry keeps its record, and its place
follows from its rank. How the order follows from the seed is ``storage.schema.draws``'.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from storage.engine import Transaction
from storage.schema.draws import CHUNK_NUMBERS, number_at
from storage.schema.events import LobbyDrawn
from storage.schema.ids import EventId
from storage.schema.layout import DRAW, DRAWN_LEFT, DRAWN_ORDER, DRAWN_RANKS, LOBBY, event_partition
from storage.schema.records import DrawRecord, EntryRecord, SaleRecord
from storage.schema.states import EntryState
from ticketd.domain.room_book import OVER_PHASES, RoomBook


class KeepChunk(msgspec.Struct, frozen=True, kw_only=True):
    """Part of a draw's order: chunk ``number`` of each table, None where there is none of it.

    ``opening_seq`` tells for which closing of the list it was worked out.
    """

    event_id: EventId
    opening_seq: int
    number: int
    order: bytes | None
    ranks: bytes | None


class FinishDraw(msgspec.Struct, frozen=True, kw_only=True):
    """All of a draw's order is kept, for the list that was closed with ``opening_seq``."""

    event_id: EventId
    opening_seq: int


def has_lobby(sale: SaleRecord) -> bool:
    """Whether one may join before the sale opens."""
    return sale.room.enabled and sale.room.lobby_opens_ms is not None


def prepare_draw(tx: Transaction, event_id: EventId, seed: bytes) -> DrawRecord:
    """The event's draw; one with this seed, if it has none yet."""
    partition = event_partition(event_id)
    draw = DRAW.get(tx, partition)
    if draw is None:
        draw = DrawRecord(seed=seed)
        DRAW.put(tx, draw, partition)
    return draw


def settle_opening(book: RoomBook, seed: bytes | None) -> None:
    """Closes the list of the draw once the lobby is over; opens it again if the opening was put off meanwhile.

    ``seed`` is for a lobby whose draw was never prepared. A draw that is made stays made. A sale that is over closes
    no list.
    """
    if book.draw_is_due and not book.lobby_is_over:
        _postpone_opening(book)
    elif (
        book.room.lobby and book.lobby_is_over and not book.lobby_is_closed and book.phase not in OVER_PHASES
    ):
        draw = book.draw or (None if seed is None else DrawRecord(seed=seed))
        if draw is not None:
            _close_list(book, draw)


def _close_list(book: RoomBook, draw: DrawRecord) -> None:
    """Keeps places in the line for all of the list: who joins later stands behind them."""
    entry_count = book.room.lobby + draw.departed
    ((first_joined_seq,),) = (parts for parts, _ in LOBBY.scan(book.tx, book.partition, limit=1))
    if not isinstance(first_joined_seq, int):
        raise TypeError(f"a place in the lobby's order is a whole number, not {first_joined_seq!r}")
    opening_seq = book.take_seqs(entry_count)
    book.room = replace(book.room, opening_seq=opening_seq, next_rank=0)
    book.put_draw(replace(draw, entry_count=entry_count, first_joined_seq=first_joined_seq))


def _postpone_opening(book: RoomBook) -> None:
    """Gives back the places kept for the lobby, since more may join it now. What is kept of the order goes, too: two
    records for each 16,000 of the lobby."""
    draw = book.draw
    if draw is None or draw.entry_count is None:
        raise AssertionError("a list that is closed has its count")
    for table in (DRAWN_ORDER, DRAWN_RANKS):
        for parts in [parts for parts, _ in table.scan(book.tx, book.partition)]:
            table.delete(book.tx, book.partition, *parts)
    book.room = replace(book.room, opening_seq=None)
    book.put_draw(replace(draw, entry_count=None, departed=draw.entry_count - book.room.lobby))


def keep_chunk(tx: Transaction, command: KeepChunk) -> bool:
    """Keeps part of the order; answers False, and does nothing, if the draw is no longer to be made."""
    book = _open_due(tx, command.event_id, command.opening_seq)
    if book is None:
        return False
    if command.order is not None:
        DRAWN_ORDER.put(tx, command.order, book.partition, command.number)
    if command.ranks is not None:
        DRAWN_RANKS.put(tx, command.ranks, book.partition, command.number)
    return True


def finish_draw(tx: Transaction, command: FinishDraw) -> bool:
    """Makes the draw: from this commit on the lobby stands in the line. Answers False, and does nothing, if it is no
    longer to be made."""
    book = _open_due(tx, command.event_id, command.opening_seq)
    if book is None or book.draw is None or book.draw.entry_count is None:
        return False
    book.put_draw(replace(book.draw, drawn_at_ms=tx.now_ms))
    tx.emit(book.partition, LobbyDrawn(event_id=command.event_id, entry_count=book.draw.entry_count))
    return True


def _open_due(tx: Transaction, event_id: EventId, opening_seq: int) -> RoomBook | None:
    """The room, if its draw is to be made from the list that was closed with ``opening_seq``."""
    book = RoomBook.open(tx, event_id)
    if book is None or not book.draw_is_due or not book.lobby_is_over:
        return None
    return book if book.room.opening_seq == opening_seq else None


def next_drawn(book: RoomBook, limit: int) -> Iterator[EntryRecord]:
    """The drawn who still wait, in the order of the draw; at most ``limit`` ranks are looked at.

    Whoever takes the next one has let in, or ended, the one before; the last one taken may be left as it is.
    """
    for _ in range(limit):
        if book.room.lobby == 0:
            return
        entry = _entry_at(book, book.room.next_rank)
        if entry.state is EntryState.LOBBY:
            yield entry
        book.room = replace(book.room, next_rank=book.room.next_rank + 1)


def _entry_at(book: RoomBook, rank: int) -> EntryRecord:
    """The entry that was drawn at a rank, from 0. One that is missing means that the store is damaged (LookupError)."""
    chunk = DRAWN_ORDER.get(book.tx, book.partition, rank // CHUNK_NUMBERS)
    if book.draw is None or chunk is None:
        raise LookupError(f"event {book.event_id}: the order of the draw has no rank {rank}")
    seq = book.draw.first_joined_seq + number_at(chunk, rank % CHUNK_NUMBERS)
    entry_id = LOBBY.get(book.tx, book.partition, seq)
    if entry_id is None:
        raise LookupError(f"event {book.event_id}: nobody in the list of the draw has the number {seq}")
    return book.entry(entry_id)


def end_undrawn(book: RoomBook, limit: int) -> int:
    """Ends at most ``limit`` entries of a lobby whose sale is over before its list was closed, or since it was opened
    again; returns how many."""
    ended = 0
    for (seq,), entry_id in list(LOBBY.scan(book.tx, book.partition, limit=limit)):
        entry = book.entry(entry_id)
        if entry.state is EntryState.LOBBY:
            book.end_entry(entry, EntryState.EXPIRED)
            ended += 1
        elif book.draw is not None:
            LOBBY.delete(book.tx, book.partition, seq)
            DRAWN_LEFT.remove(book.tx, book.partition, seq)
            book.put_draw(replace(book.draw, departed=book.draw.departed - 1))
    return ended
