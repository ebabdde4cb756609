"""Cancelling an event: every order and hold of it ends, once, batch by batch, whatever was under way."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from storage.schema.cancellations import CancellationRecord
from storage.schema.layout import SALE
from storage.schema.states import OrderState, PaymentState, ReservationState, TicketState
from storage.verify.contents import EventContents
from storage.verify.disputes import check_cancellation
from tests.domain.inventory_stage import EVENT_ID
from tests.domain.order_stage import OrderStage, orders
from tests.domain.test_refunds import ask
from ticketd.domain.event_cancellation import (
    CancelEvent,
    cancel_event,
    cancel_next,
    find_cancellation,
    next_cancellation_ms,
)
from ticketd.domain.sales import load_sale
from ticketd.domain.ticket_book import move_ticket

ORDERED = {
    "begun": ("Floor/A/1", (), (OrderState.INTENT, PaymentState.STARTED)),
    "declined": ("Floor/A/2", ("refused",), (OrderState.FAILED, PaymentState.FAILED)),
    "challenged": ("Floor/A/3", ("action",), (OrderState.CANCELLED, PaymentState.REQUIRES_ACTION)),
    "sold": ("Floor/A/4", ("authorised",), (OrderState.CANCELLED, PaymentState.REFUND_PENDING)),
    "confirmed": (
        "Floor/A/5",
        ("authorised", "confirmed"),
        (OrderState.CANCELLED, PaymentState.REFUND_PENDING),
    ),
}
"""Where orders stand when their event is cancelled: the seat, how it came there, and what becomes of it."""


async def play(stage: OrderStage) -> None:
    for number, (seat, steps, _) in enumerate(ORDERED.values(), start=1):
        await stage.intent(seat, user=number, order=number)
        for step in steps:
            await stage.take(step, order=number, user=number)


async def cancel(stage: OrderStage) -> bool:
    return (await stage.run(lambda tx: cancel_event(tx, CancelEvent(EVENT_ID)))).changed


async def run_batches(stage: OrderStage, limit: int) -> int:
    """Runs the batches; how many there were."""
    batches = 0
    while stage.read(lambda reader: next_cancellation_ms(reader, EVENT_ID)) is not None:
        await stage.run(lambda tx: cancel_next(tx, EVENT_ID, limit))
        batches += 1
    return batches


def progress(stage: OrderStage) -> CancellationRecord:
    found = stage.read(lambda reader: find_cancellation(reader, EVENT_ID))
    assert found is not None
    return found


def check(stage: OrderStage) -> None:
    stage.check()
    assert stage.read(lambda reader: list(check_cancellation(EventContents(reader, EVENT_ID)))) == []


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_every_order_and_hold_ends_once_whatever_the_batch(tmp_path: Path, limit: int) -> None:
    async with orders(tmp_path) as stage:
        await play(stage)
        hold = await stage.reserve(9, *stage.seats("Floor/A/6"))
        assert stage.read(lambda reader: next_cancellation_ms(reader, EVENT_ID)) is None
        assert await cancel(stage)
        assert not await cancel(stage)
        await run_batches(stage, limit)
        for number, (_, _, ends) in enumerate(ORDERED.values(), start=1):
            order = stage.order(number)
            assert (order.state, order.payment_state) == ends
            if order.payment_state is PaymentState.REFUND_PENDING:
                assert order.refund_minor == order.total_minor
        assert stage.reservation(hold.reservation_id).state is ReservationState.EXPIRED
        assert {ticket.state for ticket in stage.tickets()} == {TicketState.VOID}
        done = progress(stage)
        assert (done.orders_ended, done.orders_at_tills, done.holds_ended) == (3, 0, 2)
        assert done.done_at_ms == stage.clock.at_ms
        check(stage)
        before = [stage.order(number) for number in range(1, 6)]
        await stage.run(lambda tx: cancel_next(tx, EVENT_ID, limit))
        assert not await cancel(stage)
        assert [stage.order(number) for number in range(1, 6)] == before
        # The payment that had only begun comes to nothing, whatever the gateway says.
        late = await stage.take("authorised")
        assert (late.state, late.payment_state) == (OrderState.FAILED, PaymentState.AUTHORIZED)
        check(stage)


@pytest.mark.parametrize(
    ("step", "ends", "told"),
    [
        ("authorised", PaymentState.AUTHORIZED, "authorised after the event was cancelled"),
        ("action", PaymentState.REQUIRES_ACTION, "needs the buyer after the event was cancelled"),
    ],
)
async def test_a_payment_that_had_only_begun_comes_to_nothing_and_says_why(
    tmp_path: Path, step: str, ends: PaymentState, told: str
) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1")
        await cancel(stage)
        await run_batches(stage, 10)
        late = await stage.take(step)
        assert (late.state, late.payment_state) == (OrderState.FAILED, ends)
        assert late.trail[-1].what == told
        check(stage)


async def test_used_tickets_die_too_and_fees_go_back_whatever_the_event_keeps(tmp_path: Path) -> None:
    async with orders(tmp_path, refund_fees=False) as stage:
        await stage.intent("Floor/A/1", "Floor/A/2", "Floor/A/3")
        await stage.take("authorised")
        await stage.take("confirmed")
        tickets = stage.tickets()
        await stage.run(lambda tx: move_ticket(tx, EVENT_ID, tickets[0], TicketState.USED))
        one = await ask(stage, stage.order().ticket_ids[1:2], with_fees=False)
        await cancel(stage)
        await run_batches(stage, 10)
        order = stage.order()
        assert order.refund_minor == order.total_minor - order.fees_minor // 3
        assert one.amount_minor < order.refund_minor
        assert {ticket.state for ticket in stage.tickets()} == {TicketState.VOID}


async def test_an_event_that_an_earlier_release_cancelled_is_ended_when_it_is_cancelled_again(
    tmp_path: Path,
) -> None:
    async with orders(tmp_path) as stage:
        await play(stage)
        cancelled = replace(stage.read(lambda reader: load_sale(reader, EVENT_ID)), cancelled=True)
        await stage.run(lambda tx: SALE.put(tx, cancelled, stage.partition))
        assert await run_batches(stage, 10) == 0
        assert stage.order(5).state is OrderState.CONFIRMED
        assert await cancel(stage)
        await run_batches(stage, 10)
        assert stage.order(5).state is OrderState.CANCELLED
