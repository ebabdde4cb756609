"""The writer that engines share: taking commands, one thread that commits them in groups, and the way back.

True here: commands run one after the other, in the order in which they were submitted; after a durable commit there is
one hop back to the event loop, which publishes the changes in commit order and then wakes the waiters. A commit that
fails ends the engine: every waiter hears that its outcome is unknown, ``run`` raises, and whoever started it ends the
process. The inline form does the same in the caller's own task. This is the only file that uses ``trio.lowlevel``.
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

from storage.backend import Backend
from storage.batch import GroupCommit, Job, Settled, WriterCounters
from storage.clock import Clock
from storage.engine import (
    Change,
    Command,
    Committed,
    EngineOverloaded,
    EngineStopped,
    EventCodec,
    StorageError,
    Subscriber,
)
from storage.snapshots import StoreReads

R = TypeVar("R")


class State(enum.Enum):
    """The life of a writing engine; it only goes forward."""

    NEW = "new"
    RUNNING = "running"
    STOPPED = "stopped"


class _Waiting(Job):
    """A job and the task that waits for it; None once the task was cancelled."""

    __slots__ = ("task",)

    def __init__(self, command: Command[object], deadline: float | None, task: trio.lowlevel.Task) -> None:
        super().__init__(command, deadline)
        self.task: trio.lowlevel.Task | None = task


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
        self._failed = trio.Event()

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
        """How many commands wait to begin."""

    def used_bytes(self) -> int:
        """How much of ``map_bytes`` the data takes up."""
        return self._backend.used_bytes()

    def map_bytes(self) -> int:
        """The space reserved for the data."""
        return self._backend.map_bytes()

    def is_running(self) -> bool:
        return self._state is State.RUNNING

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
        self._failed.set()

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
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopping = False
        self._thread_ended = trio.Event()
        self._token: trio.lowlevel.TrioToken | None = None

    def queue_length(self) -> int:
        return self._waiting

    async def submit(self, command: Command[R], *, deadline_seconds: float | None = None) -> Committed[R]:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._expire_snapshots()
        if self._state is not State.RUNNING:
            self._refuse_if_stopped()
            raise EngineStopped("the writer has not been started")
        if self._waiting >= self._queue_max:
            raise EngineOverloaded("too many commands are waiting for the store")
        waiting = _Waiting(command, _deadline(deadline_seconds), trio.lowlevel.current_task())
        self._commits.take(waiting)
        if waiting.is_settled():
            await self._pass_on(waiting)
        else:
            await self._wait(waiting)
        return _outcome(waiting)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs the writer's thread until it is cancelled; then commits what was taken before it ends.

        Raises StorageError if a commit failed or a subscriber raised. May be called once.
        """
        if self._state is not State.NEW:
            raise RuntimeError("a writer runs once")
        self._token = trio.lowlevel.current_trio_token()
        self._loop_thread = threading.get_ident()
        self._state = State.RUNNING
        thread = threading.Thread(target=self._commit_batches, name="ticketd-writer", daemon=True)
        thread.start()
        try:
            task_status.started()
            await self._failed.wait()
        finally:
            self._state = State.STOPPED
            self._stopping = True
            self._wake.put(None)
            # Bounded: nothing can be added to what was taken.
            with trio.CancelScope(shield=True):
                await self._thread_ended.wait()
            thread.join()
            if self._failure is not None:
                raise self._failure

    async def _pass_on(self, waiting: _Waiting) -> None:
        """For a command that needs no commit; or the store failed under it, and the thread must hear of that."""
        if self._commits.failure is not None:
            self._wake.put(None)
        await trio.lowlevel.checkpoint()

    async def _wait(self, waiting: _Waiting) -> None:
        self._waiting += 1
        if self._wake.empty():
            self._wake.put(None)

        def stop_waiting(_: object) -> trio.lowlevel.Abort:
            waiting.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(stop_waiting)

    def _commit_batches(self) -> None:
        """The whole life of the thread."""
        commits = self._commits
        try:
            while not self._stopping and commits.failure is None:
                self._wake.get()
                while commits.has_work() and commits.failure is None:
                    self._hop(self._finish, commits.commit())
        except BaseException as error:
            commits.fail(error)
        finally:
            self._hop(self._end)

    def _hop(self, function: Callable[..., object], *args: object) -> None:
        if self._token is not None:
            with suppress(trio.RunFinishedError):  # nobody is left to hear of it
                self._token.run_sync_soon(function, *args)

    # From here on in the event loop's thread.

    def _finish(self, settled: Settled) -> None:
        self._expire_snapshots()
        self._publish(settled.changes)
        self._waiting -= len(settled.jobs)
        for job in settled.jobs:
            if isinstance(job, _Waiting) and job.task is not None:
                trio.lowlevel.reschedule(job.task)
                job.task = None

    def _end(self) -> None:
        if self._commits.failure is not None:
            self._fail(self._commits.failure)
            self._finish(self._commits.abandon())
        self._thread_ended.set()


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
        commits = self._commits
        commits.take(job)
        while commits.has_work() and commits.failure is None:
            self._publish(commits.commit().changes)
        if commits.failure is not None:
            self._fail(commits.failure)
            commits.abandon()
        await trio.lowlevel.checkpoint()
        return _outcome(job)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Waits until it is cancelled, or until a commit fails or a subscriber raises: then it raises StorageError."""
        try:
            task_status.started()
            await self._failed.wait()
        finally:
            self._state = State.STOPPED
            if self._failure is not None:
                raise self._failure


def _deadline(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def _outcome(job: Job) -> Committed[R]:
    if job.error is not None:
        raise job.error
    return cast("Committed[R]", job.committed)
