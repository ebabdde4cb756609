"""Ordered keys: a partition, then a tuple whose byte order is the order of its parts.

A key is ``len(partition) ‖ partition ‖ parts``. The length byte makes partitions prefix-free, so everything of one
partition is one contiguous range. Parts compare as Python would compare them, kind by kind: integers from 0 to
2**64 - 1, UUIDs, text and bytes. No record, no rule: only the encoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from uuid import UUID

from storage.engine import MAX_KEY_BYTES, Key, Partition

Part = int | UUID | str | bytes

INT_PART = b"\x10"
UUID_PART = b"\x20"
_TEXT = b"\x30"
_BYTES = b"\x40"
_END = b"\x00\x01"
_ESCAPED_NUL = b"\x00\xff"
_AFTER_ALL = b"\xff"

MAX_INT = 2**64 - 1
PREFIXES_KEPT: Final = 1024


class KeyTooLong(ValueError):
    """A key would be longer than 400 bytes."""


def pack_part(part: Part) -> bytes:
    """One part as bytes whose order is the part's own order. Refuses integers outside 0 … 2**64 - 1 (ValueError)."""
    if isinstance(part, UUID):
        return UUID_PART + part.int.to_bytes(16, "big")
    if isinstance(part, int):
        if not 0 <= part <= MAX_INT:
            raise ValueError(f"a key holds integers from 0 to 2**64 - 1, not {part}")
        return INT_PART + part.to_bytes(8, "big")
    if isinstance(part, str):
        return _TEXT + part.encode().replace(b"\x00", _ESCAPED_NUL) + _END
    return _BYTES + part.replace(b"\x00", _ESCAPED_NUL) + _END


def partition_prefix(partition: Partition) -> bytes:
    """The bytes with which every key of the partition, and no other, begins."""
    if not 1 <= len(partition) <= 64:
        raise ValueError(f"a partition's name is 1 to 64 bytes, not {len(partition)}")
    return bytes((len(partition),)) + partition


cached_prefix: Final = lru_cache(maxsize=PREFIXES_KEPT)(partition_prefix)
"""The same, remembered for the partitions that were asked for last: a decision asks a score of times, for one."""


def pack_key(partition: Partition, *parts: Part) -> Key:
    """The key of ``parts`` in ``partition``. Refuses more than 400 bytes (KeyTooLong)."""
    key = partition_prefix(partition) + b"".join(map(pack_part, parts))
    if len(key) > MAX_KEY_BYTES:
        raise KeyTooLong(f"a key of {len(key)} bytes; at most {MAX_KEY_BYTES} are allowed")
    return Key(key)


def prefix_range(partition: Partition, *parts: Part) -> tuple[Key, Key]:
    """The half-open range of all keys that begin with ``parts`` and go on; without parts, of the whole partition."""
    prefix = partition_prefix(partition) + b"".join(map(pack_part, parts))
    return Key(prefix), Key(prefix + _AFTER_ALL)


def partition_of(key: Key) -> Partition:
    """The partition that ``key`` lies in."""
    return Partition(key[1 : 1 + key[0]])


def unpack_parts(key: Key) -> tuple[Part, ...]:
    """The parts of a key, without its partition. Refuses bytes that no ``pack_key`` made (ValueError)."""
    parts: list[Part] = []
    at = 1 + key[0]
    while at < len(key):
        kind = key[at : at + 1]
        at += 1
        if kind == INT_PART:
            parts.append(int.from_bytes(_fixed(key, at, 8), "big"))
            at += 8
        elif kind == UUID_PART:
            parts.append(UUID(bytes=_fixed(key, at, 16)))
            at += 16
        elif kind in {_TEXT, _BYTES}:
            end = key.index(_END, at)
            raw = bytes(key[at:end]).replace(_ESCAPED_NUL, b"\x00")
            parts.append(raw.decode() if kind == _TEXT else raw)
            at = end + 2
        else:
            raise ValueError(f"no key part begins with {kind.hex()}")
    return tuple(parts)


def _fixed(key: Key, at: int, length: int) -> bytes:
    raw = key[at : at + length]
    if len(raw) != length:
        raise ValueError("a key ends within one of its parts")
    return raw


def key_range(partition: Partition, lo: Sequence[Part], hi: Sequence[Part]) -> tuple[Key, Key]:
    """The half-open range from the key of ``lo`` to the key of ``hi``, both in ``partition``."""
    return pack_key(partition, *lo), pack_key(partition, *hi)
