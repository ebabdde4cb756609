"""Connections that wait for their next request: all of them behind one file descriptor, and served from one loop.

Most of what a busy front does beside answering is going from task to task. So a connection that waits for bytes parks
here: its task sleeps, and what comes for it is looked at where it is found to have come. What can be answered there and
then is, one connection after the other; for anything else the task is woken, and does it as if it had waited by itself.

What is true here: a task that parks is woken once, or cancelled; what its ``on_readable`` raises is raised in it, and
in nobody else; no turn of the loop serves more than ``MOST_A_TURN`` connections before all other tasks have theirs. A
socket is not closed while its task is parked.
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
    __slots__ = ("on_readable", "task")

    def __init__(self, task: trio.lowlevel.Task, on_readable: Callable[[], bool]) -> None:
        self.task = task
        self.on_readable = on_readable


class Parking:
    """Where tasks wait for bytes. ``run`` has to run beside them; nobody is woken before it does, or after. The file
    descriptor is closed with the object."""

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
        try:
            if not parked.on_readable():
                self._wake(number, parked, outcome.Value(None))
        except Exception as fault:
            # Kept by nothing here: the fault's traceback holds this frame.
            self._wake(number, parked, outcome.Error(fault))

    def _wake(self, number: int, parked: _Parked, result: outcome.Outcome[None]) -> None:
        if self._parked.get(number) is parked:  # What it did may have cancelled it.
            self._leave(number)
            trio.lowlevel.reschedule(parked.task, result)

    async def wait(self, sock: socket.socket, on_readable: Callable[[], bool]) -> None:
        """Parks this task. ``on_readable`` is called whenever something is there to be read, if only the end, and tells
        whether the task stays parked. Raises what it raises; ValueError if the socket is closed."""
        number = sock.fileno()
        self._epoll.register(number, select.EPOLLIN)
        self._parked[number] = _Parked(trio.lowlevel.current_task(), on_readable)

        def leave(_: object) -> trio.lowlevel.Abort:
            self._leave(number)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)

    def _leave(self, number: int) -> None:
        del self._parked[number]
        self._epoll.unregister(number)
