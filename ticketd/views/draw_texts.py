"""The whole list and order of a draw that is made, as JSON: for those who check it.

A lobby of a million takes 76 MB. So it is read and written in slices between which the loop does other work, and one at
a time. What was drawn does not change any more, so that slices of different snapshots fit together.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final

import msgspec
import trio

from storage.engine import Engine
from storage.schema.draws import no_ranks, unpack_numbers
from storage.schema.ids import EventId
from storage.schema.layout import DRAWN_ORDER, LOBBY, event_partition
from storage.schema.records import DrawRecord
from ticketd.errors import ErrorCode, Refusal

IN_ONE_SLICE: Final = 2000
BUSY_RETRY_SECONDS: Final = 10

_ID_CHARACTERS: Final = 36


class DrawTexts(msgspec.Struct, frozen=True, kw_only=True):
    """Two JSON lists of entry ids: ``entries`` in order of joining, ``order`` as drawn."""

    entries: bytes
    order: bytes


class DrawWriter:
    """Writes the texts of draws, one at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_busy = False

    async def write(self, event_id: EventId, draw: DrawRecord) -> DrawTexts:
        """The texts of a draw that is made. Refuses OVERLOADED while another is written; INVALID_EVENT_ID if the event
        is deleted meanwhile."""
        if self._is_busy:
            raise Refusal(ErrorCode.OVERLOADED, retry_after_seconds=BUSY_RETRY_SECONDS)
        self._is_busy = True
        try:
            ids, places = await self._read_list(event_id, draw)
            entries = _Listing(ids)
            for start in range(0, len(ids) // _ID_CHARACTERS, IN_ONE_SLICE):
                entries.add(range(start, min(start + IN_ONE_SLICE, len(ids) // _ID_CHARACTERS)))
                await trio.sleep(0)
            return DrawTexts(entries=entries.text(), order=await self._write_order(event_id, ids, places))
        finally:
            self._is_busy = False

    async def _read_list(self, event_id: EventId, draw: DrawRecord) -> tuple[bytearray, array[int]]:
        """The ids as text, one after the other in order of joining; and the place in it of each number of joining, from
        the first's."""
        partition, count = event_partition(event_id), draw.entry_count or 0
        ids, places = bytearray(), no_ranks(0)
        seq = draw.first_joined_seq - 1
        while len(ids) < count * _ID_CHARACTERS:
            with self._engine.snapshot(partition) as view:
                read = list(LOBBY.after(view, partition, seq, IN_ONE_SLICE))
            if not read:
                raise Refusal(ErrorCode.INVALID_EVENT_ID)
            for (part,), entry_id in read:
                if isinstance(part, int):
                    places.extend(no_ranks(part - draw.first_joined_seq - len(places)))
                    places.append(len(ids) // _ID_CHARACTERS)
                    seq = part
                ids += str(entry_id).encode()
            await trio.sleep(0)
        return ids, places

    async def _write_order(self, event_id: EventId, ids: bytearray, places: array[int]) -> bytes:
        partition = event_partition(event_id)
        order = _Listing(ids)
        number = 0
        while order.count < len(ids) // _ID_CHARACTERS:
            with self._engine.snapshot(partition) as view:
                chunk = DRAWN_ORDER.get(view, partition, number)
            if chunk is None:
                raise Refusal(ErrorCode.INVALID_EVENT_ID)
            offsets = unpack_numbers(chunk)
            for start in range(0, len(offsets), IN_ONE_SLICE):
                order.add([places[offset] for offset in offsets[start : start + IN_ONE_SLICE]])
                await trio.sleep(0)
            number += 1
        return order.text()


class _Listing:
    """A JSON list of ids that is written slice by slice."""

    def __init__(self, ids: bytearray) -> None:
        self._ids = ids
        self._parts: list[bytes] = []
        self.count = 0

    def add(self, places: Iterable[int]) -> None:
        """Adds the ids at these places."""
        starts = [place * _ID_CHARACTERS for place in places]
        self._parts.append(b'","'.join(self._ids[start : start + _ID_CHARACTERS] for start in starts))
        self.count += len(starts)

    def text(self) -> bytes:
        """The list."""
        return b'["' + b'","'.join(self._parts) + b'"]' if self.count else b"[]"
