"""Invariants of the inventory: one owner a seat, counts that equal a recount, limits that hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from storage.schema.ids import ReservationId, UserId, seat_number
from storage.schema.layout import COUNTS, DUE_RESERVATIONS, PURCHASES, TOTAL
from storage.schema.records import CountRecord, PurchaseRecord, RowPlanRecord, RowRecord
from storage.schema.states import SeatState
from storage.verify.contents import EventContents
from storage.verify.problem import Problem

_STATES = frozenset(int(state) for state in SeatState)
_OWNED = frozenset({SeatState.RESERVED, SeatState.SOLD})


def check_rows(event: EventContents) -> Iterator[Problem]:
    """Every row's state fits its plan, every byte is a state, and exactly held and sold seats have an owner."""
    for row_key, row in event.rows.items():
        plan = event.plans.get(row_key)
        where = f"row {row_key}"
        if plan is None:
            yield event.problem("row-has-plan", where, "there is no plan of it")
            continue
        if len(row.states) != plan.slots:
            yield event.problem("row-fits-plan", where, f"{len(row.states)} states for {plan.slots} slots")
        planned = {seat.position for seat in plan.seats}
        for position, state in enumerate(row.states):
            seat = f"{where}, position {position}"
            if state not in _STATES:
                yield event.problem("seat-state-known", seat, f"{state} is no state of a seat")
            elif (SeatState(state) in _OWNED) != (position in row.owners):
                yield event.problem("seat-owner-by-state", seat, f"{SeatState(state).name}, owner and state disagree")
            elif position not in planned and SeatState(state) is not SeatState.AVAILABLE:
                yield event.problem("seat-in-plan", seat, f"{SeatState(state).name}, and not in the plan")


def check_seat_owners(event: EventContents) -> Iterator[Problem]:
    """A held seat's owner is a live hold that lists it, a sold seat's an order that lists it."""
    for row_key, row in event.rows.items():
        for position, owner in row.owners.items():
            if position >= len(row.states):
                continue
            number = seat_number(row_key, position)  # type: ignore[arg-type]  # a row key by its table
            state = row.states[position]
            where = f"row {row_key}, position {position}"
            if state == SeatState.RESERVED:
                hold = event.live_holds.get(ReservationId(owner))
                if hold is None or number not in hold.seats:
                    yield event.problem("held-seat-has-hold", where, f"held by {owner}, which has no live hold of it")
            elif state == SeatState.SOLD:
                order = event.owning_orders.get(owner)  # type: ignore[call-overload]  # an order's id, if it is one
                if order is None or number not in order.seats:
                    yield event.problem("sold-seat-has-order", where, f"sold to {owner}, which has no order of it")


def check_holds_have_seats(event: EventContents) -> Iterator[Problem]:
    """Every seat of a live hold is held by it."""
    for hold in event.live_holds.values():
        for seat in hold.seats:
            if event.seat_state(seat) != (SeatState.RESERVED, hold.reservation_id):
                yield event.problem(
                    "hold-has-seats", f"reservation {hold.reservation_id}", f"seat {seat} is not held by it"
                )


def check_orders_have_seats(event: EventContents) -> Iterator[Problem]:
    """Every seat of an order that is paid, or whose money is set aside, is sold to it."""
    for order in event.owning_orders.values():
        for seat in order.seats:
            if event.seat_state(seat) != (SeatState.SOLD, order.order_id):
                yield event.problem("order-has-seats", f"order {order.order_id}", f"seat {seat} is not sold to it")


def check_counts(event: EventContents) -> Iterator[Problem]:
    """The kept counts of seats, by section and tier and in total, equal a recount."""
    recount: Counter[tuple[int, int, int]] = Counter()
    for row_key, plan in event.plans.items():
        for tier, state in _seats_of(plan, event.rows.get(row_key)):
            recount[plan.section_key, tier, state] += 1
    kept = {parts: record for parts, record in COUNTS.scan(event.reader, event.partition)}
    wanted = {(section, tier) for section, tier, _ in recount}
    for section, tier in sorted(wanted | set(kept)):  # type: ignore[type-var]  # whole numbers by the table
        found = kept.get((section, tier), CountRecord())
        expected = _count(lambda state, s=section, t=tier: recount[s, t, state])  # type: ignore[misc]  # as above
        if found != expected:
            where = f"section {section}, tier {tier}"
            yield event.problem("counts-equal-recount", where, f"kept {_told(found)}, counted {_told(expected)}")
    total = TOTAL.get(event.reader, event.partition) or CountRecord()
    expected = _count(lambda state: sum(n for (_, _, found), n in recount.items() if found == state))
    if total != expected:
        yield event.problem("total-equals-recount", "total", f"kept {_told(total)}, counted {_told(expected)}")


def check_due_holds(event: EventContents) -> Iterator[Problem]:
    """Exactly the live holds stand in the index of what falls due, at their time."""
    wanted = {(hold.due_at_ms, hold.reservation_id) for hold in event.live_holds.values()}
    found = set(DUE_RESERVATIONS.scan(event.reader, event.partition))
    for at_ms, reservation_id in wanted - found:
        yield event.problem("due-holds", f"reservation {reservation_id}", f"does not fall due at {at_ms}")
    for at_ms, reservation_id in found - wanted:
        yield event.problem("due-holds", f"reservation {reservation_id}", f"falls due at {at_ms}, and is no live hold")


def check_purchases(event: EventContents) -> Iterator[Problem]:
    """What each buyer holds and has bought equals a recount, and is within the purchase limit."""
    held: Counter[UUID] = Counter()
    bought: Counter[UUID] = Counter()
    for hold in event.live_holds.values():
        held[hold.user_id] += len(hold.seats)
    for order in event.owning_orders.values():
        bought[order.user_id] += len(order.seats)
    kept: dict[UUID, PurchaseRecord] = {}
    for (user_id,), record in PURCHASES.scan(event.reader, event.partition):
        kept[UserId(user_id)] = record  # type: ignore[arg-type]  # a user by the table
    limit = event.sale.purchase_limit if event.sale else None
    for user_id in held.keys() | bought.keys() | kept.keys():
        found = kept.get(user_id, PurchaseRecord())
        if (found.held, found.bought) != (held[user_id], bought[user_id]):
            text = f"kept {found.held} held, {found.bought} bought; counted {held[user_id]} and {bought[user_id]}"
            yield event.problem("purchases-equal-recount", f"buyer {user_id}", text)
        if limit is not None and held[user_id] + bought[user_id] > limit:
            text = f"has {held[user_id] + bought[user_id]} seats, {limit} are allowed"
            yield event.problem("purchase-limit", f"buyer {user_id}", text)


def _seats_of(plan: RowPlanRecord, row: RowRecord | None) -> Iterator[tuple[int, int]]:
    for seat in plan.seats:
        inside = row is not None and seat.position < len(row.states)
        yield seat.tier, row.states[seat.position] if row is not None and inside else SeatState.AVAILABLE


def _count(of_state: object) -> CountRecord:
    assert callable(of_state)
    return CountRecord(
        free=of_state(SeatState.AVAILABLE),
        held=of_state(SeatState.RESERVED),
        sold=of_state(SeatState.SOLD),
        blocked=of_state(SeatState.BLOCKED),
    )


def _told(count: CountRecord) -> str:
    return f"{count.free} free, {count.held} held, {count.sold} sold, {count.blocked} blocked"
