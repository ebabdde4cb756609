"""Disputes of an order's payment: what the ledger says, what becomes of tickets and seats, and who has the money."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from storage.schema.disputes import DisputeRecord
from storage.schema.layout import ORDERS
from storage.schema.movements import MovementKind
from storage.schema.states import (
    DISPUTE_MOVES,
    DisputeState,
    OrderState,
    PaymentState,
    RefundState,
    TicketState,
)
from storage.verify.contents import EventContents
from storage.verify.disputes import check_disputes
from storage.verify.ledger import check_ledger_fits_orders, check_movement_sums
from storage.verify.orders import check_order_states
from storage.verify.tickets import check_tickets_of_orders
from tests.domain.inventory_stage import EVENT_ID, order_id
from tests.domain.order_stage import OrderStage, orders, step_of
from tests.domain.refusals import refused
from tests.domain.test_refunds import ask
from ticketd.domain.disputes import NoteDispute, list_disputes, note_dispute
from ticketd.domain.ledger import Balance, list_movements, read_balance
from ticketd.domain.refund_amounts import list_refunds_asked
from ticketd.domain.settlement import record_refunded
from ticketd.domain.ticket_book import move_ticket
from ticketd.errors import ErrorCode

D, K = DisputeState, MovementKind
SEATS = ("Floor/A/1", "Floor/A/2")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[OrderStage]:
    """An order of two seats that was paid and has its tickets."""
    async with orders(tmp_path) as stage:
        await stage.intent(*SEATS)
        await stage.take("authorised")
        await stage.take("confirmed")
        yield stage


async def note(
    stage: OrderStage,
    state: DisputeState,
    *,
    amount: int | None = None,
    ref: str = "dp_1",
    voids: bool = False,
) -> bool:
    command = NoteDispute(
        event_id=EVENT_ID,
        order_id=order_id(1),
        dispute_ref=ref,
        state=state,
        amount_minor=stage.order().total_minor if amount is None else amount,
        reason="fraudulent",
        voids_tickets=voids,
    )
    return await stage.decide(1, lambda tx: note_dispute(tx, command))


async def settle(stage: OrderStage, *made: tuple[str, int]) -> None:
    """The payments task has made these refunds, and nothing is left to give back."""
    await stage.decide(1, lambda tx: record_refunded(tx, step_of(1), made))


def due(stage: OrderStage) -> int:
    """What the order says is given back, of which the bank's part is none."""
    return balance(stage).given_back_minor(stage.order())


def moved(stage: OrderStage) -> list[MovementKind]:
    """The kinds of movements since the money was taken."""
    found = stage.read(lambda reader: list_movements(reader, EVENT_ID, order_id(1)))
    return [movement.kind for movement in found][2:]


def balance(stage: OrderStage) -> Balance:
    return stage.read(lambda reader: read_balance(reader, EVENT_ID, order_id(1)))


def noted(stage: OrderStage) -> list[DisputeRecord]:
    return stage.read(lambda reader: list_disputes(reader, EVENT_ID, order_id(1)))


def states(stage: OrderStage) -> tuple[OrderState, PaymentState]:
    return stage.order().state, stage.order().payment_state


def check(stage: OrderStage) -> None:
    """Fails unless what verification looks at in an order's money and tickets holds."""

    def problems(contents: EventContents) -> list[str]:
        checks = (
            check_disputes,
            check_ledger_fits_orders,
            check_movement_sums,
            check_order_states,
            check_tickets_of_orders,
        )
        return [str(problem) for one in checks for problem in one(contents)]

    assert stage.read(lambda reader: problems(EventContents(reader, EVENT_ID))) == []


@pytest.mark.parametrize(
    ("told", "movements", "with_bank", "lost"),
    [
        ((D.INQUIRY,), [], 0, 0),
        ((D.INQUIRY, D.CLOSED), [], 0, 0),
        ((D.OPEN,), [K.DISPUTED], 1, 0),
        ((D.INQUIRY, D.OPEN), [K.DISPUTED], 1, 0),
        ((D.OPEN, D.WON), [K.DISPUTED, K.DISPUTE_WON], 0, 0),
        ((D.OPEN, D.LOST), [K.DISPUTED, K.DISPUTE_LOST], 1, 1),
        ((D.WON,), [K.DISPUTED, K.DISPUTE_WON], 0, 0),
        ((D.LOST,), [K.DISPUTED, K.DISPUTE_LOST], 1, 1),
        ((D.CLOSED, D.LOST), [K.DISPUTED, K.DISPUTE_LOST], 1, 1),
        ((D.LOST, D.WON), [K.DISPUTED, K.DISPUTE_LOST, K.DISPUTE_WON], 0, 0),
    ],
)
async def test_the_ledger_says_what_the_bank_did_however_much_of_it_was_seen(
    stage: OrderStage,
    told: tuple[DisputeState, ...],
    movements: list[MovementKind],
    with_bank: int,
    lost: int,
) -> None:
    total = stage.order().total_minor
    for state in told:
        for _ in range(2):
            assert await note(stage, state)
    assert moved(stage) == movements
    assert (balance(stage).disputed_minor, balance(stage).lost_minor) == (with_bank * total, lost * total)
    assert balance(stage).kept_minor == (1 - with_bank) * total
    assert stage.order().dispute is told[-1]
    (dispute,) = noted(stage)
    assert (dispute.state, dispute.reason) == (told[-1], "fraudulent")
    assert (dispute.ended_at_ms is None) == (told[-1] in {D.INQUIRY, D.OPEN})
    assert states(stage) == (OrderState.CONFIRMED, PaymentState.CAPTURED)
    assert {ticket.state for ticket in stage.tickets()} == {TicketState.ACTIVE}
    check(stage)


