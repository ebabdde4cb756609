from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from storage.clock import TrioClock
from storage.schema.events import TransferMoved
from storage.schema.ids import TransferId
from storage.schema.states import TicketState, TransferState
from tests.domain.ticket_stage import (
    OPENS_MS,
    RECIPIENT,
    SENDER,
    TRANSFER_MS,
    TicketStage,
    open_stage,
)
from ticketd.tasks.deadlines import run_due_work
from ticketd.tasks.transfers import BATCH, transfer_expiry


async def test_offers_end_at_their_time(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    clock = TrioClock(OPENS_MS)
    with open_stage(tmp_path, clock) as stage:
        await stage.put_event()
        tickets = await stage.buy(SENDER, 1, "Floor/A/1", "Floor/A/2", "Floor/A/3")
        before = await stage.offer(SENDER, tickets[0])
        async with trio.open_nursery() as nursery:
            await nursery.start(run_due_work, stage.engine, clock, transfer_expiry(stage.engine))
            await trio.sleep(3600)
            after = await stage.offer(SENDER, tickets[1])
            taken = await stage.offer(SENDER, tickets[2])
            await stage.accept(RECIPIENT, taken.transfer_id)
            await clock.wait_until_ms(OPENS_MS + TRANSFER_MS - 1)
            assert _state(stage, before.transfer_id) is TransferState.PENDING
            await clock.wait_until_ms(OPENS_MS + TRANSFER_MS + 1)
            assert _state(stage, before.transfer_id) is TransferState.EXPIRED
            assert _state(stage, after.transfer_id) is TransferState.PENDING
            await trio.sleep(3600)
            assert _state(stage, after.transfer_id) is TransferState.EXPIRED
            assert _state(stage, taken.transfer_id) is TransferState.ACCEPTED
            nursery.cancel_scope.cancel()
        assert stage.ticket(tickets[0]).state is TicketState.ACTIVE
        ended = [change for change in stage.changes if isinstance(change, TransferMoved)]
        assert [change.state for change in ended].count(TransferState.EXPIRED) == 2
        stage.check()


async def test_what_ran_out_while_nobody_looked_ends_at_the_start(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    clock = TrioClock(OPENS_MS)
    with open_stage(tmp_path, clock) as stage:
        seats = BATCH + 1
        await stage.put_event(hall={"Floor": {"A": seats}}, purchase_limit=seats)
        tickets = await stage.buy(SENDER, 1, *(f"Floor/A/{number}" for number in range(1, seats + 1)))
        for ticket_id in tickets:
            await stage.offer(SENDER, ticket_id)
        await trio.sleep(TRANSFER_MS / 1000 + 1)
        async with trio.open_nursery() as nursery:
            await nursery.start(run_due_work, stage.engine, clock, transfer_expiry(stage.engine))
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        assert {stage.ticket(ticket_id).state for ticket_id in tickets} == {TicketState.ACTIVE}
        stage.check()


def _state(stage: TicketStage, transfer_id: TransferId) -> TransferState:
    return stage.transfer(transfer_id).state
