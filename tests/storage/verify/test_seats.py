"""Faults planted in the inventory, each named by its invariant, and by that alone where nothing else follows."""

from __future__ import annotations

from uuid import UUID

import pytest

from storage.schema.ids import RowKey, SeatNumber, row_and_position
from storage.schema.layout import (
    COUNTS,
    DUE_RESERVATIONS,
    ORDERS,
    PURCHASES,
    RESERVATIONS,
    ROW_PLANS,
    ROWS,
    SALE,
    TOTAL,
)
from storage.schema.records import OrderRecord, PurchaseRecord, ReservationRecord, RowRecord
from storage.schema.states import OrderState, ReservationState, SeatState
from tests.storage.verify.good_store import Damage

NOBODY = UUID(int=0xBAD)


def held(damage: Damage) -> ReservationRecord:
    return damage.find(RESERVATIONS, state=ReservationState.HELD)


def sold(damage: Damage) -> OrderRecord:
    return damage.find(ORDERS, state=OrderState.CONFIRMED)


def row_of(damage: Damage, seat: SeatNumber) -> tuple[RowKey, int, RowRecord]:
    row_key, position = row_and_position(seat)
    row = ROWS.get(damage.tx, damage.event, row_key)
    assert row is not None
    return row_key, position, row


def set_seat(damage: Damage, seat: SeatNumber, state: int, owner: UUID | None) -> None:
    row_key, position, row = row_of(damage, seat)
    states, owners = bytearray(row.states), dict(row.owners)
    states[position] = state
    owners.pop(position, None)
    if owner is not None:
        owners[position] = owner
    ROWS.put(damage.tx, RowRecord(states=bytes(states), owners=owners), damage.event, row_key)


def free_seat(damage: Damage) -> SeatNumber:
    """A free seat of a row that others have seats of."""
    for (row_key,), row in ROWS.scan(damage.tx, damage.event):
        if SeatState.AVAILABLE in row.states and isinstance(row_key, int):
            return SeatNumber(row_key << 16 | row.states.index(SeatState.AVAILABLE))
    raise LookupError("all seats of all rows that have states are taken")


def test_a_row_without_a_plan(damage: Damage) -> None:
    ROWS.put(damage.tx, RowRecord(states=bytes(3), owners={}), damage.event, 99)
    assert damage.found() == ["row-has-plan"]


def test_a_row_longer_than_its_plan(damage: Damage) -> None:
    _, _, row = row_of(damage, sold(damage).seats[0])
    damage.change(ROWS, 0, states=row.states + b"\x00")
    assert damage.found() == ["row-fits-plan"]


def test_an_owner_beyond_the_end_of_a_row(damage: Damage) -> None:
    _, _, row = row_of(damage, sold(damage).seats[0])
    damage.change(ROWS, 0, owners={**row.owners, 50: NOBODY})
    assert damage.found() == ["row-fits-plan"]


def test_a_row_shorter_than_its_plan_is_free_at_its_end(damage: Damage) -> None:
    _, _, row = row_of(damage, sold(damage).seats[0])
    damage.change(ROWS, 0, states=row.states.rstrip(b"\x00"))
    assert damage.found() == []


def test_a_byte_that_is_no_state(damage: Damage) -> None:
    set_seat(damage, free_seat(damage), 4, None)
    found = damage.counted()
    assert found["seat-state-known"] == 1
    assert found.keys() == {
        "seat-state-known",
        "counts-equal-recount",
        "openings-equal-recount",
        "total-equals-recount",
    }


def test_a_free_seat_with_an_owner(damage: Damage) -> None:
    set_seat(damage, free_seat(damage), SeatState.AVAILABLE, NOBODY)
    assert damage.found() == ["seat-owner-by-state"]


def test_a_sold_seat_without_an_owner(damage: Damage) -> None:
    set_seat(damage, sold(damage).seats[0], SeatState.SOLD, None)
    assert damage.found() == ["order-has-seats", "seat-owner-by-state"]


def test_a_state_of_a_seat_that_is_in_no_plan(damage: Damage) -> None:
    plan = ROW_PLANS.get(damage.tx, damage.event, 1)
    assert plan is not None
    damage.change(ROW_PLANS, 1, slots=plan.slots + 1)
    before = damage.found()
    ROWS.put(damage.tx, RowRecord(states=bytes(plan.slots) + b"\x03", owners={}), damage.event, 1)
    assert (before, damage.found()) == ([], ["seat-in-plan"])


def test_a_seat_held_by_nobody(damage: Damage) -> None:
    set_seat(damage, held(damage).seats[0], SeatState.RESERVED, NOBODY)
    assert damage.found() == ["held-seat-has-hold", "hold-has-seats"]


def test_a_seat_held_by_a_hold_that_does_not_list_it(damage: Damage) -> None:
    hold = damage.find(RESERVATIONS, state=ReservationState.PAYING)
    set_seat(damage, held(damage).seats[0], SeatState.RESERVED, hold.reservation_id)
    assert damage.found() == ["held-seat-has-hold", "hold-has-seats"]


