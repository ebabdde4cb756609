"""One event's waiting room as one transaction has it open: what is read of it, and the one way in which it is written.

A ``RoomBook`` reads the room's record once, and every change of an entry goes through ``write_entry``, which derives
the indices, the counters and the event from the entry before and after. So they cannot drift apart. Who is let in when
is ``ticketd.domain.admission``'s; what a buyer may ask for is ``ticketd.domain.rooms``'.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final
from uuid import UUID

from msgspec.structs import replace

from storage.engine import Reader, Transaction
from storage.keys import Part
from storage.schema.events import EntryMoved
from storage.schema.ids import EntryId, EventId
from storage.schema.layout import (
    ADMISSIONS,
    DRAW,
    DRAWN_LEFT,
    DUE_ENTRIES,
    ENTRIES,
    LINE,
    LIVE_BY_ADDRESS,
    LIVE_BY_DEVICE,
    LIVE_BY_USER,
    LOBBY,
    ROOM,
    SALE,
    event_partition,
)
from storage.schema.records import DrawRecord, EntryRecord, RoomRecord, SaleRecord
from storage.schema.states import ENTRY_MOVES, LIVE_ENTRY_STATES, EntryState, check_move
from ticketd.domain.sales import SalePhase, load_total, sale_is_over, sale_phase

ADMITTING_PHASES: Final = frozenset({SalePhase.PRESALE, SalePhase.ON_SALE})
OVER_PHASES: Final = frozenset({SalePhase.ENDED, SalePhase.CANCELLED})
WAITING_STATES: Final = frozenset({EntryState.LOBBY, EntryState.QUEUED})
ACTIVE_STATES: Final = frozenset({EntryState.READY, EntryState.SHOPPING})

RATE_WINDOW_MS: Final = 60_000
"""Over which the rate of admission is kept: no window of this length, its start counted and its end not, has more."""


class RoomReading:
    """A room as it is read: its record, its event's sale, and the time."""

    def __init__(self, reader: Reader, event_id: EventId, sale: SaleRecord, now_ms: int) -> None:
        self.event_id = event_id
        self.partition = event_partition(event_id)
        self.sale = sale
        self.now_ms = now_ms
        self.room = ROOM.get(reader, self.partition) or RoomRecord()
        self._reader = reader

    @staticmethod
    def of(reader: Reader, event_id: EventId, now_ms: int) -> RoomReading | None:
        """The room of an event; None if there is no such event."""
        sale = SALE.get(reader, event_partition(event_id))
        return None if sale is None else RoomReading(reader, event_id, sale, now_ms)

    @cached_property
    def phase(self) -> SalePhase:
        """The phase of the sale at this time."""
        return sale_phase(self.sale, load_total(self._reader, self.event_id), self.now_ms)

    @property
    def lobby_is_over(self) -> bool:
        """Whether the general sale's time has come: those of the lobby stand before whoever joins from now on."""
        return self.now_ms >= self.sale.general_sale_start_ms

    @property
    def queue_size(self) -> int:
        """How many wait, in the lobby and in the line."""
        return self.room.waiting + self.room.lobby

    @cached_property
    def draw(self) -> DrawRecord | None:
        """The draw of the lobby, if it was ever prepared."""
        return DRAW.get(self._reader, self.partition)

    @property
    def lobby_is_closed(self) -> bool:
        """Whether the list of those who are drawn is closed: whoever joins from then on stands behind the lobby."""
        return (
            self.room.opening_seq is not None and self.draw is not None and self.draw.entry_count is not None
        )

    @property
    def lobby_is_drawn(self) -> bool:
        """Whether the draw is made, so that those of the lobby stand in the line."""
        return (
            self.room.opening_seq is not None and self.draw is not None and self.draw.drawn_at_ms is not None
        )

    @property
    def draw_is_due(self) -> bool:
        """Whether the list is closed and the draw not made yet."""
        return self.lobby_is_closed and not self.lobby_is_drawn

    def stands_behind_lobby(self, entry: EntryRecord) -> bool:
        """Whether one who joined the line did so after the lobby's places were kept."""
        return self.room.opening_seq is not None and entry.seq >= self.room.opening_seq

    @property
    def ahead_of_a_joiner(self) -> int:
        """How many stand before one who joins the line now."""
        behind_lobby = self.lobby_is_over or self.lobby_is_closed
        return self.room.waiting + (self.room.lobby if behind_lobby else 0)

    @property
    def rate_per_minute(self) -> int:
        """How many are let in in a minute: as many as the settings say, or fewer while payments fail."""
        most, slowed = self.sale.room.admit_per_minute, self.room.slowed_to_per_minute
        return most if slowed is None else min(most, slowed)

    def next_slot_ms(self) -> int | None:
        """When the next buyer may be let in: ``now_ms``, or later by the rate; None while there is no place for one."""
        settings = self.sale.room
        if self.room.paused:
            return None
        if not settings.enabled:
            return self.now_ms
        if self.room.active >= settings.max_active:
            return None
        rivals = self.room.admitted + 1 - self.rate_per_minute
        at_ms = ADMISSIONS.get(self._reader, self.partition, rivals) if rivals >= 1 else None
        return self.now_ms if at_ms is None else max(self.now_ms, at_ms + RATE_WINDOW_MS)

    def admits_now(self) -> bool:
        """Whether one more may be let in at this time."""
        return self.phase in ADMITTING_PHASES and self.next_slot_ms() == self.now_ms

    def find_entry(self, entry_id: EntryId) -> EntryRecord | None:
        """The entry, live or ended."""
        return ENTRIES.get(self._reader, self.partition, entry_id)

    def entry(self, entry_id: EntryId) -> EntryRecord:
        """The entry that an index names. One that is missing means that the store is damaged (LookupError)."""
        entry = self.find_entry(entry_id)
        if entry is None:
            raise LookupError(f"event {self.event_id}: there is no entry {entry_id}")
        return entry

    def standing(self, entry: EntryRecord) -> EntryState:
        """The state of an entry with the time and the draw counted in: EXPIRED from the moment on at which it lapses,
        though the lapse may be written a little later; QUEUED once the lobby is drawn, though the record says LOBBY."""
        if is_due(entry, self.now_ms):
            return EntryState.EXPIRED
        if entry.state in WAITING_STATES and sale_is_over(self.sale, self.now_ms):
            return EntryState.EXPIRED
        if entry.state is EntryState.LOBBY and self.lobby_is_drawn:
            return EntryState.QUEUED
        return entry.state


