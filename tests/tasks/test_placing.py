"""Placing orders: what the buyer is answered, what is kept of it, and who waits for whom."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from msgspec.structs import replace
from trio.testing import MockClock

from config.settings import PaymentSettings, Settings
from storage.engine import EngineOverloaded
from storage.schema.states import OrderState, PaymentState, ReservationState, SeatState
from tests.domain.inventory_stage import HOLD_MS, order_id
from tests.domain.order_stage import begin_command
from tests.domain.refusals import refused
from tests.ports.faulty_gateway import When
from tests.tasks.payment_stage import payments, reply_of
from ticketd.errors import ErrorCode, Refusal
from ticketd.event_file.plan import TierPlan
from ticketd.ports.payments import GatewayState
from ticketd.ports.sandbox_payments import ActionOutcome
from ticketd.tasks.placing import PlacedAnswer

DECLINED = "tok_chargeDeclinedInsufficientFunds"
CHALLENGED = "tok_threeDSecure2Required"
SOLD = (OrderState.PENDING, PaymentState.AUTHORIZED)
CONFIRMED = (OrderState.CONFIRMED, PaymentState.CAPTURED)
FAILED = (OrderState.FAILED, PaymentState.FAILED)
FREE_TIER = TierPlan(tier_id=order_id(0xF), name="Free", price_minor=0, fees_minor=0)


def body_of(states: tuple[OrderState, PaymentState], order: int = 1) -> bytes:
    return f"{order_id(order)} {states[0]}/{states[1]}".encode()


# --- the ways it can go ---------------------------------------------------------------------------------------------


async def test_an_order_is_sold_answered_captured_and_ticketed(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1", "Floor/A/2")
        assert await stage.place(desk, hold) == PlacedAnswer(status=201, body=body_of(SOLD))
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == CONFIRMED
        assert [(call.operation, call.idempotency_key) for call in stage.gateway.calls] == [
            ("authorise", f"{order_id(1)}:authorise"),
            ("capture", f"{order_id(1)}:capture"),
        ]
        assert [line.what for line in stage.order().trail] == [
            "payment begun",
            "authorised and sold",
            "captured",
        ]
        await stage.audit()


async def test_the_seats_are_sold_before_anything_is_captured(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        pause = stage.gateway.pause("capture")
        await stage.place(desk, await stage.hold("Floor/A/1"))
        await pause.reached.wait()
        assert stage.states() == SOLD
        assert stage.state("Floor/A/1") is SeatState.SOLD
        assert stage.tickets() == []
        pause.resume.set()
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == CONFIRMED


async def test_a_decline_leaves_the_hold_for_another_card(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1", token=DECLINED)
        refusal = await refused(ErrorCode.PAYMENT_DECLINED, stage.place(desk, hold))
        assert refusal.details == {"decline_code": "insufficient_funds"}
        assert stage.states() == FAILED
        assert stage.reservation(hold.reservation_id) == hold
        await stage.add_card(1, "tok_mastercard")
        assert (await stage.place(desk, hold, order=2)).status == 201
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states(2) == CONFIRMED
        await stage.audit()


async def test_an_unreachable_gateway_moves_nothing_and_the_hold_lives_on(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1")
        stage.gateway.fail("authorise")
        await refused(ErrorCode.PAYMENT_UNAVAILABLE, stage.place(desk, hold))
        assert stage.states() == FAILED
        assert stage.reservation(hold.reservation_id) == replace(hold, excused=True)
        await stage.until(60_000)
        assert stage.gateway.keys_of("authorise") == [f"{order_id(1)}:authorise"], "asked once, and no more"
        assert (await stage.place(desk, hold, order=2)).status == 201
        await trio.testing.wait_all_tasks_blocked()
        await stage.audit()


async def test_money_that_was_set_aside_without_an_answer_is_found_and_voided(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1")
        stage.gateway.fail("authorise", When.AFTER_EFFECT)
        await refused(ErrorCode.PAYMENT_UNAVAILABLE, stage.place(desk, hold))
        assert stage.states() == (OrderState.FAILED, PaymentState.STARTED)
        assert stage.reservation(hold.reservation_id) == replace(hold, excused=True)
        # The buyer need not wait for that.
        assert (await stage.place(desk, hold, order=2)).status == 201
        await stage.until(4_999)
        assert stage.states()[1] is PaymentState.STARTED
        await stage.until(5_000)
        assert stage.states() == (OrderState.FAILED, PaymentState.VOIDED)
        assert stage.gateway.keys_of("void") == [f"{order_id(1)}:void"]
        assert stage.states(2) == CONFIRMED
        await stage.audit()


async def test_a_gateway_that_does_not_answer_in_time_is_unreachable(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    settings = Settings(payments=PaymentSettings(timeout_seconds=3))
    async with payments(tmp_path) as stage, stage.running(stage.desk(settings=settings)) as desk:
        hold = await stage.hold("Floor/A/1")
        stage.gateway.pause("authorise", When.AFTER_EFFECT)
        began = trio.current_time()
        await refused(ErrorCode.PAYMENT_UNAVAILABLE, stage.place(desk, hold))
        assert trio.current_time() - began == 3
        assert stage.states() == (OrderState.FAILED, PaymentState.STARTED)
        await stage.until(10_000)
        assert stage.states() == (OrderState.FAILED, PaymentState.VOIDED)
        await stage.audit()


async def test_what_was_declined_without_an_answer_is_found_out(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        stage.gateway.fail("authorise", When.AFTER_EFFECT)
        hold = await stage.hold("Floor/A/1", token=DECLINED)
        await refused(ErrorCode.PAYMENT_UNAVAILABLE, stage.place(desk, hold))
        await stage.until(5_000)
        assert stage.states() == FAILED
        await stage.audit()


async def test_an_order_over_nothing_asks_no_gateway(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path, tiers=(FREE_TIER,) * 3) as stage, stage.running() as desk:
        await stage.place(desk, await stage.hold("Floor/A/1", "Floor/A/2"))
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == CONFIRMED
        assert (stage.order().total_minor, len(stage.tickets())) == (0, 2)
        cancelled = await stage.cancel()
        assert cancelled.refund_minor == 0
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == (OrderState.CANCELLED, PaymentState.VOIDED)
        assert stage.gateway.calls == []
        await stage.audit()


# --- who waits for whom ---------------------------------------------------------------------------------------------


async def test_a_buyer_who_hangs_up_is_charged_and_served_all_the_same(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1")
        pause = stage.gateway.pause("authorise", When.AFTER_EFFECT)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stage.place, desk, hold)
                await pause.reached.wait()
                scope.cancel()
        assert scope.cancelled_caught
        pause.resume.set()
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == CONFIRMED
        await stage.audit()


async def test_of_two_orders_for_one_hold_at_once_one_is_placed(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1")
        answers: list[object] = []

        async def try_order(number: int) -> None:
            try:
                answers.append((await stage.place(desk, hold, order=number)).status)
            except Refusal as refusal:
                answers.append(refusal.code)

        async with trio.open_nursery() as nursery:
            for number in range(1, 6):
                nursery.start_soon(try_order, number)
        assert answers.count(201) == 1
        assert answers.count(ErrorCode.ORDER_EXISTS) == 4
        assert len(stage.gateway.keys_of("authorise")) == 1
        await trio.testing.wait_all_tasks_blocked()
        await stage.audit()


async def test_a_payment_begun_in_the_holds_last_moment_may_take_its_time(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1")
        await stage.until(HOLD_MS - 1)
        pause = stage.gateway.pause("authorise")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.place, desk, hold)
            await pause.reached.wait()
            await stage.until(HOLD_MS + 15_000)
            assert stage.reservation(hold.reservation_id).state is ReservationState.PAYING
            pause.resume.set()
        assert stage.states() == SOLD
        await trio.testing.wait_all_tasks_blocked()
        await stage.audit()


async def test_an_answer_after_the_freeze_comes_too_late(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1")
        await stage.until(HOLD_MS - 1)
        begin = replace(begin_command(1, hold), freeze_ms=2_000)
        pause = stage.gateway.pause("authorise", When.AFTER_EFFECT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refused, ErrorCode.RESERVATION_EXPIRED, desk.place_order(begin))
            await pause.reached.wait()
            await stage.until(HOLD_MS + 2_000)
            assert stage.state("Floor/A/1") is SeatState.AVAILABLE
            await stage.reserve(2, stage.seat("Floor/A/1"))
            pause.resume.set()
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == (OrderState.FAILED, PaymentState.VOIDED)
        await stage.audit()


async def test_an_answer_after_the_freeze_takes_the_very_seats_again_if_nobody_else_has_them(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1")
        await stage.until(HOLD_MS - 1)
        begin = replace(begin_command(1, hold), freeze_ms=2_000)
        pause = stage.gateway.pause("authorise", When.AFTER_EFFECT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.place_order, begin)
            await pause.reached.wait()
            await stage.until(HOLD_MS + 2_000)
            assert stage.state("Floor/A/1") is SeatState.AVAILABLE
            pause.resume.set()
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == (OrderState.CONFIRMED, PaymentState.CAPTURED)
        assert stage.state("Floor/A/1") is SeatState.SOLD
        await stage.audit()


async def test_a_challenge_that_comes_after_the_holds_end_is_given_up(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1", token=CHALLENGED)
        await stage.until(HOLD_MS - 1)
        pause = stage.gateway.pause("authorise", When.AFTER_EFFECT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refused, ErrorCode.RESERVATION_EXPIRED, stage.place(desk, hold))
            await pause.reached.wait()
            await stage.until(HOLD_MS + 1_000)
            pause.resume.set()
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == (OrderState.FAILED, PaymentState.VOIDED)
        assert stage.state("Floor/A/1") is SeatState.AVAILABLE
        await stage.audit()


async def test_a_store_that_takes_nothing_leaves_the_order_to_be_resumed(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1")
        submit = stage.engine.submit

        async def refuse_outcomes(command, **more):  # type: ignore[no-untyped-def]  # as Engine.submit
            if command.name == "record_authorisation":
                raise EngineOverloaded("too much to do")
            return await submit(command, **more)

        with monkeypatch.context() as patched:
            patched.setattr(stage.engine, "submit", refuse_outcomes)
            with pytest.raises(EngineOverloaded):
                await stage.place(desk, hold, reply=reply_of())
            await refused(ErrorCode.ORDER_EXISTS, stage.place(desk, hold, order=2))
        assert stage.states() == (OrderState.INTENT, PaymentState.STARTED)
        await stage.until(desk.resume_ms)
        assert stage.states() == CONFIRMED
        kept = stage.kept(reply_of())
        assert kept is not None
        assert (kept.status, kept.body) == (201, body_of(SOLD))
        await stage.audit()


async def test_nothing_is_placed_once_the_desk_has_closed(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage:
        hold = await stage.hold("Floor/A/1")
        desk = stage.desk()
        await refused(ErrorCode.OVERLOADED, stage.place(desk, hold))
        async with stage.running(desk):
            pass
        await refused(ErrorCode.OVERLOADED, stage.place(desk, hold))
        assert stage.find_order(1) is None


async def test_the_gateways_state_is_what_the_challenge_page_left(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await stage.place(desk, await stage.hold("Floor/A/1", token=CHALLENGED))
        await stage.act(ActionOutcome.FAIL)
        await desk.wake(order_id(1))
        await trio.testing.wait_all_tasks_blocked()
        payment = await stage.payment()
        assert payment is not None
        assert payment.state is GatewayState.VOIDED, "so that no other card can be tried on it"
        assert stage.order().decline_code == payment.decline_code
