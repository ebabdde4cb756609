"""Where an entry stands, as its buyer is told: one way to ask, whoever asks.

Made of the store, which knows the entry and its room, and of the positions, which know how many stand before it.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from storage.engine import Snapshot
from storage.schema.ids import EntryId, EventId
from storage.schema.records import EntryRecord
from storage.schema.states import EntryState
from ticketd.domain.room_book import RoomReading
from ticketd.domain.rooms import find_live_entry
from ticketd.domain.waits import admissions_per_ms, lobby_quiet_ms, lobby_wait_ms, wait_at_rate_ms
from ticketd.errors import ErrorCode, Refusal
from ticketd.views.positions import Positions


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A live entry's place: ``position`` is 1 for the next in line, and 0 in the lobby and for who was let in;
    ``queue_size`` counts all who wait, this buyer included; ``wait_ms`` is an estimate, 0 for who was let in;
    ``quiet_ms`` is how long one in the lobby may keep still and miss no turn.

    ``state`` is the one to tell and to decide by: that of the record with time, and the lobby's draw, counted in.
    """

    entry: EntryRecord
    state: EntryState
    position: int
    queue_size: int
    wait_ms: int
    quiet_ms: int | None = None


class _RoomNow(NamedTuple):
    """A room, and how fast its line moves."""

    reading: RoomReading
    per_ms: float

    def wait_ms(self, position: int) -> int:
        """As ``ticketd.domain.waits.wait_ms``."""
        if position <= 0 or not self.reading.sale.room.enabled:
            return 0
        return wait_at_rate_ms(position, self.per_ms)


def _room_now(view: Snapshot, event_id: EventId) -> _RoomNow:
    """The room of an event, read once for all who ask within a millisecond. Refuses as ``find_standing``."""
    key = _RoomNow, event_id
    found = view.memo.get(key)
    if isinstance(found, _RoomNow):
        return found
    reading = RoomReading.of(view, event_id, view.now_ms)
    if reading is None:
        raise Refusal(ErrorCode.QUEUE_ENTRY_EXPIRED, details={"status": EntryState.EXPIRED.value})
    # All that is asked of it is read now: it outlives the snapshot that it was read from.
    reading.draw  # noqa: B018 -- read, and kept by the reading
    made = view.memo[key] = _RoomNow(reading, admissions_per_ms(reading, view))
    return made


def find_standing(view: Snapshot, positions: Positions, event_id: EventId, entry_id: EntryId) -> Standing:
    """The place of a live entry. Refuses QUEUE_ENTRY_EXPIRED with ``status`` EXPIRED (also for an entry that is gone),
    LEFT or DONE."""
    now = _room_now(view, event_id)
    room = now.reading
    entry, state = find_live_entry(view, room, entry_id)
    position = 0
    if state is EntryState.QUEUED and entry.state is EntryState.LOBBY:
        drawn = positions.drawn_position(event_id, entry.seq)
        # The draw may be committed already, but not published yet.
        state, position = (EntryState.LOBBY, 0) if drawn is None else (state, drawn)
    elif state is EntryState.QUEUED:
        position = positions.position(event_id, entry.seq)
        if room.stands_behind_lobby(entry) and not positions.is_drawn(event_id):
            position += room.room.lobby
    in_lobby = state is EntryState.LOBBY
    return Standing(
        entry=entry,
        state=state,
        position=position,
        queue_size=room.queue_size,
        wait_ms=lobby_wait_ms(room, view) if in_lobby else now.wait_ms(position),
        quiet_ms=lobby_quiet_ms(room) if in_lobby else None,
    )
