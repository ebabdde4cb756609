"""Reading what is committed: snapshots, closed at the end of a ``with`` block and never kept across an await.

A view that stays open while commits go on makes the store grow, so the engine closes every snapshot of its loop that
is still open when it waits or publishes; whoever then reads from it learns of the mistake.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType

from storage.backend import Backend, View
from storage.change_log import read_changes, read_high_water_ms, read_version
from storage.clock import Clock
from storage.engine import Change, EventCodec, Key, Partition, SnapshotNotOpen


class _NoView:
    """Stands where a snapshot has no view."""

    def get(self, key: Key) -> bytes | None:
        raise SnapshotNotOpen("a snapshot is read only within its with block, and not after an await in it")

    def scan(
        self, lo: Key, hi: Key, limit: int | None = None, reverse: bool = False
    ) -> Iterator[tuple[Key, bytes]]:
        raise SnapshotNotOpen("a snapshot is read only within its with block, and not after an await in it")

    def close(self) -> None:
        return


_NO_VIEW = _NoView()


class StoreSnapshot:
    """A ``Snapshot`` over a backend's view, opened by ``with``."""

    __slots__ = ("_now_ms", "_reads", "_view")

    def __init__(self, reads: StoreReads) -> None:
        self._reads = reads
        self._view: View = _NO_VIEW
        self._now_ms = 0

    @property
    def now_ms(self) -> int:
        return self._now_ms

    def get(self, key: Key) -> bytes | None:
        return self._view.get(key)

    def scan(
        self, lo: Key, hi: Key, limit: int | None = None, reverse: bool = False
    ) -> Iterator[tuple[Key, bytes]]:
        return self._view.scan(lo, hi, limit, reverse)

    def version(self, partition: Partition) -> int:
        return read_version(self._view, partition)

    def __enter__(self) -> StoreSnapshot:
        self._now_ms, self._view = self._reads.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reads.end(self)
        self.expire()

    def expire(self) -> None:
        """Closes the view under the snapshot; reading from it then raises SnapshotNotOpen."""
        self._view.close()
        self._view = _NO_VIEW


class StoreReads:
    """The reading half of an engine; alone, what a command line tool reads a store with while a daemon owns it."""

    def __init__(self, backend: Backend, clock: Clock, codec: EventCodec) -> None:
        self._backend = backend
        self._clock = clock
        self._codec = codec
        self._loop_thread: int | None = None
        self._open: set[StoreSnapshot] = set()

    def snapshot(self, *partitions: Partition) -> StoreSnapshot:
        """A consistent view of everything committed, whichever partitions are named."""
        return StoreSnapshot(self)

    def changes(self, partition: Partition, after: int, limit: int = 1000) -> list[Change] | None:
        with self.snapshot(partition) as snapshot:
            return read_changes(snapshot, self._codec, partition, after, limit)

    def newest_commit_ms(self) -> int:
        """The time of the newest durable commit: milliseconds UTC; 0 for an empty store."""
        view = self._backend.view()
        try:
            return self._high_water_ms(view)
        finally:
            view.close()

    def begin(self, snapshot: StoreSnapshot) -> tuple[int, View]:
        """Opens the view of a snapshot; its time, and the view."""
        view = self._backend.view()
        try:
            now_ms = max(self._clock.now_ms(), self._high_water_ms(view))
        except BaseException:
            view.close()
            raise
        if threading.get_ident() == self._loop_thread:
            self._open.add(snapshot)
        return now_ms, view

    def end(self, snapshot: StoreSnapshot) -> None:
        """Forgets a snapshot whose ``with`` block ended."""
        self._open.discard(snapshot)

    def _expire_snapshots(self) -> None:
        """Called in the loop's thread where only a snapshot that is held across an await can still be open."""
        while self._open:
            self._open.pop().expire()

    def _high_water_ms(self, view: View) -> int:
        return read_high_water_ms(view)
