from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest
import trio
import trio.testing

from storage.clock import TrioClock
from storage.engine import Command, EngineOverloaded, Key, OutcomeUnknown, Reader, StorageFull, Transaction
from storage.keys import pack_key
from storage.schema.events import EventDeleted, EventPut, RoomChanged, TicketsIssued
from storage.schema.ids import EventId, OrderId
from storage.schema.layout import EVENT_IDS, SYSTEM, event_partition
from storage.writer import InlineEngine
from tests.domain.room_stage import open_store
from ticketd.errors import ErrorCode, Refusal
from ticketd.tasks.deadlines import RETRY_MS, Agenda, DueWork, run_due_work

START_MS = 1_800_000_000_000
A, B, C = (EventId(UUID(int=n)) for n in (0xA, 0xB, 0xC))
PENDING = 900


def due_key(event_id: EventId, at_ms: int) -> Key:
    return pack_key(event_partition(event_id), PENDING, at_ms)


@dataclass
class Chores:
    """Chores of events, each with the time at which it is due: what the work under test is about."""

    engine: InlineEngine
    clock: TrioClock
    done: list[tuple[int, EventId]] = field(default_factory=list)
    steps: int = 0
    looks: int = 0
    batch: int = 2
    before_step: Callable[[EventId], Awaitable[None]] | None = None

    async def know(self, *event_ids: EventId) -> None:
        def run(tx: Transaction) -> None:
            for event_id in event_ids:
                EVENT_IDS.add(tx, SYSTEM, event_id)

        await self.engine.submit(Command("know", (SYSTEM,), run))

    async def add(self, event_id: EventId, *after_ms: int, tell: object = None) -> None:
        """Chores that are due so long after the start; by default told by an event that concerns the work."""
        partition = event_partition(event_id)

        def run(tx: Transaction) -> None:
            for at_ms in after_ms:
                tx.put(due_key(event_id, START_MS + at_ms), b"x")
            tx.emit(partition, RoomChanged(event_id=event_id) if tell is None else tell)

        await self.engine.submit(Command("add", (partition,), run))

    async def drop_all(self, event_id: EventId, tell: object) -> None:
        partition = event_partition(event_id)

        def run(tx: Transaction) -> None:
            for key, _ in list(tx.scan(due_key(event_id, 0), due_key(event_id, 2**60))):
                tx.delete(key)
            tx.emit(partition, tell)

        await self.engine.submit(Command("drop", (partition,), run))

    def peek(self, reader: Reader, event_id: EventId) -> int | None:
        self.looks += 1
        for key, _ in reader.scan(due_key(event_id, 0), due_key(event_id, 2**60), limit=1):
            return int.from_bytes(key[-8:], "big")
        return None

    async def step(self, event_id: EventId) -> None:
        self.steps += 1
        if self.before_step is not None:
            await self.before_step(event_id)

        def run(tx: Transaction) -> None:
            keys = [
                key for key, _ in tx.scan(due_key(event_id, 0), due_key(event_id, tx.now_ms + 1), self.batch)
            ]
            for key in keys:
                tx.delete(key)
                self.done.append((tx.now_ms - START_MS, event_id))
            tx.emit(event_partition(event_id), RoomChanged(event_id=event_id))

        await self.engine.submit(Command("step", (event_partition(event_id),), run))

    def concerns(self, event: object) -> EventId | None:
        return event.event_id if isinstance(event, RoomChanged) else None

    @property
    def work(self) -> DueWork:
        return DueWork(name="chores", peek=self.peek, step=self.step, concerns=self.concerns)

    async def start(self, nursery: trio.Nursery) -> None:
        await nursery.start(run_due_work, self.engine, self.clock, self.work)


@contextmanager
def chores_in(path: Path) -> Iterator[Chores]:
    clock = TrioClock(START_MS)
    with open_store(path, clock) as engine:
        yield Chores(engine, clock)


async def until(after_ms: int) -> None:
    """Sleeps until so long after the beginning of the simulated time, and then lets all that is due happen."""
    await trio.sleep_until(after_ms / 1000)
    await trio.testing.wait_all_tasks_blocked()


