"""The events on show, as a read model: what each tells of itself, how many seats are free, and the search over all.

True here: no row of seats is ever read. Plans are read at the start and after each change of one; counts when somebody
asks and seats have moved since. An event's phase is worked out at the moment of asking, never kept. Decisions are made
elsewhere, on the store itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from storage.clock import Clock
from storage.engine import Change, Engine
from storage.schema.events import EventDeleted, EventPut, SeatsMoved
from storage.schema.ids import EventId
from storage.schema.layout import COUNTS, EVENT, SALE, SYSTEM, TOTAL, event_partition, list_events
from storage.schema.records import CountRecord, EventRecord, SaleRecord
from ticketd.domain.sales import SalePhase, sale_phase
from ticketd.views.search import Findable, SearchIndex, SearchQuery


class EventSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An event as a search shows it."""

    event: EventRecord
    sale: SaleRecord
    total: CountRecord
    phase: SalePhase


class EventDetails(EventSummary, frozen=True, kw_only=True):
    """An event with its free seats by tier, in the order of ``sale.tiers``."""

    free_by_tier: tuple[int, ...]


class _Shown:
    """One event. A count that is None has to be read anew."""

    __slots__ = ("details", "event", "free_by_tier", "sale", "total")

    def __init__(self, event: EventRecord, sale: SaleRecord) -> None:
        self.event = event
        self.sale = sale
        self.total: CountRecord | None = None
        self.free_by_tier: tuple[int, ...] | None = None
        self.details: EventDetails | None = None


class Catalogue:
    """All events, kept by the changes of the engine. To be used in the event loop's thread."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        """Reads every event's plan, and follows the engine from then on."""
        self._engine = engine
        self._clock = clock
        self._shown: dict[EventId, _Shown] = {}
        self._index = SearchIndex()
        with engine.snapshot(SYSTEM) as view:
            self._unread = set(list_events(view))
        self._unsubscribe = engine.subscribe(self._notice)
        self._read_plans()

    def close(self) -> None:
        """Follows the engine no longer."""
        self._unsubscribe()

    def known(self, event_id: EventId) -> bool:
        """Whether there is such an event."""
        self._read_plans()
        return event_id in self._shown

    def details(self, event_id: EventId) -> EventDetails | None:
        """The event as it is now; None if there is none. The same object again for as long as nothing changes."""
        self._read_plans()
        shown = self._shown.get(event_id)
        if shown is None:
            return None
        if shown.free_by_tier is None:
            shown.free_by_tier = self._read_free(event_id, len(shown.sale.tiers))
        total = self._total(event_id, shown)
        phase = sale_phase(shown.sale, total, self._clock.now_ms())
        if shown.details is None or shown.details.phase is not phase:
            shown.details = EventDetails(
                event=shown.event,
                sale=shown.sale,
                total=total,
                phase=phase,
                free_by_tier=shown.free_by_tier,
            )
        return shown.details

    def search(self, query: SearchQuery) -> tuple[list[EventSummary], int]:
        """The events that a page of the search shows, by date, and how many were found over all pages."""
        self._read_plans()
        event_ids, found = self._index.find(query)
        return [self._summary(event_id) for event_id in event_ids], found

    def _summary(self, event_id: EventId) -> EventSummary:
        shown = self._shown[event_id]
        total = self._total(event_id, shown)
        phase = sale_phase(shown.sale, total, self._clock.now_ms())
        return EventSummary(event=shown.event, sale=shown.sale, total=total, phase=phase)

    def _notice(self, changes: Sequence[Change]) -> None:
        for change in changes:
            event = change.event
            if isinstance(event, SeatsMoved):
                shown = self._shown.get(event.event_id)
                if shown is not None:
                    shown.total = shown.free_by_tier = shown.details = None
            elif isinstance(event, EventPut | EventDeleted):
                self._unread.add(event.event_id)

    def _read_plans(self) -> None:
        while self._unread:
            self._read_plan(next(iter(self._unread)))

    def _read_plan(self, event_id: EventId) -> None:
        partition = event_partition(event_id)
        with self._engine.snapshot(partition) as view:
            event, sale = EVENT.get(view, partition), SALE.get(view, partition)
        if event is None or sale is None:
            self._shown.pop(event_id, None)
            self._index.remove(event_id)
        else:
            self._shown[event_id] = _Shown(event, sale)
            self._index.put(
                Findable(
                    event_id=event_id,
                    date_ms=sale.date_ms,
                    name=event.name,
                    artist=event.artist_name,
                    venue=event.venue.name,
                    city=event.venue.city,
                    category=event.category,
                )
            )
        self._unread.discard(event_id)

    def _total(self, event_id: EventId, shown: _Shown) -> CountRecord:
        if shown.total is None:
            partition = event_partition(event_id)
            with self._engine.snapshot(partition) as view:
                shown.total = TOTAL.get(view, partition) or CountRecord()
        return shown.total

    def _read_free(self, event_id: EventId, tiers: int) -> tuple[int, ...]:
        free = [0] * tiers
        partition = event_partition(event_id)
        with self._engine.snapshot(partition) as view:
            for (_, tier), count in COUNTS.scan(view, partition):
                # A plan that was put this very moment may have other tiers than the one on show.
                if isinstance(tier, int) and tier < tiers:
                    free[tier] += count.free
        return tuple(free)
