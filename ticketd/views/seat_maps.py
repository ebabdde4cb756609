"""Seat maps as ready answers: each joined and compressed once for a version, and given to all who ask.

True here: a map never lacks a change that is 250 ms old, and the smaller it is, the fresher, since making it costs
less; changes since a version are always those up to this moment. A large map that a crowd asks for is made ahead by a
task (``ticketd.tasks.seat_maps``), out of a draft that is taken here; where that is late, the request makes the map
after all. All maps together keep within a number of bytes, the ones asked for longest ago going first. Nothing is
decided by a seat map: a reservation reads the store itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec

from storage.clock import Clock
from storage.engine import Change, Engine
from storage.schema.events import EventDeleted, EventPut, SeatsMoved
from storage.schema.ids import EventId, SectionId
from storage.schema.layout import event_partition
from ticketd.errors import ErrorCode, Refusal
from ticketd.views.event_seats import EventSeats, Moment
from ticketd.views.kept_maps import KeptMaps
from ticketd.views.seat_map_text import Coding, SeatMapText, TextMaker

KEPT_BYTES: Final = 64 * 1024 * 1024
MAX_CHANGES_READ: Final = 10_000
"""So many entries of the change log are read for one answer; a version further back is answered with the whole map."""
ROWS_AT_ONCE: Final = 8
"""So many rows are read before others have their turn, where a map is made ahead: about half a millisecond."""

_CHANGES_AT_ONCE: Final = 1000


class SeatMapRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which seats are asked for: all or one section's, as they are or as they changed since a version; and in which
    coding, None for plain bytes."""

    event_id: EventId
    section_id: SectionId | None = None
    since: int | None = None
    coding: Coding | None = None


class DraftPart(msgspec.Struct, frozen=True):
    """One section (None: all), in pieces to be joined, and the codings in which it is wanted."""

    section_id: SectionId | None
    pieces: list[bytes]
    codings: list[Coding | None]


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """The maps of one event that are to be made, as its seats stood at one moment; good in any thread."""

    kept: KeptMaps
    moment: Moment
    at_ms: int
    parts: list[DraftPart]

    @property
    def size_bytes(self) -> int:
        """The bytes of all parts, not compressed."""
        return sum(len(piece) for part in self.parts for piece in part.pieces)


