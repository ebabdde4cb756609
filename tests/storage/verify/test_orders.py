"""Faults planted in the orders and their money."""

from __future__ import annotations

from uuid import UUID

import msgspec
import pytest

from storage.schema.ids import OrderId
from storage.schema.layout import (
    BUYER_ORDERS,
    DUE_ORDERS,
    EVENT_OF_ORDER,
    ORDERS,
    SYSTEM,
    buyer_partition,
)
from storage.schema.records import OrderRecord
from storage.schema.states import OrderState, PaymentState
from tests.storage.verify.good_store import Damage

TWIN = OrderId(UUID(int=0xBAD))


def order_in(damage: Damage, state: OrderState) -> OrderRecord:
    return damage.find(ORDERS, state=state)


def besides_ledger(damage: Damage) -> list[str]:
    """What is found of the orders themselves: the ledger, of which test_ledger tells, does not fit them either."""
    return [name for name in damage.found() if name not in {"ledger-fits-order", "movement-of-payment"}]


def test_the_good_store_has_orders_in_every_state_that_lasts(damage: Damage) -> None:
    states = {(order.state, order.payment_state) for _, order in ORDERS.scan(damage.tx, damage.event)}
    assert states == {
        (OrderState.CONFIRMED, PaymentState.CAPTURED),
        (OrderState.CANCELLED, PaymentState.REFUNDED),
        (OrderState.PENDING, PaymentState.REQUIRES_ACTION),
        (OrderState.FAILED, PaymentState.FAILED),
    }


def test_a_total_that_is_not_the_sum(damage: Damage) -> None:
    order = order_in(damage, OrderState.CONFIRMED)
    damage.change(ORDERS, order.order_id, total_minor=order.total_minor + 1)
    assert besides_ledger(damage) == ["order-adds-up"]


def test_an_amount_below_zero(damage: Damage) -> None:
    order = order_in(damage, OrderState.CONFIRMED)
    total = order.subtotal_minor + order.fees_minor - 1
    damage.change(ORDERS, order.order_id, taxes_minor=-1, total_minor=total)
    assert besides_ledger(damage) == ["order-adds-up", "order-as-held"]


def test_amounts_that_are_not_those_of_the_hold(damage: Damage) -> None:
    order = order_in(damage, OrderState.CONFIRMED)
    damage.change(ORDERS, order.order_id, fees_minor=order.fees_minor - 1, taxes_minor=order.taxes_minor + 1)
    assert damage.found() == ["order-as-held"]


def test_an_order_in_another_currency(damage: Damage) -> None:
    damage.change(ORDERS, order_in(damage, OrderState.CONFIRMED).order_id, currency="EUR")
    assert besides_ledger(damage) == ["order-currency"]


def test_an_order_that_is_over_may_be_in_another_currency(damage: Damage) -> None:
    damage.change(ORDERS, order_in(damage, OrderState.CANCELLED).order_id, currency="EUR")
    assert besides_ledger(damage) == []


@pytest.mark.parametrize(
    ("over", "found"), [(-1, []), (0, []), (1, ["refund-within-total"])], ids=["below", "at", "above"]
)
def test_more_given_back_than_was_paid(damage: Damage, over: int, found: list[str]) -> None:
    order = order_in(damage, OrderState.CANCELLED)
    refunded = msgspec.structs.replace(order, refund_minor=order.total_minor + over)
    ORDERS.put(damage.tx, refunded, damage.event, order.order_id)
    assert besides_ledger(damage) == found


def test_less_than_nothing_given_back(damage: Damage) -> None:
    damage.change(ORDERS, order_in(damage, OrderState.CANCELLED).order_id, refund_minor=-1)
    assert damage.found() == ["refund-within-total"]


def test_money_given_back_of_an_order_that_stands(damage: Damage) -> None:
    damage.change(ORDERS, order_in(damage, OrderState.CONFIRMED).order_id, refund_minor=1)
    assert damage.found() == ["refund-of-ended-payment"]


def test_a_confirmed_order_without_captured_money(damage: Damage) -> None:
    order = order_in(damage, OrderState.CONFIRMED)
    damage.change(ORDERS, order.order_id, payment_state=PaymentState.AUTHORIZED)
    assert besides_ledger(damage) == ["order-and-payment-agree"]


