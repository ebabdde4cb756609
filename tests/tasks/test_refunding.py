"""Refunds of tickets as the payments task makes them: once, one after the other, resumed wherever it died."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import trio
import trio.testing
from trio.testing import MockClock

from storage.schema.ids import RefundId
from storage.schema.layout import REFUNDS
from storage.schema.refunds import RefundRecord
from storage.schema.states import OrderState, PaymentState, RefundState
from tests.domain.inventory_stage import EVENT_ID, OPENS_MS, order_id
from tests.tasks.payment_stage import Death, PaymentStage, mortal_desk, payments
from ticketd.domain.refunds import AskRefund, ask_refund
from ticketd.tasks.payments import PaymentDesk

NAMES = ("Floor/A/1", "Floor/A/2", "Floor/A/3")
ONE = 62_000


async def sell(stage: PaymentStage, desk: PaymentDesk) -> None:
    await stage.place(desk, await stage.hold(*NAMES))
    await trio.testing.wait_all_tasks_blocked()
    assert stage.states() == (OrderState.CONFIRMED, PaymentState.CAPTURED)


async def ask(stage: PaymentStage, number: int, *indices: int) -> RefundRecord:
    tickets = stage.order().ticket_ids
    command = AskRefund(
        event_id=EVENT_ID,
        order_id=order_id(1),
        refund_id=RefundId(UUID(int=number)),
        ticket_ids=tuple(tickets[index] for index in indices) or None,
    )
    return await stage.decide(1, lambda tx: ask_refund(tx, command))


def refunds(stage: PaymentStage) -> list[tuple[int, RefundState]]:
    found = stage.read(lambda reader: [refund for _, refund in REFUNDS.scan(reader, stage.partition)])
    return [(refund.amount_minor, refund.state) for refund in found]


async def given_back(stage: PaymentStage) -> int:
    payment = await stage.payment()
    assert payment is not None
    return payment.refunded_minor


async def test_parts_and_then_the_rest(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await sell(stage, desk)
        await ask(stage, 1, 0)
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == (OrderState.CONFIRMED, PaymentState.CAPTURED)
        assert await given_back(stage) == ONE
        await stage.audit()
        await ask(stage, 2, 1)
        await ask(stage, 3)
        await trio.testing.wait_all_tasks_blocked()
        assert stage.states() == (OrderState.CANCELLED, PaymentState.REFUNDED)
        assert refunds(stage) == [(ONE, RefundState.DONE)] * 3
        assert len(set(stage.gateway.keys_of("refund"))) == 3, "each under a key of its own"
        await stage.audit()


async def test_a_gateway_that_is_away_is_asked_again(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await sell(stage, desk)
        stage.gateway.fail("refund", times=2)
        await ask(stage, 1, 0)
        await stage.until(4_000)
        assert refunds(stage) == [(ONE, RefundState.ASKED)]
        await stage.until(16_000)
        assert refunds(stage) == [(ONE, RefundState.DONE)]
        assert len(set(stage.gateway.keys_of("refund"))) == 1
        await stage.audit()


async def test_what_the_gateway_refuses_is_told_and_not_asked_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, stage.running() as desk:
        await sell(stage, desk)
        ref = stage.order().payment_ref
        assert ref is not None
        # Somebody gives nearly all of it back by hand.
        await stage.sandbox.refund(ref, 3 * ONE - 1, "by hand")
        await ask(stage, 1, 0)
        await trio.testing.wait_all_tasks_blocked()
        assert refunds(stage) == [(ONE, RefundState.REFUSED)]
        assert desk.refunds_refused == 1
        assert stage.order().due_at_ms is None
        assert await given_back(stage) == 3 * ONE - 1


async def test_dying_at_each_step(autojump_clock: MockClock, tmp_path: Path) -> None:
    for at in (1, 2, 3, 4, 5, 6, 7):
        path = tmp_path / str(at)
        path.mkdir()
        async with payments(path) as stage:
            async with stage.running() as desk:
                await sell(stage, desk)
            death = Death(at)
            with death.process():
                async with stage.running(mortal_desk(stage, death)):
                    await ask(stage, 1, 0)
                    await ask(stage, 2, 2)
                    await ask(stage, 3)
                    await trio.testing.wait_all_tasks_blocked()
            await stage.audit(at_rest=False)
            if at <= 6:
                assert death.has_come, at
            async with stage.running():
                await stage.until(stage.clock.now_ms() - OPENS_MS + 60_000)
            assert stage.states() == (OrderState.CANCELLED, PaymentState.REFUNDED)
            assert refunds(stage) == [(ONE, RefundState.DONE)] * 3
            assert await given_back(stage) == 3 * ONE
            await stage.audit()
