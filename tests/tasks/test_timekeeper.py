from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import structlog.testing
import trio
import trio.testing

from storage.clock import STEP_MS, SteadyClock
from storage.engine import Change, StorageFull, Transaction
from storage.schema.events import EntryMoved
from storage.schema.layout import DUE_ENTRIES, HEARTBEAT, SYSTEM
from storage.schema.states import EntryState
from storage.writer import InlineEngine
from tests.domain.inventory_stage import HOLD_MS, InventoryStage, make_plan
from tests.domain.room_stage import OPENS_MS, ROOM_SETTINGS, Stage, open_store, with_room
from ticketd.domain.time_credit import CreditTime
from ticketd.tasks.deadlines import run_due_work
from ticketd.tasks.holds import hold_expiry
from ticketd.tasks.rooms import run_rooms
from ticketd.tasks.timekeeper import BEAT_MS, Timekeeper, credit_time_down

HOUR_MS = 3_600_000
CLAIM_MS = ROOM_SETTINGS.claim_seconds * 1000


class Machine:
    """A machine on Trio's time, whose wall clock can be set. It lives while a daemon runs or not."""

    def __init__(self) -> None:
        self._began = trio.current_time()
        self.set_ms = 0
        self.ids = Random(0)

    @property
    def lived_ms(self) -> int:
        """How long it has run."""
        return round((trio.current_time() - self._began) * 1000)

    def clock(self) -> SteadyClock:
        return SteadyClock(
            lambda: (OPENS_MS + self.lived_ms + self.set_ms) * 1_000_000,
            lambda: round(trio.current_time() * 1e9),
        )

    async def until(self, lived_ms: int) -> None:
        """Waits until it has run for so long, and for what happens then."""
        await trio.sleep_until(self._began + lived_ms / 1000)
        await trio.testing.wait_all_tasks_blocked()


class Run:
    """One run of a daemon's tasks over a store."""

    def __init__(self, engine: InlineEngine, clock: SteadyClock, keeper: Timekeeper) -> None:
        self.engine = engine
        self.clock = clock
        self.keeper = keeper
        self.room = Stage(engine)
        self.credit: CreditTime | None = None

    def times_of_windows(self) -> list[int]:
        with self.engine.snapshot() as view:
            return [due for due, _ in DUE_ENTRIES.scan(view, self.room.partition) if isinstance(due, int)]


@asynccontextmanager
async def running(path: Path, machine: Machine) -> AsyncIterator[Run]:
    """The tasks that let in, lapse and keep the time, begun as the daemon begins; ended so, it was killed."""
    clock = machine.clock()
    with open_store(path, clock) as engine:
        clock.start_no_earlier(engine.newest_commit_ms())
        run = Run(engine, clock, Timekeeper(engine, clock))
        run.room._ids = machine.ids  # entries of one life are not those of another
        run.credit = await credit_time_down(engine)
        async with trio.open_nursery() as nursery:
            await nursery.start(run.keeper.run)
            await nursery.start(run_rooms, engine, clock)
            await nursery.start(run_due_work, engine, clock, hold_expiry(engine))
            yield run
            nursery.cancel_scope.cancel()


# --- steps forwards -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_ms", [STEP_MS, 10_000, HOUR_MS, 400 * 24 * HOUR_MS // 10])
async def test_a_step_forwards_takes_nothing_from_anybody(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, step_ms: int
) -> None:
    machine = Machine()
    async with running(tmp_path, machine) as run:
        await run.room.set_sale(with_room(max_active=1))
        first, second = await run.room.join_many(range(2))
        await machine.until(60_000)
        machine.set_ms += step_ms
        await machine.until(62_000)
        assert run.clock.ahead_ms() == 0
        assert run.times_of_windows() == [OPENS_MS + CLAIM_MS + step_ms]
        await machine.until(CLAIM_MS - 1)
        assert run.room.state(first) is EntryState.READY
        await machine.until(CLAIM_MS)
        assert [run.room.state(one) for one in (first, second)] == [EntryState.EXPIRED, EntryState.READY]
        assert run.keeper.readings()["ticketd_clock_credited_seconds"].value == step_ms / 1000
        assert run.keeper.readings()["ticketd_clock_steps"].value == 1
        run.room.recount()


