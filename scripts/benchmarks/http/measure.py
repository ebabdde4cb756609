"""The runs: every contender does every workload, one contender at a time, and all of them again for each run."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from scripts.benchmarks.http.calls import RELEASE, RESERVE, STATUS, WORKLOADS, Calls, Workload, check_answer
from scripts.benchmarks.http.contenders import Contender
from scripts.benchmarks.http.cores import Cores, Server
from scripts.benchmarks.http.wrk import Load, RunningWrk, WrkReport, run_wrk, write_requests

LIMIT_WORKLOAD: Final = Workload(name="limit", title="a fixed text", status=200)
MIXED: Final = "status during reserves"
_MIXED_CONNECTIONS: Final = 32
_MIXED_PAUSE_MS: Final = 20
"""Those who ask for their place while others reserve ask 50 times a second each, at most 1,600 times in all."""

_COUNTS_FRESH_SECONDS: Final = 3
"""Longer than any contender keeps a count of free seats."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured. ``prepared``: requests that can be sent once alone, for each workload that has them."""

    seconds: int
    runs: int
    prepared: int
    workloads: tuple[str, ...]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement. ``faults``: why it is void; empty if it is not."""

    contender: str
    workload: str
    connections: int
    per_second: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    faults: tuple[str, ...] = ()


def measure_all(contenders: Sequence[Contender], plan: Plan, cores: Cores, folder: Path) -> list[Measured]:
    """Every measurement of every run, in order."""
    results: list[Measured] = []
    for run in range(plan.runs):
        for contender in contenders:
            with fresh_folder(folder) as place, contender.running(place, cores) as server:
                for one in _measure_contender(contender, server, plan, cores, place):
                    results.append(one)
                    _tell(run, one)
    return results


def medians(results: Sequence[Measured]) -> list[Measured]:
    """One for each contender, workload and number of connections: the median of each figure, the faults of all."""
    groups: dict[tuple[str, str, int], list[Measured]] = {}
    for one in results:
        groups.setdefault((one.contender, one.workload, one.connections), []).append(one)

    def median(group: list[Measured], figure: Callable[[Measured], float]) -> float:
        return statistics.median(figure(one) for one in group)

    return [
        Measured(
            contender=contender,
            workload=workload,
            connections=connections,
            per_second=median(group, lambda one: one.per_second),
            cpu_us=median(group, lambda one: one.cpu_us),
            p50_ms=median(group, lambda one: one.p50_ms),
            p99_ms=median(group, lambda one: one.p99_ms),
            faults=tuple(fault for one in group for fault in one.faults),
        )
        for (contender, workload, connections), group in groups.items()
    ]


@contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """A folder for one start of a contender, gone afterwards; one that the database's user may enter."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        place.chmod(0o711)
        yield place


def _measure_contender(
    contender: Contender, server: Server, plan: Plan, cores: Cores, place: Path
) -> Iterator[Measured]:
    if contender.scene is None:
        file = place / "limit.requests"
        write_requests(file, [b"GET / HTTP/1.1\r\nHost: tickets.test\r\n\r\n"])
        for connections in LIMIT_WORKLOAD.connections:
            load = Load(requests=file, connections=connections, seconds=plan.seconds)
            yield _measure(contender, LIMIT_WORKLOAD, load, server, cores)
        return
    calls = Calls(contender.scene, plan.prepared)
    record = place / "reservations"
    for workload in WORKLOADS:
        if workload.name not in plan.workloads:
            continue
        for connections in workload.connections:
            load = prepare_load(calls, workload, server, place, connections, plan.seconds)
            one = _measure(contender, workload, load, server, cores)
            if workload is RESERVE:
                fault = _seats_fault(calls, server, len(record.read_text().splitlines()))
                one = msgspec.structs.replace(one, faults=(*one.faults, *fault))
            yield one
    if STATUS.name in plan.workloads and RESERVE.name in plan.workloads and record.exists():
        yield from _measure_mixed(contender, calls, server, plan, cores, place)


