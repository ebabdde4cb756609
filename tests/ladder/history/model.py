"""One sale, played one change after the other: what the rules allow next, and what anybody is to be told in between.

It knows the contract and nothing of the product's code but the form of its change log. Whatever it is shown that the
rules do not allow is a Difference. Time plays no part: holds and windows do not end by themselves in a recorded sale.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from storage.schema.events import EntryMoved, HoldMoved, OrderMoved, SeatsMoved
from storage.schema.states import EntryState, OrderState, PaymentState, SeatState
from tests.ladder.sale.stage import Hall, public_id

LIVE: Final = frozenset({"QUEUED", "READY", "SHOPPING"})
_ENTRY_MOVES: Final = {
    "READY": {"QUEUED"},
    "SHOPPING": {"READY"},
    "LEFT": {"QUEUED", "READY", "SHOPPING"},
    "DONE": {"SHOPPING", "LEFT"},
}
_ORDER_MOVES: Final[dict[OrderState, set[OrderState | None]]] = {
    OrderState.INTENT: {None},
    OrderState.PENDING: {OrderState.INTENT},
    OrderState.FAILED: {OrderState.INTENT},
    OrderState.CONFIRMED: {OrderState.PENDING, OrderState.CONFIRMED},
    OrderState.CANCELLED: {OrderState.PENDING, OrderState.CONFIRMED, OrderState.CANCELLED},
}


class Difference(Exception):
    """Something happened, or was told, that the rules do not allow."""


@dataclass
class Entry:
    """A place in the room."""

    entry: str
    user: str
    state: str


@dataclass
class Hold:
    """A reservation: ``state`` is HELD, PAYING, ORDERED or RELEASED."""

    hold: str
    user: str
    seats: list[str]
    state: str = "HELD"
    order: str = ""


@dataclass
class Order:
    """An order."""

    order: str
    user: str
    hold: Hold
    state: OrderState
    payment: PaymentState


@dataclass
class Seat:
    """A seat: free, held for a reservation, or sold to an order."""

    state: str = "AVAILABLE"
    owner: str = ""


@dataclass
class Sale:
    """The sale as it is after the changes that it was shown."""

    hall: Hall
    seats: dict[str, Seat]
    line: dict[str, None] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    newest_entry: dict[str, Entry] = field(default_factory=dict)  # by user
    holds: dict[str, Hold] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    bought: dict[str, int] = field(default_factory=dict)  # by user
    _frozen: Hold | None = None  # whose time was moved just now: by the payment that is told next

    # --- what is so -------------------------------------------------------------------------------------------------

    @property
    def active(self) -> int:
        """How many shop, or may begin to."""
        return sum(entry.state in {"READY", "SHOPPING"} for entry in self.newest_entry.values())

    def position(self, entry: str) -> int:
        """The place of one who waits, 1 for the next; 0 for everybody else."""
        return next((place for place, one in enumerate(self.line, 1) if one == entry), 0)

    def held(self, user: str) -> int:
        """How many seats are held for the user."""
        return sum(len(one.seats) for one in self.holds.values() if one.user == user and is_live(one))

    def in_state(self, seats: list[str], state: str) -> list[str]:
        """Those of the seats that are so."""
        return [seat for seat in seats if self.seats[seat].state == state]

    def free(self) -> int:
        """How many seats are free."""
        return sum(seat.state == "AVAILABLE" for seat in self.seats.values())

    def states(self) -> dict[str, str]:
        """The state of every seat."""
        return {name: seat.state for name, seat in self.seats.items()}

    # --- what happens -----------------------------------------------------------------------------------------------

    def follow(self, event: object) -> None:
        """The next change. Raises Difference if it may not be."""
        frozen, self._frozen = self._frozen, None
        match event:
            case EntryMoved():
                self._move_entry(event)
            case SeatsMoved(state=SeatState.RESERVED):
                self._hold(event)
            case SeatsMoved(state=SeatState.SOLD):
                self._sell(event)
            case SeatsMoved(state=SeatState.AVAILABLE):
                self._free(event)
            case HoldMoved():
                self._frozen = self._hold_of(str(event.reservation_id))
            case OrderMoved():
                self._move_order(event, frozen)
            case _:
                pass  # tickets and mails: nothing here depends on them

    def _move_entry(self, event: EntryMoved) -> None:
        name, user, after = str(event.entry_id), str(event.user_id), event.after.value
        if event.before is None:
            self._join(name, user, after)
            return
        entry = self.entries.get(name)
        if entry is None or entry.state != event.before.value:
            raise Difference(f"entry {name} goes from {event.before.value}, but it is {entry}")
        if entry.state not in _ENTRY_MOVES.get(after, set()):
            raise Difference(f"entry {name} goes from {entry.state} to {after}")
        if event.after is EntryState.READY:
            if name != next(iter(self.line), None):
                raise Difference(f"{name} is let in before {next(iter(self.line), None)}")
            self._require_place(name)
        self.line.pop(name, None)
        entry.state = after

    def _join(self, name: str, user: str, state: str) -> None:
        known = self.newest_entry.get(user)
        if known is not None and known.state in LIVE:
            raise Difference(f"{user} takes a second place, beside {known}")
        straight_in = not self.line and self.active < self.hall.max_active
        if state != ("READY" if straight_in else "QUEUED"):
            raise Difference(
                f"{name} joins as {state}, with {self.active} inside and {len(self.line)} waiting"
            )
        self.entries[name] = self.newest_entry[user] = Entry(name, user, state)
        if state == "QUEUED":
            self.line[name] = None

    def _require_place(self, name: str) -> None:
        if self.active >= self.hall.max_active:
            raise Difference(f"{name} is let in, with {self.active} inside already")

    def _hold(self, event: SeatsMoved) -> None:
        name, user = str(event.reservation_id), str(event.user_id)
        seats = [public_id(seat) for seat in event.seats]
        if taken := [seat for seat in seats if self.seats[seat].state != "AVAILABLE"]:
            raise Difference(f"{name} of {user} gets {taken}, which are not free")
        entry = self.newest_entry.get(user)
        if entry is None or entry.state != "SHOPPING":
            raise Difference(f"{user} holds seats, but is {entry}")
        if self.held(user) + self.bought.get(user, 0) + len(seats) > self.hall.purchase_limit:
            raise Difference(f"{user} gets more seats than the limit allows")
        if name in self.holds:
            raise Difference(f"reservation {name} is made twice")
        self.holds[name] = Hold(name, user, seats)
        self._mark(seats, "RESERVED", name)

    def _sell(self, event: SeatsMoved) -> None:
        hold, order = self._hold_of(str(event.reservation_id)), str(event.order_id)
        if hold.state != "PAYING" or hold.order != order:
            raise Difference(f"order {order} gets the seats of {hold}")
        self._require_owner(hold.seats, hold.hold)
        hold.state = "ORDERED"
        self.bought[hold.user] = self.bought.get(hold.user, 0) + len(hold.seats)
        self._mark(hold.seats, "SOLD", order)

    def _free(self, event: SeatsMoved) -> None:
        seats = [public_id(seat) for seat in event.seats]
        if event.order_id is not None:
            order = self.orders[str(event.order_id)]
            self._require_owner(seats, order.order)
            self.bought[order.user] -= len(seats)
        else:
            hold = self._hold_of(str(event.reservation_id))
            if event.expired or hold.state != "HELD" or sorted(seats) != sorted(hold.seats):
                raise Difference(f"{hold} ends (expired: {event.expired})")
            self._require_owner(seats, hold.hold)
            hold.state = "RELEASED"
        self._mark(seats, "AVAILABLE", "")

    def _move_order(self, event: OrderMoved, frozen: Hold | None) -> None:
        name, user = str(event.order_id), str(event.user_id)
        before = self.orders.get(name)
        if (None if before is None else before.state) not in _ORDER_MOVES[event.state]:
            raise Difference(f"order {name} goes to {event.state}, but it is {before}")
        if before is None:
            if frozen is None or frozen.state != "HELD" or frozen.user != user:
                raise Difference(f"order {name} of {user} begins with {frozen}")
            frozen.state, frozen.order = "PAYING", name
            self.orders[name] = Order(name, user, frozen, event.state, event.payment_state)
            return
        if event.state is OrderState.FAILED and before.hold.state == "PAYING":
            before.hold.state, before.hold.order = "HELD", ""
        if event.state is OrderState.PENDING and before.hold.state != "ORDERED":
            raise Difference(f"order {name} is placed, and its seats are not sold")
        before.state, before.payment = event.state, event.payment_state

    def _hold_of(self, name: str) -> Hold:
        if name not in self.holds:
            raise Difference(f"there is no reservation {name}")
        return self.holds[name]

    def _require_owner(self, seats: list[str], owner: str) -> None:
        if others := [seat for seat in seats if self.seats[seat].owner != owner]:
            raise Difference(f"{others} are not {owner}'s")

    def _mark(self, seats: list[str], state: str, owner: str) -> None:
        for seat in seats:
            self.seats[seat] = Seat(state, owner)


def is_live(hold: Hold) -> bool:
    """Whether its seats are kept for it."""
    return hold.state in {"HELD", "PAYING"}
