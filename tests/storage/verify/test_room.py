"""Faults planted in the waiting room."""

from __future__ import annotations

from uuid import uuid4

import msgspec
import pytest

from storage.schema.ids import EntryId
from storage.schema.layout import (
    ADMISSIONS,
    DUE_ENTRIES,
    ENTRIES,
    LINE,
    LIVE_BY_DEVICE,
    LIVE_BY_USER,
    ROOM,
    SALE,
)
from storage.schema.records import EntryRecord, RoomRecord
from storage.schema.states import EntryState
from tests.storage.verify.good_store import Damage


def entry_in(damage: Damage, state: EntryState) -> EntryRecord:
    return damage.find(ENTRIES, state=state)


def room_of(damage: Damage) -> RoomRecord:
    room = ROOM.get(damage.tx, damage.event)
    assert room is not None
    return room


@pytest.mark.parametrize(
    ("state", "fields"),
    [
        (EntryState.QUEUED, {"ended_at_ms": 1}),
        (EntryState.DONE, {"ended_at_ms": None}),
        (EntryState.LEFT, {"due_at_ms": 1}),
        (EntryState.SHOPPING, {"admitted_at_ms": None}),
        (EntryState.SHOPPING, {"access_kid": None}),
        (EntryState.SHOPPING, {"access_issued_at_ms": None}),
    ],
)
def test_a_place_that_does_not_fit_its_state(
    damage: Damage, state: EntryState, fields: dict[str, object]
) -> None:
    damage.change(ENTRIES, entry_in(damage, state).entry_id, **fields)
    assert damage.found() == ["entry-fits-state"]


def test_a_place_whose_number_was_never_given(damage: Damage) -> None:
    damage.change(ENTRIES, entry_in(damage, EntryState.DONE).entry_id, seq=room_of(damage).next_seq)
    assert damage.found() == ["entry-seq-given"]


@pytest.mark.parametrize("counter", ["waiting", "lobby", "active"])
def test_a_counter_of_the_room_that_is_off(damage: Damage, counter: str) -> None:
    room = room_of(damage)
    ROOM.put(damage.tx, msgspec.structs.replace(room, **{counter: getattr(room, counter) + 1}), damage.event)
    assert damage.found() == ["room-equals-recount"]


def test_one_who_waits_and_does_not_stand_in_the_line(damage: Damage) -> None:
    LINE.delete(damage.tx, damage.event, entry_in(damage, EntryState.QUEUED).seq)
    assert damage.found() == ["line"]


def test_one_who_stands_in_the_line_and_does_not_wait(damage: Damage) -> None:
    LINE.put(damage.tx, entry_in(damage, EntryState.LEFT).entry_id, damage.event, 99)
    assert damage.found() == ["line"]


def test_a_live_place_that_its_user_does_not_find(damage: Damage) -> None:
    LIVE_BY_USER.delete(damage.tx, damage.event, entry_in(damage, EntryState.QUEUED).user_id)
    assert damage.found() == ["live-by-user"]


def test_an_ended_place_that_its_user_finds(damage: Damage) -> None:
    left = entry_in(damage, EntryState.LEFT)
    LIVE_BY_USER.put(damage.tx, left.entry_id, damage.event, left.user_id)
    assert damage.found() == ["live-by-user"]


def test_two_live_places_of_one_user(damage: Damage) -> None:
    queued = entry_in(damage, EntryState.QUEUED)
    twin = msgspec.structs.replace(queued, entry_id=EntryId(uuid4()), seq=room_of(damage).next_seq)
    ENTRIES.put(damage.tx, twin, damage.event, twin.entry_id)
    LINE.put(damage.tx, twin.entry_id, damage.event, twin.seq)
    LIVE_BY_DEVICE.add(damage.tx, damage.event, twin.device_hash, twin.entry_id)
    damage.change(ROOM, waiting=room_of(damage).waiting + 1, next_seq=twin.seq + 1)
    assert damage.found() == ["live-by-user"]


