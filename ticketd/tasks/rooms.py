"""The waiting rooms as a nursery of timed tasks: one for each room in which somebody waits or shops.

A room's task sleeps until the room itself has something to do (a claim or a window that runs out, the next slot of the
rate, the opening, the sale's end) or until a change wakes it, and then lets ``ticketd.domain.admission`` do it in
bounded commits. It has no input but the store, so it can be killed at any point. No rule of the room is here.

    run_rooms
    ├── a room's task     begins with the first entry, ends when the room is empty
    ├── a lobby's draw    begins at the opening, beside the room's task; see ticketd.tasks.draws
    └── ...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog
import trio

from storage.clock import Clock
from storage.engine import Change, Command, Engine, EngineOverloaded, StorageFull, Transaction
from storage.schema.events import EntryMoved, EventDeleted, EventPut, LobbyDrawn, RoomChanged, SeatsMoved
from storage.schema.ids import EventId
from storage.schema.layout import SYSTEM, event_partition, list_events
from storage.schema.states import SeatState
from ticketd.domain.admission import advance_room, draw_is_due, next_room_step, room_is_empty
from ticketd.ids import new_seed
from ticketd.tasks.alarm import Alarm
from ticketd.tasks.draws import draw_lobby

BATCH: Final = 100
"""Most moves of each kind in one commit of a room."""

RETRY_SECONDS: Final = 1.0
"""How long a room rests when the store is full or overloaded."""

_log = structlog.get_logger(__name__)


async def run_rooms(
    engine: Engine, clock: Clock, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Runs all rooms for as long as it is not cancelled; ready once each room of the store was looked at.

    A store that is full or overloaded makes a room rest for a second; any other error leaves this task, and so ends
    the process.
    """
    async with trio.open_nursery() as nursery:
        rooms = _Rooms(engine, clock, nursery)
        unsubscribe = engine.subscribe(rooms.notice)
        try:
            rooms.look_at_all()
            task_status.started()
            await trio.sleep_forever()
        finally:
            unsubscribe()


class _Rooms:
    """The rooms that have a task, each with the alarm that wakes it."""

    def __init__(self, engine: Engine, clock: Clock, nursery: trio.Nursery) -> None:
        self._engine = engine
        self._clock = clock
        self._nursery = nursery
        self._alarms: dict[EventId, Alarm] = {}
        self._drawing: set[EventId] = set()

    def look_at_all(self) -> None:
        """Starts the task of every room of the store that is not empty."""
        with self._engine.snapshot(SYSTEM) as snapshot:
            event_ids = list_events(snapshot)
        for event_id in event_ids:
            self._wake(event_id)

    def notice(self, changes: Sequence[Change]) -> None:
        """The subscriber: wakes the rooms for which something has changed."""
        for change in changes:
            event = change.event
            if isinstance(event, SeatsMoved):
                if event.state is SeatState.AVAILABLE:
                    self._wake(event.event_id)
            elif isinstance(event, EntryMoved | RoomChanged | LobbyDrawn | EventPut | EventDeleted):
                self._wake(event.event_id)

    def _wake(self, event_id: EventId) -> None:
        """Has a room's task look again, or starts one for a room that is not empty."""
        alarm = self._alarms.get(event_id)
        if alarm is not None:
            alarm.ring()
        elif not self._is_empty(event_id):
            self._alarms[event_id] = Alarm(self._clock)
            self._nursery.start_soon(self._run_room, event_id, name=f"room {event_id}")

    def _is_empty(self, event_id: EventId) -> bool:
        with self._engine.snapshot(event_partition(event_id)) as snapshot:
            return room_is_empty(snapshot, event_id)

    async def _run_room(self, event_id: EventId) -> None:
        """One room, until it is empty. A change that comes after the look at the store rings the alarm, so that none is
        missed; nothing is awaited between the look at an empty room and the task's end."""
        partition = event_partition(event_id)
        alarm = self._alarms[event_id]
        while True:
            alarm.reset()
            with self._engine.snapshot(partition) as snapshot:
                now_ms = snapshot.now_ms
                if room_is_empty(snapshot, event_id):
                    break
                due_at_ms = next_room_step(snapshot, event_id, now_ms)
                draws = draw_is_due(snapshot, event_id, now_ms)
            if draws and event_id not in self._drawing:
                self._drawing.add(event_id)
                self._nursery.start_soon(self._draw, event_id, name=f"draw {event_id}")
            if due_at_ms is not None and due_at_ms <= now_ms:
                await self._advance(event_id)
            else:
                await alarm.wait_until_ms(due_at_ms)
        del self._alarms[event_id]

    async def _advance(self, event_id: EventId) -> None:
        def run(tx: Transaction) -> int | None:
            return advance_room(tx, event_id, BATCH, seed)

        seed = new_seed()

        try:
            command = Command("advance_room", (event_partition(event_id),), run, may_use_reserve=True)
            await self._engine.submit(command)
        except (EngineOverloaded, StorageFull) as error:
            _log.warning("room_rests", event_id=str(event_id), problem=str(error))
            await trio.sleep(RETRY_SECONDS)

    async def _draw(self, event_id: EventId) -> None:
        """Draws the room's lobby. If it could not, the room's task looks again after a while."""
        try:
            await draw_lobby(self._engine, event_id)
        except (EngineOverloaded, StorageFull) as error:
            _log.warning("draw_rests", event_id=str(event_id), problem=str(error))
            await trio.sleep(RETRY_SECONDS)
        self._drawing.discard(event_id)
        self._wake(event_id)
