"""Faults planted in the refunds that operators asked for."""

from __future__ import annotations

from uuid import UUID

from msgspec.structs import replace

from storage.schema.ids import OrderId, RefundId, SeatNumber, TicketId
from storage.schema.layout import ASKED_REFUNDS, ORDERS, REFUNDS, TICKETS
from storage.schema.records import OrderRecord
from storage.schema.refunds import RefundRecord
from storage.schema.states import OrderState, RefundState, TicketState
from tests.storage.verify.good_store import Damage
from ticketd.domain.refunds import (
    AskRefund,
    RefundFailed,
    RefundMade,
    ask_refund,
    record_refund_failed,
    record_refund_made,
)

TWIN = OrderId(UUID(int=0xBAD))


def ask(damage: Damage, number: int = 1, *indices: int) -> RefundRecord:
    """A refund of the sold order's tickets, by default of its last one, as the operator asks for it."""
    order = damage.find(ORDERS, state=OrderState.CONFIRMED)
    return ask_refund(
        damage.tx,
        AskRefund(
            event_id=damage.event_id,
            order_id=order.order_id,
            refund_id=RefundId(UUID(int=number)),
            ticket_ids=tuple(order.ticket_ids[index] for index in indices or (2,)),
        ),
    )


def make(damage: Damage, refund: RefundRecord) -> None:
    made = RefundMade(
        event_id=damage.event_id,
        order_id=refund.order_id,
        refund_id=refund.refund_id,
        refund_ref="re_1",
        amount_minor=refund.amount_minor,
    )
    record_refund_made(damage.tx, made)


def order_of(damage: Damage, refund: RefundRecord) -> OrderRecord:
    return damage.find(ORDERS, order_id=refund.order_id)


def change(damage: Damage, refund: RefundRecord, **fields: object) -> None:
    damage.change(REFUNDS, refund.order_id, refund.refund_id, **fields)


def test_a_refund_at_each_of_its_states_is_sound(damage: Damage) -> None:
    refund = ask(damage)
    assert damage.found() == []
    make(damage, refund)
    assert damage.found() == []
    offered = ask(damage, 2, 1)
    assert damage.found() == []
    failed = RefundFailed(
        event_id=damage.event_id,
        order_id=offered.order_id,
        refund_id=offered.refund_id,
        problem="WRONG_STATE",
    )
    record_refund_failed(damage.tx, failed)
    assert damage.found() == []


def test_a_refund_of_no_order(damage: Damage) -> None:
    refund = ask(damage)
    make(damage, refund)
    lost = replace(damage.find(REFUNDS, refund_id=refund.refund_id), order_id=TWIN, refund_ref="")
    REFUNDS.put(damage.tx, lost, damage.event, TWIN, lost.refund_id)
    assert damage.found() == ["refund-has-order"]


def test_a_refund_that_the_order_does_not_count(damage: Damage) -> None:
    refund = ask(damage)
    damage.change(ORDERS, refund.order_id, refunds_asked=2)
    assert damage.found() == ["refunds-counted"]


def test_more_given_back_than_was_asked(damage: Damage) -> None:
    refund = ask(damage)
    damage.change(ORDERS, refund.order_id, refund_minor=refund.amount_minor + 1)
    assert damage.found() == ["refunds-add-up"]


def test_the_same_seats_money_given_back_twice(damage: Damage) -> None:
    refund = ask(damage)
    make(damage, refund)
    twin = replace(
        damage.find(REFUNDS, refund_id=refund.refund_id),
        refund_id=RefundId(UUID(int=9)),
        amount_minor=0,
        refund_ref="",
    )
    REFUNDS.put(damage.tx, twin, damage.event, twin.order_id, twin.refund_id)
    assert damage.found() == ["refund-once"]


def test_a_refunded_seat_that_is_not_the_orders(damage: Damage) -> None:
    refund = ask(damage)
    change(damage, refund, seats=(*refund.seats, SeatNumber(7 << 16)))
    assert damage.found() == ["refunded-seats"]


def test_a_refund_that_closes_an_order_that_stands(damage: Damage) -> None:
    refund = ask(damage)
    make(damage, refund)
    change(damage, refund, closes=True)
    assert "refund-fits-order" in damage.found()


def test_an_asked_refund_with_an_end(damage: Damage) -> None:
    change(damage, ask(damage), ended_at_ms=5)
    assert damage.found() == ["refund-times"]


def test_a_ticket_that_is_not_the_orders(damage: Damage) -> None:
    refund = ask(damage)
    change(damage, refund, ticket_ids=(TicketId(UUID(int=5)),))
    assert damage.found() == ["refund-of-ticket"]


def test_a_refunded_ticket_that_opens_a_door(damage: Damage) -> None:
    refund = ask(damage)
    damage.change(TICKETS, refund.ticket_ids[0], state=TicketState.ACTIVE)
    assert damage.counted() == {"refunded-ticket-is-void": 1, "one-good-ticket-a-seat": 1}


def test_an_asked_refund_that_is_not_found(damage: Damage) -> None:
    refund = ask(damage)
    ASKED_REFUNDS.remove(damage.tx, damage.event, refund.order_id, refund.refund_id)
    assert damage.found() == ["asked-refunds"]


def test_an_order_with_a_refund_to_make_that_is_not_due(damage: Damage) -> None:
    refund = ask(damage)
    damage.change(ORDERS, refund.order_id, due_at_ms=None)
    assert sorted(set(damage.found())) == ["due-orders", "order-due-by-state"]


def test_a_refund_that_the_ledger_does_not_know(damage: Damage) -> None:
    refund = ask(damage)
    make(damage, refund)
    change(damage, refund, refund_ref="re_2")
    assert damage.found() == ["refund-in-ledger"]


def test_a_refused_refund_counts_for_nothing(damage: Damage) -> None:
    refund = ask(damage)
    change(damage, refund, state=RefundState.REFUSED, ended_at_ms=5)
    assert sorted(set(damage.found())) == ["asked-refunds", "refunds-add-up", "refunds-counted"]
    assert order_of(damage, refund).refund_minor == refund.amount_minor
