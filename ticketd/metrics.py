"""What the daemon counts of itself, in Prometheus' text form. Labels are names from the code, never ids.

What is counted with every request is counted in plain numbers of the event loop's own, and put into a metric's form
when somebody asks: the library's counters look their labels up and take a lock each time.
"""

from __future__ import annotations

import itertools
import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_BOUNDS: Final = (*map(str, _BUCKETS), "+Inf")


class Reading(NamedTuple):
    """A gauge: what it is, and its value now."""

    text: str
    value: float


Readings = Callable[[], dict[str, Reading]]
"""Gauges read at the moment of asking, by name."""


class Metrics:
    """The daemon's own registry. One for each daemon, so that two in one process do not mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests: dict[tuple[str, str, int], _Count] = {}
        self._seconds: dict[str, _Durations] = {}
        self._registry.register(_Read(self._read_requests))
        self._rate_limited = Counter(
            "ticketd_rate_limited", "Requests refused by a rate limit.", ("class",), registry=self._registry
        )
        self._hoarding_refusals = Counter(
            "ticketd_hoarding_refusals",
            "Joins and reservations refused on account of hoarding.",
            ("reason",),
            registry=self._registry,
        )

    def rate_limited(self, rate: str) -> None:
        """Counts one request that a rate limit refused; ``rate`` is the name of its class."""
        self._rate_limited.labels(rate).inc()

    def hoarding_refused(self, reason: str) -> None:
        """Counts one join or reservation refused on account of hoarding; ``reason`` is one of the domain's."""
        self._hoarding_refusals.labels(reason).inc()

    def request_answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Counts one answered request; ``route`` is the path as the table of endpoints has it."""
        known = method if method in _METHODS else "other"
        count = self._requests.get((route, known, status))
        if count is None:
            count = self._requests[route, known, status] = _Count()
        count.calls += 1
        durations = self._seconds.get(route)
        if durations is None:
            durations = self._seconds[route] = _Durations()
        durations.sum += seconds
        durations.by_bucket[bisect_left(_BUCKETS, seconds)] += 1

    def add_readings(self, readings: Readings) -> None:
        """Adds gauges whose values are read whenever the metrics are asked for."""
        self._registry.register(
            _Read(lambda: [GaugeMetricFamily(name, one.text, one.value) for name, one in readings().items()])
        )

    def text(self) -> bytes:
        """All metrics in the text form."""
        return generate_latest(self._registry)

    def _read_requests(self) -> list[Metric]:
        requests = CounterMetricFamily(
            "ticketd_requests", "Requests answered.", labels=("route", "method", "status")
        )
        for (route, method, status), count in self._requests.items():
            requests.add_metric((route, method, str(status)), count.calls, created=count.since)
        seconds = HistogramMetricFamily(
            "ticketd_request_seconds", "From the head of a request to its finished answer.", labels=("route",)
        )
        for route, durations in self._seconds.items():
            buckets = list(zip(_BOUNDS, itertools.accumulate(durations.by_bucket), strict=True))
            seconds.add_metric((route,), buckets, durations.sum)
            seconds.add_sample(f"{seconds.name}_created", {"route": route}, durations.since)
        return [requests, seconds]


class _Count:
    """A counter, and since when it counts (Unix seconds)."""

    __slots__ = ("calls", "since")

    def __init__(self) -> None:
        self.calls = 0
        self.since = time.time()


class _Durations:
    """How long something took, counted by ``_BUCKETS`` and one more for what took longer."""

    __slots__ = ("by_bucket", "since", "sum")

    def __init__(self) -> None:
        self.by_bucket = [0] * (len(_BUCKETS) + 1)
        self.sum = 0.0
        self.since = time.time()


class _Read(Collector):
    """Metrics that are made at the moment of asking."""

    def __init__(self, read: Callable[[], list[Metric]]) -> None:
        self._read = read

    def collect(self) -> list[Metric]:
        return self._read()

    def describe(self) -> list[Metric]:
        # Without this the registry would collect once at registration, before the parts are ready.
        return []
