"""A stage for tests of the waiting room: one event in a real store, a clock set by hand, a recount of everything."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import pytest
from msgspec.structs import replace

from storage.clock import Clock
from storage.engine import Change, Command, Reader, Transaction
from storage.lmdb_engine import open_lmdb
from storage.schema.events import EVENT_CODEC, EntryMoved
from storage.schema.ids import EntryId, EventId, UserId
from storage.schema.layout import (
    ADMISSIONS,
    DRAW,
    DUE_ENTRIES,
    ENTRIES,
    EVENT_IDS,
    LINE,
    LIVE_BY_ADDRESS,
    LIVE_BY_DEVICE,
    LIVE_BY_USER,
    LOBBY,
    ROOM,
    SALE,
    SYSTEM,
    TOTAL,
    event_partition,
)
from storage.schema.records import (
    CountRecord,
    EntryRecord,
    PresaleCodeRecord,
    RoomRecord,
    RoomSettings,
    SaleRecord,
)
from storage.schema.states import LIVE_ENTRY_STATES, EntryState
from storage.writer import InlineEngine
from ticketd.domain.admission import advance_room, draw_is_due
from ticketd.domain.rooms import (
    ClaimAccess,
    JoinedRoom,
    JoinRoom,
    LeaveRoom,
    SetRoom,
    claim_access,
    finish_entry,
    join_room,
    leave_room,
    set_room,
)
from ticketd.errors import ErrorCode, Refusal
from ticketd.tasks.draws import draw_lobby
from ticketd.views.places import Standing, find_standing
from ticketd.views.positions import Positions

R = TypeVar("R")

EVENT = EventId(UUID(int=0xE))
OPENS_MS = 1_800_000_000_000
MINUTE_MS = 60_000
DATE_MS = OPENS_MS + 90 * 24 * 60 * MINUTE_MS

ROOM_SETTINGS = RoomSettings(
    enabled=True,
    capacity=1000,
    max_active=2,
    admit_per_minute=100,
    claim_seconds=120,
    access_seconds=600,
    max_entries_per_device=1,
)
SALE_RECORD = SaleRecord(
    date_ms=DATE_MS,
    general_sale_start_ms=OPENS_MS,
    currency="USD",
    purchase_limit=8,
    hold_seconds=600,
    tiers=(),
    room=ROOM_SETTINGS,
)
PRESALE_CODES = (PresaleCodeRecord(code="FAN", max_joins=2), PresaleCodeRecord(code="CLUB", max_joins=50))


class HandClock:
    """A clock that is set by hand; nothing waits by it."""

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms

    def now_ms(self) -> int:
        return self.at_ms

    async def wait_until_ms(self, at_ms: int) -> None:
        raise AssertionError("nothing waits by this clock")


@contextmanager
def open_store(path: Path, clock: Clock) -> Iterator[InlineEngine]:
    """A real store with the writer inline; not synced, since no power fails here."""
    backend = open_lmdb(path / "store.lmdb", 256 * 1024 * 1024, synced=False)
    try:
        yield InlineEngine(backend, clock, EVENT_CODEC)
    finally:
        backend.close()


class Stage:
    """One event's room and what is done in it. Users and devices are numbers."""

    def __init__(
        self, engine: InlineEngine, clock: HandClock | None = None, event_id: EventId = EVENT
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.event_id = event_id
        self.partition = event_partition(event_id)
        self.moves: list[EntryMoved] = []
        self.positions = Positions(engine)
        self._ids = random.Random(0 if clock is None else clock.at_ms)
        engine.subscribe(self._notice)

    def _notice(self, changes: Sequence[Change]) -> None:
        self.moves += [change.event for change in changes if isinstance(change.event, EntryMoved)]

    async def run(self, function: Callable[[Transaction], R]) -> R:
        return (await self.engine.submit(Command("test", (self.partition, SYSTEM), function))).result

    async def set_sale(self, sale: SaleRecord, free: int = 100, held: int = 0) -> None:
        def run(tx: Transaction) -> None:
            SALE.put(tx, sale, self.partition)
            TOTAL.put(tx, CountRecord(free=free, held=held, sold=1), self.partition)
            EVENT_IDS.add(tx, SYSTEM, self.event_id)

        await self.run(run)

    async def join(
        self,
        user: int,
        device: int | None = None,
        code: str | None = None,
        *,
        address: bytes | None = None,
        per_address: int = 0,
    ) -> JoinedRoom:
        command = JoinRoom(
            event_id=self.event_id,
            user_id=UserId(UUID(int=user)),
            device_hash=b"device %d" % (user if device is None else device),
            entry_id=EntryId(UUID(int=self._ids.getrandbits(100))),
            presale_code=code,
            address_hash=address,
            max_entries_per_address=per_address,
        )
        return await self.run(lambda tx: join_room(tx, command))

    async def join_many(self, users: range) -> list[JoinedRoom]:
        return [await self.join(user) for user in users]

    async def claim(self, entry_id: EntryId, kid: str = "k1") -> EntryRecord:
        return await self.run(lambda tx: claim_access(tx, ClaimAccess(self.event_id, entry_id, kid)))

    async def leave(self, entry_id: EntryId) -> None:
        await self.run(lambda tx: leave_room(tx, LeaveRoom(self.event_id, entry_id)))

    async def finish(self, entry_id: EntryId) -> None:
        await self.run(lambda tx: finish_entry(tx, self.event_id, entry_id))

    async def set(
        self,
        *,
        paused: bool | None = None,
        max_active: int | None = None,
        admit_per_minute: int | None = None,
        capacity: int | None = None,
    ) -> None:
        command = SetRoom(
            event_id=self.event_id,
            paused=paused,
            max_active=max_active,
            admit_per_minute=admit_per_minute,
            capacity=capacity,
        )
        await self.run(lambda tx: set_room(tx, command))

    async def advance(self, limit: int = 100) -> int | None:
        """One bounded step of the room."""
        return await self.run(lambda tx: advance_room(tx, self.event_id, limit))

    async def advance_all(self, limit: int = 100) -> int | None:
        """Steps, and draws, until nothing is due; when the next thing is."""
        assert self.clock is not None
        while True:
            due_at_ms = await self.advance(limit)
            if due_at_ms is not None and due_at_ms <= self.clock.at_ms:
                continue
            if not self.draw_is_due():
                return due_at_ms
            await self.draw()

    def draw_is_due(self) -> bool:
        """Whether the lobby's draw is to be made."""
        with self.engine.snapshot(self.partition) as snapshot:
            return draw_is_due(snapshot, self.event_id, snapshot.now_ms)

    async def draw(self) -> None:
        """Makes the lobby's draw, as the room's task does beside its steps."""
        await draw_lobby(self.engine, self.event_id)

    def entry(self, entry_id: EntryId) -> EntryRecord:
        with self.engine.snapshot(self.partition) as snapshot:
            entry = ENTRIES.get(snapshot, self.partition, entry_id)
        assert entry is not None
        return entry

    def state(self, joined: JoinedRoom) -> EntryState:
        return self.entry(joined.entry.entry_id).state

    def standing(self, joined: JoinedRoom) -> Standing:
        """The place of a live entry, as its buyer is told."""
        with self.engine.snapshot(self.partition) as view:
            return find_standing(view, self.positions, self.event_id, joined.entry.entry_id)

    def place(self, joined: JoinedRoom) -> int:
        """The position of a live entry."""
        return self.standing(joined).position

    def room(self) -> RoomRecord:
        with self.engine.snapshot(self.partition) as snapshot:
            return ROOM.get(snapshot, self.partition) or RoomRecord()

    def recount(self) -> None:
        """Fails unless counters and indices equal what the entries say."""
        with self.engine.snapshot(self.partition) as snapshot:
            recount(snapshot, self.event_id)


def recount(reader: Reader, event_id: EventId) -> None:
    """Fails unless the counters and the indices of a room equal what its entries say."""
    partition = event_partition(event_id)
    entries = [entry for _, entry in ENTRIES.scan(reader, partition)]
    live = [entry for entry in entries if entry.state in LIVE_ENTRY_STATES]
    room = ROOM.get(reader, partition) or RoomRecord()

    def in_state(*states: EntryState) -> list[EntryRecord]:
        return sorted((entry for entry in entries if entry.state in states), key=lambda entry: entry.seq)

    assert room.waiting == len(in_state(EntryState.QUEUED))
    assert room.lobby == len(in_state(EntryState.LOBBY))
    assert room.active == len(in_state(EntryState.READY, EntryState.SHOPPING))
    assert list(LINE.scan(reader, partition)) == [((e.seq,), e.entry_id) for e in in_state(EntryState.QUEUED)]
    draw = DRAW.get(reader, partition)
    listed = list(LOBBY.scan(reader, partition))
    if draw is None or (draw.entry_count is None and draw.departed == 0):
        assert listed == [((e.seq,), e.entry_id) for e in in_state(EntryState.LOBBY)]
    else:
        assert len(listed) == (draw.entry_count or room.lobby + draw.departed)
        by_seq = {e.seq: e for e in entries}
        assert all(by_seq[seq].entry_id == entry_id for (seq,), entry_id in listed if isinstance(seq, int))
        assert {e.seq for e in in_state(EntryState.LOBBY)} <= {seq for (seq,), _ in listed}
    assert dict(LIVE_BY_USER.scan(reader, partition)) == {(entry.user_id,): entry.entry_id for entry in live}
    assert len({entry.user_id for entry in live}) == len(live)
    assert set(LIVE_BY_DEVICE.scan(reader, partition)) == {(e.device_hash, e.entry_id) for e in live}
    assert set(LIVE_BY_ADDRESS.scan(reader, partition)) == {
        (e.address_hash, e.entry_id) for e in live if e.address_hash is not None
    }
    assert set(DUE_ENTRIES.scan(reader, partition)) == {
        (e.due_at_ms, e.entry_id) for e in entries if e.due_at_ms is not None
    }
    assert all(
        (e.due_at_ms is not None) == (e.state in {EntryState.READY, EntryState.SHOPPING}) for e in entries
    )
    ordinals = [ordinal for (ordinal,), _ in ADMISSIONS.scan(reader, partition)]
    assert ordinals == list(range(room.admitted - len(ordinals) + 1, room.admitted + 1))


async def refused(wanted: ErrorCode, attempt: Awaitable[object]) -> Refusal:
    """The refusal of the attempt, which must have this code."""
    with pytest.raises(Refusal) as caught:
        await attempt
    assert caught.value.code is wanted
    return caught.value


def with_room(**changes: object) -> SaleRecord:
    """The sale of the stage with other settings of its room."""
    return replace(SALE_RECORD, room=replace(ROOM_SETTINGS, **changes))


@contextmanager
def staged(path: Path, at_ms: int = OPENS_MS) -> Iterator[tuple[Stage, HandClock]]:
    """A new stage without its event yet, and its clock."""
    clock = HandClock(at_ms)
    with open_store(path, clock) as engine:
        yield Stage(engine, clock), clock
