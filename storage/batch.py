"""Group commit without threads or event loop: commands run at once, over what is not durable yet, and commit together.

The oldest batch is being committed while the newest takes commands, each batch standing on the one before and the
oldest on a view of the store. True here: a command runs in its own overlay, so one that is refused or fails leaves
nothing and spoils no other; what it emitted is stored in the same commit; no outcome is given before everything that
the command saw is durable. Waiting, waking and publishing belong to ``storage.writer``.
"""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from storage.backend import Backend, View
from storage.change_log import high_water_pair, read_high_water_ms, stage_changes
from storage.clock import Clock
from storage.engine import (
    Change,
    Command,
    Committed,
    EngineOverloaded,
    EngineStopped,
    EventCodec,
    Key,
    OutcomeUnknown,
    Reader,
    Rejected,
    StorageError,
    StorageFull,
)
from storage.overlay import Overlay

# The upper ends of the classes that commits are counted in by their duration; one more class takes what is longer.
COMMIT_SECONDS_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

# A put takes at least its own bytes and, on half-empty pages, twice as many.
_PAGE_FILL = 2


@dataclass(slots=True)
class WriterCounters:
    """What the writer counted since it began. Read at any time."""

    batches: int = 0
    committed: int = 0
    rejected: int = 0
    failed: int = 0
    refused_full: int = 0
    expired: int = 0
    changes: int = 0
    commit_seconds_sum: float = 0.0
    commit_seconds: list[int] = field(default_factory=lambda: [0] * (len(COMMIT_SECONDS_BOUNDS) + 1))

    def count_commit(self, seconds: float) -> None:
        self.batches += 1
        self.commit_seconds_sum += seconds
        self.commit_seconds[bisect_left(COMMIT_SECONDS_BOUNDS, seconds)] += 1


class Job:
    """One submitted command and, once it is known, its outcome. ``deadline`` is a ``time.monotonic()`` or None."""

    __slots__ = ("begun", "command", "committed", "deadline", "error")

    def __init__(self, command: Command[object], deadline: float | None = None) -> None:
        self.command = command
        self.deadline = deadline
        self.begun = False
        self.committed: Committed[object] | None = None
        self.error: BaseException | None = None

    def is_settled(self) -> bool:
        return self.committed is not None or self.error is not None

    def settle(self, outcome: Committed[object] | Exception) -> None:
        if isinstance(outcome, Committed):
            self.committed = outcome
        else:
            self.error = outcome


class Batch:
    """Commands that have run and are to be committed together, and what will be answered when they are."""

    def __init__(self, base: Reader, room_bytes: int) -> None:
        self.overlay = Overlay(base, 0, None)
        self.newest_ms = 0
        self.room_bytes = room_bytes
        self.put_bytes = 0
        self.outcomes: list[tuple[Job, Committed[object] | Exception]] = []
        self.changes: list[Change] = []

    def run(self, job: Job, now_ms: int, codec: EventCodec) -> None:
        """Runs one command. Raises StorageError alone, if the store cannot be read: that is no command's fault."""
        command = job.command
        job.begun = True
        overlay = Overlay(self.overlay, now_ms, command.partitions)
        try:
            result = command.run(overlay)
            put_bytes = overlay.put_bytes()
            self._check_room(command, overlay, put_bytes)
            changes, versions = stage_changes(overlay, overlay.emitted, codec)
        except StorageError:
            raise
        except Exception as error:  # a refusal, or a fault in this one command: nothing of it is merged
            self.outcomes.append((job, error))
            return
        overlay.merge_into(self.overlay)
        self.newest_ms = max(now_ms, command.moves_time_to_ms)
        self.room_bytes -= _PAGE_FILL * put_bytes
        self.put_bytes += put_bytes
        self.changes.extend(changes)
        self.outcomes.append((job, Committed(result, versions)))

    def _check_room(self, command: Command[object], overlay: Overlay, put_bytes: int) -> None:
        if command.may_use_reserve or self.room_bytes >= _PAGE_FILL * put_bytes:
            return
        if overlay.growth_bytes() > 0:
            raise StorageFull("what is left of the space is kept for releases and deletions")


@dataclass(frozen=True, slots=True)
class Settled:
    """Jobs that have their outcomes, and the changes of those that committed, in commit order."""

    jobs: Sequence[Job] = ()
    changes: Sequence[Change] = ()


@dataclass(frozen=True, slots=True)
class Writes:
    """What one commit writes, in key order."""

    puts: Sequence[tuple[Key, bytes]] = ()
    deletes: Sequence[Key] = ()


