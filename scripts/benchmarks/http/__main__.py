"""The command line of ``scripts/bench http``; what it does is told in the package's docstring."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

import structlog

from scripts.benchmarks.http.calls import WORKLOADS
from scripts.benchmarks.http.contenders import NAMES, Contender, make_contenders
from scripts.benchmarks.http.cores import BenchmarkFailed, Cores, check_disk, choose_cores
from scripts.benchmarks.http.idle import measure_idle
from scripts.benchmarks.http.measure import Measured, Plan, measure_all, medians
from scripts.benchmarks.http.profile import profile
from scripts.benchmarks.http.scene import make_scene
from scripts.benchmarks.http.tables import figure_table, index, mixed_line, ratio_table, void_lines
from scripts.benchmarks.http.wrk import find_wrk

_LEAST_SECONDS: Final = 2
_PREPARED_PER_SECOND: Final = 12_000
_MOST_PREPARED: Final = 100_000
"""Two seats each: the most that an event may have."""


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench http", description="Measures the hot calls over HTTP.", allow_abbrev=False
    )
    parser.add_argument("--seconds", type=int, default=6, help="of each measurement (default: 6)")
    parser.add_argument("--runs", type=int, default=3, help="how often all is measured (default: 3)")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="these contenders alone")
    names = [workload.name for workload in WORKLOADS]
    parser.add_argument("--calls", nargs="+", choices=names, default=names, help="these calls alone")
    parser.add_argument("--prepared", type=int, help="requests that can be sent once alone, at most 100000")
    parser.add_argument(
        "--data", type=Path, help="a folder on the disk to measure (default: the system's temporary one)"
    )
    parser.add_argument("--idle", action="store_true", help="measure the memory of idle connections alone")
    parser.add_argument("--connections", type=int, default=5000, help="how many are idle (default: 5000)")
    parser.add_argument("--profile", choices=names, metavar="CALL", help="py-spy of the daemon under a call")
    arguments = parser.parse_args()
    if arguments.seconds < _LEAST_SECONDS:
        parser.error(f"--seconds: at least {_LEAST_SECONDS}, since half of it is for the release")
    return arguments


def run(arguments: argparse.Namespace, folder: Path) -> bool:
    """Measures, and prints Markdown on standard output. False if something is void."""
    find_wrk()
    cores = choose_cores()
    os.sched_setaffinity(0, {cores.load})
    wanted = arguments.prepared or _PREPARED_PER_SECOND * (2 * arguments.seconds + 1)
    prepared = min(wanted, _MOST_PREPARED)
    scene = make_scene(folder / "data", prepared)
    names = tuple(arguments.only)
    if arguments.profile or arguments.idle:
        names = tuple(name for name in names if name in {"ticketd", "hypercorn", "stock"})
        names = names if arguments.only is not NAMES else ("ticketd",)
    contenders = make_contenders(scene, folder / "data", names)
    for contender in contenders:
        contender.prepare(folder, cores)
    if arguments.profile:
        workload = next(one for one in WORKLOADS if one.name == arguments.profile)
        for contender in contenders:
            print(profile(contender, workload, arguments.seconds, prepared, cores, folder))
        return True
    if arguments.idle:
        _print_idle(contenders, arguments.connections, cores, folder)
        return True
    plan = Plan(
        seconds=arguments.seconds, runs=arguments.runs, prepared=prepared, workloads=tuple(arguments.calls)
    )
    results = measure_all(contenders, plan, cores, folder)
    _print_results(results, {contender.name: contender.title for contender in contenders}, plan)
    if "ticketd" in names:
        daemons = [one for one in contenders if one.name == "ticketd"]
        _print_idle(daemons, arguments.connections, cores, folder)
    return not any(one.faults for one in results)


def _print_idle(contenders: list[Contender], connections: int, cores: Cores, folder: Path) -> None:
    for contender in contenders:
        print(measure_idle(contender, connections, cores, folder))


def _print_results(results: list[Measured], titles: dict[str, str], plan: Plan) -> None:
    middle = medians(results)
    figures = index(middle)
    print(f"Medians of {plan.runs} interleaved runs, {plan.seconds} s each.\n")
    print(ratio_table(figures), end="\n\n")
    if line := mixed_line(figures):
        print(line, end="\n\n")
    print(figure_table(middle, titles), end="\n\n")
    for line in void_lines(results):
        print(line)


def main() -> None:
    """Prints the tables; status 1 if something is void, or cannot be measured."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    arguments = read_arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="ticketd-bench-", dir=arguments.data) as name:
            folder = Path(name)
            folder.chmod(0o711)
            check_disk(folder)
            is_valid = run(arguments, folder)
    except BenchmarkFailed as failure:
        print(f"bench http: {failure}", file=sys.stderr)
        is_valid = False
    if not is_valid:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
