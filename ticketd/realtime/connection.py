"""One connection as the hub knows it: who listens, to which events, and what it is to be told next.

A connection is asked for its next message only when it can be sent, and only then is the message made: what is put off
until then is as new as can be, and a buyer's shopping window does not begin for a socket that is dead.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from storage.schema.ids import EntryId, EventId, UserId
from storage.schema.states import EntryState
from ticketd.errors import ErrorCode, Refusal
from ticketd.realtime.outbox import LineOverrun, Outbox
from ticketd.realtime.sections import EventSections
from ticketd.realtime.updates import (
    AccessGrant,
    Kind,
    Personal,
    QueueMoved,
    QueuePlace,
    QueueSnapshot,
    SubscriptionEnded,
    Update,
)
from ticketd.realtime.watches import QueueWatch, Subscription

SUBSCRIPTIONS_MAX: Final = 50
"""So many events one connection listens to at most."""

_ADMITTED: Final = frozenset({EntryState.READY, EntryState.SHOPPING})


class Listener(NamedTuple):
    """Who listens: a buyer, and for a queue token the place in the room. ``event_id`` is the only event of a queue or
    an access token, None for a user token."""

    user_id: UserId
    event_id: EventId | None = None
    entry_id: EntryId | None = None


class Speaker(Protocol):
    """Who says what the connection is told; called by the hub's tasks, never within a call of the connection."""

    def has_news(self) -> None:
        """There may be something to send, or room for another answer. Raises nothing."""

    def recheck(self) -> int | None:
        """Looks whether what was shown at the beginning is good still; when to look again (milliseconds UTC)."""


class Source(Protocol):
    """What a connection asks of the hub."""

    def begin(self, connection: Connection, event_id: EventId) -> None:
        """Begins a subscription. Refuses EVENT_NOT_FOUND, or INVALID_REQUEST for one too many."""

    def end(self, connection: Connection, event_id: EventId) -> None:
        """Ends a subscription, if there is one."""

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""

    def wake(self, connection: Connection) -> None:
        """Has the connection tell its speaker of news, soon."""

    def encode(self, update: Update) -> bytes:
        """An update as a JSON object, as it is to be told now."""

    def seats_snapshot(self, event_id: EventId, sections: EventSections) -> bytes:
        """All sections of an event as they are."""

    def place(self, watch: QueueWatch) -> tuple[QueuePlace, int]:
        """Where a watched place stands, and the time."""

    def claim(self, connection: Connection, watch: QueueWatch) -> None:
        """Asks for the access token of a buyer whose turn it is: ``connection.claimed`` is called with it later."""


class _SnapshotFor(NamedTuple):
    """The answer to a subscription: made when it is sent."""

    event_id: EventId


_Answer = bytes | _SnapshotFor


