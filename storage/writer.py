"""The writer that engines share: taking commands, one thread that commits them in groups, and the way back.

True here: commands run one after the other, in the order in which they were submitted; after a durable commit there is
one hop back to the event loop, which publishes the changes in commit order and then wakes the waiters. A commit that
fails ends the engine: every waiter hears that its outcome is unknown, ``run`` raises, and whoever started it ends the
process. The inline form does the same in the caller's own task. Beside the front's
``ticketd/front/sockets.py`` and the counting of tasks this is the only file that uses ``trio.lowlevel``.
"""

from __future__ import annotations

import abc
import enum
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar, cast

import trio

from storage.backend import Backend, View
from storage.batch import GroupCommit, Job, Settled, WriterCounters, Writes
from storage.clock import Clock
from storage.engine import (
    Change,
    Command,
    Committed,
    EngineOverloaded,
    EngineStopped,
    EventCodec,
    StorageError,
    StorageFull,
    Subscriber,
)
from storage.snapshots import StoreReads
from storage.turns import Turns

R = TypeVar("R")

# From so many commands on, a commit costs little beside them, and the disk need not wait for more.
_WORTH_A_COMMIT = 64

# The event loop does not rest longer than this for the sake of a commit.
_LONGEST_REST_SECONDS = 0.02


class State(enum.Enum):
    """The life of a writing engine; it only goes forward."""

    NEW = "new"
    RUNNING = "running"
    STOPPED = "stopped"


class _Waiting(Job):
    """A job and the task that waits for it, while it waits."""

    __slots__ = ("task",)

    def __init__(self, command: Command[object], deadline: float | None) -> None:
        super().__init__(command, deadline)
        self.task: trio.lowlevel.Task | None = None

    def resume(self) -> None:
        """Lets the task go on, if it still waits."""
        if self.task is not None:
            task, self.task = self.task, None
            trio.lowlevel.reschedule(task)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterLimits:
    """``batch_max`` commands at most go into one commit; ``queue_max`` at most wait for theirs. Both at least 1."""

    batch_max: int
    queue_max: int


