"""The change log of a partition: dense versions, entries stored in the commit that made them, trimmed by age.

Key layout, within the partition's own range: ``(0, 0)`` holds the newest version, ``(0, n)`` the entry of version n.
No table of records may use 0 as its first part. Versions begin at 1. An entry is a schema byte and the msgpack array
``[at_ms, event]``, the event as the codec wrote it. In the engine's own partition stands the newest commit's time.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from storage.engine import Change, Command, EventCodec, Key, Partition, Reader, StorageError, Transaction
from storage.keys import MAX_INT, cached_prefix, pack_key, pack_part

ENGINE_PARTITION = Partition(b"\x00engine")
FORMAT_KEY = pack_key(ENGINE_PARTITION, 1)
HIGH_WATER_KEY = pack_key(ENGINE_PARTITION, 2)

_LOG_PART = pack_part(0)
_LOG_ENTRY_SCHEMA = b"\x01"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, bytes]).decode


def log_key(partition: Partition, version: int) -> Key:
    """Where the entry of ``version`` stands; version 0 is the counter's place."""
    return Key(cached_prefix(partition) + _LOG_PART + pack_part(version))


def read_version(reader: Reader, partition: Partition) -> int:
    """The newest version of the partition; 0 if it never saw a change."""
    stored = reader.get(log_key(partition, 0))
    return 0 if stored is None else int.from_bytes(stored, "big")


def read_high_water_ms(reader: Reader) -> int:
    """The time of the newest commit in milliseconds UTC; 0 for an empty store."""
    stored = reader.get(HIGH_WATER_KEY)
    return 0 if stored is None else int.from_bytes(stored, "big")


def high_water_pair(at_ms: int) -> tuple[Key, bytes]:
    """What a commit stores as its time."""
    return HIGH_WATER_KEY, at_ms.to_bytes(8, "big")


def stage_changes(
    tx: Transaction, emitted: Sequence[tuple[Partition, object]], codec: EventCodec
) -> tuple[list[Change], dict[Partition, int]]:
    """Writes the emitted events into the logs of their partitions; the changes, and the new version of each partition.

    Refuses an event of more than 64 KiB as any long value is refused.
    """
    changes: list[Change] = []
    versions: dict[Partition, int] = {}
    at_ms = tx.now_ms
    for partition, event in emitted:
        version = versions.get(partition)
        version = (read_version(tx, partition) if version is None else version) + 1
        versions[partition] = version
        tx.put(log_key(partition, version), _LOG_ENTRY_SCHEMA + _encode((at_ms, codec.encode(event))))
        changes.append(Change(partition, version, at_ms, event))
    for partition, version in versions.items():
        tx.put(log_key(partition, 0), version.to_bytes(8, "big"))
    return changes, versions


def read_changes(
    reader: Reader, codec: EventCodec, partition: Partition, after: int, limit: int
) -> list[Change] | None:
    """Changes with a version above ``after``, oldest first, at most ``limit``.

    None where the log cannot tell: it was trimmed past ``after``, or it has never been as far as ``after``.
    """
    newest = read_version(reader, partition)
    if after >= newest:
        return [] if after == newest else None
    changes: list[Change] = []
    for key, value in reader.scan(log_key(partition, after + 1), log_key(partition, MAX_INT), max(limit, 1)):
        at_ms, event = _decode_entry(value)
        changes.append(Change(partition, _version_of(key), at_ms, codec.decode(event)))
    if not changes or changes[0].version != after + 1:
        return None
    return changes[:limit]


def trim_changes(partition: Partition, before_ms: int, limit: int) -> Command[int]:
    """The command that removes the oldest entries of the log, those committed before ``before_ms``.

    At most ``limit`` of them at a time; its result is how many it removed. The versions stay as they are.
    """

    def run(tx: Transaction) -> int:
        old: list[Key] = []
        for key, value in tx.scan(log_key(partition, 1), log_key(partition, MAX_INT), limit):
            if _decode_entry(value)[0] >= before_ms:
                break
            old.append(key)
        for key in old:
            tx.delete(key)
        return len(old)

    return Command("trim_changes", (partition,), run, may_use_reserve=True)


def _decode_entry(value: bytes) -> tuple[int, bytes]:
    if value[:1] != _LOG_ENTRY_SCHEMA:
        raise StorageError(
            f"a change log entry has schema {value[:1].hex()}, which this version does not know"
        )
    return _decode(value[1:])


def _version_of(key: Key) -> int:
    return int.from_bytes(key[-8:], "big")
