"""Both ways of counting: at their limits, at the edges of their times, and under a clock that was set back."""

from __future__ import annotations

import itertools
import random

import pytest

from ticketd.rate_limits.counting import MINUTE_MS, MOST_CALLS, Pace, Rule, Taken, Window, pace_per_minute

NOW = 1_784_000_000_000
MINUTE = Window(100, MINUTE_MS)
POLLING = pace_per_minute(2, 2)


class Caller:
    """Somebody who calls, and what is known of them."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.state: int | None = None

    def call(self, at_ms: int) -> Taken:
        taken = self.rule.take(self.state, NOW + at_ms)
        self.state = taken.state
        return taken

    def passes(self, *at_ms: int) -> list[bool]:
        return [self.call(one).is_allowed for one in at_ms]


# --- windows ---


def test_a_window_takes_as_many_as_its_limit_and_no_more() -> None:
    caller = Caller(MINUTE)
    taken = [caller.call(n) for n in range(102)]
    assert [one.is_allowed for one in taken] == [True] * 100 + [False] * 2
    assert [one.remaining for one in taken] == [*range(99, -1, -1), 0, 0]
    assert {one.reset_at_ms for one in taken} == {NOW + 60_000}
    assert {one.retry_at_ms for one in taken[99:]} == {NOW + 60_000}
    assert [one.retry_at_ms for one in taken[:99]] == [NOW + n for n in range(99)]


def test_a_window_ends_to_the_millisecond_and_the_next_begins_with_the_next_call() -> None:
    caller = Caller(Window(1, 60_000))
    assert caller.passes(0, 59_999, 60_000, 60_001, 119_999, 120_000) == [
        True,
        False,
        True,
        False,
        False,
        True,
    ]
    assert caller.call(500_000).reset_at_ms == NOW + 560_000


@pytest.mark.parametrize("limit", [1, 2, MOST_CALLS - 1, MOST_CALLS])
def test_a_window_counts_up_to_its_bound(limit: int) -> None:
    window = Window(limit, 60_000)
    nearly = window.take(None, NOW).state + max(limit - 2, 0)
    last = window.take(nearly, NOW + 1) if limit > 1 else window.take(None, NOW)
    assert (last.is_allowed, last.remaining) == (True, 0)
    over = window.take(last.state, NOW + 2)
    assert not over.is_allowed
    assert over.state == last.state


@pytest.mark.parametrize(("limit", "length_ms"), [(0, 1), (MOST_CALLS + 1, 1), (1, 0)])
def test_a_window_that_cannot_be_is_refused(limit: int, length_ms: int) -> None:
    with pytest.raises(ValueError, match="window"):
        Window(limit, length_ms)


def test_a_clock_set_back_begins_a_window_anew() -> None:
    caller = Caller(Window(1, 60_000))
    assert caller.passes(0, 1, -3_600_000, -3_599_999) == [True, False, True, False]


# --- paces ---


def test_a_burst_passes_and_then_one_each_interval() -> None:
    caller = Caller(POLLING)
    first, second = caller.call(0), caller.call(0)
    assert (first.is_allowed, first.remaining, first.retry_at_ms) == (True, 1, NOW)
    assert (second.is_allowed, second.remaining, second.retry_at_ms) == (True, 0, NOW + 30_000)
    assert second.reset_at_ms == NOW + 60_000
    assert caller.passes(30_000, 60_000, 90_000) == [True] * 3


def test_a_pace_refuses_until_the_last_millisecond() -> None:
    early, punctual = Caller(POLLING), Caller(POLLING)
    assert early.passes(0, 0, 29_999) == [True, True, False]
    assert punctual.passes(0, 0, 30_000) == [True, True, True]


def test_a_rest_frees_the_whole_burst_and_no_more() -> None:
    caller = Caller(POLLING)
    assert caller.passes(0, 0, 60_000, 60_000, 60_001) == [True, True, True, True, False]
    assert caller.passes(10**9, 10**9, 10**9) == [True, True, False]


@pytest.mark.parametrize(("count", "burst"), [(2, 2), (7, 2), (1, 1), (6000, 60), (13, 3)])
def test_who_keeps_the_pace_is_never_refused(count: int, burst: int) -> None:
    caller = Caller(pace_per_minute(count, burst))
    assert all(caller.passes(*(n * 60_000 // count for n in range(5000))))


def test_polls_every_thirty_seconds_pass_for_ever_early_or_late() -> None:
    chance = random.Random(7)
    for _ in range(20):
        caller = Caller(POLLING)
        assert all(caller.passes(*(n * 30_000 + chance.randint(-15_000, 15_000) for n in range(500))))


def test_the_first_refused_call_costs_an_interval_and_further_ones_nothing() -> None:
    caller = Caller(POLLING)
    caller.passes(0, 0)
    refused = [caller.call(at) for at in (1, 2, 29_999, 30_000, 59_999)]
    assert not any(one.is_allowed for one in refused)
    assert {one.retry_at_ms for one in refused} == {NOW + 60_000}
    assert {one.remaining for one in refused} == {0}
    assert caller.call(60_000).is_allowed


def test_who_keeps_still_passes_exactly_when_told() -> None:
    chance = random.Random(11)
    for _ in range(300):
        caller = Caller(POLLING)
        times = itertools.accumulate(chance.randint(0, 40_000) for _ in range(20))
        *_, taken = [caller.call(at) for at in times]
        if taken.is_allowed:
            continue
        again = Caller(POLLING)
        again.state = caller.state
        wait_ms = taken.retry_at_ms - NOW
        assert not again.call(wait_ms - 1).is_allowed
        assert caller.call(wait_ms).is_allowed


@pytest.mark.parametrize("every_ms", [1, 999, 1000, 10_000, 29_999])
def test_even_who_never_keeps_still_passes_once_in_two_intervals(every_ms: int) -> None:
    caller = Caller(POLLING)
    times = [at for at in range(0, 600_000, every_ms) if caller.call(at).is_allowed]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) < 60_000 + every_ms
    # And is slowed: once the burst is used up, to about half of what who keeps the pace gets.
    if every_ms <= 10_000:
        assert min(gaps[2:]) > 60_000 - every_ms


def test_a_clock_set_back_leaves_no_longer_wait_than_a_refusal() -> None:
    caller = Caller(POLLING)
    caller.passes(0, 0, 1)
    assert caller.call(-3_600_000).retry_at_ms <= NOW - 3_600_000 + 60_000


@pytest.mark.parametrize(("interval_ms", "burst"), [(0, 1), (1, 0)])
def test_a_pace_that_cannot_be_is_refused(interval_ms: int, burst: int) -> None:
    with pytest.raises(ValueError, match="pace"):
        Pace(limit=1, interval_ms=interval_ms, burst=burst)
