"""Silences: when each of them ends, and what is kept of those that are over."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ticketd.front.idle import IdleWatch

IDLE_SECONDS = 3.0


@asynccontextmanager
async def watching(watch: IdleWatch) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()


async def pass_time(clock: MockClock, seconds: float) -> None:
    clock.jump(seconds)
    await wait_all_tasks_blocked()


class Expired:
    """Notes when silences are ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self) -> None:
        self.times.append(trio.current_time())


async def test_a_silence_is_ended_once_when_its_time_is_up(mock_clock: MockClock) -> None:
    watch, expired = IdleWatch(IDLE_SECONDS), Expired()
    async with watching(watch):
        watch.watch(1, expired)
        await pass_time(mock_clock, 0.99)
        assert expired.times == []
        await pass_time(mock_clock, 0.02)
        await pass_time(mock_clock, 100)
    assert expired.times == [1.01]
    assert len(watch) == 0


async def test_a_later_silence_that_ends_sooner_is_not_kept_waiting(mock_clock: MockClock) -> None:
    watch, late, soon = IdleWatch(IDLE_SECONDS), Expired(), Expired()
    async with watching(watch):
        watch.watch(2, late)
        await wait_all_tasks_blocked()
        watch.watch(1, soon)
        await pass_time(mock_clock, 1.5)
        assert (len(soon.times), len(late.times)) == (1, 0)
        await pass_time(mock_clock, 1)
        assert len(late.times) == 1


async def test_what_is_watched_before_the_watch_runs_is_ended(mock_clock: MockClock) -> None:
    watch, expired = IdleWatch(IDLE_SECONDS), Expired()
    watch.watch(1, expired)
    async with watching(watch):
        await pass_time(mock_clock, 1)
    assert len(expired.times) == 1


@pytest.mark.parametrize("first", [1.0, 3.0, 20.0], ids=["shorter", "the same", "longer"])
async def test_a_silence_that_begins_after_a_busy_time_ends_when_it_should(
    first: float, mock_clock: MockClock
) -> None:
    """``first`` is how long the first silence might have lasted, compared with those behind it."""
    watch, expired = IdleWatch(IDLE_SECONDS), Expired()
    async with watching(watch):
        silence = watch.watch(first, expired)
        silence.until = math.inf
        await pass_time(mock_clock, 0.5)
        silence.until = trio.current_time() + IDLE_SECONDS
        await pass_time(mock_clock, IDLE_SECONDS * 0.99)
        assert expired.times == []
        await pass_time(mock_clock, IDLE_SECONDS * 0.02)
        assert len(expired.times) == 1


async def test_who_is_busy_is_not_ended(mock_clock: MockClock) -> None:
    watch, expired = IdleWatch(IDLE_SECONDS), Expired()
    async with watching(watch):
        silence = watch.watch(1, expired)
        silence.until = math.inf
        for _ in range(20):
            await pass_time(mock_clock, IDLE_SECONDS)
        assert expired.times == []
        for _ in range(20):
            silence.until = trio.current_time() + IDLE_SECONDS
            await pass_time(mock_clock, IDLE_SECONDS * 0.9)
        assert expired.times == []
        assert len(watch) == 1


async def test_who_has_left_is_not_ended(mock_clock: MockClock) -> None:
    watch, expired = IdleWatch(IDLE_SECONDS), Expired()
    async with watching(watch):
        watch.forget(watch.watch(1, expired))
        await pass_time(mock_clock, 2)
    assert expired.times == []
    assert len(watch) == 0


async def test_entries_of_those_who_left_stay_few(mock_clock: MockClock) -> None:
    watch, expired = IdleWatch(IDLE_SECONDS), Expired()
    async with watching(watch):
        staying = [watch.watch(60, expired) for _ in range(10)]
        most = 0
        for _ in range(5000):
            watch.forget(watch.watch(60, expired))
            most = max(most, len(watch))
        assert most <= 1100
        assert len(watch) >= len(staying)
        await pass_time(mock_clock, 61)
        assert len(expired.times) == len(staying)
        assert len(watch) == 0


async def test_those_who_were_ended_do_not_count_among_those_who_left(mock_clock: MockClock) -> None:
    watch, expired = IdleWatch(IDLE_SECONDS), Expired()
    async with watching(watch):
        ended = [watch.watch(1, expired) for _ in range(3000)]
        await pass_time(mock_clock, 1)
        for silence in ended:
            watch.forget(silence)
        assert watch._over == 0
        staying = [watch.watch(60, expired) for _ in range(10)]
        assert len(watch) == len(staying)
