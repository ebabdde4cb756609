"""The rung of kills: the real daemon under load is killed and started again, many times, and nothing told is lost.

Buyers ask again what was not answered, and look at all that they have: places in line, holds, orders. All of it is one
history, judged as ``tests.ladder.history`` judges it: every answer before and after each kill must be that of one order
of commits. While the daemon is down the machine's clock goes on by longer than any hold lives, so that one whose time
was not credited would be seen to end.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio

from tests.ladder.history import first, history_of
from tests.ladder.kills.credit import check_credit
from tests.ladder.rung import Budget, Finding, Rung, Verdict
from tests.ladder.sale.buyers import Buyer
from tests.ladder.sale.recording import Recorder
from tests.ladder.sale.stage import ENVIRON, Hall, Stage, set_stage
from tests.support.machine import Machine
from tests.support.process import DaemonProcess, NotStarted

DOWN_SECONDS: Final = 700
"""By so much the machine's clock goes on while the daemon is down: longer than a hold lives, and less than is credited
at most."""
BUYERS: Final = 16
KILLS_A_SALE: Final = 20
FEWEST_KILLS: Final = 5
FEWEST_ANSWERS_A_LIFE: Final = 10
_SECONDS_A_LIFE: Final = (0.1, 0.7)
_SECONDS_A_KILL: Final = 2.5
_STILLBORN: Final = 0.15
"""How often a daemon is killed before it serves."""


def climb(budget: Budget) -> Verdict:
    """Sales one after another, each with some kills, until the time is up."""
    ends = time.monotonic() + budget.seconds
    kills = sales = answers = 0
    findings: list[Finding] = []
    while not findings and (kills < FEWEST_KILLS or ends - time.monotonic() > FEWEST_KILLS * _SECONDS_A_KILL):
        left = int(max(ends - time.monotonic(), 0) / _SECONDS_A_KILL)
        planned = min(max(left, FEWEST_KILLS), KILLS_A_SALE)
        seed = budget.seed + sales
        sale = KilledSale(budget.folder / f"sale-{sales}", seed)
        try:
            sale.run(planned)
            found = list(sale.problems())
        except NotStarted as failure:
            found = [str(failure)]
        sales += 1
        kills += sale.kills
        answers += sum(operation.status is not None for operation in sale.operations)
        repeat = f"scripts/ladder --rung kills --seed {seed} --minutes {planned * _SECONDS_A_KILL / 60:.2f}"
        findings = [Finding(what=what, repeat=repeat) for what in found]
    void = None
    if answers < FEWEST_ANSWERS_A_LIFE * kills:
        void = f"only {answers} answers in {kills} lives"
    return Verdict(
        figures={"kills": kills, "sales": sales, "answers": answers}, findings=tuple(findings), void=void
    )


class KilledSale:
    """One sale in which the daemon is killed again and again."""

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir(parents=True)
        self._stage: Stage = set_stage(folder / "data", Hall(rows=8, max_active=BUYERS // 2))
        self._machine = Machine(folder)
        self._chances = random.Random(seed)
        self._recorder = Recorder("http://127.0.0.1:1", self._stage.key, BUYERS)
        self._buyers = [
            Buyer(self._recorder, random.Random(self._chances.random()), self._stage.seats)
            for _ in range(BUYERS)
        ]
        self._lives: list[float] = []
        self.operations = self._recorder.operations
        self.kills = 0

    def run(self, kills: int) -> None:
        """So many lives, each ended by a kill; and one more, in which all that there is is looked at."""
        for life in range(kills):
            if self._chances.random() < _STILLBORN:
                self._kill_at_the_start()
            self._live(life, self._chances.uniform(*_SECONDS_A_LIFE))
        self._live(kills, 0)

    def _environ(self) -> dict[str, str]:
        return {**self._machine.environ, **ENVIRON}

    def _live(self, life: int, seconds: float) -> None:
        """One life of the daemon. A life of no time is the last one, and is not ended by a kill."""
        self._machine.set_clock(life * DOWN_SECONDS)
        self._lives.append(time.monotonic())
        with self._stage.serving(self._environ()) as daemon:
            self._recorder.turn_to(daemon.url, BUYERS)

            async def play() -> None:
                try:
                    await self._play(daemon, seconds)
                finally:
                    await self._recorder.aclose()

            trio.run(play)
            if seconds:
                self.kills += 1
                self._machine.forget(daemon.process.pid)
            else:
                daemon.stop()

    async def _play(self, daemon: DaemonProcess, seconds: float) -> None:
        async with trio.open_nursery() as nursery:
            for buyer in self._buyers:
                nursery.start_soon(buyer.come_back)
        if not seconds:
            return
        async with trio.open_nursery() as nursery:
            for buyer in self._buyers:
                nursery.start_soon(buyer.live)
            await trio.sleep(seconds)
            daemon.kill()
            # What was under way hears that it is over.
            nursery.cancel_scope.cancel()

    def _kill_at_the_start(self) -> None:
        """A daemon that is killed somewhere between its first step and its first answer."""
        command = [sys.executable, "-m", "ticketd", "serve", "--data", str(self._stage.data)]
        with subprocess.Popen(
            [*command, "--bind", "127.0.0.1:0"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**self._environ()},
        ) as process:
            try:
                process.wait(self._chances.uniform(0.3, 1.2))
            except subprocess.TimeoutExpired:
                process.kill()
        self._machine.forget(process.pid)
        self.kills += 1

    def problems(self) -> Iterator[str]:
        """What is wrong, in the history and in the store."""
        yield from first(history_of(self._stage, self.operations))
        yield from check_credit(self.operations, self._lives, DOWN_SECONDS)
        yield from (f"verify: {problem}" for problem in self._stage.problems())


RUNG: Final = Rung(
    name="kills",
    summary="the real daemon killed under load and started again, nothing told is lost",
    share=2,
    climb=climb,
)
