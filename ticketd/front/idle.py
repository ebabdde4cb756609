"""How long connections may be silent: one task watches all of them, and a request costs two assignments.

A deadline of Trio's own for each wait costs more than reading the request. Nothing here reads or sends.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from typing import Final

import trio

_FEW: Final = 1024
"""Entries of connections that are over are left in the heap until there are more of them, and more than of others."""


class Silence:
    """One connection's silence: ``until`` is when it becomes too long, ``math.inf`` while nothing is awaited."""

    __slots__ = ("expire", "until")

    def __init__(self, until: float, expire: Callable[[], None]) -> None:
        self.until = until
        self.expire: Callable[[], None] | None = expire
        """What ends it; None once the connection is over."""


class IdleWatch:
    """Ends what has been silent for too long. ``idle_seconds`` is the shortest time that a silence lasts that begins
    while its connection is watched: so much later is the next look at one that is busy."""

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._heap: list[tuple[float, int, Silence]] = []
        self._numbers = itertools.count()
        self._over = 0
        self._sleep = trio.CancelScope()

    def __len__(self) -> int:
        """How many entries are kept, those of connections that are over included."""
        return len(self._heap)

    def watch(self, seconds: float, expire: Callable[[], None]) -> Silence:
        """Begins a silence of at most ``seconds``; ``expire`` is called once if it lasts longer."""
        now = trio.current_time()
        silence = Silence(now + seconds, expire)
        # The first silence may be allowed to last longer than the one that follows it.
        self._push(now + min(seconds, self._idle_seconds), silence)
        return silence

    def forget(self, silence: Silence) -> None:
        """Its connection is over."""
        if silence.expire is None:
            return
        silence.expire = None
        self._over += 1
        if self._over > _FEW and self._over * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].expire is not None]
            heapq.heapify(self._heap)
            self._over = 0

    async def run(self) -> None:
        """Watches for ever."""
        while True:
            self._look(trio.current_time())
            until = self._heap[0][0] if self._heap else math.inf
            with trio.CancelScope(deadline=until) as self._sleep:
                await trio.sleep_forever()

    def _push(self, at: float, silence: Silence) -> None:
        heapq.heappush(self._heap, (at, next(self._numbers), silence))
        self._sleep.deadline = min(self._sleep.deadline, at)

    def _look(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            _, _, silence = heapq.heappop(self._heap)
            if silence.expire is None:
                self._over -= 1
            elif silence.until <= now:
                expire, silence.expire = silence.expire, None
                expire()
            else:
                # Who is busy now cannot have been silent for long enough any sooner.
                self._push(min(silence.until, now + self._idle_seconds), silence)
