"""Seat maps as ready answers: each joined and compressed once for a version, and given to all who ask.

True here: a map is never older than 250 ms, and the smaller it is, the fresher, since making it costs less; changes
since a version are always those up to this moment. All maps together keep within a number of bytes, the ones asked for
longest ago going first. Nothing is decided by a seat map: a reservation reads the store itself.
"""

from __future__ import annotations

import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Literal

import msgspec
import zstandard

from storage.clock import Clock
from storage.engine import Change, Engine
from storage.schema.events import EventDeleted, EventPut, SeatsMoved
from storage.schema.ids import EventId, SectionId
from storage.schema.layout import event_partition
from ticketd.errors import ErrorCode, Refusal
from ticketd.views.event_seats import EventSeats, Moment

Coding = Literal["zstd", "gzip"]

OLDEST_MS: Final = 250
"""No map is older than this."""
SEATS_FOR_ONE_MS: Final = 80
"""A map of so many seats is made anew at most every millisecond; twice as large, every two: it takes about as long."""
KEPT_BYTES: Final = 64 * 1024 * 1024
MIN_COMPRESSED_BYTES: Final = 1024
MAX_CHANGES_READ: Final = 10_000
"""So many entries of the change log are read for one answer; a version further back is answered with the whole map."""

_CHANGES_AT_ONCE: Final = 1000
_ZSTD_LEVEL: Final = 1
_GZIP_LEVEL: Final = 1


class SeatMapRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which seats are asked for: all or one section's, as they are or as they changed since a version; and in which
    coding, None for plain bytes."""

    event_id: EventId
    section_id: SectionId | None = None
    since: int | None = None
    coding: Coding | None = None


class SeatMapText(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it goes on the wire. ``coding`` is None where compressing was not asked for, or not worth it."""

    body: bytes
    coding: Coding | None
    etag: str


class _Made(msgspec.Struct, frozen=True):
    """A map that was made, from what, and when."""

    text: SeatMapText
    moment: Moment
    at_ms: int


class _Kept:
    """The seats of one event, and the maps made of them by section and coding.

    ``unreachable``: it is known that the change log does not tell what followed this version, or any before it.
    """

    __slots__ = ("made", "made_bytes", "seats", "unreachable")

    def __init__(self, seats: EventSeats) -> None:
        self.seats = seats
        self.made: dict[tuple[SectionId | None, Coding | None], _Made] = {}
        self.made_bytes = 0
        self.unreachable = -1

    @property
    def size_bytes(self) -> int:
        return self.seats.size_bytes + self.made_bytes


class SeatMaps:
    """The seat maps of all events, made when first asked for. To be used in the event loop's thread."""

    def __init__(self, engine: Engine, clock: Clock, kept_bytes: int = KEPT_BYTES) -> None:
        """Follows the engine. At most ``kept_bytes`` are kept, but for the map that was asked for last."""
        self._engine = engine
        self._clock = clock
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[EventId, _Kept] = OrderedDict()
        self._compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)
        self._unsubscribe = engine.subscribe(self._notice)

    def close(self) -> None:
        """Follows the engine no longer."""
        self._unsubscribe()
        self._kept.clear()

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
                return self._text(kept.seats.changed_after(request.since, section_id), request.coding)
        return self._whole(kept, request)

    def _find(self, event_id: EventId) -> _Kept:
        kept = self._kept.get(event_id)
        if kept is None:
            kept = self._load(event_id)
        else:
            self._kept.move_to_end(event_id)
        return kept

    def _load(self, event_id: EventId) -> _Kept:
        self._kept.pop(event_id, None)
        partition = event_partition(event_id)
        with self._engine.snapshot(partition) as view:
            version, now_ms = view.version(partition), view.now_ms
            seats = EventSeats.load(view, event_id, Moment(version, self._time_of(event_id, version, now_ms)))
        if seats is None:
            raise Refusal(ErrorCode.EVENT_NOT_FOUND, details={"event_id": str(event_id)})
        kept = self._kept[event_id] = _Kept(seats)
        self._make_room()
        return kept

    def _time_of(self, event_id: EventId, version: int, now_ms: int) -> int:
        """When the partition reached its version; now, if its log no longer tells."""
        changes = self._engine.changes(event_partition(event_id), max(version - 1, 0), 1)
        return changes[0].at_ms if changes else now_ms

    def _refreshed(self, event_id: EventId, kept: _Kept) -> _Kept:
        """The seats as they are now."""
        if kept.seats.is_current:
            return kept
        with self._engine.snapshot(event_partition(event_id)) as view:
            if kept.seats.refresh(view):
                return kept
        return self._load(event_id)

    # --- the whole map ----------------------------------------------------------------------------------------------

    def _whole(self, kept: _Kept, request: SeatMapRequest) -> SeatMapText:
        key = request.section_id, request.coding
        now_ms = self._clock.now_ms()
        made = kept.made.get(key)
        if made is not None:
            oldest_ms = min(OLDEST_MS, kept.seats.seat_count // SEATS_FOR_ONE_MS)
            if made.moment == kept.seats.newest or 0 <= now_ms - made.at_ms < oldest_ms:
                return made.text
        kept = self._refreshed(request.event_id, kept)
        text = self._text(kept.seats.whole(request.section_id), request.coding)
        if (before := kept.made.get(key)) is not None:
            kept.made_bytes -= len(before.text.body)
        kept.made[key] = _Made(text, kept.seats.shown, now_ms)
        kept.made_bytes += len(text.body)
        self._make_room()
        return text

    def _text(self, body: bytes, coding: Coding | None) -> SeatMapText:
        if len(body) < MIN_COMPRESSED_BYTES:
            coding = None
        if coding == "zstd":
            body = self._compressor.compress(body)
        elif coding == "gzip":
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        # Out of the very bytes, version and filters and coding among them: what differs has another tag.
        etag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
        return SeatMapText(body=body, coding=coding, etag=etag)

    def _make_room(self) -> None:
        size_bytes = self.size_bytes
        while size_bytes > self._kept_bytes and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            size_bytes -= oldest.size_bytes

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

    def _reach_back(self, kept: _Kept, since: int) -> bool:
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
                    kept.seats.note(event.seats, Moment(change.version, change.at_ms))
            elif isinstance(event, EventPut | EventDeleted):
                self._kept.pop(event.event_id, None)
