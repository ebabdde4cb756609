from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from storage.schema.events import SeatsMoved
from storage.schema.ids import SeatNumber
from storage.schema.records import CountRecord
from storage.schema.states import SEAT_MOVES, IllegalMove, SeatState
from tests.domain.inventory_stage import EVENT_ID, inventory, make_plan, order_id
from tests.domain.refusals import refused
from ticketd.domain.seats import (
    BLOCKED_REASON,
    BlockSeats,
    SeatMove,
    block_seats,
    move_seats,
    moved_count,
    public_ids,
    seat_states,
)
from ticketd.errors import ErrorCode, Refusal

OWNER = order_id(1)
UNKNOWN = SeatNumber(999 << 16)


@pytest.mark.parametrize("before", list(SeatState))
@pytest.mark.parametrize("after", list(SeatState))
async def test_seats_move_along_the_table_and_nowhere_else(
    tmp_path: Path, before: SeatState, after: SeatState
) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        seats = stage.seats("Floor/A/1", "Floor/A/3", "Balcony/A/4")
        way = {
            SeatState.AVAILABLE: [],
            SeatState.RESERVED: [SeatState.RESERVED],
            SeatState.SOLD: [SeatState.RESERVED, SeatState.SOLD],
            SeatState.BLOCKED: [SeatState.BLOCKED],
        }
        at = SeatState.AVAILABLE
        for step in way[before]:
            move = SeatMove(at, step, OWNER if step in {SeatState.RESERVED, SeatState.SOLD} else None)
            await stage.run(partial(move_seats, event_id=EVENT_ID, seats=seats, move=move))
            at = step
        owner = OWNER if after in {SeatState.RESERVED, SeatState.SOLD} else None
        move = SeatMove(before, after, owner)
        if after not in SEAT_MOVES[before]:
            with pytest.raises(IllegalMove):
                await stage.run(lambda tx: move_seats(tx, EVENT_ID, seats, move))
            return
        await stage.run(lambda tx: move_seats(tx, EVENT_ID, seats, move))
        assert stage.read(lambda reader: seat_states(reader, EVENT_ID, seats)) == [(after, owner)] * 3
        in_state = [16 - 3, 0, 0, 0] if after else [16, 0, 0, 0]
        in_state[after] += 3 if after else 0
        free, held, sold, blocked = in_state
        assert stage.total() == CountRecord(free=free, held=held, sold=sold, blocked=blocked)
        assert not [event for event in stage.changes if isinstance(event, SeatsMoved)]


@pytest.mark.parametrize(
    "move",
    [
        SeatMove(SeatState.RESERVED, SeatState.SOLD, OWNER),  # one of them is not reserved
        SeatMove(SeatState.RESERVED, SeatState.AVAILABLE),
        SeatMove(SeatState.AVAILABLE, SeatState.BLOCKED),
    ],
)
async def test_seats_that_are_not_all_in_the_state_are_not_moved(tmp_path: Path, move: SeatMove) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        seats = stage.seats("Floor/A/1", "Floor/B/1")
        reserve = SeatMove(SeatState.AVAILABLE, SeatState.RESERVED, OWNER)
        await stage.run(lambda tx: move_seats(tx, EVENT_ID, seats[:1], reserve))
        before = stage.everything()
        with pytest.raises(IllegalMove):
            await stage.run(lambda tx: move_seats(tx, EVENT_ID, seats, move))
        assert stage.everything() == before


