from __future__ import annotations

import trio
import trio.testing

from storage.clock import TrioClock
from ticketd.tasks.alarm import Alarm

START_MS = 1_800_000_000_000


async def test_it_waits_until_the_time(autojump_clock: trio.testing.MockClock) -> None:
    clock = TrioClock(START_MS)
    await Alarm(clock).wait_until_ms(START_MS + 1000)
    assert clock.now_ms() == START_MS + 1000


async def test_a_ring_ends_the_wait(autojump_clock: trio.testing.MockClock) -> None:
    clock = TrioClock(START_MS)
    alarm = Alarm(clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarm.wait_until_ms, None)
        await trio.sleep(1)
        alarm.ring()
    assert clock.now_ms() == START_MS + 1000


async def test_a_ring_while_nobody_waits_ends_the_next_wait_and_no_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock = TrioClock(START_MS)
    alarm = Alarm(clock)
    alarm.ring()
    alarm.ring()
    await alarm.wait_until_ms(None)
    assert clock.now_ms() == START_MS
    await alarm.wait_until_ms(START_MS + 1000)
    assert clock.now_ms() == START_MS + 1000


async def test_rings_before_a_reset_are_forgotten_and_later_ones_are_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock = TrioClock(START_MS)
    alarm = Alarm(clock)
    alarm.ring()
    alarm.reset()
    await alarm.wait_until_ms(START_MS + 1000)
    assert clock.now_ms() == START_MS + 1000
    alarm.reset()
    alarm.ring()
    await alarm.wait_until_ms(None)
    assert clock.now_ms() == START_MS + 1000


async def test_other_tasks_have_their_turn_also_where_there_is_nothing_to_wait_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    alarm = Alarm(TrioClock(START_MS))
    alarm.ring()
    with trio.testing.assert_checkpoints():
        await alarm.wait_until_ms(None)
    with trio.testing.assert_checkpoints():
        await alarm.wait_until_ms(START_MS - 1)


async def test_a_cancelled_wait_is_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    alarm = Alarm(TrioClock(START_MS))
    with trio.move_on_after(1) as scope:
        await alarm.wait_until_ms(None)
    assert scope.cancelled_caught