class GroupCommit:
    """Takes commands and says what is to be written next; all from one thread, whoever does the writing.

    ``take`` runs a command at once. ``begin`` closes the oldest batch; once what it gives is durable, ``end`` settles
    the batch. Where it does not fit into the store, ``roll_back`` has it and all that stood on it run again, each
    command in a commit of its own. After any other trouble call ``fail``, then ``abandon``, and nothing else.
    """

    def __init__(self, backend: Backend, clock: Clock, codec: EventCodec, batch_max: int) -> None:
        self._backend = backend
        self._clock = clock
        self._codec = codec
        self._batch_max = batch_max
        self._view: View | None = None  # under the oldest batch; there is one as long as there are batches
        self._batches: deque[Batch] = deque()
        self._committing = False  # the oldest batch is closed: it is being written
        self._again: deque[Job] = deque()  # to be run alone, each in a commit of its own
        self.counters = WriterCounters()
        self.failure: StorageError | None = None
        view = backend.view()
        self._high_water_ms = read_high_water_ms(view)
        view.close()

    def take(self, job: Job) -> None:
        """Runs the command of ``job``. It is settled by the commit; at once, where nothing needs to become durable.

        Where the store cannot be read, that sets ``failure`` and the command has not run.
        """
        if self._again:
            self._again.append(job)
            return
        try:
            self._run(job)
        except Exception as error:
            self.fail(error)
            job.settle(EngineStopped("the store failed before the command could begin"))
            return
        batch = self._batches[0]
        if len(self._batches) == 1 and len(batch.outcomes) == 1 and not batch.overlay.has_writes():
            self.end()  # it saw nothing that is not durable, and changed nothing

    @property
    def base(self) -> View | None:
        """The view under the oldest batch: the store as it was when something was last settled. None without work."""
        return self._view

    def has_work(self) -> bool:
        """Whether there is something that is not settled."""
        return bool(self._batches or self._again)

    def newest_size(self) -> int:
        """How many commands the batch holds that takes commands."""
        return len(self._batches[-1].outcomes) if self._batches else 0

    def has_room(self) -> bool:
        """Whether anything may still grow without the space that is kept back. Raises what the backend raises."""
        return self._backend.disk_room_bytes() >= 0 and self._backend.room_bytes() > 0

    def begin(self) -> Writes | None:
        """Closes the oldest batch: what to write for it, or None if it wrote nothing. There must be work.

        Where the store cannot be read, that sets ``failure``, and nothing is to be written.
        """
        if not self._batches:
            try:
                self._run(self._again[0])
            except Exception as error:
                self.fail(error)
                return None
            self._again.popleft()
        self._committing = True
        batch = self._batches[0]
        if not batch.overlay.has_writes():
            return None
        puts, deletes = batch.overlay.writes()
        insort(puts, high_water_pair(batch.newest_ms))
        return Writes(puts, deletes)

    def end(self) -> Settled:
        """Settles the batch that was begun, which is durable now; the next one then stands on the store as it is.

        Where the store cannot be read, that sets ``failure``; what was durable is settled all the same.
        """
        batch = self._batches.popleft()
        self._committing = False
        self._close_view()
        for job, outcome in batch.outcomes:
            self._settle(job, outcome)
        self.counters.changes += len(batch.changes)
        if self._batches:
            try:
                self._stand_on_what_is_durable()
            except Exception as error:
                self.fail(error)
        return Settled([job for job, _ in batch.outcomes], batch.changes)

    def roll_back(self, error: StorageFull) -> Settled:
        """Nothing of the batch that was begun was written, so what stood on it saw what never was."""
        batches = list(self._batches)
        self._batches.clear()
        self._committing = False
        self._close_view()
        jobs = [job for batch in batches for job, _ in batch.outcomes]
        settled: list[Job] = []
        if len(batches[0].outcomes) == 1:  # it was alone already
            settled.append(jobs.pop(0))
            self._settle(settled[0], error)
        self._again.extendleft(reversed(jobs))
        return Settled(settled)

    def fail(self, error: BaseException) -> None:
        """Sets ``failure``, if it is not set already."""
        if self.failure is None:
            self.failure = StorageError(
                f"the store {self._backend.place} failed ({error}); nothing more is taken until it is opened anew"
            )
            self.failure.__cause__ = error

    def abandon(self) -> Settled:
        """After ``failure``: everything that is not settled. Where it had begun, the outcome is unknown."""
        jobs = [*(job for batch in self._batches for job, _ in batch.outcomes), *self._again]
        self._batches.clear()
        self._again.clear()
        self._close_view()
        for job in jobs:
            if job.begun:
                job.settle(OutcomeUnknown("the commit failed after it was begun"))
            else:
                job.settle(EngineStopped("the store failed before the command could begin"))
        return Settled(jobs)

    def _run(self, job: Job) -> None:
        batch = self._open_batch()
        if not job.begun and job.deadline is not None and time.monotonic() >= job.deadline:
            batch.outcomes.append(
                (job, EngineOverloaded("the deadline passed before the command could begin"))
            )
            return
        self._high_water_ms = max(self._high_water_ms, self._clock.now_ms())
        batch.run(job, self._high_water_ms, self._codec)
        self._high_water_ms = max(self._high_water_ms, batch.newest_ms)

    def _open_batch(self) -> Batch:
        """The batch that takes commands: the newest one, or a new one on top if that is closed or full."""
        batches = self._batches
        if not batches:
            room_bytes = self._room_bytes()
            self._view = self._backend.view()
            batches.append(Batch(self._view, room_bytes))
        elif (self._committing and len(batches) == 1) or len(batches[-1].outcomes) >= self._batch_max:
            batches.append(Batch(batches[-1].overlay, batches[-1].room_bytes))
        return batches[-1]

    def _stand_on_what_is_durable(self) -> None:
        self._view = self._backend.view()
        below: Reader = self._view
        for batch in self._batches:
            batch.overlay.rebase(below)
            below = batch.overlay
        room_bytes = self._room_bytes()
        for batch in self._batches:
            room_bytes -= _PAGE_FILL * batch.put_bytes
            batch.room_bytes = room_bytes

    def _room_bytes(self) -> int:
        """What growth may take of the map: nothing, where the disk has less free than is to be kept."""
        room_bytes = self._backend.room_bytes()
        return room_bytes if self._backend.disk_room_bytes() >= 0 else min(room_bytes, 0)

    def _settle(self, job: Job, outcome: Committed[object] | Exception) -> None:
        counters = self.counters
        job.settle(outcome)
        if isinstance(outcome, Committed):
            counters.committed += 1
        elif isinstance(outcome, Rejected):
            counters.rejected += 1
        elif isinstance(outcome, StorageFull):
            counters.refused_full += 1
        elif isinstance(outcome, EngineOverloaded):
            counters.expired += 1
        else:
            counters.failed += 1

    def _close_view(self) -> None:
        if self._view is not None:
            self._view.close()
            self._view = None
