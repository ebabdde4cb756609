"""Connections that wait for their next request: all of them behind one file descriptor, and served from one loop.

Most of what a busy front does beside answering is going from task to task. So a connection that waits for bytes parks
here: its task sleeps, and what comes for it is looked at where it is found to have come. What can be answered there and
then is, one connection after the other; for anything else the task is woken, and does it as if it had waited by itself.

A turn has two halves: all that has come is looked at, then all that is to be sent is sent. A peer on the same machine,
such as a proxy, sleeps between its answers if they come one by one, and to wake it costs more than to send; while it is
busy with the first of many, the others wake nobody. What tasks have to send when they park is put off in the same way.

Tasks have far more to do than what is done here, so a crowd of them is woken a few at a time, and what can be answered
at once is not kept waiting by it: it has its place in each turn.

What is true here: a task that parks is woken once, or cancelled; what its ``on_readable`` raises is raised in it, and
in nobody else. A turn looks at ``MOST_SEEN`` connections, puts off ``MOST_PUT_OFF`` of them to its end, and wakes
``MOST_WOKEN`` tasks in the order in which their bytes were found, each at most; then all other tasks have theirs. Only
those that what was put off wakes do not wait for that. A socket is not closed while its task is parked.
"""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

import outcome
import trio

MOST_SEEN: Final = 256
MOST_PUT_OFF: Final = 64
MOST_WOKEN: Final = 32

Finish = Callable[[], bool]
"""What was put off to the end of a turn; tells whether the task stays parked."""
OnReadable = Callable[[], "bool | Finish"]
"""Looks at what has come; tells whether the task stays parked, or puts something off that tells it then."""


class _Parked:
    """A task that waits for bytes or, once it is ``due`` with a result, for its turn to go on."""

    __slots__ = ("due", "on_readable", "task")

    def __init__(self, task: trio.lowlevel.Task, on_readable: OnReadable) -> None:
        self.task = task
        self.on_readable = on_readable
        self.due: outcome.Outcome[None] | None = None

    def go_on(self) -> None:
        # A fault is kept by nothing here: its traceback leads to this object, by the frame that has caught it.
        due, self.due = self.due, None
        if due is not None:
            trio.lowlevel.reschedule(self.task, due)


class Parking:
    """Where tasks wait for bytes. ``run`` has to run beside them; nobody is woken before it does, or after. The file
    descriptor is closed with the object."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._parked: dict[int, _Parked] = {}
        self._unseen: deque[int] = deque()
        """For whom something has come that is to be looked at."""
        self._put_off: dict[int, Finish] = {}
        self._is_put_off = trio.Event()
        """Set by tasks that put something off."""
        self._due: deque[_Parked] = deque()

    def __len__(self) -> int:
        """How many are parked."""
        return len(self._parked)

    async def run(self) -> None:
        """Serves and wakes, for ever."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end_turns_of_tasks)
                while True:
                    if self._due:
                        await trio.sleep(0)
                    else:
                        await trio.lowlevel.wait_readable(self._epoll.fileno())
                    if not self._unseen:
                        self._unseen.extend(number for number, _ in self._epoll.poll(0, MOST_SEEN))
                    self._take_turn()
        finally:
            self._let_go_on(len(self._due))

    async def _end_turns_of_tasks(self) -> None:
        """Woken by the first task that puts something off, and so runs after all who could run when that did."""
        while True:
            await self._is_put_off.wait()
            self._is_put_off = trio.Event()
            self._end_turn()

    def _take_turn(self) -> None:
        while self._unseen and len(self._put_off) < MOST_PUT_OFF:
            number = self._unseen.popleft()
            if (finish := self._put_off.pop(number, None)) is not None:
                self._finish(number, finish)
            if (parked := self._parked.get(number)) is not None and not self._stays(
                number, parked.on_readable
            ):
                self._due.append(parked)
        self._end_turn()
        self._let_go_on(MOST_WOKEN)

    def _end_turn(self) -> None:
        for number in tuple(self._put_off):
            if (finish := self._put_off.pop(number, None)) is not None:
                self._finish(number, finish)

    def _finish(self, number: int, finish: Finish) -> None:
        parked = self._parked[number]
        if not self._stays(number, finish):
            parked.go_on()

    def _let_go_on(self, most: int) -> None:
        for _ in range(min(len(self._due), most)):
            self._due.popleft().go_on()

    def _stays(self, number: int, look: OnReadable) -> bool:
        """Calls one of the two for a task that is parked; whether it stays. One that does not is due."""
        parked = self._parked[number]
        due: outcome.Outcome[None] | None
        try:
            stays = look()
            due = outcome.Value(None) if stays is False else None
        except Exception as fault:
            stays, due = False, outcome.Error(fault)
        if self._parked.get(number) is not parked:
            due = None  # What it did has cancelled it, which wakes it.
            return True
        if stays is False:
            self._leave(number)
            parked.due, due = due, None
            return False
        if stays is not True:
            self._put_off[number] = stays
        return True

    async def wait(self, sock: socket.socket, on_readable: OnReadable, finish: Finish | None = None) -> None:
        """Parks this task. ``on_readable`` is called whenever something is there to be read, if only the end, and tells
        whether the task stays parked; what it puts off is called at the end of the same turn, and tells it then, and so
        is ``finish``, which is called before anything else. Raises what these raise; ValueError if the socket is
        closed. One that is cancelled when it is due already goes on all the same: it may have begun something."""
        number = sock.fileno()
        self._epoll.register(number, select.EPOLLIN)
        parked = self._parked[number] = _Parked(trio.lowlevel.current_task(), on_readable)
        if finish is not None:
            if len(self._put_off) >= MOST_PUT_OFF:
                self._end_turn()
            self._put_off[number] = finish
            self._is_put_off.set()

        def leave(_: object) -> trio.lowlevel.Abort:
            if parked.due is not None:
                return trio.lowlevel.Abort.FAILED
            self._leave(number)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)

    def _leave(self, number: int) -> None:
        del self._parked[number]
        self._put_off.pop(number, None)
        self._epoll.unregister(number)
