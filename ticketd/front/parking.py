"""Connections that wait for their next request: all of them behind one file descriptor, and served from one loop.

Most of what a busy front does beside answering is going from task to task. So a connection that waits for bytes parks
here: its task sleeps, and whatever comes for it is shown to it where it is found to have come. What can be answered
there and then is, one connection after the other; for anything else the task is woken, and does it as if it had waited
by itself.

What is true here: a task that parks is woken once, or cancelled; what its ``come`` raises is raised in it, and in
nobody else; no turn of the loop serves more than ``MOST_A_TURN`` connections before all other tasks have theirs.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Final

import outcome
import trio

MOST_A_TURN: Final = 64


class _Parked:
    __slots__ = ("come", "task")

    def __init__(self, task: trio.lowlevel.Task, come: Callable[[], bool]) -> None:
        self.task = task
        self.come = come


class Parking:
    """Where tasks wait for bytes. ``run`` has to run beside them; nobody is woken before it does, or after."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._parked: dict[int, _Parked] = {}

    def __len__(self) -> int:
        """How many are parked."""
        return len(self._parked)

    async def run(self) -> None:
        """Serves and wakes, for ever."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for number, _ in self._epoll.poll(0, MOST_A_TURN):
                self._serve(number)

    def _serve(self, number: int) -> None:
        parked = self._parked.get(number)
        if parked is None:
            return  # It left in this very turn.
        woken: outcome.Outcome[None] = outcome.Value(None)
        try:
            if parked.come():
                return
        except Exception as fault:
            woken = outcome.Error(fault)
        if self._parked.get(number) is parked:  # What it did may have cancelled it.
            self._leave(number)
            trio.lowlevel.reschedule(parked.task, woken)

    async def wait(self, sock: socket.socket, come: Callable[[], bool]) -> None:
        """Parks this task. ``come`` is called whenever something is there to be read, if only the end, and tells
        whether the task stays parked. Raises what it raises; OSError if the socket cannot be waited for."""
        number = sock.fileno()
        self._epoll.register(number, select.EPOLLIN)
        self._parked[number] = _Parked(trio.lowlevel.current_task(), come)

        def leave(_: object) -> trio.lowlevel.Abort:
            self._leave(number)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)

    def _leave(self, number: int) -> None:
        del self._parked[number]
        self._epoll.unregister(number)
