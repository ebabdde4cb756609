from __future__ import annotations

from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from msgspec.structs import replace

from storage.engine import Command, Transaction
from storage.schema.events import EventDeleted, EventPut
from storage.schema.ids import EntryId, PaymentMethodId, ReservationId
from storage.schema.layout import EVENT, EVENT_IDS, EVENT_OF_ORDER, ORDERS, SYSTEM
from storage.schema.records import AddressRecord, CountRecord, OrderRecord
from storage.schema.states import OrderState, PaymentState, ReservationState, SeatState
from tests.domain.inventory_stage import (
    EVENT_ID,
    Hall,
    Stage,
    inventory,
    make_plan,
    order_id,
    rich_plan,
    row_plan,
    user_id,
)
from tests.domain.refusals import refused
from ticketd.domain.event_cancellation import CancelEvent, cancel_event
from ticketd.domain.events import (
    MAX_SEATS_TOLD,
    DeleteEvent,
    PutEventResult,
    PutOutcome,
    delete_event,
    event_command_partitions,
    event_plan,
)
from ticketd.domain.sales import load_sale
from ticketd.domain.seats import public_ids
from ticketd.errors import ErrorCode, Refusal
from ticketd.event_file.plan import EventPlan, PresaleCode, SeatPlan

UNUSED_ENTRY = EntryId(UUID(int=1))
UNUSED_METHOD = PaymentMethodId(UUID(int=1))


def result(outcome: PutOutcome, seats: int, added: int = 0, removed: int = 0) -> PutEventResult:
    return PutEventResult(
        event_id=EVENT_ID, outcome=outcome, seats=seats, seats_added=added, seats_removed=removed
    )


async def delete(stage: Stage) -> None:
    command = Command(
        "delete",
        event_command_partitions(EVENT_ID),
        lambda tx: delete_event(tx, DeleteEvent(EVENT_ID)),
    )
    await stage.engine.submit(command)


def known_events(stage: Stage) -> list[object]:
    return stage.read(lambda reader: [event_id for (event_id,) in EVENT_IDS.scan(reader, SYSTEM)])


def plan_now(stage: Stage) -> EventPlan:
    return stage.read(lambda reader: event_plan(reader, EVENT_ID))


# --- putting --------------------------------------------------------------------------------------------------------


async def test_a_new_event(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        assert await stage.put(make_plan()) == result(PutOutcome.CREATED, 16, added=16)
        assert stage.changes == [EventPut(event_id=EVENT_ID)]
        assert known_events(stage) == [EVENT_ID]
        assert stage.total() == CountRecord(free=16)
        stage.recount()


@pytest.mark.parametrize("plan", [make_plan(), rich_plan()])
async def test_what_was_put_is_told_again_and_putting_it_again_changes_nothing(
    tmp_path: Path, plan: EventPlan
) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(plan)
        assert plan_now(stage) == plan
        before = stage.everything()
        assert await stage.put(plan) == result(PutOutcome.UNCHANGED, plan.seat_count)
        assert await stage.put(plan_now(stage)) == result(PutOutcome.UNCHANGED, plan.seat_count)
        assert stage.everything() == before
        assert len(stage.changes) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Another Night"},
        {"tax_rate_ppm": 1},
        {"presale_codes": (PresaleCode("X", 1),)},
        {"tiers": tuple(reversed(make_plan().tiers))},
        {"sections": tuple(reversed(make_plan().sections))},
        {"room": replace(make_plan().room, max_active=7)},
    ],
)
async def test_any_change_of_the_plan_replaces_it(tmp_path: Path, changes: dict[str, object]) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        changed = replace(make_plan(), **changes)
        assert await stage.put(changed) == result(PutOutcome.REPLACED, 16)
        assert plan_now(stage) == changed
        assert stage.changes == [EventPut(event_id=EVENT_ID)] * 2
        stage.recount()


