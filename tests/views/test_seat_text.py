from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from storage.schema.ids import RowKey, SeatNumber, seat_id, seat_number
from storage.schema.records import RowPlanRecord, RowRecord, SeatPlanRecord, TierRecord
from tests.domain.inventory_stage import EVENT_ID, tier_id
from tests.domain.room_stage import SALE_RECORD
from ticketd.views.seat_text import SeatStyle

ROW = RowKey(2**32 - 1)
TIERS = tuple(
    TierRecord(tier_id=tier_id(index), name="", price_minor=1 + index, fees_minor=0) for index in range(2)
)
SALE = replace(SALE_RECORD, tiers=TIERS)
STYLE = SeatStyle(EVENT_ID, SALE)

# The seats do not stand in the order in which they were given their positions, and one position has no seat.
SEATS = (SeatPlanRecord("9", 2, 0), SeatPlanRecord('","seat_id":"', 0, 1), SeatPlanRecord("7", 3, 0))
PLAN = RowPlanRecord(section_key=0, label="A", slots=4, seats=SEATS)


def objects(text: bytes) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(b"[" + text + b"]")
    return found


@pytest.mark.parametrize("states", [None, b"", b"\x01", b"\x01\x00\x02\x03"])
def test_a_row_stands_in_the_order_of_the_hall(states: bytes | None) -> None:
    record = None if states is None else RowRecord(states=states, owners={})
    padded = (states or b"").ljust(4, b"\x00")
    names = ["AVAILABLE", "RESERVED", "SOLD", "BLOCKED"]
    assert objects(STYLE.row_text(ROW, PLAN, record)) == [
        {
            "seat_id": str(seat_id(EVENT_ID, seat_number(ROW, seat.position))),
            "number": seat.number,
            "status": names[padded[seat.position]],
            "price": (1 + seat.tier) / 100,
            "tier_id": str(tier_id(seat.tier)),
        }
        for seat in SEATS
    ]


def test_a_row_without_seats_is_empty() -> None:
    assert STYLE.row_text(ROW, RowPlanRecord(section_key=0, label="A", slots=1, seats=()), None) == b""


@pytest.mark.parametrize(
    ("positions", "numbers"),
    [([], []), ([2], ["9"]), ([3], ["7"]), ([0, 2, 3], [seat.number for seat in SEATS]), ([1, 3], ["7"])],
)
def test_seats_are_cut_out_whole_and_in_order(positions: list[int], numbers: list[str]) -> None:
    text = STYLE.row_text(ROW, PLAN, None)
    cut = objects(STYLE.cut_seats(text, [seat_number(ROW, position) for position in positions]))
    assert [seat["number"] for seat in cut] == numbers
    assert all(seat in objects(text) for seat in cut)
    assert STYLE.cut_seats(text, [SeatNumber(0)]) == b""
