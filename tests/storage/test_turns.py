"""That a crowd goes through a few at a time and in order, and that nobody is left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from storage.turns import Turns

AT_ONCE = 4


class Rounds:
    """Counts how often the loop has gone round: what a reader at a socket would have had."""

    def __init__(self) -> None:
        self.count = 0

    async def run(self) -> None:
        while True:
            await trio.sleep(0)
            self.count += 1


@pytest.fixture
async def turns() -> AsyncIterator[Turns]:
    turns = Turns(AT_ONCE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.run)
        yield turns
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("count", [AT_ONCE - 1, AT_ONCE])
async def test_few_begin_at_once(turns: Turns, count: int) -> None:
    for _ in range(count):
        with trio.CancelScope() as scope:
            scope.cancel()  # Any wait would be cancelled.
            await turns.wait_to_begin()
        assert not scope.cancelled_caught


async def test_of_a_crowd_a_few_begin_each_round(turns: Turns) -> None:
    begun: list[int] = []
    rounds, all_begun = Rounds(), trio.Event()

    async def begin() -> None:
        await turns.wait_to_begin()
        begun.append(rounds.count)
        if len(begun) == AT_ONCE * 9:
            all_begun.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(rounds.run)
        for _ in range(AT_ONCE * 9):
            nursery.start_soon(begin)
        await all_begun.wait()
        nursery.cancel_scope.cancel()
    # Some rounds of turns may fall between two of the counter.
    assert max(begun.count(one) for one in begun) <= 4 * AT_ONCE
    assert len(turns) == 0


async def test_who_came_first_begins_first(turns: Turns) -> None:
    order: list[int] = []

    async def begin(number: int) -> None:
        await turns.wait_to_begin()
        order.append(number)

    for _ in range(AT_ONCE):
        await turns.wait_to_begin()
    async with trio.open_nursery() as nursery:
        for turn in range(3):
            for _ in range(AT_ONCE):
                nursery.start_soon(begin, turn)
            await trio.sleep(0)
    assert order == sorted(order)


async def test_who_is_cancelled_in_line_takes_nobodys_turn(turns: Turns) -> None:
    for _ in range(AT_ONCE):
        await turns.wait_to_begin()
    with trio.CancelScope() as scope:
        scope.cancel()
        await turns.wait_to_begin()
    assert scope.cancelled_caught
    assert len(turns) == 0
    await turns.wait_to_begin()


async def test_a_crowd_is_resumed_in_order_and_a_few_each_round(turns: Turns) -> None:
    resumed: list[tuple[int, int]] = []
    rounds, all_resumed = Rounds(), trio.Event()

    def wake(number: int) -> Callable[[], None]:
        def resume() -> None:
            resumed.append((number, rounds.count))
            if number == AT_ONCE * 9:
                all_resumed.set()

        return resume

    async with trio.open_nursery() as nursery:
        nursery.start_soon(rounds.run)
        for number in range(AT_ONCE * 9 + 1):
            turns.resume(wake(number))
        assert len(resumed) == AT_ONCE
        await all_resumed.wait()
        nursery.cancel_scope.cancel()
    assert [number for number, _ in resumed] == list(range(AT_ONCE * 9 + 1))
    counts = [at for _, at in resumed]
    assert max(counts.count(one) for one in counts) <= 4 * AT_ONCE


async def test_at_the_end_nobody_is_left_behind() -> None:
    turns, resumed = Turns(AT_ONCE), list[int]()
    begun: list[int] = []

    async def begin() -> None:
        await turns.wait_to_begin()
        begun.append(1)

    async with trio.open_nursery() as crowd, trio.open_nursery() as nursery:
        for _ in range(AT_ONCE * 3):
            crowd.start_soon(begin)
            turns.resume(lambda: resumed.append(1))
        await wait_all_tasks_blocked()
        assert (len(begun), len(resumed)) == (AT_ONCE, AT_ONCE)
        nursery.start_soon(turns.run)
        nursery.cancel_scope.cancel()
    assert (len(begun), len(resumed)) == (AT_ONCE * 3, AT_ONCE * 3)


async def test_whoever_comes_after_the_end_waits_for_nobody() -> None:
    turns, resumed = Turns(AT_ONCE), list[int]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.run)
        nursery.cancel_scope.cancel()
    for number in range(AT_ONCE * 3):
        turns.resume(partial(resumed.append, number))
        with trio.CancelScope() as scope:
            scope.cancel()  # Any wait would be cancelled.
            await turns.wait_to_begin()
        assert not scope.cancelled_caught
    assert resumed == list(range(AT_ONCE * 3))
