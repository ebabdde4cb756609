"""One event that somebody listens to: its sections, its holds by buyer, its watched places, and who listens to what.

A feed exists only while somebody listens; an event that nobody listens to costs nothing.
"""

from __future__ import annotations

from typing import Final

from storage.engine import Snapshot
from storage.schema.events import EntryMoved, SeatsMoved
from storage.schema.ids import EntryId, EventId, ReservationId, UserId
from storage.schema.layout import DUE_RESERVATIONS, RESERVATIONS, event_partition
from storage.schema.states import EntryState, SeatState
from ticketd.realtime.sections import EventSections
from ticketd.realtime.updates import Encode
from ticketd.realtime.watches import QueueWatch, Subscription

_WAITING: Final = frozenset({EntryState.LOBBY, EntryState.QUEUED})


class EventFeed:
    """What is known of one event for those who listen to it."""

    def __init__(self, event_id: EventId, encode: Encode) -> None:
        self.event_id = event_id
        self.partition = event_partition(event_id)
        self.sections = EventSections(event_id, encode)
        # Nearly always one of each: a tuple takes a quarter of a set, and does not change under who goes through it.
        self.subscriptions: dict[UserId, tuple[Subscription, ...]] = {}
        self.watches: dict[EntryId, tuple[QueueWatch, ...]] = {}
        self.holds: dict[UserId, dict[ReservationId, int]] = {}
        """The live holds of each buyer, and when each ends."""
        self.version = 0
        """The version of the event's partition that was read first: only later changes are news."""

    def load(self, reader: Snapshot) -> bool:
        """Reads the event; False if there is no such one."""
        if not self.sections.load(reader):
            return False
        self.version = reader.version(self.partition)
        for _, reservation_id in DUE_RESERVATIONS.scan(reader, self.partition):
            hold = RESERVATIONS.get(reader, self.partition, reservation_id)
            if hold is not None:
                self.holds.setdefault(hold.user_id, {})[hold.reservation_id] = hold.due_at_ms
        return True

    @property
    def is_idle(self) -> bool:
        """Whether nobody listens."""
        return not self.subscriptions and not self.watches

    def listeners(self) -> list[Subscription]:
        """All who listen to the seats."""
        return [subscription for of_user in self.subscriptions.values() for subscription in of_user]

    def note_seats(self, event: SeatsMoved) -> None:
        """Notes that seats have moved, and the hold concerned."""
        self.sections.note(event.seats)
        if event.reservation_id is None or event.user_id is None:
            return
        if event.state is SeatState.RESERVED and event.due_at_ms is not None:
            self.note_hold(event.user_id, event.reservation_id, event.due_at_ms)
        elif (of_user := self.holds.get(event.user_id)) is not None:
            of_user.pop(event.reservation_id, None)
            if not of_user:
                del self.holds[event.user_id]

    def note_hold(self, user_id: UserId, reservation_id: ReservationId, due_at_ms: int) -> None:
        """Notes the end of a live hold."""
        self.holds.setdefault(user_id, {})[reservation_id] = due_at_ms

    def note_entry(self, event: EntryMoved) -> bool:
        """Notes that a place has moved; whether somebody's position may be another.

        Who is let in, or whose place ended, is told at once.
        """
        if event.after not in _WAITING:
            for watch in self.watches.get(event.entry_id, ()):
                watch.make_due()
        # Who joins stands behind all others.
        return event.before in _WAITING
