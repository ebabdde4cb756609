"""A room that is slowed: the steps, their bounds, and that the rate stays exact."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.schema.events import RoomChanged
from storage.schema.layout import ADMISSIONS
from tests.domain.room_stage import MINUTE_MS, OPENS_MS, Stage, staged, with_room
from ticketd.domain.pacing import Paced, is_slowed, quicken_room, slow_room
from ticketd.domain.room_book import RoomReading
from ticketd.domain.waits import wait_ms


async def slow(stage: Stage) -> Paced | None:
    return await stage.run(lambda tx: slow_room(tx, stage.event_id))


async def quicken(stage: Stage, *, at_once: bool = False) -> Paced | None:
    return await stage.run(lambda tx: quicken_room(tx, stage.event_id, at_once=at_once))


def rate(stage: Stage) -> int:
    with stage.engine.snapshot(stage.partition) as view:
        reading = RoomReading.of(view, stage.event_id, view.now_ms)
        assert reading is not None
        assert is_slowed(view, stage.event_id) is (stage.room().slowed_to_per_minute is not None)
        return reading.rate_per_minute


@pytest.mark.parametrize(
    ("setting", "down", "up"),
    [
        (100, [50, 25, 12, 6], [12, 24, 48, 96, 100]),
        (160, [80, 40, 20, 10], [20, 40, 80, 160]),
        (17, [8, 4, 2, 1], [2, 4, 8, 16, 17]),
        (16, [8, 4, 2, 1], [2, 4, 8, 16]),
        (2, [1], [2]),
        (1, [], []),
    ],
)
async def test_down_by_half_to_a_sixteenth_and_up_by_double_to_the_setting(
    tmp_path: Path, setting: int, down: list[int], up: list[int]
) -> None:
    with staged(tmp_path) as (stage, _):
        changes: list[object] = []
        stage.engine.subscribe(lambda seen: changes.extend(one.event for one in seen))
        await stage.set_sale(with_room(admit_per_minute=setting))
        await stage.join(1)
        rates, before = [], setting
        while (paced := await slow(stage)) is not None:
            assert (paced.before, paced.slowed) == (before, True)
            before = paced.after
            rates.append(rate(stage))
        assert rates == down
        rates = []
        while (paced := await quicken(stage)) is not None:
            assert paced.slowed is (paced.after < setting)
            rates.append(rate(stage))
        assert rates == up
        assert stage.room().slowed_to_per_minute is None
        assert sum(isinstance(one, RoomChanged) for one in changes) == len(down) + len(up)


async def test_at_once(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room())
        await stage.join(1)
        await slow(stage)
        await slow(stage)
        assert await quicken(stage, at_once=True) == Paced(before=25, after=100, slowed=False)
        assert await quicken(stage, at_once=True) is None


async def test_an_empty_room_and_one_that_is_disabled_are_left_alone(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        assert await slow(stage) is None
        await stage.set_sale(with_room())
        assert await slow(stage) is None
        joined = await stage.join(1)
        await slow(stage)
        await stage.leave(joined.entry.entry_id)
        assert await slow(stage) is None
        assert await quicken(stage) is not None  # it recovers all the same
        await stage.join(2)
        await stage.set_sale(with_room(enabled=False))
        assert await slow(stage) is None


async def test_an_operators_lower_setting_wins_and_is_where_the_recovery_ends(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room())
        await stage.join(1)
        await slow(stage)
        await stage.set(admit_per_minute=20)
        assert rate(stage) == 20
        assert await quicken(stage) == Paced(before=20, after=20, slowed=False)
        await slow(stage)
        await stage.set(admit_per_minute=1000)
        assert rate(stage) == 10


async def test_the_rate_is_exact_while_it_goes_down_and_up(tmp_path: Path) -> None:
    """No more are let in within any 60 s than the rate in force allows, unless they had been let in before it was
    lowered; and one more is let in as soon as it may."""
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room(admit_per_minute=32, max_active=1000))
        await stage.join_many(range(1, 400))
        times: list[int] = []
        for second in range(240):
            clock.at_ms = OPENS_MS + second * 1000
            if second % 10 == 0 and second:
                await (slow(stage) if second < 60 else quicken(stage))
            seen = stage.room().admitted
            await stage.advance_all()
            new = stage.room().admitted - seen
            recent = sum(at_ms > clock.at_ms - MINUTE_MS for at_ms in times)
            assert new == max(0, rate(stage) - recent) or second == 0, second
            times += [clock.at_ms] * (stage.room().admitted - len(times))
        with stage.engine.snapshot(stage.partition) as view:
            kept = [at_ms for _, at_ms in ADMISSIONS.scan(view, stage.partition)]
        assert sorted(kept) == kept
        assert rate(stage) == 32


async def test_the_estimate_of_the_wait_follows(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(admit_per_minute=160, max_active=10_000))
        await stage.join(1)

        def estimate() -> int:
            with stage.engine.snapshot(stage.partition) as view:
                reading = RoomReading.of(view, stage.event_id, view.now_ms)
                assert reading is not None
                return wait_ms(reading, view, 1000)

        before = estimate()
        for _ in range(4):
            await slow(stage)
        assert estimate() >= 15 * before


async def test_the_estimate_is_no_faster_than_the_lowered_rate_though_many_were_let_in(
    tmp_path: Path,
) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(admit_per_minute=160, max_active=10_000))
        await stage.join_many(range(1, 160))
        for _ in range(4):
            await slow(stage)
        with stage.engine.snapshot(stage.partition) as view:
            reading = RoomReading.of(view, stage.event_id, view.now_ms)
            assert reading is not None
            assert wait_ms(reading, view, 10) >= MINUTE_MS
