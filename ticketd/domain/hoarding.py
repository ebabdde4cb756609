"""Limits to hoarding: places in line by address, and a cool-down for those whose holds run out unpaid time and again.

Nothing here ends anything that somebody has. A subject is a buyer, a device or an address; what is remembered of one is
bounded, and is forgotten once the window is over. Each refusal tells its ``reason`` and when to come again.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec.structs import replace

from config.settings import HoardingSettings
from storage.engine import Reader, Transaction
from storage.schema.ids import EntryId, EventId
from storage.schema.layout import (
    DUE_ENTRIES,
    ENTRIES,
    LAPSES,
    LAPSES_DUE,
    LIVE_BY_ADDRESS,
    event_partition,
)
from storage.schema.records import EntryRecord, LapseRecord, ReservationRecord
from ticketd.domain.room_book import RoomBook, entry_id_of
from ticketd.errors import ErrorCode, Refusal

ADDRESS_ENTRIES: Final = "ADDRESS_ENTRIES"
LAPSED_HOLDS: Final = "LAPSED_HOLDS"
REASONS: Final = (ADDRESS_ENTRIES, LAPSED_HOLDS)

ADDRESS_RETRY_SECONDS: Final = 60
"""When to come again where nobody knows when another of the address leaves."""

SUBJECT_BYTES: Final = 16
SUBJECTS_KEPT: Final = 16_384
MOST_SUBJECTS: Final = 3
"""Of one hold: its buyer, its device, its address."""
MOST_COUNTED: Final = 5_000
"""So many subjects are looked at to count the cool-downs in force."""


class LapseLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many holds may run out within ``window_ms`` before a subject cools down for ``cooldown_ms``: ``holds`` of a
    buyer or a device, ``holds_per_address`` of an address. 0 turns each off."""

    holds: int = 0
    holds_per_address: int = 0
    window_ms: int = 0
    cooldown_ms: int = 0

    @staticmethod
    def of(settings: HoardingSettings) -> LapseLimits:
        """The limits of the settings."""
        return LapseLimits(
            holds=settings.lapsed_holds,
            holds_per_address=settings.lapsed_holds_per_address,
            window_ms=settings.lapse_window_seconds * 1000,
            cooldown_ms=settings.cooldown_seconds * 1000,
        )


NO_LIMITS: Final = LapseLimits()


# --- places by address ----------------------------------------------------------------------------------------------


def check_address(book: RoomBook, address_hash: bytes | None, most: int) -> None:
    """Refuses RATE_LIMITED with ``reason`` ADDRESS_ENTRIES if the address has ``most`` live entries; 0: never.

    Entries whose time is over, though the lapse is not written yet, do not count.
    """
    if address_hash is None or most == 0:
        return
    live = sum(1 for _ in LIVE_BY_ADDRESS.scan(book.tx, book.partition, address_hash, limit=most))
    if live < most:
        return
    # More may be there than ``most``, where the setting was lowered.
    live = sum(1 for _ in LIVE_BY_ADDRESS.scan(book.tx, book.partition, address_hash))
    overdue = (
        book.entry(entry_id_of(key)) for _, key in DUE_ENTRIES.until(book.tx, book.partition, book.now_ms)
    )
    if live - sum(entry.address_hash == address_hash for entry in overdue) < most:
        return
    raise Refusal(
        ErrorCode.RATE_LIMITED,
        "Too many places of this event are held from your address.",
        details={"reason": ADDRESS_ENTRIES, "limit": most, "retry_after_seconds": ADDRESS_RETRY_SECONDS},
        retry_after_seconds=ADDRESS_RETRY_SECONDS,
    )


# --- holds that ran out ---------------------------------------------------------------------------------------------


def note_lapse(tx: Transaction, event_id: EventId, hold: ReservationRecord, limits: LapseLimits) -> None:
    """Remembers that a hold ran out; a subject that has reached its limit within the window cools down from now on.

    A hold that is ``excused`` counts for nobody.
    """
    partition = event_partition(event_id)
    entry = None if hold.excused else ENTRIES.get(tx, partition, hold.entry_id)
    if entry is None:
        return
    for subject, most in _subjects(entry, limits):
        before = LAPSES.get(tx, partition, subject)
        recent = () if before is None else before.lapsed_at_ms
        times = (*(at_ms for at_ms in recent if at_ms > tx.now_ms - limits.window_ms), tx.now_ms)[-most:]
        until_ms = 0 if before is None else before.cooldown_until_ms
        if len(times) >= most:
            until_ms = tx.now_ms + limits.cooldown_ms
        after = LapseRecord(
            lapsed_at_ms=times,
            cooldown_until_ms=until_ms,
            forget_at_ms=max(tx.now_ms + limits.window_ms, until_ms),
        )
        _write(tx, event_id, subject, before, after)