async def test_seats_of_another_owner_are_not_moved(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        seats = stage.seats("Floor/A/1")
        reserve = SeatMove(SeatState.AVAILABLE, SeatState.RESERVED, OWNER)
        await stage.run(lambda tx: move_seats(tx, EVENT_ID, seats, reserve))
        free = SeatMove(SeatState.RESERVED, SeatState.AVAILABLE, owned_by=order_id(2))
        with pytest.raises(IllegalMove):
            await stage.run(lambda tx: move_seats(tx, EVENT_ID, seats, free))
        await stage.run(lambda tx: move_seats(tx, EVENT_ID, seats, free._replace(owned_by=OWNER)))
        assert stage.state("Floor/A/1") is SeatState.AVAILABLE


async def test_unknown_seats_are_named(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        known = stage.seat("Floor/A/6")
        beyond_the_row = SeatNumber(known + 1)
        with pytest.raises(Refusal) as caught:
            stage.read(lambda reader: seat_states(reader, EVENT_ID, [UNKNOWN, known, beyond_the_row]))
        assert caught.value.code is ErrorCode.SEAT_NOT_FOUND
        assert caught.value.details["seat_ids"] == public_ids(EVENT_ID, [UNKNOWN, beyond_the_row])


def test_more_seats_than_were_counted_cannot_leave_a_state() -> None:
    count = CountRecord(free=2, held=1)
    moved = moved_count(count, SeatState.AVAILABLE, SeatState.RESERVED, 2)
    assert moved == CountRecord(free=0, held=3)
    with pytest.raises(ValueError, match="3 seats left AVAILABLE, where only 2 were counted"):
        moved_count(count, SeatState.AVAILABLE, SeatState.RESERVED, 3)


async def test_blocking_and_unblocking(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        a1, a2, b1 = stage.seats("Floor/A/1", "Floor/A/2", "Balcony/A/1")
        assert await stage.block(a1, b1) == 2
        assert stage.changes[-1] == SeatsMoved(event_id=EVENT_ID, seats=(a1, b1), state=SeatState.BLOCKED)
        assert stage.total() == CountRecord(free=14, blocked=2)
        assert await stage.block(a1, a2, a2) == 1, "what is blocked already, or named twice, does no harm"
        told = len(stage.changes)
        assert await stage.block(a1, a2, b1) == 0
        assert len(stage.changes) == told
        assert await stage.unblock(a1, b1) == 2
        assert stage.changes[-1] == SeatsMoved(event_id=EVENT_ID, seats=(a1, b1), state=SeatState.AVAILABLE)
        assert await stage.unblock(a1, a2) == 1
        assert stage.total() == CountRecord(free=16)
        stage.recount()


async def test_what_is_held_or_sold_cannot_be_blocked(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        free, held, sold = stage.seats("Floor/A/1", "Floor/A/2", "Floor/A/3")
        await stage.reserve(1, held)
        await stage.buy(2, sold)
        before = stage.everything()
        refusal = await refused(ErrorCode.SEATS_TAKEN, stage.block(free, held))
        assert refusal.details["seat_ids"] == public_ids(EVENT_ID, [held])
        refusal = await refused(ErrorCode.SEATS_UNAVAILABLE, stage.block(free, held, sold))
        assert refusal.details["seat_ids"] == public_ids(EVENT_ID, [sold])
        await refused(ErrorCode.SEAT_NOT_FOUND, stage.block(sold, UNKNOWN))
        await refused(ErrorCode.SEAT_NOT_FOUND, stage.unblock(free, UNKNOWN))
        assert stage.everything() == before
        assert await stage.unblock(held, sold) == 0
        assert stage.everything() == before


async def test_a_blocked_seat_is_not_for_sale(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        seat = stage.seat("Floor/A/1")
        await stage.block(seat)
        refusal = await refused(ErrorCode.SEATS_UNAVAILABLE, stage.reserve(1, seat))
        assert refusal.details == {"seat_ids": public_ids(EVENT_ID, [seat]), "reason": BLOCKED_REASON}


async def test_an_unknown_event_has_no_seats_to_block(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        command = BlockSeats(EVENT_ID, (UNKNOWN,))
        await refused(ErrorCode.EVENT_NOT_FOUND, stage.run(lambda tx: block_seats(tx, command)))
        await refused(ErrorCode.EVENT_NOT_FOUND, stage.unblock(UNKNOWN))