class RoomBook(RoomReading):
    """A room as a command changes it. ``save`` stands at the end of the command, once."""

    def __init__(self, tx: Transaction, event_id: EventId, sale: SaleRecord) -> None:
        super().__init__(tx, event_id, sale, tx.now_ms)
        self.tx = tx

    @staticmethod
    def open(tx: Transaction, event_id: EventId) -> RoomBook | None:
        """The room of an event; None if there is no such event."""
        sale = SALE.get(tx, event_partition(event_id))
        return None if sale is None else RoomBook(tx, event_id, sale)

    def save(self) -> None:
        """Writes the room's record."""
        ROOM.put(self.tx, self.room, self.partition)

    def put_draw(self, draw: DrawRecord) -> None:
        """Writes the record of the lobby's draw."""
        DRAW.put(self.tx, draw, self.partition)
        self.draw = draw

    def take_seqs(self, count: int) -> int:
        """The first of ``count`` sequence numbers that nobody else gets."""
        first = self.room.next_seq
        self.room = replace(self.room, next_seq=first + count)
        return first

    def write_entry(self, before: EntryRecord | None, after: EntryRecord) -> None:
        """Writes a new entry, or the next state of one, with all that follows from it; emits EntryMoved."""
        if before is not None:
            check_move(ENTRY_MOVES, before.state, after.state)
        ENTRIES.put(self.tx, after, self.partition, after.entry_id)
        self._file(before, after)
        self._count(before, -1)
        self._count(after, 1)
        self.tx.emit(
            self.partition,
            EntryMoved(
                event_id=self.event_id,
                entry_id=after.entry_id,
                user_id=after.user_id,
                seq=after.seq,
                before=None if before is None else before.state,
                after=after.state,
                due_at_ms=after.due_at_ms,
            ),
        )

    def admit(self, before: EntryRecord | None, entry: EntryRecord) -> EntryRecord:
        """Lets one in: the entry becomes READY until its claim time is over, and counts towards the rate.

        ``before`` is the entry as it stands in the line, or None for one who need not wait.
        """
        ready = replace(
            entry,
            state=EntryState.READY,
            admitted_at_ms=self.now_ms,
            due_at_ms=self.now_ms + self.sale.room.claim_seconds * 1000,
        )
        self.room = replace(self.room, admitted=self.room.admitted + 1)
        ADMISSIONS.put(self.tx, self.now_ms, self.partition, self.room.admitted)
        self.write_entry(before, ready)
        return ready

    def end_entry(self, entry: EntryRecord, state: EntryState) -> EntryRecord:
        """Ends an entry: ``state`` is DONE, LEFT or EXPIRED. Its record stays, so that its buyer can be told."""
        ended = replace(entry, state=state, due_at_ms=None, ended_at_ms=self.now_ms)
        self.write_entry(entry, ended)
        return ended

    def _file(self, before: EntryRecord | None, after: EntryRecord) -> None:
        """Takes the entry out of the indices where it stood, and puts it into those where it now stands."""
        tx, partition, entry_id = self.tx, self.partition, after.entry_id
        if before is not None and before.state is EntryState.QUEUED:
            LINE.delete(tx, partition, before.seq)
        if before is not None and before.state is EntryState.LOBBY:
            self._take_out_of_lobby(before, after)
        if before is not None and before.due_at_ms is not None:
            DUE_ENTRIES.remove(tx, partition, before.due_at_ms, entry_id)
        if after.state is EntryState.QUEUED:
            LINE.put(tx, entry_id, partition, after.seq)
        if after.state is EntryState.LOBBY:
            LOBBY.put(tx, entry_id, partition, after.seq)
        if after.due_at_ms is not None:
            DUE_ENTRIES.add(tx, partition, after.due_at_ms, entry_id)
        was_live = before is not None and before.state in LIVE_ENTRY_STATES
        is_live = after.state in LIVE_ENTRY_STATES
        if is_live and not was_live:
            LIVE_BY_USER.put(tx, entry_id, partition, after.user_id)
            LIVE_BY_DEVICE.add(tx, partition, after.device_hash, entry_id)
            if after.address_hash is not None:
                LIVE_BY_ADDRESS.add(tx, partition, after.address_hash, entry_id)
        if was_live and not is_live:
            LIVE_BY_USER.delete(tx, partition, after.user_id)
            LIVE_BY_DEVICE.remove(tx, partition, after.device_hash, entry_id)
            if after.address_hash is not None:
                LIVE_BY_ADDRESS.remove(tx, partition, after.address_hash, entry_id)

    def _take_out_of_lobby(self, before: EntryRecord, after: EntryRecord) -> None:
        """Once the list of the draw is closed nobody is taken out of it: that somebody left is written beside it."""
        if not self.lobby_is_closed:
            LOBBY.delete(self.tx, self.partition, before.seq)
        elif after.state is not EntryState.READY:
            DRAWN_LEFT.add(self.tx, self.partition, before.seq)

    def _count(self, entry: EntryRecord | None, step: int) -> None:
        if entry is None:
            return
        room = self.room
        if entry.state is EntryState.QUEUED:
            self.room = replace(room, waiting=room.waiting + step)
        elif entry.state is EntryState.LOBBY:
            self.room = replace(room, lobby=room.lobby + step)
        elif entry.state in ACTIVE_STATES:
            self.room = replace(room, active=room.active + step)


def is_due(entry: EntryRecord, now_ms: int) -> bool:
    """Whether the time of an entry is over, though its lapse may not be written yet."""
    return entry.due_at_ms is not None and entry.due_at_ms <= now_ms


def entry_id_of(part: Part) -> EntryId:
    """The entry id in a part of an index's key."""
    if not isinstance(part, UUID):
        raise TypeError(f"an entry's id is a UUID, not {part!r}")
    return EntryId(part)