async def test_what_is_due_is_done_at_its_time_earliest_first(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    with chores_in(tmp_path) as chores:
        await chores.know(A, B, C)
        await chores.add(A, 3000, 500)
        await chores.add(B, 1000)
        async with trio.open_nursery() as nursery:
            await chores.start(nursery)
            await until(499)
            assert chores.done == []
            await until(60_000)
            nursery.cancel_scope.cancel()
        assert chores.done == [(500, A), (1000, B), (3000, A)]
        assert chores.steps == 3


async def test_what_fell_due_while_nothing_ran_is_done_at_once_in_bounded_batches(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    with chores_in(tmp_path) as chores:
        await chores.know(A, B)
        await chores.add(A, 10, 20, 30, 40, 50)
        await chores.add(B, 25)
        await trio.sleep(5)
        async with trio.open_nursery() as nursery:
            await chores.start(nursery)
            await until(5000)
            nursery.cancel_scope.cancel()
        assert [event_id for _, event_id in chores.done] == [A, A, B, A, A, A]
        assert {at_ms for at_ms, _ in chores.done} == {5000}
        assert chores.steps == 4


async def test_a_change_brings_the_next_time_forward(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    with chores_in(tmp_path) as chores:
        await chores.know(A)
        await chores.add(A, 10_000)
        async with trio.open_nursery() as nursery:
            await chores.start(nursery)
            await until(100)
            await chores.add(A, 2000)
            await until(60_000)
            nursery.cancel_scope.cancel()
        assert chores.done == [(2000, A), (10_000, A)]


async def test_a_change_wakes_work_that_waits_for_nothing(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    with chores_in(tmp_path) as chores:
        await chores.know(A)
        async with trio.open_nursery() as nursery:
            await chores.start(nursery)
            await until(100)
            await chores.add(A, 50)
            await until(200)
            nursery.cancel_scope.cancel()
        assert chores.done == [(100, A)]


async def test_a_change_of_no_concern_is_not_looked_at(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    with chores_in(tmp_path) as chores:
        await chores.know(A)
        async with trio.open_nursery() as nursery:
            await chores.start(nursery)
            await until(100)
            looks = chores.looks
            await chores.add(A, tell=TicketsIssued(event_id=A, order_id=OrderId(UUID(int=1)), ticket_ids=()))
            await until(200)
            assert chores.looks == looks
            nursery.cancel_scope.cancel()


async def test_new_events_are_noticed_and_deleted_ones_forgotten(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    with chores_in(tmp_path) as chores:
        await chores.know(A)
        await chores.add(A, 5000)
        async with trio.open_nursery() as nursery:
            await chores.start(nursery)
            await until(100)
            await chores.add(B, 2000, tell=EventPut(event_id=B))
            await chores.drop_all(A, EventDeleted(event_id=A))
            await until(60_000)
            nursery.cancel_scope.cancel()
        assert chores.done == [(2000, B)]
        assert chores.steps == 1


async def test_what_was_put_off_without_notice_is_looked_at_before_it_is_done(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    silent = TicketsIssued(event_id=A, order_id=OrderId(UUID(int=1)), ticket_ids=())
    with chores_in(tmp_path) as chores:
        await chores.know(A)
        await chores.add(A, 1000)
        async with trio.open_nursery() as nursery:
            await chores.start(nursery)
            await chores.drop_all(A, silent)
            await chores.add(A, 7000, tell=silent)
            await until(60_000)
            nursery.cancel_scope.cancel()
        assert chores.done == [(7000, A)]
        assert chores.steps == 1


async def test_nothing_is_polled(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    with chores_in(tmp_path) as chores:
        await chores.know(A, B)
        await chores.add(A, 86_400_000)
        async with trio.open_nursery() as nursery:
            await chores.start(nursery)
            looks = chores.looks
            await until(86_399_999)
            assert chores.looks == looks
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "error", [Refusal(ErrorCode.EVENT_NOT_FOUND), EngineOverloaded("full"), StorageFull("full")]
)
async def test_a_step_that_is_refused_is_tried_again_after_a_rest_and_holds_up_no_other(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, error: Exception
) -> None:
    with chores_in(tmp_path) as chores:
        refusals = 2

        async def refuse_a(event_id: EventId) -> None:
            nonlocal refusals
            if event_id == A and refusals:
                refusals -= 1
                raise error

        chores.before_step = refuse_a
        await chores.know(A, B)
        await chores.add(A, 100)
        await chores.add(B, 100, 150)
        async with trio.open_nursery() as nursery:
            await chores.start(nursery)
            await until(60_000)
            nursery.cancel_scope.cancel()
        assert chores.done == [(100, B), (150, B), (100 + 2 * RETRY_MS, A)]


async def test_a_step_that_is_refused_after_a_commit_of_its_own_rests_too(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    with chores_in(tmp_path) as chores:

        async def commit_and_refuse(event_id: EventId) -> None:
            await chores.add(event_id)
            raise Refusal(ErrorCode.PAYMENT_UNAVAILABLE)

        chores.before_step = commit_and_refuse
        await chores.know(A)
        await chores.add(A, 100)
        async with trio.open_nursery() as nursery:
            await chores.start(nursery)
            await until(100 + 3 * RETRY_MS - 1)
            assert chores.steps == 3
            nursery.cancel_scope.cancel()


async def test_a_step_that_leaves_everything_as_it_was_does_not_spin(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    with chores_in(tmp_path) as chores:

        async def idle(event_id: EventId) -> None:
            chores.steps += 1
            await trio.sleep(0)

        await chores.know(A)
        await chores.add(A, 100)
        work = DueWork(name="idle", peek=chores.peek, step=idle, concerns=chores.concerns)
        async with trio.open_nursery() as nursery:
            await nursery.start(run_due_work, chores.engine, chores.clock, work)
            await until(100 + 3 * RETRY_MS - 1)
            assert chores.steps == 3
            await chores.add(A, 90_000)
            await trio.testing.wait_all_tasks_blocked()
            assert chores.steps == 4, "a change ends the rest"
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("error", [OutcomeUnknown("the disk"), LookupError("a fault in the program")])
async def test_any_other_error_ends_the_task_and_its_subscription(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, error: Exception
) -> None:
    with chores_in(tmp_path) as chores:

        async def fail(event_id: EventId) -> None:
            raise error

        chores.before_step = fail
        await chores.know(A)
        await chores.add(A, 100)
        with pytest.raises(type(error)):
            await run_due_work(chores.engine, chores.clock, chores.work)
        assert chores.engine._subscribers == []


async def test_a_change_during_a_step_is_not_missed(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    with chores_in(tmp_path) as chores:

        async def another_is_added(event_id: EventId) -> None:
            if chores.steps == 1:
                await chores.add(B, 50)
                await trio.sleep(1)
                await chores.add(A, 1500)

        chores.before_step = another_is_added
        await chores.know(A, B)
        await chores.add(A, 100)
        async with trio.open_nursery() as nursery:
            await chores.start(nursery)
            await until(60_000)
            nursery.cancel_scope.cancel()
        assert chores.done == [(1100, A), (1100, B), (1500, A)]


def test_the_agenda_keeps_one_time_for_each_event() -> None:
    agenda: Agenda[EventId] = Agenda()
    assert agenda.first() is None
    agenda.put(A, 5)
    agenda.put(B, 3)
    assert agenda.first() == (3, B)
    agenda.put(B, 9)
    assert agenda.first() == (5, A)
    agenda.put(A, None)
    agenda.put(A, None)
    assert agenda.first() == (9, B)
    agenda.put(B, 3)
    assert agenda.first() == (3, B)


def test_the_agenda_does_not_grow_with_the_changes() -> None:
    agenda: Agenda[EventId] = Agenda()
    agenda.put(B, 10_000)
    for at_ms in range(5000):
        agenda.put(A, at_ms)
    assert len(agenda._heap) < 100
    assert agenda.first() == (4999, A)
    agenda.put(A, None)
    assert agenda.first() == (10_000, B)
