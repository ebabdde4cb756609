"""A simulated sale of any size on virtual time, checked move by move against the reference of ``tests/sim``.

Prints a line for each virtual minute and the figures at the end. The first difference ends it with status 1 and the
command that repeats it. The store of a million joiners, made in a temporary folder, takes some GB; ``--data`` names
another place for it.
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import structlog
import trio
import trio.testing

from tests.sim.crowd import Crowd
from tests.sim.reference import Difference
from tests.sim.sale import Figures, simulate


def main() -> int:
    """Runs one sale; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--joiners", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--data", type=Path, help="where the store is made; default: the temporary folder")
    given = parser.parse_args()
    # A line for each request would drown the progress.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    repeat = f"scripts/simulate-sale --joiners {given.joiners} --seed {given.seed}"
    print(repeat, flush=True)
    began = time.perf_counter()

    def tell(line: str) -> None:
        print(f"{line} {time.perf_counter() - began:>7.0f} s {_resident_mib():>6,} MiB", flush=True)

    figures: Figures | None = None
    with tempfile.TemporaryDirectory(dir=given.data) as folder:
        try:
            figures = trio.run(
                simulate,
                Path(folder),
                Crowd(given.joiners, given.seed),
                tell,
                clock=trio.testing.MockClock(autojump_threshold=0),
            )
        except* Difference as differences:
            print(f"difference: {_first(differences)}\nto repeat: {repeat}", file=sys.stderr)
    if figures is None:
        return 1
    _print(figures, time.perf_counter() - began)
    return 0


def _first(group: BaseExceptionGroup[Difference]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def _print(figures: Figures, seconds: float) -> None:
    rows: list[tuple[str, float]] = [
        ("joined", figures.joined),
        ("refusals, each of them foreseen", figures.refused),
        ("longest line", figures.longest_line),
        *((f"went to {state}", count) for state, count in sorted(figures.moves.items())),
        ("seats held for a while", figures.holds),
        ("commits that moved somebody", figures.commits),
        ("places compared", figures.looked),
        ("requests over the API", figures.asked),
        ("seconds", seconds),
        ("most memory, MiB", _resident_mib()),
    ]
    for name, figure in rows:
        print(f"{name:<36}{figure:>12,.0f}")
    print("no difference")


def _resident_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    sys.exit(main())
