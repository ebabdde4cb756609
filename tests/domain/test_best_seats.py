from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from storage.engine import Reader
from storage.schema.ids import RowKey, SeatNumber
from storage.schema.records import RowPlanRecord, RowRecord, SeatPlanRecord
from storage.schema.states import SeatState
from tests.domain.inventory_stage import OPENS_MS, Hall, Stage, inventory, make_plan
from tests.domain.refusals import refused
from ticketd.domain.best_seats import (
    best_block,
    best_in_section,
    openings_of,
    pack_openings,
    unpack_openings,
)
from ticketd.domain.seat_rows import RowShape, SeatRow
from ticketd.errors import ErrorCode

FREE, TAKEN = SeatState.AVAILABLE, SeatState.SOLD

Line = list[tuple[bool, int]]
"""A row as the naive model has it: for each seat, whether it is free, and its tier."""


def make_row(line: Line, key: int = 0, shuffle: random.Random | None = None) -> SeatRow:
    """The row as the product has it; with ``shuffle``, its seats at mixed positions with gaps between them."""
    slots = list(range(len(line) if shuffle is None else 2 * len(line) + 1))
    positions = slots if shuffle is None else shuffle.sample(slots, len(line))
    states, seats = bytearray(len(slots)), []
    for number, ((free, tier), position) in enumerate(zip(line, positions, strict=True)):
        states[position] = FREE if free else TAKEN
        seats.append(SeatPlanRecord(number=str(number), position=position, tier=tier))
    plan = RowPlanRecord(section_key=0, label=str(key), place=key, slots=len(slots), seats=tuple(seats))
    return SeatRow(RowKey(key), RowShape(plan), RowRecord(states=bytes(states), owners={}))


def naive_best(lines: list[Line], quantity: int, tier: int | None) -> tuple[int, list[int]] | None:
    """The row and the seats, found by trying all and looking at who stands alone before and after."""

    def alone(line: list[bool]) -> int:
        padded = [False, *line, False]
        return sum(padded[i] and not padded[i - 1] and not padded[i + 1] for i in range(1, len(padded) - 1))

    ranked = []
    for at, line in enumerate(lines):
        free = [is_free for is_free, _ in line]
        for start in range(len(line) - quantity + 1):
            block = range(start, start + quantity)
            if not all(free[i] and tier in {None, line[i][1]} for i in block):
                continue
            left = [is_free and i not in block for i, is_free in enumerate(free)]
            # A seat that stood alone before and is taken now must not count in the block's favour.
            before = [i for i in range(len(free)) if free[i] and alone_at(free, i) and i not in block]
            lone = alone(left) - len(before)
            middle = abs((start + start + quantity - 1) / 2 - (len(line) - 1) / 2)
            ranked.append((lone, at, middle, start))
    if not ranked:
        return None
    _, at, _, start = min(ranked)
    return at, list(range(start, start + quantity))


def alone_at(free: list[bool], i: int) -> bool:
    return not (i > 0 and free[i - 1]) and not (i + 1 < len(free) and free[i + 1])


def product_best(rows: list[SeatRow], quantity: int, tier: int | None) -> tuple[int, list[int]] | None:
    openings = unpack_openings(pack_openings(map(openings_of, rows)))
    found = best_in_section(openings, rows.__getitem__, quantity, tier)
    if found is None:
        return None
    place, positions = found
    return place, [list(rows[place].order).index(position) for position in positions]


SECTIONS = st.lists(
    st.lists(st.tuples(st.booleans(), st.integers(0, 1)), min_size=1, max_size=24), min_size=1, max_size=5
)


@given(SECTIONS, st.integers(1, 9), st.sampled_from([None, 0, 1]), st.integers(0, 10))
@example([[(True, 0)] * 3, [(True, 0)] * 4], 2, None, 0)
@example([[(True, 0)] * 3, [(True, 1)] * 3], 2, 1, 0)
@example([[(True, 0)] * 3, [(True, 0)] * 3], 2, 0, 0)
@example([[(True, 1), (True, 0), (True, 0), (True, 1)], [(True, 0)] * 3], 2, 0, 0)
def test_the_best_block_is_the_one_that_trying_all_finds(
    lines: list[Line], quantity: int, tier: int | None, seed: int
) -> None:
    wanted = naive_best(lines, quantity, tier)
    assert product_best([make_row(line, at) for at, line in enumerate(lines)], quantity, tier) == wanted
    shuffle = random.Random(seed)
    mixed = [make_row(line, at, shuffle) for at, line in enumerate(lines)]
    assert product_best(mixed, quantity, tier) == wanted


@pytest.mark.parametrize("quantity", range(11, 20))
@pytest.mark.parametrize("seed", range(8))
def test_long_blocks_are_found_where_the_openings_say_15_and_more(quantity: int, seed: int) -> None:
    rng = random.Random(1000 * quantity + seed)
    lines = [
        [(at >= rng.randrange(4) and rng.random() < 0.97, 0) for at in range(quantity + rng.randrange(12))]
        for _ in range(6)
    ]
    rows = [make_row(line, at) for at, line in enumerate(lines)]
    assert product_best(rows, quantity, None) == naive_best(lines, quantity, None)


