"""The hub: one follower of the store's changes for all connections, and the tasks that turn changes into news.

    run_realtime
    ├── news      seats, holds, orders, events that go, keys that change, tokens that end
    ├── lines     positions in line; see ticketd.realtime.lines
    ├── telling   lets those send for whom there is news, in slices
    └── claims    while somebody's turn is being committed, one task for each

What a change means is read from the store when it is told, not when it is noticed, except where each step matters (an
order's states, the end of a hold). The follower itself only notes which of the events that somebody listens to is
concerned.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog
import trio

from storage.clock import Clock
from storage.engine import Change, Engine, EngineOverloaded, Snapshot, StorageFull
from storage.schema.events import (
    EntryMoved,
    EventDeleted,
    EventPut,
    HoldMoved,
    KeysChanged,
    LobbyDrawn,
    OrderMoved,
    SeatsMoved,
)
from storage.schema.ids import EntryId, EventId, ReservationId, UserId
from storage.schema.layout import BUYER_ORDERS, ORDERS, RESERVATIONS, buyer_partition, event_partition
from storage.schema.states import LIVE_RESERVATION_STATES, OrderState, SeatState
from ticketd.errors import ErrorCode, Refusal
from ticketd.realtime.connection import SUBSCRIPTIONS_MAX, Connection, Listener, Speaker
from ticketd.realtime.feeds import EventFeed
from ticketd.realtime.lines import SLICE, Lines
from ticketd.realtime.sections import EventSections
from ticketd.realtime.updates import (
    AccessGrant,
    Encode,
    HoldExpired,
    HoldExpiring,
    OrderChanged,
    QueuePlace,
    Update,
    expiring_kind,
)
from ticketd.realtime.watches import QueueWatch, Subscription
from ticketd.tasks.alarm import Alarm
from ticketd.tasks.deadlines import Agenda

WARNING_MS: Final = 60_000
"""So long before its end a buyer is told that a hold is about to end."""
RETRY_SECONDS: Final = 1.0
TOLD_A_TURN: Final = 64
"""So many connections are told before other tasks have their turn: about a millisecond's work."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubParts:
    """What the hub is made of.

    ``find_place`` reads a place, also one that ended. ``grant_access`` begins the shopping window of a place whose turn
    it is, or tells of the one that has begun; it refuses QUEUE_ENTRY_EXPIRED. ``encode`` writes an update.
    """

    engine: Engine
    clock: Clock
    encode: Encode
    find_place: Callable[[Snapshot, EventId, EntryId], QueuePlace]
    grant_access: Callable[[EventId, EntryId], Awaitable[AccessGrant]]


K = TypeVar("K")
V = TypeVar("V")


