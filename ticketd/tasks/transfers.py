"""Offers of tickets that run out: the ticket is its sender's alone again, a bounded number in each commit."""

from __future__ import annotations

from typing import Final

from storage.engine import Command, Engine, Transaction
from storage.schema.events import TransferMoved
from storage.schema.ids import EventId
from storage.schema.layout import event_partition
from ticketd.domain.transfers import expire_transfers, next_transfer_expiry_ms
from ticketd.tasks.deadlines import DueWork

BATCH: Final = 100
"""Most offers that are ended in one commit."""


def transfer_expiry(engine: Engine) -> DueWork:
    """The work of ending offers, for ``run_due_work``."""

    async def step(event_id: EventId) -> None:
        def run(tx: Transaction) -> int | None:
            return expire_transfers(tx, event_id, BATCH)

        command = Command("expire_transfers", (event_partition(event_id),), run, may_use_reserve=True)
        await engine.submit(command)

    return DueWork(name="transfer_expiry", peek=next_transfer_expiry_ms, step=step, concerns=_concerns)


def _concerns(event: object) -> EventId | None:
    """The event in which a ticket was offered: what may bring the next end forward."""
    if isinstance(event, TransferMoved) and event.due_at_ms is not None:
        return event.event_id
    return None
