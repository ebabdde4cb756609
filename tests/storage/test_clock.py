from __future__ import annotations

import time

import pytest
import trio
import trio.testing

from storage.clock import SystemClock, TrioClock


def test_the_system_clock_tells_the_machines_time() -> None:
    before = time.time_ns() // 1_000_000
    assert before <= SystemClock().now_ms() <= time.time_ns() // 1_000_000


@pytest.mark.parametrize("ms", [-5, 0, 1, 1500, 3_600_000])
async def test_simulated_time_moves_both_clocks(autojump_clock: trio.testing.MockClock, ms: int) -> None:
    clock = TrioClock(1000)
    began = trio.current_time()
    await clock.wait_until_ms(1000 + ms)
    assert clock.now_ms() == 1000 + max(ms, 0)
    assert trio.current_time() - began == pytest.approx(max(ms, 0) / 1000)


async def test_a_wall_clock_set_forwards_is_noticed_within_a_minute(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumped_ms = 0
    began = trio.current_time()
    monkeypatch.setattr(
        SystemClock, "now_ms", lambda self: round((trio.current_time() - began) * 1000) + jumped_ms
    )

    async def jump() -> None:
        nonlocal jumped_ms
        await trio.sleep(90)
        jumped_ms = 3_600_000

    async with trio.open_nursery() as nursery:
        nursery.start_soon(jump)
        await SystemClock().wait_until_ms(3_600_000)
    assert 90 <= trio.current_time() - began <= 150


async def test_waiting_for_what_has_passed_still_gives_way() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await SystemClock().wait_until_ms(0)
    assert scope.cancelled_caught
