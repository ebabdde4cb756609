from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from storage.clock import TrioClock
from storage.engine import Command, Committed, EngineOverloaded, Transaction
from storage.schema.events import EventDeleted, EventPut, SeatsMoved
from storage.schema.ids import EventId
from storage.schema.layout import ENTRIES, EVENT_IDS, ROOM, SALE, SYSTEM
from storage.schema.states import EntryState, SeatState
from storage.writer import InlineEngine
from tests.domain.room_stage import MINUTE_MS, OPENS_MS, SALE_RECORD, Stage, open_store, with_room
from ticketd.domain.rooms import JoinedRoom
from ticketd.errors import Refusal
from ticketd.tasks import rooms as rooms_module
from ticketd.tasks.rooms import run_rooms

R = TypeVar("R")


class CountingClock(TrioClock):
    """Simulated time that counts how often somebody waits, to show that nobody polls."""

    def __init__(self, start_ms: int) -> None:
        super().__init__(start_ms)
        self.waits = 0

    async def wait_until_ms(self, at_ms: int) -> None:
        self.waits += 1
        await super().wait_until_ms(at_ms)


class World:
    """A store with its simulated clock and the rooms' task running over it."""

    def __init__(self, engine: InlineEngine, clock: CountingClock) -> None:
        self.engine = engine
        self.clock = clock
        self.stage = Stage(engine)
        self.start_ms = clock.now_ms()

    async def until_ms(self, after_ms: int) -> None:
        """Waits until this long after the start, and for what happens then."""
        await self.clock.wait_until_ms(self.start_ms + after_ms)
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def world(path: Path, at_ms: int = OPENS_MS) -> AsyncIterator[World]:
    clock = CountingClock(at_ms)
    with open_store(path, clock) as engine:
        async with trio.open_nursery() as nursery:
            await nursery.start(run_rooms, engine, clock)
            yield World(engine, clock)
            nursery.cancel_scope.cancel()


def states(stage: Stage, joined: list[JoinedRoom]) -> list[EntryState]:
    return [stage.state(one) for one in joined]


