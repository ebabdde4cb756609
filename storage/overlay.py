"""Overlays: the writes of a command, or of a whole batch, staged in memory over any ``Reader``.

Overlays stack: one for each command over one for its batch over the engine's view. Whatever is not merged into the
overlay below leaves nothing behind. Here stand the checks that every write must pass, whichever engine is behind.
Nothing here knows an engine, the change log or a rule of the sale.
"""

from __future__ import annotations

import operator
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from storage.engine import MAX_KEY_BYTES, MAX_VALUE_BYTES, Key, Partition, Reader, Transaction
from storage.keys import KeyTooLong, cached_prefix

_MISSING = object()

# Up to this many new keys are put one by one into the sorted list; more are sorted in together.
_INSERT_SINGLY = 32


class PartitionNotNamed(AssertionError):
    """A command touched a key of a partition that it does not name: a fault in the program."""


class ValueTooLong(ValueError):
    """A value would be longer than 64 KiB."""


class Overlay:
    """A ``Transaction`` that keeps its writes to itself until they are merged into another.

    ``partitions`` are those that may be touched; None allows all, for the overlay of a batch. ``emitted`` holds the
    events in the order in which they were emitted. Refuses a key outside the partitions (PartitionNotNamed), a key over
    400 bytes (KeyTooLong) and a value over 64 KiB (ValueTooLong).
    """

    __slots__ = ("_allowed", "_base", "_below", "_bottom_get", "_sorted", "_staged", "emitted", "now_ms")

    def __init__(self, base: Reader, now_ms: int, partitions: Iterable[Partition] | None) -> None:
        self.now_ms = now_ms
        self._allowed = None if partitions is None else tuple(map(cached_prefix, partitions))
        self._staged: dict[Key, bytes | None] = {}  # None: deleted
        self._sorted: list[Key] = []  # the oldest len(_sorted) keys of _staged, in key order
        self.emitted: list[tuple[Partition, object]] = []
        self.rebase(base)

    def get(self, key: Key) -> bytes | None:
        staged = self._staged.get(key, _MISSING)
        if staged is not _MISSING:
            return staged  # type: ignore[return-value]  # what is not _MISSING came out of the dict
        if self._allowed is not None and not key.startswith(self._allowed):
            raise self._not_named(key)
        for below in self._below:
            staged = below.get(key, _MISSING)
            if staged is not _MISSING:
                return staged  # type: ignore[return-value]  # as above
        return self._bottom_get(key)

    def put(self, key: Key, value: bytes) -> None:
        if self._allowed is not None and not key.startswith(self._allowed):
            raise self._not_named(key)
        if len(key) > MAX_KEY_BYTES:
            raise KeyTooLong(f"a key of {len(key)} bytes; at most {MAX_KEY_BYTES} are allowed")
        if len(value) > MAX_VALUE_BYTES:
            raise ValueTooLong(f"a value of {len(value)} bytes; at most {MAX_VALUE_BYTES} are allowed")
        self._staged[key] = value

    def delete(self, key: Key) -> None:
        if self._allowed is not None and not key.startswith(self._allowed):
            raise self._not_named(key)
        self._staged[key] = None

    def emit(self, partition: Partition, event: object) -> None:
        if self._allowed is not None and cached_prefix(partition) not in self._allowed:
            raise PartitionNotNamed(f"an event for partition {partition!r}, which the command does not name")
        self.emitted.append((partition, event))

    def scan(
        self, lo: Key, hi: Key, limit: int | None = None, reverse: bool = False
    ) -> Iterator[tuple[Key, bytes]]:
        # Not a generator itself: what is staged is fixed here, not when the first pair is asked for.
        if self._allowed is not None:
            if not lo.startswith(self._allowed):
                raise self._not_named(lo)
            if not hi.startswith(lo[: 1 + lo[0]]):
                raise PartitionNotNamed(f"a scan from {lo.hex()} to {hi.hex()} leaves its partition")
        staged = self._staged_range(lo, hi, limit, reverse)
        if not staged:
            return self._base.scan(lo, hi, limit, reverse)
        hidden = len(staged)  # each staged key can hide at most one pair below
        below = self._base.scan(lo, hi, None if limit is None else limit + hidden, reverse)
        return islice(_merge(below, staged, reverse), limit)

    def merge_into(self, parent: Transaction) -> None:
        """Moves everything staged and emitted here into ``parent``, as if it had been written there."""
        if isinstance(parent, Overlay) and (parent._allowed is None or parent._allowed is self._allowed):
            parent._staged.update(self._staged)
            parent.emitted.extend(self.emitted)
            return
        for key, value in self._staged.items():
            if value is None:
                parent.delete(key)
            else:
                parent.put(key, value)
        for partition, event in self.emitted:
            parent.emit(partition, event)

    def has_writes(self) -> bool:
        return bool(self._staged)

    def writes(self) -> tuple[list[tuple[Key, bytes]], list[Key]]:
        """What is staged, in key order: the pairs to put and the keys to delete."""
        staged = self._staged
        puts: list[tuple[Key, bytes]] = []
        deletes: list[Key] = []
        for key in sorted(staged):
            value = staged[key]
            if value is None:
                deletes.append(key)
            else:
                puts.append((key, value))
        return puts, deletes

    def rebase(self, base: Reader) -> None:
        """Puts ``base`` underneath instead, which holds the same as what is there now; an overlay on this one is then
        to be rebased, too."""
        self._base = base
        # Most of what is read stands at the bottom: the layers between are looked through here, not each by the next.
        if type(base) is Overlay:
            self._below: tuple[dict[Key, bytes | None], ...] = (base._staged, *base._below)
            self._bottom_get: Callable[[Key], bytes | None] = base._bottom_get
        else:
            self._below, self._bottom_get = (), base.get

    def put_bytes(self) -> int:
        """The bytes of keys and values that are staged to be put."""
        staged = 0
        for key, value in self._staged.items():
            if value is not None:
                staged += len(key) + len(value)
        return staged

    def growth_bytes(self) -> int:
        """By how many bytes of keys and values the store below would grow; negative if it would shrink."""
        growth = 0
        for key, value in self._staged.items():
            before = self._base.get(key)
            growth += 0 if value is None else len(key) + len(value)
            growth -= 0 if before is None else len(key) + len(before)
        return growth

    def _staged_range(
        self, lo: Key, hi: Key, limit: int | None, reverse: bool
    ) -> list[tuple[Key, bytes | None]]:
        """A copy of what is staged in the range, in scan order, as far as ``limit`` pairs can need it."""
        staged = self._staged
        if not staged:
            return []
        keys = self._sorted_keys()
        first, end = bisect_left(keys, lo), bisect_left(keys, hi)
        if first >= end:
            return []
        chosen: list[tuple[Key, bytes | None]] = []
        puts_left = -1 if limit is None else limit
        for at in range(end - 1, first - 1, -1) if reverse else range(first, end):
            if puts_left == 0:
                break
            value = staged[keys[at]]
            chosen.append((keys[at], value))
            if value is not None:
                puts_left -= 1
        return chosen

    def _sorted_keys(self) -> list[Key]:
        # A key never leaves the dict (a deletion is staged as None) and keeps its place there when it is written
        # again, so the keys that are not in the list yet are the last ones of the dict.
        keys = self._sorted
        fresh = len(self._staged) - len(keys)
        if fresh > _INSERT_SINGLY:
            keys.extend(islice(reversed(self._staged), fresh))
            keys.sort()
        elif fresh:
            for key in list(islice(reversed(self._staged), fresh)):
                insort(keys, key)
        return keys

    def _not_named(self, key: Key) -> PartitionNotNamed:
        return PartitionNotNamed(f"key {key.hex()} lies in no partition that the command names")


def nested(tx: Transaction) -> Overlay:
    """An overlay over a running command's own transaction: ``merge_into(tx)`` keeps what was done in it.

    Forgetting it instead drops that. It may touch what ``tx`` may touch and has the same ``now_ms``.
    """
    inner = Overlay(tx, tx.now_ms, None)
    if isinstance(tx, Overlay):
        inner._allowed = tx._allowed
    return inner


def _merge(
    below: Iterator[tuple[Key, bytes]], staged: list[tuple[Key, bytes | None]], reverse: bool
) -> Iterator[tuple[Key, bytes]]:
    """Both in scan order; where a key is in both, the staged one counts."""
    precedes = operator.gt if reverse else operator.lt
    over = iter(staged)
    next_over = next(over, None)
    for pair in below:
        key = pair[0]
        while next_over is not None and precedes(next_over[0], key):
            if next_over[1] is not None:
                yield next_over[0], next_over[1]
            next_over = next(over, None)
        if next_over is not None and next_over[0] == key:
            continue  # replaced or deleted: it comes, or does not, with the staged ones
        yield pair
    while next_over is not None:
        if next_over[1] is not None:
            yield next_over[0], next_over[1]
        next_over = next(over, None)
