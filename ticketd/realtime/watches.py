"""What one connection wants to hear of one event: of its seats and its buyer's own things, or of one place in its room.

These are the threads between a connection and the feed of an event; what is said, and when, is decided by the two.
"""

from __future__ import annotations

from typing import Final, Protocol

from storage.schema.ids import EntryId, EventId, OrderId, ReservationId
from storage.schema.states import LIVE_ENTRY_STATES, OrderState, PaymentState
from ticketd.realtime.sections import EventSections
from ticketd.realtime.updates import Kind, Personal, QueuePlace

QUEUE_SPACING_MS: Final = 5000
"""A buyer is told of another position at most once in this time; that it is their turn, at once."""


class Hearer(Protocol):
    """The connection, as a feed knows it."""

    def put(self, update: Personal) -> None:
        """Puts an update of the buyer's own things in line."""

    def drop(self, kind: Kind) -> None:
        """Takes updates out of the line that are not true any more."""

    def wake(self) -> None:
        """There may be something to send."""

    def end_deleted(self, event_id: EventId) -> None:
        """The event is gone."""


class Subscription:
    """One connection's interest in the seats of one event, and in its buyer's holds and orders there.

    ``since_version``: what is of a later version of the event's partition is news. Beside it stand the states of orders
    that its buyer has seen, and the holds of whose end it was told.
    """

    __slots__ = ("_orders", "_warned", "connection", "event_id", "heard", "sections", "since_version")

    def __init__(self, connection: Hearer, event_id: EventId, sections: EventSections) -> None:
        self.connection = connection
        self.event_id = event_id
        self.sections = sections
        self.since_version = 0
        self.heard: int | None = None
        """The number of what was told last of the sections; None before the snapshot was taken."""
        # Most connections never see either: they are made when there is something to keep.
        self._orders: dict[OrderId, tuple[OrderState, PaymentState]] | None = None
        self._warned: set[ReservationId] | None = None

    def see_order(self, order_id: OrderId, states: tuple[OrderState, PaymentState]) -> bool:
        """Keeps the states of an order that its buyer sees now; whether they are news."""
        if self._orders is None:
            self._orders = {}
        is_news = self._orders.get(order_id) != states
        self._orders[order_id] = states
        return is_news

    def warn(self, reservation_id: ReservationId) -> bool:
        """Notes that the end of a hold is told; whether it was not yet."""
        if self._warned is None:
            self._warned = set()
        is_news = reservation_id not in self._warned
        self._warned.add(reservation_id)
        return is_news

    def forget_warning(self, reservation_id: ReservationId) -> None:
        """The hold is over."""
        if self._warned is not None:
            self._warned.discard(reservation_id)


class QueueWatch:
    """A connection's interest in one place of a room.

    ``told`` is what was told last, None before the snapshot was taken; ``is_due`` that there may be something new.
    """

    __slots__ = (
        "connection",
        "entry_id",
        "event_id",
        "is_due",
        "is_over",
        "rests_until_ms",
        "told",
        "was_granted",
    )

    def __init__(self, connection: Hearer, event_id: EventId, entry_id: EntryId) -> None:
        self.connection = connection
        self.event_id = event_id
        self.entry_id = entry_id
        self.told: QueuePlace | None = None
        self.is_due = False
        self.is_over = False
        self.was_granted = False
        self.rests_until_ms = 0

    @property
    def may_move(self) -> bool:
        """Whether its position is worth a look: it waits, and nothing is in line for it."""
        return self.told is not None and not (self.is_due or self.is_over or self.was_granted)

    def make_due(self) -> None:
        """There may be something new to tell."""
        if not self.is_over:
            self.is_due = True
            self.connection.wake()

    def note_told(self, place: QueuePlace, now_ms: int) -> None:
        """Keeps what was told."""
        self.told = place
        self.is_due = False
        self.is_over = place.state not in LIVE_ENTRY_STATES
        self.rests_until_ms = now_ms + QUEUE_SPACING_MS

    def is_news(self, place: QueuePlace) -> bool:
        """Whether a place is another than was told, whatever the wait."""
        return self.told is None or self.told[:2] != place[:2]
