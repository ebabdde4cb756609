"""The rung: walks of the bare model for volume, then walks of model and product side by side until the time is over.

A long climb uses every core, a short one this process alone. A walk begins on an empty store; after each so many steps
the whole state of both is compared, and in the end the store is verified.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from tests.ladder.model.bare import Bare
from tests.ladder.model.product import Product
from tests.ladder.model.walk import LIMITS, Difference, Pair, Step, steps, walk_bare
from tests.ladder.rung import Budget, Figure, Finding, Rung, Verdict
from tests.ladder.simulation.shrink import cut

STEPS_A_WALK: Final = 10_000
STEPS_A_LOOK: Final = 250
FEWEST_STEPS: Final = 20_000
"""So many steps are walked side by side however slow the machine is."""
_BARE_STEPS: Final = 200_000
_BARE_SHARE: Final = 0.1
_SHORT_SECONDS: Final = 60
_SHRINK_SECONDS: Final = 60.0


class Walked(msgspec.Struct, frozen=True, kw_only=True):
    """How far walks from ``seed`` on came: ``answers`` counts what was answered, "done" or the refusal. ``failed`` is
    the seed of the walk that failed, and ``problem`` what of."""

    steps: int
    walks: int
    seconds: float
    answers: dict[str, int]
    failed: int | None = None
    problem: str = ""


def climb(budget: Budget) -> Verdict:
    """Walks until the time is over, or a walk fails."""
    bare_steps, bare_seconds = _walk_bare(budget.seed, budget.seconds * _BARE_SHARE)
    seconds = budget.seconds * (1 - _BARE_SHARE)
    cores = (os.cpu_count() or 1) if budget.seconds > _SHORT_SECONDS else 1
    if cores == 1:
        all_walked = [walk_pairs(budget.seed, 1, seconds)]
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(cores, mp_context=context) as pool:
            each = [pool.submit(walk_pairs, budget.seed + core, cores, seconds) for core in range(cores)]
            all_walked = [one.result() for one in each]
    answers: Counter[str] = Counter()
    for walked in all_walked:
        answers.update(walked.answers)
    count = sum(walked.steps for walked in all_walked)
    figures: dict[str, Figure] = {
        "bare_transitions": bare_steps,
        "bare_transitions_a_minute": round(60 * bare_steps / bare_seconds),
        "transitions": count,
        "transitions_a_minute": round(sum(60 * walked.steps / walked.seconds for walked in all_walked)),
        "cores": cores,
        "walks": sum(walked.walks for walked in all_walked),
        "done": answers["done"],
        "refused": answers.total() - answers["done"],
        "kinds_of_refusals": len(answers) - 1,
    }
    shrinking = min(budget.seconds, _SHRINK_SECONDS)
    findings = tuple(_finding(walked, shrinking) for walked in all_walked if walked.failed is not None)
    return Verdict(figures=figures, findings=findings)


def walk_pairs(seed: int, stride: int, seconds: float) -> Walked:
    """Walks of the seeds ``seed``, ``seed + stride`` and so on, for so long or until one fails."""
    began = time.monotonic()
    answers: Counter[str] = Counter()
    taken = walks = 0
    while time.monotonic() - began < seconds or taken < FEWEST_STEPS:
        end = began + seconds if taken >= FEWEST_STEPS else math.inf
        problem, count = _walk_pair(seed, islice(steps(seed), STEPS_A_WALK), answers, end)
        taken += count
        walks += 1
        if problem:
            return _walked(taken, walks, began, answers, failed=seed, problem=problem)
        seed += stride
    return _walked(taken, walks, began, answers)


def _walked(
    taken: int,
    walks: int,
    began: float,
    answers: Counter[str],
    *,
    failed: int | None = None,
    problem: str = "",
) -> Walked:
    seconds = max(time.monotonic() - began, 0.001)
    return Walked(
        steps=taken, walks=walks, seconds=seconds, answers=dict(answers), failed=failed, problem=problem
    )


def _walk_pair(seed: int, walk: islice[Step], answers: Counter[str], end: float) -> tuple[str, int]:
    """What is wrong after so many steps, if anything is."""
    count = 0
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
        limit = LIMITS[seed % len(LIMITS)]
        product = Product(Path(folder), limit)
        try:
            pair = Pair(Bare(limit), product)
            for count, step in enumerate(walk, 1):
                answers[product.told(pair.take(step))] += 1
                if count % STEPS_A_LOOK == 0:
                    pair.compare()
                    if time.monotonic() > end:
                        break
            pair.compare()
            problems = product.problems()
            return ("" if not problems else "; ".join(map(str, problems[:3]))), count
        except Exception as error:  # whatever the product raises that no rule foresees is found, too
            return f"step {count}: {type(error).__name__}: {error}", count
        finally:
            product.close()


def _fast_folder() -> str | None:
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


def _walk_bare(seed: int, seconds: float) -> tuple[int, float]:
    """Walks the bare model for so long: how many steps, in how many seconds."""
    began = time.monotonic()
    count = 0
    while not count or time.monotonic() - began < seconds:
        walk_bare(seed + count, _BARE_STEPS)
        count += _BARE_STEPS
    return count, time.monotonic() - began


def _finding(walked: Walked, seconds: float) -> Finding:
    assert walked.failed is not None
    small = shrink(walked.failed, seconds)
    shown = [
        f"  {step.name} by {step.user} {step.arguments} after {step.passes_ms} ms" for step in small[-30:]
    ]
    what = [f"seed {walked.failed}, {walked.problem}", f"cut down to {len(small)} steps:", *shown]
    return Finding(what="\n".join(what), repeat=f"scripts/ladder --rung model --seed {walked.failed}")


def shrink(seed: int, seconds: float) -> Sequence[Step]:
    """The fewest steps found within so many seconds of which a walk fails."""
    end = time.monotonic() + seconds

    def fails(walk: Sequence[Step]) -> bool:
        if time.monotonic() > end:
            return False
        return bool(_walk_pair(seed, islice(walk, None), Counter(), end + 60)[0])

    walk = list(islice(steps(seed), STEPS_A_WALK))
    _, count = _walk_pair(seed, islice(walk, None), Counter(), end + 60)
    return cut(walk[:count], fails)


RUNG: Final = Rung(
    name="model",
    summary="a bare model of the rules, walked alone for volume and beside the product over LMDB, step by step",
    share=2.0,
    climb=climb,
)

__all__ = ["RUNG", "Difference", "climb"]