async def test_who_does_not_claim_makes_place_at_the_very_moment(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as the:
        await the.stage.set_sale(with_room(max_active=1))
        joined = await the.stage.join_many(range(3))
        await the.until_ms(119_999)
        assert states(the.stage, joined) == [EntryState.READY, EntryState.QUEUED, EntryState.QUEUED]
        await the.until_ms(120_000)
        assert states(the.stage, joined) == [EntryState.EXPIRED, EntryState.READY, EntryState.QUEUED]
        await the.stage.claim(joined[1].entry.entry_id)
        await the.until_ms(120_000 + 599_999)
        assert states(the.stage, joined)[1:] == [EntryState.SHOPPING, EntryState.QUEUED]
        await the.until_ms(120_000 + 600_000)
        assert states(the.stage, joined)[1:] == [EntryState.EXPIRED, EntryState.READY]


async def test_the_rate_lets_in_slot_by_slot_without_polling(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as the:
        await the.stage.set_sale(with_room(max_active=1000, admit_per_minute=10, claim_seconds=3600))
        await the.stage.join_many(range(45))
        waits_before = the.clock.waits
        for minute in range(4):
            await the.until_ms(minute * MINUTE_MS)
            assert the.stage.room().admitted == (minute + 1) * 10
            await the.until_ms((minute + 1) * MINUTE_MS - 1)
            assert the.stage.room().admitted == (minute + 1) * 10
        assert the.clock.waits - waits_before <= 8 + 4 + 1  # those of this test, one a slot, one left over


async def test_the_lobby_opens_by_itself(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with world(tmp_path, OPENS_MS - MINUTE_MS) as the:
        await the.stage.set_sale(with_room(max_active=2, lobby_opens_ms=OPENS_MS - MINUTE_MS))
        joined = await the.stage.join_many(range(350))  # more than one batch
        await the.until_ms(MINUTE_MS - 1)
        assert set(states(the.stage, joined)) == {EntryState.LOBBY}
        await the.until_ms(MINUTE_MS)
        told = [the.stage.standing(one) for one in joined]
        assert sorted(one.position for one in told) == [0, 0, *range(1, 349)]
        assert {one.state for one in told if one.position} == {EntryState.QUEUED}
        the.stage.recount()


async def test_a_resumed_and_a_widened_room_let_in_at_once(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as the:
        await the.stage.set_sale(SALE_RECORD)
        await the.stage.set(paused=True)
        joined = await the.stage.join_many(range(250))
        await the.until_ms(1000)
        assert set(states(the.stage, joined)) == {EntryState.QUEUED}
        await the.stage.set(paused=False, admit_per_minute=1000)
        await trio.testing.wait_all_tasks_blocked()
        assert the.stage.room().active == 2
        await the.stage.set(max_active=220)
        await trio.testing.wait_all_tasks_blocked()
        assert the.stage.room().active == 220
        the.stage.recount()


async def test_seats_that_come_back_open_a_sold_out_room_again(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as the:
        await the.stage.set_sale(with_room(max_active=1, claim_seconds=60))
        joined = await the.stage.join_many(range(2))
        await the.stage.set_sale(with_room(max_active=1, claim_seconds=60), free=0)
        await the.until_ms(2 * MINUTE_MS)
        assert states(the.stage, joined) == [EntryState.EXPIRED, EntryState.QUEUED]
        await the.stage.set_sale(with_room(max_active=1), free=1)
        await the.until_ms(3 * MINUTE_MS)
        assert states(the.stage, joined)[1] is EntryState.QUEUED  # nothing was said of it yet

        def tell(tx: Transaction) -> None:
            moved = SeatsMoved(event_id=the.stage.event_id, seats=(), state=SeatState.AVAILABLE)
            tx.emit(the.stage.partition, moved)

        await the.stage.run(tell)
        await trio.testing.wait_all_tasks_blocked()
        assert states(the.stage, joined)[1] is EntryState.READY


async def test_a_cancelled_event_ends_its_line(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as the:
        await the.stage.set_sale(with_room(max_active=1))
        joined = await the.stage.join_many(range(120))
        await trio.testing.wait_all_tasks_blocked()

        def cancel(tx: Transaction) -> None:
            SALE.put(tx, replace(SALE_RECORD, cancelled=True), the.stage.partition)
            tx.emit(the.stage.partition, EventPut(event_id=the.stage.event_id))

        await the.stage.run(cancel)
        await trio.testing.wait_all_tasks_blocked()
        assert states(the.stage, joined) == [EntryState.READY] + [EntryState.EXPIRED] * 119


async def test_a_restart_goes_on_where_it_was_and_does_what_fell_due_meanwhile(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as the:
        await the.stage.set_sale(with_room(max_active=1))
        joined = await the.stage.join_many(range(4))
    async with world(tmp_path, OPENS_MS + 120_000 - 1) as the:
        await trio.testing.wait_all_tasks_blocked()
        assert states(the.stage, joined)[0] is EntryState.READY
        await the.until_ms(1)
        assert states(the.stage, joined)[:2] == [EntryState.EXPIRED, EntryState.READY]
    async with world(tmp_path, OPENS_MS + 10 * MINUTE_MS) as the:
        await trio.testing.wait_all_tasks_blocked()
        assert states(the.stage, joined)[1:3] == [EntryState.EXPIRED, EntryState.READY]
        the.stage.recount()


async def test_each_room_that_is_not_empty_has_a_task_and_no_other(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as the:
        stages = [Stage(the.engine, event_id=EventId(UUID(int=number))) for number in range(1, 6)]
        for stage in stages:
            await stage.set_sale(with_room(max_active=1))
        await trio.testing.wait_all_tasks_blocked()
        assert room_tasks() == set()
        joined = [(await stage.join_many(range(2)))[0] for stage in stages[:3]]
        await trio.testing.wait_all_tasks_blocked()
        assert room_tasks() == {f"room {stage.event_id}" for stage in stages[:3]}
        await stages[0].leave(joined[0].entry.entry_id)
        await the.until_ms(4 * MINUTE_MS)  # two no-shows one after the other
        assert room_tasks() == set()
        await stages[0].join(7)
        await trio.testing.wait_all_tasks_blocked()
        assert room_tasks() == {f"room {stages[0].event_id}"}
        await the.until_ms(6 * MINUTE_MS)
        assert stages[0].room().active == 0


async def test_a_deleted_event_ends_the_task_of_its_room(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as the:
        await the.stage.set_sale(with_room(max_active=1))
        await the.stage.join_many(range(2))
        await trio.testing.wait_all_tasks_blocked()

        def delete(tx: Transaction) -> None:
            for table in (SALE, ROOM):
                table.delete(tx, the.stage.partition)
            EVENT_IDS.remove(tx, SYSTEM, the.stage.event_id)
            tx.emit(the.stage.partition, EventDeleted(event_id=the.stage.event_id))

        await the.stage.run(delete)
        await trio.testing.wait_all_tasks_blocked()
        assert room_tasks() == set()


def room_tasks() -> set[str]:
    """The names of the rooms' tasks that live now, found from the tree of nurseries."""
    found: set[str] = set()
    left = [trio.lowlevel.current_root_task()]
    while left:
        task = left.pop()
        if task is None:
            continue
        found.add(task.name)
        for nursery in task.child_nurseries:
            left.extend(nursery.child_tasks)
    return {name for name in found if name.startswith("room ")}


class StubbornEngine(InlineEngine):
    """A real engine that is overloaded, or breaks, so many times."""

    error: Exception = EngineOverloaded("too many commands are waiting for the store")
    errors_left = 0

    async def submit(self, command: Command[R], *, deadline_seconds: float | None = None) -> Committed[R]:
        if self.errors_left and command.name == "advance_room":
            self.errors_left -= 1
            raise self.error
        return await super().submit(command, deadline_seconds=deadline_seconds)


async def test_an_overloaded_store_makes_a_room_rest_and_try_again(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.domain.room_stage.InlineEngine", StubbornEngine)
    async with world(tmp_path) as the:
        assert isinstance(the.engine, StubbornEngine)
        await the.stage.set_sale(with_room(max_active=1))
        joined = await the.stage.join_many(range(2))
        the.engine.errors_left = 3
        await the.until_ms(120_000 + 3 * round(rooms_module.RETRY_SECONDS * 1000) - 1)
        assert states(the.stage, joined) == [EntryState.READY, EntryState.QUEUED]
        await the.until_ms(120_000 + 3 * round(rooms_module.RETRY_SECONDS * 1000))
        assert states(the.stage, joined) == [EntryState.EXPIRED, EntryState.READY]


async def test_any_other_error_leaves_the_task(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.domain.room_stage.InlineEngine", StubbornEngine)

    async def play() -> None:
        async with world(tmp_path) as the:
            assert isinstance(the.engine, StubbornEngine)
            await the.stage.set_sale(with_room(max_active=1))
            await the.stage.join_many(range(2))
            the.engine.error, the.engine.errors_left = LookupError("an entry is missing"), 1
            await the.until_ms(MINUTE_MS * 10)

    with pytest.raises(BaseExceptionGroup) as caught:
        await play()
    assert caught.group_contains(LookupError)


async def test_a_whole_sale_goes_through_a_small_room(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """300 buyers join in the first minute; some leave, some never come, the others shop for a while."""
    async with world(tmp_path) as the:
        await the.stage.set_sale(with_room(max_active=7, admit_per_minute=20, claim_seconds=30))
        done: list[int] = []
        most_active = 0

        async def buy(user: int) -> None:
            nonlocal most_active
            await trio.sleep(user / 5)
            joined = await the.stage.join(user)
            entry_id = joined.entry.entry_id
            if user % 10 == 3:
                await trio.sleep(100)
                with suppress(Refusal):  # its time may be over already
                    await the.stage.leave(entry_id)
                return
            while the.stage.state(joined) is EntryState.QUEUED:  # noqa: ASYNC110  # that is what buyers do
                await trio.sleep(20)
            most_active = max(most_active, the.stage.room().active)
            if user % 10 == 4:
                return  # a no-show
            if the.stage.state(joined) is EntryState.READY:
                await the.stage.claim(entry_id)
                await trio.sleep(10 + user % 7)
                await the.stage.finish(entry_id)
                done.append(user)

        async with trio.open_nursery() as nursery:
            for user in range(300):
                nursery.start_soon(buy, user)
        assert most_active == 7
        assert len(done) > 200
        seqs = [move.seq for move in the.stage.moves if move.after is EntryState.READY]
        assert seqs == sorted(seqs)
        await the.until_ms(60 * MINUTE_MS)
        assert (the.stage.room().waiting, the.stage.room().active) == (0, 0)
        assert room_tasks() == set()
        the.stage.recount()
        with the.engine.snapshot(the.stage.partition) as snapshot:
            assert len(list(ENTRIES.scan(snapshot, the.stage.partition))) == 300
