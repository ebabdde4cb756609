"""Works out the draw of a lobby, between commits and in small slices, and keeps its order chunk by chunk.

It has no input but the store: the list of the draw, which stays as it is once it is closed, and the seed. Killed at any
point it begins again, comes to the same order, and writes the same records over. Nothing of it is seen before its last
commit. No slice holds the loop for more than some milliseconds, and no snapshot is held across an await.
"""

from __future__ import annotations

from array import array
from typing import Final

import trio
from msgspec import Struct

from storage.engine import Command, Engine, Reader
from storage.schema.draws import CHUNK_NUMBERS, drawn_places, no_ranks, pack_numbers
from storage.schema.ids import EventId
from storage.schema.layout import LOBBY, event_partition
from ticketd.domain.draws import FinishDraw, KeepChunk, finish_draw, keep_chunk
from ticketd.domain.room_book import RoomReading

READ_AT_ONCE: Final = 2000
"""How many entries of the list are read in one slice."""


class _ClosedList(Struct, frozen=True, kw_only=True):
    """What a draw is made from; ``opening_seq`` tells one closing of the list from another."""

    event_id: EventId
    seed: bytes
    opening_seq: int
    first_joined_seq: int
    entry_count: int


class _Entries(Struct, frozen=True):
    """The list: the ids one after the other, and the number of each in the order of joining, from the first's."""

    ids: bytearray
    offsets: array[int]


async def draw_lobby(engine: Engine, event_id: EventId) -> None:
    """Makes the draw of an event's lobby, if it is to be made. Gives up when the opening is put off meanwhile."""
    with engine.snapshot(event_partition(event_id)) as view:
        closed = _read_closed(view, event_id, view.now_ms)
    entries = None if closed is None else await _read_entries(engine, closed)
    if closed is None or entries is None:
        return
    order = array("I")
    ranks = no_ranks(entries.offsets[-1] + 1)
    for piece in drawn_places(closed.seed, entries.ids):
        for place in piece:
            offset = entries.offsets[place]
            ranks[offset] = len(order)
            order.append(offset)
        await trio.sleep(0)
    if await _keep(engine, closed, order, ranks):
        command = FinishDraw(event_id=event_id, opening_seq=closed.opening_seq)
        await engine.submit(
            Command(
                "finish_draw",
                (event_partition(event_id),),
                lambda tx: finish_draw(tx, command),
                may_use_reserve=True,
            )
        )


def _read_closed(reader: Reader, event_id: EventId, now_ms: int) -> _ClosedList | None:
    """The list to be drawn; None if there is none."""
    room = RoomReading.of(reader, event_id, now_ms)
    if room is None or room.draw is None or room.room.opening_seq is None or room.draw.entry_count is None:
        return None
    if not room.draw_is_due or not room.lobby_is_over:
        return None
    return _ClosedList(
        event_id=event_id,
        seed=room.draw.seed,
        opening_seq=room.room.opening_seq,
        first_joined_seq=room.draw.first_joined_seq,
        entry_count=room.draw.entry_count,
    )


async def _read_entries(engine: Engine, closed: _ClosedList) -> _Entries | None:
    """The whole list, slice by slice; None if it was opened again meanwhile."""
    partition = event_partition(closed.event_id)
    entries = _Entries(bytearray(), array("I"))
    after_seq = closed.first_joined_seq - 1
    while len(entries.offsets) < closed.entry_count:
        with engine.snapshot(partition) as view:
            if _read_closed(view, closed.event_id, view.now_ms) != closed:
                return None
            read = list(LOBBY.after(view, partition, after_seq, READ_AT_ONCE))
        if not read:
            text = f"{len(entries.offsets)} of {closed.entry_count} are in its list"
            raise LookupError(f"event {closed.event_id}: the lobby cannot be drawn, since {text}")
        for (seq,), entry_id in read:
            if isinstance(seq, int):
                entries.offsets.append(seq - closed.first_joined_seq)
                after_seq = seq
            entries.ids.extend(entry_id.bytes)
        await trio.sleep(0)
    return entries


async def _keep(engine: Engine, closed: _ClosedList, order: array[int], ranks: array[int]) -> bool:
    """Stores the order, a chunk of each table a commit; False if the draw is no longer to be made."""
    for number in range(-(-max(len(order), len(ranks)) // CHUNK_NUMBERS)):
        command = KeepChunk(
            event_id=closed.event_id,
            opening_seq=closed.opening_seq,
            number=number,
            order=_chunk(order, number),
            ranks=_chunk(ranks, number),
        )
        if not await _submit_chunk(engine, command):
            return False
    return True


async def _submit_chunk(engine: Engine, command: KeepChunk) -> bool:
    partitions = (event_partition(command.event_id),)
    kept = await engine.submit(
        Command("keep_drawn_chunk", partitions, lambda tx: keep_chunk(tx, command), may_use_reserve=True)
    )
    return kept.result


def _chunk(numbers: array[int], number: int) -> bytes | None:
    part = numbers[number * CHUNK_NUMBERS : (number + 1) * CHUNK_NUMBERS]
    return pack_numbers(part) if part else None
