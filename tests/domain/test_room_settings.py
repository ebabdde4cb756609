from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from tests.domain.inventory_stage import EVENT_ID, Stage, inventory, rich_plan
from ticketd.domain.events import PutOutcome, event_plan
from ticketd.domain.rooms import SetRoom, set_room
from ticketd.domain.sales import load_sale
from ticketd.event_file.plan import EventPlan


def room_now(stage: Stage) -> tuple[int, int, int]:
    room = stage.read(lambda reader: load_sale(reader, EVENT_ID)).room
    return room.max_active, room.admit_per_minute, room.capacity


def plan_now(stage: Stage) -> EventPlan:
    return stage.read(lambda reader: event_plan(reader, EVENT_ID))


async def set_room_to(
    stage: Stage,
    max_active: int | None = None,
    admit_per_minute: int | None = None,
    capacity: int | None = None,
) -> None:
    command = SetRoom(
        event_id=EVENT_ID, max_active=max_active, admit_per_minute=admit_per_minute, capacity=capacity
    )
    await stage.run(lambda tx: set_room(tx, command))


async def test_an_import_of_the_same_file_leaves_what_an_operator_has_set(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(rich_plan())
        await set_room_to(stage, max_active=40, admit_per_minute=30, capacity=50)
        assert plan_now(stage) == rich_plan()
        before = stage.everything()
        for plan in (rich_plan(), plan_now(stage)):
            assert (await stage.put(plan)).outcome is PutOutcome.UNCHANGED
        assert stage.everything() == before
        assert room_now(stage) == (40, 30, 50)


async def test_what_a_file_says_anew_of_the_room_is_in_force_and_nothing_else(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(rich_plan())
        await set_room_to(stage, max_active=40, admit_per_minute=30, capacity=50)
        room = rich_plan().room
        for changes, in_force in (
            ({"name": "Another Night"}, (40, 30, 50)),
            ({"room": replace(room, claim_seconds=7)}, (40, 30, 50)),
            ({"room": replace(room, max_active=9, claim_seconds=7)}, (9, 30, 50)),
            ({"room": replace(room, max_active=9, admit_per_minute=8, capacity=7)}, (9, 8, 7)),
            ({"room": room}, (4, 3, 5)),
        ):
            changed = replace(rich_plan(), **changes)
            assert (await stage.put(changed)).outcome is PutOutcome.REPLACED
            assert room_now(stage) == in_force
            assert plan_now(stage) == changed
            assert (await stage.put(changed)).outcome is PutOutcome.UNCHANGED
        sale = stage.read(lambda reader: load_sale(reader, EVENT_ID))
        assert sale.room_as_planned is None, "nothing is kept of what was set"


async def test_a_file_that_comes_to_say_what_was_set_takes_it_over(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(rich_plan())
        await set_room_to(stage, capacity=50)
        await stage.put(rich_plan_with_capacity(50))
        assert room_now(stage)[2] == 50
        await stage.put(rich_plan_with_capacity(6))
        assert room_now(stage)[2] == 6


def rich_plan_with_capacity(capacity: int) -> EventPlan:
    return replace(rich_plan(), room=replace(rich_plan().room, capacity=capacity))
