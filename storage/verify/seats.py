"""Invariants of the inventory: one owner a seat, counts that equal a recount, limits that hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from storage.schema.ids import OrderId, ReservationId, UserId, seat_number
from storage.schema.layout import COUNTS, DUE_RESERVATIONS, PURCHASES, TOTAL
from storage.schema.movements import BOX_OFFICE
from storage.schema.records import CountRecord, PurchaseRecord, ReservationRecord, RowPlanRecord, RowRecord
from storage.schema.states import OrderState, PaymentState, ReservationState, SeatState
from storage.verify.contents import KNOWN_SEAT_STATES, EventContents, unique_id, whole
from storage.verify.problem import Problem

_OWNED = frozenset({SeatState.RESERVED, SeatState.SOLD})


def check_rows(event: EventContents) -> Iterator[Problem]:
    """Every row's states fit its plan, every byte is a state, and exactly held and sold seats have an owner."""
    for row_key, row in event.rows.items():
        plan = event.plans.get(row_key)
        where = f"row {row_key}"
        if plan is None:
            yield event.problem("row-has-plan", where, "there is no plan of it")
            continue
        # Seats that were added since have no state yet; a state without a seat cannot be.
        if max(len(row.states), 1 + max(row.owners, default=-1)) > plan.slots:
            text = f"{len(row.states)} states, and owners {sorted(row.owners)}, for {plan.slots} slots"
            yield event.problem("row-fits-plan", where, text)
            continue
        planned = {seat.position for seat in plan.seats}
        for position in sorted(row.owners.keys() | range(len(row.states))):
            state = row.states[position] if position < len(row.states) else SeatState.AVAILABLE
            seat = f"{where}, position {position}"
            if state not in KNOWN_SEAT_STATES:
                yield event.problem("seat-state-known", seat, f"{state} is no state of a seat")
            elif (state in _OWNED) != (position in row.owners):
                text = f"it is {SeatState(state).name}, with owner {row.owners.get(position)}"
                yield event.problem("seat-owner-by-state", seat, text)
            elif position not in planned and state != SeatState.AVAILABLE:
                yield event.problem("seat-in-plan", seat, f"it is {SeatState(state).name}, and in no plan")


def check_seat_owners(event: EventContents) -> Iterator[Problem]:
    """A held seat's owner is a live hold that lists it, a sold seat's a paid order that lists it."""
    for row_key, row in event.rows.items():
        for position, owner in row.owners.items():
            number = seat_number(row_key, position)
            where = f"row {row_key}, position {position}"
            state = row.states[position] if position < len(row.states) else SeatState.AVAILABLE
            if state == SeatState.RESERVED:
                hold = event.live_holds.get(ReservationId(owner))
                if hold is None or number not in hold.seats:
                    text = f"it is held by {owner}, which is no live hold of it"
                    yield event.problem("held-seat-has-hold", where, text)
            elif state == SeatState.SOLD:
                order = event.owning_orders.get(OrderId(owner))
                if order is None or number not in order.kept_seats:
                    text = f"it is sold to {owner}, which is no paid order of it"
                    yield event.problem("sold-seat-has-order", where, text)


def check_holds_have_seats(event: EventContents) -> Iterator[Problem]:
    """Every seat of a live hold is held by it."""
    for hold in event.live_holds.values():
        for seat in hold.seats:
            if event.seat_state(seat) != (SeatState.RESERVED, hold.reservation_id):
                where = f"reservation {hold.reservation_id}"
                yield event.problem("hold-has-seats", where, f"seat {seat} is not held by it")


def check_orders_have_seats(event: EventContents) -> Iterator[Problem]:
    """Every seat of an order that is paid, or whose money is set aside, is sold to it."""
    for order in event.owning_orders.values():
        for seat in order.kept_seats:
            if event.seat_state(seat) != (SeatState.SOLD, order.order_id):
                where = f"order {order.order_id}"
                yield event.problem("order-has-seats", where, f"seat {seat} is not sold to it")


def check_counts(event: EventContents) -> Iterator[Problem]:
    """The kept counts of seats, by section and tier and in total, equal a recount."""
    recount: Counter[tuple[int, int, int]] = Counter()
    for row_key, plan in event.plans.items():
        for (tier, state), seats in _seats_of(plan, event.rows.get(row_key)).items():
            recount[plan.section_key, tier, state] += seats
    kept = {
        (whole(section), whole(tier)): count
        for (section, tier), count in COUNTS.scan(event.reader, event.partition)
    }
    counted = {(section, tier) for section, tier, _ in recount}
    for section, tier in sorted(counted | kept.keys()):
        expected = _count([recount[section, tier, state] for state in SeatState])
        found = kept.get((section, tier), CountRecord())
        if found != expected:
            where = f"section {section}, tier {tier}"
            yield event.problem("counts-equal-recount", where, _unequal(found, expected))
    total = TOTAL.get(event.reader, event.partition) or CountRecord()
    in_state: Counter[int] = Counter()
    for (_, _, state), seats in recount.items():
        in_state[state] += seats
    expected = _count([in_state[state] for state in SeatState])
    if total != expected:
        yield event.problem("total-equals-recount", "total", _unequal(total, expected))


