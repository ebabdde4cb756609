from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from storage.batch import COMMIT_SECONDS_BOUNDS, GroupCommit, Job, Settled, WriterCounters
from storage.change_log import read_changes, read_high_water_ms, read_version
from storage.engine import (
    Change,
    Command,
    Committed,
    EngineOverloaded,
    EngineStopped,
    OutcomeUnknown,
    Partition,
    StorageError,
    StorageFull,
    Transaction,
)
from storage.keys import key_range, pack_key, unpack_parts
from tests.storage.naive_model import OPS, Model, Op, run_real
from tests.storage.stores import (
    CODEC,
    HALL,
    NOON_MS,
    OTHER,
    FaultyBackend,
    HandClock,
    Refused,
    broken_command,
    count_command,
    faulty_backend,
    put_command,
    refused_command,
)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[FaultyBackend]:
    with faulty_backend(tmp_path) as backend:
        yield backend


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def commits(backend: FaultyBackend, clock: HandClock) -> GroupCommit:
    return GroupCommit(backend, clock, CODEC, batch_max=4)


def take(commits: GroupCommit, *commands: Command[object]) -> list[Job]:
    jobs = [Job(command) for command in commands]
    for job in jobs:
        commits.take(job)
    return jobs


def commit(commits: GroupCommit, backend: FaultyBackend) -> Settled:
    """Commits the oldest batch, as the writers do."""
    writes = commits.begin()
    if writes is not None:
        try:
            backend.apply(writes.puts, writes.deletes)
        except StorageFull as error:
            return commits.roll_back(error)
        except OSError as error:
            commits.fail(error)
    return commits.end() if commits.failure is None else commits.abandon()


def committed(job: Job) -> Committed[object]:
    assert job.error is None
    assert job.committed is not None
    return job.committed


def stored(backend: FaultyBackend, number: int) -> bytes | None:
    view = backend.view()
    try:
        return view.get(pack_key(HALL, 1, number))
    finally:
        view.close()


def hall(number: int) -> Command[None]:
    return put_command(pack_key(HALL, 1, number), b"%d" % number, event=number)


def test_commands_of_a_batch_commit_together_and_see_each_other(
    commits: GroupCommit, backend: FaultyBackend
) -> None:
    jobs = take(commits, *[count_command() for _ in range(4)])
    assert not any(job.is_settled() for job in jobs)
    settled = commit(commits, backend)
    assert backend.applied == 1
    assert [committed(job).result for job in jobs] == [1, 2, 3, 4]
    assert [committed(job).versions for job in jobs] == [{HALL: version} for version in (1, 2, 3, 4)]
    assert settled.changes == [Change(HALL, number, NOON_MS, number) for number in (1, 2, 3, 4)]
    assert list(settled.jobs) == jobs
    assert not commits.has_work()


def test_a_batch_takes_no_more_than_its_bound(commits: GroupCommit, backend: FaultyBackend) -> None:
    jobs = take(commits, *[count_command() for _ in range(5)])
    assert len(commit(commits, backend).jobs) == 4
    assert not jobs[4].is_settled()
    assert commits.has_work()
    assert len(commit(commits, backend).jobs) == 1
    assert (committed(jobs[4]).result, backend.applied) == (5, 2)


def test_what_is_refused_or_broken_spoils_nothing(commits: GroupCommit, backend: FaultyBackend) -> None:
    before, refused, broken, after = take(
        commits,
        count_command(),
        refused_command(pack_key(HALL, 1, 1)),
        broken_command(pack_key(HALL, 1, 2)),
        count_command(),
    )
    settled = commit(commits, backend)
    assert isinstance(refused.error, Refused)
    assert isinstance(broken.error, ZeroDivisionError)
    assert (committed(before).result, committed(after).result) == (1, 2)
    assert [change.event for change in settled.changes] == [1, 2]
    assert (stored(backend, 1), stored(backend, 2)) == (None, None)
    counters = commits.counters
    assert (counters.committed, counters.rejected, counters.failed, counters.changes) == (2, 1, 1, 2)


