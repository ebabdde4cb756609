"""That growth is seen through noise, that its absence is, and that too little is not taken for either."""

from __future__ import annotations

import math
import random

import pytest

from tests.ladder.soak.slopes import FEWEST_POINTS, Point, Trend, estimate_slope, judge_drift, put_together


def series(growth: float, noise: float, count: int = 60, seed: int = 1) -> list[Point]:
    """One point a second that grows so much a second, with normal noise."""
    chance = random.Random(seed)
    return [(at, 100 + growth * at + chance.gauss(0, noise)) for at in range(count)]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("growth", "noise", "trend"),
    [
        (0, 0, Trend.STEADY),
        (0, 1, Trend.STEADY),
        (-1, 1, Trend.STEADY),
        (0.5, 1, Trend.GROWS),
        (0.5, 0, Trend.GROWS),
        (1, 5, Trend.GROWS),
        (0, 100, Trend.UNCLEAR),
    ],
)
def test_a_trend_is_seen_through_noise(growth: float, noise: float, trend: Trend, seed: int) -> None:
    assert judge_drift(series(growth, noise, seed=seed), allowed=10).trend is trend


def test_growth_at_what_is_allowed_is_no_finding() -> None:
    assert judge_drift(series(1, 0), allowed=59).trend is Trend.STEADY
    assert judge_drift(series(1, 0), allowed=58.9).trend is Trend.GROWS


def test_one_leaked_descriptor_a_round_is_seen_among_rounds_of_nonsense() -> None:
    points = [(float(at), 20.0 + at if at % 4 else 5000.0) for at in range(24)]
    assert judge_drift(points, allowed=4).trend is Trend.GROWS


def test_a_single_step_is_no_growth() -> None:
    points = [(float(at), 20.0 + (at > 3)) for at in range(24)]
    assert judge_drift(points, allowed=4).trend is Trend.STEADY


def test_too_few_points_are_unclear_however_steady() -> None:
    assert judge_drift(series(0, 0, count=FEWEST_POINTS - 1), allowed=1).trend is Trend.UNCLEAR
    assert judge_drift(series(0, 0, count=FEWEST_POINTS), allowed=1).trend is Trend.STEADY
    assert judge_drift(series(9, 0, count=FEWEST_POINTS), allowed=1).trend is Trend.GROWS


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(300):
        slope = estimate_slope(series(0.3, 4, count=30, seed=seed))
        assert slope is not None
        assert slope.low <= slope.growth <= slope.high
        held += slope.low <= 0.3 <= slope.high
    assert 288 <= held < 300


def test_the_slope_is_that_of_a_line() -> None:
    slope = estimate_slope(series(0.25, 0))
    assert slope is not None
    assert all(math.isclose(part, 0.25) for part in (slope.growth, slope.low, slope.high))


def test_neighbours_are_put_together() -> None:
    assert put_together([(0, 1), (1, 3), (2, 5), (3, 7), (4, 9)], most=3) == [(0.5, 2), (2.5, 6), (4, 9)]
    assert put_together([(0, 1), (1, 3)], most=3) == [(0, 1), (1, 3)]
    assert judge_drift(series(1, 0, count=1000), allowed=900).trend is Trend.GROWS
