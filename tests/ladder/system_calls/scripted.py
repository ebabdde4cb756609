"""The scripted sale: two buyers, one call after another, with everything in it that is written down.

It has the same calls every time, so that the n-th write of one run is that of another. Calls go on until the daemon is
gone; what it said when it could not write counts as no answer, since the outcome of such a call is unknown.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import trio

from tests.ladder.history import first, history_of
from tests.ladder.sale.buyers import GOOD_CARD, Buyer
from tests.ladder.sale.recording import Operation, Recorder
from tests.ladder.sale.stage import Hall, Stage, set_stage

HALL: Final = Hall(rows=1, max_active=1)
UNKNOWN: Final = "STORAGE_UNAVAILABLE"
_BETWEEN_LOOKS_SECONDS: Final = 0.02
_MOST_LOOKS: Final = 1500


class Gone(Exception):
    """The daemon does not answer any more."""


class Strange(Exception):
    """The daemon gave another answer than it gives when all is well."""


class ScriptedSale:
    """One sale over the lives of one or more daemons."""

    def __init__(self, folder: Path) -> None:
        self.stage: Stage = set_stage(folder, HALL)
        self._recorder = Recorder("http://127.0.0.1:1", self.stage.key, 4)
        self.first, self.second = (
            Buyer(self._recorder, random.Random(seed), self.stage.seats) for seed in (1, 2)
        )
        self.interlude: Callable[[], None] = lambda: None
        """What happens in the middle of the script."""
        self.strange: list[str] = []
        """Answers that are no part of the script."""
        self.refused: list[Operation] = []
        """What was answered that it could not be written."""

    def play(self, url: str) -> bool:
        """Goes through the script; whether the daemon answered to its end."""
        return self._with(url, self._script)

    def come_back(self, url: str) -> bool:
        """Asks again what was not answered, and looks at everything; whether all of that was answered."""
        return self._with(url, self._look_at_everything)

    def problems(self) -> list[str]:
        """What is wrong: with the history, and with the store. The daemon must not be running."""
        for operation in self.refused:
            operation.status = None
        history = history_of(self.stage, self._recorder.operations)
        return [*self.strange, *first(history), *(f"verify: {problem}" for problem in self.stage.problems())]

    def _with(self, url: str, play: Callable[[], Awaitable[None]]) -> bool:
        async def run() -> bool:
            self._recorder.turn_to(url, 4)
            try:
                await play()
            except Gone:
                return False
            except Strange as strange:
                self.strange.append(str(strange))
            finally:
                await self._recorder.aclose()
            return True

        return trio.run(run)

    async def _script(self) -> None:
        one, other, seats = self.first, self.second, self.stage.seats
        await self._ask(one.enter(), 200)
        await self._ask(one.poll(), 200)
        await self._ask(one.reserve(seats[:2]), 201)
        await self._ask(one.reserve_best(1), 201)
        await self._ask(other.enter(), 200)
        await self._ask(other.poll(), 200)
        self.interlude()
        await self._ask(one.release(one.holds[1]), 204)
        await self._ask(one.pay(one.holds[0], GOOD_CARD), 201)
        await self._await_turn(other)
        await self._ask(other.reserve(seats[2:4]), 201)
        await self._ask(other.reserve(seats[3:5]), 409)
        await self._await_order(one, "CONFIRMED")
        await self._ask(one.cancel(one.orders[0]), 200)
        await self._ask(other.look_at_hold(other.holds[0]), 200)
        await self._ask(other.pay(other.holds[0], GOOD_CARD), 201)
        await self._await_order(other, "CONFIRMED")
        await self._ask(one.look_at_order(one.orders[0]), 200)
        await self._ask(one.look_at_seats(), 200)

    async def _look_at_everything(self) -> None:
        for buyer in (self.first, self.second):
            before = len(self._recorder.operations)
            await buyer.come_back()
            for operation in self._recorder.operations[before:]:
                self._hear(operation, buyer)
        await self._ask(self.first.look_at_seats(), 200)

    async def _await_turn(self, buyer: Buyer) -> None:
        for _ in range(_MOST_LOOKS):
            await self._ask(buyer.poll(), 200)
            if buyer.access_token:
                return
            await trio.sleep(_BETWEEN_LOOKS_SECONDS)
        raise Strange("nobody is let in")

    async def _await_order(self, buyer: Buyer, status: str) -> None:
        for _ in range(_MOST_LOOKS):
            found = await self._ask(buyer.look_at_order(buyer.orders[0]), 200)
            if found is not None and found.json["status"] == status:
                return
            await trio.sleep(_BETWEEN_LOOKS_SECONDS)
        raise Strange(f"order {buyer.orders[0]} does not become {status}")

    async def _ask(self, call: Awaitable[Operation | None], status: int) -> Operation | None:
        """Raises Gone if there was no answer, or only one that it cannot be done; Strange for another status."""
        found = await call
        newest = self._recorder.operations[-1]
        self._hear(newest, self.first if newest.buyer == self.first.user else self.second)
        if newest.status != status:
            raise Strange(f"not {status}, but {newest.told()}")
        return found

    def _hear(self, operation: Operation, buyer: Buyer) -> None:
        if operation.code == UNKNOWN:
            self.refused.append(operation)
            buyer.under_way.append(operation)
        if operation.status is None or operation.code == UNKNOWN:
            raise Gone