class SeatMaps:
    """The seat maps of all events, made when first asked for. To be used in the event loop's thread."""

    def __init__(self, engine: Engine, clock: Clock, kept_bytes: int = KEPT_BYTES) -> None:
        """Follows the engine. At most ``kept_bytes`` are kept, but for the map that was asked for last."""
        self._engine = engine
        self._clock = clock
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[EventId, KeptMaps] = OrderedDict()
        self._maker = TextMaker()
        self._behind: set[EventId] = set()
        self._wake: Callable[[], None] | None = None
        self._unsubscribe = engine.subscribe(self._notice)

    def close(self) -> None:
        """Follows the engine no longer."""
        self._unsubscribe()
        self._kept.clear()
        self._behind.clear()

    @property
    def size_bytes(self) -> int:
        """About how many bytes are kept."""
        return sum(kept.size_bytes for kept in self._kept.values())

    def read(self, request: SeatMapRequest) -> SeatMapText:
        """The answer to a request.

        Refuses, in this order: EVENT_NOT_FOUND; NOT_FOUND with ``section_id`` for a section that the event does not
        have; INVALID_REQUEST with ``since`` for a version that is not reached yet.
        """
        kept = self._find(request.event_id)
        section_id = request.section_id
        if section_id is not None and not kept.seats.has_section(section_id):
            details = {"section_id": str(section_id)}
            raise Refusal(ErrorCode.NOT_FOUND, "There is no such section.", details=details)
        if request.since is not None:
            kept = self._refreshed(request.event_id, kept)
            self._require_reached(kept.seats, request.since)
            if self._reach_back(kept, request.since):
                changed = kept.seats.changed_after(request.since, section_id)
                return self._maker.make((changed,), (request.coding,))[0]
        return self._whole(kept, request)

    def _find(self, event_id: EventId) -> KeptMaps:
        kept = self._kept.get(event_id)
        if kept is None:
            kept = self._load(event_id)
        else:
            self._kept.move_to_end(event_id)
        return kept

    def _load(self, event_id: EventId) -> KeptMaps:
        self._kept.pop(event_id, None)
        partition = event_partition(event_id)
        with self._engine.snapshot(partition) as view:
            version, now_ms = view.version(partition), view.now_ms
            seats = EventSeats.load(view, event_id, Moment(version, self._time_of(event_id, version, now_ms)))
        if seats is None:
            raise Refusal(ErrorCode.EVENT_NOT_FOUND, details={"event_id": str(event_id)})
        kept = self._kept[event_id] = KeptMaps(seats)
        self._make_room()
        return kept

    def _time_of(self, event_id: EventId, version: int, now_ms: int) -> int:
        """When the partition reached its version; now, if its log no longer tells."""
        changes = self._engine.changes(event_partition(event_id), max(version - 1, 0), 1)
        return changes[0].at_ms if changes else now_ms

    def _refreshed(self, event_id: EventId, kept: KeptMaps) -> KeptMaps:
        """The seats as they are now."""
        if kept.seats.is_current:
            return kept
        with self._engine.snapshot(event_partition(event_id)) as view:
            if kept.seats.refresh(view):
                return kept
        return self._load(event_id)

    # --- the whole map ----------------------------------------------------------------------------------------------

    def _whole(self, kept: KeptMaps, request: SeatMapRequest) -> SeatMapText:
        key = request.section_id, request.coding
        now_ms = self._clock.now_ms()
        if (made := kept.maps.get(key)) is not None:
            if kept.may_be_made_ahead:
                kept.note_asked(made, now_ms)
            if made.moment == kept.seats.newest or kept.is_young(made, now_ms):
                return made.text
            # Somebody else is about to make it; until then it may be given a little longer than to a single reader.
            if self._wake and made.is_crowds(now_ms) and kept.shows_what_is_old(made, now_ms):
                self._note_behind(request.event_id, kept)
                return made.text
        kept = self._refreshed(request.event_id, kept)
        text = self._maker.make(kept.seats.whole(request.section_id), (request.coding,))[0]
        kept.put(key, text, kept.seats.shown, now_ms)
        self._make_room()
        return text

    def _make_room(self) -> None:
        size_bytes = self.size_bytes
        while size_bytes > self._kept_bytes and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            size_bytes -= oldest.size_bytes

    # --- made ahead -------------------------------------------------------------------------------------------------

    @contextmanager
    def made_ahead(self, wake: Callable[[], None]) -> Iterator[None]:
        """Meanwhile somebody makes the maps that crowds ask for. ``wake`` is called when one has something to make."""
        self._wake = wake
        try:
            yield
        finally:
            self._wake = None
            self._behind.clear()

    def next_due(self) -> tuple[int, EventId] | None:
        """The event whose maps are to be made next, and when (milliseconds UTC; may be past); None if there is none.

        Of those that are due, the one that a crowd asked for last: where there is more to do than can be done, the
        maps that most ask for are made.
        """
        now_ms = self._clock.now_ms()
        best: tuple[int, int, EventId] | None = None
        for event_id in tuple(self._behind):
            due_at_ms = self._due_at_ms(event_id, now_ms)
            if due_at_ms is None:
                self._behind.discard(event_id)
                continue
            crowd_ms = self._kept[event_id].crowd_ms or 0
            rank = max(due_at_ms, now_ms), -crowd_ms, event_id
            best = rank if best is None else min(best, rank)
        return None if best is None else (best[0], best[2])

    def _due_at_ms(self, event_id: EventId, now_ms: int) -> int | None:
        kept = self._kept.get(event_id)
        if kept is None:
            return None
        behind = [
            made.at_ms
            for made in kept.maps.values()
            if made.moment < kept.seats.newest and made.is_crowds(now_ms)
        ]
        # Made when four fifths of its age are over, it is there when the one before it is too old.
        return min(behind) + kept.oldest_ms * 4 // 5 if behind else None

    def catch_up(self, event_id: EventId) -> bool:
        """Reads a few of the rows that a draft would read; False if there are only a few left, and none was read."""
        kept = self._kept.get(event_id)
        if kept is None or kept.seats.rows_behind <= ROWS_AT_ONCE:
            return False
        with self._engine.snapshot(event_partition(event_id)) as view:
            return kept.seats.refresh_rows(view, ROWS_AT_ONCE)

    def draft(self, event_id: EventId) -> Draft | None:
        """The maps of an event that crowds ask for and that lack a change, as its seats are now. None if there is
        nothing to be made, or if the plan is another by now: that is for the next request."""
        kept = self._kept.get(event_id)
        if kept is None:
            return None
        if not kept.seats.is_current:
            with self._engine.snapshot(event_partition(event_id)) as view:
                if not kept.seats.refresh(view):
                    self._kept.pop(event_id)
                    return None
        now_ms, moment = self._clock.now_ms(), kept.seats.shown
        codings: dict[SectionId | None, list[Coding | None]] = {}
        for (section_id, coding), made in kept.maps.items():
            if made.moment < moment and made.is_crowds(now_ms):
                codings.setdefault(section_id, []).append(coding)
        if not codings:
            return None
        parts = [
            DraftPart(section_id, kept.seats.whole(section_id), wanted)
            for section_id, wanted in codings.items()
        ]
        return Draft(kept=kept, moment=moment, at_ms=now_ms, parts=parts)

    def put(self, draft: Draft, texts: Sequence[Sequence[SeatMapText]]) -> None:
        """Keeps what was made of a draft, by part and coding. What was given up meanwhile is not kept again."""
        for part, made in zip(draft.parts, texts, strict=True):
            for coding, text in zip(part.codings, made, strict=True):
                draft.kept.put((part.section_id, coding), text, draft.moment, draft.at_ms)
        self._make_room()

    # --- what changed since -----------------------------------------------------------------------------------------

    def _require_reached(self, seats: EventSeats, since: int) -> None:
        """Refuses a version that the event's partition has not seen. What moves no seat has versions, too."""
        if since <= seats.shown.version:
            return
        partition = event_partition(seats.event_id)
        with self._engine.snapshot(partition) as view:
            newest = view.version(partition)
        if since > newest:
            raise Refusal(
                ErrorCode.INVALID_REQUEST,
                details={"query": "since is a version that this event has not reached", "version": newest},
            )

    def _reach_back(self, kept: KeptMaps, since: int) -> bool:
        """Whether it is known, or can be learnt from the change log, which seats changed after ``since``."""
        seats = kept.seats
        if since >= seats.floor:
            return True
        if since <= kept.unreachable:
            return False
        moved = self._moved_between(seats, since)
        if moved is None:
            kept.unreachable = since
            return False
        for change, event in moved:
            seats.note_past(event.seats, change.version)
        seats.floor = since
        return True

    def _moved_between(self, seats: EventSeats, since: int) -> list[tuple[Change, SeatsMoved]] | None:
        """The moves after ``since``, up to the floor at least; None if the plan changed, or the log does not tell."""
        moved: list[tuple[Change, SeatsMoved]] = []
        if seats.floor - since > MAX_CHANGES_READ:
            return None
        at = since
        while at < seats.floor:
            changes = self._engine.changes(event_partition(seats.event_id), at, _CHANGES_AT_ONCE)
            if not changes:
                return None
            for change in changes:
                if isinstance(change.event, EventPut | EventDeleted):
                    return None
                if isinstance(change.event, SeatsMoved):
                    moved.append((change, change.event))
            at = changes[-1].version
        return moved

    # --- following --------------------------------------------------------------------------------------------------

    def _notice(self, changes: Sequence[Change]) -> None:
        for change in changes:
            event = change.event
            if isinstance(event, SeatsMoved):
                kept = self._kept.get(event.event_id)
                if kept is not None:
                    moment = Moment(change.version, change.at_ms)
                    kept.seats.note(event.seats, moment)
                    if kept.may_be_made_ahead:
                        kept.note_change(moment)
                        self._note_behind(event.event_id, kept)
            elif isinstance(event, EventPut | EventDeleted):
                self._kept.pop(event.event_id, None)

    def _note_behind(self, event_id: EventId, kept: KeptMaps) -> None:
        """Wakes the one who makes maps ahead, if a crowd asks for those of this event, and it is not known yet."""
        if self._wake and event_id not in self._behind and kept.has_crowd(self._clock.now_ms()):
            self._behind.add(event_id)
            self._wake()