def test_an_event_that_cannot_be_encoded_fails_its_command_alone(
    commits: GroupCommit, backend: FaultyBackend
) -> None:
    good, bad, long = take(
        commits,
        hall(1),
        put_command(pack_key(HALL, 1, 2), b"", event=object()),
        put_command(pack_key(HALL, 1, 3), b"", event="x" * 65536),
    )
    commit(commits, backend)
    committed(good)
    assert isinstance(bad.error, TypeError)
    assert isinstance(long.error, ValueError)
    assert (stored(backend, 2), stored(backend, 3)) == (None, None)
    assert read_version(backend.view(), HALL) == 1


def test_a_refusal_that_saw_only_durable_things_is_answered_without_a_commit(
    commits: GroupCommit, backend: FaultyBackend
) -> None:
    (job,) = take(commits, refused_command(pack_key(HALL, 1, 1)))
    assert isinstance(job.error, Refused)
    assert not commits.has_work()
    assert backend.applied == 0


def test_a_refusal_that_saw_what_is_not_durable_waits_for_it(
    commits: GroupCommit, backend: FaultyBackend
) -> None:
    _, job = take(commits, count_command(), refused_command(pack_key(HALL, 1, 1)))
    assert not job.is_settled()
    commit(commits, backend)
    assert isinstance(job.error, Refused)


def test_commands_are_taken_over_a_batch_that_is_being_written(
    commits: GroupCommit, backend: FaultyBackend
) -> None:
    late: list[Job] = []

    def meanwhile(*_: object) -> None:
        if not late:
            late.extend(take(commits, count_command(), refused_command(pack_key(HALL, 1, 1))))

    backend.before_apply = meanwhile
    take(commits, count_command())
    assert len(commit(commits, backend).jobs) == 1
    assert not any(job.is_settled() for job in late)
    settled = commit(commits, backend)
    assert committed(late[0]).result == 2
    assert isinstance(late[1].error, Refused)
    assert [change.version for change in settled.changes] == [2]


def test_each_batch_goes_on_seeing_those_below_when_the_oldest_is_durable(
    commits: GroupCommit, backend: FaultyBackend
) -> None:
    seen: list[list[bytes | None]] = []
    keys = [pack_key(HALL, 9, number) for number in range(4)]

    def look(tx: Transaction) -> None:
        seen.append([tx.get(key) for key in keys])

    def batch(number: int) -> list[Command[object]]:
        """As many commands as a batch takes; the last two write over the same key, and over a key of all batches."""
        puts = [put_command(pack_key(HALL, 8, number), b"filler")] * 2
        return [*puts, put_command(keys[number], b"%d" % number), put_command(keys[3], b"%d" % number)]

    take(commits, *batch(0))
    writes = commits.begin()
    assert writes is not None
    take(commits, *batch(1), *batch(2), Command("look", (HALL,), look))
    backend.apply(writes.puts, writes.deletes)
    commits.end()
    take(commits, Command("look", (HALL,), look))
    commit(commits, backend)
    take(commits, Command("look", (HALL,), look))
    while commits.has_work():
        commit(commits, backend)
    take(commits, Command("look", (HALL,), look))
    assert seen == [[b"0", b"1", b"2", b"2"]] * 4


def test_the_time_never_goes_back(commits: GroupCommit, backend: FaultyBackend, clock: HandClock) -> None:
    def now(tx: Transaction) -> int:
        tx.put(pack_key(HALL, 1, 1), b"")
        return tx.now_ms

    ask = Command("now", (HALL,), now)
    times: list[object] = []
    for at_ms in (NOON_MS + 5, NOON_MS, NOON_MS + 6):
        clock.ms = at_ms
        (job,) = take(commits, ask)
        commit(commits, backend)
        times.append(committed(job).result)
    assert times == [NOON_MS + 5, NOON_MS + 5, NOON_MS + 6]
    clock.ms = NOON_MS
    (job,) = take(GroupCommit(backend, clock, CODEC, 4), ask)
    commit(commits, backend)
    reopened = GroupCommit(backend, clock, CODEC, 4)
    (job,) = take(reopened, ask)
    commit(reopened, backend)
    assert committed(job).result == NOON_MS + 6


