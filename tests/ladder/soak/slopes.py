"""Whether a quantity grows: the slope of its measurements by Theil and Sen, with what is certain of it.

The slope is the median of those of all pairs of points, so that a third of the points may be nonsense; its interval of
confidence is Sen's, by Kendall's tau without ties (Sen, Journal of the American Statistical Association 63, 1968,
p. 1379). It takes the points for independent; those of a soak are means and counts at rest, a round each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from itertools import combinations
from statistics import median
from typing import Final

import msgspec

NORMAL_QUANTILE: Final = 2.576
"""Of the standard normal distribution, for 99 % between both ends."""
FEWEST_POINTS: Final = 6
"""With fewer the interval has no ends."""
MOST_POINTS: Final = 400
"""80,000 pairs; of more points, neighbours are put together."""

Point = tuple[float, float]
"""When (or at how many of something), and how much."""


class Slope(msgspec.Struct, frozen=True):
    """Growth for each step of one, and between what it lies with 99 % confidence."""

    growth: float
    low: float
    high: float


class Trend(Enum):
    """What can be said of a quantity."""

    STEADY = "steady"
    GROWS = "grows"
    UNCLEAR = "unclear"


class Drift(msgspec.Struct, frozen=True):
    """By how much a quantity has grown from the first point to the last, with ends, and what that means."""

    trend: Trend
    grown: float
    low: float
    high: float


def judge_drift(points: Sequence[Point], allowed: float) -> Drift:
    """GROWS if it has surely grown by more than ``allowed``; STEADY if it surely has not; else UNCLEAR."""
    slope = estimate_slope(points)
    if slope is None:
        return Drift(Trend.UNCLEAR, 0.0, -math.inf, math.inf)
    span = points[-1][0] - points[0][0]
    grown, low, high = (part * span for part in (slope.growth, slope.low, slope.high))
    if low > allowed:
        return Drift(Trend.GROWS, grown, low, high)
    return Drift(Trend.STEADY if high <= allowed else Trend.UNCLEAR, grown, low, high)


def estimate_slope(points: Sequence[Point]) -> Slope | None:
    """The slope of points in order of time, no two at the same; None if there are too few."""
    if len(points) < FEWEST_POINTS:
        return None
    points = put_together(points, MOST_POINTS)
    slopes = sorted((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2))
    count = len(points)
    spread = NORMAL_QUANTILE * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = max(math.floor((len(slopes) - spread) / 2), 0)
    return Slope(median(slopes), slopes[low], slopes[len(slopes) - 1 - low])


def put_together(points: Sequence[Point], most: int) -> list[Point]:
    """At most so many points: each the median of neighbours, at the middle of their times."""
    size = math.ceil(len(points) / most)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(median(at for at, _ in group), median(value for _, value in group)) for group in groups]
