from __future__ import annotations

import time
from random import Random

import pytest
import trio
import trio.testing

from storage.clock import STEP_MS, SteadyClock, SystemClock, TrioClock


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


class Machine:
    """A machine's two clocks, set by hand."""

    def __init__(self) -> None:
        self.lived_ms = 500.0
        self.wall_ms = 1_000_000.0

    def clock(self) -> SteadyClock:
        return SteadyClock(lambda: round(self.wall_ms * 1e6), lambda: round(self.lived_ms * 1e6))

    def live(self, ms: float) -> None:
        self.lived_ms += ms
        self.wall_ms += ms


def test_a_steady_clock_begins_with_the_machines_and_goes_on_with_it() -> None:
    machine = Machine()
    clock = machine.clock()
    assert clock.now_ms() == 1_000_000
    machine.live(1234)
    assert (clock.now_ms(), clock.ahead_ms()) == (1_001_234, 0)


@pytest.mark.parametrize(
    ("step_ms", "seen_ms"), [(1, 1), (STEP_MS - 1, STEP_MS - 1), (STEP_MS, 0), (STEP_MS + 1, 0)]
)
def test_less_than_a_step_forwards_is_followed_a_step_waits(step_ms: int, seen_ms: int) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall_ms += step_ms
    assert (clock.now_ms(), clock.ahead_ms()) == (1_000_000 + seen_ms, seen_ms - step_ms)
    machine.live(10_000)
    assert (clock.now_ms(), clock.ahead_ms()) == (1_010_000 + seen_ms, seen_ms - step_ms)
    clock.step(step_ms - seen_ms)
    assert (clock.now_ms(), clock.ahead_ms()) == (1_010_000 + step_ms, 0)


def test_a_machine_that_was_suspended_is_ahead_by_that() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall_ms += 3_600_000  # and its monotonic clock stood still
    assert (clock.now_ms(), clock.ahead_ms()) == (1_000_000, -3_600_000)
    assert clock.machine_ms() == 4_600_000


@pytest.mark.parametrize("back_ms", [1, 999, 1000, 3_600_000])
def test_a_clock_set_back_makes_time_slower_until_the_two_agree(back_ms: int) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall_ms -= back_ms
    assert (clock.now_ms(), clock.ahead_ms()) == (1_000_000, back_ms)
    machine.live(9 * back_ms)
    assert clock.ahead_ms() == pytest.approx(back_ms / 10, abs=1)
    assert clock.now_ms() == pytest.approx(1_000_000 + 0.9 * 9 * back_ms, abs=1)
    machine.live(2 * back_ms)
    assert clock.ahead_ms() == 0
    machine.live(1000)
    assert clock.now_ms() == machine.wall_ms


def test_a_steady_clock_never_goes_back_however_often_it_is_asked() -> None:
    random, machine = Random(7), Machine()
    clock = machine.clock()
    seen_ms = clock.now_ms()
    for _ in range(20_000):
        machine.live(random.random() * 3)
        if random.random() < 0.01:
            machine.wall_ms += random.uniform(-5000, 5000)
        now_ms = clock.now_ms()
        assert 0 <= now_ms - seen_ms <= 3 + STEP_MS
        seen_ms = now_ms


def test_a_steady_clock_starts_no_earlier_than_it_is_told() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.start_no_earlier(999_999)
    assert clock.now_ms() == 1_000_000
    clock.start_no_earlier(1_000_500)
    assert (clock.now_ms(), clock.ahead_ms()) == (1_000_500, 500)
    machine.live(1000)
    assert clock.now_ms() == 1_001_400


def test_time_is_not_stepped_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        Machine().clock().step(-1)


async def test_who_waits_wakes_by_a_step_at_once(autojump_clock: trio.testing.MockClock) -> None:
    began, wall_ms = trio.current_time(), 0
    clock = SteadyClock(
        lambda: round((trio.current_time() - began) * 1e9) + wall_ms * 1_000_000,
        lambda: round(trio.current_time() * 1e9),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clock.wait_until_ms, 3_600_000)
        await trio.sleep(7)
        wall_ms = 3_600_000
        clock.step(-clock.ahead_ms())
    assert trio.current_time() - began == pytest.approx(7)
    await clock.wait_until_ms(3_600_000 + 8000)
    assert trio.current_time() - began == pytest.approx(8)
