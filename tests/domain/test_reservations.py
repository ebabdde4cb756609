from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest
from msgspec.structs import replace

from storage.schema.events import HoldMoved, SeatsMoved
from storage.schema.ids import EntryId, ReservationId, SeatNumber
from storage.schema.layout import RESERVATIONS, SALE
from storage.schema.records import CountRecord, PurchaseRecord, ReservationRecord
from storage.schema.states import IllegalMove, ReservationState, SeatState
from tests.domain.inventory_stage import (
    EVENT_ID,
    HOLD_MS,
    OPENS_MS,
    Stage,
    inventory,
    make_plan,
    order_id,
    user_id,
)
from tests.domain.refusals import refused
from ticketd.domain.event_cancellation import CancelEvent, cancel_event
from ticketd.domain.reservations import (
    ReserveSeats,
    find_reservation,
    next_expiry_ms,
    reserve_seats,
)
from ticketd.domain.rooms import LeaveRoom, leave_room
from ticketd.domain.seats import HELD_REASON, SOLD_REASON, public_ids
from ticketd.errors import ErrorCode

UNKNOWN_SEAT = SeatNumber(999 << 16)
UNKNOWN_HOLD = ReservationId(UUID(int=404))
UNKNOWN_ENTRY = EntryId(UUID(int=404))
PAY_MS = OPENS_MS + 60_000


async def find(stage: Stage, user: int, reservation_id: ReservationId) -> ReservationRecord:
    return stage.read(
        lambda reader: find_reservation(reader, EVENT_ID, user_id(user), reservation_id, stage.clock.at_ms)
    )


# --- reserving ------------------------------------------------------------------------------------------------------


