from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from storage.schema.layout import SALE, TICKETS
from storage.schema.records import PurchaseRecord
from storage.schema.states import OrderState, PaymentState, ReservationState, SeatState, TicketState
from tests.domain.inventory_stage import DATE_MS, EVENT_ID, HOLD_MS, OPENS_MS
from tests.domain.order_stage import OrderStage, orders
from tests.domain.refusals import refused
from ticketd.domain.event_cancellation import CancelEvent, cancel_event
from ticketd.domain.refund_amounts import rest_minor
from ticketd.errors import ErrorCode


async def confirmed(stage: OrderStage, *names: str) -> None:
    await stage.intent(*names)
    await stage.take("authorised")
    await stage.take("confirmed")


async def mark_ticket(stage: OrderStage, state: TicketState) -> None:
    """Puts a ticket into a state by hand, as a gate would."""
    ticket = stage.tickets()[0]
    await stage.run(
        lambda tx: TICKETS.put(tx, replace(ticket, state=state), stage.partition, ticket.ticket_id)
    )


async def test_a_confirmed_order_ends_with_its_seats_tickets_and_money_in_one_commit(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await confirmed(stage, "Floor/A/1", "Floor/A/2", "Floor/A/3")
        stage.clock.at_ms += 1000
        order = await stage.cancel()
        assert (order.state, order.payment_state) == (OrderState.CANCELLED, PaymentState.REFUND_PENDING)
        assert (order.refund_minor, order.cancelled_at_ms, order.due_at_ms) == (
            186_000,
            stage.clock.at_ms,
            stage.clock.at_ms,
        )
        assert stage.state("Floor/A/1") is SeatState.AVAILABLE
        assert stage.purchases(1) is None
        assert {ticket.state for ticket in stage.tickets()} == {TicketState.VOID}
        stage.check()
        await stage.reserve(2, *stage.seats("Floor/A/1", "Floor/A/2", "Floor/A/3"))
        stage.check()


async def test_an_order_whose_capture_is_still_to_come(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1")
        await stage.take("authorised")
        order = await stage.cancel()
        assert (order.payment_state, order.refund_minor) == (PaymentState.REFUND_PENDING, 62_000)
        assert (await stage.take("confirmed")).state is OrderState.CANCELLED, "too late to be confirmed"
        assert stage.tickets() == []
        stage.check()


async def test_an_order_that_waits_for_its_buyer_gives_up_its_hold(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1")
        await stage.take("action")
        order = await stage.cancel()
        assert (order.state, order.payment_state) == (OrderState.CANCELLED, PaymentState.REQUIRES_ACTION)
        assert (order.refund_minor, order.redirect_url, order.due_at_ms) == (0, None, stage.clock.at_ms)
        assert order.client_secret is None
        assert stage.reservation(order.reservation_id).state is ReservationState.RELEASED
        assert stage.state("Floor/A/1") is SeatState.AVAILABLE
        assert stage.purchases(1) is None
        stage.check()


@pytest.mark.parametrize("swept", [False, True])
@pytest.mark.parametrize("past_ms", [-1, 0, 1])
async def test_it_can_be_given_up_around_the_end_of_its_hold(
    tmp_path: Path, past_ms: int, swept: bool
) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1")
        await stage.take("action")
        stage.clock.at_ms = OPENS_MS + HOLD_MS + past_ms
        if swept:
            await stage.expire()
        assert (await stage.cancel()).state is OrderState.CANCELLED
        assert stage.state("Floor/A/1") is SeatState.AVAILABLE
        await stage.take("authorised")
        assert stage.order().payment_state is PaymentState.REQUIRES_ACTION, "still to be voided"
        stage.check()


@pytest.mark.parametrize(
    ("refund_fees", "total", "refund"), [(True, 186_000, 186_000), (False, 186_000, 163_500)]
)
async def test_the_fees_come_back_unless_the_event_keeps_them(
    tmp_path: Path, refund_fees: bool, total: int, refund: int
) -> None:
    async with orders(tmp_path, refund_fees=refund_fees) as stage:
        await confirmed(stage, "Floor/A/1", "Floor/A/2", "Floor/A/3")
        order = await stage.cancel()
        assert (order.total_minor, order.refund_minor) == (total, refund)
        sale = stage.read(lambda reader: SALE.get(reader, stage.partition))
        assert sale is not None
        assert (
            stage.read(lambda reader: rest_minor(reader, EVENT_ID, order, with_fees=sale.refund_fees))
            == refund
        )


@pytest.mark.parametrize("past_ms", [-1, 0, 1])
async def test_nothing_is_cancelled_once_the_event_has_started(tmp_path: Path, past_ms: int) -> None:
    async with orders(tmp_path) as stage:
        await confirmed(stage, "Floor/A/1")
        stage.clock.at_ms = DATE_MS + past_ms
        if past_ms < 0:
            assert (await stage.cancel()).state is OrderState.CANCELLED
        else:
            assert await reason_of(stage) == "EVENT_STARTED"


@pytest.mark.parametrize("past_ms", [-1, 0, 1])
async def test_nothing_is_cancelled_past_the_last_moment_that_the_event_sets(
    tmp_path: Path, past_ms: int
) -> None:
    last_ms = DATE_MS - 86_400_000
    async with orders(tmp_path, refundable_until_ms=last_ms) as stage:
        await confirmed(stage, "Floor/A/1")
        stage.clock.at_ms = last_ms + past_ms
        if past_ms < 0:
            assert (await stage.cancel()).state is OrderState.CANCELLED
        else:
            assert await reason_of(stage) == "PAST_REFUNDABLE_UNTIL"


@pytest.mark.parametrize("state", [TicketState.USED, TicketState.TRANSFERRED])
async def test_nothing_is_cancelled_once_a_ticket_was_used_or_went_to_another(
    tmp_path: Path, state: TicketState
) -> None:
    async with orders(tmp_path) as stage:
        await confirmed(stage, "Floor/A/1", "Floor/A/2")
        await mark_ticket(stage, state)
        stored = stage.everything()
        assert await reason_of(stage) == f"TICKET_{state.value}"
        assert stage.everything() == stored


async def test_the_start_of_the_event_is_told_before_all_other_reasons(tmp_path: Path) -> None:
    async with orders(tmp_path, refundable_until_ms=DATE_MS - 1) as stage:
        await confirmed(stage, "Floor/A/1")
        await mark_ticket(stage, TicketState.USED)
        stage.clock.at_ms = DATE_MS - 1
        assert await reason_of(stage) == "PAST_REFUNDABLE_UNTIL"
        stage.clock.at_ms = DATE_MS
        assert await reason_of(stage) == "EVENT_STARTED"


async def test_an_order_of_a_cancelled_event_can_be_cancelled(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await confirmed(stage, "Floor/A/1")
        await stage.run(lambda tx: cancel_event(tx, CancelEvent(EVENT_ID)))
        assert (await stage.cancel()).state is OrderState.CANCELLED


async def test_an_order_that_failed_has_nothing_to_cancel(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1")
        await stage.take("action")
        await stage.take("refused")
        assert await reason_of(stage) == "NOT_PAID"


async def test_it_is_cancelled_once_and_by_its_buyer_alone(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await confirmed(stage, "Floor/A/1")
        await refused(ErrorCode.ORDER_NOT_FOUND, stage.cancel(user=2))
        await refused(ErrorCode.ORDER_NOT_FOUND, stage.cancel(order=2))
        await stage.cancel()
        before = stage.purchases(1)
        await refused(ErrorCode.ORDER_ALREADY_CANCELLED, stage.cancel())
        assert stage.purchases(1) == before
        stage.check()


async def test_other_orders_of_the_buyer_stay_counted(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        first = await stage.reserve(1, *stage.seats("Floor/A/1", "Floor/A/2"))
        second = await stage.reserve(1, stage.seat("Floor/B/1"))
        for number, hold in ((1, first), (2, second)):
            await stage.begin(1, hold, order=number)
            await stage.take("authorised", order=number)
        await stage.cancel(order=1)
        assert stage.purchases(1) == PurchaseRecord(bought=1)
        stage.check()


async def reason_of(stage: OrderStage) -> object:
    refusal = await refused(ErrorCode.ORDER_NOT_CANCELLABLE, stage.cancel())
    return refusal.details["reason"]
