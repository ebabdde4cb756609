"""The one way in which background work waits for its time: work that falls due event by event.

Such work has no input but the store. When it falls due is read from the store, at the start and again after each change
that concerns it; nothing is polled, and nothing is lost when the process dies at any point. What the work does, and in
which order within an event, is the work's own; this file only decides when to let it.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import structlog
import trio

from storage.clock import Clock
from storage.engine import Change, Engine, EngineOverloaded, Reader, Rejected, StorageFull
from storage.schema.events import EventDeleted, EventPut
from storage.schema.ids import EventId
from storage.schema.layout import SYSTEM, event_partition, list_events
from ticketd.tasks.alarm import Alarm

RETRY_MS: Final = 1000
"""How long an event rests whose step was refused, or left everything as it was."""

Item = TypeVar("Item")
"""What falls due, such as an event; two that are due at the same time are compared."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DueWork:
    """One kind of work that falls due event by event.

    ``peek`` reads when the event's next piece is due (milliseconds UTC; may be past), None if nothing is. ``step`` does
    one bounded batch of what is due, in a commit; it may find nothing left to do. ``concerns`` names the event whose
    ``peek`` a change may have brought forward, None for any other change; it is called for every change of the store,
    so it only looks at the change.
    """

    name: str
    peek: Callable[[Reader, EventId], int | None]
    step: Callable[[EventId], Awaitable[None]]
    concerns: Callable[[object], EventId | None]


class Agenda(Generic[Item]):
    """When each item is due next. An item is in it at most once; the earliest comes first."""

    __slots__ = ("_due", "_heap")

    def __init__(self) -> None:
        self._due: dict[Item, int] = {}
        self._heap: list[tuple[int, Item]] = []

    def put(self, item: Item, due_at_ms: int | None) -> None:
        """Sets when the item is due; None takes it out."""
        if due_at_ms is None:
            self._due.pop(item, None)
        elif self._due.get(item) != due_at_ms:
            self._due[item] = due_at_ms
            heapq.heappush(self._heap, (due_at_ms, item))
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [(at_ms, one) for one, at_ms in self._due.items()]
            heapq.heapify(self._heap)

    def first(self) -> tuple[int, Item] | None:
        """The earliest (due_at_ms, item), None if there is none."""
        heap = self._heap
        while heap and self._due.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0] if heap else None


class _Runner:
    """The state of one ``run_due_work``: the agenda, and the events to be looked at again."""

    def __init__(self, engine: Engine, clock: Clock, work: DueWork) -> None:
        self._engine = engine
        self._clock = clock
        self._work = work
        self._agenda: Agenda[EventId] = Agenda()
        self._touched: set[EventId] = set()
        self._alarm = Alarm(clock)

    def notice(self, changes: Sequence[Change]) -> None:
        """The subscriber: marks the events that changes concern, and ends the wait."""
        touched = len(self._touched)
        for change in changes:
            event = change.event
            if isinstance(event, EventPut | EventDeleted):
                self._touched.add(event.event_id)
            elif (event_id := self._work.concerns(event)) is not None:
                self._touched.add(event_id)
        if len(self._touched) > touched:
            self._alarm.ring()

    def look_at_all(self) -> None:
        with self._engine.snapshot(SYSTEM) as snapshot:
            events = list_events(snapshot)
        self._look_at(events)

    def _look_at(self, events: Iterable[EventId]) -> None:
        for event_id in events:
            with self._engine.snapshot(event_partition(event_id)) as snapshot:
                self._agenda.put(event_id, self._work.peek(snapshot, event_id))

    async def run(self) -> None:
        while True:
            self._alarm.reset()
            touched, self._touched = self._touched, set()
            self._look_at(touched)
            first = self._agenda.first()
            if first is None or first[0] > self._clock.now_ms():
                await self._alarm.wait_until_ms(None if first is None else first[0])
            else:
                await self._work_on(first[1])

    async def _work_on(self, event_id: EventId) -> None:
        """One step of an event that is due, and a new look at it; an event that did not get on rests for a while."""
        before = self._state_of(event_id)
        if before[0] is None or before[0] > self._clock.now_ms():
            # It was put off since: changes that only put off need not be noticed.
            self._agenda.put(event_id, before[0])
            return
        refused: Exception | None = None
        try:
            await self._work.step(event_id)
        except (Rejected, EngineOverloaded, StorageFull) as error:
            refused = error
            _log.warning("due_work_refused", work=self._work.name, event_id=str(event_id), problem=str(error))
        due_at_ms, version = self._state_of(event_id)
        if due_at_ms is not None and (refused is not None or (due_at_ms, version) == before):
            due_at_ms = max(due_at_ms, self._clock.now_ms() + RETRY_MS)
        self._agenda.put(event_id, due_at_ms)
        # Its own changes are seen already; looking again would also end its rest.
        self._touched.discard(event_id)

    def _state_of(self, event_id: EventId) -> tuple[int | None, int]:
        partition = event_partition(event_id)
        with self._engine.snapshot(partition) as snapshot:
            return self._work.peek(snapshot, event_id), snapshot.version(partition)


async def run_due_work(
    engine: Engine,
    clock: Clock,
    work: DueWork,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Runs the work whenever it falls due, earliest first, for as long as it is not cancelled.

    Ready once every event of the store was looked at. A step that is refused, or meets a full or overloaded store, is
    tried again after a second; any other error ends the task, and with it the process.
    """
    runner = _Runner(engine, clock, work)
    unsubscribe = engine.subscribe(runner.notice)
    try:
        runner.look_at_all()
        task_status.started()
        await runner.run()
    finally:
        unsubscribe()