def test_a_command_moves_the_time_for_all_that_come_after_it(
    commits: GroupCommit, backend: FaultyBackend, clock: HandClock
) -> None:
    seen: list[int] = []

    def look(tx: Transaction) -> None:
        seen.append(tx.now_ms)
        tx.put(pack_key(HALL, 1, len(seen)), b"")

    later = Command("step", (HALL,), look, moves_time_to_ms=NOON_MS + 5000)
    take(commits, Command("look", (HALL,), look), later, Command("look", (HALL,), look))
    assert seen == [NOON_MS, NOON_MS, NOON_MS + 5000]
    commit(commits, backend)
    take(commits, Command("look", (HALL,), look))
    assert seen[-1] == NOON_MS + 5000
    assert read_high_water(backend) == NOON_MS + 5000  # of the commit before: who reads it is as late
    clock.ms += 5001
    take(commits, Command("look", (HALL,), look), replace(later))
    assert seen[-2:] == [NOON_MS + 5001] * 2


def test_a_command_that_is_refused_moves_no_time(commits: GroupCommit, backend: FaultyBackend) -> None:
    key = pack_key(HALL, 1, 1)
    take(commits, replace(refused_command(key), moves_time_to_ms=NOON_MS + 5000))
    seen = take(commits, Command("look", (HALL,), lambda tx: tx.now_ms))
    assert committed(seen[0]).result == NOON_MS


def read_high_water(backend: FaultyBackend) -> int:
    view = backend.view()
    try:
        return read_high_water_ms(view)
    finally:
        view.close()


@pytest.mark.parametrize(("seconds_left", "runs"), [(-1.0, False), (0.0, False), (1.0, True)])
def test_a_deadline_counts_until_the_command_begins(
    commits: GroupCommit,
    backend: FaultyBackend,
    monkeypatch: pytest.MonkeyPatch,
    seconds_left: float,
    runs: bool,
) -> None:
    monkeypatch.setattr("storage.batch.time.monotonic", lambda: 100.0)
    job = Job(count_command(), 100.0 + seconds_left)
    commits.take(job)
    monkeypatch.setattr("storage.batch.time.monotonic", lambda: 200.0)
    if runs:
        commit(commits, backend)
        assert committed(job).result == 1
    else:
        assert isinstance(job.error, EngineOverloaded)
        assert not commits.has_work()
        assert commits.counters.expired == 1


def too_large_for(limit: int) -> object:
    """A fault for ``before_apply``: a commit of more than ``limit`` pairs of the hall's table does not fit."""

    def check(puts: list[tuple[bytes, bytes]], deletes: object) -> None:
        keys = [key for key, _ in puts if pack_key(HALL, 1) < key < pack_key(HALL, 2)]
        if len(keys) > limit:
            raise StorageFull("planted")

    return check


def test_where_a_batch_does_not_fit_each_is_tried_alone(commits: GroupCommit, backend: FaultyBackend) -> None:
    def two(tx: Transaction) -> None:
        tx.put(pack_key(HALL, 1, 7), b"")
        tx.put(pack_key(HALL, 1, 8), b"")

    backend.before_apply = too_large_for(1)  # type: ignore[assignment]  # a plainer signature reads better
    jobs = take(
        commits, hall(1), Command("two", (HALL,), two), refused_command(pack_key(HALL, 1, 3)), hall(2)
    )
    changes: list[Change] = []
    while commits.has_work():
        changes.extend(commit(commits, backend).changes)
    assert commits.failure is None
    committed(jobs[0])
    assert isinstance(jobs[1].error, StorageFull)
    assert isinstance(jobs[2].error, Refused)
    assert committed(jobs[3]).versions == {HALL: 2}
    assert [change.version for change in changes] == [1, 2]
    assert [stored(backend, number) for number in (1, 2, 7)] == [b"1", b"2", None]
    assert commits.counters.refused_full == 1


