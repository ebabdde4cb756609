"""Connections that wait for their next request: all of them behind one file descriptor, and served from one loop.

Most of what a busy front does beside answering is going from task to task. So a connection that waits for bytes parks
here: its task sleeps, and what comes for it is looked at where it is found to have come. What can be answered there and
then is, one connection after the other; for anything else the task is woken, and does it as if it had waited by itself.

A turn has two halves: all that has come is looked at, then all that is to be sent is sent. A peer on the same machine,
such as a proxy, sleeps between its answers if they come one by one, and to wake it costs more than to send; while it is
busy with the first of many, the others wake nobody.

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
        self._left: dict[int, Finish] = {}
        self._is_left = trio.Event()

    def __len__(self) -> int:
        """How many are parked."""
        return len(self._parked)

    async def run(self) -> None:
        """Serves and wakes, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_turns_of_others)
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                self._take_turn([number for number, _ in self._epoll.poll(0, MOST_A_TURN)])

    async def _end_turns_of_others(self) -> None:
        """Tasks that park leave something, too. This one is woken by the first of them, and so runs after all who could
        run when that did."""
        while True:
            await self._is_left.wait()
            self._is_left = trio.Event()
            self._end_turn()

    def _take_turn(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if (finish := self._left.pop(number, None)) is not None:
                self._serve(number, finish)
            if (parked := self._parked.get(number)) is not None:
                self._serve(number, parked.on_readable)
        self._end_turn()

    def _end_turn(self) -> None:
        for number in tuple(self._left):
            if (finish := self._left.pop(number, None)) is not None:
                self._serve(number, finish)

    def _serve(self, number: int, look: OnReadable) -> None:
        """Calls what looks, or finishes, for one that is parked, and wakes the task if it does not stay."""
        parked = self._parked[number]
        try:
            stays = look()
        except Exception as fault:
            # Kept by nothing here: the fault's traceback holds this frame.
            self._wake(number, parked, outcome.Error(fault))
            return
        if stays is False:
            self._wake(number, parked, outcome.Value(None))
        elif stays is not True and self._parked.get(number) is parked:
            self._left[number] = stays

    def _wake(self, number: int, parked: _Parked, result: outcome.Outcome[None]) -> None:
        if self._parked.get(number) is parked:  # What it did may have cancelled it.
            self._leave(number)
            trio.lowlevel.reschedule(parked.task, result)

    async def wait(self, sock: socket.socket, on_readable: OnReadable, finish: Finish | None = None) -> None:
        """Parks this task. ``on_readable`` is called whenever something is there to be read, if only the end, and tells
        whether the task stays parked; what it leaves is called at the end of the same turn, and tells it then, and so
        is ``finish``, which is called before anything else. Raises what these raise; ValueError if the socket is
        closed."""
        number = sock.fileno()
        self._epoll.register(number, select.EPOLLIN)
        self._parked[number] = _Parked(trio.lowlevel.current_task(), on_readable)
        if finish is not None:
            self._left[number] = finish
            self._is_left.set()

        def leave(_: object) -> trio.lowlevel.Abort:
            self._leave(number)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)

    def _leave(self, number: int) -> None:
        del self._parked[number]
        self._left.pop(number, None)
        self._epoll.unregister(number)
