"""Positions in line: those who stand elsewhere than they were told are found in slices, since thousands may wait.

A line is looked at when it has moved; who was told, or looked at in vain, rests for a while. What a place is, and how
it is said, does not belong here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from storage.clock import Clock
from storage.engine import Engine, Snapshot
from storage.schema.ids import EntryId, EventId
from ticketd.realtime.feeds import EventFeed
from ticketd.realtime.updates import QueuePlace
from ticketd.realtime.watches import QUEUE_SPACING_MS, QueueWatch
from ticketd.tasks.alarm import Alarm

SLICE: Final = 200
"""So many connections are looked after before other tasks have their turn."""
LOOKS_FOR_ONE_MS: Final = 100
"""Among so many watchers, a line is looked at at most once in a millisecond; among twice as many, in two."""
UNMOVED_REST_MS: Final = 1000
"""How long a watcher who has not moved is not looked at again."""


class Lines:
    """The lines of the events that somebody watches, and when each is to be looked at."""

    def __init__(
        self, engine: Engine, clock: Clock, find_place: Callable[[Snapshot, EventId, EntryId], QueuePlace]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._find_place = find_place
        self._due_ms: dict[EventFeed, int] = {}
        self._alarm = Alarm(clock)

    def look_soon(self, feed: EventFeed) -> None:
        """The line of an event has moved."""
        if feed.watches:
            self._put(feed, self._clock.now_ms())
            self._alarm.ring()

    def forget(self, feed: EventFeed) -> None:
        """Nobody listens any more."""
        self._due_ms.pop(feed, None)

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            for feed, due_ms in list(self._due_ms.items()):
                if due_ms <= self._clock.now_ms():
                    await self._look_at(feed)
            await self._alarm.wait_until_ms(min(self._due_ms.values(), default=None))

    def _put(self, feed: EventFeed, at_ms: int) -> None:
        self._due_ms[feed] = min(self._due_ms.get(feed, at_ms), at_ms)

    async def _look_at(self, feed: EventFeed) -> None:
        """Finds those who stand elsewhere than they were told; the others are left in peace for a while."""
        now_ms = self._clock.now_ms()
        self._due_ms.pop(feed, None)
        rested: list[QueueWatch] = []
        again_ms: int | None = None
        for of_entry in feed.watches.values():
            for watch in of_entry:
                if not watch.may_move:
                    continue
                if now_ms < watch.rests_until_ms <= now_ms + QUEUE_SPACING_MS:
                    again_ms = min(again_ms or watch.rests_until_ms, watch.rests_until_ms)
                else:
                    rested.append(watch)
        if again_ms is not None:
            spacing_ms = len(feed.watches) // LOOKS_FOR_ONE_MS
            self._put(feed, max(again_ms, now_ms + spacing_ms))
        for start in range(0, len(rested), SLICE):
            with self._engine.snapshot(feed.partition) as view:
                for watch in rested[start : start + SLICE]:
                    if not watch.may_move:
                        continue
                    if watch.is_news(self._find_place(view, feed.event_id, watch.entry_id)):
                        watch.make_due()
                    else:
                        watch.rests_until_ms = now_ms + UNMOVED_REST_MS
            await trio.sleep(0)
