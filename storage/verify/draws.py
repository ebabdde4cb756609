"""Invariants of the lobby's draw: its list is whole, and the order that is kept follows from the seed."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from storage.engine import Partition, Reader
from storage.schema.draws import (
    CHUNK_NUMBERS,
    SEED_BYTES,
    drawn_places,
    no_ranks,
    pack_numbers,
)
from storage.schema.layout import DRAWN_LEFT, DRAWN_ORDER, DRAWN_RANKS, ENTRIES, LOBBY
from storage.schema.records import DrawRecord, EntryRecord
from storage.schema.states import EntryState
from storage.schema.tables import Table
from storage.verify.contents import EventContents, whole
from storage.verify.problem import Problem


def check_lobby(event: EventContents) -> Iterator[Problem]:
    """All in the lobby stand in its order of joining, under their own numbers; others only once the list of the draw
    was closed, and those who ended while they waited are written beside it."""
    in_lobby = {
        entry.seq: entry.entry_id for entry in event.live_entries.values() if entry.state is EntryState.LOBBY
    }
    for seq, entry_id in in_lobby.items():
        if event.lobby.get(seq) != entry_id:
            yield event.problem(
                "lobby", f"{LOBBY.name} {seq}", "it does not name the entry that is in the lobby"
            )
    left = {whole(seq) for (seq,) in DRAWN_LEFT.scan(event.reader, event.partition)}
    for seq, entry_id in event.lobby.items():
        if in_lobby.get(seq) == entry_id:
            wrong = "" if seq not in left else "it waits, and is written as one who left"
        else:
            entry = ENTRIES.get(event.reader, event.partition, entry_id)
            wrong = _wrong_of_ended(event, seq, entry, seq in left)
        if wrong:
            yield event.problem("lobby", f"{LOBBY.name} {seq}", wrong)
    for seq in left - event.lobby.keys():
        yield event.problem("lobby", f"{DRAWN_LEFT.name} {seq}", "it should not be there")


def _wrong_of_ended(event: EventContents, seq: int, entry: EntryRecord | None, has_left: bool) -> str:
    """What is wrong with one of the list who is not in the lobby; empty if nothing is."""
    if entry is None or entry.seq != seq or entry.state is EntryState.QUEUED:
        return "it names nobody who was in the lobby"
    closed = event.draw is not None and (event.draw.entry_count is not None or event.draw.departed > 0)
    if not closed:
        return "it names one who is not in the lobby, though the list was never closed"
    if has_left == (entry.admitted_at_ms is not None):
        return (
            "it is written as one who left, and was let in" if has_left else "it left, which is not written"
        )
    return ""


def check_draw(event: EventContents) -> Iterator[Problem]:
    """The draw's record has its seed and its count, the places kept for the lobby were given, and those whose turn has
    come wait no more."""
    room, draw = event.room, event.draw
    if draw is None:
        # An event of a release without the draw gets its seed when the next one joins.
        if room.opening_seq is not None:
            yield event.problem("draw-prepared", "draw", "its list is closed, and there is no seed for it")
        return
    if len(draw.seed) != SEED_BYTES:
        yield event.problem("draw-prepared", "draw", f"its seed has {len(draw.seed)} bytes, not {SEED_BYTES}")
    count = room.lobby + draw.departed if draw.entry_count is None else draw.entry_count
    if len(event.lobby) != count:
        text = f"{len(event.lobby)} are in the list, where {count} were counted"
        yield event.problem("draw-equals-recount", "draw", text)
    if (draw.entry_count is None) != (room.opening_seq is None):
        text = "places are kept for a list that is open, or none for one that is closed"
        yield event.problem("lobby-has-places", "room", text)
    elif room.opening_seq is not None and room.opening_seq + count > room.next_seq:
        text = f"{count} of the lobby are to stand from {room.opening_seq} on, which was not given to them"
        yield event.problem("lobby-has-places", "room", text)
    if draw.entry_count is not None and draw.first_joined_seq != min(event.lobby, default=None):
        yield event.problem("draw-equals-recount", "draw", "it does not say who joined first")
    if room.next_rank > (count if draw.drawn_at_ms is not None else 0):
        text = f"the next to come in was drawn at {room.next_rank}, of {count}"
        yield event.problem("draw-in-turn", "room", text)


def check_order(event: EventContents) -> Iterator[Problem]:
    """A draw that is made has, chunk by chunk, the order and the ranks that follow from its seed and its list; the
    first ranks, up to the next one's, have come in or left, and nobody else has come in."""
    draw = event.draw
    if draw is None or draw.drawn_at_ms is None or draw.first_joined_seq != min(event.lobby, default=None):
        return
    order, ranks = _work_out(event, draw)
    for table, numbers in ((DRAWN_ORDER, order), (DRAWN_RANKS, ranks)):
        if not _keeps(event.reader, event.partition, table, numbers):
            text = "the order that is kept does not follow from the seed and the list"
            yield event.problem("draw-follows-seed", table.name, text)
    for rank, offset in enumerate(order):
        entry_id = event.lobby[draw.first_joined_seq + offset]
        waits = event.live_entries.get(entry_id)
        if rank < event.room.next_rank and waits is not None and waits.state is EntryState.LOBBY:
            yield event.problem("draw-in-turn", f"entry {entry_id}", "its turn has come, and it still waits")
        elif rank >= event.room.next_rank:
            entry = waits or ENTRIES.get(event.reader, event.partition, entry_id)
            if entry is not None and entry.admitted_at_ms is not None:
                yield event.problem("draw-in-turn", f"entry {entry_id}", "it came in before its turn")


def _work_out(event: EventContents, draw: DrawRecord) -> tuple[array[int], array[int]]:
    """The order and the ranks by number of joining, as they follow from the seed."""
    offsets = [seq - draw.first_joined_seq for seq in event.lobby]
    ids = b"".join(entry_id.bytes for entry_id in event.lobby.values())
    order, ranks = array("I"), no_ranks(offsets[-1] + 1)
    for piece in drawn_places(draw.seed, ids):
        for place in piece:
            ranks[offsets[place]] = len(order)
            order.append(offsets[place])
    return order, ranks


def _keeps(reader: Reader, partition: Partition, table: Table[bytes], numbers: array[int]) -> bool:
    kept = {whole(number): chunk for (number,), chunk in table.scan(reader, partition)}
    wanted = {
        start // CHUNK_NUMBERS: pack_numbers(numbers[start : start + CHUNK_NUMBERS])
        for start in range(0, len(numbers), CHUNK_NUMBERS)
    }
    return kept == wanted
