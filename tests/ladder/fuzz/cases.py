"""Playing cases, some at a time, until the time is over: each follows from the seed, the part's name and its number."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import trio

from tests.ladder.fuzz.scene import Scene

AT_ONCE: Final = 12
FEWEST_CASES: Final = 20
"""Of each part in each round, on however slow a machine."""
MOST_FINDINGS: Final = 10
"""With so many, no more is looked for."""

Play = Callable[[Scene, random.Random], Awaitable[str | None]]
"""Plays one case: what was wrong, or None."""


@dataclass
class Log:
    """What was played so far, by part, and what was found. ``prefix`` is said before each finding."""

    seed: int
    prefix: str = ""
    played: dict[str, int] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)

    def chance(self, part: str, number: int) -> random.Random:
        """All that is random in one case."""
        return random.Random(f"{self.seed}/{part}/{number}")

    def note(self, part: str, number: int, wrong: str | None) -> None:
        """Counts a case, and keeps what was wrong."""
        self.played[part] = self.played.get(part, 0) + 1
        if wrong is not None:
            self.found.append(f"{self.prefix}{part}, case {number}: {wrong}")

    def until(self, part: str, seconds: float) -> Callable[[], bool]:
        """Whether a part is over that begins now: its time is, and it has had ``FEWEST_CASES``; or enough was found."""
        end = time.monotonic() + seconds
        fewest = self.played.get(part, 0) + FEWEST_CASES
        return lambda: self.full or (time.monotonic() >= end and self.played.get(part, 0) >= fewest)

    @property
    def full(self) -> bool:
        """Whether enough was found."""
        return len(self.found) >= MOST_FINDINGS


async def play_cases(scene: Scene, log: Log, part: str, play: Play, seconds: float) -> None:
    """Plays cases of one part for so long, and at least ``FEWEST_CASES``. Numbers go on where the part was left."""
    over = log.until(part, seconds)
    numbers = count(log.played.get(part, 0))

    async def play_some() -> None:
        while not over():
            number = next(numbers)
            try:
                wrong = await play(scene, log.chance(part, number))
            except OSError as error:
                wrong = f"the daemon could not be reached: {error}"
            log.note(part, number, wrong)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(play_some)
