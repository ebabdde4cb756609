"""The seats of one event as its seat map shows them: kept row by row as bytes, joined when somebody asks.

True here: ``version`` is a version of the event's partition of which every change of a seat is shown; a row is read
again only if a seat of it has moved; which seats changed after a version is known back to ``floor``, from the changes
themselves, never by comparing. How old a map may be and how many are kept is
``ticketd.views.seat_maps``'s, how it is compressed ``ticketd.views.seat_map_text``'s.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from storage.engine import Reader
from storage.schema.ids import EventId, RowKey, SeatNumber, SectionId, row_and_position, seat_number
from storage.schema.layout import EVENT, ROW_PLANS, ROWS, SALE, SECTIONS, event_partition
from storage.schema.records import RowPlanRecord, SaleRecord, SectionRecord
from ticketd.domain.times import rfc3339
from ticketd.views.seat_text import SeatStyle, json_text

_VERSIONS: Final = "Q"
_ROW_BYTES: Final = 512
"""About what a row takes beside its text."""


class Moment(NamedTuple):
    """A version of a partition, and when it came about (milliseconds UTC)."""

    version: int
    at_ms: int


class _Row:
    """A row: its text, and after which version each of its seats changed. ``changed_at`` is None if none ever did."""

    __slots__ = ("changed_at", "head", "last_change", "slots", "text")

    def __init__(self, plan: RowPlanRecord, text: bytes) -> None:
        self.head = f'{{"row":{json_text(plan.label)},"seats":['.encode()
        self.text = text
        self.slots = plan.slots
        self.last_change = 0
        self.changed_at: array[int] | None = None

    def mark(self, position: int, version: int) -> None:
        """Notes that a seat changed in ``version``; the latest version counts."""
        if self.changed_at is None:
            self.changed_at = array(_VERSIONS, bytes(8 * self.slots))
        if position < self.slots:
            self.changed_at[position] = max(self.changed_at[position], version)
            self.last_change = max(self.last_change, version)

    def changed_after(self, version: int) -> Iterator[int]:
        """The positions of the seats that changed after ``version``."""
        if self.changed_at is not None and self.last_change > version:
            for position, changed_at in enumerate(self.changed_at):
                if changed_at > version:
                    yield position


class _Section:
    """A section: the beginning of its text, and its rows in the order of the hall."""

    __slots__ = ("head", "row_keys", "section_id")

    def __init__(self, record: SectionRecord) -> None:
        self.section_id = record.section_id
        self.row_keys = record.row_keys
        name = json_text(record.name)
        self.head = f'{{"section_id":"{record.section_id}","name":{name},"rows":['.encode()


class EventSeats:
    """The seats of one event, as they were at ``version``."""

    def __init__(self, event_id: EventId, sale: SaleRecord, read_at: Moment) -> None:
        self.event_id = event_id
        self._sale = sale
        self.shown = read_at
        self.newest = read_at
        self.floor = read_at.version
        self.seat_count = 0
        self.size_bytes = 0
        self._style = SeatStyle(event_id, sale)
        self._sections: list[_Section] = []
        self._rows: dict[RowKey, _Row] = {}
        self._dirty: set[RowKey] = set()

    @classmethod
    def load(cls, reader: Reader, event_id: EventId, read_at: Moment) -> EventSeats | None:
        """All seats of an event; None if there is no such event. ``read_at`` is what ``reader`` shows."""
        partition = event_partition(event_id)
        event, sale = EVENT.get(reader, partition), SALE.get(reader, partition)
        if event is None or sale is None:
            return None
        loaded = cls(event_id, sale, read_at)
        sections = {key: section for (key,), section in SECTIONS.scan(reader, partition)}
        records = {key: record for (key,), record in ROWS.scan(reader, partition)}
        for (key,), plan in ROW_PLANS.scan(reader, partition):
            if isinstance(key, int):
                row_key = RowKey(key)
                text = loaded._style.row_text(row_key, plan, records.get(key))
                loaded._rows[row_key] = _Row(plan, text)
                loaded.seat_count += len(plan.seats)
                loaded.size_bytes += len(text) + _ROW_BYTES
        loaded._sections = [_Section(sections[key]) for key in event.section_keys]
        return loaded

    @property
    def rows_behind(self) -> int:
        """How many rows ``refresh`` would read."""
        return len(self._dirty)

    @property
    def is_current(self) -> bool:
        """Whether no seat has moved since ``shown``."""
        return self.shown == self.newest

    def has_section(self, section_id: SectionId) -> bool:
        """Whether the event has this section."""
        return any(section.section_id == section_id for section in self._sections)

    def note(self, seats: Iterable[SeatNumber], moment: Moment) -> None:
        """Notes that seats moved. A move that the store showed already when the map was read changes nothing."""
        self._mark(seats, moment.version, self._dirty)
        self.newest = max(self.newest, moment)

    def note_past(self, seats: Iterable[SeatNumber], version: int) -> None:
        """Notes that seats moved in a version that is shown already; for what is then known, see ``floor``."""
        self._mark(seats, version, None)

    def refresh(self, reader: Reader) -> bool:
        """Reads the rows in which seats have moved. False if the plan is another by now: the map must be made anew."""
        if not self.refresh_rows(reader, len(self._dirty)):
            return False
        self.shown = self.newest
        return True

    def refresh_rows(self, reader: Reader, limit: int) -> bool:
        """Reads at most ``limit`` of the rows that ``refresh`` would read, which leaves it fewer. False as it says."""
        partition = event_partition(self.event_id)
        if SALE.get(reader, partition) != self._sale:
            return False
        for row_key in list(islice(self._dirty, limit)):
            row, plan = self._rows[row_key], ROW_PLANS.get(reader, partition, row_key)
            if plan is None or plan.slots != row.slots:
                return False
            text = self._style.row_text(row_key, plan, ROWS.get(reader, partition, row_key))
            self.size_bytes += len(text) - len(row.text)
            row.text = text
            self._dirty.discard(row_key)
        return True

    def whole(self, section_id: SectionId | None) -> list[bytes]:
        """The answer with every seat, or with every seat of one section, in pieces to be joined."""
        head, end = self._frame(complete=True)
        pieces, between = [head], b""
        for section in self._chosen(section_id):
            pieces += (between, section.head)
            between = b"]},"
            row_between = b""
            for key in section.row_keys:
                row = self._rows[key]
                pieces += (row_between, row.head, row.text)
                row_between = b"]},"
            if section.row_keys:
                pieces.append(b"]}")
        if between:
            pieces.append(b"]}")
        pieces.append(end)
        return pieces

    def changed_after(self, version: int, section_id: SectionId | None) -> bytes:
        """The answer with the seats that changed after ``version``, which must not lie below ``floor``."""
        sections: list[bytes] = []
        for section in self._chosen(section_id):
            rows: list[bytes] = []
            for key in section.row_keys:
                row = self._rows[key]
                seats = [seat_number(key, position) for position in row.changed_after(version)]
                if seats and (cut := self._style.cut_seats(row.text, seats)):
                    rows.append(row.head + cut + b"]}")
            if rows:
                sections.append(section.head + b",".join(rows))
        head, end = self._frame(complete=False)
        return b"".join((head, b"]},".join(sections) + b"]}" if sections else b"", end))

    def _chosen(self, section_id: SectionId | None) -> Sequence[_Section]:
        if section_id is None:
            return self._sections
        return [section for section in self._sections if section.section_id == section_id]

    def _frame(self, *, complete: bool) -> tuple[bytes, bytes]:
        """What stands before the sections of an answer, and what after them."""
        version, at_ms = self.shown
        head = (
            f'{{"event_id":"{self.event_id}","version":{version},"complete":{"true" if complete else "false"},'
            f'"currency":"{self._sale.currency}","sections":['
        )
        end = f'],"last_updated":"{rfc3339(at_ms // 1000 * 1000)}"}}'
        return head.encode(), end.encode()

    def _mark(self, seats: Iterable[SeatNumber], version: int, dirty: set[RowKey] | None) -> None:
        for seat in seats:
            row_key, position = row_and_position(seat)
            row = self._rows.get(row_key)
            if row is None:
                continue
            if row.changed_at is None:
                self.size_bytes += 8 * row.slots
            row.mark(position, version)
            if dirty is not None:
                dirty.add(row_key)
