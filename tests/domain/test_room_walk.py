"""Seeded random walks through a room, beside a naive room that is written down from the rules alone.

The naive room keeps lists and looks at all of them every time; it shares no code with the product.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec.structs import replace

from storage.schema.ids import EntryId
from storage.schema.layout import DRAW, ENTRIES, LOBBY
from storage.schema.records import DrawRecord
from storage.schema.states import EntryState
from tests.domain.room_stage import OPENS_MS, PRESALE_CODES, HandClock, Stage, staged, with_room
from tests.support.hand_draw import hand_draw
from ticketd.domain.rooms import JoinedRoom
from ticketd.errors import ErrorCode, Refusal
from ticketd.views.places import find_standing
from ticketd.views.positions import Positions

STEPS = 800
CLAIM_MS = 20_000
ACCESS_MS = 90_000
USERS = 60
DEVICES = 40


@dataclass
class NaiveRoom:
    """The rules of the room, with lists. Users stand for entries: each has at most one."""

    max_active: int
    rate: int
    capacity: int
    per_device: int
    paused: bool = False
    line: list[int] = field(default_factory=list)
    inside: dict[int, int] = field(default_factory=dict)
    devices: dict[int, int] = field(default_factory=dict)
    admissions: list[int] = field(default_factory=list)

    def settle(self, now_ms: int) -> None:
        """What happens by itself by this time."""
        for user in [user for user, due_at_ms in self.inside.items() if due_at_ms <= now_ms]:
            self.end(user)
        while self.line and self.may_admit(now_ms):
            self.admit(self.line.pop(0), now_ms)

    def may_admit(self, now_ms: int) -> bool:
        lately = sum(1 for at_ms in self.admissions if at_ms > now_ms - 60_000)
        return not self.paused and len(self.inside) < self.max_active and lately < self.rate

    def admit(self, user: int, now_ms: int) -> None:
        self.inside[user] = now_ms + CLAIM_MS
        self.admissions.append(now_ms)

    def end(self, user: int) -> None:
        self.inside.pop(user, None)
        if user in self.line:
            self.line.remove(user)
        del self.devices[user]

    def join(self, user: int, device: int, now_ms: int) -> ErrorCode | None:
        if user in self.devices:
            return ErrorCode.ALREADY_IN_QUEUE
        if list(self.devices.values()).count(device) >= self.per_device:
            return ErrorCode.DEVICE_ALREADY_IN_QUEUE
        straight_in = not self.line and self.may_admit(now_ms)
        if not straight_in and len(self.line) >= self.capacity:
            return ErrorCode.QUEUE_FULL
        self.devices[user] = device
        if straight_in:
            self.admit(user, now_ms)
        else:
            self.line.append(user)
        return None


class Walk:
    """One walk: what it does is drawn from its seed."""

    def __init__(self, stage: Stage, clock: HandClock, seed: int) -> None:
        self.stage = stage
        self.clock = clock
        self.random = random.Random(seed)
        self.entries: dict[int, EntryId] = {}
        self.positions = Positions(stage.engine)
        self.naive = NaiveRoom(
            max_active=self.random.randint(1, 6),
            rate=self.random.choice([1, 3, 8, 1000]),
            capacity=self.random.randint(3, 40),
            per_device=self.random.randint(1, 2),
        )

    async def open(self) -> None:
        await self.stage.set_sale(
            with_room(
                max_active=self.naive.max_active,
                admit_per_minute=self.naive.rate,
                capacity=self.naive.capacity,
                max_entries_per_device=self.naive.per_device,
                claim_seconds=CLAIM_MS // 1000,
                access_seconds=ACCESS_MS // 1000,
            )
        )

    async def step(self) -> None:
        """One thing that somebody does, in both rooms."""
        dice = self.random.random()
        now_ms = self.clock.at_ms
        if dice < 0.45:
            await self.join(self.random.randrange(USERS), self.random.randrange(DEVICES))
        elif dice < 0.6 and self.naive.inside:
            user = self.random.choice(list(self.naive.inside))
            before = self.stage.entry(self.entries[user]).state
            await self.stage.claim(self.entries[user])
            if before is EntryState.READY:
                self.naive.inside[user] = now_ms + ACCESS_MS
        elif dice < 0.72 and self.naive.devices:
            user = self.random.choice(list(self.naive.devices))
            await self.stage.leave(self.entries[user])
            self.naive.end(user)
        elif dice < 0.82:
            await self.finish_one()
        elif dice < 0.86:
            await self.set()
        else:
            self.clock.at_ms += self.random.choice([1, 999, 7_000, 20_000, 59_999, 60_000])

    async def join(self, user: int, device: int) -> None:
        wanted = self.naive.join(user, device, self.clock.at_ms)
        joined, code = await self.try_to_join(user, device)
        assert code is wanted
        if joined is None:
            return
        self.entries[user] = joined.entry.entry_id
        assert joined.position == (self.naive.line.index(user) + 1 if user in self.naive.line else 0)
        assert joined.queue_size == len(self.naive.line)

    async def try_to_join(self, user: int, device: int) -> tuple[JoinedRoom | None, ErrorCode | None]:
        try:
            return await self.stage.join(user, device), None
        except Refusal as refusal:
            return None, refusal.code

    async def finish_one(self) -> None:
        shopping = [
            user
            for user in self.naive.inside
            if self.stage.entry(self.entries[user]).state is EntryState.SHOPPING
        ]
        if shopping:
            user = self.random.choice(shopping)
            await self.stage.finish(self.entries[user])
            self.naive.end(user)

    async def set(self) -> None:
        naive = self.naive
        naive.paused = self.random.random() < 0.3
        naive.max_active = self.random.randint(1, 8)
        naive.rate = self.random.choice([1, 2, 5, 1000])
        await self.stage.set(paused=naive.paused, max_active=naive.max_active, admit_per_minute=naive.rate)

    def compare(self) -> None:
        """Both rooms are the same, entry by entry, and every position is that of a plain list."""
        self.naive.settle(self.clock.at_ms)
        for user, entry_id in self.entries.items():
            entry = self.stage.entry(entry_id)
            if user in self.naive.line:
                assert entry.state is EntryState.QUEUED
                position = self.positions.position(self.stage.event_id, entry.seq)
                assert position == self.naive.line.index(user) + 1
            elif user in self.naive.inside:
                assert entry.state in {EntryState.READY, EntryState.SHOPPING}
                assert entry.due_at_ms == self.naive.inside[user]
            else:
                assert entry.state in {EntryState.DONE, EntryState.LEFT, EntryState.EXPIRED}
        assert self.positions.waiting(self.stage.event_id) == len(self.naive.line)
        assert self.stage.room().admitted == len(self.naive.admissions)


@pytest.mark.parametrize("seed", range(8))
async def test_a_room_goes_on_as_the_naive_room_does(tmp_path: Path, seed: int) -> None:
    print(f"to repeat: seed {seed}")
    with staged(tmp_path, OPENS_MS) as (stage, clock):
        walk = Walk(stage, clock, seed)
        await walk.open()
        for number in range(STEPS):
            await walk.step()
            await stage.advance_all(limit=walk.random.randint(1, 5))
            walk.compare()
            if number % 20 == 0:
                stage.recount()


@pytest.mark.parametrize("seed", range(10))
async def test_a_room_whose_task_comes_late_breaks_no_rule(tmp_path: Path, seed: int) -> None:
    """From the lobby on, with every other seed through a presale; the draw comes some steps after the opening."""
    print(f"to repeat: seed {seed}")
    drawn = random.Random(seed)
    max_active, rate = drawn.randint(1, 6), drawn.choice([2, 5, 1000])
    sale = with_room(
        max_active=max_active,
        admit_per_minute=rate,
        claim_seconds=CLAIM_MS // 1000,
        access_seconds=ACCESS_MS // 1000,
        lobby_opens_ms=OPENS_MS - 60_000,
    )
    if seed % 2:
        sale = replace(sale, presale_start_ms=OPENS_MS - 30_000, presale_codes=PRESALE_CODES)
    with staged(tmp_path, OPENS_MS - 60_000) as (stage, clock):
        await stage.set_sale(sale)
        admitted_at_ms: list[int] = []
        live: dict[int, EntryId] = {}
        for number in range(2 * STEPS):
            told = len(stage.moves)
            await late_step(stage, clock, drawn, live)
            admitted = [move for move in stage.moves[told:] if move.after is EntryState.READY]
            admitted_at_ms += [clock.at_ms] * len(admitted)
            assert stage.room().active <= max_active
            assert sum(at_ms > clock.at_ms - 60_000 for at_ms in admitted_at_ms) <= rate
            if number % 20 == 0:
                stage.recount()
                check_places(stage, Positions(stage.engine) if number % 100 == 0 else stage.positions)
        order = whole_order(stage)
        admissions = [order.index(move.entry_id) for move in stage.moves if move.after is EntryState.READY]
        assert len(admissions) > 10
        assert admissions == sorted(admissions)  # nobody overtook
        draw = draw_of(stage)
        assert draw is not None
        assert draw.drawn_at_ms is not None


async def late_step(stage: Stage, clock: HandClock, drawn: random.Random, live: dict[int, EntryId]) -> None:
    """One thing that somebody does; the room's own task is only one of them, and takes small steps."""
    dice = drawn.random()
    user = drawn.randrange(USERS)
    try:
        if dice < 0.4:
            live[user] = (await stage.join(user, user % DEVICES, code="CLUB")).entry.entry_id
        elif dice < 0.5 and live:
            await stage.claim(drawn.choice(list(live.values())))
        elif dice < 0.6 and live:
            await stage.leave(live.pop(drawn.choice(list(live))))
        elif dice < 0.65:
            shopping = [one for one in live.values() if stage.entry(one).state is EntryState.SHOPPING]
            if shopping:
                await stage.finish(drawn.choice(shopping))
        elif dice < 0.8:
            await stage.advance(limit=drawn.randint(1, 3))
        elif dice < 0.83:
            await stage.draw()
        else:
            clock.at_ms += drawn.choice([1, 500, 1_000, 8_000])
    except Refusal:
        return