@pytest.mark.parametrize("before", D)
@pytest.mark.parametrize("after", D)
async def test_a_step_that_no_dispute_takes_changes_nothing(
    stage: OrderStage, before: DisputeState, after: DisputeState
) -> None:
    await note(stage, before)
    order = stage.order()
    assert await note(stage, after)
    assert (stage.order() != order) == (after in DISPUTE_MOVES[before])
    check(stage)


async def test_tickets_die_with_the_money_and_live_again_with_it(stage: OrderStage) -> None:
    await note(stage, D.INQUIRY, voids=True)
    assert {ticket.state for ticket in stage.tickets()} == {TicketState.ACTIVE}
    await note(stage, D.OPEN, voids=True)
    assert {ticket.state for ticket in stage.tickets()} == {TicketState.VOID}
    assert noted(stage)[0].voided == stage.order().ticket_ids
    assert states(stage) == (OrderState.CONFIRMED, PaymentState.CAPTURED)
    check(stage)
    await note(stage, D.WON, voids=True)
    assert {ticket.state for ticket in stage.tickets()} == {TicketState.ACTIVE}
    check(stage)


@pytest.mark.parametrize("seen_open", [True, False])
async def test_seats_whose_money_and_tickets_are_lost_are_on_sale_again(
    stage: OrderStage, *, seen_open: bool
) -> None:
    if seen_open:
        await note(stage, D.OPEN, voids=True)
    await note(stage, D.LOST, voids=True)
    assert states(stage) == (OrderState.CANCELLED, PaymentState.REFUND_PENDING)
    assert stage.order().refund_minor == 0
    check(stage)
    await settle(stage)
    assert states(stage) == (OrderState.CANCELLED, PaymentState.REFUNDED)
    assert balance(stage).refunded_minor == 0
    check(stage)
    stage.check()
    await stage.intent(*SEATS, user=2, order=2)


async def test_a_seat_on_which_somebody_sits_is_not_sold_again(stage: OrderStage) -> None:
    first, _ = stage.tickets()
    await stage.run(lambda tx: move_ticket(tx, EVENT_ID, first, TicketState.USED))
    await note(stage, D.LOST, voids=True)
    assert states(stage) == (OrderState.CONFIRMED, PaymentState.CAPTURED)
    assert {ticket.state for ticket in stage.tickets()} == {TicketState.USED, TicketState.VOID}
    check(stage)


async def test_a_bank_may_take_more_than_was_paid(stage: OrderStage) -> None:
    total = stage.order().total_minor
    await note(stage, D.OPEN, amount=total + 100)
    assert balance(stage).kept_minor == -100
    check(stage)


@pytest.mark.parametrize("told_first", [D.INQUIRY, D.CLOSED])
async def test_the_bank_takes_what_it_says_when_it_does(stage: OrderStage, told_first: DisputeState) -> None:
    await note(stage, told_first, amount=100)
    await note(stage, D.OPEN, amount=200)
    assert (balance(stage).disputed_minor, noted(stage)[0].amount_minor) == (200, 200)
    await note(stage, D.LOST, amount=300)
    assert (balance(stage).lost_minor, noted(stage)[0].amount_minor) == (200, 200)
    check(stage)


async def test_of_two_disputes_the_order_says_the_one_that_weighs_more(stage: OrderStage) -> None:
    await note(stage, D.WON, ref="dp_1", amount=100)
    await note(stage, D.OPEN, ref="dp_2", amount=200)
    assert stage.order().dispute is D.OPEN
    await note(stage, D.LOST, ref="dp_2")
    assert stage.order().dispute is D.LOST
    assert (balance(stage).disputed_minor, balance(stage).lost_minor) == (200, 200)
    check(stage)


