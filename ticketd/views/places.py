"""Where an entry stands, as its buyer is told: one way to ask, whoever asks.

Made of the store, which knows the entry and its room, and of the positions, which know how many stand before it.
"""

from __future__ import annotations

import msgspec

from storage.engine import Snapshot
from storage.schema.ids import EntryId, EventId
from storage.schema.records import EntryRecord
from storage.schema.states import EntryState
from ticketd.domain.rooms import find_place
from ticketd.domain.waits import lobby_quiet_ms, lobby_wait_ms, wait_ms
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


def find_standing(view: Snapshot, positions: Positions, event_id: EventId, entry_id: EntryId) -> Standing:
    """The place of a live entry. Refuses QUEUE_ENTRY_EXPIRED with ``status`` EXPIRED (also for an entry that is gone),
    LEFT or DONE."""
    room, entry = find_place(view, event_id, entry_id, view.now_ms)
    state = room.standing(entry)
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
        wait_ms=lobby_wait_ms(room, view) if in_lobby else wait_ms(room, view, position),
        quiet_ms=lobby_quiet_ms(room) if in_lobby else None,
    )
