"""Faults planted in disputes and in the cancellation of an event."""

from __future__ import annotations

from uuid import UUID

import pytest
from msgspec.structs import replace

from storage.schema.disputes import DisputeRecord
from storage.schema.ids import OrderId
from storage.schema.layout import CANCELLATION, DISPUTES, MOVEMENTS, ORDERS, SALE, TICKETS
from storage.schema.movements import MovementKind
from storage.schema.records import OrderRecord
from storage.schema.states import DisputeState, OrderState, TicketState
from tests.storage.verify.good_store import Damage
from ticketd.domain.disputes import NoteDispute, note_dispute
from ticketd.domain.event_cancellation import CancelEvent, cancel_event, cancel_next
from ticketd.domain.ledger import Movement, record_movement

D = DisputeState
REF = "dp_1"
LIVE = {OrderState.PENDING, OrderState.CONFIRMED}
TWIN = OrderId(UUID(int=0xBAD))


def dispute(damage: Damage, *states: DisputeState, voids: bool = True) -> OrderRecord:
    """The sold order, its payment disputed."""
    order = damage.find(ORDERS, state=OrderState.CONFIRMED)
    for state in states:
        assert note_dispute(
            damage.tx,
            NoteDispute(
                event_id=damage.event_id,
                order_id=order.order_id,
                dispute_ref=REF,
                state=state,
                amount_minor=order.total_minor,
                voids_tickets=voids,
            ),
        )
    return damage.find(ORDERS, order_id=order.order_id)


def record(damage: Damage, order: OrderRecord) -> DisputeRecord:
    found = DISPUTES.get(damage.tx, damage.event, order.order_id, REF)
    assert found is not None
    return found


@pytest.mark.parametrize("voids", [True, False])
@pytest.mark.parametrize(
    "states",
    [
        (D.INQUIRY,),
        (D.INQUIRY, D.CLOSED),
        (D.OPEN,),
        (D.OPEN, D.WON),
        (D.OPEN, D.LOST),
        (D.LOST,),
    ],
)
def test_a_dispute_at_each_of_its_states_is_sound(
    damage: Damage, states: tuple[DisputeState, ...], *, voids: bool
) -> None:
    dispute(damage, *states, voids=voids)
    assert damage.found() == []


def test_a_dispute_of_no_order(damage: Damage) -> None:
    order = dispute(damage, D.INQUIRY)
    lost = replace(record(damage, order), order_id=TWIN)
    DISPUTES.put(damage.tx, lost, damage.event, TWIN, REF)
    assert damage.found() == ["dispute-has-order"]


@pytest.mark.parametrize("mark", [None, D.WON])
def test_an_order_that_is_not_marked(damage: Damage, mark: DisputeState | None) -> None:
    order = dispute(damage, D.OPEN)
    damage.change(ORDERS, order.order_id, dispute=mark)
    assert damage.found() == ["order-marked-by-dispute"]


def test_a_dispute_whose_money_the_ledger_does_not_have(damage: Damage) -> None:
    order = dispute(damage, D.INQUIRY)
    damage.change(DISPUTES, order.order_id, REF, state=D.OPEN)
    damage.change(ORDERS, order.order_id, dispute=D.OPEN)
    assert damage.found() == ["dispute-in-ledger"]


def test_a_dispute_of_another_amount(damage: Damage) -> None:
    order = dispute(damage, D.OPEN)
    damage.change(DISPUTES, order.order_id, REF, amount_minor=1)
    assert damage.found() == ["dispute-in-ledger"]


def test_money_of_a_dispute_that_is_not_known(damage: Damage) -> None:
    order = damage.find(ORDERS, state=OrderState.CONFIRMED)
    moved = Movement(kind=MovementKind.DISPUTE_WON, amount_minor=1, movement_ref="dp_2")
    ORDERS.put(
        damage.tx, record_movement(damage.tx, damage.event_id, order, moved), damage.event, order.order_id
    )
    assert damage.found() == ["dispute-in-ledger"]


def test_a_dispute_of_what_was_never_taken(damage: Damage) -> None:
    order = dispute(damage, D.OPEN)
    taken = next(
        movement
        for _, movement in MOVEMENTS.scan(damage.tx, damage.event, order.order_id)
        if movement.kind is MovementKind.CAPTURED
    )
    damage.change(MOVEMENTS, order.order_id, taken.number, kind=MovementKind.VOIDED)
    assert "dispute-of-captured" in damage.found()


def test_a_ticket_that_lives_on(damage: Damage) -> None:
    order = dispute(damage, D.OPEN)
    (first, *_) = record(damage, order).voided
    damage.change(TICKETS, first, state=TicketState.ACTIVE)
    assert damage.found() == ["disputed-ticket-is-void", "one-good-ticket-a-seat"]


def test_a_ticket_that_is_dead_without_a_cause(damage: Damage) -> None:
    order = dispute(damage, D.OPEN)
    damage.change(DISPUTES, order.order_id, REF, voided=())
    assert set(damage.found()) == {"one-good-ticket-a-seat"}


def test_a_ticket_of_another_order(damage: Damage) -> None:
    order = dispute(damage, D.OPEN, voids=False)
    other = next(
        ticket for _, ticket in TICKETS.scan(damage.tx, damage.event) if ticket.order_id != order.order_id
    )
    damage.change(DISPUTES, order.order_id, REF, voided=(other.ticket_id,))
    assert "dispute-of-ticket" in damage.found()


# --- cancelled events -------------------------------------------------------------------------------------------------


def cancel(damage: Damage, *, whole: bool = True) -> None:
    cancel_event(damage.tx, CancelEvent(damage.event_id))
    for _ in range(20 if whole else 1):
        cancel_next(damage.tx, damage.event_id, 2)


@pytest.mark.parametrize("whole", [True, False])
def test_an_event_whose_cancellation_goes_on_or_is_done_is_sound(damage: Damage, *, whole: bool) -> None:
    cancel(damage, whole=whole)
    found = CANCELLATION.get(damage.tx, damage.event)
    assert found is not None
    assert (found.done_at_ms is not None) == whole
    assert damage.found() == []


def test_an_event_that_is_cancelled_and_sold(damage: Damage) -> None:
    cancel(damage)
    damage.change(SALE, cancelled=False)
    assert damage.found() == ["cancelled-event"]


def test_an_order_that_the_cancellation_left_out(damage: Damage) -> None:
    cancel_event(damage.tx, CancelEvent(damage.event_id))
    left = [order for _, order in ORDERS.scan(damage.tx, damage.event) if order.state in LIVE]
    assert len(left) == 2, "one that is sold, and one that waits for its buyer"
    damage.change(CANCELLATION, done_at_ms=1)
    assert damage.found() == ["cancelled-event-is-over"] * 2
