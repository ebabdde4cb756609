"""The ledger held against the gateway: what agrees, and each difference planted on one of the two sides."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
import trio.testing
from msgspec.structs import replace
from trio.testing import MockClock

from storage.schema.ids import OrderId
from storage.schema.layout import MOVEMENTS, ORDERS
from storage.schema.movements import MovementKind
from tests.domain.inventory_stage import EVENT_ID, order_id
from tests.domain.refusals import refused
from tests.ports.charges import charge_of, list_all
from tests.tasks.payment_stage import PaymentStage, payments
from ticketd.errors import ErrorCode
from ticketd.ports.payments import Authorised
from ticketd.tasks.reconciling import UNDER_WAY_MS, DifferenceKind, Reconciler, Verdict

D = DifferenceKind


async def sell(stage: PaymentStage, *, cancel: bool = False) -> str:
    """Sells a seat and sees its money through; the payment."""
    hold = await stage.hold("Floor/A/1")
    async with stage.running() as desk:
        await stage.place(desk, hold)
        await trio.testing.wait_all_tasks_blocked()
        if cancel:
            await stage.cancel()
            await trio.testing.wait_all_tasks_blocked()
    ref = stage.order().payment_ref
    assert ref is not None
    return ref


async def compare_all(stage: PaymentStage) -> list[DifferenceKind]:
    """What both ways of comparing find; that of the order first, which must find the same if it finds the payment."""
    reconciler = Reconciler(stage.engine, stage.sandbox.fetch, stage.sandbox.disputes_of)
    listed = await list_all(stage.sandbox, since_ms=0)
    seen = [
        await reconciler.compare_seen(payment, reconciler.find_event(payment.order_id)) for payment in listed
    ]
    if stage.find_order() is not None and stage.order().payment_ref in {p.payment_ref for p in listed}:
        (of_order,) = [
            v for p, v in zip(listed, seen, strict=True) if p.payment_ref == stage.order().payment_ref
        ]
        assert await reconciler.compare_order(EVENT_ID, order_id(1)) == of_order
    return [difference.kind for verdict in seen for difference in verdict.differences]


@pytest.mark.parametrize("cancel", [False, True])
async def test_what_agrees(autojump_clock: MockClock, tmp_path: Path, cancel: bool) -> None:
    async with payments(tmp_path) as stage:
        await sell(stage, cancel=cancel)
        assert await compare_all(stage) == []


async def test_a_refund_by_hand(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage:
        ref = await sell(stage)
        await stage.sandbox.refund(ref, 1, "by hand")
        assert await compare_all(stage) == [D.REFUNDS_DIFFER]


async def test_a_payment_for_an_order_that_is_not_there(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage:
        await sell(stage)
        stray = charge_of(stage.order().method_ref, order_id=OrderId(UUID(int=0xBAD)))
        made = await stage.sandbox.authorise(stray, "stray")
        assert isinstance(made, Authorised)
        assert await compare_all(stage) == [D.UNKNOWN_HERE]
        await stage.sandbox.void(made.payment_ref, "void")
        assert await compare_all(stage) == []


async def test_a_second_payment_of_an_order(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage:
        await sell(stage)
        twin = charge_of(stage.order().method_ref, order_id=order_id(1))
        await stage.sandbox.authorise(twin, "twin")
        assert await compare_all(stage) == [D.UNKNOWN_HERE]


async def test_a_payment_that_the_gateway_does_not_know(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage:
        await sell(stage)
        lost = replace(stage.order(), payment_ref="pi_lost")
        await stage.decide(1, lambda tx: ORDERS.put(tx, lost, stage.partition, lost.order_id))
        reconciler = Reconciler(stage.engine, stage.sandbox.fetch, stage.sandbox.disputes_of)
        (found,) = (await reconciler.compare_order(EVENT_ID, order_id(1))).differences
        assert (found.kind, found.payment_ref) == (D.UNKNOWN_AT_GATEWAY, "pi_lost")


async def test_another_amount(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage:
        await sell(stage)
        (_, taken) = stage.read(lambda reader: [m for _, m in MOVEMENTS.scan(reader, stage.partition)])
        less = replace(taken, amount_minor=taken.amount_minor - 1)
        await stage.decide(1, lambda tx: MOVEMENTS.put(tx, less, stage.partition, less.order_id, less.number))
        assert await compare_all(stage) == [D.AMOUNT_DIFFERS]


@pytest.mark.parametrize("kind", [MovementKind.VOIDED, MovementKind.AUTHORISED])
async def test_another_state(autojump_clock: MockClock, tmp_path: Path, kind: MovementKind) -> None:
    """Taken at the gateway, and here freed, or only set aside."""
    async with payments(tmp_path) as stage:
        await sell(stage)
        (_, taken) = stage.read(lambda reader: [m for _, m in MOVEMENTS.scan(reader, stage.partition)])
        other = replace(taken, kind=kind)
        await stage.decide(1, lambda tx: MOVEMENTS.put(tx, other, stage.partition, other.order_id, 2))
        assert await compare_all(stage) == [D.STATE_DIFFERS]


@pytest.mark.parametrize(
    ("late_ms", "found"),
    [(-1, []), (0, []), (1, [D.STATE_DIFFERS])],
    ids=["below", "at", "above"],
)
async def test_an_order_under_way_may_differ_for_a_while(
    autojump_clock: MockClock, tmp_path: Path, late_ms: int, found: list[DifferenceKind]
) -> None:
    async with payments(tmp_path) as stage:
        hold = await stage.hold("Floor/A/1")
        stage.gateway.fail("capture", times=100)
        async with stage.running() as desk:
            await stage.place(desk, hold)
            await trio.testing.wait_all_tasks_blocked()
        ref, changed_at_ms = stage.order().payment_ref, stage.order().trail[-1].at_ms
        assert ref is not None
        await stage.sandbox.capture(ref, stage.order().total_minor, "by hand")
        reconciler = Reconciler(stage.engine, stage.sandbox.fetch, stage.sandbox.disputes_of)
        await stage.clock.wait_until_ms(changed_at_ms + UNDER_WAY_MS + late_ms)
        verdict = await reconciler.compare_order(EVENT_ID, order_id(1))
        assert [difference.kind for difference in verdict.differences] == found
        assert verdict.under_way == (not found)


async def test_an_order_that_moves_while_it_is_looked_at(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage:
        ref = await sell(stage)
        (payment,) = await list_all(stage.sandbox, since_ms=0)
        looks = 0

        async def fetch(payment_ref: str) -> None:
            nonlocal looks
            looks += 1
            moved = replace(stage.order(), tries=looks)
            await stage.decide(1, lambda tx: ORDERS.put(tx, moved, stage.partition, moved.order_id))

        stale = replace(payment, captured_minor=0)
        verdict = await Reconciler(stage.engine, fetch, stage.sandbox.disputes_of).compare_seen(
            stale, EVENT_ID
        )
        assert (verdict, looks, payment.payment_ref) == (Verdict(under_way=True), 3, ref)
        # One that stands still is compared with what the gateway says now, not with what it said before.
        assert (
            await Reconciler(stage.engine, stage.sandbox.fetch, stage.sandbox.disputes_of).compare_seen(
                stale, EVENT_ID
            )
            == Verdict()
        )


async def test_orders_without_money_agree(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage:
        hold = await stage.hold("Floor/A/1", token="tok_chargeDeclined")
        async with stage.running() as desk:
            await refused(ErrorCode.PAYMENT_DECLINED, stage.place(desk, hold))
        assert await compare_all(stage) == []
