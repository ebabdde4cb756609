"""The one clock: wall time for what is stored, monotonic time for sleeping, and the only place where the two meet.

Stored time is an integer of milliseconds UTC. ``trio.current_time()`` starts at a random number and is never stored.
"""

from __future__ import annotations

import time
from typing import Protocol

import trio


class Clock(Protocol):
    """What the process takes for the time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC. May step backwards when the machine's clock is set."""

    async def wait_until_ms(self, at_ms: int) -> None:
        """Waits until the wall time is at least ``at_ms``; a clock set forwards is noticed within a minute."""


class SystemClock:
    """The machine's clock."""

    _LONGEST_SLEEP_SECONDS = 60.0

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def wait_until_ms(self, at_ms: int) -> None:
        while (left_ms := at_ms - self.now_ms()) > 0:
            await trio.sleep(min(left_ms / 1000, self._LONGEST_SLEEP_SECONDS))
        await trio.sleep(0)


class TrioClock:
    """Wall time derived from Trio's clock, so that a simulated Trio clock moves both. ``start_ms`` is when it begins.

    Must be made inside a running Trio program.
    """

    def __init__(self, start_ms: int) -> None:
        self._start_ms = start_ms
        self._started_at = trio.current_time()

    def now_ms(self) -> int:
        return self._start_ms + round((trio.current_time() - self._started_at) * 1000)

    async def wait_until_ms(self, at_ms: int) -> None:
        # One deadline for all who wait until the same time: none of them is a rounding error behind another.
        await trio.sleep_until(self._started_at + (at_ms - self._start_ms) / 1000)
        await trio.sleep(0)
