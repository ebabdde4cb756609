"""Money that was set aside after its hold had ended: the very seats again, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.schema.records import PurchaseRecord
from storage.schema.states import OrderState, PaymentState, ReservationState, SeatState
from tests.domain.inventory_stage import DATE_MS, EVENT_ID
from tests.domain.order_stage import OrderStage, orders
from ticketd.domain.event_cancellation import CancelEvent, cancel_event

SOLD = (OrderState.PENDING, PaymentState.AUTHORIZED)
GIVEN_UP = (OrderState.FAILED, PaymentState.AUTHORIZED)


async def run_out(stage: OrderStage, *names: str) -> None:
    """An order whose hold has ended while its payment was under way."""
    order = await stage.intent(*names)
    stage.clock.at_ms = stage.reservation(order.reservation_id).due_at_ms
    await stage.expire()
    assert stage.reservation(order.reservation_id).state is ReservationState.EXPIRED


async def authorise(stage: OrderStage) -> tuple[OrderState, PaymentState]:
    late = await stage.take("authorised")
    stage.check()
    return late.state, late.payment_state


async def test_the_very_seats_are_taken_again(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await run_out(stage, "Floor/A/1", "Floor/A/2")
        assert await authorise(stage) == SOLD
        assert stage.state("Floor/A/1") is SeatState.SOLD
        assert stage.reservation(stage.order().reservation_id).state is ReservationState.ORDERED
        assert stage.purchases(1) == PurchaseRecord(bought=2)
        assert stage.is_listed()
        assert (await stage.take("confirmed")).state is OrderState.CONFIRMED
        stage.check()


@pytest.mark.parametrize("sold", [False, True])
async def test_nobody_loses_one_of_them(tmp_path: Path, sold: bool) -> None:
    async with orders(tmp_path) as stage:
        await run_out(stage, "Floor/A/1", "Floor/A/2")
        await stage.intent("Floor/A/2", user=2, order=2)
        if sold:
            await stage.take("authorised", order=2, user=2)
        assert await authorise(stage) == GIVEN_UP
        assert stage.state("Floor/A/1") is SeatState.AVAILABLE
        assert stage.state("Floor/A/2") is (SeatState.SOLD if sold else SeatState.RESERVED)
        assert stage.purchases(1) is None


@pytest.mark.parametrize(("others", "ends"), [(1, SOLD), (2, SOLD), (3, GIVEN_UP)])
async def test_the_purchase_limit_still_holds(
    tmp_path: Path, others: int, ends: tuple[OrderState, PaymentState]
) -> None:
    async with orders(tmp_path, purchase_limit=4) as stage:
        await run_out(stage, "Floor/A/1", "Floor/A/2")
        await stage.reserve(1, *stage.seats(*(f"Floor/B/{number}" for number in range(1, others + 1))))
        assert await authorise(stage) == ends


@pytest.mark.parametrize(("past_ms", "ends"), [(-1, SOLD), (0, GIVEN_UP), (1, GIVEN_UP)])
async def test_not_after_the_sale(
    tmp_path: Path, past_ms: int, ends: tuple[OrderState, PaymentState]
) -> None:
    async with orders(tmp_path) as stage:
        await run_out(stage, "Floor/A/1")
        stage.clock.at_ms = DATE_MS + past_ms
        assert await authorise(stage) == ends


async def test_not_of_an_event_that_will_not_take_place(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await run_out(stage, "Floor/A/1")
        await stage.run(lambda tx: cancel_event(tx, CancelEvent(EVENT_ID)))
        assert await authorise(stage) == GIVEN_UP


async def test_not_where_the_hold_went_on_to_another_payment(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        order = await stage.intent("Floor/A/1", order=1)
        await stage.take("no answer")
        stage.clock.at_ms = stage.reservation(order.reservation_id).due_at_ms
        await stage.expire()
        assert (await stage.take("authorised")).payment_state is PaymentState.STARTED, (
            "it was given up before"
        )
        assert (await stage.take("found")).state is OrderState.FAILED
        assert stage.state("Floor/A/1") is SeatState.AVAILABLE
        stage.check()
