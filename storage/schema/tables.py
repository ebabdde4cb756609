"""Typed, versioned records over ordered keys.

A stored value is one schema byte and msgpack. A ``Table`` knows its number (the first part of its keys), its record's
type and version, and how to read older versions. Numbers 1 to 1000 belong to tables; number 0 is the engine's own
change log. Which tables exist stands in ``storage.schema.layout``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Final, Generic, TypeVar
from uuid import UUID

import msgspec

from storage.engine import MAX_KEY_BYTES, Key, Partition, Reader, Transaction
from storage.keys import (
    INT_PART,
    MAX_INT,
    UUID_PART,
    KeyTooLong,
    Part,
    pack_part,
    partition_prefix,
    prefix_range,
    unpack_parts,
)

R = TypeVar("R")

_encoder = msgspec.msgpack.Encoder(uuid_format="bytes", decimal_format="string")

Upgrade = Callable[[bytes], bytes]

HEADS_KEPT: Final = 8192


@lru_cache(maxsize=HEADS_KEPT)
def key_head(partition: Partition, packed_number: bytes) -> Key:
    """With what all keys of one table in one partition begin. A decision makes a score of keys, nearly all in one
    partition, so the latest are remembered."""
    return Key(partition_prefix(partition) + packed_number)


class RecordUnreadable(Exception):
    """A stored value has a schema version that this release does not know, or is damaged."""


class _Keyed:
    """What has a number of its own, by which its keys begin."""

    __slots__ = ("_packed_number", "name", "number")

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self._packed_number = pack_part(number)

    def key(self, partition: Partition, *parts: Part) -> Key:
        """The key of ``parts``. Refuses more than 400 bytes (KeyTooLong)."""
        key: bytes = key_head(partition, self._packed_number)
        if not parts:
            return Key(key)
        for part in parts:
            # What most parts are is packed right here: a decision packs a score of them.
            if type(part) is UUID:
                key += UUID_PART + part.int.to_bytes(16, "big")
            elif type(part) is int and 0 <= part <= MAX_INT:
                key += INT_PART + part.to_bytes(8, "big")
            else:
                key += pack_part(part)
        if len(key) > MAX_KEY_BYTES:
            raise KeyTooLong(f"a key of {len(key)} bytes; at most {MAX_KEY_BYTES} are allowed")
        return Key(key)


class Table(_Keyed, Generic[R]):
    """Records of one type, keyed by a tuple of parts within a partition.

    ``upgrades`` maps an older schema version to the function that turns its msgpack into the next version's. ``kept``:
    so many records are remembered by their stored bytes, so that what is read far oftener than it is written is not
    decoded each time; by the bytes, so that it can never be out of date. Only for records that cannot be changed.
    """

    __slots__ = ("_decoder", "_head", "_read", "_upgrades", "version")

    def __init__(  # noqa: PLR0913  # a line of the layout names what differs from the rest
        self,
        number: int,
        name: str,
        record: type[R],
        version: int = 1,
        upgrades: Mapping[int, Upgrade] | None = None,
        *,
        kept: int = 0,
    ) -> None:
        if not 1 <= number <= 1000:
            raise ValueError(f"a table's number is 1 to 1000, not {number}")
        super().__init__(number, name)
        self.version = version
        self._head = bytes((version,))
        self._decoder = msgspec.msgpack.Decoder(record)
        self._upgrades = dict(upgrades or {})
        self._read = lru_cache(maxsize=kept)(self.decode) if kept else self.decode

    def get(self, reader: Reader, partition: Partition, *parts: Part) -> R | None:
        """The record at ``parts``, or None."""
        value = reader.get(self.key(partition, *parts))
        return None if value is None else self._read(value)

    def put(self, tx: Transaction, record: R, partition: Partition, *parts: Part) -> None:
        """Writes the record at ``parts``."""
        tx.put(self.key(partition, *parts), self._head + _encoder.encode(record))

    def delete(self, tx: Transaction, partition: Partition, *parts: Part) -> None:
        """Removes the record at ``parts``, if there is one."""
        tx.delete(self.key(partition, *parts))

    def scan(
        self,
        reader: Reader,
        partition: Partition,
        *prefix: Part,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[tuple[Part, ...], R]]:
        """All records whose parts begin with ``prefix`` as (parts, record), in key order."""
        lo, hi = prefix_range(partition, self.number, *prefix)
        for key, value in reader.scan(lo, hi, limit, reverse):
            yield unpack_parts(key)[1:], self.decode(value)

    def after(
        self, reader: Reader, partition: Partition, last: int, limit: int | None = None
    ) -> Iterator[tuple[tuple[Part, ...], R]]:
        """All records whose key is an integer above ``last``, in order: how a long table is read slice by slice."""
        _, hi = prefix_range(partition, self.number)
        for key, value in reader.scan(self.key(partition, last + 1), hi, limit):
            yield unpack_parts(key)[1:], self.decode(value)

    def encode(self, record: R) -> bytes:
        """The stored form of a record, to know its size."""
        return self._head + _encoder.encode(record)

    def decode(self, value: bytes) -> R:
        """The record of a stored value, brought up to today's version. Refuses newer or damaged ones."""
        version, body = value[0], value[1:]
        while version != self.version:
            upgrade = self._upgrades.get(version)
            if upgrade is None:
                raise RecordUnreadable(f"{self.name}: schema version {version} is not known to this release")
            body, version = upgrade(body), version + 1
        try:
            return self._decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RecordUnreadable(f"{self.name}: {error}") from error


class Index(_Keyed):
    """Ordered tuples without a value: a set that is scanned, such as what falls due when."""

    __slots__ = ()

    _PRESENT = b"\x01"

    def add(self, tx: Transaction, partition: Partition, *parts: Part) -> None:
        """Adds the tuple."""
        tx.put(self.key(partition, *parts), self._PRESENT)

    def remove(self, tx: Transaction, partition: Partition, *parts: Part) -> None:
        """Removes the tuple, if it is there."""
        tx.delete(self.key(partition, *parts))

    def has(self, reader: Reader, partition: Partition, *parts: Part) -> bool:
        """Whether the tuple is there."""
        return reader.get(self.key(partition, *parts)) is not None

    def scan(
        self,
        reader: Reader,
        partition: Partition,
        *prefix: Part,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[Part, ...]]:
        """All tuples that begin with ``prefix``, in order."""
        lo, hi = prefix_range(partition, self.number, *prefix)
        for key, _ in reader.scan(lo, hi, limit, reverse):
            yield unpack_parts(key)[1:]

    def until(
        self, reader: Reader, partition: Partition, last: int, limit: int | None = None
    ) -> Iterator[tuple[Part, ...]]:
        """All tuples whose first part is an integer of at most ``last``: what is due by then."""
        lo, _ = prefix_range(partition, self.number)
        hi = self.key(partition, last + 1)
        for key, _ in reader.scan(lo, hi, limit):
            yield unpack_parts(key)[1:]
