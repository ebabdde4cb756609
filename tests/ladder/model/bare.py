"""The rules of one sale, written down from what is promised: whole numbers, lists and dictionaries, no code of the
product.

Users are numbers from 0, seats numbers from 0, holds and orders numbers from 1 in the order in which they are made,
times milliseconds. A transition answers 0 if it was done, else the number of the refusal. What the room and the holds
do by themselves at a time is done by ``settle``.
"""

from __future__ import annotations

from collections import deque
from typing import Final

USERS: Final = 8
SEATS: Final = 16
CAPACITY: Final = 4
HOLD_MS: Final = 90_000
CLAIM_MS: Final = 60_000
ACCESS_MS: Final = 240_000
FREEZE_MS: Final = 15_000
WINDOW_MS: Final = 60_000

DONE: Final = 0
(
    ALREADY_IN_QUEUE,
    QUEUE_FULL,
    SALE_ENDED,
    QUEUE_ENTRY_EXPIRED,
    ACCESS_EXPIRED,
    SEATS_UNAVAILABLE,
    SEATS_TAKEN,
    PURCHASE_LIMIT_EXCEEDED,
    RESERVATION_NOT_FOUND,
    RESERVATION_EXPIRED,
    ORDER_EXISTS,
    ORDER_NOT_FOUND,
    ORDER_ALREADY_CANCELLED,
) = range(1, 14)
REFUSALS: Final = (
    "", "ALREADY_IN_QUEUE", "QUEUE_FULL", "SALE_ENDED", "QUEUE_ENTRY_EXPIRED", "ACCESS_EXPIRED", "SEATS_UNAVAILABLE",
    "SEATS_TAKEN", "PURCHASE_LIMIT_EXCEEDED", "RESERVATION_NOT_FOUND", "RESERVATION_EXPIRED", "ORDER_EXISTS",
    "ORDER_NOT_FOUND", "ORDER_ALREADY_CANCELLED",
)  # fmt: skip
"""The codes of the refusals, by their numbers."""

_NEVER: Final = 1 << 60

NOWHERE, QUEUED, READY, SHOPPING = range(4)
FREE, HELD, SOLD, BLOCKED = range(4)
LIVE, PAYING, ORDERED, RELEASED, EXPIRED = range(5)
STARTED, AUTHORISED, CONFIRMED, CANCELLED, FAILED, LATE = range(6)
_UNSEEN: Final = frozenset({STARTED, FAILED, LATE})


class Hold:
    """Seats that somebody holds, or held. ``expires`` is what the buyer was told, ``due`` when the seats fall free."""

    __slots__ = ("due", "entry", "expires", "order", "seats", "state", "user")

    def __init__(self, user: int, entry: int, seats: tuple[int, ...], expires: int) -> None:
        self.user, self.entry, self.seats = user, entry, seats
        self.expires = self.due = expires
        self.state, self.order = LIVE, 0


class Order:
    """A payment of a hold, and what became of it."""

    __slots__ = ("hold", "number", "state", "user")

    def __init__(self, number: int, user: int, hold: Hold) -> None:
        self.number, self.user, self.hold, self.state = number, user, hold, STARTED