def test_a_seat_sold_to_nobody(damage: Damage) -> None:
    set_seat(damage, sold(damage).seats[0], SeatState.SOLD, NOBODY)
    assert damage.found() == ["order-has-seats", "sold-seat-has-order"]


def test_a_seat_sold_to_an_order_that_was_cancelled(damage: Damage) -> None:
    cancelled = damage.find(ORDERS, state=OrderState.CANCELLED)
    set_seat(damage, sold(damage).seats[0], SeatState.SOLD, cancelled.order_id)
    assert damage.found() == ["order-has-seats", "sold-seat-has-order"]


def test_a_seat_that_two_have(damage: Damage) -> None:
    """A hold lists a seat that was sold to an order."""
    hold = held(damage)
    damage.change(RESERVATIONS, hold.reservation_id, seats=sold(damage).seats[:1])
    assert damage.found() == ["held-seat-has-hold", "hold-has-seats"]


def test_a_count_that_is_off(damage: Damage) -> None:
    count = COUNTS.get(damage.tx, damage.event, 0, 0)
    assert count is not None
    damage.change(COUNTS, 0, 0, free=count.free + 1)
    assert damage.found() == ["counts-equal-recount"]


def test_a_count_of_a_tier_that_no_seat_has(damage: Damage) -> None:
    count = COUNTS.get(damage.tx, damage.event, 0, 0)
    assert count is not None
    COUNTS.put(damage.tx, count, damage.event, 0, 7)
    assert damage.found() == ["counts-equal-recount"]


def test_a_count_that_is_missing(damage: Damage) -> None:
    COUNTS.delete(damage.tx, damage.event, 1, 1)
    assert damage.found() == ["counts-equal-recount"]


def test_a_total_that_is_off(damage: Damage) -> None:
    total = TOTAL.get(damage.tx, damage.event)
    assert total is not None
    damage.change(TOTAL, sold=total.sold + 1)
    assert damage.found() == ["total-equals-recount"]


def test_a_hold_whose_prices_do_not_add_up(damage: Damage) -> None:
    hold = held(damage)
    damage.change(RESERVATIONS, hold.reservation_id, subtotal_minor=hold.subtotal_minor + 1)
    assert damage.counted()["hold-adds-up"] == 1


def test_a_hold_without_a_price_for_a_seat(damage: Damage) -> None:
    hold = damage.find(RESERVATIONS, state=ReservationState.RELEASED)
    damage.change(RESERVATIONS, hold.reservation_id, prices=(*hold.prices, (0, 0)))
    assert damage.found() == ["hold-adds-up"]


def test_a_hold_that_names_an_order_though_nobody_pays(damage: Damage) -> None:
    damage.change(RESERVATIONS, held(damage).reservation_id, order_id=NOBODY)
    assert damage.found() == ["hold-agrees-with-order"]


@pytest.mark.parametrize("state", [ReservationState.PAYING, ReservationState.ORDERED])
def test_a_hold_whose_order_is_not_there(damage: Damage, state: ReservationState) -> None:
    hold = damage.find(RESERVATIONS, state=state)
    damage.change(RESERVATIONS, hold.reservation_id, order_id=NOBODY)
    assert damage.found() == ["hold-agrees-with-order"]


def test_a_hold_being_paid_by_an_order_that_has_ended(damage: Damage) -> None:
    paying = damage.find(RESERVATIONS, state=ReservationState.PAYING)
    cancelled = damage.find(ORDERS, state=OrderState.CANCELLED)
    damage.change(RESERVATIONS, paying.reservation_id, order_id=cancelled.order_id)
    assert damage.found() == ["hold-agrees-with-order"]


def test_a_live_hold_that_never_falls_due(damage: Damage) -> None:
    hold = held(damage)
    DUE_RESERVATIONS.remove(damage.tx, damage.event, hold.due_at_ms, hold.reservation_id)
    assert damage.found() == ["due-holds"]


def test_an_ended_hold_that_falls_due(damage: Damage) -> None:
    hold = damage.find(RESERVATIONS, state=ReservationState.RELEASED)
    DUE_RESERVATIONS.add(damage.tx, damage.event, hold.due_at_ms, hold.reservation_id)
    assert damage.found() == ["due-holds"]


@pytest.mark.parametrize("fields", [{"held": 5}, {"bought": 2}])
def test_purchases_that_are_off(damage: Damage, fields: dict[str, int]) -> None:
    damage.change(PURCHASES, sold(damage).user_id, **fields)
    assert damage.found() == ["purchases-equal-recount"]


def test_purchases_of_one_who_has_nothing(damage: Damage) -> None:
    PURCHASES.put(damage.tx, PurchaseRecord(held=1), damage.event, NOBODY)
    assert damage.found() == ["purchases-equal-recount"]


@pytest.mark.parametrize(("limit", "found"), [(4, []), (3, []), (2, ["purchase-limit"])])
def test_more_seats_than_a_buyer_may_have(damage: Damage, limit: int, found: list[str]) -> None:
    """The largest order has three seats; nothing tells that an operator lowered the limit since."""
    damage.change(SALE, purchase_limit=limit)
    assert damage.found() == found
