"""Invariants of a partition's change log: versions without a gap, in the order of time, each about its own event.

The log also tells what happened under the settings that stand now: a limit may have been lowered since, and what it
allowed before is no fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import msgspec

from storage.change_log import log_key
from storage.engine import Partition, Reader
from storage.keys import MAX_INT
from storage.schema.events import (
    EVENT_CODEC,
    EntryMoved,
    EventDeleted,
    EventPut,
    KeysChanged,
    RoomChanged,
    SeatsMoved,
)
from storage.schema.ids import UserId
from storage.schema.layout import event_of
from storage.schema.states import EntryState, SeatState
from storage.verify.problem import Problem

_SCHEMA = b"\x01"
_VERSION_BYTES = 8
_entry_decoder = msgspec.msgpack.Decoder(tuple[int, bytes])


class LogUnreadable(Exception):
    """An entry of a change log is damaged, or of a newer release."""


class LogEntry(msgspec.Struct, frozen=True):
    """One entry: its version, the time of its commit, and what happened."""

    version: int
    at_ms: int
    event: object


def check_change_log(
    reader: Reader, partition: Partition, where: str, newest_commit_ms: int
) -> Iterator[Problem]:
    """Versions rise by one up to the newest, times never fall and are not after the newest commit, and every entry is
    about the event in whose log it stands."""
    newest = _newest_version(reader, partition)
    before: LogEntry | None = None
    try:
        for entry in log_entries(reader, partition):
            at = f"{where}, change {entry.version}"
            if before is not None and entry.version != before.version + 1:
                text = f"it follows change {before.version}"
                yield Problem(invariant="change-log-dense", where=at, text=text)
            if entry.at_ms > newest_commit_ms or (before is not None and entry.at_ms < before.at_ms):
                text = "its time is before that of an earlier change, or after the newest commit"
                yield Problem(invariant="change-log-in-order", where=at, text=text)
            if not _belongs(entry.event, partition):
                text = f"{type(entry.event).__name__} is of another partition"
                yield Problem(invariant="change-log-own-event", where=at, text=text)
            before = entry
    except LogUnreadable as error:
        yield Problem(invariant="change-log-readable", where=where, text=str(error))
        return
    if newest is None or (before is not None and before.version != newest):
        last = "none" if before is None else before.version
        text = f"its newest version is said to be {newest}, the last change is {last}"
        yield Problem(invariant="change-log-dense", where=where, text=text)


def log_entries(reader: Reader, partition: Partition) -> Iterator[LogEntry]:
    """The entries of the log, oldest first. Raises LogUnreadable at the first that cannot be read."""
    for key, value in reader.scan(log_key(partition, 1), log_key(partition, MAX_INT)):
        version = int.from_bytes(key[-_VERSION_BYTES:], "big")
        if value[:1] != _SCHEMA:
            raise LogUnreadable(f"change {version} has a form that this release does not know")
        try:
            at_ms, event = _entry_decoder.decode(value[1:])
            yield LogEntry(version, at_ms, EVENT_CODEC.decode(event))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise LogUnreadable(f"change {version} cannot be read: {error}") from error


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What happened since an event's settings last changed, as far back as its log goes: whose holds were made, and how
    many were let in."""

    buyers: frozenset[UserId] = frozenset()
    admissions: int = 0

    @staticmethod
    def of(reader: Reader, partition: Partition) -> History:
        """The history of an event; an empty one if its log cannot be read."""
        buyers: set[UserId] = set()
        admissions = 0
        try:
            for entry in log_entries(reader, partition):
                match entry.event:
                    case EventPut() | EventDeleted():
                        buyers.clear()
                        admissions = 0
                    case RoomChanged():
                        admissions = 0
                    case SeatsMoved(state=SeatState.RESERVED, user_id=buyer) if buyer is not None:
                        buyers.add(buyer)
                    case EntryMoved(after=EntryState.READY):
                        admissions += 1
                    case _:
                        pass
        except LogUnreadable:
            return History()
        return History(buyers=frozenset(buyers), admissions=admissions)


def _newest_version(reader: Reader, partition: Partition) -> int | None:
    """The newest version as it is kept, 0 if none is; None if it has no readable form."""
    stored = reader.get(log_key(partition, 0))
    if stored is None:
        return 0
    return int.from_bytes(stored, "big") if len(stored) == _VERSION_BYTES else None


def _belongs(event: object, partition: Partition) -> bool:
    of_event = event_of(partition)
    if of_event is None:
        return isinstance(event, KeysChanged)
    event_id: UUID | None = getattr(event, "event_id", None)
    return event_id == of_event