@pytest.mark.parametrize(
    ("free", "quantity", "start"),
    [
        ("......", 2, 2),  # the middle
        (".....", 2, 0),  # off the middle, since there each place leaves a seat alone on one side
        (".......", 3, 2),
        ("...", 2, 0),  # no choice: the earlier of two
        ("..", 2, 0),
        ("x.x..x", 1, 1),  # a seat that stands alone already is the best for one
        ("x..x", 1, 1),
        ("....", 1, 0),
        ("x.xx", 2, None),
        ("....", 5, None),
    ],
)
def test_the_block_of_a_row(free: str, quantity: int, start: int | None) -> None:
    line = bytes(seat == "." for seat in free)
    block = best_block(line, line, quantity)
    assert (None if block is None else block.start) == start


@pytest.mark.parametrize(
    ("states", "word"),
    [
        ("x", 0),
        (".", 1 << 1),
        (".x..x.", 1 << 1 | 1 << 2),
        ("." * 14, 1 << 14),
        ("." * 15, 1 << 15),
        ("." * 16 + "x.", 1 << 15 | 1 << 1),
    ],
)
def test_the_openings_of_a_row(states: str, word: int) -> None:
    assert openings_of(make_row([(seat == ".", 0) for seat in states])) == word


# --- over the sections of an event ----------------------------------------------------------------------------------


def names(stage: Stage, seats: tuple[SeatNumber, ...]) -> list[str]:
    def read(reader: Reader) -> list[str]:
        by_number = {seat: name for name, seat in stage.all_seats(reader).items()}
        return [by_number[seat] for seat in seats]

    return stage.read(read)


TWO_SECTIONS: Hall = {"Floor": {"A": 3, "B": 4}, "Balcony": {"A": 5, "B": [("1", 1), ("2", 1), ("3", 2)]}}


async def test_sections_come_in_order_and_a_lone_seat_is_avoided_within_the_section(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan(TWO_SECTIONS))
        taken = [names(stage, (await stage.best(user, 2)).seats) for user in range(4)]
        assert taken == [
            ["Floor/B/1", "Floor/B/2"],
            ["Floor/B/3", "Floor/B/4"],
            ["Floor/A/1", "Floor/A/2"],
            ["Balcony/A/1", "Balcony/A/2"],
        ]
        stage.recount()


async def test_a_section_or_a_tier_can_be_asked_for(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan(TWO_SECTIONS))
        of_section = await stage.best(1, 2, section="Balcony")
        assert names(stage, of_section.seats) == ["Balcony/A/1", "Balcony/A/2"]
        of_tier = await stage.best(2, 1, tier=2)
        assert names(stage, of_tier.seats) == ["Balcony/B/3"]
        assert of_tier.prices == ((9_999, 0),)
        of_both = await stage.best(3, 3, section="Balcony", tier=1)
        assert names(stage, of_both.seats) == ["Balcony/A/3", "Balcony/A/4", "Balcony/A/5"]
        refusal = await refused(ErrorCode.SEATS_UNAVAILABLE, stage.best(4, 1, section="Floor", tier=2))
        assert refusal.details["available"] == 0


async def test_too_few_and_not_together_are_told_apart(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan({"Floor": {"A": 5}, "Balcony": {"A": 1}}))
        await stage.block(*stage.seats("Floor/A/2", "Floor/A/4"))
        refusal = await refused(ErrorCode.NO_ADJACENT_SEATS, stage.best(1, 2))
        assert refusal.details["available"] == 4
        assert (await refused(ErrorCode.NO_ADJACENT_SEATS, stage.best(1, 4))).details["quantity"] == 4
        refusal = await refused(ErrorCode.SEATS_UNAVAILABLE, stage.best(1, 5))
        assert refusal.details["available"] == 4
        await refused(ErrorCode.SEATS_UNAVAILABLE, stage.best(1, 2, section="Balcony"))
        assert len((await stage.best(1, 1, section="Balcony")).seats) == 1


async def test_the_order_of_refusals(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        plan = make_plan({"Floor": {"A": 4}}, purchase_limit=2)
        await stage.put(plan)
        assert (await refused(ErrorCode.SEAT_NOT_FOUND, stage.best(1, 1, tier=9))).details["tier_id"]
        assert (await refused(ErrorCode.SEAT_NOT_FOUND, stage.best(1, 1, section="Nowhere"))).details[
            "section_id"
        ]
        refusal = await refused(ErrorCode.PURCHASE_LIMIT_EXCEEDED, stage.best(1, 3))
        assert refusal.details == {"limit": 2, "held": 0, "bought": 0}
        await refused(ErrorCode.SEATS_UNAVAILABLE, stage.best(1, 5))
        await stage.block(stage.seat("Floor/A/2"))
        await refused(ErrorCode.PURCHASE_LIMIT_EXCEEDED, stage.best(1, 3))
        await stage.block(stage.seat("Floor/A/3"))
        await refused(ErrorCode.NO_ADJACENT_SEATS, stage.best(1, 2))
        await stage.put(replace(plan, sale_end_ms=OPENS_MS + 5))
        stage.clock.at_ms = OPENS_MS + 5
        refusal = await refused(ErrorCode.SALE_ENDED, stage.best(1, 5))
        assert refusal.details == {"reason": "ENDED"}
        stage.clock.at_ms = plan.date_ms
        await refused(ErrorCode.ACCESS_EXPIRED, stage.best(1, 5))
        await refused(ErrorCode.SEAT_NOT_FOUND, stage.best(1, 5, tier=9))
