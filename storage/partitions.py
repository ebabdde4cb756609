"""Walking the partitions of a store by seeking from one range to the next, whatever they hold."""

from __future__ import annotations

from collections.abc import Iterator

from storage.change_log import ENGINE_PARTITION
from storage.engine import Key, Partition, Reader
from storage.keys import partition_of, partition_prefix

_LONGEST_NAME_BYTES = 64


def partitions(reader: Reader, prefix: bytes = b"", after: Partition | None = None) -> Iterator[Partition]:
    """The partitions that hold anything and whose names begin with ``prefix``: by length of name, then by name.

    Only those that follow ``after`` in that order, where it is given. The engine's own partition is left out, and keys
    that lie in no partition are passed over. One seek for each, so that a partition of a million keys costs no more
    than one of a single key. ``reader`` must be able to read all partitions, as a snapshot of the embedded engine is.
    """
    for _, partition in _first_keys(reader, prefix, after):
        if partition is not None and partition != ENGINE_PARTITION:
            yield partition


def stray_keys(reader: Reader) -> Iterator[Key]:
    """Keys that begin as those of a partition do and lie in none: cut off in its name, or behind its last possible key.

    Only a damaged store has them. ``reader`` as for ``partitions``.
    """
    return (key for key, partition in _first_keys(reader, b"", None) if partition is None)


def _first_keys(
    reader: Reader, prefix: bytes, after: Partition | None
) -> Iterator[tuple[Key, Partition | None]]:
    """The first key of each partition, and every stray key between them with None."""
    for length in range(max(1, len(prefix), len(after or b"")), _LONGEST_NAME_BYTES + 1):
        lo = bytes((length,)) + prefix
        end = _after_prefix(lo)
        if after is not None and len(after) == length:
            lo = max(lo, _past(after))
        while (found := next(reader.scan(Key(lo), end, limit=1), None)) is not None:
            key = found[0]
            partition = partition_of(key)
            if len(partition) == length and _past(partition) > lo:
                yield key, partition
                lo = _past(partition)
            else:
                yield key, None
                lo = key + b"\x00"


def _past(partition: Partition) -> bytes:
    return partition_prefix(partition) + b"\xff"


def _after_prefix(prefix: bytes) -> Key:
    # The first byte is a length of at most 64, so something is always left to count up.
    kept = prefix.rstrip(b"\xff")
    return Key(kept[:-1] + bytes((kept[-1] + 1,)))
