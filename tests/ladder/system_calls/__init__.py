"""The rung of system calls: each write and sync of a sale on the real daemon fails once, and its surroundings do.

One case is one call (``tests.ladder.system_calls.injected``) or one of the surroundings
(``tests.ladder.system_calls.surroundings``). Calls are made to fail by strace; without it they are left out, and the
climb is void. Their order follows from the seed, the first few are of all kinds; with time enough all are tried.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from tests.ladder.rung import Budget, Figure, Finding, Rung, Verdict
from tests.ladder.sale.strace import why_not
from tests.ladder.system_calls.injected import FAULTS, Fault, count_calls, play_with
from tests.ladder.system_calls.scripted import Strange
from tests.ladder.system_calls.surroundings import SURROUNDINGS, NotAllowed

FEWEST_CASES: Final = 4
_SECONDS_A_CASE: Final = 4.0
_FIRST: Final = (("fdatasync", "SIGKILL"), ("fdatasync", "EIO"), ("pwrite64", "ENOSPC"))
"""What is tried first: a call and an error; then one of the surroundings."""

Case = tuple[str, Callable[[Path], list[str]]]


def climb(budget: Budget) -> Verdict:
    """Case after case, until the time is up or all are tried."""
    if (reason := why_not()) is not None:
        return Verdict(figures={}, void=reason)
    ends = time.monotonic() + budget.seconds
    repeat = f"scripts/ladder --rung system_calls --seed {budget.seed} --minutes {budget.seconds / 60:.2f}"
    try:
        counts = count_calls(budget.folder / "count")
    except Strange as strange:
        return Verdict(figures={}, findings=(Finding(what=f"without any fault: {strange}", repeat=repeat),))
    cases = list(cases_of(counts, random.Random(budget.seed)))
    findings: list[Finding] = []
    tried, left_out = 0, dict[str, str]()
    for number, (name, play) in enumerate(cases):
        if tried >= FEWEST_CASES and ends - time.monotonic() < _SECONDS_A_CASE:
            break
        try:
            problems = play(budget.folder / f"case-{number}")
        except NotAllowed as why:
            left_out[name] = str(why)
            continue
        tried += 1
        findings += [Finding(what=f"{name}: {problem}", repeat=repeat) for problem in problems[:5]]
        if findings:
            break
    figures: dict[str, Figure] = {"cases": tried, "of_cases": len(cases)}
    figures.update((f"calls_{call}", number) for call, number in sorted(counts.items()))
    figures.update((f"left_out_{name}", why) for name, why in left_out.items())
    return Verdict(figures=figures, findings=tuple(findings))


def cases_of(counts: Counter[str], chances: random.Random) -> Iterator[Case]:
    """All cases, each once: the first few of all kinds, then by chance."""
    faults = [
        Fault(call, at, error, lasting)
        for call, number in sorted(counts.items())
        for at in range(1, number + 1)
        for error in FAULTS
        for lasting in (False, True)
        if not (lasting and error == "SIGKILL")
    ]
    surroundings = list(SURROUNDINGS)
    chances.shuffle(faults)
    chances.shuffle(surroundings)
    first = [next(fault for fault in faults if (fault.call, fault.error) == kind) for kind in _FIRST]
    rest: list[Case] = [_case(fault) for fault in faults if fault not in first]
    rest += [(name, SURROUNDINGS[name]) for name in surroundings[1:]]
    chances.shuffle(rest)
    yield from (_case(fault) for fault in first)
    yield surroundings[0], SURROUNDINGS[surroundings[0]]
    yield from rest


def _case(fault: Fault) -> Case:
    return fault.told(), partial(play_with, fault)


RUNG: Final = Rung(
    name="system_calls",
    summary="each write and sync of a sale fails, or what is around it: the daemon is whole or gone",
    share=3,
    climb=climb,
)
