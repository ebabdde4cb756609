"""The commit number of an answer: at which version of which partition it was read, and which version it committed.

With ``server.commit_header`` every answer that the store had a part in tells so in ``X-Commit-Version``. Whoever keeps
the answers can then put them into the order of the commits, and check that one after the other they could have been
given (``docs/operating.md``). The engine is wrapped for it; without the setting nothing is wrapped, and costs
nothing. Versions are those of the change log; a command that emits nothing changes none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import Final, TypeVar
from uuid import UUID

from storage.change_log import read_version
from storage.engine import (
    Change,
    Command,
    Committed,
    Engine,
    Key,
    Partition,
    Rejected,
    Snapshot,
    Subscriber,
    Transaction,
)
from storage.keys import partition_of
from storage.schema.layout import BUYER_PREFIX, EVENT_PREFIX

R = TypeVar("R")

COMMIT_VERSION: Final = "X-Commit-Version"

_KINDS: Final = {EVENT_PREFIX: "event", BUYER_PREFIX: "buyer"}


@dataclasses.dataclass(slots=True)
class Versions:
    """What one answer rests on: of each partition the version of the last command or snapshot, which wins."""

    read: dict[Partition, int] = dataclasses.field(default_factory=dict)
    committed: dict[Partition, int] = dataclasses.field(default_factory=dict)

    def note_read(self, partition: Partition, version: int) -> None:
        """It was read at ``version``, and nothing was committed by that."""
        self.read[partition] = version
        self.committed.pop(partition, None)

    def headers(self) -> tuple[tuple[str, str], ...]:
        """The header, a dictionary of RFC 9651: ``event-UUID=42;new`` was committed, without ``new`` it was read."""
        notes = self.read | self.committed
        if not notes:
            return ()
        members = (
            f"{_name(partition)}={version}{';new' if partition in self.committed else ''}"
            for partition, version in sorted(notes.items())
        )
        return ((COMMIT_VERSION, ", ".join(members)),)


_answering: ContextVar[Versions | None] = ContextVar("answering", default=None)


def begin_noting() -> Versions:
    """From here on, what this task and those it starts read and commit is noted in the result."""
    versions = Versions()
    go_on_noting(versions)
    return versions


def go_on_noting(versions: Versions) -> None:
    """From here on, what this task and those it starts read and commit is noted in ``versions``, too."""
    _answering.set(versions)


class VersionedEngine:
    """An ``Engine`` that notes for the answer in hand what is read and committed on its behalf."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def submit(self, command: Command[R], *, deadline_seconds: float | None = None) -> Committed[R]:
        noted = _answering.get()
        if noted is None:
            return await self._engine.submit(command, deadline_seconds=deadline_seconds)
        seen: dict[Partition, int] = {}

        def run(tx: Transaction) -> R:
            seen.update((partition, read_version(tx, partition)) for partition in command.partitions)
            return command.run(tx)

        try:
            committed = await self._engine.submit(_running(command, run), deadline_seconds=deadline_seconds)
        except Rejected:
            for partition, version in seen.items():
                noted.note_read(partition, version)
            raise
        for partition, version in seen.items():
            noted.note_read(partition, version)
        noted.committed |= committed.versions
        return committed

    def snapshot(self, *partitions: Partition) -> Snapshot:
        noted = _answering.get()
        snapshot = self._engine.snapshot(*partitions)
        return snapshot if noted is None else _NotedSnapshot(snapshot, noted)

    def changes(self, partition: Partition, after: int, limit: int = 1000) -> list[Change] | None:
        return self._engine.changes(partition, after, limit)

    def newest_commit_ms(self) -> int:
        return self._engine.newest_commit_ms()

    def is_running(self) -> bool:
        return self._engine.is_running()

    def takes_growth(self) -> bool:
        return self._engine.takes_growth()

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        return self._engine.subscribe(subscriber)


class _NotedSnapshot:
    """A snapshot that notes the version of each partition of which something is read."""

    def __init__(self, snapshot: Snapshot, noted: Versions) -> None:
        self._snapshot = snapshot
        self._noted = noted
        self._seen: set[Partition] = set()
        self.now_ms = 0
        self.memo: dict[object, object] = {}
        """Nobody else's: what others have worked out would be used without its reading being noted."""

    def get(self, key: Key) -> bytes | None:
        self._note(partition_of(key))
        return self._snapshot.get(key)

    def scan(
        self, lo: Key, hi: Key, limit: int | None = None, reverse: bool = False
    ) -> Iterator[tuple[Key, bytes]]:
        self._note(partition_of(lo))
        return self._snapshot.scan(lo, hi, limit, reverse)

    def version(self, partition: Partition) -> int:
        return self._snapshot.version(partition)

    def __enter__(self) -> Snapshot:
        self.now_ms = self._snapshot.__enter__().now_ms
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._snapshot.__exit__(kind, error, trace)

    def _note(self, partition: Partition) -> None:
        if partition not in self._seen:
            self._seen.add(partition)
            self._noted.note_read(partition, self._snapshot.version(partition))


def _running(command: Command[R], run: Callable[[Transaction], R]) -> Command[R]:
    """The command with another function, which it runs in place of its own."""
    return Command(
        command.name,
        command.partitions,
        run,
        hints=command.hints,
        command_id=command.command_id,
        may_use_reserve=command.may_use_reserve,
        moves_time_to_ms=command.moves_time_to_ms,
    )


def _name(partition: Partition) -> str:
    """``event-UUID``, ``buyer-UUID`` or ``system``."""
    kind = _KINDS.get(partition[:1])
    return "system" if kind is None else f"{kind}-{UUID(bytes=partition[1:])}"
