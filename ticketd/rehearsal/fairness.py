"""Whether anybody was overtaken, by the store's own record of who stood where and who left the line when.

The rule: nobody is let in while somebody who stands before them still waits. Who left, or lapsed, before that does not
count as overtaken.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final
from uuid import UUID

from msgspec import Struct

from config.settings import StorageSettings
from storage.clock import SystemClock
from storage.engine import Partition, Reader
from storage.open import open_reader
from storage.schema.draws import CHUNK_NUMBERS, NO_RANK, unpack_numbers
from storage.schema.events import EVENT_CODEC
from storage.schema.ids import EventId
from storage.schema.layout import DRAW, DRAWN_RANKS, ENTRIES, ROOM, TOTAL, event_partition
from storage.schema.states import LIVE_ENTRY_STATES

_NEVER: Final = 2**63
MAP_BYTES: Final = 8 * 1024**3
"""How much address space a scratch store reserves; its file is sparse."""


class Standing(Struct, frozen=True, kw_only=True):
    """One place: its rank in line, when its buyer was let in, and when the place ended; times in milliseconds UTC."""

    rank: int
    admitted_at_ms: int | None
    ended_at_ms: int | None


class StoreFacts(Struct, frozen=True, kw_only=True):
    """What a scratch store holds once its daemon has ended."""

    entries: int
    admitted: int
    overtaken: list[str]
    seats_sold: int


def find_overtaken(standings: Iterable[Standing]) -> list[str]:
    """One sentence for each who waited on while somebody behind was let in."""
    faults: list[str] = []
    earliest_behind = Standing(rank=0, admitted_at_ms=_NEVER, ended_at_ms=None)
    for standing in sorted(standings, key=lambda one: one.rank, reverse=True):
        left_line_ms = _left_line_ms(standing)
        behind_ms = earliest_behind.admitted_at_ms or _NEVER
        if behind_ms < left_line_ms:
            faults.append(
                f"number {standing.rank} in line still waited when number {earliest_behind.rank} was let in"
            )
        if standing.admitted_at_ms is not None and standing.admitted_at_ms < behind_ms:
            earliest_behind = standing
    return faults


def read_store(data: Path, event_id: str) -> StoreFacts:
    """Reads a store whose daemon has ended."""
    event = EventId(UUID(event_id))
    partition = event_partition(event)
    settings = StorageSettings(map_size_bytes=MAP_BYTES)
    with (
        open_reader(data, settings, SystemClock(), EVENT_CODEC) as reads,
        reads.snapshot(partition) as view,
    ):
        drawn = _drawn_places(view, partition)
        standings = [
            Standing(
                rank=drawn.get(entry.seq, entry.seq),
                admitted_at_ms=entry.admitted_at_ms,
                ended_at_ms=None if entry.state in LIVE_ENTRY_STATES else entry.ended_at_ms,
            )
            for _, entry in ENTRIES.scan(view, partition)
        ]
        total = TOTAL.get(view, partition)
    return StoreFacts(
        entries=len(standings),
        admitted=sum(standing.admitted_at_ms is not None for standing in standings),
        overtaken=find_overtaken(standings),
        seats_sold=0 if total is None else total.sold,
    )


def _drawn_places(reader: Reader, partition: Partition) -> dict[int, int]:
    """The place in line of each who was drawn, by the number of joining; nobody's, where there was no draw."""
    room, draw = ROOM.get(reader, partition), DRAW.get(reader, partition)
    if room is None or room.opening_seq is None or draw is None or draw.drawn_at_ms is None:
        return {}
    first = draw.first_joined_seq
    return {
        first + number * CHUNK_NUMBERS + offset: room.opening_seq + rank
        for (number,), chunk in DRAWN_RANKS.scan(reader, partition)
        if isinstance(number, int)
        for offset, rank in enumerate(unpack_numbers(chunk))
        if rank != NO_RANK
    }


def _left_line_ms(standing: Standing) -> int:
    """When the buyer stopped waiting: let in, gone, or not yet."""
    for at_ms in (standing.admitted_at_ms, standing.ended_at_ms):
        if at_ms is not None:
            return at_ms
    return _NEVER
