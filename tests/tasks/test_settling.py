"""Seeing money through: captures, voids and refunds with a gateway that fails, and buyers who change their minds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import structlog
import trio
import trio.testing
from msgspec.structs import replace
from trio.testing import MockClock

from config.settings import PaymentSettings, Settings
from storage.engine import Command, Committed, EngineOverloaded, StorageFull, Transaction
from storage.schema.layout import DUE_ORDERS, ORDERS
from storage.schema.states import OrderState, PaymentState, SeatState
from tests.domain.inventory_stage import OPENS_MS, order_id
from tests.ports.faulty_gateway import FaultyGateway, When
from tests.tasks.payment_stage import PaymentStage, payments
from ticketd.ports.payments import GatewayState, PaymentGateway
from ticketd.ports.sandbox_payments import ActionOutcome
from ticketd.tasks.payments import PaymentDesk
from ticketd.tasks.settling import LONGEST_DELAY_MS, REST_MS

CHALLENGED = "tok_threeDSecure2Required"
SOLD = (OrderState.PENDING, PaymentState.AUTHORIZED)
CONFIRMED = (OrderState.CONFIRMED, PaymentState.CAPTURED)
REFUNDED = (OrderState.CANCELLED, PaymentState.REFUNDED)
VOIDED = (OrderState.CANCELLED, PaymentState.VOIDED)


async def sell(stage: PaymentStage, desk: PaymentDesk, *names: str, token: str = "tok_visa") -> None:
    """Places order 1 and lets happen all that happens at once."""
    await stage.place(desk, await stage.hold(*(names or ("Floor/A/1",)), token=token))
    await trio.testing.wait_all_tasks_blocked()


# --- capturing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", When)
async def test_a_capture_is_tried_until_it_is_answered_ever_more_seldom(
    autojump_clock: MockClock, tmp_path: Path, when: When
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        stage.gateway.fail("capture", when, times=9)
        await sell(stage, desk)
        waits, at_ms = [], stage.clock.now_ms()
        while stage.states() == SOLD:
            due_at_ms = stage.order().due_at_ms
            assert due_at_ms is not None
            waits.append((due_at_ms - at_ms) // 1000)
            at_ms = due_at_ms
            await stage.until(due_at_ms - OPENS_MS)
        assert waits == [5, 10, 20, 40, 80, 160, 320, 600, 600]
        assert stage.states() == CONFIRMED
        assert set(stage.gateway.keys_of("capture")) == {f"{order_id(1)}:capture"}
        assert stage.state("Floor/A/1") is SeatState.SOLD
        await stage.audit()


async def test_the_first_delay_is_a_setting(autojump_clock: MockClock, tmp_path: Path) -> None:
    settings = Settings(payments=PaymentSettings(capture_retry_seconds=2))
    async with payments(tmp_path) as stage, stage.running(stage.desk(settings=settings)) as desk:
        stage.gateway.fail("capture")
        await sell(stage, desk)
        await stage.until(1_999)
        assert stage.states() == SOLD
        await stage.until(2_000)
        assert stage.states() == CONFIRMED


async def test_a_capture_that_is_refused_for_good_gives_the_seats_back(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        pause = stage.gateway.pause("capture")
        await sell(stage, desk)
        payment = await stage.payment()
        assert payment is not None
        await stage.sandbox.void(payment.payment_ref, "voided by hand")
        pause.resume.set()
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == (OrderState.FAILED, PaymentState.FAILED)
        assert stage.state("Floor/A/1") is SeatState.AVAILABLE
        await stage.audit()


async def test_money_that_was_captured_by_hand_is_no_obstacle(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        pause = stage.gateway.pause("capture")
        await sell(stage, desk)
        payment = await stage.payment()
        assert payment is not None
        await stage.sandbox.capture(payment.payment_ref, payment.amount_minor, "captured by hand")
        pause.resume.set()
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == CONFIRMED
        await stage.audit()


@pytest.mark.parametrize("trouble", [EngineOverloaded("busy"), StorageFull("full")])
async def test_a_store_that_takes_nothing_is_asked_again(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        submit = stage.engine.submit
        with monkeypatch.context() as patched:

            async def refuse_confirming(command, **more):  # type: ignore[no-untyped-def]  # as Engine.submit
                if command.name == "confirm_order":
                    raise trouble
                return await submit(command, **more)

            patched.setattr(stage.engine, "submit", refuse_confirming)
            await sell(stage, desk)
            await stage.until(3 * REST_MS)
            assert stage.states() == SOLD
            assert len(stage.gateway.keys_of("capture")) == 4, "once a second, no more"
        await stage.until(4 * REST_MS)
        assert stage.states() == CONFIRMED
        await stage.audit()


async def test_what_moves_money_may_use_the_last_of_the_space(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        reserve: dict[str, bool] = {}
        submit = stage.engine.submit

        async def note(command: Command[object], **more: float | None) -> object:
            reserve[command.name] = command.may_use_reserve
            return await submit(command, **more)

        monkeypatch.setattr(stage.engine, "submit", note)
        stage.gateway.fail("capture")
        await sell(stage, desk)
        await desk.wake(order_id(1))
        await trio.testing.wait_all_tasks_blocked()
        await stage.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert {name for name, may in reserve.items() if not may} == {"test", "begin_checkout"}
        assert {"record_authorisation", "put_off_order", "wake_order", "confirm_order"} <= reserve.keys()


# --- changing one's mind --------------------------------------------------------------------------------------------


async def test_a_confirmed_order_is_refunded(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await sell(stage, desk, "Floor/A/1", "Floor/A/2")
        await stage.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == REFUNDED
        assert stage.gateway.keys_of("refund") == [f"{order_id(1)}:refund"]
        payment = await stage.payment()
        assert payment is not None
        assert payment.refunded_minor == 124_000
        await stage.audit()


async def test_the_fees_are_kept_of_a_confirmed_order(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path, refund_fees=False) as stage, stage.running() as desk:
        await sell(stage, desk)
        await stage.cancel()
        await trio.testing.wait_all_tasks_blocked()
        payment = await stage.payment()
        assert payment is not None
        assert (payment.captured_minor, payment.refunded_minor) == (62_000, 54_500)
        assert stage.states() == REFUNDED
        await stage.audit()


@pytest.mark.parametrize("refund_fees", [True, False])
async def test_an_order_cancelled_before_its_capture(
    autojump_clock: MockClock, tmp_path: Path, refund_fees: bool
) -> None:
    async with payments(tmp_path, refund_fees=refund_fees) as stage, stage.running() as desk:
        stage.gateway.fail("capture")
        await sell(stage, desk)
        await stage.cancel()
        await trio.testing.wait_all_tasks_blocked()
        payment = await stage.payment()
        assert payment is not None
        if refund_fees:
            assert stage.states() == VOIDED
            assert payment.state is GatewayState.VOIDED
        else:
            assert stage.states() == REFUNDED
            assert (payment.captured_minor, payment.refunded_minor) == (62_000, 54_500)
        assert stage.tickets() == []
        await stage.audit()


@pytest.mark.parametrize("when", When)
@pytest.mark.parametrize("refund_fees", [True, False])
async def test_an_order_cancelled_while_its_capture_is_under_way(
    autojump_clock: MockClock, tmp_path: Path, when: When, refund_fees: bool
) -> None:
    async with payments(tmp_path, refund_fees=refund_fees) as stage, stage.running() as desk:
        pause = stage.gateway.pause("capture", when)
        await sell(stage, desk)
        await pause.reached.wait()
        await stage.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == (OrderState.CANCELLED, PaymentState.REFUND_PENDING)
        pause.resume.set()
        await trio.testing.wait_all_tasks_blocked()
        # Nothing else happens to the order: it must be looked at again by itself.
        assert stage.states() == REFUNDED
        assert stage.tickets() == []
        await stage.audit()


@pytest.mark.parametrize("when", When)
@pytest.mark.parametrize("operation", ["fetch", "refund"])
async def test_a_refund_is_tried_until_it_is_answered(
    autojump_clock: MockClock, tmp_path: Path, operation: str, when: When
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await sell(stage, desk)
        stage.gateway.fail(operation, when, times=3)
        await stage.cancel()
        await stage.until(34_999)
        if (operation, when) != ("refund", When.AFTER_EFFECT):
            assert stage.states() == (OrderState.CANCELLED, PaymentState.REFUND_PENDING)
        await stage.until(35_000)
        assert stage.states() == REFUNDED
        await stage.audit()


@pytest.mark.parametrize("when", When)
async def test_a_void_is_tried_until_it_is_answered(
    autojump_clock: MockClock, tmp_path: Path, when: When
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        stage.gateway.fail("capture")
        stage.gateway.fail("void", when, times=2)
        await sell(stage, desk)
        await stage.cancel()
        await stage.until(60_000)
        assert stage.states() == VOIDED
        await stage.audit()


async def test_a_capture_that_lands_between_look_and_void_is_refunded(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        stage.gateway.fail("capture")
        await sell(stage, desk)
        pause = stage.gateway.pause("void")
        await stage.cancel()
        await pause.reached.wait()
        payment = await stage.payment()
        assert payment is not None
        await stage.sandbox.capture(payment.payment_ref, payment.amount_minor, f"{order_id(1)}:capture")
        pause.resume.set()
        await stage.until(60_000)
        assert stage.states() == REFUNDED
        await stage.audit()


async def test_what_was_given_back_by_hand_is_not_given_back_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await sell(stage, desk)
        payment = await stage.payment()
        assert payment is not None
        await stage.sandbox.refund(payment.payment_ref, 2_000, "by hand")
        await stage.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == REFUNDED
        await stage.audit()


async def test_money_taken_by_hand_for_an_order_that_is_over_is_given_back(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await sell(stage, desk, token=CHALLENGED)
        await stage.act(ActionOutcome.COMPLETE)
        payment = await stage.payment()
        assert payment is not None
        await stage.sandbox.capture(payment.payment_ref, payment.amount_minor, "by hand")
        await stage.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == REFUNDED
        assert stage.order().refund_minor == stage.order().total_minor
        await stage.audit()


# --- one order and the others ---------------------------------------------------------------------------------------


async def test_an_order_that_cannot_be_taken_further_keeps_no_other_from_it(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1")
        other = await stage.hold("Floor/A/2", user=2)
        # Its key was used for something else: a fault that nobody foresaw, whatever it is.
        await stage.place(desk, hold)
        await trio.testing.wait_all_tasks_blocked()
        payment = await stage.payment()
        assert payment is not None
        await stage.sandbox.refund(payment.payment_ref, 1, f"{order_id(2)}:capture")
        await stage.place(desk, other, order=2, user=2)
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states(2) == SOLD
        third = await stage.hold("Floor/A/3", user=3)
        await stage.place(desk, third, order=3, user=3)
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states(3) == CONFIRMED
        tries = len(stage.gateway.keys_of("capture"))
        await stage.until(LONGEST_DELAY_MS - 1)
        assert len(stage.gateway.keys_of("capture")) == tries
        await stage.until(LONGEST_DELAY_MS)
        assert len(stage.gateway.keys_of("capture")) == tries + 1
        await stage.audit(at_rest=False)


async def test_an_order_that_a_step_leaves_as_it_was_rests_for_a_while(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        submit = stage.engine.submit

        async def forget_delays(command, **more):  # type: ignore[no-untyped-def]  # as Engine.submit
            if command.name == "put_off_order":
                return Committed(None, {})
            return await submit(command, **more)

        monkeypatch.setattr(stage.engine, "submit", forget_delays)
        stage.gateway.fail("capture", times=3)
        await sell(stage, desk)
        for tries in (1, 2, 3):
            assert len(stage.gateway.keys_of("capture")) == tries
            await stage.until(tries * REST_MS)
        assert stage.states() == CONFIRMED


async def test_an_order_at_rest_that_is_due_all_the_same_is_told_of_and_left_alone(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage:
        async with stage.running() as desk:
            await sell(stage, desk)
        broken = replace(stage.order(), due_at_ms=OPENS_MS)

        def plant(tx: Transaction) -> None:
            ORDERS.put(tx, broken, stage.partition, broken.order_id)
            DUE_ORDERS.add(tx, stage.partition, OPENS_MS, broken.order_id)

        await stage.run(plant)
        with structlog.testing.capture_logs() as logs:
            async with stage.running():
                await stage.until(LONGEST_DELAY_MS - 1)
                assert len(logs) == 1
                await stage.until(LONGEST_DELAY_MS)
        assert [line["event"] for line in logs] == ["payment cannot be taken further"] * 2
        assert stage.order() == broken


class ForgetfulGateway:
    """A gateway that has lost its payments."""

    def __init__(self, inner: FaultyGateway) -> None:
        self._inner = inner

    async def fetch(self, payment_ref: str) -> None:
        await trio.sleep(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def test_money_that_was_taken_stays_owed_where_the_gateway_has_lost_the_payment(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage:
        hold = await stage.hold("Floor/A/1")
        async with stage.running(
            stage.desk(gateway=cast(PaymentGateway, ForgetfulGateway(stage.gateway)))
        ) as desk:
            await stage.place(desk, hold)
            await trio.testing.wait_all_tasks_blocked()
            await stage.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert stage.states() == (OrderState.CANCELLED, PaymentState.REFUND_PENDING)
            assert stage.order().tries > 0
        async with stage.running():
            await stage.until(stage.clock.now_ms() - OPENS_MS + 3_600_000)
        assert stage.states() == (OrderState.CANCELLED, PaymentState.REFUNDED)
        await stage.audit()