async def test_less_than_a_step_is_followed_and_credited_to_nobody(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    machine = Machine()
    async with running(tmp_path, machine) as run:
        await run.room.set_sale(with_room(max_active=1))
        await run.room.join(1)
        machine.set_ms += STEP_MS - 1
        await machine.until(10_000)
        assert run.times_of_windows() == [OPENS_MS + CLAIM_MS]
        assert run.keeper.readings()["ticketd_clock_steps"].value == 0


async def test_a_step_forwards_takes_nothing_from_a_hold(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    machine = Machine()
    async with running(tmp_path, machine) as run:
        stage = InventoryStage(run.engine, run.clock)
        await stage.put(make_plan())
        hold = await stage.reserve(1, stage.seat("Floor/A/1"))
        machine.set_ms += HOUR_MS
        await machine.until(HOLD_MS - 1)
        assert stage.reservation(hold.reservation_id).state == "HELD"
        await machine.until(HOLD_MS)
        assert stage.reservation(hold.reservation_id).state == "EXPIRED"
        stage.recount()


async def test_no_decision_stands_between_the_credit_and_the_step(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    machine = Machine()
    async with running(tmp_path, machine) as run:
        await run.room.set_sale(with_room(max_active=9))
        await run.room.join(1)
        late: list[int] = []

        def join_as_soon_as_credited(changes: Sequence[Change]) -> None:
            if any(type(change.event).__name__ == "TimeCredited" for change in changes):
                # What is decided now, though the clock has not made the step yet, is decided at the later time.
                with run.engine.snapshot() as view:
                    late.append(view.now_ms)

        run.engine.subscribe(join_as_soon_as_credited)
        await machine.until(5_000)
        machine.set_ms += HOUR_MS
        await machine.until(7_000)
        assert late
        assert late[0] >= OPENS_MS + 5_000 + HOUR_MS


async def test_a_step_that_does_not_fit_into_the_store_is_made_later(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine()
    async with running(tmp_path, machine) as run:
        await run.room.set_sale(with_room())
        await run.room.join(1)
        full = True

        def credit(tx: Transaction, events: object, time: CreditTime) -> bool:
            if full:
                raise StorageFull("no space")
            return True

        monkeypatch.setattr("ticketd.tasks.timekeeper.credit_events", credit)
        machine.set_ms += HOUR_MS
        with structlog.testing.capture_logs() as lines:
            await machine.until(3_500)
        assert run.clock.ahead_ms() == -HOUR_MS
        assert {line["event"] for line in lines} == {"clock step put off"}
        full = False
        await machine.until(5_500)
        assert run.clock.ahead_ms() == 0


# --- steps back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("back_ms", [1, 999, 10_000, HOUR_MS])
async def test_a_clock_set_back_neither_stops_nor_hurries_anything(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, back_ms: int
) -> None:
    machine = Machine()
    async with running(tmp_path, machine) as run:
        await run.room.set_sale(with_room(max_active=1))
        first, second, third = await run.room.join_many(range(3))
        machine.set_ms -= back_ms
        await machine.until(CLAIM_MS - 1)
        assert run.room.state(first) is EntryState.READY
        # Nine tenths as fast, so that a claim takes at most ten ninths of its time.
        await machine.until(CLAIM_MS * 10 // 9 + 1000)
        assert [run.room.state(one) for one in (first, second)] == [EntryState.EXPIRED, EntryState.READY]
        await machine.until(2 * CLAIM_MS * 10 // 9 + 1000)
        assert run.room.state(third) is EntryState.READY


async def test_a_clock_set_back_is_told_once_and_its_catching_up_too(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    machine = Machine()
    with structlog.testing.capture_logs() as lines:
        async with running(tmp_path, machine):
            machine.set_ms -= 30_000
            await machine.until(290_000)
            assert [line["event"] for line in lines] == ["the machine's clock was set back"]
            machine.set_ms -= 2 * STEP_MS
            await machine.until(295_000)
            assert len(lines) == 2
            await machine.until(325_000)
        assert [line["event"] for line in lines[1:]] == [
            "the machine's clock was set back",
            "the machine's clock has caught up",
        ]


# --- downtime -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("down_ms", "left_ms"),
    [
        (10_000, 60_000),
        (899_000, 60_000),
        (900_000, 60_000),
        (901_000, 59_000),
        (959_999, 1),
        (960_000, 0),
        (2 * HOUR_MS, 0),
    ],
)
async def test_who_was_ready_before_a_restart_has_what_was_left(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, down_ms: int, left_ms: int
) -> None:
    machine = Machine()
    async with running(tmp_path, machine) as run:
        await run.room.set_sale(with_room(max_active=1))
        first, second = await run.room.join_many(range(2))
        await machine.until(CLAIM_MS - 60_000)
    died_at = machine.lived_ms
    await machine.until(died_at + down_ms)
    async with running(tmp_path, machine) as run:
        assert run.credit is not None
        assert run.credit.lost_ms == down_ms
        if left_ms:
            await machine.until(died_at + down_ms + left_ms - 1)
            assert run.room.state(first) is EntryState.READY
        await machine.until(died_at + down_ms + left_ms)
        assert [run.room.state(one) for one in (first, second)] == [EntryState.EXPIRED, EntryState.READY]
        run.room.recount()


async def test_a_downtime_whose_credit_does_not_fit_is_told_and_the_daemon_starts(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine()
    async with running(tmp_path, machine) as run:
        await run.room.set_sale(with_room())
        first = await run.room.join(1)

    def credit(*arguments: object, **more: object) -> None:
        raise StorageFull("no space")

    monkeypatch.setattr("ticketd.tasks.timekeeper.credit_downtime", credit)
    await machine.until(10_000)
    with structlog.testing.capture_logs() as lines:
        async with running(tmp_path, machine) as run:
            assert run.credit is None
            assert run.room.state(first) is EntryState.READY
    assert [(line["event"], line["log_level"]) for line in lines] == [("downtime not credited", "error")]


@pytest.mark.parametrize("back_ms", [1, 5_000, HOUR_MS])
async def test_a_clock_set_back_while_down_leaves_what_was_left(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, back_ms: int
) -> None:
    machine = Machine()
    async with running(tmp_path, machine) as run:
        await run.room.set_sale(with_room(max_active=1))
        first, second = await run.room.join_many(range(2))
        await machine.until(60_000)
        assert run.engine.newest_commit_ms() == OPENS_MS + 60_000
    machine.set_ms -= back_ms
    async with running(tmp_path, machine) as run:
        assert run.credit is None
        assert run.clock.now_ms() == OPENS_MS + 60_000
        await machine.until(CLAIM_MS - 1)
        assert run.room.state(first) is EntryState.READY
        await machine.until(60_000 + 60_000 * 10 // 9 + 1000)
        assert run.room.state(second) is EntryState.READY


async def test_killed_after_any_commit_nobody_is_credited_twice(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    machine = Machine()
    async with running(tmp_path, machine) as run:
        await run.room.set_sale(with_room())
        await run.room.join(1)
    for down_ms in (100_000, 0, 1, 200_000, 0):
        # Nothing but the credit itself is committed before it is killed again.
        await machine.until(machine.lived_ms + down_ms)
        async with running(tmp_path, machine) as run:
            assert run.times_of_windows() == [OPENS_MS + CLAIM_MS + machine.lived_ms]


async def test_killed_after_the_credit_and_before_the_step_nobody_is_credited_twice(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine()
    async with running(tmp_path, machine) as run:
        await run.room.set_sale(with_room())
        await run.room.join(1)
        monkeypatch.setattr(run.clock, "step", lambda by_ms: None)
        monkeypatch.setattr("ticketd.tasks.timekeeper.LOOK_SECONDS", 10_000)
        machine.set_ms += HOUR_MS
        await machine.until(1_000)
        credited = run.times_of_windows()
    assert credited == [OPENS_MS + CLAIM_MS + HOUR_MS]
    async with running(tmp_path, machine) as run:
        # It was credited when it died, at 1 s: no time was lost since.
        assert run.credit is None
        assert run.times_of_windows() == credited


# --- the heartbeat --------------------------------------------------------------------------------------------------


async def test_the_heart_beats_while_something_runs_and_nothing_else_is_committed(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    machine = Machine()
    async with running(tmp_path, machine) as run:
        await run.room.set_sale(with_room(claim_seconds=100))
        await machine.until(60_000)
        assert run.engine.counters.batches == 1  # nothing runs
        await run.room.join(1)
        for beats in range(1, 5):
            await machine.until(60_000 + beats * BEAT_MS)
            assert run.engine.newest_commit_ms() == OPENS_MS + 60_000 + beats * BEAT_MS
            assert run.engine.counters.batches == 2 + beats
        await machine.until(60_000 + 4 * BEAT_MS + 2_000)
        await run.room.set(capacity=7)
        await machine.until(60_000 + 5 * BEAT_MS)
        assert run.engine.counters.batches == 7  # the room's own commit was a beat
        await machine.until(60_000 + 5 * BEAT_MS + 2_000)
        assert run.engine.counters.batches == 8
        with run.engine.snapshot() as view:
            beat = HEARTBEAT.get(view, SYSTEM)
        assert beat is not None
        assert beat.at_ms == OPENS_MS + 60_000 + 5 * BEAT_MS + 2_000


async def test_the_heart_rests_when_nothing_runs_any_more(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    machine = Machine()
    async with running(tmp_path, machine) as run:
        await run.room.set_sale(with_room())
        await run.room.leave((await run.room.join(1)).entry.entry_id)
        await machine.until(60_000 + BEAT_MS)  # for a minute the rate of admission counts it
        batches = run.engine.counters.batches
        await machine.until(HOUR_MS)
        assert run.engine.counters.batches == batches


# --- all together ---------------------------------------------------------------------------------------------------


class Watch:
    """Who was let in, and lapsed, after how long a life of daemons."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.down_ms = 0
        self.admitted: dict[int, int] = {}
        self.lapsed: dict[int, int] = {}
        self.order: list[int] = []

    def lived_ms(self) -> int:
        return self._machine.lived_ms - self.down_ms

    def notice(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(event := change.event, EntryMoved):
                if event.after is EntryState.READY:
                    self.admitted[event.user_id.int] = self.lived_ms()
                    self.order.append(event.user_id.int)
                elif event.after is EntryState.EXPIRED:
                    self.lapsed[event.user_id.int] = self.lived_ms()


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_the_clock_does_nobody_lapses_early_overtakes_or_is_let_in_too_fast(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, seed: int
) -> None:
    random, machine = Random(seed), Machine()
    watch = Watch(machine)
    rate, claim_seconds, buyers = random.randint(1, 6), random.randint(5, 90), 60
    # What is less than a step is followed: it is the most by which a window may end before its time.
    followed_ms = 0
    sale = with_room(max_active=3, admit_per_minute=rate, claim_seconds=claim_seconds)
    joined = 0
    for life in range(8):
        async with running(tmp_path, machine) as run:
            run.engine.subscribe(watch.notice)
            if life == 0:
                await run.room.set_sale(sale)
            for _ in range(random.randint(1, 6)):
                for _ in range(random.randint(0, 4)):
                    joined += 1
                    if joined <= buyers:
                        await run.room.join(joined)
                await machine.until(machine.lived_ms + random.randint(1, 40_000))
                step_ms = random.choice([0, 300, -300, 5_000, -5_000, HOUR_MS, -HOUR_MS])
                machine.set_ms += step_ms
                followed_ms += step_ms if 0 < step_ms < STEP_MS else 0
            await machine.until(machine.lived_ms + 2_000)
        down_ms = random.choice([0, 1_000, 60_000, 890_000])
        await machine.until(machine.lived_ms + down_ms)
        # The newest commit may be older than the death, by a beat at most; that is credited, too.
        watch.down_ms += down_ms
    assert len(watch.order) > 5
    assert watch.order == sorted(watch.order)
    for user, at_ms in watch.lapsed.items():
        assert at_ms - watch.admitted[user] >= claim_seconds * 1000 - followed_ms - 1
    times = sorted(watch.admitted.values())
    for earlier, later in zip(times, times[rate:], strict=False):
        assert later - earlier >= 60_000 - followed_ms - 1
