"""What the daemon counts of itself, in Prometheus' text form. Labels are names from the code, never ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


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
        self._requests = Counter(
            "ticketd_requests", "Requests answered.", ("route", "method", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "ticketd_request_seconds",
            "From the head of a request to its finished answer.",
            ("route",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
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
        known = method if method in {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"} else "other"
        self._requests.labels(route, known, status).inc()
        self._seconds.labels(route).observe(seconds)

    def add_readings(self, readings: Readings) -> None:
        """Adds gauges whose values are read whenever the metrics are asked for."""
        self._registry.register(_Readings(readings))

    def text(self) -> bytes:
        """All metrics in the text form."""
        return generate_latest(self._registry)


class _Readings(Collector):
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def collect(self) -> list[Metric]:
        return [GaugeMetricFamily(name, found.text, found.value) for name, found in self._readings().items()]

    def describe(self) -> list[Metric]:
        # Without this the registry would collect once at registration, before the parts are ready.
        return []
