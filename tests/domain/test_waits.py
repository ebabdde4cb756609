from __future__ import annotations

from pathlib import Path

import pytest

from tests.domain.room_stage import EVENT, MINUTE_MS, OPENS_MS, Stage, staged, with_room
from ticketd.domain.waits import estimated_wait_ms, whole_minutes


def wait(stage: Stage, position: int) -> int:
    with stage.engine.snapshot(stage.partition) as snapshot:
        return estimated_wait_ms(snapshot, EVENT, position, snapshot.now_ms)


@pytest.mark.parametrize(
    ("duration_ms", "minutes"),
    [(0, 1), (1, 1), (MINUTE_MS, 1), (MINUTE_MS + 1, 2), (2 * MINUTE_MS, 2), (90 * MINUTE_MS - 1, 90)],
)
def test_a_wait_is_told_in_whole_minutes_rounded_up(duration_ms: int, minutes: int) -> None:
    assert whole_minutes(duration_ms) == minutes


async def test_there_is_no_wait_without_an_event_or_a_place_in_the_line(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        assert wait(stage, 5) == 0
        await stage.set_sale(with_room())
        assert wait(stage, 0) == 0
        await stage.set_sale(with_room(enabled=False))
        assert wait(stage, 5) == 0


@pytest.mark.parametrize(
    ("max_active", "admit_per_minute", "wait_ms"),
    [
        (10_000, 5, 20 * MINUTE_MS),  # the rate is what holds up
        (10, 10_000, 100 * MINUTE_MS),  # the places are: ten of them, ten minutes each
    ],
)
async def test_without_admissions_the_settings_tell(
    tmp_path: Path, max_active: int, admit_per_minute: int, wait_ms: int
) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(max_active=max_active, admit_per_minute=admit_per_minute))
        assert wait(stage, 100) == pytest.approx(wait_ms)


async def test_admissions_really_seen_tell_more_than_the_settings(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room(max_active=1, admit_per_minute=600))
        entries = await stage.join_many(range(200))
        for joined in entries[:60]:  # buyers are done in ten seconds instead of in ten minutes
            clock.at_ms += 10_000
            await stage.leave(joined.entry.entry_id)
        assert wait(stage, 60) == pytest.approx(10 * MINUTE_MS, rel=0.05)
        assert wait(stage, 120) == pytest.approx(20 * MINUTE_MS, rel=0.05)


async def test_a_few_admissions_are_weighed_with_the_settings(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room(max_active=50, admit_per_minute=50))
        await stage.join_many(range(60))
        clock.at_ms += 1000  # fifty at once, and nothing since: the next come in when their windows end
        seen_per_minute = (50 + 5 * 4.98) / 5
        assert wait(stage, 100) == pytest.approx(100 / seen_per_minute * MINUTE_MS, rel=0.01)


async def test_the_estimate_is_never_faster_than_the_rate_allows(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(max_active=1000, admit_per_minute=100))
        await stage.join_many(range(100))
        await stage.set(admit_per_minute=2)
        assert wait(stage, 10) == 5 * MINUTE_MS


async def test_admissions_of_long_ago_tell_nothing(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room(max_active=20, admit_per_minute=20))
        before = wait(stage, 7)
        await stage.join_many(range(10))
        assert wait(stage, 7) != before
        clock.at_ms += 10 * MINUTE_MS
        assert wait(stage, 7) == before


async def test_in_the_lobby_the_time_until_the_opening_counts(tmp_path: Path) -> None:
    with staged(tmp_path, OPENS_MS - 30 * MINUTE_MS) as (stage, _):
        sale = with_room(lobby_opens_ms=OPENS_MS - 30 * MINUTE_MS, max_active=100_000, admit_per_minute=10)
        await stage.set_sale(sale)
        last = (await stage.join_many(range(100)))[-1]
        assert last.wait_ms == 35 * MINUTE_MS  # the middle of a hundred
