"""Turns: a crowd at the store goes through a few at a time, so that whoever only reads is not held up by all of it.

The event loop runs whoever can run before it looks at its sockets again. A commit that answers hundreds at once, each
of whom at once asks for more, would keep it from them for as long as all of that takes. So of those who want to begin a
command, and of those whose command is settled, ``AT_ONCE`` each have their turn; then the loop goes round. Turns are
given in order. What a command does, and when it is durable, does not belong here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

AT_ONCE: Final = 32
"""About as many commands as make the loop late by five milliseconds."""


class Turns:
    """One engine's. ``run`` has to run beside it."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._begun = 0
        self._resumed = 0
        self._to_begin: deque[trio.Event] = deque()
        self._to_resume: deque[Callable[[], None]] = deque()
        self._crowded = trio.Event()
        self._is_over = False

    def __len__(self) -> int:
        """How many wait for their turn to begin."""
        return len(self._to_begin)

    async def wait_to_begin(self) -> None:
        """Returns at once, or when it is one's turn. Cancelled while it waits, it leaves the line."""
        if self._is_over or (self._begun < self._at_once and not self._to_begin):
            self._begun += 1
            return
        turn = trio.Event()
        self._to_begin.append(turn)
        self._crowded.set()
        try:
            await turn.wait()
        except trio.Cancelled:
            if turn.is_set():
                self._begun -= 1
            else:
                self._to_begin.remove(turn)
            raise

    def resume(self, wake: Callable[[], None]) -> None:
        """Calls ``wake`` at once, or when it is its turn. ``wake`` must not fail."""
        if self._is_over or (self._resumed < self._at_once and not self._to_resume):
            self._resumed += 1
            wake()
            return
        self._to_resume.append(wake)
        self._crowded.set()

    async def run(self) -> None:
        """Gives turns until it is cancelled; from then on everybody has theirs at once."""
        try:
            while True:
                await self._crowded.wait()
                while self._to_begin or self._to_resume:
                    self._go_round()
                    await trio.sleep(0)
                self._begun = self._resumed = 0
                self._crowded = trio.Event()
        finally:
            self._is_over = True
            while self._to_begin or self._to_resume:
                self._go_round()

    def _go_round(self) -> None:
        self._begun = min(len(self._to_begin), self._at_once)
        for _ in range(self._begun):
            self._to_begin.popleft().set()
        self._resumed = min(len(self._to_resume), self._at_once)
        for _ in range(self._resumed):
            self._to_resume.popleft()()
