"""Faults planted in the ledger of money."""

from __future__ import annotations

from uuid import UUID

import msgspec
import pytest

from storage.schema.ids import OrderId
from storage.schema.layout import MOVEMENT_SUMS, MOVEMENT_TIMES, MOVEMENTS, ORDERS
from storage.schema.movements import MovementKind, MovementRecord
from storage.schema.records import OrderRecord
from storage.schema.states import OrderState, PaymentState
from tests.storage.verify.good_store import Damage

K = MovementKind
TWIN = OrderId(UUID(int=0xBAD))


def kinds_of(damage: Damage, order: OrderRecord) -> list[MovementKind]:
    return [movement.kind for _, movement in MOVEMENTS.scan(damage.tx, damage.event, order.order_id)]


def paid(damage: Damage) -> OrderRecord:
    return damage.find(ORDERS, state=OrderState.CONFIRMED)


def refunded(damage: Damage) -> OrderRecord:
    return damage.find(ORDERS, payment_state=PaymentState.REFUNDED)


def add(damage: Damage, order: OrderRecord, kind: MovementKind, amount_minor: int) -> None:
    """Adds a movement as the ledger would: counted, summed and found by its time."""
    order = damage.find(ORDERS, order_id=order.order_id)
    number = (order.movements or 0) + 1
    movement = MovementRecord(
        order_id=order.order_id,
        number=number,
        at_ms=order.created_at_ms,
        kind=kind,
        amount_minor=amount_minor,
        currency=order.currency,
        gateway="sandbox",
        payment_ref=order.payment_ref or "",
    )
    MOVEMENTS.put(damage.tx, movement, damage.event, order.order_id, number)
    MOVEMENT_TIMES.add(damage.tx, damage.event, movement.at_ms, order.order_id, number)
    damage.change(ORDERS, order.order_id, movements=number)
    add_to_sum(damage, movement, amount_minor)


def add_to_sum(damage: Damage, movement: MovementRecord, more_minor: int) -> None:
    parts = (movement.currency, movement.kind.value)
    sum_minor = MOVEMENT_SUMS.get(damage.tx, damage.event, *parts) or 0
    MOVEMENT_SUMS.put(damage.tx, sum_minor + more_minor, damage.event, *parts)


def change(damage: Damage, order: OrderRecord, number: int, amount_minor: int) -> None:
    """Changes a movement's amount, and the sum with it."""
    before = MOVEMENTS.get(damage.tx, damage.event, order.order_id, number)
    assert before is not None
    damage.change(MOVEMENTS, order.order_id, number, amount_minor=amount_minor)
    add_to_sum(damage, before, amount_minor - before.amount_minor)


def test_the_good_store_has_a_ledger(damage: Damage) -> None:
    assert kinds_of(damage, paid(damage)) == [K.AUTHORISED, K.CAPTURED]
    assert kinds_of(damage, refunded(damage)) == [K.AUTHORISED, K.CAPTURED, K.REFUNDED]
    assert kinds_of(damage, damage.find(ORDERS, payment_state=PaymentState.FAILED)) == []
    assert damage.found() == []


def test_an_order_of_an_older_release_has_no_movements_yet(damage: Damage) -> None:
    order = paid(damage)
    for number in (1, 2):
        movement = MOVEMENTS.get(damage.tx, damage.event, order.order_id, number)
        assert movement is not None
        MOVEMENTS.delete(damage.tx, damage.event, order.order_id, number)
        MOVEMENT_TIMES.remove(damage.tx, damage.event, movement.at_ms, order.order_id, number)
        add_to_sum(damage, movement, -movement.amount_minor)
    damage.change(ORDERS, order.order_id, movements=None)
    assert damage.found() == []
    add(damage, order, K.AUTHORISED, order.total_minor)
    damage.change(ORDERS, order.order_id, movements=None)
    assert damage.found() == ["movements-dense"]


def test_a_movement_that_is_gone(damage: Damage) -> None:
    order = paid(damage)
    last = MOVEMENTS.get(damage.tx, damage.event, order.order_id, 2)
    assert last is not None
    MOVEMENTS.delete(damage.tx, damage.event, order.order_id, 2)
    assert damage.found() == ["ledger-adds-up", "ledger-fits-order", "movement-times", "movements-dense"]


def test_a_gap_in_the_numbers(damage: Damage) -> None:
    order = paid(damage)
    last = MOVEMENTS.get(damage.tx, damage.event, order.order_id, 2)
    assert last is not None
    MOVEMENTS.delete(damage.tx, damage.event, order.order_id, 2)
    MOVEMENTS.put(damage.tx, msgspec.structs.replace(last, number=3), damage.event, order.order_id, 3)
    MOVEMENT_TIMES.remove(damage.tx, damage.event, last.at_ms, order.order_id, 2)
    MOVEMENT_TIMES.add(damage.tx, damage.event, last.at_ms, order.order_id, 3)
    assert damage.found() == ["movements-dense"]


def test_movements_of_no_order(damage: Damage) -> None:
    first = MOVEMENTS.get(damage.tx, damage.event, paid(damage).order_id, 1)
    assert first is not None
    MOVEMENTS.put(damage.tx, msgspec.structs.replace(first, order_id=TWIN), damage.event, TWIN, 1)
    MOVEMENT_TIMES.add(damage.tx, damage.event, first.at_ms, TWIN, 1)
    add_to_sum(damage, first, first.amount_minor)
    assert damage.found() == ["movement-has-order"]


@pytest.mark.parametrize("amount_minor", [0, -1])
def test_an_amount_that_is_none(damage: Damage, amount_minor: int) -> None:
    change(damage, refunded(damage), 3, amount_minor)
    assert damage.found() == ["ledger-fits-order", "movement-amount"]


