"""Limits to hoarding: places by address, and the cool-down after holds that ran out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from config.settings import HoardingSettings
from storage.engine import Reader
from storage.schema.layout import LAPSES, LAPSES_DUE
from storage.schema.records import LapseRecord, ReservationRecord
from storage.schema.states import EntryState, ReservationState
from tests.domain.inventory_stage import EVENT_ID, make_plan
from tests.domain.order_stage import OrderStage, orders
from tests.domain.refusals import refused
from tests.domain.room_stage import OPENS_MS, staged, with_room
from ticketd.domain.hoarding import LapseLimits, count_cooldowns, forget_lapses, lapses_are_due
from ticketd.errors import ErrorCode
from ticketd.event_file.plan import RoomPlan

WINDOW_MS, COOLDOWN_MS, HOLD_MS = 1_800_000, 300_000, 1000
LIMITS = LapseLimits(holds=3, holds_per_address=5, window_ms=WINDOW_MS, cooldown_ms=COOLDOWN_MS)


# --- places by address ----------------------------------------------------------------------------------------------


async def test_an_address_has_as_many_places_as_it_may(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room())
        for user in range(1, 4):
            await stage.join(user, address=b"home", per_address=3)
        before = stage.room()
        refusal = await refused(ErrorCode.RATE_LIMITED, stage.join(4, address=b"home", per_address=3))
        assert (refusal.details["reason"], refusal.retry_after_seconds) == ("ADDRESS_ENTRIES", 60)
        assert stage.room() == before
        await stage.join(4, address=b"elsewhere", per_address=3)
        await stage.join(5, address=None, per_address=3)
        await stage.join(6, address=b"home", per_address=0)
        await stage.join(7, address=b"home", per_address=5)
        stage.recount()


async def test_who_leaves_makes_room_for_another_of_the_address(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room())
        first, _ = [await stage.join(user, address=b"home", per_address=2) for user in (1, 2)]
        await refused(ErrorCode.RATE_LIMITED, stage.join(3, address=b"home", per_address=2))
        await stage.leave(first.entry.entry_id)
        await stage.join(3, address=b"home", per_address=2)
        await refused(ErrorCode.RATE_LIMITED, stage.join(4, address=b"home", per_address=2))
        stage.recount()


async def test_a_place_that_is_overdue_does_not_count(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room())
        ready = await stage.join(1, address=b"home", per_address=1)
        assert ready.entry.state is EntryState.READY
        await stage.join(2, address=b"elsewhere", per_address=1)
        clock.at_ms = OPENS_MS + 120_000 - 1
        await refused(ErrorCode.RATE_LIMITED, stage.join(3, address=b"home", per_address=1))
        clock.at_ms += 1
        await stage.join(3, address=b"home", per_address=1)


# --- holds that ran out ---------------------------------------------------------------------------------------------


class Hoard:
    """An event with a wide row, and buyers who let their holds run out."""

    def __init__(self, stage: OrderStage) -> None:
        self.stage = stage

    @property
    def now_ms(self) -> int:
        return self.stage.clock.at_ms

    async def lapse(self, user: int, times: int = 1) -> None:
        """Holds of the buyer run out, one after the other."""
        for _ in range(times):
            await self.stage.best(user, 1)
            self.stage.clock.at_ms += HOLD_MS
            await self.stage.expire()

    async def wait_for(self, user: int) -> int | None:
        """In how many seconds the buyer may reserve again, as it is told; None if at once."""
        await self.stage.entry(user)
        before = self.stage.everything()
        try:
            held = await self.stage.best(user, 1)
        except Exception:
            refusal = await refused(ErrorCode.RATE_LIMITED, self.stage.best(user, 1))
            assert refusal.details["reason"] == "LAPSED_HOLDS"
            assert refusal.details["retry_after_seconds"] == refusal.retry_after_seconds
            assert self.stage.everything() == before
            return refusal.retry_after_seconds
        await self.stage.release(user, held.reservation_id)
        return None

    def lapses(self) -> list[LapseRecord]:
        """What is remembered; each is in the index of what is to be forgotten, and nothing else is."""

        def read(reader: Reader) -> list[LapseRecord]:
            kept = list(LAPSES.scan(reader, self.stage.partition))
            due = set(LAPSES_DUE.scan(reader, self.stage.partition))
            assert due == {(record.forget_at_ms, *parts) for parts, record in kept}
            return [record for _, record in kept]

        return self.stage.read(read)

    def cooldowns(self) -> int:
        return self.stage.read(lambda reader: count_cooldowns(reader, EVENT_ID, self.now_ms))

    async def forget(self, limit: int = 100) -> int:
        return await self.stage.run(lambda tx: forget_lapses(tx, EVENT_ID, limit))


@pytest.fixture
async def hoard(tmp_path: Path) -> AsyncIterator[Hoard]:
    async with orders(tmp_path) as stage:
        room = RoomPlan(enabled=False, access_seconds=86_400, max_entries_per_device=10)
        await stage.put(make_plan({"Floor": {"A": 30}}, hold_seconds=HOLD_MS // 1000, room=room))
        stage.lapse_limits = LIMITS
        yield Hoard(stage)


async def test_one_lapse_below_the_limit_costs_nothing_and_the_limit_a_cooldown(hoard: Hoard) -> None:
    await hoard.lapse(1, 2)
    assert (await hoard.wait_for(1), hoard.cooldowns()) == (None, 0)
    await hoard.lapse(1)
    assert (await hoard.wait_for(1), hoard.cooldowns()) == (300, 2)  # the buyer, and the device
    assert await hoard.wait_for(2) is None


async def test_retry_after_is_exact(hoard: Hoard) -> None:
    await hoard.lapse(1, 3)
    began_ms = hoard.now_ms
    for gone_ms, seconds in ((1, 300), (999, 300), (1000, 299), (299_000, 1), (299_999, 1), (300_000, None)):
        hoard.stage.clock.at_ms = began_ms + gone_ms
        assert await hoard.wait_for(1) == seconds, gone_ms
    assert hoard.cooldowns() == 0


@pytest.mark.parametrize(("late_ms", "seconds"), [(-1, 300), (0, None), (1, None)])
async def test_what_lapsed_a_window_ago_no_longer_counts(
    hoard: Hoard, late_ms: int, seconds: int | None
) -> None:
    await hoard.lapse(1)
    first_ms = hoard.now_ms
    await hoard.lapse(1)
    hoard.stage.clock.at_ms = first_ms + WINDOW_MS + late_ms - HOLD_MS
    await hoard.lapse(1)
    assert await hoard.wait_for(1) == seconds


async def test_one_lapse_more_within_the_window_cools_down_again(hoard: Hoard) -> None:
    await hoard.lapse(1, 3)
    hoard.stage.clock.at_ms += COOLDOWN_MS
    assert await hoard.wait_for(1) is None
    await hoard.lapse(1)
    assert await hoard.wait_for(1) == 300


async def test_what_is_held_already_is_untouched_and_may_be_asked_for_again(hoard: Hoard) -> None:
    stage = hoard.stage
    await hoard.lapse(1, 2)
    first = await stage.best(1, 1)
    stage.clock.at_ms += HOLD_MS - 1
    second = await stage.reserve(1, stage.seat("Floor/A/30"))
    stage.clock.at_ms += 1
    await stage.expire()
    assert stage.reservation(first.reservation_id).state is ReservationState.EXPIRED
    assert await hoard.wait_for(1) == 300
    assert await stage.reserve(1, *second.seats) == second
    refusal = await refused(ErrorCode.RATE_LIMITED, stage.reserve(1, stage.seat("Floor/A/1")))
    assert refusal.details["reason"] == "LAPSED_HOLDS"
    await stage.begin(1, second)
    await stage.take("authorised")


async def test_a_device_cools_down_whoever_uses_it(hoard: Hoard) -> None:
    hoard.stage.devices = dict.fromkeys(range(1, 5), b"shared")
    for user in (1, 2, 3):
        assert await hoard.wait_for(user) is None
        await hoard.lapse(user)
    assert await hoard.wait_for(4) == 300
    assert await hoard.wait_for(5) is None


async def test_an_address_has_a_limit_of_its_own(hoard: Hoard) -> None:
    hoard.stage.addresses = dict.fromkeys(range(1, 8), b"a house of many")
    for user in (1, 2, 3, 4, 5):
        assert await hoard.wait_for(user) is None
        await hoard.lapse(user)
    assert await hoard.wait_for(6) == 300
    assert await hoard.wait_for(8) is None
    assert hoard.cooldowns() == 1


async def buy(stage: OrderStage, user: int, order: int, hold: ReservationRecord) -> None:
    await stage.begin(user, hold, order)
    await stage.take("authorised", order=order, user=user)


async def test_an_order_clears_buyer_and_device(hoard: Hoard) -> None:
    stage = hoard.stage
    await hoard.lapse(1, 2)
    assert len(hoard.lapses()) == 2
    await buy(stage, 1, 1, await stage.best(1, 1))
    assert hoard.lapses() == []


async def test_an_order_takes_one_lapse_off_its_address(hoard: Hoard) -> None:
    stage = hoard.stage
    stage.addresses = dict.fromkeys(range(1, 9), b"a house of many")
    held = await stage.best(7, 1)
    await buy(stage, 7, 1, held)  # nothing to take off yet
    for user in (1, 2, 3, 4):
        await hoard.lapse(user)
    kept = await stage.best(8, 1)
    stage.clock.at_ms += 1
    last = await stage.best(5, 1)
    stage.clock.at_ms = last.due_at_ms - 1
    assert kept.due_at_ms == stage.clock.at_ms
    await stage.begin(5, last, 2)  # a payment under way keeps the hold
    await stage.expire()
    assert await hoard.wait_for(6) == 300
    await stage.take("authorised", order=2, user=5)
    assert await hoard.wait_for(6) is None
    assert max(len(record.lapsed_at_ms) for record in hoard.lapses()) == 4


async def test_given_up_in_time_is_no_lapse(hoard: Hoard) -> None:
    for _ in range(4):
        held = await hoard.stage.best(1, 1)
        await hoard.stage.release(1, held.reservation_id)
    assert hoard.lapses() == []


@pytest.mark.parametrize(("step", "lapsed"), [("unreachable", 0), ("no answer", 0), ("refused", 1)])
async def test_a_hold_that_the_gateway_could_not_take_is_excused(
    hoard: Hoard, step: str, lapsed: int
) -> None:
    stage = hoard.stage
    held = await stage.best(1, 1)
    await stage.begin(1, held)
    await stage.take(step)
    stage.clock.at_ms += HOLD_MS
    await stage.expire()
    assert stage.reservation(held.reservation_id).state is ReservationState.EXPIRED
    assert len(hoard.lapses()) == 2 * lapsed


@pytest.mark.parametrize(
    ("limits", "remembered"),
    [
        (LapseLimits(holds_per_address=1, window_ms=WINDOW_MS, cooldown_ms=COOLDOWN_MS), 1),
        (LapseLimits(holds=1, window_ms=WINDOW_MS, cooldown_ms=COOLDOWN_MS), 2),
        (LapseLimits(holds=1, holds_per_address=1, window_ms=WINDOW_MS), 0),
        (LapseLimits(), 0),
    ],
)
async def test_each_is_turned_off_by_0(hoard: Hoard, limits: LapseLimits, remembered: int) -> None:
    hoard.stage.addresses[1] = b"home"
    hoard.stage.lapse_limits = limits
    await hoard.lapse(1)
    assert len(hoard.lapses()) == remembered
    assert (await hoard.wait_for(1) is None) is (remembered == 0)
    hoard.stage.lapse_limits = LapseLimits()
    assert await hoard.wait_for(1) is None


async def test_what_is_remembered_is_bounded_and_forgotten_after_the_window(hoard: Hoard) -> None:
    stage = hoard.stage
    await hoard.lapse(1, 3)
    last_ms = hoard.now_ms
    stage.lapse_limits = LapseLimits()
    for _ in range(3):
        stage.lapse_limits = LIMITS
        stage.clock.at_ms += COOLDOWN_MS
        await hoard.lapse(1)
        assert [len(record.lapsed_at_ms) for record in hoard.lapses()] == [3, 3]
        last_ms = hoard.now_ms
    stage.clock.at_ms = last_ms + WINDOW_MS - 1
    assert not stage.read(lambda reader: lapses_are_due(reader, EVENT_ID, hoard.now_ms))
    assert await hoard.forget() == 0
    stage.clock.at_ms += 1
    assert stage.read(lambda reader: lapses_are_due(reader, EVENT_ID, hoard.now_ms))
    assert await hoard.forget(1) == 1
    assert await hoard.forget() == 1
    assert hoard.lapses() == []


async def test_lapses_of_many_do_not_pile_up(hoard: Hoard) -> None:
    for user in range(1, 60):
        await hoard.lapse(user)
        hoard.stage.clock.at_ms += WINDOW_MS // 10
        assert len(hoard.lapses()) <= 2 * 11


def test_the_limits_come_from_the_settings() -> None:
    assert LapseLimits.of(HoardingSettings()) == LapseLimits(
        holds=3, holds_per_address=30, window_ms=1_800_000, cooldown_ms=300_000
    )
