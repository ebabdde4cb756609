"""Faults planted in an event's plan."""

from __future__ import annotations

from uuid import UUID

import msgspec
import pytest

from storage.schema.ids import RowKey
from storage.schema.layout import EVENT, EVENT_IDS, OPENINGS, ROW_PLANS, SALE, SECTIONS, SYSTEM, TOTAL
from storage.schema.tables import Table
from tests.storage.verify.good_store import Damage

OTHER_EVENT = UUID(int=0xBAD)


@pytest.mark.parametrize("table", [EVENT, SALE, TOTAL], ids=["event", "sale", "total"])
def test_an_event_that_is_not_whole(damage: Damage, table: Table[msgspec.Struct]) -> None:
    table.delete(damage.tx, damage.event)
    assert damage.counted()["event-is-whole"] == 1


def test_an_event_with_the_record_of_another(damage: Damage) -> None:
    damage.change(EVENT, event_id=OTHER_EVENT)
    assert damage.found() == ["event-is-whole"]


def test_an_event_that_is_not_listed(damage: Damage) -> None:
    EVENT_IDS.remove(damage.tx, SYSTEM, damage.event_id)
    assert damage.found() == ["event-is-listed"]


@pytest.mark.parametrize("keys", [(0,), (0, 1, 1), (0, 1, 2)])
def test_sections_that_are_not_those_listed(damage: Damage, keys: tuple[int, ...]) -> None:
    damage.change(EVENT, section_keys=keys)
    assert damage.found() == ["plan-agrees"]


@pytest.mark.parametrize("fields", [{"next_section_key": 1}, {"next_row_key": 3}])
def test_a_key_that_is_yet_to_be_given(damage: Damage, fields: dict[str, int]) -> None:
    damage.change(EVENT, **fields)
    assert damage.found() == ["plan-agrees"]


def test_a_section_that_lists_a_row_that_is_not_there(damage: Damage) -> None:
    section = SECTIONS.get(damage.tx, damage.event, 1)
    assert section is not None
    damage.change(SECTIONS, 1, row_keys=(*section.row_keys, RowKey(9)))
    assert damage.counted()["plan-agrees"] == 1


def test_a_row_that_says_another_place(damage: Damage) -> None:
    damage.change(ROW_PLANS, 2, place=5)
    assert damage.found() == ["plan-agrees"]


@pytest.mark.parametrize("position", [0, 10])
def test_a_seat_at_a_position_that_is_not_its_own(damage: Damage, position: int) -> None:
    plan = ROW_PLANS.get(damage.tx, damage.event, 2)
    assert plan is not None
    moved = msgspec.structs.replace(plan.seats[-1], position=position)
    damage.change(ROW_PLANS, 2, seats=(*plan.seats[:-1], moved))
    assert damage.found() == ["seat-positions"]


def test_a_seat_of_a_tier_that_is_not_there(damage: Damage) -> None:
    plan = ROW_PLANS.get(damage.tx, damage.event, 2)
    assert plan is not None
    damage.change(ROW_PLANS, 2, seats=tuple(msgspec.structs.replace(seat, tier=2) for seat in plan.seats))
    assert damage.counted()["seat-tiers"] == 1


def test_openings_that_are_not_those_of_the_rows(damage: Damage) -> None:
    packed = OPENINGS.get(damage.tx, damage.event, 0)
    assert packed is not None
    OPENINGS.put(damage.tx, packed[:-1] + bytes([packed[-1] ^ 4]), damage.event, 0)
    assert damage.found() == ["openings-equal-recount"]


def test_openings_of_a_section_that_is_not_there(damage: Damage) -> None:
    OPENINGS.put(damage.tx, b"", damage.event, 9)
    assert damage.found() == ["openings-equal-recount"]


def test_openings_that_are_missing(damage: Damage) -> None:
    OPENINGS.delete(damage.tx, damage.event, 0)
    assert damage.found() == ["openings-equal-recount"]
