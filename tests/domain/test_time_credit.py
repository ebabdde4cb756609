from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.engine import Transaction
from storage.schema.events import HoldMoved, OrderMoved, TimeCredited
from storage.schema.layout import ADMISSIONS, DUE_ORDERS, HEARTBEAT, SYSTEM
from storage.schema.states import EntryState, ReservationState
from tests.domain.inventory_stage import EVENT_ID, HOLD_MS, OPENS_MS, Stage, inventory, make_plan, user_id
from tests.domain.order_stage import FREEZE_MS, RESUME_MS, orders
from tests.domain.room_stage import ROOM_SETTINGS, staged, with_room
from tests.domain.room_stage import Stage as RoomStage
from ticketd.domain.reservations import find_reservation
from ticketd.domain.time_credit import (
    LONGEST_DOWNTIME_CREDIT_MS,
    CreditTime,
    awaits_time,
    credit_downtime,
    credit_event,
)
from ticketd.errors import ErrorCode, Refusal

HOUR_MS = 3_600_000
CLAIM_MS = ROOM_SETTINGS.claim_seconds * 1000
ACCESS_MS = ROOM_SETTINGS.access_seconds * 1000


def hour_from(at_ms: int) -> CreditTime:
    return CreditTime(lived_until_ms=at_ms, lost_ms=HOUR_MS, credit_ms=HOUR_MS)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with inventory(tmp_path) as stage:
        yield stage


async def credit(stage: Stage | RoomStage, time: CreditTime) -> bool:
    event_id = EVENT_ID if not isinstance(stage, RoomStage) else stage.event_id
    return await stage.run(lambda tx: credit_event(tx, event_id, time))


async def down(stage: RoomStage, lived_until_ms: int, *, begins: bool = True) -> CreditTime | None:
    def run(tx: Transaction) -> CreditTime | None:
        return credit_downtime(tx, [stage.event_id], lived_until_ms, begins=begins)

    return await stage.run(run)


# --- holds and orders -----------------------------------------------------------------------------------------------


async def test_a_hold_ends_by_so_much_later(stage: Stage) -> None:
    await stage.put(make_plan())
    hold = await stage.reserve(1, stage.seat("Floor/A/1"))
    stage.changes.clear()
    assert await credit(stage, hour_from(OPENS_MS))
    after = stage.reservation(hold.reservation_id)
    assert (after.expires_at_ms, after.due_at_ms) == (OPENS_MS + HOLD_MS + HOUR_MS,) * 2
    moved = HoldMoved(
        event_id=EVENT_ID,
        reservation_id=hold.reservation_id,
        user_id=user_id(1),
        due_at_ms=after.due_at_ms,
    )
    assert stage.changes == [moved, TimeCredited(event_id=EVENT_ID, credit_ms=HOUR_MS)]
    stage.recount()
    stage.clock.at_ms = after.due_at_ms - 1
    await stage.expire()
    assert stage.reservation(hold.reservation_id).state is ReservationState.HELD
    stage.clock.at_ms += 1
    await stage.expire()
    assert stage.reservation(hold.reservation_id).state is ReservationState.EXPIRED


@pytest.mark.parametrize(("after_end_ms", "credited"), [(-1, True), (0, False), (1, False)])
async def test_what_had_ended_stays_ended(stage: Stage, after_end_ms: int, credited: bool) -> None:
    await stage.put(make_plan())
    hold = await stage.reserve(1, stage.seat("Floor/A/1"))
    await credit(stage, hour_from(hold.due_at_ms + after_end_ms))
    assert (stage.reservation(hold.reservation_id) != hold) is credited
    stage.recount()