def test_after_a_command_that_did_not_fit_others_commit_together_again(
    commits: GroupCommit, backend: FaultyBackend
) -> None:
    def full(*_: object) -> None:
        backend.before_apply = lambda puts, deletes: None
        raise StorageFull("planted")

    backend.before_apply = full
    take(commits, hall(1))
    commit(commits, backend)
    take(commits, hall(2), hall(3), hall(4))
    assert len(commit(commits, backend).jobs) == 3
    assert backend.applied == 1


def test_what_stood_on_a_batch_that_did_not_fit_is_run_again(
    commits: GroupCommit, backend: FaultyBackend
) -> None:
    late: list[Job] = []

    def full_once(*_: object) -> None:
        backend.before_apply = lambda puts, deletes: None
        late.extend(take(commits, count_command()))
        raise StorageFull("planted")

    backend.before_apply = full_once
    (first,) = take(commits, count_command())
    while commits.has_work():
        commit(commits, backend)
    assert isinstance(first.error, StorageFull)
    assert committed(late[0]).result == 1


def test_a_command_is_not_run_again_after_its_deadline_only_if_it_never_began(
    commits: GroupCommit, backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.batch.time.monotonic", lambda: 100.0)
    first, second = Job(hall(1), 101.0), Job(hall(2), 101.0)
    waiting = Job(hall(3), 101.0)

    def full(*_: object) -> None:
        backend.before_apply = lambda puts, deletes: None
        raise StorageFull("planted")

    backend.before_apply = full
    commits.take(first)
    commits.take(second)
    commit(commits, backend)
    commits.take(waiting)
    monkeypatch.setattr("storage.batch.time.monotonic", lambda: 102.0)
    while commits.has_work():
        commit(commits, backend)
    committed(first)
    committed(second)
    assert isinstance(waiting.error, EngineOverloaded)


def test_what_is_left_is_kept_for_those_that_shrink_or_may_use_it(
    commits: GroupCommit, backend: FaultyBackend
) -> None:
    take(commits, hall(1), hall(22))
    commit(commits, backend)
    backend.room = 0

    def delete(tx: Transaction) -> None:
        tx.delete(pack_key(HALL, 1, 1))
        tx.emit(HALL, "gone")

    grow = put_command(pack_key(HALL, 1, 2), b"x")
    same = put_command(pack_key(HALL, 1, 22), b"xx")
    more = put_command(pack_key(HALL, 1, 22), b"xxx")
    vital = Command("vital", (HALL,), grow.run, may_use_reserve=True)
    grow_job, same_job, more_job, delete_job = take(
        commits, grow, same, more, Command("delete", (HALL,), delete)
    )
    (vital_job,) = take(commits, vital)
    while commits.has_work():
        commit(commits, backend)
    assert isinstance(grow_job.error, StorageFull)
    assert isinstance(more_job.error, StorageFull)
    for job in (same_job, delete_job, vital_job):
        committed(job)
    assert [stored(backend, number) for number in (1, 2, 22)] == [None, b"x", b"xx"]


@pytest.mark.parametrize(("spare", "fits"), [(-1, False), (0, True), (1, True)])
def test_the_room_is_measured_with_what_the_batch_has_staged(
    commits: GroupCommit, backend: FaultyBackend, spare: int, fits: bool
) -> None:
    size = len(pack_key(HALL, 1, 0)) + 1
    backend.room = 2 * 2 * size + spare
    jobs = take(commits, hall(1), hall(2))
    commit(commits, backend)
    committed(jobs[0])
    assert (jobs[1].error is None) == fits


def test_after_each_commit_the_room_is_measured_anew(commits: GroupCommit, backend: FaultyBackend) -> None:
    late: list[Job] = []
    backend.room = 1000

    def meanwhile(*_: object) -> None:
        backend.before_apply = lambda puts, deletes: None
        late.extend(take(commits, hall(2)))
        backend.room = 0

    backend.before_apply = meanwhile
    take(commits, hall(1))
    commit(commits, backend)
    (refused,) = take(commits, hall(3))
    commit(commits, backend)
    committed(late[0])
    assert isinstance(refused.error, StorageFull)


def test_a_failed_commit_leaves_everything_unknown_that_had_begun(
    commits: GroupCommit, backend: FaultyBackend
) -> None:
    late: list[Job] = []

    def fail(*_: object) -> None:
        late.extend(take(commits, hall(3)))
        raise OSError(5, "Input/output error")

    backend.before_apply = fail
    jobs = take(commits, hall(1), refused_command(pack_key(HALL, 1, 2)))
    settled = commit(commits, backend)
    assert list(settled.jobs) == [*jobs, *late]
    assert settled.changes == ()
    assert isinstance(commits.failure, StorageError)
    assert "Input/output error" in str(commits.failure)
    assert isinstance(commits.failure.__cause__, OSError)
    assert all(isinstance(job.error, OutcomeUnknown) for job in [*jobs, *late])
    assert not commits.has_work()


def test_what_had_not_begun_when_the_store_failed_has_not_run(
    commits: GroupCommit, backend: FaultyBackend
) -> None:
    def full_then_broken(*_: object) -> None:
        backend.before_apply = broken
        raise StorageFull("planted")

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    backend.before_apply = full_then_broken
    begun = take(commits, hall(1), hall(2))
    commit(commits, backend)
    (waiting,) = take(commits, hall(3))
    commit(commits, backend)
    assert all(isinstance(job.error, OutcomeUnknown) for job in begun)
    assert isinstance(waiting.error, EngineStopped)


def unreadable() -> None:
    raise StorageError("the store cannot be read")


def test_a_store_that_cannot_be_read_is_no_fault_of_the_command(
    commits: GroupCommit, backend: FaultyBackend
) -> None:
    backend.before_view = unreadable
    (job,) = take(commits, hall(1))
    assert isinstance(job.error, EngineStopped)
    assert commits.failure is not None


def test_a_read_that_fails_within_a_command_is_no_fault_of_the_command(
    commits: GroupCommit, backend: FaultyBackend
) -> None:
    good, bad = take(commits, hall(1), Command("reads", (HALL,), lambda tx: unreadable()))
    assert isinstance(bad.error, EngineStopped)
    assert commits.failure is not None
    assert list(commits.abandon().jobs) == [good]
    assert stored(backend, 1) is None


def test_what_is_durable_is_settled_even_where_the_store_cannot_be_read_any_more(
    commits: GroupCommit, backend: FaultyBackend
) -> None:
    late: list[Job] = []

    def meanwhile(*_: object) -> None:
        late.extend(take(commits, hall(2)))
        backend.before_view = unreadable

    backend.before_apply = meanwhile
    (job,) = take(commits, hall(1))
    writes = commits.begin()
    assert writes is not None
    backend.apply(writes.puts, writes.deletes)
    settled = commits.end()
    assert list(settled.jobs) == [job]
    assert [change.event for change in settled.changes] == [1]
    assert commits.failure is not None
    assert list(commits.abandon().jobs) == late


def test_a_store_that_cannot_be_read_when_a_command_is_run_again(
    commits: GroupCommit, backend: FaultyBackend
) -> None:
    def full(*_: object) -> None:
        backend.before_view = unreadable
        raise StorageFull("planted")

    backend.before_apply = full
    jobs = take(commits, hall(1), hall(2))
    commit(commits, backend)
    assert list(commit(commits, backend).jobs) == jobs
    assert all(isinstance(job.error, OutcomeUnknown) for job in jobs)


def test_commits_are_counted_by_their_duration() -> None:
    counters = WriterCounters()
    for seconds in (0.0, 0.0005, 0.00051, 1.0, 1.1):
        counters.count_commit(seconds)
    assert counters.commit_seconds == [2, 1, *[0] * 7, 1, 1]
    assert len(counters.commit_seconds) == len(COMMIT_SECONDS_BOUNDS) + 1
    assert counters.batches == 5


plans = st.lists(
    st.one_of(st.tuples(st.just("take"), OPS), st.just("commit"), st.just("overlap")), max_size=25
)


@given(plans, st.integers(1, 3), st.integers(0, 4))
@settings(deadline=None)
def test_every_history_reads_like_the_naive_model(
    plan: list[object], batch_max: int, full_every: int
) -> None:
    """Commands taken, committed, taken while a commit is written, and rolled back for want of space, in any order."""
    with tempfile.TemporaryDirectory() as folder, faulty_backend(Path(folder)) as backend:
        commits = GroupCommit(backend, HandClock(), CODEC, batch_max)
        jobs: list[tuple[Job, list[Op], str]] = []
        published: list[Change] = []
        told: list[Job] = []
        applies = 0
        overlapping: list[tuple[list[Op], str]] = []

        def begin(ops: list[Op], end: str) -> None:
            command = Command("ops", (HALL, OTHER), partial(run_real, ops=ops, end=end))
            jobs.append((Job(command), ops, end))
            commits.take(jobs[-1][0])
            if jobs[-1][0].is_settled():
                told.append(jobs[-1][0])

        def commit_one() -> None:
            settled = commit(commits, backend)
            published.extend(settled.changes)
            told.extend(settled.jobs)

        def before_apply(*_: object) -> None:
            nonlocal applies
            applies += 1
            while overlapping:
                begin(*overlapping.pop(0))
            if full_every and applies % full_every == 0:
                raise StorageFull("planted")

        backend.before_apply = before_apply
        overlap = False
        for step in [*plan, "commit"]:
            match step:
                case "take", (list(ops), str(end)):
                    if overlap:
                        overlapping.append((ops, end))
                    else:
                        begin(ops, end)
                case "overlap":
                    overlap = True
                case _:
                    overlap = False
                    if commits.has_work():
                        commit_one()
                    for ops, end in overlapping:
                        begin(ops, end)
                    overlapping.clear()
        while commits.has_work():
            commit_one()
        assert commits.failure is None
        assert sorted(map(id, told)) == sorted(id(job) for job, _, _ in jobs)  # each once
        compare(backend, jobs, published)


def compare(backend: FaultyBackend, jobs: list[tuple[Job, list[Op], str]], published: list[Change]) -> None:
    model = Model()
    for job, ops, end in jobs:
        assert job.is_settled()
        if isinstance(job.error, StorageFull):
            continue
        meant = model.run(ops, end)
        if isinstance(meant, type):
            assert type(job.error) is meant
            continue
        assert committed(job).result == meant
        emitted_to = {hall: len(events) for hall, events in model.events.items()}
        for partition, version in committed(job).versions.items():
            assert version == emitted_to[partition]
    view = backend.view()
    for partition in (HALL, OTHER):
        found = view.scan(*key_range(partition, (1, 0), (1, 100)))
        pairs = {(partition, number): value for key, value in found for _, number in [unpack_parts(key)]}
        assert pairs == {pair: value for pair, value in model.pairs.items() if pair[0] == partition}
        check_log(view_changes(backend, partition), partition, model)
        assert [change for change in published if change.partition == partition] == view_changes(
            backend, partition
        )
    view.close()


def check_log(changes: list[Change], partition: Partition, model: Model) -> None:
    assert [change.event for change in changes] == model.events[partition]
    assert [change.version for change in changes] == list(range(1, len(changes) + 1))


def view_changes(backend: FaultyBackend, partition: Partition) -> list[Change]:
    view = backend.view()
    changes = read_changes(view, CODEC, partition, 0, 1000)
    view.close()
    assert changes is not None
    return changes
