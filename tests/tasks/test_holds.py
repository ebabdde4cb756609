from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from storage.clock import TrioClock
from storage.schema.states import ReservationState, SeatState
from tests.domain.inventory_stage import HOLD_MS, OPENS_MS, InventoryStage, make_plan
from tests.domain.room_stage import open_store
from ticketd.tasks.deadlines import run_due_work
from ticketd.tasks.holds import BATCH, hold_expiry


async def until(after_ms: int) -> None:
    await trio.sleep_until(after_ms / 1000)
    await trio.testing.wait_all_tasks_blocked()


async def test_seats_fall_free_at_the_end_of_their_hold(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    clock = TrioClock(OPENS_MS)
    with open_store(tmp_path, clock) as engine:
        stage = InventoryStage(engine, clock)
        await stage.put(make_plan())
        async with trio.open_nursery() as nursery:
            await nursery.start(run_due_work, engine, clock, hold_expiry(engine))
            first = await stage.reserve(1, stage.seat("Floor/A/1"))
            await until(1000)
            second = await stage.reserve(2, stage.seat("Floor/A/2"))
            await until(HOLD_MS - 1)
            assert stage.state("Floor/A/1") is SeatState.RESERVED
            await until(HOLD_MS)
            assert stage.reservation(first.reservation_id).state is ReservationState.EXPIRED
            assert stage.state("Floor/A/1") is SeatState.AVAILABLE
            assert stage.state("Floor/A/2") is SeatState.RESERVED
            await until(HOLD_MS + 999)
            assert stage.state("Floor/A/2") is SeatState.RESERVED
            await until(HOLD_MS + 1000)
            assert stage.reservation(second.reservation_id).state is ReservationState.EXPIRED
            stage.recount()
            nursery.cancel_scope.cancel()


async def test_more_holds_than_a_batch_end_together(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    clock = TrioClock(OPENS_MS)
    with open_store(tmp_path, clock) as engine:
        stage = InventoryStage(engine, clock)
        await stage.put(make_plan({"Floor": {"A": BATCH + 1}}, purchase_limit=1000))
        for number in range(1, BATCH + 2):
            await stage.reserve(1, stage.seat(f"Floor/A/{number}"))
        await until(HOLD_MS)  # as after a restart: all of them are due already
        async with trio.open_nursery() as nursery:
            await nursery.start(run_due_work, engine, clock, hold_expiry(engine))
            await until(HOLD_MS)
            assert stage.total().free == BATCH + 1
            stage.recount()
            nursery.cancel_scope.cancel()


async def test_a_payment_holds_the_end_off_and_its_end_brings_it_back(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    clock = TrioClock(OPENS_MS)
    with open_store(tmp_path, clock) as engine:
        stage = InventoryStage(engine, clock)
        await stage.put(make_plan())
        async with trio.open_nursery() as nursery:
            await nursery.start(run_due_work, engine, clock, hold_expiry(engine))
            held = await stage.reserve(1, stage.seat("Floor/A/1"))
            await stage.freeze(1, held.reservation_id, 1, held.due_at_ms + 60_000)
            await until(HOLD_MS + 30_000)
            assert stage.state("Floor/A/1") is SeatState.RESERVED
            await stage.thaw(held.reservation_id)
            await until(HOLD_MS + 30_001)
            assert stage.reservation(held.reservation_id).state is ReservationState.EXPIRED
            nursery.cancel_scope.cancel()
