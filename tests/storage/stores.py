"""Stores for the tests of the engine: both forms of it over real LMDB files, small commands, and planted faults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import trio

from storage.backend import Backend, View
from storage.engine import Command, EventCodec, Key, Partition, Rejected, Transaction
from storage.keys import pack_key
from storage.lmdb_engine import open_lmdb
from storage.writer import InlineEngine, ThreadedEngine, WriterLimits, WritingEngine

CODEC = EventCodec(msgspec.msgpack.encode, msgspec.msgpack.decode)
HALL = Partition(b"hall")
OTHER = Partition(b"other")
NOON_MS = 1_800_000_000_000
MIB = 1024 * 1024
COUNT_KEY = pack_key(HALL, 1, 0)


class HandClock:
    """A clock that stands where it is put."""

    def __init__(self, now_ms: int = NOON_MS) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms

    async def wait_until_ms(self, at_ms: int) -> None:
        raise AssertionError("nothing here waits")


class Refused(Rejected):
    """The refusal of a test's own rule."""


class FaultyBackend:
    """A real backend; ``before_apply`` runs ahead of each commit and may raise in its place, ``after_apply`` once it is
    durable."""

    def __init__(self, real: Backend) -> None:
        self._real = real
        self.applied = 0
        self.before_apply: Callable[[Sequence[tuple[Key, bytes]], Sequence[Key]], None] = (
            lambda puts, deletes: None
        )
        self.after_apply: Callable[[], None] = lambda: None
        self.before_staged: Callable[[], None] = lambda: None
        self.before_view: Callable[[], None] = lambda: None
        self.room: int | None = None
        self.disk_room: int | None = None
        self.tells_staged = True

    @property
    def place(self) -> str:
        return self._real.place

    def view(self) -> View:
        self.before_view()
        return self._real.view()

    def apply(
        self,
        puts: Sequence[tuple[Key, bytes]],
        deletes: Sequence[Key],
        staged: Callable[[], None] = lambda: None,
    ) -> None:
        self.before_staged()
        if self.tells_staged:
            staged()
        self.before_apply(puts, deletes)
        self._real.apply(puts, deletes)
        self.applied += 1
        self.after_apply()

    def room_bytes(self) -> int:
        return self._real.room_bytes() if self.room is None else self.room

    def disk_room_bytes(self) -> int:
        return self._real.disk_room_bytes() if self.disk_room is None else self.disk_room

    def used_bytes(self) -> int:
        return self._real.used_bytes()

    def map_bytes(self) -> int:
        return self._real.map_bytes()

    def close(self) -> None:
        self._real.close()


@contextmanager
def faulty_backend(folder: Path, map_size_bytes: int = 64 * MIB) -> Iterator[FaultyBackend]:
    """A store in ``folder``, not synced, with faults to plant."""
    backend = FaultyBackend(open_lmdb(folder / "store.lmdb", map_size_bytes, synced=False))
    try:
        yield backend
    finally:
        backend.close()


def make_engine(
    form: str, backend: Backend, clock: HandClock, limits: WriterLimits | None = None
) -> WritingEngine:
    """An engine of the form ``threaded`` or ``inline``."""
    if form == "inline":
        return InlineEngine(backend, clock, CODEC)
    return ThreadedEngine(backend, clock, CODEC, limits or WriterLimits(batch_max=8, queue_max=100))


@asynccontextmanager
async def running(engine: WritingEngine) -> AsyncIterator[WritingEngine]:
    """Runs the writer around the block."""
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        yield engine
        nursery.cancel_scope.cancel()


def put_command(key: Key, value: bytes, *, event: object = None) -> Command[None]:
    """Writes one pair into the hall, and emits the event if there is one."""

    def run(tx: Transaction) -> None:
        tx.put(key, value)
        if event is not None:
            tx.emit(HALL, event)

    return Command("put", (HALL,), run)


def refused_command(key: Key) -> Command[None]:
    """Writes, emits, and is refused."""

    def run(tx: Transaction) -> None:
        tx.put(key, b"never")
        tx.emit(HALL, "never")
        raise Refused("no")

    return Command("refused", (HALL,), run)


def broken_command(key: Key) -> Command[None]:
    """Writes, emits, and fails by a fault of its own."""

    def run(tx: Transaction) -> None:
        tx.put(key, b"never")
        tx.emit(HALL, "never")
        raise ZeroDivisionError("a fault in the command")

    return Command("broken", (HALL,), run)


def count_command(key: Key = COUNT_KEY) -> Command[int]:
    """Adds one to a number in the hall; what it is then."""

    def run(tx: Transaction) -> int:
        number = int(tx.get(key) or b"0") + 1
        tx.put(key, str(number).encode())
        tx.emit(HALL, number)
        return number

    return Command("count", (HALL,), run)