class Connection:
    """What one connection listens to, and what is in line for it. There may be very many: each byte counts here.

    ``number`` tells it from all others of the hub, past ones too.
    """

    __slots__ = (
        "_claim",
        "_has_overrun",
        "_hub",
        "_is_claiming",
        "_is_woken",
        "_outbox",
        "_speaker",
        "listener",
        "number",
        "subscriptions",
        "watch",
    )

    def __init__(self, hub: Source, listener: Listener, speaker: Speaker, number: int) -> None:
        self.listener = listener
        self.number = number
        self.subscriptions: dict[EventId, Subscription] = {}
        self.watch: QueueWatch | None = None
        self._hub = hub
        self._speaker = speaker
        self._outbox: Outbox[_Answer] = Outbox()
        self._is_woken = False
        self._has_overrun = False
        self._is_claiming = False
        self._claim: AccessGrant | Exception | None = None

    # --- what the client asks for -----------------------------------------------------------------------------------

    def subscribe(self, event_id: EventId) -> None:
        """Begins to listen, or asks for a fresh snapshot; the answer is put in line.

        Refuses, in this order: EVENT_MISMATCH for another event than the token's; EVENT_NOT_FOUND; INVALID_REQUEST
        with ``max_subscriptions`` if there are as many already.
        """
        if self.listener.event_id not in {None, event_id}:
            raise Refusal(ErrorCode.EVENT_MISMATCH, details={"event_id": str(event_id)})
        if event_id not in self.subscriptions and self.watch is None:
            self._hub.begin(self, event_id)
        self.answer(_SnapshotFor(event_id))

    def unsubscribe(self, event_id: EventId) -> None:
        """Ends a subscription, if there is one; the answer is put in line in either case."""
        self._hub.end(self, event_id)
        self.answer(self._hub.encode(SubscriptionEnded(event_id=event_id)))

    def end_deleted(self, event_id: EventId) -> None:
        """Ends the subscription to an event that is gone, and tells of it."""
        self._hub.end(self, event_id)
        self.answer(self._hub.encode(SubscriptionEnded(event_id=event_id, is_deleted=True)))
        self.wake()

    def answer(self, answer: _Answer) -> None:
        """Puts an answer in line, before all updates: a JSON object, or a snapshot that is still to be made.

        It wakes nobody: whoever hands in a client's message then asks for what is to be sent.
        """
        self._outbox.answer(answer)

    @property
    def takes_questions(self) -> bool:
        """Whether one more answer may be put in line: who does not read is not listened to either."""
        return self._outbox.takes_questions

    # --- what happens ----------------------------------------------------------------------------------------------

    def put(self, update: Personal) -> None:
        """Puts an update of the buyer's own things in line."""
        try:
            self._outbox.put(update)
        except LineOverrun:
            self._has_overrun = True
        self.wake()

    def drop(self, kind: Kind) -> None:
        """Takes updates out of the line that are not true any more."""
        self._outbox.drop(kind)

    def drop_event(self, event_id: EventId) -> None:
        """Takes the updates of an event out of the line."""
        self._outbox.drop_event(event_id)

    def wake(self) -> None:
        """There may be something to send: the speaker is told by and by, however often this is said."""
        if not self._is_woken:
            self._is_woken = True
            self._hub.wake(self)

    def tell(self) -> None:
        """Tells the speaker that there is news. Raises nothing."""
        self._is_woken = False
        self._speaker.has_news()

    def recheck(self) -> int | None:
        """Looks whether what was shown at the beginning is good still; when to look again."""
        return self._speaker.recheck()

    def claimed(self, outcome: AccessGrant | Exception | None) -> None:
        """What became of asking for the buyer's turn; None if the place has ended."""
        self._is_claiming = False
        self._claim = outcome
        self.wake()

    def close(self) -> None:
        """Ends all subscriptions."""
        for event_id in list(self.subscriptions):
            self._hub.end(self, event_id)
        if self.watch is not None:
            self._hub.end(self, self.watch.event_id)
        self._hub.forget(self)
        self._outbox.clear()

    # --- what is sent -----------------------------------------------------------------------------------------------

    def next_text(self) -> bytes | None:
        """The next thing to send, a JSON object; None if there is nothing now.

        Raises LineOverrun when something would have been left out unnoticed, and whatever a claim has failed with.
        """
        claim, self._claim = self._claim, None
        if isinstance(claim, Exception):
            raise claim
        found = self._next(claim)
        if not isinstance(found, QueueWatch):
            return found
        # To say that it is the buyer's turn begins the shopping window: only now, when it can be sent.
        if not self._is_claiming:
            self._is_claiming = True
            self._hub.claim(self, found)
        return None

    def text_in_line(self) -> bytes | None:
        """What is in line and can be sent at once: all but that it is the buyer's turn, which needs a commit."""
        found = self._next(None)
        return found if isinstance(found, bytes) else None

    def _next(self, grant: AccessGrant | None) -> bytes | QueueWatch | None:
        """The next thing to send; the watch for which a ``grant`` is needed first; None if there is nothing."""
        if self._has_overrun:
            raise LineOverrun
        while (answer := self._outbox.first_answer()) is not None:
            text = answer if isinstance(answer, bytes) else self._snapshot(answer.event_id, grant)
            if isinstance(text, QueueWatch):
                return text
            self._outbox.take_answer()
            if text is not None:
                return text
        if (update := self._outbox.take_update()) is not None:
            return self._hub.encode(update)
        if self.watch is not None and self.watch.is_due:
            return self._queue_text(self.watch, grant)
        return self._seats_text()

    def _snapshot(self, event_id: EventId, grant: AccessGrant | None) -> bytes | QueueWatch | None:
        """The answer to a subscription; None if it has ended since."""
        if self.watch is not None and self.watch.event_id == event_id:
            return self._queue_snapshot(self.watch, grant)
        subscription = self.subscriptions.get(event_id)
        if subscription is None:
            return None
        text = self._hub.seats_snapshot(event_id, subscription.sections)
        subscription.heard = subscription.sections.newest
        return text

    def _queue_snapshot(self, watch: QueueWatch, grant: AccessGrant | None) -> bytes | QueueWatch:
        place, now_ms = self._hub.place(watch)
        if place.state in _ADMITTED and grant is None:
            return watch
        watch.note_told(place, now_ms)
        if place.state in _ADMITTED:
            # Those who wait for an update alone are told once more.
            watch.was_granted = False
            watch.is_due = True
        return self._hub.encode(QueueSnapshot(event_id=watch.event_id, place=place, grant=grant))

    def _queue_text(self, watch: QueueWatch, grant: AccessGrant | None) -> bytes | QueueWatch | None:
        place, now_ms = self._hub.place(watch)
        is_turn = place.state in _ADMITTED
        if is_turn and not watch.was_granted:
            if grant is None:
                return watch
            watch.was_granted = True
        elif is_turn or not watch.is_news(place):
            watch.is_due = False
            return None
        watch.note_told(place, now_ms)
        return self._hub.encode(
            QueueMoved(event_id=watch.event_id, place=place, grant=grant if is_turn else None, at_ms=now_ms)
        )

    def _seats_text(self) -> bytes | None:
        """What was told last of a section and not heard here yet. Events take turns."""
        for event_id, subscription in self.subscriptions.items():
            heard = subscription.heard
            if heard is None or heard >= subscription.sections.newest:
                continue
            told = subscription.sections.text_after(heard)
            if told is None:
                subscription.heard = subscription.sections.newest
                continue
            subscription.heard = told[0]
            self.subscriptions[event_id] = self.subscriptions.pop(event_id)
            return told[1]
        return None