class WritingEngine(StoreReads, abc.ABC):
    """An ``Engine`` and the life of its writer: publishing, failing and counting, which both forms share."""

    def __init__(self, backend: Backend, clock: Clock, codec: EventCodec, batch_max: int) -> None:
        super().__init__(backend, clock, codec)
        self._commits = GroupCommit(backend, clock, codec, batch_max)
        self._subscribers: list[Subscriber] = []
        self._state = State.NEW
        self._failure: StorageError | None = None
        self._news = trio.Event()  # something for ``run`` to look at

    @property
    def counters(self) -> WriterCounters:
        """What the writer counted since it was opened."""
        return self._commits.counters

    @abc.abstractmethod
    async def submit(self, command: Command[R], *, deadline_seconds: float | None = None) -> Committed[R]:
        """As ``Engine.submit`` says."""

    @abc.abstractmethod
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs the writer until it is cancelled. Raises StorageError if a commit fails or a subscriber raises."""

    @abc.abstractmethod
    def queue_length(self) -> int:
        """How many commands wait to become durable."""

    def used_bytes(self) -> int:
        """How much of ``map_bytes`` the data takes up."""
        return self._backend.used_bytes()

    def map_bytes(self) -> int:
        """The space reserved for the data."""
        return self._backend.map_bytes()

    def is_running(self) -> bool:
        """Whether commands are taken."""
        return self._state is State.RUNNING

    def takes_growth(self) -> bool:
        """Whether commands are taken that make the store larger."""
        return self.is_running() and self._commits.has_room()

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        self._subscribers = [*self._subscribers, subscriber]

        def unsubscribe() -> None:
            self._subscribers = [one for one in self._subscribers if one is not subscriber]

        return unsubscribe

    def _publish(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        for subscriber in self._subscribers:
            try:
                subscriber(changes)
            except Exception as error:
                # What was derived from the changes is wrong from here on, so the process had better end.
                failure = StorageError(f"a subscriber to the changes of the store failed: {error!r}")
                failure.__cause__ = error
                self._fail(failure)

    def _fail(self, failure: StorageError) -> None:
        if self._failure is None:
            self._failure = failure
        self._state = State.STOPPED
        self._news.set()

    def _fail_with_commits(self) -> None:
        if self._commits.failure is not None:
            self._fail(self._commits.failure)

    def _end_commit(self, seconds: float, error: BaseException | None) -> Settled:
        """What the commit settled that was begun: all of it, or what did not fit; if it failed, everything there is."""
        commits = self._commits
        self._end_shared_view()
        if error is None:
            commits.counters.count_commit(seconds)
            settled = commits.end()
        elif isinstance(error, StorageFull):
            settled = commits.roll_back(error)
        else:
            commits.fail(error)
            settled = commits.abandon()
        self._fail_with_commits()
        return settled

    def _refuse_if_stopped(self) -> None:
        if self._state is State.STOPPED:
            raise EngineStopped("the store takes no more commands") from self._failure


class ThreadedEngine(WritingEngine):
    """The engine of the daemon: commands run in the Trio loop, and one pinned thread commits them in groups.

    A command runs as soon as it is submitted, over what is not durable yet; while the thread waits for the disk, the
    next batch is already made. Commands are taken once ``run`` has reported that it started.
    """

    def __init__(self, backend: Backend, clock: Clock, codec: EventCodec, limits: WriterLimits) -> None:
        super().__init__(backend, clock, codec, limits.batch_max)
        self._queue_max = limits.queue_max
        self._waiting = 0
        self._handed: queue.SimpleQueue[Writes | None] = queue.SimpleQueue()  # to the thread; None: end
        self._staged = threading.Semaphore(0)
        self._busy = False  # the thread has a batch
        self._thread_ended = trio.Event()
        self._turns = Turns()
        self._token: trio.lowlevel.TrioToken | None = None

    def queue_length(self) -> int:
        return self._waiting

    async def submit(self, command: Command[R], *, deadline_seconds: float | None = None) -> Committed[R]:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._expire_snapshots()
        if self._state is not State.RUNNING:
            self._refuse_if_stopped()
            raise EngineStopped("the writer has not been started")
        if self._waiting + len(self._turns) >= self._queue_max:
            raise EngineOverloaded("too many commands are waiting for the store")
        waiting = _Waiting(command, _deadline(deadline_seconds))
        await self._turns.wait_to_begin()
        self._refuse_if_stopped()
        self._commits.take(waiting)
        self._fail_with_commits()
        if not waiting.is_settled():
            self._waiting += 1
            self._news.set()
            if self._commits.newest_size() >= _WORTH_A_COMMIT:
                self._begin_commit()
        if waiting.is_settled():
            await trio.lowlevel.checkpoint()
        else:
            await self._wait(waiting)
        return _outcome(waiting)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs the writer until it is cancelled; then commits what was taken before it ends.

        Raises StorageError if a commit failed or a subscriber raised. May be called once.
        """
        if self._state is not State.NEW:
            raise RuntimeError("a writer runs once")
        self._token = trio.lowlevel.current_trio_token()
        self._loop_thread = threading.get_ident()
        self._state = State.RUNNING
        thread = threading.Thread(target=self._commit_what_is_handed, name="ticketd-writer", daemon=True)
        thread.start()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._turns.run)
                task_status.started()
                while self._failure is None:
                    self._begin_commit()
                    await self._hear_news()
                nursery.cancel_scope.cancel()
        finally:
            self._state = State.STOPPED
            # Bounded: nothing can be added to what was taken.
            with trio.CancelScope(shield=True):
                self._begin_commit()
                while self._busy and self._failure is None:
                    await self._hear_news()
                    self._begin_commit()
                self._handed.put(None)
                await self._thread_ended.wait()
            thread.join()
            self._finish(self._commits.abandon())
            if self._failure is not None:
                raise self._failure

    def _published_view(self) -> View | None:
        """The view under the batches: what the other thread has just made durable, the loop has not heard of yet."""
        return self._commits.base

    async def _wait(self, waiting: _Waiting) -> None:
        waiting.task = trio.lowlevel.current_task()

        def stop_waiting(_: object) -> trio.lowlevel.Abort:
            waiting.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(stop_waiting)

    async def _hear_news(self) -> None:
        """Waits for a command, a commit or a failure.

        Whoever could run has run since it was set, so that what all of them submitted goes into one commit.
        """
        await self._news.wait()
        self._news = trio.Event()

    def _begin_commit(self) -> None:
        """Hands the oldest batch to the thread, if that is free."""
        while not self._busy and self._failure is None and self._commits.has_work():
            writes = self._commits.begin()
            if writes is not None:
                self._busy = True
                while self._staged.acquire(blocking=False):
                    pass  # of a commit for which the loop did not wait to the end
                self._handed.put(writes)
                # LMDB gives up the interpreter's lock for each pair that it is given. If two threads fought for it
                # there, the pairs would take many times as long, so the loop rests for the millisecond that it takes.
                self._staged.acquire(timeout=_LONGEST_REST_SECONDS)
            elif self._commits.failure is None:
                self._finish(self._commits.end())
            self._fail_with_commits()

    def _commit_what_is_handed(self) -> None:
        """The whole life of the thread."""
        while (writes := self._handed.get()) is not None:
            error: BaseException | None = None
            began = time.perf_counter()
            try:
                self._backend.apply(writes.puts, writes.deletes, self._staged.release)
            except BaseException as caught:
                error = caught
                self._staged.release()
            self._hop(self._after_commit, time.perf_counter() - began, error)
        self._hop(self._thread_ended.set)

    def _hop(self, function: Callable[..., object], *args: object) -> None:
        if self._token is not None:
            with suppress(trio.RunFinishedError):  # nobody is left to hear of it
                self._token.run_sync_soon(function, *args)

    def _after_commit(self, seconds: float, error: BaseException | None) -> None:
        """Back in the event loop's thread."""
        self._busy = False
        self._finish(self._end_commit(seconds, error))
        self._news.set()

    def _finish(self, settled: Settled) -> None:
        self._expire_snapshots()
        self._publish(settled.changes)
        self._waiting -= len(settled.jobs)
        for job in settled.jobs:
            if isinstance(job, _Waiting) and job.task is not None:
                self._turns.resume(job.resume)