def draw_of(stage: Stage) -> DrawRecord | None:
    with stage.engine.snapshot(stage.partition) as view:
        return DRAW.get(view, stage.partition)


def whole_order(stage: Stage) -> list[EntryId]:
    """All entries there ever were in the order in which they may come in: before the lobby, the lobby as drawn (until
    then in order of joining), behind it."""
    with stage.engine.snapshot(stage.partition) as view:
        entries = sorted((entry for _, entry in ENTRIES.scan(view, stage.partition)), key=lambda one: one.seq)
        listed = [entry_id for _, entry_id in LOBBY.scan(view, stage.partition)]
    draw, opening_seq = draw_of(stage), stage.room().opening_seq
    if opening_seq is None:
        return [entry.entry_id for entry in entries]
    if draw is not None and draw.drawn_at_ms is not None:
        listed = [EntryId(one) for one in hand_draw(draw.seed, listed)]
    others = [entry for entry in entries if entry.entry_id not in listed]
    return [
        *(entry.entry_id for entry in others if entry.seq < opening_seq),
        *listed,
        *(entry.entry_id for entry in others if entry.seq >= opening_seq),
    ]


def check_places(stage: Stage, positions: Positions) -> None:
    """Every place that is told is that in a plain list of those who wait."""
    room, draw = stage.room(), draw_of(stage)
    stands = {EntryState.QUEUED}
    if room.opening_seq is not None:
        stands.add(EntryState.LOBBY)
    waiting = [one for one in whole_order(stage) if stage.entry(one).state in stands]
    is_drawn = draw is not None and draw.drawn_at_ms is not None
    with stage.engine.snapshot(stage.partition) as view:
        for place, entry_id in enumerate(waiting, start=1):
            told = find_standing(view, positions, stage.event_id, entry_id)
            in_lobby = stage.entry(entry_id).state is EntryState.LOBBY and not is_drawn
            assert told.position == (0 if in_lobby else place)
            assert told.state is (EntryState.LOBBY if in_lobby else EntryState.QUEUED)
            assert told.queue_size == room.waiting + room.lobby