class Hub:
    """All connections, and the events that they listen to. To be used in the event loop's thread."""

    def __init__(self, parts: HubParts) -> None:
        """Follows nothing yet: ``run`` does, for as long as it runs."""
        self._parts = parts
        self._engine = parts.engine
        self._clock = parts.clock
        self._feeds: dict[EventId, EventFeed] = {}
        self._connections: dict[int, Connection] = {}
        self._newest_number = 0
        # When each connection's token is to be looked at, by the connection's number.
        self._ends: Agenda[int] = Agenda()
        self._woken: deque[Connection] = deque()
        self._telling = Alarm(parts.clock)
        self._claims: trio.Nursery | None = None
        self._noticed: deque[Change] = deque()
        self._agenda: Agenda[tuple[EventId, ReservationId]] = Agenda()
        self._touched: set[EventId] = set()
        """Events of whose seats there may be something to tell."""
        self._keys_changed = False
        self._news = Alarm(parts.clock)
        self._lines = Lines(parts.engine, parts.clock, parts.find_place)

    # --- connections ------------------------------------------------------------------------------------------------

    @property
    def connection_count(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    @property
    def feed_count(self) -> int:
        """How many events somebody listens to."""
        return len(self._feeds)

    def connect(self, listener: Listener, speaker: Speaker, ends_at_ms: int | None = None) -> Connection:
        """A new connection; it is to be closed. The speaker is asked to recheck at ``ends_at_ms``."""
        self._newest_number += 1
        connection = Connection(self, listener, speaker, self._newest_number)
        self._connections[connection.number] = connection
        if ends_at_ms is not None:
            self._ends.put(connection.number, ends_at_ms)
            if self._ends.first() == (ends_at_ms, connection.number):
                self._news.ring()
        return connection

    def forget(self, connection: Connection) -> None:
        """A connection is closed."""
        self._connections.pop(connection.number, None)
        self._ends.put(connection.number, None)

    def wake(self, connection: Connection) -> None:
        """There may be something to send, which is not done within whatever is going on now."""
        self._woken.append(connection)
        self._telling.ring()

    def begin(self, connection: Connection, event_id: EventId) -> None:
        """Begins a subscription. Refuses EVENT_NOT_FOUND, or INVALID_REQUEST for one too many."""
        feed = self._feeds.get(event_id) or self._open_feed(event_id)
        listener = connection.listener
        if listener.entry_id is not None:
            watch = connection.watch = QueueWatch(connection, event_id, listener.entry_id)
            feed.watches[listener.entry_id] = (*feed.watches.get(listener.entry_id, ()), watch)
            return
        if len(connection.subscriptions) >= SUBSCRIPTIONS_MAX:
            self._close_if_idle(feed)
            details = {"max_subscriptions": SUBSCRIPTIONS_MAX}
            raise Refusal(
                ErrorCode.INVALID_REQUEST, "This connection listens to too many events.", details=details
            )
        subscription = connection.subscriptions[event_id] = Subscription(connection, event_id, feed.sections)
        of_user = feed.subscriptions.get(listener.user_id, ())
        feed.subscriptions[listener.user_id] = (*of_user, subscription)
        self._read_orders(feed, subscription, listener.user_id)
        for reservation_id, due_at_ms in feed.holds.get(listener.user_id, {}).items():
            self._agenda.put((event_id, reservation_id), due_at_ms - WARNING_MS)
            self._news.ring()

    def end(self, connection: Connection, event_id: EventId) -> None:
        """Ends a subscription, if there is one; what is in line of it is not said any more."""
        feed = self._feeds.get(event_id)
        if feed is None:
            return
        subscription = connection.subscriptions.pop(event_id, None)
        if subscription is not None:
            _take_out(feed.subscriptions, connection.listener.user_id, subscription)
            connection.drop_event(event_id)
        watch = connection.watch
        if watch is not None and watch.event_id == event_id:
            connection.watch = None
            _take_out(feed.watches, watch.entry_id, watch)
        self._close_if_idle(feed)

    def _open_feed(self, event_id: EventId) -> EventFeed:
        feed = EventFeed(event_id, self._parts.encode)
        with self._engine.snapshot(feed.partition) as view:
            if not feed.load(view):
                raise Refusal(ErrorCode.EVENT_NOT_FOUND, details={"event_id": str(event_id)})
        self._feeds[event_id] = feed
        return feed

    def _close_if_idle(self, feed: EventFeed) -> None:
        if feed.is_idle and self._feeds.get(feed.event_id) is feed:
            del self._feeds[feed.event_id]
            self._lines.forget(feed)
            for of_user in feed.holds.values():
                for reservation_id in of_user:
                    self._agenda.put((feed.event_id, reservation_id), None)

    def _read_orders(self, feed: EventFeed, subscription: Subscription, user_id: UserId) -> None:
        """The states in which the buyer can see the orders of the event now: only what differs will be told."""
        with self._engine.snapshot(feed.partition, buyer_partition(user_id)) as view:
            subscription.since_version = view.version(feed.partition)
            for (order_id,), event_id in BUYER_ORDERS.scan(view, buyer_partition(user_id)):
                order = ORDERS.get(view, feed.partition, order_id) if event_id == feed.event_id else None
                if order is not None:
                    subscription.see_order(order.order_id, (order.state, order.payment_state))

    # --- what a connection needs to make its next message -------------------------------------------------------------

    def encode(self, update: Update) -> bytes:
        """An update as a JSON object, as it is to be told now."""
        return self._parts.encode(update, self._clock.now_ms())

    def seats_snapshot(self, event_id: EventId, sections: EventSections) -> bytes:
        """All sections of an event as they are."""
        with self._engine.snapshot(event_partition(event_id)) as view:
            return sections.snapshot(view, self._clock.now_ms())

    def place(self, watch: QueueWatch) -> tuple[QueuePlace, int]:
        """Where a watched place stands, and the time."""
        with self._engine.snapshot(event_partition(watch.event_id)) as view:
            return self._parts.find_place(view, watch.event_id, watch.entry_id), self._clock.now_ms()

    def claim(self, connection: Connection, watch: QueueWatch) -> None:
        """Asks for the access token of a buyer whose turn it is; the connection is told the outcome later."""
        if self._claims is None:
            raise RuntimeError("the hub does not run")
        self._claims.start_soon(self._claim, connection, watch)

    async def _claim(self, connection: Connection, watch: QueueWatch) -> None:
        """Waits while the store is full, for as long as somebody is there."""
        while connection.number in self._connections:
            try:
                connection.claimed(await self._parts.grant_access(watch.event_id, watch.entry_id))
            except (EngineOverloaded, StorageFull) as error:
                _log.warning("access_waits", event_id=str(watch.event_id), problem=str(error))
                await trio.sleep(RETRY_SECONDS)
            except Refusal:
                connection.claimed(None)  # The place has ended.
                return
            except Exception as failure:
                connection.claimed(failure)
                return
            else:
                return

    # --- following --------------------------------------------------------------------------------------------------

    def notice(self, changes: Sequence[Change]) -> None:
        """The subscriber: notes what concerns somebody, and wakes the task whose business it is."""
        for change in changes:
            if isinstance(change.event, KeysChanged):
                self._keys_changed = True
                self._news.ring()
            elif (feed := self._feed_of(change)) is not None:
                self._note(feed, change)

    def _note(self, feed: EventFeed, change: Change) -> None:
        event = change.event
        if isinstance(event, EntryMoved):
            if feed.note_entry(event):
                self._lines.look_soon(feed)
            return
        if isinstance(event, LobbyDrawn):
            self._lines.look_soon(feed)
            return
        if isinstance(event, SeatsMoved):
            feed.note_seats(event)
        elif isinstance(event, HoldMoved):
            feed.note_hold(event.user_id, event.reservation_id, event.due_at_ms)
        elif not isinstance(event, OrderMoved | EventPut | EventDeleted):
            return
        self._noticed.append(change)
        self._touched.add(feed.event_id)
        self._news.ring()

    def _feed_of(self, change: Change) -> EventFeed | None:
        """The feed for which a change is news; None if nobody listens, or if it was read with the change in it."""
        event_id = getattr(change.event, "event_id", None)
        feed = None if event_id is None else self._feeds.get(event_id)
        return feed if feed is not None and change.version > feed.version else None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follows the store until it is cancelled; ready at once."""
        unsubscribe = self._engine.subscribe(self.notice)
        try:
            async with trio.open_nursery() as nursery:
                self._claims = nursery
                nursery.start_soon(self._run_news)
                nursery.start_soon(self._lines.run)
                nursery.start_soon(self._run_telling)
                task_status.started()
        finally:
            self._claims = None
            unsubscribe()

    async def _run_telling(self) -> None:
        while True:
            while self._woken:
                for _ in range(min(TOLD_A_TURN, len(self._woken))):
                    self._woken.popleft().tell()
                await trio.sleep(0)
            await self._telling.wait_until_ms(None)

    # --- news: seats, holds, orders -----------------------------------------------------------------------------------

    async def _run_news(self) -> None:
        while True:
            while self._noticed:
                self._digest(self._noticed.popleft())
            self._warn_of_ends()
            await self._tell_seats()
            if self._keys_changed:
                self._keys_changed = False
                await self._in_slices(list(self._connections), self._recheck)
            await self._in_slices(self._take_ended(), self._recheck)
            await self._news.wait_until_ms(self._next_news_ms())

    def _next_news_ms(self) -> int | None:
        now_ms = self._clock.now_ms()
        if self._noticed:
            return now_ms
        times = [
            at_ms for event_id in self._touched if (at_ms := self._seats_due_ms(event_id, now_ms)) is not None
        ]
        times += [first[0] for first in (self._agenda.first(), self._ends.first()) if first is not None]
        return min(times, default=None)

    def _take_ended(self) -> list[int]:
        """The numbers of the connections whose token is to be looked at."""
        ended: list[int] = []
        while (first := self._ends.first()) is not None and first[0] <= self._clock.now_ms():
            self._ends.put(first[1], None)
            ended.append(first[1])
        return ended

    def _recheck(self, number: int) -> None:
        connection = self._connections.get(number)
        if connection is not None and (again_ms := connection.recheck()) is not None:
            self._ends.put(number, again_ms)

    def _seats_due_ms(self, event_id: EventId, now_ms: int) -> int | None:
        feed = self._feeds.get(event_id)
        return None if feed is None else feed.sections.due_at_ms(now_ms)

    def _digest(self, change: Change) -> None:
        event = change.event
        feed = self._feed_of(change)
        if feed is None:
            return
        if isinstance(event, SeatsMoved):
            self._digest_seats(feed, event, change)
        elif isinstance(event, HoldMoved):
            if event.user_id in feed.subscriptions:
                self._agenda.put((feed.event_id, event.reservation_id), event.due_at_ms - WARNING_MS)
        elif isinstance(event, OrderMoved):
            self._digest_order(feed, event, change)
        elif isinstance(event, EventPut):
            with self._engine.snapshot(feed.partition) as view:
                feed.sections.load(view)
            self._lines.look_soon(feed)
        elif isinstance(event, EventDeleted):
            for subscription in feed.listeners():
                subscription.connection.end_deleted(feed.event_id)
            for watch in [watch for of_entry in list(feed.watches.values()) for watch in of_entry]:
                watch.connection.end_deleted(feed.event_id)

    def _digest_seats(self, feed: EventFeed, event: SeatsMoved, change: Change) -> None:
        """What became of a hold."""
        reservation_id, user_id = event.reservation_id, event.user_id
        if reservation_id is None or user_id is None or user_id not in feed.subscriptions:
            return
        if event.state is SeatState.RESERVED:
            if event.due_at_ms is not None:
                self._agenda.put((feed.event_id, reservation_id), event.due_at_ms - WARNING_MS)
            return
        self._agenda.put((feed.event_id, reservation_id), None)
        expired = HoldExpired(event_id=feed.event_id, reservation_id=reservation_id, at_ms=change.at_ms)
        for subscription in feed.subscriptions[user_id]:
            subscription.forget_warning(reservation_id)
            subscription.connection.drop(expiring_kind(reservation_id))
            if event.expired and change.version > subscription.since_version:
                subscription.connection.put(expired)

    def _digest_order(self, feed: EventFeed, event: OrderMoved, change: Change) -> None:
        """An order moved, or was only looked at: told is what its buyer can see, and has not seen."""
        listening = feed.subscriptions.get(event.user_id)
        if listening is None or event.state is OrderState.INTENT:
            return
        partition = buyer_partition(event.user_id)
        with self._engine.snapshot(partition) as view:
            if BUYER_ORDERS.get(view, partition, event.order_id) is None:
                # A payment that came to nothing before its buyer saw an order.
                return
        now = event.state, event.payment_state
        update = OrderChanged(
            event_id=feed.event_id,
            order_id=event.order_id,
            state=event.state,
            payment_state=event.payment_state,
            at_ms=change.at_ms,
        )
        for subscription in listening:
            if change.version > subscription.since_version and subscription.see_order(event.order_id, now):
                subscription.connection.put(update)

    def _warn_of_ends(self) -> None:
        """Tells of the holds that end within the minute to those whom nobody told."""
        now_ms = self._clock.now_ms()
        while (first := self._agenda.first()) is not None and first[0] <= now_ms:
            event_id, reservation_id = first[1]
            self._agenda.put(first[1], None)
            partition = event_partition(event_id)
            with self._engine.snapshot(partition) as view:
                hold = RESERVATIONS.get(view, partition, reservation_id)
            feed = self._feeds.get(event_id)
            if hold is None or feed is None or hold.state not in LIVE_RESERVATION_STATES:
                continue
            if hold.due_at_ms - WARNING_MS > now_ms:
                self._agenda.put(first[1], hold.due_at_ms - WARNING_MS)
                continue
            if hold.due_at_ms <= now_ms:
                continue
            update = HoldExpiring(event_id=event_id, reservation_id=reservation_id, due_at_ms=hold.due_at_ms)
            for subscription in feed.subscriptions.get(hold.user_id, ()):
                if subscription.warn(reservation_id):
                    subscription.connection.put(update)

    async def _tell_seats(self) -> None:
        for event_id in list(self._touched):
            now_ms = self._clock.now_ms()
            feed, due_at_ms = self._feeds.get(event_id), self._seats_due_ms(event_id, now_ms)
            if feed is None or due_at_ms is None:
                self._touched.discard(event_id)
                continue
            if due_at_ms > now_ms:
                continue
            with self._engine.snapshot(feed.partition) as view:
                has_news = feed.sections.tell_due(view, now_ms)
            if has_news:
                await self._in_slices(feed.listeners(), lambda subscription: subscription.connection.wake())

    async def _in_slices(self, things: Sequence[V], do: Callable[[V], object]) -> None:
        """Does something with each, giving way to other tasks now and then."""
        for start in range(0, len(things), SLICE):
            for thing in things[start : start + SLICE]:
                do(thing)
            await trio.sleep(0)


def _take_out(tuples: dict[K, tuple[V, ...]], key: K, value: V) -> None:
    """Takes a value out of one of several tuples, and the tuple with its last value."""
    left = tuple(one for one in tuples.pop(key, ()) if one is not value)
    if left:
        tuples[key] = left


async def run_realtime(hub: Hub, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Runs the hub for as long as it is not cancelled; an error of it leaves this task, and so ends the process."""
    await hub.run(task_status=task_status)
