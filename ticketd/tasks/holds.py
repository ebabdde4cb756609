"""Holds that run out: their seats fall free when their time is over, a bounded number in each commit."""

from __future__ import annotations

from typing import Final

from storage.engine import Command, Engine, Transaction
from storage.schema.events import HoldMoved, SeatsMoved
from storage.schema.ids import EventId
from storage.schema.layout import event_partition
from storage.schema.states import SeatState
from ticketd.domain.hoarding import NO_LIMITS, LapseLimits
from ticketd.domain.reservations import expire_reservations, next_expiry_ms
from ticketd.tasks.deadlines import DueWork

BATCH: Final = 100
"""Most holds that are ended in one commit: it keeps the others that wait for theirs waiting a few milliseconds."""


def hold_expiry(engine: Engine, lapse_limits: LapseLimits = NO_LIMITS) -> DueWork:
    """The work of ending holds, for ``run_due_work``. Each that ends counts as lapsed by ``lapse_limits``."""

    async def step(event_id: EventId) -> None:
        def run(tx: Transaction) -> int | None:
            return expire_reservations(tx, event_id, BATCH, lapse_limits)

        command = Command("expire_reservations", (event_partition(event_id),), run, may_use_reserve=True)
        await engine.submit(command)

    return DueWork(name="hold_expiry", peek=next_expiry_ms, step=step, concerns=_concerns)


def _concerns(event: object) -> EventId | None:
    """The event in which a hold was made, or was moved: what may bring the next end forward."""
    if isinstance(event, HoldMoved) or (isinstance(event, SeatsMoved) and event.state is SeatState.RESERVED):
        return event.event_id
    return None
