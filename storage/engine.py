"""The engine seam: what the domain asks of a store, whoever stands behind it.

Everything above this file speaks in partitions, ordered keys, commands and changes. LMDB is the engine that ships; a
distributed database can stand here later without a line of the domain changing. Nothing in this file names an engine,
a record or a rule of the sale.

- A *partition* is the unit of serialisation and of placement: all that must be decided together.
- A *key* is an ordered byte string that begins with its partition (see ``storage.keys``), at most 400 bytes.
- A *value* is at most 64 KiB.
- A *command* is a pure, re-runnable function over a transaction. An engine may run it again on fresh data.
- A *change* is one event that a committed command emitted, stored in the same commit under the next version of its
  partition. Versions of a partition are dense: 1, 2, 3, …
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, NewType, Protocol, TypeVar
from uuid import UUID

import msgspec

Partition = NewType("Partition", bytes)
Key = NewType("Key", bytes)

MAX_KEY_BYTES = 400
MAX_VALUE_BYTES = 64 * 1024

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Rejected(Exception):
    """A command was refused by a rule: nothing of it was written. The domain's refusals derive from this."""


class OutcomeUnknown(Exception):
    """The commit failed after it was started: the command may or may not be durable. The engine has stopped."""


class EngineStopped(Exception):
    """The engine takes no more commands: it is shutting down, or it failed. The command has not run."""


class EngineOverloaded(Exception):
    """The queue is full, or the deadline passed before the command began. The command has not run."""


class StorageFull(Exception):
    """The reserved space or the disk is used up. The command was rolled back; reads and deletions go on."""


class StorageError(Exception):
    """The data cannot be opened or used; the text is one sentence for the operator."""


class SnapshotNotOpen(RuntimeError):
    """A snapshot was read outside its ``with`` block, or after an ``await`` within it: a fault in the program."""


class Reader(Protocol):
    """A consistent view of the store."""

    def get(self, key: Key) -> bytes | None:
        """The value at ``key``, or None."""

    def scan(
        self, lo: Key, hi: Key, limit: int | None = None, reverse: bool = False
    ) -> Iterator[tuple[Key, bytes]]:
        """Pairs with ``lo <= key < hi`` in key order (backwards if ``reverse``), at most ``limit`` of them.

        Both bounds lie in one partition; a snapshot of an engine that can show everything takes any bounds. The result
        does not change while it is read, whatever is written meanwhile. Every partition's range holds its change log
        too, below all of its records.
        """


class Transaction(Reader, Protocol):
    """What a command reads and writes. Its own writes are seen by its own reads."""

    now_ms: int
    """The engine's time of this transaction: milliseconds UTC, never before that of an earlier commit."""

    def put(self, key: Key, value: bytes) -> None:
        """Writes ``value`` (at most 64 KiB) at ``key``."""

    def delete(self, key: Key) -> None:
        """Removes ``key``; a key that does not exist is no error."""

    def emit(self, partition: Partition, event: object) -> None:
        """Adds an event to the change log of ``partition``; published once it is durable."""


class Snapshot(Reader, AbstractContextManager["Snapshot"], Protocol):
    """A consistent read view, closed at the end of its ``with`` block. Never held across an ``await``."""

    now_ms: int
    """The engine's time, as in a transaction."""

    memo: dict[object, object]
    """What readers of this very state at this very time have worked out, under keys of their own: it is shared by all
    snapshots of the event loop between two commits within one millisecond, and gone after."""

    def version(self, partition: Partition) -> int:
        """The number of changes that the partition has seen; 0 for an unknown one."""


class Command(msgspec.Struct, Generic[R_co], frozen=True):
    """One decision: a name for logs and metrics, the partitions it may touch, and the pure function that takes it.

    ``run`` reads and writes only keys of ``partitions``, makes every check before its first write, and refuses by
    raising a ``Rejected``. Ids and randomness that it needs were put into it by whoever built it.

    ``hints`` are keys worth fetching ahead. ``may_use_reserve`` is for what must go on when space is short (releasing,
    expiring, cancelling, recording that money moved): such a command may grow into the space that is kept back; any
    other is refused there with StorageFull unless it makes the store smaller or leaves it as large as it is.

    ``moves_time_to_ms``: once the command has run, no later transaction has an earlier time than that (milliseconds
    UTC), and nobody reads what it wrote at an earlier one; so a command can put the windows of people off by as much as
    the time then jumps, and no decision stands between the two.

    ``command_id`` is given where the same command may be submitted twice, which an engine across a network has to know.
    """

    name: str
    partitions: tuple[Partition, ...]
    run: Callable[[Transaction], R_co]
    hints: tuple[Key, ...] = ()
    command_id: UUID | None = None
    may_use_reserve: bool = False
    moves_time_to_ms: int = 0


class Committed(msgspec.Struct, Generic[R_co], frozen=True):
    """The outcome of a durable command: its result and the new version of each partition it emitted to."""

    result: R_co
    versions: dict[Partition, int]


class Change(msgspec.Struct, frozen=True):
    """One committed event: ``version`` is its place in the partition's log, ``at_ms`` the time of its commit."""

    partition: Partition
    version: int
    at_ms: int
    event: object


@dataclass(frozen=True, slots=True)
class EventCodec:
    """How events become bytes in the change log and objects again."""

    encode: Callable[[object], bytes]
    decode: Callable[[bytes], object]


Subscriber = Callable[[Sequence[Change]], None]


class Engine(Protocol):
    """A durable, ordered, partitioned store that runs commands one after the other within each partition."""

    async def submit(self, command: Command[R], *, deadline_seconds: float | None = None) -> Committed[R]:
        """Runs the command and returns once it is durable and its changes were published.

        Raises the ``Rejected`` that the command raised; ``EngineOverloaded`` when it could not begin within
        ``deadline_seconds``; ``EngineStopped``, ``StorageFull`` or ``OutcomeUnknown`` as these say. A caller that is
        cancelled while it waits does not stop the command.
        """

    def snapshot(self, *partitions: Partition) -> Snapshot:
        """A consistent view of the named partitions (of all, where the engine can)."""

    def changes(self, partition: Partition, after: int, limit: int = 1000) -> list[Change] | None:
        """Changes of the partition with a version above ``after``, oldest first, at most ``limit`` of them.

        None if the log cannot tell what follows ``after``: it no longer goes back that far, or has never got that far.
        """

    def newest_commit_ms(self) -> int:
        """The engine's time of the newest durable commit: milliseconds UTC; 0 for an empty store."""

    def is_running(self) -> bool:
        """Whether the engine takes commands: it was started, and has neither ended nor failed."""

    def takes_growth(self) -> bool:
        """Whether commands that make the store larger are taken: it runs, and has more space than is kept back."""

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Calls ``subscriber`` with the changes of each commit, in commit order, in the event loop's thread, before any
        waiter of that commit resumes. Returns the function that ends it. A subscriber must not raise."""
