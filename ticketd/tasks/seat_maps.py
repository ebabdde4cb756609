"""Seat maps that crowds ask for, made again while seats change, so that no request has to.

True here: one event's maps are made at a time, each map once in 200 ms at most (smaller ones: in four fifths of the age
that they may have), and only while it is asked for. The loop is held for slices of about half a millisecond; what takes
long, joining and compressing, is done in a thread. Maps are a copy of the store: where this task is late, or killed, a
request makes the map itself. Which maps there are, and which may be given, is ``ticketd.views.seat_maps``'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from storage.clock import Clock
from storage.schema.ids import EventId
from ticketd.tasks.alarm import Alarm
from ticketd.views.seat_map_text import SeatMapText, TextMaker
from ticketd.views.seat_maps import Draft, SeatMaps

MIN_THREAD_BYTES: Final = 256 * 1024
"""What is smaller is compressed on the loop: it takes a millisecond, and a thread takes its time, too."""
MAX_SLICES: Final = 100
"""After so many slices the rest is read at once: seats may change as fast as they are read."""

Texts = list[list[SeatMapText]]
InThread = Callable[[Callable[[], Texts]], Awaitable[Texts]]


async def run_seat_maps(
    maps: SeatMaps,
    clock: Clock,
    in_thread: InThread | None = None,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Makes maps ahead until it is cancelled; ready at once. ``in_thread`` runs what would hold the loop up."""
    alarm, making = Alarm(clock), _Making(maps, in_thread or _run_in_thread)
    with maps.made_ahead(alarm.ring):
        task_status.started()
        while True:
            due = maps.next_due()
            if due is not None and due[0] <= clock.now_ms():
                await making.make(due[1])
            else:
                await alarm.wait_until_ms(None if due is None else due[0])


class _Making:
    """Makes the maps of one event at a time."""

    def __init__(self, maps: SeatMaps, in_thread: InThread) -> None:
        self._maps = maps
        self._in_thread = in_thread
        self._maker = TextMaker()

    async def make(self, event_id: EventId) -> None:
        """Makes those maps of the event that are wanted."""
        await trio.sleep(0)
        for _ in range(MAX_SLICES):
            if not self._maps.catch_up(event_id):
                break
            await trio.sleep(0)
        draft = self._maps.draft(event_id)
        if draft is None:
            return
        work = partial(self._make_texts, draft)
        texts = work() if draft.size_bytes < MIN_THREAD_BYTES else await self._in_thread(work)
        self._maps.put(draft, texts)

    def _make_texts(self, draft: Draft) -> Texts:
        return [self._maker.make(part.pieces, part.codings) for part in draft.parts]


async def _run_in_thread(work: Callable[[], Texts]) -> Texts:
    return await trio.to_thread.run_sync(work)
