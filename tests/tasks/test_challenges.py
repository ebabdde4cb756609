"""Payments that need their buyer: challenges met, failed, given up, and let pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from storage.schema.states import OrderState, PaymentState, ReservationState, SeatState
from tests.domain.inventory_stage import EVENT_ID, HOLD_MS, order_id
from tests.tasks.payment_stage import PaymentStage, payments
from ticketd.ports.payments import GatewayState, Voided
from ticketd.ports.sandbox_payments import ActionOutcome
from ticketd.tasks.payments import PaymentDesk

CHALLENGED = "tok_threeDSecure2Required"
CONFIRMED = (OrderState.CONFIRMED, PaymentState.CAPTURED)
WAITING = (OrderState.PENDING, PaymentState.REQUIRES_ACTION)
REFUNDED = (OrderState.CANCELLED, PaymentState.REFUNDED)
VOIDED = (OrderState.CANCELLED, PaymentState.VOIDED)


async def sell(stage: PaymentStage, desk: PaymentDesk, *names: str, token: str = "tok_visa") -> None:
    """Places order 1 and lets happen all that happens at once."""
    await stage.place(desk, await stage.hold(*(names or ("Floor/A/1",)), token=token))
    await trio.testing.wait_all_tasks_blocked()


async def test_a_challenge_that_was_met_sells_the_seats(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await sell(stage, desk, token=CHALLENGED)
        assert stage.states() == WAITING
        assert stage.state("Floor/A/1") is SeatState.RESERVED
        await stage.until(HOLD_MS - 1)
        await stage.act(ActionOutcome.COMPLETE)
        await desk.wake(order_id(1))
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == CONFIRMED
        await stage.until(HOLD_MS + 1)
        await stage.audit()


async def test_a_challenge_that_was_failed_leaves_the_hold(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await sell(stage, desk, token=CHALLENGED)
        await stage.act(ActionOutcome.FAIL)
        await desk.wake(order_id(1))
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == (OrderState.FAILED, PaymentState.FAILED)
        hold = stage.reservation(stage.order().reservation_id)
        assert hold.state is ReservationState.HELD
        await stage.add_card(1)
        await stage.place(desk, hold, order=2)
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states(2) == CONFIRMED
        await stage.audit()


async def test_a_failed_challenge_that_cannot_be_ended_yet_is_no_decline_yet(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await sell(stage, desk, token=CHALLENGED)
        await stage.act(ActionOutcome.FAIL)
        stage.gateway.fail("void")
        await desk.wake(order_id(1))
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == WAITING, "another card may be tried on the payment still"
        await stage.until(10_000)
        assert stage.states() == (OrderState.FAILED, PaymentState.FAILED)
        payment = await stage.payment()
        assert payment is not None
        assert payment.state is GatewayState.VOIDED
        await stage.audit()


async def test_a_failed_challenge_whose_end_is_refused_is_looked_at_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await sell(stage, desk, token=CHALLENGED)
        await stage.act(ActionOutcome.FAIL)
        pause = stage.gateway.pause("void")
        await desk.wake(order_id(1))
        await pause.reached.wait()
        assert isinstance(await stage.sandbox.void(stage.order().payment_ref or "", "by hand"), Voided)
        pause.resume.set()
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == WAITING, "what is so is not known yet"
        await stage.until(10_000)
        assert stage.states() == (OrderState.FAILED, PaymentState.FAILED)
        await stage.audit()


async def test_a_challenge_that_was_never_met_ends_with_the_hold(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await sell(stage, desk, token=CHALLENGED)
        await desk.wake(order_id(1))
        await stage.until(HOLD_MS - 1)
        assert stage.states() == WAITING
        await stage.until(HOLD_MS)
        assert stage.states() == (OrderState.FAILED, PaymentState.VOIDED)
        assert stage.state("Floor/A/1") is SeatState.AVAILABLE
        # Looked at when woken, after 10 s, 20 s more, and every 30 s from then on.
        assert len(stage.gateway.keys_of("fetch")) == 22
        await stage.audit()


@pytest.mark.parametrize(
    ("acts_ms", "found_ms"), [(4_000, 5_000), (5_001, 15_000), (16_000, 35_000), (36_000, 65_000)]
)
async def test_a_challenge_that_was_met_without_a_word_is_found_soon(
    autojump_clock: MockClock, tmp_path: Path, acts_ms: int, found_ms: int
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await sell(stage, desk, token=CHALLENGED)
        await stage.until(acts_ms)
        await stage.act(ActionOutcome.COMPLETE)
        await stage.until(found_ms - 1)
        assert stage.states() == WAITING
        await stage.until(found_ms)
        assert stage.states() == CONFIRMED
        await stage.audit()


async def test_an_order_that_is_asked_for_is_looked_at_at_once_but_not_again_and_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await sell(stage, desk, token=CHALLENGED)
        desk.look_soon(EVENT_ID, stage.order())
        await trio.testing.wait_all_tasks_blocked()
        assert stage.gateway.keys_of("fetch") == [], "looked at just now"
        await stage.until(2_000)
        await stage.act(ActionOutcome.COMPLETE)
        desk.look_soon(EVENT_ID, stage.order())
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == CONFIRMED
        desk.look_soon(EVENT_ID, stage.order())
        await stage.audit()


async def test_a_challenge_that_was_met_without_a_word_is_found_at_the_holds_end(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await sell(stage, desk, token=CHALLENGED)
        await stage.until(HOLD_MS - 1)
        await stage.act(ActionOutcome.COMPLETE)
        await stage.until(HOLD_MS)
        # Seats or money: whichever came first at that moment, both agree.
        assert stage.states() in {CONFIRMED, (OrderState.FAILED, PaymentState.VOIDED)}
        await stage.audit()


async def test_a_challenge_can_be_given_up(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await sell(stage, desk, token=CHALLENGED)
        await stage.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == VOIDED
        assert stage.state("Floor/A/1") is SeatState.AVAILABLE
        await stage.act(ActionOutcome.COMPLETE)
        await desk.wake(order_id(1))
        await stage.until(HOLD_MS)
        await stage.audit()


async def test_a_challenge_met_after_it_was_given_up_is_voided(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await sell(stage, desk, token=CHALLENGED)
        stage.gateway.fail("void")
        await stage.cancel()
        await stage.act(ActionOutcome.COMPLETE)
        await stage.until(10_000)
        assert stage.states() == VOIDED
        await stage.audit()


async def test_a_challenge_whose_gateway_is_away_at_the_end_is_still_ended(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await sell(stage, desk, token=CHALLENGED)
        await stage.until(HOLD_MS - 1)
        stage.gateway.fail("fetch", times=1)
        await stage.until(HOLD_MS)
        assert stage.states() == WAITING
        assert stage.state("Floor/A/1") is SeatState.AVAILABLE, "nobody else waits for it"
        await stage.audit(at_rest=False)
        await stage.until(HOLD_MS + 35_000)
        assert stage.states() == (OrderState.FAILED, PaymentState.VOIDED)
        await stage.audit()
