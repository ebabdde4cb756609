"""The rung of histories: buyers play a sale on the real daemon, and every answer must be explained by one order.

Answers carry their commit numbers (``server.commit_header``); see ``tests.ladder.history.check`` for what is judged. A
run with too few answers proves nothing, and is void.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import Final

import trio

from tests.ladder.history.check import History, differences
from tests.ladder.history.model import Sale, Seat
from tests.ladder.rung import Budget, Figure, Finding, Rung, Verdict
from tests.ladder.sale.buyers import Buyer
from tests.ladder.sale.recording import Operation, Recorder
from tests.ladder.sale.stage import Hall, Stage, set_stage

FEWEST_OPERATIONS: Final = 200
FEWEST_OF_A_KIND: Final = 2
KINDS: Final = (
    "join",
    "status",
    "leave",
    "reserve",
    "reserve_best",
    "release",
    "look_at_hold",
    "pay",
    "seats",
)
MOST_FINDINGS: Final = 5
BUYERS: Final = 40
_OVERHEAD_SECONDS: Final = 3.0
_LONGEST_SALE_SECONDS: Final = 60.0
_MOST_TRIES: Final = 4
"""So many sales are played on a slow machine, though the time is up, before a run is void."""


def climb(budget: Budget) -> Verdict:
    """Sales one after another, each in a folder of its own, until the time is up."""
    ends = time.monotonic() + budget.seconds
    counts: Counter[str] = Counter()
    findings: list[Finding] = []
    sales = 0
    while True:
        left = ends - time.monotonic()
        seconds = min(max(left - _OVERHEAD_SECONDS, 1.0), _LONGEST_SALE_SECONDS)
        seed = budget.seed + sales
        history = record(budget.folder / f"sale-{sales}", seed, seconds)
        sales += 1
        counts.update(operation.kind for operation in history.operations if operation.status is not None)
        counts["changes"] += len(history.changes)
        findings += [Finding(what=what, repeat=_command(seed, seconds)) for what in first(history)]
        late = ends - time.monotonic() < 2 * _OVERHEAD_SECONDS
        if findings or (late and (too_few(counts) is None or sales >= _MOST_TRIES)):
            break
    return Verdict(figures=_figures(counts, sales), findings=tuple(findings), void=too_few(counts))


def record(folder: Path, seed: int, seconds: float) -> History:
    """Plays one sale of so many seconds on the real daemon."""
    folder.mkdir(parents=True)
    stage = set_stage(folder / "data", Hall())
    with stage.serving() as daemon:
        operations = trio.run(play, daemon.url, stage, random.Random(seed), seconds)
        daemon.kill()
    return history_of(stage, operations)


def history_of(stage: Stage, operations: list[Operation]) -> History:
    """What was asked and answered on a stage, and what has happened there. The daemon must not be running."""
    sale = Sale(stage.hall, {seat: Seat() for seat in stage.seats})
    return History(operations, stage.changes(), sale, stage.version)


async def play(url: str, stage: Stage, chances: random.Random, seconds: float) -> list[Operation]:
    """All buyers live for so many seconds, and hear what they have asked for; what they asked and were answered."""
    recorder = Recorder(url, stage.key, max_connections=BUYERS)
    buyers = [Buyer(recorder, random.Random(chances.random()), stage.seats) for _ in range(BUYERS)]
    async with trio.open_nursery() as nursery:
        for buyer in buyers:
            nursery.start_soon(buyer.live)
        await trio.sleep(seconds)
        await recorder.finish()
        nursery.cancel_scope.cancel()
    await recorder.aclose()
    return recorder.operations


def first(history: History) -> list[str]:
    """The first few of what is wrong."""
    found: list[str] = []
    for what in differences(history):
        found.append(what)
        if len(found) == MOST_FINDINGS:
            break
    return found


def too_few(counts: Counter[str]) -> str | None:
    """Why so few calls prove nothing; None if they are enough."""
    operations = sum(counts[kind] for kind in KINDS)
    if operations < FEWEST_OPERATIONS:
        return f"only {operations} answers, of at least {FEWEST_OPERATIONS}"
    rare = [kind for kind in KINDS if counts[kind] < FEWEST_OF_A_KIND]
    return f"fewer than {FEWEST_OF_A_KIND} answers to {', '.join(rare)}" if rare else None


def _figures(counts: Counter[str], sales: int) -> dict[str, Figure]:
    answers = sum(number for kind, number in counts.items() if kind != "changes")
    figures: dict[str, Figure] = {"sales": sales, "answers": answers, "changes": counts["changes"]}
    figures.update((f"answers_{kind}", counts[kind]) for kind in KINDS)
    return figures


def _command(seed: int, seconds: float) -> str:
    return f"scripts/ladder --rung history --seed {seed} --minutes {(seconds + _OVERHEAD_SECONDS) / 60:.2f}"


RUNG: Final = Rung(
    name="history",
    summary="answers of a load on the real daemon, replayed in the order of their commits",
    share=2,
    climb=climb,
)
