"""A process that dies at any step of an order: after the next start, money, seats and tickets agree.

Each scenario is first played to its end to learn its steps, then once for each step at which the process may die: after
each commit and after each call of the gateway, before anybody has heard of it. Another process then goes on with the
same store and the same gateway.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from storage.schema.records import ReservationRecord
from storage.schema.states import OrderState, PaymentState
from tests.domain.inventory_stage import HOLD_MS, OPENS_MS, order_id
from tests.domain.refusals import refused
from tests.ports.faulty_gateway import When
from tests.tasks.payment_stage import Death, PaymentStage, mortal_desk, payments, reply_of
from ticketd.errors import ErrorCode
from ticketd.ports.sandbox_payments import ActionOutcome
from ticketd.tasks.payments import PaymentDesk

CONFIRMED = (OrderState.CONFIRMED, PaymentState.CAPTURED)
DAY_MS = 86_400_000

Play = Callable[[PaymentStage, PaymentDesk, ReservationRecord], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """What happens, with which card, and how it ends if nobody dies."""

    play: Play
    ends: tuple[OrderState, PaymentState]
    token: str = "tok_visa"
    refund_fees: bool = True


async def buy(stage: PaymentStage, desk: PaymentDesk, hold: ReservationRecord) -> None:
    await stage.place(desk, hold, reply=reply_of())
    await trio.testing.wait_all_tasks_blocked()


async def buy_and_cancel(stage: PaymentStage, desk: PaymentDesk, hold: ReservationRecord) -> None:
    await buy(stage, desk, hold)
    await stage.cancel()
    await trio.testing.wait_all_tasks_blocked()


async def cancel_before_capture(stage: PaymentStage, desk: PaymentDesk, hold: ReservationRecord) -> None:
    stage.gateway.fail("capture")
    await buy_and_cancel(stage, desk, hold)


async def lose_the_answer(stage: PaymentStage, desk: PaymentDesk, hold: ReservationRecord) -> None:
    stage.gateway.fail("authorise", When.AFTER_EFFECT)
    await refused(ErrorCode.PAYMENT_UNAVAILABLE, buy(stage, desk, hold))
    await stage.until(stage.clock.now_ms() - OPENS_MS + 30_000)


async def meet_the_challenge(stage: PaymentStage, desk: PaymentDesk, hold: ReservationRecord) -> None:
    await buy(stage, desk, hold)
    await stage.act(ActionOutcome.COMPLETE)
    await desk.wake(order_id(1))
    await trio.testing.wait_all_tasks_blocked()


async def fail_the_challenge(stage: PaymentStage, desk: PaymentDesk, hold: ReservationRecord) -> None:
    await buy(stage, desk, hold)
    await stage.act(ActionOutcome.FAIL)
    await desk.wake(order_id(1))
    await trio.testing.wait_all_tasks_blocked()


async def let_the_challenge_pass(stage: PaymentStage, desk: PaymentDesk, hold: ReservationRecord) -> None:
    await buy(stage, desk, hold)
    await stage.until(HOLD_MS + 1_000)


async def give_up_the_challenge(stage: PaymentStage, desk: PaymentDesk, hold: ReservationRecord) -> None:
    await buy(stage, desk, hold)
    await stage.cancel()
    await trio.testing.wait_all_tasks_blocked()


CHALLENGED = "tok_threeDSecure2Required"
S, P = OrderState, PaymentState
SCENARIOS: dict[str, Scenario] = {
    "sale": Scenario(buy, CONFIRMED),
    "decline": Scenario(buy, (S.FAILED, P.FAILED), "tok_chargeDeclined"),
    "refund": Scenario(buy_and_cancel, (S.CANCELLED, P.REFUNDED)),
    "refund without fees": Scenario(buy_and_cancel, (S.CANCELLED, P.REFUNDED), refund_fees=False),
    "void": Scenario(cancel_before_capture, (S.CANCELLED, P.VOIDED)),
    "fees of what was not captured": Scenario(
        cancel_before_capture, (S.CANCELLED, P.REFUNDED), refund_fees=False
    ),
    "lost answer": Scenario(lose_the_answer, (S.FAILED, P.VOIDED)),
    "lost decline": Scenario(lose_the_answer, (S.FAILED, P.FAILED), "tok_chargeDeclined"),
    "challenge met": Scenario(meet_the_challenge, CONFIRMED, CHALLENGED),
    "challenge failed": Scenario(fail_the_challenge, (S.FAILED, P.FAILED), CHALLENGED),
    "challenge let pass": Scenario(let_the_challenge_pass, (S.FAILED, P.VOIDED), CHALLENGED),
    "challenge given up": Scenario(give_up_the_challenge, (S.CANCELLED, P.VOIDED), CHALLENGED),
}


async def live(stage: PaymentStage, death: Death, scenario: Scenario, hold: ReservationRecord) -> None:
    """The life of a process that plays the scenario, and may die."""
    with death.process():
        async with stage.running(mortal_desk(stage, death)) as desk:
            await scenario.play(stage, desk, hold)


async def live_on(stage: PaymentStage, death: Death) -> None:
    """The life of a process that only resumes, until all is at rest, and may die."""
    with death.process():
        async with stage.running(mortal_desk(stage, death)):
            await stage.until(stage.clock.now_ms() - OPENS_MS + HOLD_MS + 60_000)


async def steps_of(path: Path, scenario: Scenario) -> list[str]:
    async with payments(path, refund_fees=scenario.refund_fees) as stage:
        death = Death()
        await live(stage, death, scenario, await stage.hold("Floor/A/1", token=scenario.token))
        assert stage.states() == scenario.ends
        await stage.audit()
        return death.steps


def folder(path: Path, *names: object) -> Path:
    inner = path.joinpath("-".join(str(name) for name in names))
    inner.mkdir()
    return inner


@pytest.mark.parametrize("downtime_ms", [0, HOLD_MS, DAY_MS])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_dying_at_each_step(
    autojump_clock: MockClock, tmp_path: Path, name: str, downtime_ms: int
) -> None:
    scenario = SCENARIOS[name]
    steps = await steps_of(folder(tmp_path, "whole"), scenario)
    assert len(steps) >= 3
    for at in range(1, len(steps) + 1):
        async with payments(folder(tmp_path, at), refund_fees=scenario.refund_fees) as stage:
            death = Death(at)
            hold = await stage.hold("Floor/A/1", token=scenario.token)
            await live(stage, death, scenario, hold)
            assert death.has_come
            assert death.steps == steps[:at], "dying changes nothing of what came before"
            await stage.audit(at_rest=False)
            await trio.sleep(downtime_ms / 1000)
            # What the buyer or a faulty gateway was about to do is of the life before.
            stage.gateway.calls.clear()
            await live_on(stage, Death())
            await stage.audit()


async def test_dying_twice(autojump_clock: MockClock, tmp_path: Path) -> None:
    for name in ("refund", "lost answer"):
        scenario = SCENARIOS[name]
        steps = await steps_of(folder(tmp_path, name), scenario)
        for first in range(1, len(steps) + 1):
            for second in range(1, len(steps) - first + 3):
                async with payments(folder(tmp_path, name, first, second)) as stage:
                    hold = await stage.hold("Floor/A/1", token=scenario.token)
                    await live(stage, Death(first), scenario, hold)
                    await live_on(stage, Death(second))
                    await stage.audit(at_rest=False)
                    await live_on(stage, Death())
                    await stage.audit()


@pytest.mark.parametrize("name", ["sale", "decline", "challenge met"])
async def test_the_request_that_is_repeated_after_the_crash_gets_the_answer_that_was_settled(
    autojump_clock: MockClock, tmp_path: Path, name: str
) -> None:
    scenario = SCENARIOS[name]
    steps = await steps_of(folder(tmp_path, "whole"), scenario)
    for at in range(1, len(steps) + 1):
        async with payments(folder(tmp_path, at)) as stage:
            hold = await stage.hold("Floor/A/1", token=scenario.token)
            await live(stage, Death(at), scenario, hold)
            settled = stage.kept(reply_of())
            pause = stage.gateway.pause("authorise") if settled is None else None
            async with stage.running() as desk:
                if pause is not None:
                    # The order is resumed at once, long before it falls due; meanwhile its request is still running.
                    await pause.reached.wait()
                    attempt = stage.place(desk, hold, order=2, reply=reply_of())
                    await refused(ErrorCode.IDEMPOTENCY_KEY_IN_USE, attempt)
                    pause.resume.set()
                    await trio.testing.wait_all_tasks_blocked()
                kept = stage.kept(reply_of())
                assert kept is not None
                assert settled in {None, kept}
                again = await stage.place(desk, hold, order=2, reply=reply_of())
                assert again.is_repeated
                assert (again.status, again.body) == (kept.status, kept.body)
                assert again.status == (402 if name == "decline" else 201)
                assert stage.find_order(2) is None


async def test_an_order_nobody_heard_of_is_resumed_at_the_start_not_when_it_falls_due(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage:
        hold = await stage.hold("Floor/A/1")
        await live(stage, Death(1), SCENARIOS["sale"], hold)
        assert stage.states() == (OrderState.INTENT, PaymentState.STARTED)
        due_at_ms = stage.order().due_at_ms
        assert due_at_ms is not None
        assert due_at_ms > stage.clock.now_ms()
        async with stage.running():
            await trio.testing.wait_all_tasks_blocked()
            assert stage.states() == CONFIRMED
        await stage.audit()


async def test_what_was_put_off_stays_put_off_over_a_restart(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage:
        async with stage.running() as desk:
            stage.gateway.fail("capture", times=4)
            await stage.place(desk, await stage.hold("Floor/A/1"))
            await stage.until(15_000)
            assert stage.order().tries == 3
        due_at_ms = stage.order().due_at_ms
        assert due_at_ms is not None
        async with stage.running():
            await stage.until(due_at_ms - OPENS_MS - 1)
            assert len(stage.gateway.keys_of("capture")) == 3
            await stage.until(due_at_ms - OPENS_MS)
            assert len(stage.gateway.keys_of("capture")) == 4
