"""One event's seats through time: one owner a seat, all or nothing, no hold past its end nor ended early, the limit of
purchases. It is told every move that was committed; it shares no code with the domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from storage.schema.events import HoldMoved, SeatsMoved
from storage.schema.ids import EventId, OrderId, ReservationId, SeatNumber, UserId
from storage.schema.records import SaleRecord
from storage.schema.states import SeatState
from storage.verify.problem import Problem


class _Hold:
    """A live hold: what it has, and until when. ``told_ms`` is the end that its buyer was told of."""

    __slots__ = ("due_ms", "seats", "told_ms", "user_id")

    def __init__(self, user_id: UserId, seats: tuple[SeatNumber, ...], due_ms: int, *, revived: bool) -> None:
        self.user_id = user_id
        self.seats = seats
        self.due_ms = due_ms
        # Seats that were taken again for a late payment are promised to nobody.
        self.told_ms = 0 if revived else due_ms


class SeatsJudge:
    """All seats of an event, free until something else is told. ``sale`` is what is in force now, None: unknown."""

    def __init__(self, event_id: EventId) -> None:
        self.sale: SaleRecord | None = None
        self._where = f"event {event_id}"
        self._states: dict[SeatNumber, tuple[SeatState, UUID | None]] = {}
        self._holds: dict[ReservationId, _Hold] = {}
        self._ended: set[ReservationId] = set()
        self._sold: dict[OrderId, set[SeatNumber]] = {}
        self._buyers: dict[OrderId, UserId] = {}
        self._has: Counter[UserId] = Counter()
        self._at_tills: Counter[UserId] = Counter()
        self._new: list[ReservationId] = []
        """Holds that were made in the commit that is being told."""

    def owner(self, seat: SeatNumber) -> tuple[SeatState, UUID | None]:
        """The state of a seat, and the hold or order that has it."""
        return self._states.get(seat, (SeatState.AVAILABLE, None))

    def sold_to(self, order_id: OrderId) -> int:
        """How many seats an order has."""
        return len(self._sold.get(order_id, ()))

    def move(self, at_ms: int, event: SeatsMoved) -> Iterator[Problem]:
        """Seats went from one state to another."""
        if len(set(event.seats)) != len(event.seats) or not event.seats:
            yield self._problem("all-or-nothing", f"{event.seats} are moved")
        match event.state:
            case SeatState.RESERVED:
                yield from self._reserve(at_ms, event)
            case SeatState.SOLD:
                yield from self._end_hold(at_ms, event)
                yield from self._sell(event)
            case SeatState.AVAILABLE if event.reservation_id is not None:
                yield from self._end_hold(at_ms, event)
            case SeatState.AVAILABLE if event.order_id is not None:
                yield from self._return(event)
            case SeatState.AVAILABLE:
                yield from self._go(event, (SeatState.BLOCKED, None), (SeatState.AVAILABLE, None))
            case SeatState.BLOCKED:
                yield from self._go(event, (SeatState.AVAILABLE, None), (SeatState.BLOCKED, None))

    def move_hold(self, event: HoldMoved, credit_ms: int | None) -> Iterator[Problem]:
        """A hold ends at another time. ``credit_ms`` is what the same commit credits, if it credits time."""
        hold = self._holds.get(event.reservation_id)
        if hold is None:
            yield self._problem("hold-is-live", f"the end of {event.reservation_id} moves, which has none")
            return
        if credit_ms is not None and event.due_at_ms == hold.due_ms + credit_ms:
            hold.told_ms += credit_ms
        hold.due_ms = event.due_at_ms
        if event.due_at_ms < hold.told_ms:
            text = (
                f"{event.reservation_id} is to end {hold.told_ms - event.due_at_ms} ms before what was told"
            )
            yield self._problem("hold-not-ended-early", text)

    def commit(self) -> Iterator[Problem]:
        """All of one commit was told: what was made in it is weighed against the limit. Tills are not under it."""
        made, self._new = self._new, []
        for reservation_id in made:
            hold = self._holds.get(reservation_id)
            if hold is None or self.sale is None:
                continue
            seats = self._has[hold.user_id] - self._at_tills[hold.user_id]
            if seats > self.sale.purchase_limit:
                text = f"{hold.user_id} has {seats} seats, of {self.sale.purchase_limit}"
                yield self._problem("purchase-limit", text)

    def overdue(self, now_ms: int, slack_ms: int) -> Iterator[Problem]:
        """Holds that should have ended more than ``slack_ms`` ago."""
        for reservation_id, hold in self._holds.items():
            if hold.due_ms < now_ms - slack_ms:
                text = f"{reservation_id} is {now_ms - hold.due_ms} ms overdue"
                yield self._problem("hold-not-past-its-end", text)

    def _reserve(self, at_ms: int, event: SeatsMoved) -> Iterator[Problem]:
        reservation_id = event.reservation_id
        if reservation_id is None or event.user_id is None or event.due_at_ms is None:
            yield self._problem("hold-is-whole", f"{event} names no hold")
            return
        revived = reservation_id in self._ended
        if reservation_id in self._holds:
            yield self._problem("hold-is-new", f"{reservation_id} is made twice")
        if not revived and self.sale is not None:
            wanted = at_ms + self.sale.hold_seconds * 1000
            if event.due_at_ms != wanted:
                text = f"{reservation_id} is to end {event.due_at_ms - wanted} ms after its time"
                yield self._problem("hold-has-its-time", text)
        yield from self._go(event, (SeatState.AVAILABLE, None), (SeatState.RESERVED, reservation_id))
        self._holds[reservation_id] = _Hold(event.user_id, event.seats, event.due_at_ms, revived=revived)
        self._has[event.user_id] += len(event.seats)
        self._new.append(reservation_id)

    def _end_hold(self, at_ms: int, event: SeatsMoved) -> Iterator[Problem]:
        reservation_id = event.reservation_id
        hold = None if reservation_id is None else self._holds.pop(reservation_id, None)
        if hold is None or reservation_id is None:
            yield self._problem("hold-is-live", f"{reservation_id} ends, which is not live")
            return
        self._ended.add(reservation_id)
        if set(event.seats) != set(hold.seats):
            yield self._problem("all-or-nothing", f"{reservation_id} ends with {event.seats} of {hold.seats}")
        # Nothing is held of an event that will not take place.
        takes_place = self.sale is None or not self.sale.cancelled
        if event.expired and takes_place and at_ms < max(hold.due_ms, hold.told_ms):
            text = f"{reservation_id} ran out {max(hold.due_ms, hold.told_ms) - at_ms} ms before its end"
            yield self._problem("hold-not-ended-early", text)
        after = (event.state, event.order_id if event.state is SeatState.SOLD else None)
        yield from self._go(event, (SeatState.RESERVED, reservation_id), after)
        if event.state is SeatState.AVAILABLE:
            self._has[hold.user_id] -= len(hold.seats)
        elif reservation_id in self._new:  # made and sold in one commit
            self._at_tills[hold.user_id] += len(hold.seats)

    def _sell(self, event: SeatsMoved) -> Iterator[Problem]:
        if event.order_id is None or event.user_id is None:
            yield self._problem("sale-has-order", f"{event.seats} are sold to no order")
            return
        if event.order_id in self._sold:
            yield self._problem("sold-once", f"seats are sold to {event.order_id} twice")
        self._sold[event.order_id] = set(event.seats)
        self._buyers[event.order_id] = event.user_id

    def _return(self, event: SeatsMoved) -> Iterator[Problem]:
        order_id = event.order_id
        if order_id is None:
            return
        yield from self._go(event, (SeatState.SOLD, order_id), (SeatState.AVAILABLE, None))
        self._sold.get(order_id, set()).difference_update(event.seats)
        buyer = self._buyers.get(order_id)
        if buyer is not None:
            self._has[buyer] -= len(event.seats)

    def _go(
        self,
        event: SeatsMoved,
        before: tuple[SeatState, UUID | None],
        after: tuple[SeatState, UUID | None],
    ) -> Iterator[Problem]:
        for seat in event.seats:
            found = self.owner(seat)
            if found != before:
                text = f"seat {seat} is {_told(found)}, and goes from {_told(before)} to {_told(after)}"
                yield self._problem("one-owner-a-seat", text)
            self._states[seat] = after

    def _problem(self, invariant: str, text: str) -> Problem:
        return Problem(invariant=invariant, where=self._where, text=text)


def _told(owned: tuple[SeatState, UUID | None]) -> str:
    return owned[0].name if owned[1] is None else f"{owned[0].name} by {owned[1]}"
