"""Admission that slows down by itself while checkouts fail for want of payment capacity, and recovers by itself.

Nothing is polled: the task sleeps until a checkout fails; then, for as long as any room is slowed, it takes a step
every ten seconds. A step is one durable commit for each room, so a daemon that starts anew goes on where the last one
was.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import structlog
import trio

from storage.clock import Clock
from storage.engine import Command, Engine, EngineOverloaded, StorageFull, Transaction
from storage.schema.ids import EventId
from storage.schema.layout import event_partition, list_events
from ticketd.domain.admission import room_is_empty
from ticketd.domain.pacing import Paced, is_slowed, quicken_room, slow_room
from ticketd.tasks.checkout_health import CheckoutHealth

STEP_MS: Final = 10_000
QUIET_MS: Final = 30_000
"""So long after the last failure rooms recover even where nobody has paid since."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


async def run_pacing(
    engine: Engine,
    clock: Clock,
    health: CheckoutHealth,
    *,
    enabled: bool = True,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Slows rooms down and lets them recover for as long as it is not cancelled; ready once each room was looked at.

    Not ``enabled``: rooms that are slowed still are set free at once, and that is all.
    """
    pacing = _Pacing(engine, clock, health)
    pacing.find_slowed()
    if not enabled:
        await pacing.step(partial(quicken_room, at_once=True), pacing.slowed)
        task_status.started()
        return
    task_status.started()
    await pacing.run()


class _Pacing:
    """The rooms that are slowed, and what was seen of the checkouts up to the last step."""

    def __init__(self, engine: Engine, clock: Clock, health: CheckoutHealth) -> None:
        self._engine = engine
        self._clock = clock
        self._health = health
        self._failures = health.failures
        self._successes = health.successes
        # What was before the start is not known: rooms that are slowed still recover once it has been quiet.
        self._failed_ms = clock.now_ms()
        self.slowed: list[EventId] = []

    def find_slowed(self) -> None:
        """Reads which rooms are slowed."""
        with self._engine.snapshot() as view:
            self.slowed = [event_id for event_id in list_events(view) if is_slowed(view, event_id)]
        self._health.rooms_slowed = len(self.slowed)

    async def run(self) -> None:
        while True:
            if self.slowed:
                await self._clock.wait_until_ms(self._clock.now_ms() + STEP_MS)
            else:
                await self._health.wait_failure(self._failures)
            await self._look()

    async def _look(self) -> None:
        """One step by what has happened since the last one."""
        failed = self._health.failures > self._failures
        succeeded = self._health.successes > self._successes
        self._failures, self._successes = self._health.failures, self._health.successes
        now_ms = self._clock.now_ms()
        if failed:
            self._failed_ms = now_ms
            await self.step(slow_room, self._with_people())
        elif succeeded or now_ms - self._failed_ms >= QUIET_MS:
            await self.step(quicken_room, self.slowed)
        self.find_slowed()

    async def step(self, step: Callable[[Transaction, EventId], Paced | None], rooms: list[EventId]) -> None:
        """Takes a step in each of the rooms, in a commit of its own."""
        for event_id in rooms:
            was_slowed = event_id in self.slowed
            partitions = (event_partition(event_id),)
            command = Command("pace_room", partitions, partial(_run, step, event_id), may_use_reserve=True)
            try:
                paced = (await self._engine.submit(command)).result
            except (EngineOverloaded, StorageFull) as problem:
                _log.warning("room not paced", event_id=str(event_id), problem=str(problem))
                continue
            if paced is not None and paced.slowed != was_slowed:
                self._tell(event_id, paced)
        self.find_slowed()

    def _tell(self, event_id: EventId, paced: Paced) -> None:
        told = {"event_id": str(event_id), "before_per_minute": paced.before, "after_per_minute": paced.after}
        if paced.slowed:
            _log.warning("payments fail: fewer are let in", **told)
        else:
            _log.info("as many are let in again as are set", **told)

    def _with_people(self) -> list[EventId]:
        with self._engine.snapshot() as view:
            return [event_id for event_id in list_events(view) if not room_is_empty(view, event_id)]


def _run(
    step: Callable[[Transaction, EventId], Paced | None], event_id: EventId, tx: Transaction
) -> Paced | None:
    return step(tx, event_id)
