"""Turns for calls of Stripe: how many at once, how many in any second, and who waits in vain."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from ticketd.ports.stripe_turns import StripeTurns, TooBusy


async def starts(turns: StripeTurns, calls: int, endpoint: str = "create") -> list[float]:
    """When each of so many calls that come at once began, from now on."""
    began, found = trio.current_time(), []

    async def call() -> None:
        async with turns.turn(endpoint, began + 60):
            found.append(round(trio.current_time() - began, 6))

    async with trio.open_nursery() as nursery:
        for _ in range(calls):
            nursery.start_soon(call)
    return found


async def test_so_many_calls_of_an_endpoint_begin_in_any_second(autojump_clock: MockClock) -> None:
    turns = StripeTurns(100, 25)
    assert await starts(turns, 25) == [0.0] * 25
    assert await starts(turns, 26) == [1.0] * 25 + [2.0]
    await trio.sleep(0.5)
    assert await starts(turns, 25) == [0.0] * 0 + [0.5] * 0 + sorted([0.0] * 24 + [0.5])


async def test_each_endpoint_has_its_own_rate(autojump_clock: MockClock) -> None:
    turns = StripeTurns(100, 1)
    assert await starts(turns, 2) == [0.0, 1.0]
    assert await starts(turns, 1, "capture") == [0.0]


@pytest.mark.parametrize("calls", [2, 3, 4])
async def test_no_more_than_so_many_are_under_way(autojump_clock: MockClock, calls: int) -> None:
    turns, under_way, most = StripeTurns(3, 1000), 0, 0

    async def call() -> None:
        nonlocal under_way, most
        async with turns.turn("create", trio.current_time() + 60):
            under_way += 1
            most = max(most, under_way)
            await trio.sleep(1)
            under_way -= 1

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(calls):
            nursery.start_soon(call)
    assert most == min(calls, 3)
    assert trio.current_time() - began == pytest.approx(2 if calls > 3 else 1)


@pytest.mark.parametrize(("seconds", "comes"), [(0.9, False), (1.0, True), (1.1, True)])
async def test_a_turn_after_the_deadline_is_none(
    autojump_clock: MockClock, seconds: float, comes: bool
) -> None:
    turns = StripeTurns(10, 1)
    await starts(turns, 1)
    began = trio.current_time()
    try:
        async with turns.turn("create", began + seconds):
            assert comes
    except TooBusy:
        assert not comes
        assert trio.current_time() == began, "it is known at once"
    # Who was sent away has taken nothing.
    async with turns.turn("create", began + 60):
        assert trio.current_time() - began == pytest.approx(2 if comes else 1)


async def test_no_place_until_the_deadline(autojump_clock: MockClock) -> None:
    turns = StripeTurns(1, 1000)

    async def hold() -> None:
        async with turns.turn("create", trio.current_time() + 60):
            await trio.sleep(10)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        with pytest.raises(TooBusy):
            async with turns.turn("create", began + 5):
                raise AssertionError("there is no place")
        assert trio.current_time() - began == pytest.approx(5)
        async with turns.turn("create", began + 60):
            assert trio.current_time() - began == pytest.approx(10)


async def test_a_caller_who_is_cancelled_gives_the_place_back(autojump_clock: MockClock) -> None:
    turns = StripeTurns(1, 1)
    await starts(turns, 1)
    with trio.move_on_after(0.5) as waiting:
        async with turns.turn("create", trio.current_time() + 60):
            raise AssertionError("the rate has no turn yet")
    assert waiting.cancelled_caught
    assert len(await starts(turns, 1)) == 1
