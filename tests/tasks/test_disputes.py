"""The watch for disputes: when the gateway is asked, what is recorded of its answers, and what a refund waits for."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from msgspec.structs import replace
from trio.testing import MockClock

from config.settings import PaymentSettings, Settings
from storage.schema.ids import OrderId
from storage.schema.states import DisputeState, OrderState, PaymentState, TicketState
from tests.domain.inventory_stage import EVENT_ID, OPENS_MS
from tests.ports.faulty_gateway import FaultyGateway
from tests.tasks.payment_stage import PaymentStage, payments
from ticketd.domain.ledger import Balance, read_balance
from ticketd.ports.payments import (
    DisputePage,
    DisputeSnapshot,
    OperationRefusal,
    PaymentSnapshot,
    RefundOutcome,
    RefundRefused,
)
from ticketd.tasks.disputes import LOOK_BACK_MS, LOOK_MS, RETRY_MS
from ticketd.tasks.payments import PaymentDesk
from ticketd.tasks.reconciling import DifferenceKind, Reconciler

D = DisputeState
WITH_BANK = {D.OPEN, D.LOST}


class DisputingGateway(FaultyGateway):
    """The sandbox with a bank behind it that disputes on order, page by page of one, and then lets nothing go back."""

    def __init__(self, inner: FaultyGateway) -> None:
        super().__init__(inner)
        self.disputes: dict[str, DisputeSnapshot] = {}
        self.since_ms: list[int] = []

    async def disputes_of(self, payment_ref: str) -> tuple[DisputeSnapshot, ...]:
        await super().disputes_of(payment_ref)
        return tuple(one for one in self.disputes.values() if one.payment_ref == payment_ref)

    async def list_disputes(self, since_ms: int, cursor: str | None = None) -> DisputePage:
        await super().list_disputes(since_ms)
        self.since_ms.append(since_ms)
        place = int(cursor or 0)
        following = str(place + 1) if place + 1 < len(self.disputes) else None
        found = tuple(self.disputes.values())[place : place + 1]
        return DisputePage(disputes=found, next_cursor=following)

    async def refund(self, payment_ref: str, amount_minor: int, idempotency_key: str) -> RefundOutcome:
        if {one.state for one in await self.disputes_of(payment_ref)} & WITH_BANK:
            return RefundRefused(OperationRefusal.DISPUTED)
        return await super().refund(payment_ref, amount_minor, idempotency_key)

    async def fetch(self, payment_ref: str) -> PaymentSnapshot | None:
        found = await super().fetch(payment_ref)
        disputed = any(one.payment_ref == payment_ref for one in self.disputes.values())
        return None if found is None else replace(found, is_disputed=disputed)


class Bank:
    """A stage whose order was sold, its gateway, and its desk with the watch at work."""

    def __init__(self, stage: PaymentStage, *, voids: bool = False) -> None:
        self.stage = stage
        self.gateway = DisputingGateway(stage.gateway)
        settings = Settings(payments=PaymentSettings(void_on_dispute=voids))
        self.desk: PaymentDesk = stage.desk(gateway=self.gateway, settings=settings)

    def dispute(self, state: DisputeState, ref: str = "dp_1", **changes: object) -> None:
        order = self.stage.order()
        told = DisputeSnapshot(
            dispute_ref=ref,
            payment_ref=order.payment_ref or "",
            order_id=order.order_id,
            state=state,
            amount_minor=order.total_minor,
            currency=order.currency,
            reason="fraudulent",
        )
        self.gateway.disputes[ref] = replace(told, **changes)

    @property
    def looks(self) -> int:
        return len(self.gateway.keys_of("list_disputes"))

    def balance(self) -> Balance:
        order_id = self.stage.order().order_id
        return self.stage.read(lambda reader: read_balance(reader, EVENT_ID, order_id))


async def sell(bank: Bank) -> None:
    hold = await bank.stage.hold("Floor/A/1")
    await bank.stage.place(bank.desk, hold)
    await trio.testing.wait_all_tasks_blocked()
    assert bank.stage.states() == (OrderState.CONFIRMED, PaymentState.CAPTURED)


async def test_it_looks_at_the_start_by_period_and_when_it_is_told(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, trio.open_nursery() as nursery:
        bank = Bank(stage)
        async with stage.running(bank.desk):
            await sell(bank)
            assert bank.looks == 0, "it is a task of its own"
            bank.dispute(D.INQUIRY)
            await nursery.start(bank.desk.disputes.run)
            await trio.testing.wait_all_tasks_blocked()
            assert (bank.looks, stage.order().dispute) == (1, D.INQUIRY)
            assert bank.gateway.since_ms == [OPENS_MS - LOOK_BACK_MS]
            bank.dispute(D.OPEN)
            await stage.until(LOOK_MS - 1)
            assert (bank.looks, stage.order().dispute) == (1, D.INQUIRY)
            await stage.until(LOOK_MS + 1)
            assert (bank.looks, stage.order().dispute) == (2, D.OPEN)
            bank.dispute(D.WON)
            bank.desk.disputes.look_soon()
            await trio.testing.wait_all_tasks_blocked()
            assert (bank.looks, stage.order().dispute) == (3, D.WON)
        nursery.cancel_scope.cancel()


async def test_a_look_that_fails_is_made_again_soon(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage, trio.open_nursery() as nursery:
        bank = Bank(stage)
        async with stage.running(bank.desk):
            await sell(bank)
            bank.dispute(D.OPEN)
            bank.gateway.fail("list_disputes")
            await nursery.start(bank.desk.disputes.run)
            await trio.testing.wait_all_tasks_blocked()
            assert stage.order().dispute is None
            await stage.until(RETRY_MS + 1)
            assert stage.order().dispute is D.OPEN
        nursery.cancel_scope.cancel()


async def test_a_dispute_whose_capture_never_comes_is_looked_for_less_and_less_often(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = {"dp_1"}

    async def note(dispute: DisputeSnapshot) -> bool:
        return dispute.dispute_ref not in early

    async with payments(tmp_path) as stage, trio.open_nursery() as nursery:
        bank = Bank(stage)
        async with stage.running(bank.desk):
            await sell(bank)
            bank.dispute(D.OPEN)
            monkeypatch.setattr(bank.desk.disputes, "note", note)
            await nursery.start(bank.desk.disputes.run)
            await trio.testing.wait_all_tasks_blocked()
            at_ms = 0
            for number in range(8):
                assert bank.looks == number + 1
                at_ms += min(RETRY_MS * 2**number, LOOK_MS)
                await stage.until(at_ms - 1)
                assert bank.looks == number + 1
                await stage.until(at_ms + 1)
            # Another one does not wait for the first.
            bank.dispute(D.OPEN, ref="dp_2")
            early.add("dp_2")
            bank.desk.disputes.look_soon()
            await trio.testing.wait_all_tasks_blocked()
            looks = bank.looks
            await stage.until(at_ms + RETRY_MS + 2)
            assert bank.looks > looks
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "changes",
    [
        {"order_id": OrderId(EVENT_ID)},
        {"payment_ref": "pi_other"},
        {"currency": "EUR"},
        {"dispute_ref": "dp_" * 200},
        {"amount_minor": 0},
    ],
    ids=["an unknown order", "another payment", "another currency", "a name too long", "no amount"],
)
async def test_what_is_not_of_an_order_here_is_left_out_and_the_rest_is_not(
    autojump_clock: MockClock, tmp_path: Path, changes: dict[str, object]
) -> None:
    async with payments(tmp_path) as stage, trio.open_nursery() as nursery:
        bank = Bank(stage)
        async with stage.running(bank.desk):
            await sell(bank)
            bank.dispute(D.OPEN, "dp_other", **changes)
            bank.dispute(D.INQUIRY)
            await nursery.start(bank.desk.disputes.run)
            await trio.testing.wait_all_tasks_blocked()
            assert (stage.order().dispute, bank.balance().disputed_minor) == (D.INQUIRY, 0)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("voids", [True, False])
async def test_tickets_end_by_it_only_where_the_operator_has_set_so(
    autojump_clock: MockClock, tmp_path: Path, *, voids: bool
) -> None:
    async with payments(tmp_path) as stage, trio.open_nursery() as nursery:
        bank = Bank(stage, voids=voids)
        async with stage.running(bank.desk):
            await sell(bank)
            bank.dispute(D.OPEN)
            await nursery.start(bank.desk.disputes.run)
            await trio.testing.wait_all_tasks_blocked()
            wanted = TicketState.VOID if voids else TicketState.ACTIVE
            assert [ticket.state for ticket in stage.tickets()] == [wanted]
            bank.dispute(D.LOST)
            bank.desk.disputes.look_soon()
            await trio.testing.wait_all_tasks_blocked()
            ended = (OrderState.CANCELLED, PaymentState.REFUNDED)
            assert stage.states() == (ended if voids else (OrderState.CONFIRMED, PaymentState.CAPTURED))
            assert bank.gateway.keys_of("refund") == []
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("verdict", [D.WON, D.LOST])
async def test_a_refund_that_the_gateway_refuses_for_a_dispute_waits_for_its_verdict(
    autojump_clock: MockClock, tmp_path: Path, verdict: DisputeState
) -> None:
    async with payments(tmp_path) as stage, trio.open_nursery() as nursery:
        bank = Bank(stage)
        async with stage.running(bank.desk):
            await sell(bank)
            # Nobody told of the dispute yet: that the refund is refused tells it.
            bank.dispute(D.OPEN)
            await stage.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert stage.order().dispute is D.OPEN
            assert stage.states() == (OrderState.CANCELLED, PaymentState.REFUND_PENDING)
            await stage.until(7_200_000)
            assert stage.states() == (OrderState.CANCELLED, PaymentState.REFUND_PENDING)
            bank.dispute(verdict)
            await nursery.start(bank.desk.disputes.run)
            await trio.testing.wait_all_tasks_blocked()
            assert stage.states() == (OrderState.CANCELLED, PaymentState.REFUNDED)
            total = stage.order().total_minor
            won = verdict is D.WON
            assert (bank.balance().refunded_minor, bank.balance().disputed_minor) == (
                (total, 0) if won else (0, total)
            )
            assert bank.balance().kept_minor == 0
        nursery.cancel_scope.cancel()


async def test_reconciling_names_a_dispute_that_only_one_side_knows(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage:
        bank = Bank(stage)
        async with stage.running(bank.desk):
            await sell(bank)
        reconciler = Reconciler(stage.engine, bank.gateway.fetch, bank.gateway.disputes_of)

        async def compare() -> list[DifferenceKind]:
            payment = await bank.gateway.fetch(stage.order().payment_ref or "")
            assert payment is not None
            verdict = await reconciler.compare_seen(payment, EVENT_ID)
            assert verdict == await reconciler.compare_order(EVENT_ID, stage.order().order_id)
            return [difference.kind for difference in verdict.differences]

        assert await compare() == []
        bank.dispute(D.INQUIRY)
        assert await compare() == [], "an inquiry moves no money"
        for state in (D.OPEN, D.LOST, D.WON):
            bank.dispute(state)
            assert await compare() == [DifferenceKind.DISPUTES_DIFFER]
            assert await bank.desk.disputes.note(bank.gateway.disputes["dp_1"])
            assert await compare() == []
        del bank.gateway.disputes["dp_1"]
        assert await compare() == [DifferenceKind.DISPUTES_DIFFER]