def test_captured_money_of_an_order_that_failed(damage: Damage) -> None:
    order = order_in(damage, OrderState.FAILED)
    damage.change(ORDERS, order.order_id, payment_state=PaymentState.CAPTURED, payment_ref="p")
    assert besides_ledger(damage) == ["order-and-payment-agree"]


def test_an_order_at_rest_that_falls_due(damage: Damage) -> None:
    order = order_in(damage, OrderState.CONFIRMED)
    damage.change(ORDERS, order.order_id, due_at_ms=1)
    DUE_ORDERS.add(damage.tx, damage.event, 1, order.order_id)
    assert damage.found() == ["order-due-by-state"]


def test_an_unfinished_order_that_never_falls_due(damage: Damage) -> None:
    order = order_in(damage, OrderState.PENDING)
    assert order.due_at_ms is not None
    damage.change(ORDERS, order.order_id, due_at_ms=None)
    DUE_ORDERS.remove(damage.tx, damage.event, order.due_at_ms, order.order_id)
    assert damage.found() == ["order-due-by-state"]


def test_captured_money_that_the_gateway_has_no_name_for(damage: Damage) -> None:
    damage.change(ORDERS, order_in(damage, OrderState.CONFIRMED).order_id, payment_ref=None)
    assert besides_ledger(damage) == ["payment-is-named"]


@pytest.mark.parametrize(
    ("state", "fields"),
    [
        (OrderState.PENDING, {"cancelled_at_ms": 1}),
        (OrderState.CANCELLED, {"cancelled_at_ms": None}),
        (OrderState.CONFIRMED, {"cancelled_at_ms": 1}),
    ],
)
def test_times_that_do_not_fit_the_state(
    damage: Damage, state: OrderState, fields: dict[str, object]
) -> None:
    damage.change(ORDERS, order_in(damage, state).order_id, **fields)
    assert damage.found() == ["order-times"]


def test_an_order_that_was_never_confirmed_and_says_so(damage: Damage) -> None:
    damage.change(ORDERS, order_in(damage, OrderState.CONFIRMED).order_id, confirmed_at_ms=None)
    assert damage.found() == ["order-names-tickets", "order-times", *["ticket-is-reached"] * 3]


def test_two_orders_for_one_hold(damage: Damage) -> None:
    order = order_in(damage, OrderState.PENDING)
    assert order.due_at_ms is not None
    twin = msgspec.structs.replace(order, order_id=TWIN)
    ORDERS.put(damage.tx, twin, damage.event, TWIN)
    DUE_ORDERS.add(damage.tx, damage.event, order.due_at_ms, TWIN)
    BUYER_ORDERS.put(damage.tx, damage.event_id, buyer_partition(order.user_id), TWIN)
    EVENT_OF_ORDER.put(damage.tx, damage.event_id, SYSTEM, TWIN)
    assert damage.found() == ["one-order-a-hold"]


def test_an_order_that_is_due_and_not_in_the_index(damage: Damage) -> None:
    order = order_in(damage, OrderState.PENDING)
    assert order.due_at_ms is not None
    DUE_ORDERS.remove(damage.tx, damage.event, order.due_at_ms, order.order_id)
    assert damage.found() == ["due-orders"]


def test_an_order_in_the_index_that_is_not_due(damage: Damage) -> None:
    DUE_ORDERS.add(damage.tx, damage.event, 1, order_in(damage, OrderState.CONFIRMED).order_id)
    assert damage.found() == ["due-orders"]


def test_an_order_that_its_buyer_does_not_find(damage: Damage) -> None:
    order = order_in(damage, OrderState.CONFIRMED)
    BUYER_ORDERS.delete(damage.tx, buyer_partition(order.user_id), order.order_id)
    assert damage.found() == ["buyer-finds-order"]


def test_an_order_that_is_not_found_by_its_id(damage: Damage) -> None:
    EVENT_OF_ORDER.delete(damage.tx, SYSTEM, order_in(damage, OrderState.CONFIRMED).order_id)
    assert damage.found() == ["event-of-order"]


def test_a_payment_without_an_outcome_that_its_buyer_sees(damage: Damage) -> None:
    order = order_in(damage, OrderState.PENDING)
    damage.change(
        ORDERS, order.order_id, state=OrderState.INTENT, payment_state=PaymentState.STARTED, payment_ref=None
    )
    assert damage.found() == ["buyer-finds-order", "event-of-order"]
