"""Requests to place an order that come again under the same Idempotency-Key."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from storage.schema.states import OrderState, PaymentState
from tests.domain.inventory_stage import HOLD_MS, order_id
from tests.domain.refusals import refused
from tests.ports.faulty_gateway import When
from tests.tasks.payment_stage import payments, reply_of
from ticketd.errors import ErrorCode
from ticketd.ports.sandbox_payments import ActionOutcome
from ticketd.tasks.placing import PlacedAnswer

DECLINED = "tok_chargeDeclinedInsufficientFunds"
CHALLENGED = "tok_threeDSecure2Required"
SOLD = (OrderState.PENDING, PaymentState.AUTHORIZED)
CONFIRMED = (OrderState.CONFIRMED, PaymentState.CAPTURED)
WAITING = (OrderState.PENDING, PaymentState.REQUIRES_ACTION)
FAILED = (OrderState.FAILED, PaymentState.FAILED)


def body_of(states: tuple[OrderState, PaymentState], order: int = 1) -> bytes:
    return f"{order_id(order)} {states[0]}/{states[1]}".encode()


async def test_the_answer_is_kept_with_what_it_tells_and_given_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1")
        pause = stage.gateway.pause("authorise")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: stage.place(desk, hold, reply=reply_of()))
            await pause.reached.wait()
            assert stage.kept(reply_of()) is None
            pause.resume.set()
        kept = stage.kept(reply_of())
        assert kept is not None
        assert (kept.status, kept.body, kept.fingerprint) == (201, body_of(SOLD), b"f" * 32)
        assert kept.forget_at_ms == stage.clock.now_ms() + 86_400_000
        await trio.testing.wait_all_tasks_blocked()
        assert await stage.place(desk, hold, order=2, reply=reply_of()) == PlacedAnswer(
            status=201, body=body_of(SOLD), is_repeated=True
        )
        assert stage.find_order(2) is None
        other = reply_of(fingerprint=b"g")
        await refused(ErrorCode.IDEMPOTENCY_KEY_REUSED, stage.place(desk, hold, order=2, reply=other))


async def test_a_decline_is_such_an_answer_too(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1", token=DECLINED)
        first = await stage.place(desk, hold, reply=reply_of())
        assert (first.status, first.body.split()[:2]) == (402, [b"PAYMENT_DECLINED", b"request-1"])
        await stage.add_card(1)
        await stage.until(1_000)
        again = await stage.place(desk, hold, order=2, reply=reply_of())
        assert again == replace_repeated(first)
        assert len(stage.gateway.keys_of("authorise")) == 1
        # A new attempt has a new key, and goes through.
        assert (await stage.place(desk, hold, order=2, reply=reply_of(2))).status == 201


async def test_the_end_of_the_hold_is_such_an_answer_too(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1", token=CHALLENGED)
        await stage.until(HOLD_MS - 1)
        pause = stage.gateway.pause("authorise", When.AFTER_EFFECT)
        answers: list[PlacedAnswer] = []

        async def place() -> None:
            answers.append(await stage.place(desk, hold, reply=reply_of()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(place)
            await pause.reached.wait()
            await stage.until(HOLD_MS)
            pause.resume.set()
        assert (answers[0].status, answers[0].body[:19]) == (410, b"RESERVATION_EXPIRED")
        kept = stage.kept(reply_of())
        assert kept is not None
        assert (kept.status, kept.body) == (410, answers[0].body)


async def test_no_answer_of_the_gateway_is_none_and_the_key_may_be_used_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1")
        stage.gateway.fail("authorise", When.AFTER_EFFECT)
        await refused(ErrorCode.PAYMENT_UNAVAILABLE, stage.place(desk, hold, reply=reply_of()))
        assert stage.kept(reply_of()) is None
        await stage.place(desk, hold, order=2, reply=reply_of())
        await stage.until(10_000)
        kept = stage.kept(reply_of())
        assert kept is not None
        assert kept.body == body_of(SOLD, order=2), "what became of the first try does not replace it"
        assert stage.states() == (OrderState.FAILED, PaymentState.VOIDED)
        await stage.audit()


@pytest.mark.parametrize("outcome", ActionOutcome)
async def test_what_becomes_of_a_challenge_does_not_change_the_answer(
    autojump_clock: MockClock, tmp_path: Path, outcome: ActionOutcome
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1", token=CHALLENGED)
        first = await stage.place(desk, hold, reply=reply_of())
        assert first == PlacedAnswer(status=201, body=body_of(WAITING))
        await stage.act(outcome)
        await desk.wake(order_id(1))
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == (CONFIRMED if outcome is ActionOutcome.COMPLETE else FAILED)
        again = await stage.place(desk, hold, order=2, reply=reply_of())
        assert again == replace_repeated(first)
        await stage.audit()


async def test_the_same_request_is_not_begun_again_while_it_runs(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1")
        other = await stage.reserve(1, stage.seat("Floor/B/1"))
        pause = stage.gateway.pause("authorise")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: stage.place(desk, hold, reply=reply_of()))
            await pause.reached.wait()
            # The one who asked is gone; the work goes on.
            nursery.cancel_scope.cancel()
        for again in (hold, other):
            attempt = stage.place(desk, again, order=2, reply=reply_of())
            await refused(ErrorCode.IDEMPOTENCY_KEY_IN_USE, attempt)
        await refused(ErrorCode.ORDER_EXISTS, stage.place(desk, hold, order=2, reply=reply_of(2)))
        assert stage.find_order(2) is None
        pause.resume.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (await stage.place(desk, hold, order=2, reply=reply_of())).is_repeated


async def test_the_kept_answer_is_forgotten_in_time(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        hold = await stage.hold("Floor/A/1")
        await stage.place(desk, hold, reply=reply_of())
        await stage.until(86_400_000)
        await refused(ErrorCode.ORDER_EXISTS, stage.place(desk, hold, order=2, reply=reply_of()))


def replace_repeated(answer: PlacedAnswer) -> PlacedAnswer:
    return PlacedAnswer(status=answer.status, body=answer.body, is_repeated=True)
