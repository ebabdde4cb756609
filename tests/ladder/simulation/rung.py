"""The rung: scripts from one seed after the other until the time is over, and a small script of whatever fails.

A sale-hour is an hour, on the clock of the simulation, of one event that is on sale, in which 60 visits of 2 to 20
steps begin, an operator or a till does 15 things, and the daemon that all events share dies 7 times and is restarted
2 times.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Final

from tests.ladder.rung import Budget, Figure, Finding, Rung, Verdict
from tests.ladder.simulation.run import Outcome, play
from tests.ladder.simulation.script import Script, decode_script, encode_script, write_script
from tests.ladder.simulation.shrink import shrink

FEWEST_ANSWERS: Final = 500
_SHRINK_SECONDS: Final = 120.0
_TOLD: Final = ("answers", "commits", "crashes", "restarts", "heard", "verified")


def climb(budget: Budget) -> Verdict:
    """Plays the script of the budget's seed, and those of the seeds after it, until the time is over or one fails."""
    end = time.monotonic() + budget.seconds
    figures: Counter[str] = Counter()
    sale_seconds, cpu_seconds = 0, 0.0
    findings: list[Finding] = []
    number = budget.seed
    while not findings and (time.monotonic() < end or not figures):
        outcome = play(write_script(number))
        figures.update(outcome.figures)
        figures["scripts"] += 1
        sale_seconds += outcome.sale_seconds
        cpu_seconds += outcome.cpu_seconds
        if outcome.problems:
            findings.append(_finding(number, outcome, budget.folder, min(budget.seconds, _SHRINK_SECONDS)))
        number += 1
    told: dict[str, Figure] = {name: figures[name] for name in ("scripts", *_TOLD)}
    told["sale_hours"] = round(sale_seconds / 3600, 1)
    told["sale_hours_a_cpu_minute"] = round(sale_seconds / 60 / max(cpu_seconds, 0.001), 1)
    void = None if findings or figures["answers"] >= FEWEST_ANSWERS else "nobody was answered"
    return Verdict(figures=told, findings=tuple(findings), void=void)


def _finding(seed: int, outcome: Outcome, folder: Path, seconds: float) -> Finding:
    """Shrinks what failed and keeps it in a file."""
    small = shrink(write_script(seed), outcome.invariants[0], play, seconds=seconds)
    file = folder / f"simulation-{seed}.json"
    file.write_bytes(encode_script(small))
    again = play(small)
    lines = [f"seed {seed}: {outcome.problems[0]}"]
    lines.append(
        f"python -m tests.ladder.simulation {file} plays it cut down to {len(small.actions)} actions:"
    )
    lines += [f"  {action}" for action in small.actions[:20]]
    lines += [f"which ends so: {problem}" for problem in again.problems[:3]]
    return Finding(what="\n".join(lines), repeat=f"scripts/ladder --rung simulation --seed {seed}")


def read_script(file: Path) -> Script:
    """A script that was kept."""
    return decode_script(file.read_bytes())


RUNG: Final = Rung(
    name="simulation",
    summary="the whole daemon on virtual time: buyers, bots, operators, tills, crashes between commits, gateway faults",
    share=3.0,
    climb=climb,
)