class Bare:
    """One event that is on sale, its room and its seats.

    ``owner`` of a seat is the hold that has it, or had it when it was sold. ``next_due`` is no later than the first end
    of a window or a hold. ``followed`` is who came in last, of whom a walk wants to know more.
    """

    def __init__(self, limit: int = 3) -> None:
        self.now = 0
        self.limit = limit
        self.max_active, self.rate, self.paused = 3, 6, False
        self.states = [NOWHERE] * USERS
        self.due = [_NEVER] * USERS
        self.entry_of = [0] * USERS
        self.entries = 0
        self.line: list[int] = []
        self.active = self.admitted = 0
        self.lately: deque[int] = deque()
        self.seats = [FREE] * SEATS
        self.owner: list[Hold | None] = [None] * SEATS
        self.free, self.held_seats = SEATS, 0
        self.held = [0] * USERS
        self.bought = [0] * USERS
        self.live: dict[Hold, None] = {}
        self.last_hold: list[Hold | None] = [None] * USERS
        self.last_order: list[Order | None] = [None] * USERS
        self.followed = 0
        self.order_count = 0
        self.orders: dict[int, Order] = {}
        self.orders_of: list[dict[int, None]] = [{} for _ in range(USERS)]
        self.next_due = _NEVER

    # --- the room -----------------------------------------------------------------------------------------------

    def join(self, user: int) -> int:
        if self.free + self.held_seats == 0:
            return SALE_ENDED
        if self.states[user]:
            return ALREADY_IN_QUEUE
        straight = not self.line and self.may_admit()
        if not straight and len(self.line) >= CAPACITY:
            return QUEUE_FULL
        self.entries += 1
        self.entry_of[user] = self.entries
        if straight:
            self._admit(user)
        else:
            self.states[user] = QUEUED
            self.line.append(user)
        return DONE

    def leave(self, user: int) -> int:
        if not self.states[user]:
            return QUEUE_ENTRY_EXPIRED
        self._end(user)
        self._fill()
        return DONE

    def claim(self, user: int) -> int:
        state = self.states[user]
        if not state:
            return QUEUE_ENTRY_EXPIRED
        if state == READY:
            self.states[user] = SHOPPING
            self.followed = user
            self._due_at(user, self.now + ACCESS_MS)
        return DONE

    def set_room(self, max_active: int, rate: int, paused: bool) -> int:
        self.max_active, self.rate, self.paused = max_active, rate, paused
        self._fill()
        return DONE

    def may_admit(self) -> bool:
        """Whether one more may come in now."""
        lately = self.lately
        while lately and lately[0] <= self.now - WINDOW_MS:
            lately.popleft()
        return (
            not self.paused
            and self.active < self.max_active
            and len(lately) < self.rate
            and self.free + self.held_seats > 0
        )

    def _admit(self, user: int) -> None:
        self.states[user] = READY
        self.active += 1
        self.admitted += 1
        self.lately.append(self.now)
        self._due_at(user, self.now + CLAIM_MS)

    def _fill(self) -> None:
        while self.line and self.may_admit():
            self._admit(self.line.pop(0))

    def _end(self, user: int) -> None:
        if self.states[user] == QUEUED:
            self.line.remove(user)
        else:
            self.active -= 1
        self.states[user] = NOWHERE
        self.due[user] = _NEVER

    def _due_at(self, user: int, at: int) -> None:
        self.due[user] = at
        self.next_due = min(self.next_due, at)

    # --- seats --------------------------------------------------------------------------------------------------

    def reserve(self, user: int, wanted: tuple[int, ...]) -> int:
        if self.states[user] != SHOPPING:
            return ACCESS_EXPIRED
        seats = self.seats
        found = [seats[seat] for seat in wanted]
        if any(found):
            hold = self.owner[wanted[0]]
            if found[0] == HELD and hold is not None and hold.user == user and set(hold.seats) == set(wanted):
                self.last_hold[user] = hold
                return DONE
            return SEATS_UNAVAILABLE if SOLD in found or BLOCKED in found else SEATS_TAKEN
        if self.held[user] + self.bought[user] + len(wanted) > self.limit:
            return PURCHASE_LIMIT_EXCEEDED
        hold = Hold(user, self.entry_of[user], wanted, self.now + HOLD_MS)
        self.last_hold[user] = hold
        self._take(hold)
        return DONE

    def release(self, user: int) -> int:
        hold = self.last_hold[user]
        if hold is None or hold.state == RELEASED:
            return RESERVATION_NOT_FOUND
        if hold.state == EXPIRED:
            return RESERVATION_EXPIRED
        if hold.state != LIVE:
            return ORDER_EXISTS
        self._give_up(hold, RELEASED)
        return DONE

    def block(self, seat: int) -> int:
        state = self.seats[seat]
        if state == SOLD:
            return SEATS_UNAVAILABLE
        if state == HELD:
            return SEATS_TAKEN
        self.free -= state == FREE
        self.seats[seat] = BLOCKED
        return DONE

    def unblock(self, seat: int) -> int:
        if self.seats[seat] == BLOCKED:
            self.seats[seat] = FREE
            self.free += 1
        return DONE

    def _take(self, hold: Hold) -> None:
        for seat in hold.seats:
            self.seats[seat] = HELD
            self.owner[seat] = hold
        count = len(hold.seats)
        self.free -= count
        self.held_seats += count
        self.held[hold.user] += count
        self.live[hold] = None
        self.next_due = min(self.next_due, hold.due)

    def _give_up(self, hold: Hold, state: int) -> None:
        self._let_go(hold, state, FREE)
        self.free += len(hold.seats)

    def _let_go(self, hold: Hold, state: int, after: int) -> None:
        hold.state = state
        del self.live[hold]
        for seat in hold.seats:
            self.seats[seat] = after
            if after == FREE:
                self.owner[seat] = None
        self.held_seats -= len(hold.seats)
        self.held[hold.user] -= len(hold.seats)

    # --- orders -------------------------------------------------------------------------------------------------

    def pay(self, user: int) -> int:
        hold = self.last_hold[user]
        if hold is None or hold.state == RELEASED:
            return RESERVATION_NOT_FOUND
        if hold.state == EXPIRED:
            return RESERVATION_EXPIRED
        if hold.state != LIVE:
            return ORDER_EXISTS
        self.order_count += 1
        hold.state, hold.order = PAYING, self.order_count
        hold.due = max(hold.expires, self.now + FREEZE_MS)
        self.last_order[user] = self.orders[self.order_count] = Order(self.order_count, user, hold)
        return DONE

    def authorised(self, user: int) -> int:
        order = self.last_order[user]
        if order is None or order.state != STARTED:
            return DONE
        hold = order.hold
        if hold.state != PAYING or hold.order != order.number:
            if not self._may_take_again(order):
                order.state = LATE
                return DONE
            hold.state, hold.due = PAYING, self.now
            self._take(hold)
        self._let_go(hold, ORDERED, SOLD)
        self.bought[user] += len(hold.seats)
        order.state = AUTHORISED
        self.orders_of[user][order.number] = None
        if self.states[user] and self.entry_of[user] == hold.entry:
            self._end(user)
        self._fill()
        return DONE

    def _may_take_again(self, order: Order) -> bool:
        hold = order.hold
        return (
            hold.state == EXPIRED
            and hold.order == order.number
            and not any(self.seats[seat] for seat in hold.seats)
            and self.held[order.user] + self.bought[order.user] + len(hold.seats) <= self.limit
        )

    def refused(self, user: int) -> int:
        order = self.last_order[user]
        if order is None or order.state != STARTED:
            return DONE
        hold = order.hold
        order.state = FAILED
        if hold.state == PAYING and hold.order == order.number:
            hold.state, hold.order, hold.due = LIVE, 0, hold.expires
            self.next_due = min(self.next_due, hold.due)
        return DONE

    def captured(self, user: int) -> int:
        order = self.last_order[user]
        if order is not None and order.state == AUTHORISED:
            order.state = CONFIRMED
        return DONE

    def oldest_order(self, user: int) -> int:
        """The number of the first of the user's orders that still has its seats; else of the last of all; 0: none."""
        for number in self.orders_of[user]:
            return number
        last = self.last_order[user]
        return 0 if last is None else last.number

    def cancel(self, user: int, number: int) -> int:
        order = self.orders.get(number)
        if order is None or order.user != user or order.state in _UNSEEN:
            return ORDER_NOT_FOUND
        if order.state == CANCELLED:
            return ORDER_ALREADY_CANCELLED
        order.state = CANCELLED
        for seat in order.hold.seats:
            self.seats[seat] = FREE
            self.owner[seat] = None
        self.free += len(order.hold.seats)
        self.bought[user] -= len(order.hold.seats)
        del self.orders_of[user][number]
        return DONE

    # --- time ---------------------------------------------------------------------------------------------------

    def settle(self) -> bool:
        """Does what is due at this time; whether there was anything."""
        moved = False
        if self.next_due <= self.now:
            for hold in [hold for hold in self.live if hold.due <= self.now]:
                self._give_up(hold, EXPIRED)
                moved = True
            for user in range(USERS):
                if self.due[user] <= self.now:
                    self._end(user)
                    moved = True
            ends = [hold.due for hold in self.live]
            self.next_due = min([*self.due, *ends])
        if self.line and self.may_admit():
            self._fill()
            moved = True
        return moved

    def until_edge(self) -> int:
        """How long it is until the next time at which something ends, or counts towards the rate no more; 0: never."""
        ends = [hold.due for hold in self.live] + self.due
        if self.lately:
            ends.append(self.lately[0] + WINDOW_MS)
        edge = min(ends, default=_NEVER)
        return edge - self.now if self.now < edge < _NEVER else 0

    def check(self) -> None:
        """Sums that must be right whatever happened: AssertionError."""
        states = self.seats
        assert (self.free, self.held_seats) == (states.count(FREE), states.count(HELD))
        assert self.active == self.states.count(READY) + self.states.count(SHOPPING)
        assert sorted(self.line) == [user for user in range(USERS) if self.states[user] == QUEUED]
        assert sum(self.held) == self.held_seats
        assert sum(self.bought) == states.count(SOLD)
        assert max(map(int.__add__, self.held, self.bought)) <= self.limit
