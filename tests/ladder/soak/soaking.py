"""The soak: rounds of load, and after each the daemon at rest, when what it takes up is counted.

At rest every client is gone, so that descriptors and tasks are whole numbers without noise, and one that was left
behind in each round is seen. What grows by its nature (orders are kept) is not judged by the store's file but by what
is free in it: a snapshot that is never closed keeps LMDB from using space again.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

import msgspec
import trio

from tests.ladder.house import FREE_OF_LIMITS, Vitals, open_house
from tests.ladder.rung import Budget, Figure, Finding, Verdict
from tests.ladder.soak.load import Round, play_round
from tests.ladder.soak.slopes import Drift, Point, Trend, judge_drift
from tests.support.events import room

ENVIRONMENT: Final = {
    **FREE_OF_LIMITS,
    # Who does not read is given up soon, so that a rest comes.
    "TICKETD_SERVER_SEND_TIMEOUT_SECONDS": "2",
    "TICKETD_SERVER_BODY_TIMEOUT_SECONDS": "2",
    "TICKETD_REALTIME_STALLED_SECONDS": "2",
}
ROUNDS: Final = 120
"""Of a long soak."""
FEWEST_ROUNDS: Final = 10
LONGEST_ROUND_SECONDS: Final = 30.0
SHORTEST_ROUND_SECONDS: Final = 0.5
WARM_UP_SHARE: Final = 0.25
"""Of the rounds, whose measurements do not count: caches fill, and the interpreter takes what it will keep."""
CACHES_FULL_SECONDS: Final = 600
"""By then the daemon remembers as many tokens as it ever will: some 14 MiB of them."""
STOP_SECONDS: Final = 2.0
MOST_ANSWERS_TOLD: Final = 5
MIB: Final = 1024 * 1024


class Sample(msgspec.Struct, frozen=True):
    """One round, and the daemon at rest after it; ``at_s`` since the first round began."""

    at_s: float
    round: Round
    vitals: Vitals
    busy_seconds: float


class Quantity(msgspec.Struct, frozen=True):
    """Something that must not grow, and by how much it may seem to: ``allowed`` in its unit, or ``allowed_share`` of
    its median. ``allowed_early`` comes on top where what is counted begins before the daemon's caches are full."""

    name: str
    of: Callable[[Sample], float]
    allowed: float = 0.0
    allowed_share: float = 0.0
    allowed_early: float = 0.0


def processor_ms(sample: Sample) -> float:
    """What a request costs the daemon, whatever else the machine does."""
    return sample.busy_seconds * 1000 / sum(sample.round.answers.values())


QUANTITIES: Final = (
    Quantity(
        "own_memory_mib", lambda sample: sample.vitals.own_memory_bytes / MIB, allowed=12, allowed_early=16
    ),
    Quantity("descriptors", lambda sample: sample.vitals.descriptors, allowed=3),
    Quantity("tasks", lambda sample: sample.vitals.tasks, allowed=3),
    Quantity("reader_slots", lambda sample: sample.vitals.reader_slots, allowed=3),
    Quantity("free_file_mib", lambda sample: sample.vitals.free_bytes / MIB, allowed=4),
    Quantity("latency_ms", lambda sample: median(sample.round.latencies_ms), allowed_share=1.0),
    Quantity("processor_ms_a_request", processor_ms, allowed_share=0.3),
)


def climb(budget: Budget) -> Verdict:
    """Soaks for so long, and judges what grew."""
    samples, ended_badly = trio.run(_soak, budget)
    repeat = f"scripts/ladder --rung soak --seed {budget.seed} --minutes {budget.seconds / 60:.3g}"
    return judge(samples, ended_badly, repeat)


async def _soak(budget: Budget) -> tuple[list[Sample], list[str]]:
    """The samples, and what was wrong about the daemon in the end."""
    chance = random.Random(budget.seed)
    end = trio.current_time() + budget.seconds
    with open_house(
        budget.folder, ENVIRONMENT, hold_seconds=2, waiting_room=room(admit_per_minute=60_000)
    ) as house:
        seconds = min(max(budget.seconds / ROUNDS, SHORTEST_ROUND_SECONDS), LONGEST_ROUND_SECONDS)
        began = trio.current_time()
        before = house.vitals()
        samples: list[Sample] = []
        while len(samples) < FEWEST_ROUNDS or trio.current_time() + seconds + STOP_SECONDS < end:
            told = await play_round(house, chance, seconds)
            vitals = house.rest()
            busy = vitals.processor_seconds - before.processor_seconds
            samples.append(Sample(trio.current_time() - began, told, vitals, busy))
            before = vitals
        return samples, house.end()


def judge(samples: Sequence[Sample], ended_badly: Sequence[str], repeat: str) -> Verdict:
    """What of the quantities grew, and what else was not as it should be, ``ended_badly`` included."""
    counted = samples[int(len(samples) * WARM_UP_SHARE) :]
    found: list[str] = []
    unclear: list[str] = []
    figures: dict[str, Figure] = _totals(samples)
    for quantity in QUANTITIES:
        points: list[Point] = [(sample.at_s, quantity.of(sample)) for sample in counted]
        usual = median(value for _, value in points) if points else 0.0
        allowed = quantity.allowed + quantity.allowed_share * usual
        if not points or points[0][0] < CACHES_FULL_SECONDS:
            allowed += quantity.allowed_early
        drift = judge_drift(points, allowed)
        figures[quantity.name] = (
            f"{usual:.4g}, grew {drift.grown:+.3g} ({drift.low:+.3g} to {drift.high:+.3g})"
        )
        if drift.trend is Trend.GROWS:
            found.append(_growth(quantity, usual, drift, points))
        elif drift.trend is Trend.UNCLEAR:
            unclear.append(quantity.name)
    unlike = [unlike for sample in samples for unlike in sample.round.unlike]
    found += [*unlike[:MOST_ANSWERS_TOLD], *ended_badly]
    findings = tuple(Finding(what=what, repeat=repeat) for what in dict.fromkeys(found))
    return Verdict(figures=figures, findings=findings, void=_void(samples, unclear))


def _growth(quantity: Quantity, usual: float, drift: Drift, points: Sequence[Point]) -> str:
    minutes = (points[-1][0] - points[0][0]) / 60
    return (
        f"{quantity.name} grows: by {drift.grown:.4g} ({drift.low:.4g} to {drift.high:.4g}) within {minutes:.2g} min,"
        f" at {usual:.4g}"
    )


def _totals(samples: Sequence[Sample]) -> dict[str, Figure]:
    answers: Counter[int] = sum((sample.round.answers for sample in samples), Counter())
    return {
        "rounds": len(samples),
        "requests": sum(answers.values()),
        "visits": sum(sample.round.visits for sample in samples),
        "tickets": sum(sample.round.tickets for sample in samples),
        "answers": ", ".join(f"{status}: {count}" for status, count in sorted(answers.items())),
        "commands": samples[-1].vitals.commands if samples else 0,
        "file_mib": samples[-1].vitals.file_bytes / MIB if samples else 0,
    }


def _void(samples: Sequence[Sample], unclear: Sequence[str]) -> str | None:
    if not sum(sample.round.visits for sample in samples) or not sum(s.round.tickets for s in samples):
        return "nobody bought anything"
    if unclear:
        return f"too short, or too noisy, to tell whether these grow: {', '.join(unclear)}"
    return None
