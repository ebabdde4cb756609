"""Connections that wait for their next request: all of them behind one file descriptor, and served from one loop.

Most of what a busy front does beside answering is going from task to task. So a connection that waits for bytes parks
here: its task sleeps, and what comes for it is looked at where it is found to have come. What can be answered there and
then is, one connection after the other; for anything else the task is woken, and does it as if it had waited by itself.

A turn of the loop has two halves: all that has come is looked at, then all that is to be sent is sent. A peer on the
same machine, such as a proxy, sleeps between its answers if they come one by one, and to wake it costs more than to
send; while it is busy with the first of many, the others wake nobody.

What is true here: a task that parks is woken once, or cancelled; what its ``on_readable`` raises is raised in it, and
in nobody else; no turn of the loop serves more than ``MOST_A_TURN`` connections before all other tasks have theirs. A
socket is not closed while its task is parked.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterable
from typing import Final

import outcome
import trio

MOST_A_TURN: Final = 64

Finish = Callable[[], bool]
"""What is left for the end of a turn; tells whether the task stays parked."""
OnReadable = Callable[[], "bool | Finish"]
"""Looks at what has come; tells whether the task stays parked, or leaves that to the end of the turn."""


class _Parked:
    __slots__ = ("on_readable", "task")

    def __init__(self, task: trio.lowlevel.Task, on_readable: OnReadable) -> None:
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
            self._take_turn([number for number, _ in self._epoll.poll(0, MOST_A_TURN)])

    def _take_turn(self, numbers: Iterable[int]) -> None:
        left: list[tuple[int, _Parked, Finish]] = []
        for number in numbers:
            parked = self._parked.get(number)
            if parked is not None:
                stays = self._serve(number, parked, parked.on_readable)
                if not isinstance(stays, bool):
                    left.append((number, parked, stays))
        for number, parked, finish in left:
            self._serve(number, parked, finish)

    def _serve(self, number: int, parked: _Parked, look: OnReadable) -> bool | Finish:
        """Calls one of the two, and wakes the task if it does not stay. What is left for the end of the turn is given
        back."""
        if self._parked.get(number) is not parked:
            return False  # It was cancelled in this very turn.
        try:
            stays = look()
        except Exception as fault:
            # Kept by nothing here: the fault's traceback holds this frame.
            self._wake(number, parked, outcome.Error(fault))
            return False
        if stays is False:
            self._wake(number, parked, outcome.Value(None))
        return stays

    def _wake(self, number: int, parked: _Parked, result: outcome.Outcome[None]) -> None:
        if self._parked.get(number) is parked:  # What it did may have cancelled it.
            self._leave(number)
            trio.lowlevel.reschedule(parked.task, result)

    async def wait(self, sock: socket.socket, on_readable: OnReadable) -> None:
        """Parks this task. ``on_readable`` is called whenever something is there to be read, if only the end, and tells
        whether the task stays parked; what it leaves is called at the end of the same turn, and tells it then. Raises
        what these raise; ValueError if the socket is closed."""
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
