"""Reading what is committed: snapshots, closed at the end of a ``with`` block and never kept across an await.

A view that stays open while commits go on makes the store grow, so the engine closes every snapshot of its loop that
is still open when it waits or publishes; whoever then reads from it learns of the mistake. In the loop a snapshot shows
what was published and nothing later, so that it is of one moment with all that is derived from the changes. Between two
commits all snapshots of the loop show the same, so they share one view, which ends with the commit that makes it old.
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

    __slots__ = ("_reads", "_view", "memo", "now_ms")

    def __init__(self, reads: StoreReads) -> None:
        self._reads = reads
        self._view: View = _NO_VIEW
        self.now_ms = 0
        self.memo: dict[object, object] = {}

    def get(self, key: Key) -> bytes | None:
        return self._view.get(key)

    def scan(
        self, lo: Key, hi: Key, limit: int | None = None, reverse: bool = False
    ) -> Iterator[tuple[Key, bytes]]:
        return self._view.scan(lo, hi, limit, reverse)

    def version(self, partition: Partition) -> int:
        return read_version(self._view, partition)

    def __enter__(self) -> StoreSnapshot:
        self._view, self.now_ms, self.memo = self._reads.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        view, self._view = self._view, _NO_VIEW
        self._reads.end(self, view)

    def expire(self) -> None:
        """Takes the view from under the snapshot; reading from it then raises SnapshotNotOpen."""
        self._view = _NO_VIEW


class StoreReads:
    """The reading half of an engine; alone, what a command line tool reads a store with while a daemon owns it."""

    def __init__(self, backend: Backend, clock: Clock, codec: EventCodec) -> None:
        self._backend = backend
        self._clock = clock
        self._codec = codec
        self._loop_thread: int | None = None
        self._open: set[StoreSnapshot] = set()
        self._shared: View | None = None  # of the loop's snapshots, as long as nothing newer is committed
        # The time of the commit that snapshots show, once somebody has read it.
        self._published_ms: int | None = None
        self._memo: dict[object, object] = {}
        self._memo_ms = 0

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

    def begin(self, snapshot: StoreSnapshot) -> tuple[View, int, dict[object, object]]:
        """Opens a snapshot: its view, its time, and what is remembered of both."""
        if threading.get_ident() != self._loop_thread:
            own, at_ms = self._open_view()
            return own, max(self._clock.now_ms(), at_ms), {}
        view = self._published_view()
        if view is None:
            view = self._shared = self._shared or self._backend.view()
        if self._published_ms is None:
            self._published_ms = self._high_water_ms(view)
        now_ms = max(self._clock.now_ms(), self._published_ms)
        if now_ms != self._memo_ms:
            self._memo, self._memo_ms = {}, now_ms
        self._open.add(snapshot)
        return view, now_ms, self._memo

    def end(self, snapshot: StoreSnapshot, view: View) -> None:
        """Lets go of a snapshot whose ``with`` block ended, and of its view, if that is its own."""
        if snapshot in self._open:
            self._open.discard(snapshot)
        else:
            view.close()

    def _published_view(self) -> View | None:
        """A view that somebody else keeps open, of what was published last; None where there is no such view, and
        what is durable is what was published."""
        return None

    def _open_view(self) -> tuple[View, int]:
        view = self._backend.view()
        try:
            return view, self._high_water_ms(view)
        except BaseException:
            view.close()
            raise

    def _end_shared_view(self) -> None:
        """Called in the loop's thread when something was committed, or nothing will be any more."""
        self._expire_snapshots()
        self._memo, self._memo_ms, self._published_ms = {}, 0, None
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    def _expire_snapshots(self) -> None:
        """Called in the loop's thread where only a snapshot that is held across an await can still be open."""
        while self._open:
            self._open.pop().expire()

    def _high_water_ms(self, view: View) -> int:
        return read_high_water_ms(view)
