"""Refunds that the operator asks for, as transitions: what ends, what is due back, and what is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from itertools import permutations
from pathlib import Path
from uuid import UUID

import pytest
from msgspec.structs import replace

from storage.schema.ids import RefundId, TicketId
from storage.schema.layout import ASKED_REFUNDS, REFUNDS, TICKETS
from storage.schema.records import PurchaseRecord, TicketRecord
from storage.schema.refunds import RefundRecord
from storage.schema.states import OrderState, PaymentState, RefundState, SeatState, TicketState
from tests.domain import refusals
from tests.domain.inventory_stage import DATE_MS, EVENT_ID, order_id
from tests.domain.order_stage import OrderStage, orders
from ticketd.domain.ledger import read_balance
from ticketd.domain.refunds import (
    AskRefund,
    RefundFailed,
    RefundMade,
    ask_refund,
    record_refund_failed,
    record_refund_made,
)
from ticketd.domain.settlement import Move, next_move
from ticketd.errors import ErrorCode

SEATS = ("Floor/A/1", "Floor/A/2", "Floor/A/3")
ONE = 62_000
"""A seat's 500.00, its fees of 75.00, and 45.00 of taxes."""


async def refused(code: ErrorCode, attempt: Awaitable[object], **details: str) -> None:
    """Fails unless the attempt is refused so, with exactly these details."""
    assert (await refusals.refused(code, attempt)).details == details


async def confirmed(stage: OrderStage, *names: str, order: int = 1, user: int = 1) -> None:
    await stage.intent(*(names or SEATS), order=order, user=user)
    await stage.take("authorised", order, user)
    await stage.take("confirmed", order, user)


async def ask(
    stage: OrderStage,
    tickets: Sequence[TicketId] | None = None,
    number: int = 1,
    *,
    with_fees: bool | None = None,
    even_used: bool = False,
) -> RefundRecord:
    command = AskRefund(
        event_id=EVENT_ID,
        order_id=order_id(1),
        refund_id=RefundId(UUID(int=number)),
        ticket_ids=None if tickets is None else tuple(tickets),
        with_fees=with_fees,
        even_used=even_used,
        reason="rain",
    )
    refund = await stage.decide(1, lambda tx: ask_refund(tx, command))
    stage.check()
    return refund


async def make(stage: OrderStage, refund: RefundRecord) -> None:
    made = RefundMade(
        event_id=EVENT_ID,
        order_id=order_id(1),
        refund_id=refund.refund_id,
        refund_ref=f"re_{refund.refund_id.int}",
        amount_minor=refund.amount_minor,
    )
    await stage.decide(1, lambda tx: record_refund_made(tx, made))
    stage.check()


async def fail(stage: OrderStage, refund: RefundRecord) -> None:
    failed = RefundFailed(
        event_id=EVENT_ID, order_id=order_id(1), refund_id=refund.refund_id, problem="WRONG_STATE"
    )
    await stage.decide(1, lambda tx: record_refund_failed(tx, failed))
    stage.check()


def stored(stage: OrderStage, refund: RefundRecord) -> RefundRecord:
    found = stage.read(lambda reader: REFUNDS.get(reader, stage.partition, refund.order_id, refund.refund_id))
    assert found is not None
    return found


def given_back(stage: OrderStage) -> int:
    return stage.read(lambda reader: read_balance(reader, EVENT_ID, order_id(1))).refunded_minor


def states(stage: OrderStage) -> tuple[OrderState, PaymentState]:
    return stage.order().state, stage.order().payment_state


async def mark(stage: OrderStage, ticket: TicketRecord, **fields: object) -> None:
    """Changes a ticket by hand, as a gate would."""
    changed = replace(ticket, **fields)
    await stage.run(lambda tx: TICKETS.put(tx, changed, stage.partition, ticket.ticket_id))


