"""What is particular to the two forms: batches, bounds, the end of the thread, the order of the inline one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from storage.engine import (
    Change,
    Command,
    EngineOverloaded,
    EngineStopped,
    OutcomeUnknown,
    SnapshotNotOpen,
    StorageError,
    StorageFull,
    Transaction,
)
from storage.keys import pack_key
from storage.turns import AT_ONCE
from storage.writer import ThreadedEngine, WriterLimits, WritingEngine
from tests.storage.stores import (
    COUNT_KEY,
    HALL,
    FaultyBackend,
    HandClock,
    Refused,
    count_command,
    faulty_backend,
    make_engine,
    put_command,
    refused_command,
    running,
)


class Gate:
    """Holds the committing thread before each commit until it is opened."""

    def __init__(self, backend: FaultyBackend) -> None:
        self._opened = threading.Semaphore(0)
        self._token = trio.lowlevel.current_trio_token()
        self.reached = trio.Event()
        self.thread: threading.Thread | None = None
        backend.before_apply = self.hold

    def hold(self, *_: object) -> None:
        self.thread = threading.current_thread()
        self._token.run_sync_soon(self.reached.set)
        assert self._opened.acquire(timeout=30)

    def open(self, commits: int) -> None:
        self._opened.release(commits)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[FaultyBackend]:
    with faulty_backend(tmp_path) as backend:
        yield backend


def threaded(backend: FaultyBackend, batch_max: int = 100, queue_max: int = 100) -> WritingEngine:
    limits = WriterLimits(batch_max=batch_max, queue_max=queue_max)
    return make_engine("threaded", backend, HandClock(), limits)


async def submit_all(engine: WritingEngine, count: int, nursery: trio.Nursery, results: list[int]) -> None:
    async def one() -> None:
        results.append((await engine.submit(count_command())).result)

    for _ in range(count):
        nursery.start_soon(one)
    await trio.testing.wait_all_tasks_blocked()


async def test_what_comes_during_a_commit_goes_into_the_next_one(backend: FaultyBackend) -> None:
    async with running(threaded(backend)) as engine, trio.open_nursery() as nursery:
        gate, results = Gate(backend), list[int]()
        await submit_all(engine, 1, nursery, results)
        await gate.reached.wait()
        await submit_all(engine, 20, nursery, results)
        assert results == []
        gate.open(2)
    assert sorted(results) == list(range(1, 22))
    assert backend.applied == 2
    assert gate.thread is not threading.current_thread()


@pytest.mark.parametrize(("waiting", "commits"), [(7, 2), (8, 2), (9, 3)])
async def test_a_commit_takes_no_more_than_its_bound(
    backend: FaultyBackend, waiting: int, commits: int
) -> None:
    async with running(threaded(backend, batch_max=8)) as engine, trio.open_nursery() as nursery:
        gate, results = Gate(backend), list[int]()
        await submit_all(engine, 1, nursery, results)
        await gate.reached.wait()
        await submit_all(engine, waiting, nursery, results)
        gate.open(commits)
    assert backend.applied == commits


async def test_more_than_the_queue_holds_is_refused_and_has_not_run(backend: FaultyBackend) -> None:
    async with running(threaded(backend, queue_max=3)) as engine, trio.open_nursery() as nursery:
        gate, results = Gate(backend), list[int]()
        await submit_all(engine, 1, nursery, results)
        await gate.reached.wait()
        await submit_all(engine, 2, nursery, results)
        with pytest.raises(EngineOverloaded):
            await engine.submit(count_command())
        gate.open(2)
    assert sorted(results) == [1, 2, 3]
    with engine.snapshot() as snapshot:
        assert snapshot.get(COUNT_KEY) == b"3"


async def test_a_command_waits_for_the_durability_of_what_it_saw(backend: FaultyBackend) -> None:
    refused = trio.Event()

    async def one(engine: WritingEngine) -> None:
        with pytest.raises(Refused):
            await engine.submit(refused_command(pack_key(HALL, 1, 5)))
        refused.set()

    async with running(threaded(backend)) as engine, trio.open_nursery() as nursery:
        gate = Gate(backend)
        await submit_all(engine, 1, nursery, [])
        await gate.reached.wait()
        nursery.start_soon(one, engine)
        await trio.testing.wait_all_tasks_blocked()
        assert not refused.is_set()
        gate.open(1)
    assert refused.is_set()


async def test_refusals_that_waited_for_a_commit_are_answered_after_it_in_any_order(
    backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.writer._WORTH_A_COMMIT", 1)
    refused = refused_command(pack_key(HALL, 1, 5))
    answered = 0

    async def refusals(engine: WritingEngine, first: bool) -> None:
        nonlocal answered
        if first:
            await engine.submit(count_command())
        for _ in range(2):
            with pytest.raises(Refused):
                await engine.submit(refused)
            answered += 1

    async with running(threaded(backend)) as engine:
        for _ in range(20):  # the scheduler takes the tasks in random order
            async with trio.open_nursery() as nursery:
                for number in range(6):
                    nursery.start_soon(refusals, engine, number < 3)
    assert answered == 20 * 6 * 2


@pytest.mark.parametrize(("size", "begun"), [(3, False), (4, True), (5, True)])
async def test_a_commit_that_is_worth_it_does_not_wait_for_the_other_tasks(
    backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch, size: int, begun: bool
) -> None:
    monkeypatch.setattr("storage.writer._WORTH_A_COMMIT", 4)
    async with running(threaded(backend)) as engine, trio.open_nursery() as nursery:
        handed: list[int] = []
        real = engine._begin_commit  # type: ignore[attr-defined]  # of the threaded form

        def begin() -> None:
            handed.append(engine.queue_length())
            real()

        monkeypatch.setattr(engine, "_begin_commit", begin)
        for _ in range(size):
            nursery.start_soon(engine.submit, count_command())
        await trio.sleep(0)
    assert (handed[0] == 4) == begun
    assert handed[0] == min(size, 4)


async def test_the_loop_rests_until_the_thread_has_only_the_disk_to_wait_for(
    backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.writer._LONGEST_REST_SECONDS", 30)
    loop_went_on = False
    seen: list[bool] = []
    backend.before_staged = lambda: seen.append(loop_went_on)

    async with running(threaded(backend)) as engine, trio.open_nursery() as nursery:

        def begin() -> None:
            nonlocal loop_went_on
            loop_went_on = False
            real()
            loop_went_on = True

        real = engine._begin_commit  # type: ignore[attr-defined]  # of the threaded form
        monkeypatch.setattr(engine, "_begin_commit", begin)
        for _ in range(5):
            nursery.start_soon(engine.submit, count_command())
    assert seen == [False]


async def test_a_commit_that_was_slow_to_stage_does_not_spoil_the_rest_for_the_next(
    backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.writer._LONGEST_REST_SECONDS", 0.001)
    loop_went_on = threading.Event()
    seen: list[bool] = []
    backend.before_staged = lambda: seen.append(loop_went_on.wait(timeout=30))
    async with running(threaded(backend)) as engine:
        real = engine._begin_commit  # type: ignore[attr-defined]  # of the threaded form

        def begin() -> None:
            loop_went_on.clear()
            real()
            loop_went_on.set()

        monkeypatch.setattr(engine, "_begin_commit", begin)
        await engine.submit(count_command())
        assert seen == [True]
        monkeypatch.setattr("storage.writer._LONGEST_REST_SECONDS", 30)
        backend.before_staged = lambda: seen.append(loop_went_on.wait(timeout=0.05))
        await engine.submit(count_command())
    assert seen == [True, False]


async def test_a_snapshot_held_while_others_commit_is_closed(backend: FaultyBackend) -> None:
    async with running(threaded(backend)) as engine, trio.open_nursery() as nursery:
        gate, results = Gate(backend), list[int]()
        await submit_all(engine, 1, nursery, results)
        await gate.reached.wait()
        with engine.snapshot() as snapshot:
            gate.open(1)
            while not results:
                await trio.testing.wait_all_tasks_blocked(0.001)
            with pytest.raises(SnapshotNotOpen):
                snapshot.get(COUNT_KEY)


async def test_a_snapshot_shows_nothing_that_is_durable_but_not_published_yet(backend: FaultyBackend) -> None:
    """What is derived from the changes (positions in line, seat maps) and what is read must be of one moment."""
    told: list[bytes | None] = []

    def look(_: object) -> None:
        told.append(count_of(engine))

    def count_of(engine: WritingEngine) -> bytes | None:
        with engine.snapshot() as snapshot:
            assert snapshot.version(HALL) == len(engine.changes(HALL, 0) or [])
            return snapshot.get(COUNT_KEY)

    async with running(threaded(backend)) as engine, trio.open_nursery() as nursery:
        await engine.submit(count_command())
        engine.subscribe(look)
        gate, results = Gate(backend), list[int]()
        backend.before_apply = lambda puts, deletes: None
        backend.after_apply = gate.hold
        await submit_all(engine, 1, nursery, results)
        await gate.reached.wait()
        assert count_of(engine) == b"1"
        durable = backend.view()
        assert durable.get(COUNT_KEY) == b"2"
        durable.close()
        gate.open(1)
        while not results:
            await trio.testing.wait_all_tasks_blocked(0.001)
        assert told == [b"2"]
        assert count_of(engine) == b"2"


async def test_the_loop_does_not_rest_for_ever(
    backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.writer._LONGEST_REST_SECONDS", 0.001)
    backend.tells_staged = False
    async with running(threaded(backend)) as engine:
        for number in range(1, 4):
            assert (await engine.submit(count_command())).result == number


async def test_a_waiter_that_went_away_is_passed_over(backend: FaultyBackend) -> None:
    published: list[Change] = []
    async with running(threaded(backend)) as engine, trio.open_nursery() as nursery:
        engine.subscribe(published.extend)
        gate, results = Gate(backend), list[int]()
        with trio.CancelScope() as scope:

            async def cancel() -> None:
                await gate.reached.wait()
                await submit_all(engine, 1, nursery, results)
                scope.cancel()

            nursery.start_soon(cancel)
            await engine.submit(count_command())
        assert scope.cancelled_caught
        gate.open(2)
    assert results == [2]
    assert [change.event for change in published] == [1, 2]


@pytest.mark.parametrize("count", [5, 2 * AT_ONCE + 1])
async def test_ending_the_writer_commits_what_it_had_taken(backend: FaultyBackend, count: int) -> None:
    engine = threaded(backend)
    results: list[int] = []
    async with trio.open_nursery() as outer:
        writer = await outer.start(_cancellable, engine)
        gate = Gate(backend)
        await submit_all(engine, 1, outer, results)
        await gate.reached.wait()
        await submit_all(engine, count, outer, results)
        writer.cancel()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(EngineStopped):
            await engine.submit(count_command())
        assert results == []
        gate.open(count + 1)
    assert sorted(results) == list(range(1, count + 2))
    assert not any(thread.name == "ticketd-writer" for thread in threading.enumerate())


async def test_ending_the_writer_answers_refusals_that_waited_for_its_last_commit(
    backend: FaultyBackend,
) -> None:
    engine = threaded(backend)
    refused = trio.Event()

    async def one() -> None:
        with pytest.raises(Refused):
            await engine.submit(refused_command(pack_key(HALL, 1, 5)))
        refused.set()

    async with trio.open_nursery() as outer:
        writer = await outer.start(_cancellable, engine)
        gate = Gate(backend)
        await submit_all(engine, 1, outer, [])
        await gate.reached.wait()
        outer.start_soon(one)
        await trio.testing.wait_all_tasks_blocked()
        writer.cancel()
        await trio.testing.wait_all_tasks_blocked()
        gate.open(1)
    assert refused.is_set()


async def _cancellable(
    engine: WritingEngine, *, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            task_status.started(scope)


async def test_a_failed_commit_tells_every_waiter(backend: FaultyBackend) -> None:
    engine = threaded(backend)
    errors: list[type[Exception]] = []

    async def one() -> None:
        try:
            await engine.submit(count_command())
        except (OutcomeUnknown, EngineStopped) as error:
            errors.append(type(error))

    async def run(task_status: trio.TaskStatus[None]) -> None:
        with pytest.raises(StorageError, match="planted"):
            await engine.run(task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        gate = Gate(backend)
        nursery.start_soon(one)
        await gate.reached.wait()
        for _ in range(5):
            nursery.start_soon(one)
        await trio.testing.wait_all_tasks_blocked()
        assert engine.queue_length() == 6

        def fail(*_: object) -> None:
            raise OSError("planted")

        backend.before_apply = fail
        gate.open(1)
    assert backend.applied == 1
    assert errors == [OutcomeUnknown] * 5
    assert engine.queue_length() == 0


async def test_a_store_that_cannot_be_read_ends_the_engine(backend: FaultyBackend) -> None:
    engine = threaded(backend)

    def unreadable() -> None:
        raise StorageError("unreadable")

    async def run(task_status: trio.TaskStatus[None]) -> None:
        with pytest.raises(StorageError, match="unreadable"):
            await engine.run(task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        backend.before_view = unreadable
        with pytest.raises(EngineStopped):
            await engine.submit(count_command())


async def test_where_a_command_finds_the_store_unreadable_all_that_wait_are_told(
    backend: FaultyBackend,
) -> None:
    engine = threaded(backend)
    errors: list[str] = []

    def unreadable(tx: Transaction) -> None:
        raise StorageError("unreadable")

    async def one(command: Command[object]) -> None:
        try:
            await engine.submit(command)
        except (OutcomeUnknown, EngineStopped) as error:
            errors.append(type(error).__name__)
        else:
            errors.append("none")

    async def run(task_status: trio.TaskStatus[None]) -> None:
        with pytest.raises(StorageError, match="unreadable"):
            await engine.run(task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        gate = Gate(backend)
        nursery.start_soon(one, count_command())
        await gate.reached.wait()
        nursery.start_soon(one, count_command())
        await trio.testing.wait_all_tasks_blocked()
        await one(Command("unreadable", (HALL,), unreadable))
        gate.open(1)
    assert errors == ["EngineStopped", "none", "OutcomeUnknown"]


async def test_a_store_that_cannot_be_read_when_commands_are_run_again_ends_the_engine(
    backend: FaultyBackend,
) -> None:
    engine = threaded(backend)

    def unreadable() -> None:
        raise StorageError("unreadable")

    def full(*_: object) -> None:
        backend.before_view = unreadable
        raise StorageFull("planted")

    async def one() -> None:
        with pytest.raises(OutcomeUnknown):
            await engine.submit(count_command())

    async def run(task_status: trio.TaskStatus[None]) -> None:
        with pytest.raises(StorageError, match="unreadable"):
            await engine.run(task_status=task_status)

    backend.before_apply = full
    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        nursery.start_soon(one)
        nursery.start_soon(one)


async def test_a_thread_that_dies_of_something_else_ends_the_engine(backend: FaultyBackend) -> None:
    engine = threaded(backend)

    def die(*_: object) -> None:
        raise SystemExit

    backend.before_apply = die

    async def run(task_status: trio.TaskStatus[None]) -> None:
        with pytest.raises(StorageError):
            await engine.run(task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        with pytest.raises(OutcomeUnknown):
            await engine.submit(count_command())


async def test_a_writer_that_was_not_started_takes_nothing_and_none_runs_twice(
    backend: FaultyBackend,
) -> None:
    engine = threaded(backend)
    with pytest.raises(EngineStopped, match="not been started"):
        await engine.submit(count_command())
    async with running(engine):
        with pytest.raises(RuntimeError):
            await engine.run()


async def test_the_inline_form_commits_before_it_gives_way(
    backend: FaultyBackend, autojump_clock: trio.testing.MockClock
) -> None:
    order: list[str] = []

    async def one(name: str, engine: WritingEngine) -> None:
        order.append(f"{name} submits")
        await engine.submit(put_command(pack_key(HALL, 1, 1), name.encode(), event=name))
        order.append(f"{name} goes on")

    began = trio.current_time()
    async with running(make_engine("inline", backend, HandClock())) as engine, trio.open_nursery() as nursery:
        engine.subscribe(lambda changes: order.append(f"{changes[0].event} is published"))
        nursery.start_soon(one, "a", engine)
        nursery.start_soon(one, "b", engine)
    assert trio.current_time() == began
    for name in ("a", "b"):
        submits = order.index(f"{name} submits")
        assert order[submits + 1] == f"{name} is published"
    assert isinstance(threaded(backend), ThreadedEngine)
