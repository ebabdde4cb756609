"""Whose turn it is to call Stripe: so many calls under way, and so many of each endpoint in any second.

An account's own limits are what these stand for: beyond them Stripe answers 429, and does so for all who share the
account (https://docs.stripe.com/rate-limits). Who waits is served in the order of coming.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

_SECOND: Final = 1.0


class TooBusy(Exception):
    """There is no turn before the deadline; nothing was sent."""


class StripeTurns:
    """The turns. ``calls_at_once`` and ``calls_per_second``, for each endpoint, are at least 1."""

    def __init__(self, calls_at_once: int, calls_per_second: int) -> None:
        self._places = trio.CapacityLimiter(calls_at_once)
        self._calls_per_second = calls_per_second
        self._starts: dict[str, deque[float]] = {}

    @asynccontextmanager
    async def turn(self, endpoint: str, deadline: float) -> AsyncIterator[None]:
        """Waits for a turn and keeps it while the block runs. Refuses with TooBusy if none comes by ``deadline``, on
        Trio's clock."""
        await self._take_place(deadline)
        try:
            # The rate comes last, so that no more starts are given out than can be used.
            await trio.sleep_until(self._take_start(endpoint, deadline))
            yield
        finally:
            self._places.release()

    async def _take_place(self, deadline: float) -> None:
        try:
            with trio.fail_at(deadline):
                await self._places.acquire()
        except trio.TooSlowError:
            raise TooBusy from None

    def _take_start(self, endpoint: str, deadline: float) -> float:
        """When the next call of the endpoint may start, which is then taken. Refuses with TooBusy what is too late."""
        starts = self._starts.setdefault(endpoint, deque(maxlen=self._calls_per_second))
        at = trio.current_time()
        if len(starts) == self._calls_per_second:
            at = max(at, starts[0] + _SECOND)
        if at > deadline:
            raise TooBusy
        starts.append(at)
        return at