class InlineEngine(WritingEngine):
    """The same without a thread: ``submit`` runs, commits and publishes before it gives way to other tasks.

    For simulations, where virtual time must not pass during a commit, and for tools that have the store to themselves.
    Commands are taken at once; ``run`` is there so that either form fits into a tree of nurseries.
    """

    def __init__(self, backend: Backend, clock: Clock, codec: EventCodec) -> None:
        super().__init__(backend, clock, codec, batch_max=1)
        self._loop_thread = threading.get_ident()
        self._state = State.RUNNING

    def queue_length(self) -> int:
        return 0

    async def submit(self, command: Command[R], *, deadline_seconds: float | None = None) -> Committed[R]:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._expire_snapshots()
        self._refuse_if_stopped()
        job = Job(command, _deadline(deadline_seconds))
        self._commits.take(job)
        if not job.is_settled():
            self._publish(self._commit().changes)
        self._fail_with_commits()
        await trio.lowlevel.checkpoint()
        return _outcome(job)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Waits until it is cancelled, or until a commit fails or a subscriber raises: then it raises StorageError."""
        try:
            task_status.started()
            await self._news.wait()
        finally:
            self._state = State.STOPPED
            if self._failure is not None:
                raise self._failure

    def _commit(self) -> Settled:
        writes = self._commits.begin() or Writes()
        error: BaseException | None = None
        began = time.perf_counter()
        try:
            self._backend.apply(writes.puts, writes.deletes)
        except Exception as caught:
            error = caught
        return self._end_commit(time.perf_counter() - began, error)


def _deadline(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def _outcome(job: Job) -> Committed[R]:
    if job.error is not None:
        raise job.error
    return cast("Committed[R]", job.committed)