async def test_one_ticket_dies_and_its_seat_is_on_sale_again(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await confirmed(stage)
        first, second, third = stage.order().ticket_ids
        stage.clock.at_ms += 1000
        refund = await ask(stage, [second])
        assert (refund.amount_minor, refund.state, refund.ticket_ids, refund.closes) == (
            ONE,
            RefundState.ASKED,
            (second,),
            False,
        )
        order = stage.order()
        assert states(stage) == (OrderState.CONFIRMED, PaymentState.CAPTURED)
        assert (order.refund_minor, order.due_at_ms) == (ONE, stage.clock.at_ms)
        assert next_move(order) is Move.REFUND_TICKETS
        assert [stage.state(name) for name in SEATS] == [
            SeatState.SOLD,
            SeatState.AVAILABLE,
            SeatState.SOLD,
        ]
        assert stage.purchases(1) == PurchaseRecord(bought=2)
        dead = {ticket.ticket_id for ticket in stage.tickets() if ticket.state is TicketState.VOID}
        assert dead == {second}
        assert given_back(stage) == 0, "asked is not done"
        await make(stage, refund)
        assert given_back(stage) == ONE
        assert (stage.order().due_at_ms, stage.order().refunds_asked) == (None, 0)
        assert (stored(stage, refund).state, stored(stage, refund).refund_ref) == (RefundState.DONE, "re_1")
        await confirmed(stage, "Floor/A/2", order=2, user=2)
        stage.check()
        assert {first, third} < set(order.ticket_ids)


@pytest.mark.parametrize("sequence", list(permutations(range(3))))
@pytest.mark.parametrize("with_fees", [False, True])
async def test_all_tickets_one_by_one_in_any_order_give_back_the_total(
    tmp_path: Path, sequence: tuple[int, ...], with_fees: bool
) -> None:
    # Taxes of 1,351 over three seats do not come out even.
    async with orders(tmp_path, tax_rate_ppm=9_007) as stage:
        await confirmed(stage)
        tickets = stage.order().ticket_ids
        for number, index in enumerate(sequence[:2], 1):
            await make(stage, await ask(stage, [tickets[index]], number, with_fees=with_fees))
        refund = await ask(stage, [tickets[sequence[2]]], 3, with_fees=with_fees)
        order = stage.order()
        assert states(stage) == (OrderState.CANCELLED, PaymentState.REFUND_PENDING)
        assert order.refund_minor == order.total_minor - (0 if with_fees else order.fees_minor)
        await stage.take("refunded")
        assert states(stage) == (OrderState.CANCELLED, PaymentState.REFUNDED)
        assert stored(stage, refund).state is RefundState.DONE
        assert stage.purchases(1) is None
        stage.check()


@pytest.mark.parametrize(
    ("refund_fees", "with_fees", "amount"),
    [
        (True, None, ONE),
        (False, None, ONE - 7_500),
        (True, False, ONE - 7_500),
        (False, True, ONE),
    ],
)
async def test_fees_go_back_as_the_event_says_unless_the_operator_does(
    tmp_path: Path, refund_fees: bool, with_fees: bool | None, amount: int
) -> None:
    async with orders(tmp_path, refund_fees=refund_fees) as stage:
        await confirmed(stage)
        assert (await ask(stage, stage.order().ticket_ids[:1], with_fees=with_fees)).amount_minor == amount


@pytest.mark.parametrize("past_ms", [-1, 0, 86_400_000])
async def test_a_whole_order_also_after_the_event_began(tmp_path: Path, past_ms: int) -> None:
    async with orders(tmp_path, refundable_until_ms=DATE_MS - 5) as stage:
        await confirmed(stage)
        stage.clock.at_ms = DATE_MS + past_ms
        refund = await ask(stage)
        assert (refund.amount_minor, refund.closes) == (3 * ONE, True)
        assert states(stage) == (OrderState.CANCELLED, PaymentState.REFUND_PENDING)
        assert stage.order().trail[-1].what == "refunded by the operator"
        assert stage.state("Floor/A/1") is SeatState.AVAILABLE
        await refused(ErrorCode.ORDER_ALREADY_CANCELLED, ask(stage, number=2))


async def test_the_rest_of_an_order_after_a_part_that_is_still_to_be_made(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await confirmed(stage)
        part = await ask(stage, stage.order().ticket_ids[:1], with_fees=False)
        rest = await ask(stage, number=2)
        assert (part.amount_minor, rest.amount_minor) == (ONE - 7_500, 2 * ONE)
        assert stage.order().refund_minor == 3 * ONE - 7_500
        assert next_move(stage.order()) is Move.REFUND_TICKETS, "one after the other"
        await make(stage, part)
        assert next_move(stage.order()) is Move.REFUND
        assert stage.order().due_at_ms == stage.clock.at_ms


async def test_the_buyers_cancel_gives_back_the_rest(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await confirmed(stage)
        await make(stage, await ask(stage, stage.order().ticket_ids[:1], with_fees=False))
        order = await stage.cancel()
        assert order.refund_minor == 3 * ONE - 7_500
        assert stage.purchases(1) is None
        stage.check()


async def test_before_the_money_was_captured_only_as_a_whole(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent(*SEATS)
        missing = ask(stage, [TicketId(UUID(int=7))])
        await refused(ErrorCode.ORDER_NOT_CANCELLABLE, missing, reason="NOT_PAID")
        await stage.take("authorised")
        part = ask(stage, [TicketId(UUID(int=7))])
        await refused(ErrorCode.ORDER_NOT_CANCELLABLE, part, reason="NOT_CONFIRMED")
        refund = await ask(stage)
        assert (refund.amount_minor, refund.ticket_ids) == (3 * ONE, ())
        await stage.take("voided")
        assert states(stage) == (OrderState.CANCELLED, PaymentState.VOIDED)
        assert stored(stage, refund).state is RefundState.DONE


async def test_an_order_that_waits_for_its_buyer_is_given_up(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent(*SEATS)
        await stage.take("action")
        refund = await ask(stage)
        assert (refund.amount_minor, refund.state) == (0, RefundState.DONE)
        assert states(stage) == (OrderState.CANCELLED, PaymentState.REQUIRES_ACTION)
        assert stage.state("Floor/A/1") is SeatState.AVAILABLE


async def test_a_ticket_of_no_such_order_and_one_refunded_already(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await confirmed(stage)
        stranger = TicketId(UUID(int=7))
        await refused(ErrorCode.TICKET_NOT_FOUND, ask(stage, [stranger]), ticket_id=str(stranger))
        first = stage.order().ticket_ids[0]
        await ask(stage, [first])
        again = ask(stage, [first], 2)
        await refused(ErrorCode.ORDER_NOT_CANCELLABLE, again, reason="TICKET_VOID", ticket_id=str(first))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("how", ["TICKET_USED", "TICKET_TRANSFERRED"])
async def test_a_used_or_transferred_ticket_only_if_that_is_meant(
    tmp_path: Path, how: str, whole: bool
) -> None:
    async with orders(tmp_path) as stage:
        await confirmed(stage)
        ticket = next(each for each in stage.tickets() if each.ticket_id == stage.order().ticket_ids[0])
        await mark(stage, ticket, **({"state": TicketState.USED} if how == "TICKET_USED" else {"issue": 2}))
        named = None if whole else [ticket.ticket_id]
        attempt = ask(stage, named)
        await refused(ErrorCode.ORDER_NOT_CANCELLABLE, attempt, reason=how, ticket_id=str(ticket.ticket_id))
        await ask(stage, named, even_used=True)
        assert {each.state for each in stage.tickets() if whole or each.ticket_id == ticket.ticket_id} == {
            TicketState.VOID
        }


async def test_what_the_gateway_refuses_may_be_asked_anew(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await confirmed(stage)
        first = stage.order().ticket_ids[0]
        refund = await ask(stage, [first])
        await fail(stage, refund)
        assert (stored(stage, refund).state, stored(stage, refund).problem) == (
            RefundState.REFUSED,
            "WRONG_STATE",
        )
        assert (stage.order().refund_minor, stage.order().due_at_ms) == (0, None)
        again = await ask(stage, [first], 2)
        assert (again.amount_minor, again.ticket_ids) == (ONE, ())
        await make(stage, again)
        assert given_back(stage) == ONE


async def test_what_was_refused_goes_back_with_the_rest(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await confirmed(stage)
        tickets = stage.order().ticket_ids
        await fail(stage, await ask(stage, tickets[:1]))
        rest = await ask(stage, tickets[1:], 2)
        assert (rest.closes, rest.amount_minor, stage.order().refund_minor) == (True, 3 * ONE, 3 * ONE)


async def test_a_part_that_is_refused_after_the_order_ended_is_due_all_the_same(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await confirmed(stage)
        part = await ask(stage, stage.order().ticket_ids[:1])
        rest = await ask(stage, number=2)
        await fail(stage, part)
        assert stage.order().refund_minor == 3 * ONE
        await stage.take("refunded")
        assert stored(stage, rest).amount_minor == 3 * ONE


async def test_recorded_again_it_changes_nothing(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await confirmed(stage)
        refund = await ask(stage, stage.order().ticket_ids[:1])
        await make(stage, refund)
        before = stage.order()
        await make(stage, refund)
        await fail(stage, refund)
        assert stage.order() == before
        assert given_back(stage) == ONE
        asked = stage.read(lambda reader: list(ASKED_REFUNDS.scan(reader, stage.partition)))
        assert asked == []


async def test_of_two_that_are_asked_the_second_is_due_when_the_first_was_made(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await confirmed(stage)
        tickets = stage.order().ticket_ids
        first = await ask(stage, tickets[:1])
        second = await ask(stage, tickets[1:2], 2)
        await make(stage, first)
        assert (stage.order().refunds_asked, stage.order().due_at_ms) == (1, stage.clock.at_ms)
        await make(stage, second)
        assert (stage.order().refunds_asked, stage.order().due_at_ms) == (0, None)
