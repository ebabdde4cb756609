"""The one clock: wall time for what is stored, monotonic time for sleeping, and the only place where the two meet.

Stored time is an integer of milliseconds UTC. ``trio.current_time()`` starts at a random number and is never stored.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

import trio

STEP_MS: Final = 1000
"""From so much on the machine's clock, found ahead, was stepped; what is less is followed at once."""


class Clock(Protocol):
    """What the process takes for the time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC. Only ``SystemClock``'s may go back."""

    async def wait_until_ms(self, at_ms: int) -> None:
        """Waits until the time is at least ``at_ms``; a step forwards is noticed within a minute."""


class SystemClock:
    """The machine's clock, steps and all: for commands that end before it is set."""

    _LONGEST_SLEEP_SECONDS = 60.0

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def wait_until_ms(self, at_ms: int) -> None:
        while (left_ms := at_ms - self.now_ms()) > 0:
            await trio.sleep(min(left_ms / 1000, self._LONGEST_SLEEP_SECONDS))
        await trio.sleep(0)


class SteadyClock:
    """The daemon's clock: the machine's time at the start, carried on by its monotonic clock.

    True here: it never goes back, and no step of the machine's clock shows in it by itself. Where that clock is less
    than a second ahead, it is followed. Where it is a second or more ahead, time goes on as it was until somebody who
    has seen to the consequences calls ``step``; so too after the machine was suspended, since its monotonic clock stood
    still. Where it is behind, time goes on at nine tenths of its speed until the two agree: stopped time would let
    nobody in, and time put back would tell the same moment twice.

    ``wall_ns`` and ``monotonic_ns`` are the machine's two clocks. ``now_ms`` may be asked from any thread, and is asked
    many times in a millisecond: until that is over by the monotonic clock, it answers the same.
    """

    _LONGEST_SLEEP_SECONDS = 60.0

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()
        self._stepped = trio.Event()
        self._lived_ns = monotonic_ns()
        self._at_ns = wall_ns()
        self._tick = (0, 0)  # a millisecond, and the monotonic time at which it ends

    def now_ms(self) -> int:
        at_ms, ends_ns = self._tick
        return at_ms if self._monotonic_ns() < ends_ns else self._go_on()[0] // _NS_PER_MS

    def machine_ms(self) -> int:
        """The machine's own time, steps and all: for what others say who have no other clock."""
        return self._wall_ns() // _NS_PER_MS

    def ahead_ms(self) -> int:
        """How far this clock is ahead of the machine's, in milliseconds; negative if it is behind."""
        at_ns, wall_ns = self._go_on()
        return at_ns // _NS_PER_MS - wall_ns // _NS_PER_MS

    def start_no_earlier(self, at_ms: int) -> None:
        """Puts the clock forward to ``at_ms``, if it is not as far: before anything has happened by it."""
        with self._lock:
            self._at_ns = max(self._at_ns, at_ms * _NS_PER_MS)
            self._tick = (0, 0)

    def step(self, by_ms: int) -> None:
        """Puts the clock forward by so much, and lets those who wait look at it again. Not in another thread."""
        if by_ms < 0:
            raise ValueError("the time of the daemon does not go back")
        with self._lock:
            self._at_ns += by_ms * _NS_PER_MS
            self._tick = (0, 0)
        stepped, self._stepped = self._stepped, trio.Event()
        stepped.set()

    async def wait_until_ms(self, at_ms: int) -> None:
        while (left_ms := at_ms - self.now_ms()) > 0:
            with trio.move_on_after(min(left_ms / 1000, self._LONGEST_SLEEP_SECONDS)):
                await self._stepped.wait()
        await trio.sleep(0)

    def _go_on(self) -> tuple[int, int]:
        """Carries the time on to now; the time, and the machine's."""
        with self._lock:
            lived_ns, wall_ns = self._monotonic_ns(), self._wall_ns()
            passed_ns = max(lived_ns - self._lived_ns, 0)
            self._lived_ns += passed_ns
            straight_ns = self._at_ns + passed_ns
            if wall_ns < straight_ns:
                self._at_ns = max(self._at_ns + passed_ns * 9 // 10, wall_ns)
            elif wall_ns - straight_ns < STEP_MS * _NS_PER_MS:
                self._at_ns = wall_ns
            else:
                self._at_ns = straight_ns
            at_ms, into_ns = divmod(self._at_ns, _NS_PER_MS)
            self._tick = at_ms, self._lived_ns + _NS_PER_MS - into_ns
            return self._at_ns, wall_ns


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


_NS_PER_MS: Final = 1_000_000