def test_a_live_place_that_its_device_does_not_find(damage: Damage) -> None:
    queued = entry_in(damage, EntryState.QUEUED)
    LIVE_BY_DEVICE.remove(damage.tx, damage.event, queued.device_hash, queued.entry_id)
    assert damage.found() == ["live-by-device"]


def test_an_ended_place_that_its_device_finds(damage: Damage) -> None:
    left = entry_in(damage, EntryState.LEFT)
    LIVE_BY_DEVICE.add(damage.tx, damage.event, left.device_hash, left.entry_id)
    assert damage.found() == ["live-by-device"]


def test_one_who_shops_and_never_lapses(damage: Damage) -> None:
    shopping = entry_in(damage, EntryState.SHOPPING)
    assert shopping.due_at_ms is not None
    DUE_ENTRIES.remove(damage.tx, damage.event, shopping.due_at_ms, shopping.entry_id)
    assert damage.found() == ["due-entries"]


def test_one_who_waits_and_lapses(damage: Damage) -> None:
    DUE_ENTRIES.add(damage.tx, damage.event, 1, entry_in(damage, EntryState.QUEUED).entry_id)
    assert damage.found() == ["due-entries"]


def test_an_admission_that_was_not_counted(damage: Damage) -> None:
    admitted = room_of(damage).admitted
    latest = ADMISSIONS.get(damage.tx, damage.event, admitted)
    assert latest is not None
    ADMISSIONS.put(damage.tx, latest, damage.event, admitted + 1)
    assert damage.found() == ["admissions-kept"]


def test_an_admission_that_is_missing_between_others(damage: Damage) -> None:
    ADMISSIONS.delete(damage.tx, damage.event, room_of(damage).admitted - 1)
    assert damage.found() == ["admissions-kept"]


def test_old_admissions_may_be_forgotten(damage: Damage) -> None:
    ADMISSIONS.delete(damage.tx, damage.event, 1)
    assert damage.found() == []


def test_admissions_out_of_order(damage: Damage) -> None:
    ADMISSIONS.put(damage.tx, 1, damage.event, room_of(damage).admitted)
    assert damage.found() == ["admissions-in-order"]


@pytest.mark.parametrize(("apart_ms", "found"), [(60_000, []), (59_999, ["admissions-within-rate"])])
def test_more_let_in_within_a_minute_than_the_rate_allows(
    damage: Damage, apart_ms: int, found: list[str]
) -> None:
    """The sale let in six; here the last came in so long after the second, where four a minute are allowed."""
    sale = SALE.get(damage.tx, damage.event)
    assert sale is not None
    assert room_of(damage).admitted == 6
    second = ADMISSIONS.get(damage.tx, damage.event, 2)
    assert second is not None
    ADMISSIONS.put(damage.tx, second + apart_ms, damage.event, 6)
    damage.change(SALE, room=msgspec.structs.replace(sale.room, admit_per_minute=4))
    assert damage.found() == found


@pytest.mark.parametrize(("max_active", "found"), [(4, []), (2, ["active-within-limit"])])
def test_more_shoppers_than_are_allowed(damage: Damage, max_active: int, found: list[str]) -> None:
    """Three shop, as many as are allowed; nothing tells that an operator lowered that since the last was let in."""
    sale = SALE.get(damage.tx, damage.event)
    assert sale is not None
    damage.change(SALE, room=msgspec.structs.replace(sale.room, max_active=max_active))
    assert damage.found() == found


def test_a_room_that_is_disabled_has_no_limits(damage: Damage) -> None:
    sale = SALE.get(damage.tx, damage.event)
    assert sale is not None
    settings = msgspec.structs.replace(sale.room, max_active=1, admit_per_minute=1, enabled=False)
    damage.change(SALE, room=settings)
    assert damage.found() == []