@pytest.mark.parametrize("fields", [{"currency": "EUR"}, {"payment_ref": "pi_other"}], ids=str)
def test_a_movement_of_another_payment(damage: Damage, fields: dict[str, str]) -> None:
    before = MOVEMENTS.get(damage.tx, damage.event, paid(damage).order_id, 1)
    assert before is not None
    after = damage.change(MOVEMENTS, before.order_id, 1, **fields)
    add_to_sum(damage, before, -before.amount_minor)
    add_to_sum(damage, after, after.amount_minor)
    assert damage.found() == ["movement-of-payment"]


def test_money_that_was_taken_twice(damage: Damage) -> None:
    order = paid(damage)
    change(damage, order, 2, 1)
    add(damage, order, K.CAPTURED, order.total_minor - 1)
    assert damage.found() == ["one-capture"]


def test_money_that_was_set_aside_twice(damage: Damage) -> None:
    order = paid(damage)
    add(damage, order, K.AUTHORISED, order.total_minor)
    assert damage.found() == ["one-authorisation"]


def test_a_first_movement_that_is_no_authorisation(damage: Damage) -> None:
    order = paid(damage)
    for number, kind in ((1, K.CAPTURED), (2, K.AUTHORISED)):
        damage.change(MOVEMENTS, order.order_id, number, kind=kind)
    assert damage.found() == ["authorised-first"]


@pytest.mark.parametrize(
    ("over", "found"), [(-1, []), (0, []), (1, ["capture-of-authorised"])], ids=["below", "at", "above"]
)
def test_more_taken_than_was_set_aside(damage: Damage, over: int, found: list[str]) -> None:
    order = refunded(damage)
    if over:
        change(damage, order, 2, order.total_minor + over)
    if over < 0:
        change(damage, order, 3, order.total_minor + over)
        damage.change(ORDERS, order.order_id, refund_minor=order.total_minor + over)
    assert damage.found() == found


def test_money_that_was_taken_and_freed(damage: Damage) -> None:
    order = refunded(damage)
    add(damage, order, K.VOIDED, order.total_minor)
    assert damage.found() == ["void-of-authorised"]


@pytest.mark.parametrize("amount_minor", [-1, 1], ids=["less", "more"])
def test_another_amount_freed_than_was_set_aside(damage: Damage, amount_minor: int) -> None:
    order = damage.find(ORDERS, payment_state=PaymentState.FAILED)
    damage.change(ORDERS, order.order_id, payment_ref="pi_x")
    add(damage, order, K.AUTHORISED, order.total_minor)
    add(damage, order, K.VOIDED, order.total_minor)
    assert damage.found() == []
    change(damage, order, 2, order.total_minor + amount_minor)
    assert damage.found() == ["ledger-fits-order", "void-of-authorised"]


@pytest.mark.parametrize(("over", "found"), [(0, []), (1, ["refund-of-captured"])], ids=["at", "above"])
def test_more_given_back_than_was_taken(damage: Damage, over: int, found: list[str]) -> None:
    order = refunded(damage)
    if over:
        change(damage, order, 3, order.total_minor + over)
    assert damage.found() == found


def test_a_paid_order_of_which_the_ledger_says_less(damage: Damage) -> None:
    order = paid(damage)
    change(damage, order, 2, order.total_minor - 1)
    assert damage.found() == ["ledger-fits-order"]


def test_a_paid_order_of_which_something_was_given_back(damage: Damage) -> None:
    add(damage, paid(damage), K.REFUNDED, 1)
    assert damage.found() == ["ledger-fits-order"]


@pytest.mark.parametrize(
    ("over", "found"), [(-1, ["ledger-fits-order"]), (0, []), (1, [])], ids=["below", "at", "above"]
)
def test_a_refund_gives_back_at_least_what_was_due(damage: Damage, over: int, found: list[str]) -> None:
    order = refunded(damage)
    due_minor = order.total_minor - 10
    damage.change(ORDERS, order.order_id, refund_minor=due_minor)
    change(damage, order, 3, due_minor + over)
    assert damage.found() == found


def test_money_that_moved_for_an_order_that_waits_for_its_buyer(damage: Damage) -> None:
    order = damage.find(ORDERS, payment_state=PaymentState.REQUIRES_ACTION)
    add(damage, order, K.AUTHORISED, order.total_minor)
    assert damage.found() == ["ledger-fits-order"]


def test_money_that_stays_set_aside_of_an_order_that_failed(damage: Damage) -> None:
    order = damage.find(ORDERS, payment_state=PaymentState.FAILED)
    damage.change(ORDERS, order.order_id, payment_ref="pi_x")
    add(damage, order, K.AUTHORISED, order.total_minor)
    assert damage.found() == ["ledger-fits-order"]


def test_a_sum_that_is_not_that_of_the_movements(damage: Damage) -> None:
    movement = MOVEMENTS.get(damage.tx, damage.event, paid(damage).order_id, 2)
    assert movement is not None
    add_to_sum(damage, movement, 1)
    assert damage.found() == ["ledger-adds-up"]


def test_a_movement_that_is_not_found_by_its_time(damage: Damage) -> None:
    movement = MOVEMENTS.get(damage.tx, damage.event, paid(damage).order_id, 2)
    assert movement is not None
    MOVEMENT_TIMES.remove(damage.tx, damage.event, movement.at_ms, movement.order_id, 2)
    MOVEMENT_TIMES.add(damage.tx, damage.event, movement.at_ms + 1, movement.order_id, 2)
    assert damage.found() == ["movement-times", "movement-times"]