async def test_seats_keep_their_ids_and_states_through_every_change_of_order(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        before = stage.read(stage.all_seats)
        held = await stage.reserve(1, *stage.seats("Floor/A/1", "Balcony/A/2"))
        await stage.buy(2, stage.seat("Floor/B/6"))
        await stage.block(stage.seat("Balcony/A/4"))
        turned = make_plan(
            {
                "Balcony": {"A": [("4", 2), ("3", 1), ("2", 0), ("1", 1)]},
                "Floor": {
                    "0": 2,
                    "B": [("6", 1), *((str(n), 0) for n in range(1, 6))],
                    "A": [("0", 0), *((str(n), 0) for n in range(1, 7)), ("7", 0)],
                },
            }
        )
        assert await stage.put(turned) == result(PutOutcome.REPLACED, 20, added=4)
        after = stage.read(stage.all_seats)
        assert {name: after[name] for name in before} == before
        assert list(after) == [
            f"{section.name}/{row.label}/{seat.number}"
            for section in turned.sections
            for row in section.rows
            for seat in row.seats
        ]
        assert stage.state("Floor/A/1") is stage.state("Balcony/A/2") is SeatState.RESERVED
        assert stage.state("Floor/B/6") is SeatState.SOLD
        assert stage.state("Balcony/A/4") is SeatState.BLOCKED
        assert stage.total() == CountRecord(free=16, held=2, sold=1, blocked=1)
        stage.recount()
        await stage.release(1, held.reservation_id)
        stage.recount()
        assert plan_now(stage) == turned


async def test_a_seat_that_goes_and_comes_back_is_a_new_one(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        before = stage.read(stage.all_seats)
        await stage.block(*stage.seats("Floor/A/6", "Floor/B/1", "Balcony/A/1"))
        smaller: Hall = {"Floor": {"A": 5}}
        assert await stage.put(make_plan(smaller)) == result(PutOutcome.REPLACED, 5, removed=11)
        assert stage.total() == CountRecord(free=5)
        stage.recount()
        await refused(ErrorCode.SEAT_NOT_FOUND, stage.reserve(1, before["Floor/A/6"]))
        assert await stage.put(make_plan()) == result(PutOutcome.REPLACED, 16, added=11)
        after = stage.read(stage.all_seats)
        kept = {name for name in before if name.startswith("Floor/A") and name != "Floor/A/6"}
        assert {name for name in before if before[name] == after[name]} == kept
        assert not {before[name] for name in before.keys() - kept} & set(after.values())
        assert stage.total() == CountRecord(free=16), "what was blocked is gone with the seat"
        stage.recount()


async def test_a_new_section_never_gets_the_key_of_an_old_one(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        for hall in ({"A": {"1": 2}, "B": {"1": 3}}, {"B": {"1": 3}}, {"B": {"1": 3}, "C": {"1": 4}}):
            await stage.put(make_plan(hall))
            stage.recount()
        event = stage.read(lambda reader: EVENT.get(reader, stage.partition))
        assert event is not None
        assert event.section_keys == (1, 2)


async def test_seats_that_are_held_or_sold_do_not_go_away(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        held, sold, row_gone = stage.seats("Floor/A/6", "Floor/B/5", "Balcony/A/1")
        await stage.reserve(1, held)
        await stage.buy(2, sold)
        hold = await stage.reserve(3, row_gone)
        before = stage.everything()
        refusal = await refused(
            ErrorCode.SEATS_TAKEN, stage.put(make_plan({"Floor": {"A": 5, "B": 5, "C": 9}, "New": {"A": 1}}))
        )
        assert refusal.details == {
            "seat_ids": public_ids(EVENT_ID, [held, row_gone]),
            "seats": ["Floor/A/6", "Balcony/A/1"],
            "count": 2,
            "reason": "Held or sold",
        }
        refusal = await refused(ErrorCode.SEATS_TAKEN, stage.put(make_plan({"Floor": {"A": 6}})))
        assert refusal.details["seats"] == ["Floor/B/5", "Balcony/A/1"]
        assert stage.everything() == before
        assert sum(isinstance(event, EventPut) for event in stage.changes) == 1, "a refused put tells nobody"
        await stage.release(3, hold.reservation_id)
        await stage.put(make_plan({"Floor": {"A": 6, "B": 5}}))
        stage.recount()


@pytest.mark.parametrize("sold", [MAX_SEATS_TOLD, MAX_SEATS_TOLD + 1])
async def test_a_refusal_names_some_of_the_seats_and_counts_all(tmp_path: Path, sold: int) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan({"Floor": {"A": sold, "B": 1}}, purchase_limit=1000))
        seats = stage.seats(*(f"Floor/A/{number}" for number in range(1, sold + 1)))
        await stage.reserve(1, *seats)
        refusal = await refused(ErrorCode.SEATS_TAKEN, stage.put(make_plan({"Floor": {"B": 1}})))
        assert refusal.details["count"] == sold
        assert refusal.details["seat_ids"] == public_ids(EVENT_ID, seats[:MAX_SEATS_TOLD])


async def test_the_currency_stays_while_anything_is_held_or_sold(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        await stage.put(make_plan(currency="EUR"))
        held = await stage.reserve(1, stage.seat("Floor/A/1"))
        refusal = await refused(ErrorCode.SEATS_TAKEN, stage.put(make_plan()))
        assert refusal.details["held"] == 1
        await stage.release(1, held.reservation_id)
        await stage.put(make_plan())
        await stage.buy(1, stage.seat("Floor/A/1"), order=2)
        refusal = await refused(ErrorCode.SEATS_TAKEN, stage.put(make_plan(currency="EUR")))
        assert refusal.details["sold"] == 1
        await stage.give_back(1, 2, stage.seat("Floor/A/1"))
        await stage.put(make_plan(currency="EUR"))


async def test_a_plan_too_large_for_its_records_is_refused(tmp_path: Path) -> None:
    long = "ä" * 20_000
    with inventory(tmp_path) as stage:
        for changes, problem in (
            ({"description": "x" * 66_000}, "the texts of the event take more than 64 KiB together"),
            (
                {"presale_codes": (PresaleCode(long, 1), PresaleCode(long + "a", 2))},
                "the tiers and presale codes take more than 64 KiB together",
            ),
            ({"tiers": make_plan().tiers * 86}, "an event has at most 255 tiers"),
        ):
            refusal = await refused(ErrorCode.INVALID_REQUEST, stage.put(make_plan(**changes)))
            assert refusal.details == {"problem": problem}
        floor = make_plan().sections[0]
        guids = tuple(SeatPlan(str(number), 0, guid="g" * 200) for number in range(400))
        for row in (replace(floor.rows[0], seats=guids), row_plan("A", 2700, 0)):
            section = replace(floor, rows=(row,))
            refusal = await refused(ErrorCode.INVALID_REQUEST, stage.put(make_plan(sections=(section,))))
            assert "section Floor, row A" in str(refusal.details["problem"])
        many_rows = replace(floor, rows=tuple(row_plan(str(at), 1, 0) for at in range(30_000)))
        refusal = await refused(ErrorCode.INVALID_REQUEST, stage.put(make_plan(sections=(many_rows,))))
        assert "section Floor has too many rows" in str(refusal.details["problem"])
        assert stage.everything() == {}
        assert known_events(stage) == []


async def test_a_row_that_has_had_too_many_seats_is_refused_and_a_new_row_is_not(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        width = 1000
        first = 0
        while first <= 39_000:
            seats = [(str(first + number), 0) for number in range(width)]
            await stage.put(make_plan({"Floor": {"A": seats}}))
            first += width
        seats = [(str(first + number), 0) for number in range(2 * width)]
        await refused(ErrorCode.INVALID_REQUEST, stage.put(make_plan({"Floor": {"A": seats}})))
        await stage.put(make_plan({"Floor": {"B": seats}}))
        stage.recount()


# --- cancelling -----------------------------------------------------------------------------------------------------


async def test_a_cancelled_event_stays_cancelled(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await refused(
            ErrorCode.EVENT_NOT_FOUND, stage.run(lambda tx: cancel_event(tx, CancelEvent(EVENT_ID)))
        )
        await stage.put(make_plan())
        for changes in (True, False):
            assert await stage.run(lambda tx: cancel_event(tx, CancelEvent(EVENT_ID)).changed) is changes
            assert stage.changes == [EventPut(event_id=EVENT_ID)] * 2
        assert (await stage.put(make_plan())).outcome is PutOutcome.UNCHANGED
        await stage.put(make_plan(name="Another Night"))
        assert stage.read(lambda reader: load_sale(reader, EVENT_ID)).cancelled


# --- deleting -------------------------------------------------------------------------------------------------------


async def test_a_deleted_event_leaves_nothing(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        held = await stage.reserve(1, stage.seat("Floor/A/1"))
        await stage.release(1, held.reservation_id)
        await stage.block(stage.seat("Floor/A/2"))
        await delete(stage)
        assert stage.everything() == {}
        assert known_events(stage) == []
        assert stage.changes[-1] == EventDeleted(event_id=EVENT_ID)
        with stage.engine.snapshot(stage.partition) as snapshot:
            version = snapshot.version(stage.partition)
        assert version == len(stage.changes)
        assert await stage.put(make_plan()) == result(PutOutcome.CREATED, 16, added=16)
        with stage.engine.snapshot(stage.partition) as snapshot:
            assert snapshot.version(stage.partition) == version + 1, "versions go on where they were"


async def test_an_event_with_orders_or_holds_is_not_deleted(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await refused(ErrorCode.EVENT_NOT_FOUND, delete(stage))
        await stage.put(make_plan())
        held = await stage.reserve(1, *stage.seats("Floor/A/1", "Floor/A/2"))
        before = stage.everything()
        assert (await refused(ErrorCode.SEATS_TAKEN, delete(stage))).details == {"held": 2}
        assert stage.everything() == before
        await stage.run(
            lambda tx: ORDERS.put(tx, an_order(held.reservation_id), stage.partition, order_id(1))
        )
        assert (await refused(ErrorCode.ORDER_EXISTS, delete(stage))).details == {
            "order_id": str(order_id(1))
        }
        await stage.release(1, held.reservation_id)
        await refused(ErrorCode.ORDER_EXISTS, delete(stage))
        assert stage.reservation(held.reservation_id).state is ReservationState.RELEASED


SETTLED = {PaymentState.VOIDED, PaymentState.FAILED, PaymentState.REFUNDED}


@pytest.mark.parametrize("payment_state", PaymentState)
@pytest.mark.parametrize("state", OrderState)
async def test_an_event_goes_with_the_payments_that_came_to_nothing(
    tmp_path: Path, state: OrderState, payment_state: PaymentState
) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        held = await stage.reserve(1, stage.seat("Floor/A/1"))
        order = replace(an_order(held.reservation_id), state=state, payment_state=payment_state)
        await stage.run(lambda tx: ORDERS.put(tx, order, stage.partition, order.order_id))
        if state is OrderState.FAILED and payment_state in SETTLED:
            assert (await refused(ErrorCode.SEATS_TAKEN, delete(stage))).details == {"held": 1}
            await stage.release(1, held.reservation_id)
            await delete(stage)
            assert stage.everything() == {}
        else:
            await stage.release(1, held.reservation_id)
            await refused(ErrorCode.ORDER_EXISTS, delete(stage))


async def test_an_event_with_an_order_that_failed_after_it_was_shown_is_not_deleted(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        never_seen = replace(
            an_order(ReservationId(UUID(int=1))), state=OrderState.FAILED, payment_state=PaymentState.FAILED
        )
        seen = replace(never_seen, order_id=order_id(2))

        def write(tx: Transaction) -> None:
            for order in (never_seen, seen):
                ORDERS.put(tx, order, stage.partition, order.order_id)
            EVENT_OF_ORDER.put(tx, EVENT_ID, SYSTEM, seen.order_id)

        await stage.engine.submit(Command("write", (stage.partition, SYSTEM), write))
        refusal = await refused(ErrorCode.ORDER_EXISTS, delete(stage))
        assert refusal.details == {"order_id": str(seen.order_id)}


async def test_an_event_whose_ledger_tells_of_money_is_not_deleted(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        failed = replace(
            an_order(ReservationId(UUID(int=1))), state=OrderState.FAILED, payment_state=PaymentState.VOIDED
        )
        for movements, deleted in ((2, False), (0, True)):
            order = replace(failed, movements=movements)
            await stage.run(partial(put_order, stage=stage, order=order))
            await (delete(stage) if deleted else refused(ErrorCode.ORDER_EXISTS, delete(stage)))


def put_order(tx: Transaction, stage: Stage, order: OrderRecord) -> None:
    ORDERS.put(tx, order, stage.partition, order.order_id)


def an_order(reservation_id: ReservationId) -> OrderRecord:
    return OrderRecord(
        order_id=order_id(1),
        user_id=user_id(1),
        reservation_id=reservation_id,
        entry_id=UNUSED_ENTRY,
        state=OrderState.CANCELLED,
        payment_state=PaymentState.REFUNDED,
        seats=(),
        subtotal_minor=0,
        fees_minor=0,
        taxes_minor=0,
        total_minor=0,
        currency="USD",
        delivery_method="MOBILE",
        billing_address=AddressRecord(street="", city="", postal_code="", country=""),
        payment_method_id=UNUSED_METHOD,
        method_ref="",
        return_url="",
        created_at_ms=0,
    )


async def test_an_unknown_event_has_no_plan(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage, pytest.raises(Refusal) as caught:
        plan_now(stage)
    assert caught.value.code is ErrorCode.EVENT_NOT_FOUND
