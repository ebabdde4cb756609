"""The figures as Markdown, for ``docs/benchmarks.md``: ratios beside their aims, then what every contender did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from scripts.benchmarks.http.calls import WORKLOADS
from scripts.benchmarks.http.measure import LIMIT_WORKLOAD, MIXED, Measured

TICKETD: Final = "ticketd"
OTHERS: Final = ("limit", "hypercorn", "stock", "sqlite", "postgres")
AIMS: Final[dict[str, dict[str, float]]] = {
    "status": {"limit": 0.5, "stock": 10},
    "event": {"limit": 0.4, "stock": 10},
    "seats-304": {"limit": 0.5, "stock": 10},
    "seats": {"limit": 0.25, "stock": 10},
    "join": {"stock": 10},
    "reserve": {"limit": 0.25, "postgres": 5, "stock": 10},
    "release": {"stock": 10},
}
"""By call: how many times the requests/s of another contender are wanted."""
MIXED_P99_MS: Final = 20
_TITLES: Final = {one.name: one.title for one in (*WORKLOADS, LIMIT_WORKLOAD)}
_RATIO_HEAD: Final = (
    "| call | connections | requests/s | CPU | p50 · p99 | of the limit | of the limit, by CPU "
    "| × front `hypercorn` | × stock Hypercorn | × SQLite | × PostgreSQL | aims |"
)

Figures = dict[tuple[str, str, int], Measured]


def index(results: Sequence[Measured]) -> Figures:
    """The medians by contender, call and connections."""
    return {(one.contender, one.workload, one.connections): one for one in results}


def ratio(figures: Figures, workload: str, connections: int, other: str) -> float | None:
    """How many times ``other``'s requests/s the daemon answers; None where one of the two is not measured, or void.

    The limit answers one fixed text, whatever the call is.
    """
    theirs = LIMIT_WORKLOAD.name if other == "limit" else workload
    own = figures.get((TICKETD, workload, connections))
    rival = figures.get((other, theirs, connections))
    if own is None or rival is None or own.faults or rival.faults:
        return None
    return own.per_second / rival.per_second


def ratio_table(figures: Figures) -> str:
    """The daemon's ratios to every other contender, by call, and whether they are as aimed at."""
    lines = [_RATIO_HEAD, f"|{'---|' * (_RATIO_HEAD.count('|') - 1)}"]
    for (contender, workload, connections), one in figures.items():
        if contender != TICKETD or workload not in _TITLES:
            continue
        ratios = {other: ratio(figures, workload, connections, other) for other in OTHERS}
        cells = [
            _TITLES[workload],
            str(connections),
            "void" if one.faults else f"{one.per_second:,.0f}",
            f"{one.cpu_us:,.1f} µs",
            f"{one.p50_ms:.1f} · {one.p99_ms:.1f} ms",
            _percent(ratios["limit"]),
            _percent(_cpu_ratio(figures, one)),
            *(_times(ratios[other]) for other in OTHERS[1:]),
            _aims(workload, ratios),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def figure_table(results: Sequence[Measured], titles: dict[str, str]) -> str:
    """What every contender did, a column each: requests/s, CPU time a request, p99. ``titles``: by contender."""
    figures = index(results)
    rows = list(dict.fromkeys((one.workload, one.connections) for one in results))
    lines = [
        f"| requests/s · CPU · p99 | connections | {' | '.join(titles.values())} |",
        f"|{'---|' * (2 + len(titles))}",
    ]
    for workload, connections in rows:
        found = [figures.get((contender, workload, connections)) for contender in titles]
        cells = [_TITLES.get(workload, workload), str(connections), *(_figures(one) for one in found)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _figures(one: Measured | None) -> str:
    if one is None:
        return ""
    if one.faults:
        return "void"
    cpu = f" · {one.cpu_us:,.0f} µs" if one.cpu_us else ""
    return f"{one.per_second:,.0f}{cpu} · {one.p99_ms:,.1f} ms"


def mixed_line(figures: Figures) -> str:
    """How long status took while others reserved at full rate."""
    found = [one for (who, what, _), one in figures.items() if who == TICKETD and what == MIXED]
    if not found:
        return ""
    one = found[0]
    met = "void" if one.faults else ("met" if one.p99_ms < MIXED_P99_MS else "missed")
    return (
        f"Status while 256 connections reserve at full rate: {one.per_second:,.0f} polls/s, p50 {one.p50_ms:.1f} ms, "
        f"p99 {one.p99_ms:.1f} ms (aim: under {MIXED_P99_MS} ms, {met})."
    )


def void_lines(results: Sequence[Measured]) -> list[str]:
    """What is void, and why."""
    return [
        f"VOID: {one.contender}, {one.workload}, {one.connections} connections: {'; '.join(one.faults)}"
        for one in results
        if one.faults
    ]


def _cpu_ratio(figures: Figures, one: Measured) -> float | None:
    limit = figures.get(("limit", LIMIT_WORKLOAD.name, one.connections))
    return None if limit is None or not one.cpu_us else limit.cpu_us / one.cpu_us


def _aims(workload: str, ratios: dict[str, float | None]) -> str:
    texts = []
    for other, wanted in AIMS.get(workload, {}).items():
        found = ratios[other]
        aim = f"≥ {wanted:.0%} of the limit" if other == "limit" else f"≥ {wanted:g} × {other}"
        met = "not measured" if found is None else ("met" if found >= wanted else "missed")
        texts.append(f"{aim}: {met}")
    return "; ".join(texts)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
