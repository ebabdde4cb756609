"""Events that were cancelled: their orders and holds end, a bounded number in each commit."""

from __future__ import annotations

from typing import Final

from storage.engine import Command, Engine, Transaction
from storage.schema.ids import EventId
from storage.schema.layout import event_partition
from ticketd.domain.event_cancellation import cancel_next, next_cancellation_ms
from ticketd.tasks.deadlines import DueWork

BATCH: Final = 25
"""Orders, or holds, that are ended in one commit: with eight tickets each they keep the loop for some milliseconds."""


def event_cancellation(engine: Engine) -> DueWork:
    """The work of ending what was sold of cancelled events, for ``run_due_work``."""

    async def step(event_id: EventId) -> None:
        def run(tx: Transaction) -> None:
            cancel_next(tx, event_id, BATCH)

        command = Command("cancel_next", (event_partition(event_id),), run, may_use_reserve=True)
        await engine.submit(command)

    # That an event is put is looked at in any case, and so it is told that one is cancelled.
    return DueWork(name="event_cancellation", peek=next_cancellation_ms, step=step, concerns=lambda _: None)
