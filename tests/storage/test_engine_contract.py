"""What every engine must do, whatever stands behind the seam; run over both forms of the embedded one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from storage.change_log import trim_changes
from storage.engine import (
    Change,
    Command,
    Committed,
    Engine,
    EngineOverloaded,
    EngineStopped,
    Key,
    OutcomeUnknown,
    SnapshotNotOpen,
    StorageError,
    StorageFull,
    Transaction,
)
from storage.keys import KeyTooLong, pack_key, prefix_range
from storage.overlay import PartitionNotNamed, ValueTooLong, nested
from storage.writer import WritingEngine
from tests.storage.stores import (
    HALL,
    NOON_MS,
    OTHER,
    FaultyBackend,
    HandClock,
    Refused,
    broken_command,
    count_command,
    faulty_backend,
    make_engine,
    put_command,
    refused_command,
    running,
)

KEY = pack_key(HALL, 1, 1)


@pytest.fixture(params=["threaded", "inline"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[FaultyBackend]:
    with faulty_backend(tmp_path) as backend:
        yield backend


@pytest.fixture
async def engine(form: str, backend: FaultyBackend, clock: HandClock) -> AsyncIterator[WritingEngine]:
    async with running(make_engine(form, backend, clock)) as engine:
        yield engine


def read(engine: Engine, key: Key = KEY) -> bytes | None:
    with engine.snapshot(HALL) as snapshot:
        return snapshot.get(key)


async def test_a_committed_command_is_read_by_snapshots(engine: WritingEngine) -> None:
    protocol: Engine = engine
    committed = await protocol.submit(put_command(KEY, b"1", event="one"))
    assert committed == Committed(None, {HALL: 1})
    with protocol.snapshot(HALL) as snapshot:
        assert snapshot.get(KEY) == b"1"
        assert list(snapshot.scan(KEY, prefix_range(HALL)[1])) == [(KEY, b"1")]
        assert (snapshot.version(HALL), snapshot.version(OTHER)) == (1, 0)
        assert snapshot.now_ms == NOON_MS


async def test_the_store_is_found_again_as_it_was(form: str, tmp_path: Path) -> None:
    clock = HandClock()
    with faulty_backend(tmp_path) as backend:
        async with running(make_engine(form, backend, clock)) as engine:
            await engine.submit(put_command(KEY, b"1", event="one"))
    clock.ms -= 1
    with faulty_backend(tmp_path) as backend:
        async with running(make_engine(form, backend, clock)) as engine:
            assert read(engine) == b"1"
            assert engine.changes(HALL, 0) == [Change(HALL, 1, NOON_MS, "one")]
            assert (await engine.submit(put_command(KEY, b"2", event="two"))).versions == {HALL: 2}
            assert engine.changes(HALL, 1) == [Change(HALL, 2, NOON_MS, "two")]
            with engine.snapshot() as snapshot:
                assert snapshot.now_ms == NOON_MS


async def test_a_refusal_reaches_the_caller_and_leaves_nothing(engine: WritingEngine) -> None:
    with pytest.raises(Refused, match="no"):
        await engine.submit(refused_command(KEY))
    assert read(engine) is None
    assert engine.changes(HALL, 0) == []


async def test_a_fault_in_a_command_reaches_its_caller_alone(engine: WritingEngine) -> None:
    with pytest.raises(ZeroDivisionError):
        await engine.submit(broken_command(KEY))
    assert read(engine) is None
    assert (await engine.submit(count_command())).result == 1


@pytest.mark.parametrize(
    ("error", "key", "value"),
    [
        (PartitionNotNamed, pack_key(OTHER, 1), b""),
        (KeyTooLong, Key(KEY.ljust(401, b"x")), b""),
        (ValueTooLong, KEY, b"x" * 65537),
    ],
)
async def test_writes_outside_the_bounds_are_refused(
    engine: WritingEngine, error: type[Exception], key: Key, value: bytes
) -> None:
    with pytest.raises(error):
        await engine.submit(put_command(key, value))
    assert engine.counters.batches == 0


async def test_the_longest_key_and_value_are_stored(engine: WritingEngine) -> None:
    key, value = Key(KEY.ljust(400, b"x")), b"x" * 65536
    await engine.submit(put_command(key, value))
    assert read(engine, key) == value


async def test_many_at_once_run_one_after_the_other(engine: WritingEngine) -> None:
    results: list[int] = []

    async def count() -> None:
        results.append((await engine.submit(count_command())).result)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(count)
    assert sorted(results) == list(range(1, 51))
    changes = engine.changes(HALL, 0)
    assert changes is not None
    assert [(change.version, change.event) for change in changes] == [
        (number, number) for number in range(1, 51)
    ]
    assert engine.queue_length() == 0


async def test_changes_are_published_in_order_before_the_waiter_resumes(engine: WritingEngine) -> None:
    seen: list[Change] = []

    def subscriber(changes: Sequence[Change]) -> None:
        assert engine.changes(HALL, changes[0].version - 1, len(changes)) == list(changes)
        seen.extend(changes)

    stop = engine.subscribe(subscriber)

    async def count() -> None:
        committed = await engine.submit(count_command())
        assert seen[committed.result - 1].version == committed.versions[HALL]

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(count)
    assert [change.version for change in seen] == list(range(1, 31))
    with pytest.raises(Refused):
        await engine.submit(refused_command(KEY))
    stop()
    await engine.submit(count_command())
    assert len(seen) == 30


async def test_versions_count_each_partition_for_itself(engine: WritingEngine) -> None:
    def run(tx: Transaction) -> None:
        for partition in (HALL, OTHER, HALL):
            tx.emit(partition, "x")

    committed = await engine.submit(Command("both", (HALL, OTHER), run))
    assert committed.versions == {HALL: 2, OTHER: 1}
    assert [change.version for change in engine.changes(HALL, 0) or []] == [1, 2]
    assert [change.version for change in engine.changes(OTHER, 0) or []] == [1]


async def test_changes_answer_from_any_place_that_the_log_still_has(
    engine: WritingEngine, clock: HandClock
) -> None:
    for _ in range(4):
        await engine.submit(count_command())
        clock.ms += 10

    def after(version: int, limit: int = 1000) -> list[int] | None:
        changes = engine.changes(HALL, version, limit)
        return None if changes is None else [change.version for change in changes]

    assert [after(0), after(3), after(4), after(5)] == [[1, 2, 3, 4], [4], [], None]
    assert [after(0, 1), after(0, 4), after(1, 2), after(0, 0)] == [[1], [1, 2, 3, 4], [2, 3], []]
    assert (await engine.submit(trim_changes(HALL, NOON_MS, 10))).result == 0
    assert (await engine.submit(trim_changes(HALL, NOON_MS + 11, 1))).result == 1
    assert [after(0), after(1)] == [None, [2, 3, 4]]
    assert (await engine.submit(trim_changes(HALL, NOON_MS + 11, 10))).result == 1
    assert [after(1), after(2)] == [None, [3, 4]]
    assert (await engine.submit(trim_changes(HALL, NOON_MS + 1000, 10))).result == 2
    assert [after(3), after(4)] == [None, []]
    assert (await engine.submit(count_command())).versions == {HALL: 5}


async def test_an_inner_part_of_a_command_can_be_dropped(engine: WritingEngine) -> None:
    def inner(tx: Transaction) -> None:
        tx.put(pack_key(HALL, 1, 2), b"dropped")
        tx.emit(HALL, "dropped")
        raise Refused("inner")

    def run(tx: Transaction) -> str:
        kept = nested(tx)
        kept.put(KEY, b"kept")
        kept.emit(HALL, "kept")
        kept.merge_into(tx)
        try:
            inner(nested(tx))
        except Refused as refusal:
            return str(refusal)
        return "not refused"

    assert (await engine.submit(Command("outer", (HALL,), run))).result == "inner"
    assert (read(engine), read(engine, pack_key(HALL, 1, 2))) == (b"kept", None)
    assert [change.event for change in engine.changes(HALL, 0) or []] == ["kept"]


async def test_a_snapshot_does_not_change(engine: WritingEngine, backend: FaultyBackend) -> None:
    await engine.submit(put_command(KEY, b"1"))
    with engine.snapshot() as snapshot:
        scan = snapshot.scan(*prefix_range(HALL))
        backend.apply([(KEY, b"2")], [])
        assert snapshot.get(KEY) == b"1"
        assert next(scan) == (KEY, b"1")
        assert snapshot.get(KEY) == b"1"


async def test_snapshots_between_two_commits_share_a_view_and_the_next_one_sees_the_next_commit(
    engine: WritingEngine, backend: FaultyBackend
) -> None:
    views: list[None] = []
    backend.before_view = lambda: views.append(None)
    for number in (b"1", b"2", b"3"):
        await engine.submit(put_command(KEY, number))
        views.clear()
        with engine.snapshot() as one:
            with engine.snapshot() as other:
                # What nobody was told of yet is not shown to some and hidden from others.
                backend.apply([(KEY, b"not told")], [])
                assert (one.get(KEY), other.get(KEY)) == (number, number)
            assert one.get(KEY) == number
        for _ in range(10):
            assert read(engine) == number
        assert len(views) <= 1


async def test_what_was_worked_out_is_kept_for_the_same_state_at_the_same_time_alone(
    engine: WritingEngine, clock: HandClock
) -> None:
    def note(what: object) -> object:
        """What was noted before under this name by another snapshot; then notes this."""
        with engine.snapshot() as snapshot:
            before = snapshot.memo.get("noted")
            snapshot.memo["noted"] = what
            return before

    await engine.submit(put_command(KEY, b"1"))
    assert [note(number) for number in range(3)] == [None, 0, 1]
    clock.ms += 1
    assert [note(number) for number in range(3)] == [None, 0, 1]
    await engine.submit(put_command(KEY, b"2"))
    assert [note(number) for number in range(3)] == [None, 0, 1]
    assert await trio.to_thread.run_sync(note, 3) is None
    assert note(4) == 2


async def test_snapshots_of_other_threads_are_their_own(engine: WritingEngine) -> None:
    await engine.submit(put_command(KEY, b"1"))
    assert read(engine) == b"1"

    def read_elsewhere() -> tuple[bytes | None, bytes | None]:
        with engine.snapshot() as one, engine.snapshot() as other:
            return one.get(KEY), other.get(KEY)

    assert await trio.to_thread.run_sync(read_elsewhere) == (b"1", b"1")
    assert read(engine) == b"1"


async def test_reading_between_commits_does_not_make_the_store_grow(
    engine: WritingEngine, backend: FaultyBackend
) -> None:
    async def commit(rounds: int) -> int:
        for number in range(rounds):
            await engine.submit(put_command(KEY, b"%d" % number * 5000))
            assert read(engine) == b"%d" % number * 5000
        return os.stat(backend.place).st_size

    first = await commit(20)
    assert await commit(300) <= first + 64 * 1024


async def test_a_snapshot_is_read_only_within_its_block(engine: WritingEngine) -> None:
    snapshot = engine.snapshot()
    for reads in (
        partial(snapshot.get, KEY),
        partial(snapshot.scan, *prefix_range(HALL)),
        partial(snapshot.version, HALL),
    ):
        with pytest.raises(SnapshotNotOpen):
            reads()
        with snapshot:
            reads()
        with pytest.raises(SnapshotNotOpen):
            reads()


async def test_a_snapshot_kept_across_an_await_is_closed(engine: WritingEngine) -> None:
    with engine.snapshot() as snapshot:
        await engine.submit(put_command(KEY, b"1"))
        with pytest.raises(SnapshotNotOpen):
            snapshot.get(KEY)
    with engine.snapshot() as snapshot:
        with pytest.raises(Refused):
            await engine.submit(refused_command(KEY))
        with pytest.raises(SnapshotNotOpen):
            snapshot.get(KEY)
    with engine.snapshot() as snapshot:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.submit, put_command(KEY, b"2"))
        with pytest.raises(SnapshotNotOpen):
            snapshot.get(KEY)


async def test_a_cancelled_waiter_does_not_stop_its_command(engine: WritingEngine) -> None:
    with trio.CancelScope() as scope:

        def run(tx: Transaction) -> None:
            tx.put(KEY, b"1")
            scope.cancel()

        await engine.submit(Command("cancels its caller", (HALL,), run))
    assert scope.cancelled_caught
    await engine.submit(count_command())
    assert read(engine) == b"1"


async def test_a_caller_that_is_cancelled_before_does_nothing(engine: WritingEngine) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await engine.submit(put_command(KEY, b"1"))
    await engine.submit(count_command())
    assert read(engine) is None


async def test_a_deadline_that_has_passed_refuses_the_command(engine: WritingEngine) -> None:
    with pytest.raises(EngineOverloaded, match="deadline"):
        await engine.submit(put_command(KEY, b"1"), deadline_seconds=0)
    assert read(engine) is None
    await engine.submit(put_command(KEY, b"2"), deadline_seconds=60)
    assert read(engine) == b"2"


async def test_submitting_gives_way_to_others_even_where_nothing_is_stored(engine: WritingEngine) -> None:
    with trio.testing.assert_checkpoints(), pytest.raises(Refused):
        await engine.submit(refused_command(KEY))


async def test_a_full_store_goes_on_reading_and_deleting(
    engine: WritingEngine, backend: FaultyBackend
) -> None:
    await engine.submit(put_command(KEY, b"1"))

    def full(*_: object) -> None:
        backend.before_apply = lambda puts, deletes: None
        raise StorageFull("planted")

    backend.before_apply = full
    with pytest.raises(StorageFull):
        await engine.submit(put_command(KEY, b"2"))
    assert read(engine) == b"1"
    await engine.submit(Command("delete", (HALL,), lambda tx: tx.delete(KEY)))
    assert read(engine) is None


async def test_a_failed_commit_ends_the_engine(form: str, backend: FaultyBackend, clock: HandClock) -> None:
    published: list[Change] = []

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    backend.before_apply = fail
    engine = make_engine(form, backend, clock)
    engine.subscribe(published.extend)
    ended = trio.Event()

    async def run(task_status: trio.TaskStatus[None]) -> None:
        with pytest.raises(StorageError, match="Input/output error"):
            await engine.run(task_status=task_status)
        ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        with pytest.raises(OutcomeUnknown):
            await engine.submit(put_command(KEY, b"1", event="never"))
        await ended.wait()
    with pytest.raises(EngineStopped):
        await engine.submit(put_command(KEY, b"1"))
    assert published == []


async def test_a_subscriber_that_raises_ends_the_engine(
    form: str, backend: FaultyBackend, clock: HandClock
) -> None:
    engine = make_engine(form, backend, clock)

    def subscriber(changes: Sequence[Change]) -> None:
        raise ZeroDivisionError

    engine.subscribe(subscriber)
    ended = trio.Event()

    async def run(task_status: trio.TaskStatus[None]) -> None:
        with pytest.raises(StorageError, match="ZeroDivisionError"):
            await engine.run(task_status=task_status)
        ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        assert (await engine.submit(count_command())).result == 1
        await ended.wait()
    with pytest.raises(EngineStopped):
        await engine.submit(count_command())


async def test_after_it_ended_the_engine_takes_nothing(
    form: str, backend: FaultyBackend, clock: HandClock
) -> None:
    async with running(make_engine(form, backend, clock)) as engine:
        await engine.submit(count_command())
    with pytest.raises(EngineStopped):
        await engine.submit(count_command())
    assert read(engine, pack_key(HALL, 1, 0)) == b"1"


async def test_the_space_in_use_can_be_seen(engine: WritingEngine) -> None:
    before = engine.used_bytes()
    for number in range(20):
        await engine.submit(put_command(pack_key(HALL, 1, number), b"x" * 65536))
    assert before + 20 * 65536 <= engine.used_bytes() <= engine.map_bytes()