async def test_a_payment_under_way_keeps_its_hold_by_so_much_longer(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        hold = await stage.reserve(1, stage.seat("Floor/A/1"))
        stage.clock.at_ms = hold.expires_at_ms - RESUME_MS
        order = await stage.begin(1, hold)
        assert order.due_at_ms == hold.expires_at_ms  # though that is not what it waits for
        await credit(stage, hour_from(stage.clock.at_ms))
        after = stage.reservation(hold.reservation_id)
        assert after.expires_at_ms == hold.expires_at_ms + HOUR_MS
        assert after.due_at_ms == stage.clock.at_ms + FREEZE_MS + HOUR_MS
        assert stage.order() == order  # asked again when it was to be
        await stage.thaw(hold.reservation_id)
        assert stage.reservation(hold.reservation_id).due_at_ms == hold.expires_at_ms + HOUR_MS
        stage.recount()


async def test_an_order_that_waits_for_its_buyer_waits_by_so_much_longer(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1")
        stage.clock.at_ms += HOLD_MS - 3_000
        before = await stage.take("action")
        stage.changes.clear()
        await credit(stage, hour_from(stage.clock.at_ms))
        after = stage.order()
        assert before.due_at_ms is not None
        assert after.due_at_ms == before.due_at_ms + HOUR_MS
        assert after.trail == before.trail
        assert [event.due_at_ms for event in stage.changes if isinstance(event, OrderMoved)] == [
            after.due_at_ms
        ]
        assert stage.reservation(before.reservation_id).expires_at_ms == after.due_at_ms
        assert stage.read(lambda reader: list(DUE_ORDERS.scan(reader, stage.partition))) == [
            (after.due_at_ms, after.order_id)
        ]


async def test_an_order_that_is_to_be_looked_at_sooner_still_is(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1")
        await stage.take("action")
        woken = await stage.take("woken")
        await credit(stage, hour_from(stage.clock.at_ms))
        assert stage.order() == woken


async def test_an_order_at_rest_and_what_was_sold_stay_as_they_are(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1")
        sold = await stage.take("authorised")
        before = stage.everything()
        stage.clock.at_ms += 2 * 60_000  # past what the rate of admission counts
        assert not await credit(stage, hour_from(stage.clock.at_ms))
        assert stage.everything() == before
        assert stage.order() == sold


async def test_a_credited_hold_is_told_as_live(stage: Stage) -> None:
    await stage.put(make_plan())
    hold = await stage.reserve(1, stage.seat("Floor/A/1"))
    later_ms = hold.expires_at_ms + HOUR_MS

    def find(tx: Transaction, at_ms: int) -> int:
        return find_reservation(tx, EVENT_ID, user_id(1), hold.reservation_id, at_ms).expires_at_ms

    await credit(stage, hour_from(OPENS_MS))
    assert await stage.run(lambda tx: find(tx, later_ms - 1)) == later_ms
    with pytest.raises(Refusal) as refused:
        await stage.run(lambda tx: find(tx, later_ms))
    assert refused.value.code is ErrorCode.RESERVATION_EXPIRED


# --- places in the room ---------------------------------------------------------------------------------------------


async def test_claims_and_windows_end_by_so_much_later_and_the_line_stands(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room(max_active=2))
        ready, shopping, first, second = await stage.join_many(range(4))
        await stage.claim(shopping.entry.entry_id)
        told = stage.entry(shopping.entry.entry_id)
        assert await credit(stage, hour_from(clock.at_ms))
        assert stage.entry(ready.entry.entry_id).due_at_ms == OPENS_MS + CLAIM_MS + HOUR_MS
        after = stage.entry(shopping.entry.entry_id)
        assert after.due_at_ms == OPENS_MS + ACCESS_MS + HOUR_MS
        assert after.access_issued_at_ms == told.access_issued_at_ms  # the same token is made of it
        assert [stage.state(one) for one in (first, second)] == [EntryState.QUEUED] * 2
        stage.recount()
        clock.at_ms += HOUR_MS + CLAIM_MS - 1
        await stage.advance_all()
        assert stage.state(ready) is EntryState.READY
        clock.at_ms += 1
        await stage.advance_all()
        assert [stage.state(one) for one in (ready, first)] == [EntryState.EXPIRED, EntryState.READY]
        stage.recount()


async def test_a_claim_that_was_over_is_not_brought_back(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room())
        ready = await stage.join(1)
        clock.at_ms += CLAIM_MS
        await credit(stage, hour_from(clock.at_ms))
        assert stage.entry(ready.entry.entry_id) == ready.entry


async def test_admissions_count_towards_the_rate_over_lived_time(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room(max_active=100, admit_per_minute=2))
        await stage.join(1)
        clock.at_ms += 10_000
        await stage.join(2)
        waits = await stage.join(3)
        # A downtime of which only a quarter of an hour is credited: the rate still counts lived time alone.
        lost = CreditTime(lived_until_ms=clock.at_ms, lost_ms=HOUR_MS, credit_ms=900_000)
        assert await credit(stage, lost)
        clock.at_ms += HOUR_MS
        assert await stage.advance_all() == OPENS_MS + HOUR_MS + 60_000
        clock.at_ms = OPENS_MS + HOUR_MS + 60_000 - 1
        await stage.advance()
        assert stage.state(waits) is EntryState.QUEUED
        clock.at_ms += 1
        await stage.advance()
        assert stage.state(waits) is EntryState.READY
        stage.recount()


@pytest.mark.parametrize(("age_ms", "counted"), [(59_999, True), (60_000, False), (60_001, False)])
async def test_only_admissions_that_the_rate_counts_are_moved(
    tmp_path: Path, age_ms: int, counted: bool
) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room())
        await stage.leave((await stage.join(1)).entry.entry_id)
        clock.at_ms += age_ms
        with stage.engine.snapshot() as view:
            assert awaits_time(view, stage.event_id, clock.at_ms) is counted
        assert await credit(stage, hour_from(clock.at_ms)) is counted
        with stage.engine.snapshot() as view:
            times = [at_ms for _, at_ms in ADMISSIONS.scan(view, stage.partition)]
        assert times == [OPENS_MS + (HOUR_MS if counted else 0)]


async def test_what_runs_is_what_would_be_credited(stage: Stage) -> None:
    def awaits(at_ms: int) -> bool:
        return stage.read(lambda reader: awaits_time(reader, EVENT_ID, at_ms))

    assert not awaits(OPENS_MS)
    await stage.put(make_plan())
    assert not awaits(OPENS_MS)
    await stage.entry(1)
    assert awaits(OPENS_MS + HOUR_MS)


async def test_a_hold_alone_runs(tmp_path: Path) -> None:
    with staged(tmp_path) as (room, clock):
        stage = Stage(room.engine, clock)
        await stage.put(make_plan())
        hold = await stage.reserve(1, stage.seat("Floor/A/1"))
        room_of_event = RoomStage(room.engine, clock, EVENT_ID)
        await room_of_event.leave(hold.entry_id)
        assert stage.read(lambda reader: awaits_time(reader, EVENT_ID, OPENS_MS + 60_000))


# --- downtime -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("down_ms", "credited_ms"),
    [
        (0, None),
        (1, 1),
        (10_000, 10_000),
        (899_000, 899_000),
        (900_000, 900_000),
        (901_000, 900_000),
        (2 * HOUR_MS, 900_000),
    ],
)
async def test_downtime_is_credited_up_to_a_quarter_of_an_hour(
    tmp_path: Path, down_ms: int, credited_ms: int | None
) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room())
        ready = await stage.join(1)
        clock.at_ms += down_ms
        found = await down(stage, OPENS_MS)
        assert (None if found is None else found.credit_ms) == credited_ms
        assert stage.entry(ready.entry.entry_id).due_at_ms == OPENS_MS + CLAIM_MS + (credited_ms or 0)
        assert LONGEST_DOWNTIME_CREDIT_MS == 900_000
        stage.recount()


async def test_a_downtime_in_which_nothing_ran_is_nobodys(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room())
        clock.at_ms += 10_000
        assert await down(stage, OPENS_MS) is None


async def test_what_a_command_credits_meanwhile_counts_towards_the_whole(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room())
        ready = await stage.join(1)
        clock.at_ms += 600_000
        first = await down(stage, OPENS_MS, begins=False)
        assert first is not None
        assert first.credit_ms == 600_000
        lived_until_ms = stage.engine.newest_commit_ms()
        clock.at_ms += 600_000
        second = await down(stage, lived_until_ms)
        assert second is not None
        assert (second.lost_ms, second.credit_ms) == (600_000, 300_000)
        assert stage.entry(ready.entry.entry_id).due_at_ms == OPENS_MS + CLAIM_MS + 900_000
        with stage.engine.snapshot() as view:
            beat = HEARTBEAT.get(view, SYSTEM)
        assert beat is not None
        assert beat.credited_ms == 0  # the daemon runs: the next downtime has a quarter of an hour of its own