def check_cooldown(
    reader: Reader, event_id: EventId, entry: EntryRecord, limits: LapseLimits, now_ms: int
) -> None:
    """Refuses RATE_LIMITED with ``reason`` LAPSED_HOLDS while the buyer of an entry, its device or its address cools
    down; Retry-After is when that is over."""
    until_ms = 0
    for subject, _ in _subjects(entry, limits):
        record = LAPSES.get(reader, event_partition(event_id), subject)
        until_ms = max(until_ms, 0 if record is None else record.cooldown_until_ms)
    if until_ms <= now_ms:
        return
    seconds = -(-(until_ms - now_ms) // 1000)
    raise Refusal(
        ErrorCode.RATE_LIMITED,
        "Too many of your reservations ran out unpaid; please wait before the next.",
        details={"reason": LAPSED_HOLDS, "retry_after_seconds": seconds},
        retry_after_seconds=seconds,
    )


def forgive_lapses(tx: Transaction, event_id: EventId, entry_id: EntryId) -> None:
    """An order was placed from this entry: its buyer and its device begin anew; its address, which others share, has
    its oldest lapse forgotten, which takes it below its limit and ends its cool-down."""
    partition = event_partition(event_id)
    entry = ENTRIES.get(tx, partition, entry_id)
    if entry is None:
        return
    for subject in (subject_of(b"user", entry.user_id.bytes), subject_of(b"device", entry.device_hash)):
        record = LAPSES.get(tx, partition, subject)
        if record is not None:
            _write(tx, event_id, subject, record, None)
    if entry.address_hash is None:
        return
    subject = subject_of(b"address", entry.address_hash)
    record = LAPSES.get(tx, partition, subject)
    if record is not None:
        left = record.lapsed_at_ms[1:]
        kept = replace(record, lapsed_at_ms=left, cooldown_until_ms=0) if left else None
        _write(tx, event_id, subject, record, kept)


def forget_lapses(tx: Transaction, event_id: EventId, limit: int) -> int:
    """Forgets at most ``limit`` subjects whose window is over; returns how many."""
    partition = event_partition(event_id)
    over = list(LAPSES_DUE.until(tx, partition, tx.now_ms, limit))
    for forget_at_ms, subject in over:
        LAPSES.delete(tx, partition, subject)
        LAPSES_DUE.remove(tx, partition, forget_at_ms, subject)
    return len(over)


def lapses_are_due(reader: Reader, event_id: EventId, now_ms: int) -> bool:
    """Whether there is anything to forget."""
    return next(LAPSES_DUE.until(reader, event_partition(event_id), now_ms, 1), None) is not None


def count_cooldowns(reader: Reader, event_id: EventId, now_ms: int) -> int:
    """How many subjects cool down, among the first 5,000 that are remembered."""
    records = LAPSES.scan(reader, event_partition(event_id), limit=MOST_COUNTED)
    return sum(record.cooldown_until_ms > now_ms for _, record in records)


def _subjects(entry: EntryRecord, limits: LapseLimits) -> Iterator[tuple[bytes, int]]:
    """Who is counted for an entry, each with its limit."""
    if limits.cooldown_ms == 0:
        return
    if limits.holds:
        yield subject_of(b"user", entry.user_id.bytes), limits.holds
        yield subject_of(b"device", entry.device_hash), limits.holds
    if limits.holds_per_address and entry.address_hash is not None:
        yield subject_of(b"address", entry.address_hash), limits.holds_per_address


@functools.lru_cache(maxsize=SUBJECTS_KEPT)
def subject_of(kind: bytes, name: bytes) -> bytes:
    """The 16 bytes that stand for a buyer, a device or an address; those of the latest are remembered."""
    return hashlib.sha256(kind + b"\x00" + name).digest()[:SUBJECT_BYTES]


def _write(
    tx: Transaction, event_id: EventId, subject: bytes, before: LapseRecord | None, after: LapseRecord | None
) -> None:
    partition = event_partition(event_id)
    if before is not None:
        LAPSES_DUE.remove(tx, partition, before.forget_at_ms, subject)
    if after is None:
        LAPSES.delete(tx, partition, subject)
        return
    LAPSES.put(tx, after, partition, subject)
    LAPSES_DUE.add(tx, partition, after.forget_at_ms, subject)