async def test_a_hold_and_all_that_goes_with_it(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        seats = stage.seats("Floor/A/3", "Floor/A/1", "Floor/A/2")
        held = await stage.reserve(1, *seats)
        assert held.seats == seats, "in the order in which they were asked for"
        assert held.state is ReservationState.HELD
        assert held.prices == ((50_000, 7_500),) * 3
        assert (held.subtotal_minor, held.fees_minor, held.taxes_minor) == (150_000, 22_500, 13_500)
        assert (held.created_at_ms, held.expires_at_ms, held.due_at_ms) == (
            OPENS_MS,
            OPENS_MS + HOLD_MS,
            OPENS_MS + HOLD_MS,
        )
        assert stage.reservation(held.reservation_id) == held
        assert stage.purchases(1) == PurchaseRecord(held=3)
        assert stage.total() == CountRecord(free=13, held=3)
        assert stage.changes[-1] == SeatsMoved(
            event_id=EVENT_ID,
            seats=seats,
            state=SeatState.RESERVED,
            reservation_id=held.reservation_id,
            user_id=user_id(1),
            due_at_ms=OPENS_MS + HOLD_MS,
        )
        stage.recount()


async def test_seats_of_several_tiers_are_summed(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        held = await stage.reserve(1, *stage.seats("Floor/A/1", "Balcony/A/1"))
        assert held.prices == ((50_000, 7_500), (15_000, 1_000))
        assert (held.subtotal_minor, held.fees_minor, held.taxes_minor) == (65_000, 8_500, 5_850)


async def test_a_hold_keeps_its_prices_when_they_change(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        plan = make_plan()
        await stage.put(plan)
        held = await stage.reserve(1, stage.seat("Floor/A/1"))
        dearer = tuple(replace(tier, price_minor=99_999) for tier in plan.tiers)
        await stage.put(replace(plan, tiers=dearer))
        assert stage.reservation(held.reservation_id).prices == ((50_000, 7_500),)
        assert (await stage.reserve(1, stage.seat("Floor/A/2"))).prices == ((99_999, 7_500),)


async def test_the_very_seats_again_are_the_same_hold(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        a1, a2, a3 = stage.seats("Floor/A/1", "Floor/A/2", "Floor/A/3")
        held = await stage.reserve(1, a1, a2)
        await stage.entry(2)
        before = stage.everything()
        assert await stage.reserve(1, a2, a1) == held
        for seats in [(a1,), (a1, a2, a3), (a2, a3), (a3, a1)]:
            refusal = await refused(ErrorCode.SEATS_TAKEN, stage.reserve(1, *seats))
            taken = [seat for seat in seats if seat != a3]
            assert refusal.details == {"seat_ids": public_ids(EVENT_ID, taken), "reason": HELD_REASON}
        await refused(ErrorCode.SEATS_TAKEN, stage.reserve(2, a1, a2))
        assert stage.everything() == before
        paying = await stage.freeze(1, held.reservation_id, 1, PAY_MS)
        assert await stage.reserve(1, a1, a2) == paying
        stage.clock.at_ms = PAY_MS
        await refused(ErrorCode.SEATS_TAKEN, stage.reserve(1, a1, a2))


async def test_sold_seats_weigh_more_than_held_ones_and_each_is_named(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        free, held, sold, blocked = stage.seats("Floor/A/1", "Floor/A/2", "Floor/B/1", "Balcony/A/1")
        await stage.reserve(1, held)
        await stage.buy(2, sold)
        await stage.block(blocked)
        before = stage.everything()
        refusal = await refused(ErrorCode.SEATS_TAKEN, stage.reserve(1, free, held))
        assert refusal.details == {"seat_ids": public_ids(EVENT_ID, [held]), "reason": HELD_REASON}
        refusal = await refused(ErrorCode.SEATS_UNAVAILABLE, stage.reserve(2, held, free, blocked, sold))
        assert refusal.details == {"seat_ids": public_ids(EVENT_ID, [sold, blocked]), "reason": SOLD_REASON}
        assert stage.everything() == before


async def test_the_limit_counts_holds_and_orders_together(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan(purchase_limit=3))
        a1, a2, a3, a4 = stage.seats("Floor/A/1", "Floor/A/2", "Floor/A/3", "Floor/A/4")
        refusal = await refused(ErrorCode.PURCHASE_LIMIT_EXCEEDED, stage.reserve(1, a1, a2, a3, a4))
        assert refusal.details == {"limit": 3, "held": 0, "bought": 0}
        await stage.buy(1, a1)
        held = await stage.reserve(1, a2)
        refusal = await refused(ErrorCode.PURCHASE_LIMIT_EXCEEDED, stage.reserve(1, a3, a4))
        assert refusal.details == {"limit": 3, "held": 1, "bought": 1}
        await stage.reserve(2, a4)  # another buyer has a limit of their own
        await stage.reserve(1, a3)
        await refused(ErrorCode.PURCHASE_LIMIT_EXCEEDED, stage.reserve(1, stage.seat("Floor/A/5")))
        await stage.release(1, held.reservation_id)
        await stage.reserve(1, a2)
        await stage.give_back(1, 1, a1)
        assert stage.purchases(1) == PurchaseRecord(held=2)
        await stage.reserve(1, a1)
        stage.recount()


async def test_reserving_refuses_in_its_order(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        command = ReserveSeats(
            event_id=EVENT_ID,
            user_id=user_id(1),
            entry_id=UNKNOWN_ENTRY,
            reservation_id=UNKNOWN_HOLD,
            seats=(UNKNOWN_SEAT,),
        )
        await refused(ErrorCode.EVENT_NOT_FOUND, stage.run(lambda tx: reserve_seats(tx, command)))
        plan = make_plan(purchase_limit=1)
        await stage.put(plan)
        await refused(ErrorCode.SEAT_NOT_FOUND, stage.run(lambda tx: reserve_seats(tx, command)))
        a1, a2 = stage.seats("Floor/A/1", "Floor/A/2")
        await stage.entry(2)
        await stage.buy(1, a1)
        without_access = replace(command, seats=(a1, a2))
        await refused(ErrorCode.ACCESS_EXPIRED, stage.run(lambda tx: reserve_seats(tx, without_access)))
        await refused(ErrorCode.SEATS_UNAVAILABLE, stage.reserve(1, a1, a2))
        await refused(ErrorCode.PURCHASE_LIMIT_EXCEEDED, stage.reserve(1, a2))
        await stage.run(lambda tx: cancel_event(tx, CancelEvent(EVENT_ID)))
        assert (await refused(ErrorCode.SALE_ENDED, stage.reserve(1, a1))).details == {"reason": "CANCELLED"}
        await refused(ErrorCode.SEAT_NOT_FOUND, stage.reserve(1, UNKNOWN_SEAT))


async def test_a_sale_that_was_put_off_takes_no_holds_yet(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        plan = make_plan()
        await stage.put(plan)
        await stage.entry(1)
        await stage.put(replace(plan, general_sale_start_ms=OPENS_MS + 1000))
        seat = stage.seat("Floor/A/1")
        refusal = await refused(ErrorCode.SALE_NOT_OPEN, stage.reserve(1, seat))
        assert refusal.details == {"opens_at": "2027-01-15T08:00:01Z"}
        stage.clock.at_ms = OPENS_MS + 999
        await refused(ErrorCode.SALE_NOT_OPEN, stage.reserve(1, seat))
        stage.clock.at_ms = OPENS_MS + 1000
        await stage.reserve(1, seat)
        await stage.put(replace(plan, sale_end_ms=OPENS_MS + 2000))
        stage.clock.at_ms = OPENS_MS + 1999
        await stage.reserve(1, stage.seat("Floor/A/2"))
        stage.clock.at_ms = OPENS_MS + 2000
        refusal = await refused(ErrorCode.SALE_ENDED, stage.reserve(1, stage.seat("Floor/A/3")))
        assert refusal.details == {"reason": "ENDED"}


async def test_the_end_of_shopping_stops_new_holds_and_no_other(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        held = await stage.reserve(1, stage.seat("Floor/A/1"))
        await stage.run(lambda tx: leave_room(tx, LeaveRoom(EVENT_ID, held.entry_id)))
        await refused(ErrorCode.ACCESS_EXPIRED, stage.reserve(1, stage.seat("Floor/A/2")))
        assert await find(stage, 1, held.reservation_id) == held
        await stage.release(1, held.reservation_id)
        stage.recount()


# --- the life of a hold: every state, every step --------------------------------------------------------------------

Step = Callable[[Stage, ReservationRecord], Awaitable[object]]

STEPS: dict[str, Step] = {
    "find": lambda stage, hold: find(stage, 1, hold.reservation_id),
    "release": lambda stage, hold: stage.release(1, hold.reservation_id),
    "freeze": lambda stage, hold: stage.freeze(1, hold.reservation_id, 2, PAY_MS),
    "thaw": lambda stage, hold: stage.thaw(hold.reservation_id),
    "sell": lambda stage, hold: stage.sell(hold.reservation_id),
}
NOT_FOUND, ORDERED, OVER = (
    ErrorCode.RESERVATION_NOT_FOUND,
    ErrorCode.ORDER_EXISTS,
    ErrorCode.RESERVATION_EXPIRED,
)
S = ReservationState
OUTCOMES: dict[S, dict[str, S | ErrorCode | type[IllegalMove]]] = {
    S.HELD: {"find": S.HELD, "release": S.RELEASED, "freeze": S.PAYING, "thaw": S.HELD, "sell": IllegalMove},
    S.PAYING: {"find": S.PAYING, "release": ORDERED, "freeze": ORDERED, "thaw": S.HELD, "sell": S.ORDERED},
    S.ORDERED: {
        "find": ORDERED,
        "release": ORDERED,
        "freeze": ORDERED,
        "thaw": IllegalMove,
        "sell": IllegalMove,
    },
    S.RELEASED: {
        "find": NOT_FOUND,
        "release": NOT_FOUND,
        "freeze": NOT_FOUND,
        "thaw": S.RELEASED,
        "sell": IllegalMove,
    },
    S.EXPIRED: {"find": OVER, "release": OVER, "freeze": OVER, "thaw": S.EXPIRED, "sell": OVER},
}


async def hold_in(stage: Stage, state: ReservationState) -> ReservationRecord:
    """A hold of two seats in this state."""
    held = await stage.reserve(1, *stage.seats("Floor/A/1", "Balcony/A/2"))
    if state in {S.PAYING, S.ORDERED}:
        await stage.freeze(1, held.reservation_id, 1, PAY_MS)
    if state is S.ORDERED:
        await stage.sell(held.reservation_id)
    if state is S.RELEASED:
        await stage.release(1, held.reservation_id)
    if state is S.EXPIRED:
        stage.clock.at_ms = held.due_at_ms
        await stage.expire()
    hold = stage.reservation(held.reservation_id)
    assert hold.state is state
    return hold


@pytest.mark.parametrize("state", list(S))
@pytest.mark.parametrize("step", list(STEPS))
async def test_every_step_from_every_state(tmp_path: Path, state: S, step: str) -> None:
    wanted = OUTCOMES[state][step]
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        hold = await hold_in(stage, state)
        before = stage.everything()
        if isinstance(wanted, ErrorCode):
            refusal = await refused(wanted, STEPS[step](stage, hold))
            key, id_of = (
                ("order_id", order_id(1)) if wanted is ORDERED else ("reservation_id", hold.reservation_id)
            )
            assert refusal.details == {key: str(id_of)}
        elif isinstance(wanted, ReservationState):
            await STEPS[step](stage, hold)
            after = stage.reservation(hold.reservation_id)
            assert after.state is wanted
            seats = {
                S.HELD: SeatState.RESERVED,
                S.PAYING: SeatState.RESERVED,
                S.ORDERED: SeatState.SOLD,
                S.RELEASED: SeatState.AVAILABLE,
                S.EXPIRED: SeatState.AVAILABLE,
            }[wanted]
            assert stage.state("Floor/A/1") is stage.state("Balcony/A/2") is seats
        else:
            with pytest.raises(wanted):
                await STEPS[step](stage, hold)
        if wanted is state or not isinstance(wanted, ReservationState):
            assert stage.everything() == before
        stage.recount()


@pytest.mark.parametrize("step", list(STEPS))
async def test_no_step_knows_a_hold_that_is_not_there(tmp_path: Path, step: str) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        held = await stage.reserve(1, stage.seat("Floor/A/1"))
        nobodys = replace(held, reservation_id=UNKNOWN_HOLD)
        await refused(NOT_FOUND, STEPS[step](stage, nobodys))


async def test_the_hold_of_another_buyer_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        held = await stage.reserve(1, stage.seat("Floor/A/1"))
        for attempt in (
            find(stage, 2, held.reservation_id),
            stage.release(2, held.reservation_id),
            stage.freeze(2, held.reservation_id, 1, PAY_MS),
        ):
            refusal = await refused(NOT_FOUND, attempt)
            assert refusal.details == {"reservation_id": str(held.reservation_id)}


async def test_a_hold_is_over_at_its_end_though_it_is_not_swept(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        seat = stage.seat("Floor/A/1")
        held = await stage.reserve(1, seat)
        stage.clock.at_ms = held.expires_at_ms - 1
        assert await find(stage, 1, held.reservation_id) == held
        stage.clock.at_ms = held.expires_at_ms
        for step in ("find", "release", "freeze"):
            await refused(OVER, STEPS[step](stage, held))
        for user in (1, 2):
            await refused(ErrorCode.SEATS_TAKEN, stage.reserve(user, seat))
        await stage.expire()
        await stage.reserve(2, seat)


async def test_releasing_tells_and_frees(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        seats = stage.seats("Floor/A/1", "Floor/B/2")
        held = await stage.reserve(1, *seats)
        await stage.release(1, held.reservation_id)
        assert stage.changes[-1] == SeatsMoved(
            event_id=EVENT_ID,
            seats=seats,
            state=SeatState.AVAILABLE,
            reservation_id=held.reservation_id,
            user_id=user_id(1),
        )
        assert stage.purchases(1) is None
        assert (await stage.reserve(2, *seats)).seats == seats


async def test_a_hold_that_has_lost_its_seats_to_another_frees_nothing(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        held = await stage.reserve(1, stage.seat("Floor/A/1"))
        await stage.reserve(2, stage.seat("Floor/A/2"))
        others = replace(held, seats=stage.seats("Floor/A/2"))
        await stage.run(lambda tx: RESERVATIONS.put(tx, others, stage.partition, held.reservation_id))
        with pytest.raises(IllegalMove):
            await stage.release(1, held.reservation_id)
        assert stage.state("Floor/A/2") is SeatState.RESERVED


async def test_freezing_and_thawing_move_the_end_and_nothing_else(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        held = await stage.reserve(1, stage.seat("Floor/A/1"))
        late = held.expires_at_ms + 60_000
        paying = await stage.freeze(1, held.reservation_id, 7, late)
        assert paying == replace(held, state=S.PAYING, order_id=order_id(7), due_at_ms=late)
        moved = HoldMoved(
            event_id=EVENT_ID, reservation_id=held.reservation_id, user_id=user_id(1), due_at_ms=late
        )
        assert stage.changes[-1] == moved
        stage.recount()
        stage.clock.at_ms = late - 1
        assert await stage.expire() == late
        assert await find(stage, 1, held.reservation_id) == paying
        await stage.thaw(held.reservation_id)
        assert stage.reservation(held.reservation_id) == held
        assert stage.changes[-1] == replace(moved, due_at_ms=held.expires_at_ms)
        assert stage.read(lambda reader: next_expiry_ms(reader, EVENT_ID)) == held.expires_at_ms
        assert await stage.expire() is None
        assert stage.state("Floor/A/1") is SeatState.AVAILABLE
        stage.recount()


async def test_a_payment_that_does_not_end_does_not_keep_the_seats(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        held = await stage.reserve(1, stage.seat("Floor/A/1"))
        await stage.freeze(1, held.reservation_id, 1, PAY_MS)
        stage.clock.at_ms = PAY_MS
        await stage.expire()
        await stage.thaw(held.reservation_id)  # the answer that comes too late
        await refused(OVER, stage.sell(held.reservation_id))
        assert stage.total() == CountRecord(free=16)
        stage.recount()


async def test_a_sale_that_is_late_but_not_swept_still_counts(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        seats = stage.seats("Floor/A/1", "Floor/A/2")
        held = await stage.reserve(1, *seats)
        await stage.freeze(1, held.reservation_id, 3, PAY_MS)
        stage.clock.at_ms = PAY_MS + 5
        sold = await stage.sell(held.reservation_id)
        assert sold.state is S.ORDERED
        assert stage.changes[-1] == SeatsMoved(
            event_id=EVENT_ID,
            seats=seats,
            state=SeatState.SOLD,
            reservation_id=held.reservation_id,
            order_id=order_id(3),
            user_id=user_id(1),
        )
        assert stage.purchases(1) == PurchaseRecord(bought=2)
        assert await stage.expire() is None
        stage.recount()


async def test_returned_seats_are_on_sale_again(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        seats = stage.seats("Floor/A/1", "Floor/B/2")
        await stage.buy(1, *seats, order=5)
        with pytest.raises(IllegalMove):
            await stage.give_back(1, 6, *seats)
        await stage.give_back(1, 5, *seats)
        assert stage.changes[-1] == SeatsMoved(
            event_id=EVENT_ID,
            seats=seats,
            state=SeatState.AVAILABLE,
            order_id=order_id(5),
            user_id=user_id(1),
        )
        assert stage.purchases(1) is None
        with pytest.raises(IllegalMove):
            await stage.give_back(1, 5, *seats)
        assert (await stage.reserve(2, *seats)).seats == seats


# --- expiry ---------------------------------------------------------------------------------------------------------


async def test_holds_end_in_bounded_batches_in_the_order_of_their_time(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        await stage.put(make_plan())
        held = []
        for user, name in enumerate(("Floor/A/1", "Floor/A/2", "Floor/A/3", "Floor/A/4")):
            stage.clock.at_ms = OPENS_MS + user
            held.append(await stage.reserve(user, stage.seat(name)))
        due = [hold.due_at_ms for hold in held]
        stage.clock.at_ms = due[0] - 1
        assert await stage.expire() == due[0]
        stage.clock.at_ms = due[2]
        assert await stage.expire(limit=2) == due[2], "one more is due, but not in this batch"
        assert [stage.reservation(hold.reservation_id).state for hold in held] == [
            S.EXPIRED,
            S.EXPIRED,
            S.HELD,
            S.HELD,
        ]
        assert stage.changes[-1] == SeatsMoved(
            event_id=EVENT_ID,
            seats=held[1].seats,
            state=SeatState.AVAILABLE,
            reservation_id=held[1].reservation_id,
            user_id=user_id(1),
            expired=True,
        )
        stage.recount()
        assert await stage.expire(limit=2) == due[3]
        stage.clock.at_ms = due[3]
        assert await stage.expire() is None
        assert stage.total() == CountRecord(free=16)
        stage.recount()


async def test_an_unknown_event_has_nothing_to_expire(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        assert await stage.expire() is None
        assert stage.read(lambda reader: SALE.get(reader, stage.partition)) is None
