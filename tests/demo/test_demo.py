"""The events that a demonstration brings along."""

from __future__ import annotations

from importlib.resources import files

import pytest

from ticketd.demo.demo import EVENT_FILES, upcoming
from ticketd.event_file.parse import parse_event_file
from ticketd.event_file.plan import EventPlan

DAY_MS = 86_400_000
YEAR_MS = 364 * DAY_MS


def plan_of(name: str) -> EventPlan:
    return parse_event_file(files("ticketd.demo").joinpath(name).read_bytes())


@pytest.mark.parametrize("name", EVENT_FILES)
@pytest.mark.parametrize("years", [0, 1, 2, 10])
def test_an_event_is_always_ahead_and_keeps_its_weekday(name: str, years: int) -> None:
    plan = plan_of(name)
    for now_ms in (
        plan.date_ms - 30 * DAY_MS + years * YEAR_MS + offset for offset in (-1, 0, 1, DAY_MS, 29 * DAY_MS)
    ):
        moved = upcoming(plan, now_ms)
        ahead = moved.date_ms - now_ms
        assert 30 * DAY_MS <= ahead < 30 * DAY_MS + YEAR_MS or moved == plan
        assert (moved.date_ms - plan.date_ms) % (7 * DAY_MS) == 0
        assert moved.event_id == plan.event_id
        assert moved.general_sale_start_ms == plan.general_sale_start_ms


@pytest.mark.parametrize("name", EVENT_FILES)
def test_an_event_far_ahead_is_left_as_its_file_says(name: str) -> None:
    plan = plan_of(name)
    assert upcoming(plan, plan.date_ms - 30 * DAY_MS) == plan
    assert upcoming(plan, plan.date_ms - 30 * DAY_MS + 1) != plan


def test_all_its_times_move_together() -> None:
    plan = plan_of("club.json")
    assert plan.doors_open_ms is not None
    assert plan.refundable_until_ms is not None
    moved = upcoming(plan, plan.date_ms)
    assert moved.date_ms - (moved.doors_open_ms or 0) == plan.date_ms - plan.doors_open_ms
    assert moved.date_ms - (moved.refundable_until_ms or 0) == plan.date_ms - plan.refundable_until_ms
    assert moved.sale_end_ms is None