@pytest.mark.parametrize("second", [D.WON, D.LOST])
async def test_tickets_are_dead_until_no_dispute_is_left_that_ended_them(
    stage: OrderStage, second: DisputeState
) -> None:
    await note(stage, D.OPEN, ref="dp_1", amount=100, voids=True)
    await note(stage, D.OPEN, ref="dp_2", amount=200, voids=True)
    await note(stage, D.WON, ref="dp_1", voids=True)
    assert {ticket.state for ticket in stage.tickets()} == {TicketState.VOID}
    check(stage)
    await note(stage, second, ref="dp_2", voids=True)
    is_won = second is D.WON
    assert {ticket.state for ticket in stage.tickets()} == {
        TicketState.ACTIVE if is_won else TicketState.VOID
    }
    assert stage.order().state is (OrderState.CONFIRMED if is_won else OrderState.CANCELLED)
    check(stage)


async def test_money_that_is_not_known_to_be_taken_is_not_disputed_yet(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent(*SEATS)
        await stage.take("authorised")
        assert not await note(stage, D.OPEN)
        assert noted(stage) == []
        await stage.take("confirmed")
        assert await note(stage, D.OPEN)
        check(stage)


@pytest.mark.parametrize(
    ("state", "allowed"), [(D.OPEN, False), (D.LOST, False), (D.WON, True), (D.INQUIRY, True)]
)
async def test_what_the_bank_has_the_buyer_cannot_have_back_too(
    stage: OrderStage, state: DisputeState, *, allowed: bool
) -> None:
    await note(stage, state)
    if allowed:
        await stage.cancel()
        assert states(stage) == (OrderState.CANCELLED, PaymentState.REFUND_PENDING)
        return
    refusal = await refused(ErrorCode.ORDER_NOT_CANCELLABLE, stage.cancel())
    assert refusal.details == {"reason": "PAYMENT_DISPUTED"}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("state", [D.OPEN, D.LOST])
async def test_nor_does_the_operator_give_it_back(
    stage: OrderStage, state: DisputeState, *, whole: bool
) -> None:
    await note(stage, state)
    if whole and state is D.LOST:
        # The order can be ended, and costs nobody anything: nothing is told to go back.
        refund = await ask(stage)
        assert (refund.amount_minor, due(stage)) == (0, 0)
        await settle(stage)
        assert states(stage) == (OrderState.CANCELLED, PaymentState.REFUNDED)
        assert (balance(stage).refunded_minor, stage.order().refund_minor) == (0, 0)
        check(stage)
        return
    named = None if whole else stage.order().ticket_ids[:1]
    refusal = await refused(ErrorCode.ORDER_NOT_CANCELLABLE, ask(stage, named))
    assert refusal.details == {"reason": "PAYMENT_DISPUTED"}
    check(stage)


async def test_of_an_order_whose_part_the_bank_keeps_the_rest_is_told_and_given_back(
    stage: OrderStage,
) -> None:
    total = stage.order().total_minor
    await note(stage, D.LOST, amount=500)
    refund = await ask(stage)
    assert (refund.amount_minor, due(stage)) == (total - 500, total - 500)
    check(stage)
    await settle(stage, ("re_1", total - 500))
    (told,) = stage.read(lambda reader: list_refunds_asked(reader, EVENT_ID, stage.order()))
    assert (told.state, told.amount_minor) == (RefundState.DONE, total - 500)
    assert (stage.order().refund_minor, balance(stage).refunded_minor) == (total - 500, total - 500)
    check(stage)


async def test_what_the_bank_keeps_is_not_taken_for_given_back(stage: OrderStage) -> None:
    await note(stage, D.LOST)
    await ask(stage)
    await settle(stage)
    wrong = replace(stage.order(), refund_minor=1)
    await stage.decide(1, lambda tx: ORDERS.put(tx, wrong, stage.partition, wrong.order_id))
    with pytest.raises(AssertionError, match=r"0 were given back of .*, where 1 were due"):
        check(stage)


async def test_what_a_bank_gives_up_after_the_order_ended_was_not_given_back(stage: OrderStage) -> None:
    await note(stage, D.LOST)
    await ask(stage)
    await settle(stage)
    await note(stage, D.WON)
    assert (stage.order().refund_minor, balance(stage).refunded_minor) == (0, 0)
    check(stage)


async def test_a_dispute_makes_an_order_due_whose_refund_waits_for_it(stage: OrderStage) -> None:
    await stage.cancel()
    await stage.take("put off")
    await note(stage, D.OPEN)
    assert stage.order().due_at_ms == stage.clock.at_ms
    await stage.take("put off")
    await note(stage, D.LOST)
    assert stage.order().due_at_ms == stage.clock.at_ms
    check(stage)
    await settle(stage)
    assert states(stage) == (OrderState.CANCELLED, PaymentState.REFUNDED)
    check(stage)
