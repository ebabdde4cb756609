"""Faults planted in the change log, and what it tells of limits that were changed."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import msgspec
import pytest

from storage.change_log import log_key, read_version, stage_changes, trim_changes
from storage.engine import Transaction
from storage.schema.events import EVENT_CODEC, EventPut, RoomChanged
from storage.schema.ids import EventId
from storage.schema.layout import SALE, SYSTEM
from tests.storage.verify.good_store import Damage

OTHER_EVENT = EventId(UUID(int=0xBAD))


def emit(damage: Damage, event: object) -> None:
    stage_changes(damage.tx, [(damage.event, event)], EVENT_CODEC)


def entry(at_ms: int, event: object) -> bytes:
    return b"\x01" + msgspec.msgpack.encode((at_ms, EVENT_CODEC.encode(event)))


def newest(damage: Damage) -> int:
    return read_version(damage.tx, damage.event)


def stored_at_ms(damage: Damage, version: int) -> int:
    stored = damage.tx.get(log_key(damage.event, version))
    assert stored is not None
    return msgspec.msgpack.decode(stored[1:], type=tuple[int, bytes])[0]


def test_a_change_that_is_missing(damage: Damage) -> None:
    damage.tx.delete(log_key(damage.event, 5))
    assert damage.found() == ["change-log-dense"]


def test_the_newest_change_is_missing(damage: Damage) -> None:
    damage.tx.delete(log_key(damage.event, newest(damage)))
    assert damage.found() == ["change-log-dense"]


def test_changes_without_the_newest_version(damage: Damage) -> None:
    damage.tx.delete(log_key(damage.event, 0))
    assert damage.found() == ["change-log-dense"]


def test_a_newest_version_that_is_no_number(damage: Damage) -> None:
    damage.tx.put(log_key(SYSTEM, 0), b"\x01")
    assert damage.found() == ["change-log-dense"]


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_a_log_that_was_trimmed(damage: Damage, limit: int) -> None:
    trim_changes(damage.event, 2**60, limit).run(damage.tx)
    assert damage.found() == []


@pytest.mark.parametrize(
    "value", [b"", b"\x02", b"\x01\x00", b"\x01\x92\x01\xc4\x01\xff", b"\x01\x92\x01\xa0"]
)
def test_a_change_that_cannot_be_read(damage: Damage, value: bytes) -> None:
    damage.tx.put(log_key(damage.event, 5), value)
    assert damage.found() == ["change-log-readable"]


def test_a_change_from_before_an_earlier_one(damage: Damage) -> None:
    last = newest(damage)
    at_ms = stored_at_ms(damage, last - 1) - 1
    damage.tx.put(log_key(damage.event, last), entry(at_ms, EventPut(event_id=damage.event_id)))
    assert damage.found() == ["change-log-in-order"]


def test_a_change_from_after_the_newest_commit(damage: Damage) -> None:
    damage.tx.put(log_key(damage.event, newest(damage)), entry(2**60, EventPut(event_id=damage.event_id)))
    assert damage.found() == ["change-log-in-order"]


def test_a_change_of_another_event(damage: Damage) -> None:
    last = newest(damage)
    changed = entry(stored_at_ms(damage, last), EventPut(event_id=OTHER_EVENT))
    damage.tx.put(log_key(damage.event, last), changed)
    assert damage.found() == ["change-log-own-event"]


def test_a_change_of_an_event_in_the_systems_log(damage: Damage) -> None:
    changed = entry(1, EventPut(event_id=OTHER_EVENT))
    damage.tx.put(log_key(SYSTEM, read_version(damage.tx, SYSTEM)), changed)
    assert damage.found() == ["change-log-in-order", "change-log-own-event"]


def lower_limits(damage: Damage) -> None:
    sale = SALE.get(damage.tx, damage.event)
    assert sale is not None
    room = msgspec.structs.replace(sale.room, max_active=1, admit_per_minute=1)
    damage.change(SALE, room=room, purchase_limit=1)


LIMITS = {"purchase-limit", "active-within-limit", "admissions-within-rate"}


@pytest.mark.parametrize(
    ("event", "found"),
    [(None, LIMITS), (EventPut, set()), (RoomChanged, {"purchase-limit"})],
    ids=["not told", "event put", "room changed"],
)
def test_limits_that_were_lowered_bind_nobody_from_before(
    damage: Damage, event: Callable[..., object] | None, found: set[str]
) -> None:
    lower_limits(damage)
    if event is not None:
        emit_now(damage, event(event_id=damage.event_id))
    assert set(damage.found()) == found


def test_a_log_that_was_trimmed_tells_nothing_of_limits(damage: Damage) -> None:
    lower_limits(damage)
    trim_changes(damage.event, 2**60, 1000).run(damage.tx)
    assert damage.found() == []


def emit_now(damage: Damage, event: object) -> None:
    """Adds a change at the time of the newest one, as one of the same commit."""
    at_ms, version = stored_at_ms(damage, newest(damage)), newest(damage) + 1
    tx: Transaction = damage.tx
    tx.put(log_key(damage.event, version), entry(at_ms, event))
    tx.put(log_key(damage.event, 0), version.to_bytes(8, "big"))
