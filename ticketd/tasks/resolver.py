"""When each unfinished order is looked at: at the start, when it changes, and when it falls due.

True here: at most one task works on an order at a time; an order that was let go of is looked at again, so that nothing
that happened meanwhile is missed; nothing is polled. What is done with an order is ``ticketd.tasks.settling``'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import trio

from storage.clock import Clock
from storage.engine import Change, Engine
from storage.schema.events import OrderMoved
from storage.schema.ids import EventId, OrderId
from storage.schema.layout import DUE_ORDERS, ORDERS, SYSTEM, event_partition, list_events
from storage.schema.records import OrderRecord
from storage.schema.states import OrderState
from ticketd.tasks.alarm import Alarm
from ticketd.tasks.deadlines import Agenda

WORKERS_AT_MOST: Final = 16
"""Orders that are resumed at the same time: fewer than calls may be under way, so that buyers' own find a turn."""

OrderPlace = tuple[EventId, OrderId]
"""Where an order is found."""

Resume = Callable[[EventId, OrderId], Awaitable[int]]
"""Takes an order one step further; answers for how many milliseconds it is best left alone, whatever its due time."""


def read_order(engine: Engine, event_id: EventId, order_id: OrderId) -> OrderRecord | None:
    """An order as it stands now; None if it is gone with its event."""
    partition = event_partition(event_id)
    with engine.snapshot(partition) as view:
        return ORDERS.get(view, partition, order_id)


class Resolver:
    """Has unfinished orders resumed. Whoever works on one outside holds it by ``in_hand``."""

    def __init__(self, engine: Engine, clock: Clock, resume: Resume) -> None:
        self._engine = engine
        self._clock = clock
        self._resume = resume
        self._agenda: Agenda[OrderPlace] = Agenda()
        self._in_hand: set[OrderId] = set()
        self._let_go: dict[OrderPlace, int] = {}
        self._workers = trio.Semaphore(WORKERS_AT_MOST)
        self._alarm = Alarm(clock)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until it is cancelled; ready once every unfinished order of the store is on the agenda."""
        unsubscribe = self._engine.subscribe(self._notice)
        try:
            self._look_at_all()
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    await self._take_turn(nursery)
        finally:
            unsubscribe()

    @contextmanager
    def in_hand(self, event_id: EventId, order_id: OrderId) -> Iterator[None]:
        """While the block runs the order is nobody else's; afterwards it is looked at again."""
        self._in_hand.add(order_id)
        try:
            yield
        finally:
            self._release((event_id, order_id), 0)

    def hurry(self, event_id: EventId, order_id: OrderId) -> None:
        """Has an unfinished order looked at at once, whatever its due time. One that is in hand is so already."""
        if order_id not in self._in_hand:
            self._agenda.put((event_id, order_id), self._clock.now_ms())
            self._alarm.ring()

    def _release(self, place: OrderPlace, rest_ms: int) -> None:
        self._in_hand.discard(place[1])
        self._let_go[place] = rest_ms
        self._alarm.ring()

    def _notice(self, changes: Sequence[Change]) -> None:
        """The subscriber: notes when orders that changed are due."""
        seen = False
        for change in changes:
            if isinstance(event := change.event, OrderMoved):
                self._agenda.put((event.event_id, event.order_id), event.due_at_ms)
                seen = True
        if seen:
            self._alarm.ring()

    def _look_at_all(self) -> None:
        now_ms = self._clock.now_ms()
        with self._engine.snapshot(SYSTEM) as view:
            events = list_events(view)
        for event_id in events:
            partition = event_partition(event_id)
            with self._engine.snapshot(partition) as view:
                for _, order_id in DUE_ORDERS.scan(view, partition):
                    if (order := ORDERS.get(view, partition, order_id)) is not None:
                        # Whoever asked the gateway for an INTENT died: nobody else will hear its answer.
                        orphaned = order.state is OrderState.INTENT
                        self._agenda.put((event_id, order.order_id), now_ms if orphaned else order.due_at_ms)

    def _look_at_let_go(self) -> None:
        let_go, self._let_go = self._let_go, {}
        for place, rest_ms in let_go.items():
            order = read_order(self._engine, *place)
            due_at_ms = None if order is None else order.due_at_ms
            if due_at_ms is not None and rest_ms:
                due_at_ms = max(due_at_ms, self._clock.now_ms() + rest_ms)
            self._agenda.put(place, due_at_ms)

    async def _take_turn(self, nursery: trio.Nursery) -> None:
        self._alarm.reset()
        self._look_at_let_go()
        first = self._agenda.first()
        if first is None or first[0] > self._clock.now_ms():
            await self._alarm.wait_until_ms(None if first is None else first[0])
            return
        place = first[1]
        self._agenda.put(place, None)
        # One in hand is looked at again when it is let go of.
        if place[1] not in self._in_hand:
            self._in_hand.add(place[1])
            await self._workers.acquire()
            nursery.start_soon(self._work, place)

    async def _work(self, place: OrderPlace) -> None:
        rest_ms = 0
        try:
            rest_ms = await self._resume(*place)
        finally:
            self._workers.release()
            self._release(place, rest_ms)