def _seats_fault(calls: Calls, server: Server, reservations: int) -> tuple[str, ...]:
    """Why so many reservations of two seats cannot be: the event has not lost their seats, or has lost more than what
    was in flight besides."""
    least = 2 * reservations
    most = least + 2 * (RESERVE.connections[0] + 1)
    until = time.monotonic() + _COUNTS_FRESH_SECONDS
    while True:
        gone = calls.seats_gone(server)
        if least <= gone <= most:
            return ()
        if time.monotonic() > until:
            return (f"{reservations} answers told of a reservation, and {gone} seats are gone",)
        time.sleep(0.1)  # a poll: the counts that are asked for may be a little old


def prepare_load(  # noqa: PLR0913, PLR0917  # what, of whom, where and how much
    calls: Calls, workload: Workload, server: Server, place: Path, connections: int, seconds: int
) -> Load:
    """Writes a workload's requests and looks at the first answer. Raises BenchmarkFailed if it is not as wanted."""
    file, record = place / f"{workload.name}.requests", place / "reservations"
    requests = list(calls.requests(workload, server, record))
    # wrk keeps the first one to itself, so that one that can be sent once alone can be sent here.
    check_answer(server, requests[0], workload)
    write_requests(file, requests)
    return Load(
        requests=file,
        connections=connections,
        # What was reserved in a run is released in half of it, or until nothing is left.
        seconds=seconds // 2 if workload is RELEASE else seconds,
        once=workload.once,
        drain=workload is RELEASE,
        status=workload.status if workload.watched else 0,
        record=record if workload is RESERVE else None,
    )


def _measure(contender: Contender, workload: Workload, load: Load, server: Server, cores: Cores) -> Measured:
    began = server.cpu_seconds()
    report = run_wrk(load, server, cores)
    cpu_us = (server.cpu_seconds() - began) * 1e6 / max(report.requests, 1)
    return _measured(contender, workload.name, load, report, cpu_us)


def _measure_mixed(  # noqa: PLR0913, PLR0917  # as above
    contender: Contender, calls: Calls, server: Server, plan: Plan, cores: Cores, place: Path
) -> Iterator[Measured]:
    """Status, asked for by some while others reserve at full rate, on what seats are left."""
    status = prepare_load(calls, STATUS, server, place, _MIXED_CONNECTIONS, plan.seconds)
    status = msgspec.structs.replace(status, pause_ms=_MIXED_PAUSE_MS)
    # Past what was answered, and what was in flight at the end.
    taken = len((place / "reservations").read_text().splitlines())
    left = list(calls.requests(RESERVE, server, place / "reservations"))[taken + 2 * RESERVE.connections[0] :]
    write_requests(place / "left.requests", left)
    reserve = Load(
        requests=place / "left.requests",
        connections=RESERVE.connections[0],
        # The reserves surround the polls.
        seconds=plan.seconds + 1,
        once=True,
        status=RESERVE.status,
    )
    reserving = RunningWrk(reserve, server, cores)
    polled = run_wrk(status, server, cores)
    reserved = reserving.wait()
    one = _measured(contender, MIXED, status, polled, 0.0)
    yield msgspec.structs.replace(one, faults=(*one.faults, *reserved.faults()))
    yield _measured(contender, "reserve during status", reserve, reserved, 0.0)


def _measured(contender: Contender, workload: str, load: Load, report: WrkReport, cpu_us: float) -> Measured:
    return Measured(
        contender=contender.name,
        workload=workload,
        connections=load.connections,
        per_second=report.per_second,
        cpu_us=cpu_us,
        p50_ms=report.p50_us / 1000,
        p99_ms=report.p99_us / 1000,
        faults=tuple(report.faults()),
    )


def _tell(run: int, one: Measured) -> None:
    faults = f"  VOID: {'; '.join(one.faults)}" if one.faults else ""
    print(
        f"run {run + 1}  {one.contender:10}{one.workload:24}{one.connections:>4} connections"
        f"{one.per_second:>10,.0f}/s{one.cpu_us:>9,.1f} us{one.p50_ms:>8.2f} ms{one.p99_ms:>9.2f} ms{faults}",
        file=sys.stderr,
        flush=True,
    )