def check_holds(event: EventContents) -> Iterator[Problem]:
    """A hold's money is the sum over its seats; a hold that is being paid, or was, and its order name each other."""
    for hold in event.holds():
        where = f"reservation {hold.reservation_id}"
        seats = (sum(price for price, _ in hold.prices), sum(fees for _, fees in hold.prices))
        if len(hold.prices) != len(hold.seats) or seats != (hold.subtotal_minor, hold.fees_minor):
            text = "its prices are not one for each seat, or do not add up"
            yield event.problem("hold-adds-up", where, text)
        if not _agrees_with_order(event, hold):
            text = f"it is {hold.state.value}, and order {hold.order_id} does not say so"
            yield event.problem("hold-agrees-with-order", where, text)


def check_due_holds(event: EventContents) -> Iterator[Problem]:
    """Exactly the live holds stand in the index of what falls due, at their time."""
    wanted = ((hold.due_at_ms, hold.reservation_id) for hold in event.live_holds.values())
    found = DUE_RESERVATIONS.scan(event.reader, event.partition)
    return event.compare("due-holds", DUE_RESERVATIONS.name, wanted, found)


def check_purchases(event: EventContents) -> Iterator[Problem]:
    """What each buyer holds and has bought equals a recount."""
    held, bought = _purchases(event)
    kept = {
        UserId(unique_id(user_id)): has for (user_id,), has in PURCHASES.scan(event.reader, event.partition)
    }
    for user_id in sorted(held.keys() | bought.keys() | kept.keys()):
        found = kept.get(user_id, PurchaseRecord())
        if (found.held, found.bought) != (held[user_id], bought[user_id]):
            text = (
                f"{found.held} held and {found.bought} bought are kept, "
                f"{held[user_id]} and {bought[user_id]} are counted"
            )
            yield event.problem("purchases-equal-recount", f"buyer {user_id}", text)


def check_purchase_limit(event: EventContents) -> Iterator[Problem]:
    """Nobody who made a hold under the limit of now has more seats than it allows, held and bought together.

    What was held before an operator lowered the limit may stay, and what a till sold is not under it.
    """
    if event.sale is None:
        return
    held, bought = _purchases(event)
    for order in event.owning_orders.values():
        if order.gateway == BOX_OFFICE:
            bought[order.user_id] -= len(order.kept_seats)
    for user_id in sorted(event.history.buyers):
        seats = held[user_id] + bought[user_id]
        if seats > event.sale.purchase_limit:
            text = f"{seats} seats, where {event.sale.purchase_limit} are allowed"
            yield event.problem("purchase-limit", f"buyer {user_id}", text)


def _purchases(event: EventContents) -> tuple[Counter[UserId], Counter[UserId]]:
    """How many seats each buyer holds, and has bought."""
    held: Counter[UserId] = Counter()
    bought: Counter[UserId] = Counter()
    for hold in event.live_holds.values():
        held[hold.user_id] += len(hold.seats)
    for order in event.owning_orders.values():
        bought[order.user_id] += len(order.kept_seats)
    return held, bought


def _agrees_with_order(event: EventContents, hold: ReservationRecord) -> bool:
    order = None if hold.order_id is None else event.orders.get(hold.order_id)
    names_it = order is not None and order.reservation_id == hold.reservation_id and order.seats == hold.seats
    match hold.state:
        case ReservationState.HELD:
            return hold.order_id is None
        case ReservationState.PAYING:
            awaiting = {
                (OrderState.INTENT, PaymentState.STARTED),
                (OrderState.PENDING, PaymentState.REQUIRES_ACTION),
            }
            return names_it and order is not None and (order.state, order.payment_state) in awaiting
        case ReservationState.ORDERED:
            return names_it and order is not None and order.state is not OrderState.INTENT
        case _:
            return True


def _seats_of(plan: RowPlanRecord, row: RowRecord | None) -> Counter[tuple[int, int]]:
    """How many seats of a row are of a tier and in a state."""
    states = b"" if row is None else row.states
    if not states:
        return Counter((seat.tier, int(SeatState.AVAILABLE)) for seat in plan.seats)
    return Counter(
        (seat.tier, states[seat.position] if seat.position < len(states) else int(SeatState.AVAILABLE))
        for seat in plan.seats
    )


def _count(in_state: list[int]) -> CountRecord:
    free, held, sold, blocked = in_state
    return CountRecord(free=free, held=held, sold=sold, blocked=blocked)


def _unequal(kept: CountRecord, counted: CountRecord) -> str:
    return f"kept are {_told(kept)}; counted are {_told(counted)}"


def _told(count: CountRecord) -> str:
    return f"{count.free} free, {count.held} held, {count.sold} sold, {count.blocked} blocked"
