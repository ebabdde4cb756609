"""The free seats of one event's sections: counted and written once, whoever listens, at most every 250 ms a section.

What was told last of each section is kept under a number that grows with each telling. A listener remembers one such
number, and is told what has a higher one: so it is told the newest of each section, however slowly it reads, and costs
nothing while it does not.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from storage.engine import Reader
from storage.schema.ids import EventId, RowKey, SeatNumber, SectionId, row_and_position
from storage.schema.layout import COUNTS, EVENT, SECTIONS, event_partition
from storage.schema.records import SectionRecord
from ticketd.realtime.updates import AvailabilityChanged, Encode, SeatsSnapshot, SectionSeats

SPACING_MS: Final = 250
"""A section is told of at most once in this time."""

_LONG_AGO: Final = -SPACING_MS


class _Section:
    """A section and what was told last of it. ``must_tell``: somebody was told a count that was not told to all."""

    __slots__ = ("free", "is_gone", "must_tell", "name", "number", "section_id", "text", "told_at_ms")

    def __init__(self, section_id: SectionId, name: str, free: int) -> None:
        self.section_id = section_id
        self.name = name
        self.free = free
        self.number = 0
        self.text = b""
        self.told_at_ms = _LONG_AGO
        self.must_tell = False
        self.is_gone = False

    def due_at_ms(self, now_ms: int) -> int:
        """When it may be told of again. A clock that was set back makes nobody wait."""
        return self.told_at_ms + SPACING_MS if self.told_at_ms <= now_ms else now_ms


class EventSections:
    """The sections of one event."""

    def __init__(self, event_id: EventId, encode: Encode) -> None:
        self.event_id = event_id
        self.newest = 0
        self._encode = encode
        self._partition = event_partition(event_id)
        self._sections: dict[int, _Section] = {}
        self._order: tuple[int, ...] = ()
        self._section_of: dict[RowKey, int] = {}
        self._changed: dict[int, None] = {}
        # What was told, oldest first; an entry counts only while its section still has that number.
        self._numbers: list[int] = []
        self._told: list[int] = []
        self._snapshot: bytes | None = None

    def load(self, reader: Reader) -> bool:
        """Reads the plan, at first or again after it was replaced; False if there is no such event.

        Of a section that is new, has another name, or is gone (no free seats), the listeners will be told: first of
        those that are gone.
        """
        event = EVENT.get(reader, self._partition)
        if event is None:
            return False
        is_first = not self._order
        known, self._sections = self._sections, {}
        self._section_of.clear()
        self._snapshot = None
        self._order = event.section_keys
        for (key,), record in SECTIONS.scan(reader, self._partition):
            if isinstance(key, int):
                self._take_in(key, record, known.pop(key, None), self._count(reader, key), is_first=is_first)
        gone = [key for key, section in known.items() if not section.is_gone]
        for key in gone:
            known[key].is_gone, known[key].told_at_ms = True, _LONG_AGO
        self._sections |= known
        # First, so that a section that came back under another name, with the same id, has the last word.
        self._changed = dict.fromkeys(gone) | self._changed
        return True

    def _take_in(
        self, key: int, record: SectionRecord, before: _Section | None, free: int, *, is_first: bool
    ) -> None:
        section = before or _Section(record.section_id, record.name, free)
        self._sections[key] = section
        is_another = before is not None and (before.is_gone or before.name != record.name)
        section.name, section.is_gone = record.name, False
        section.must_tell |= is_another or (before is None and not is_first)
        self._section_of.update(dict.fromkeys(record.row_keys, key))
        if not is_first:
            self._changed[key] = None

    def note(self, seats: Iterable[SeatNumber]) -> None:
        """Notes that seats have moved."""
        for seat in seats:
            key = self._section_of.get(row_and_position(seat)[0])
            if key is not None:
                self._changed[key] = None
                self._snapshot = None

    def due_at_ms(self, now_ms: int) -> int | None:
        """When there is something to tell; None if nothing has changed."""
        if not self._changed:
            return None
        return min(self._sections[key].due_at_ms(now_ms) for key in self._changed)

    def tell_due(self, reader: Reader, now_ms: int) -> bool:
        """Counts the sections whose turn it is; whether there is news."""
        before = self.newest
        for key in list(self._changed):
            section = self._sections[key]
            if section.due_at_ms(now_ms) <= now_ms:
                del self._changed[key]
                self._tell(key, section, self._free(reader, key, section), now_ms)
        if len(self._numbers) > 2 * len(self._sections) + 64:
            self._forget_what_is_told_anew()
        return self.newest > before

    def text_after(self, number: int) -> tuple[int, bytes] | None:
        """The oldest of what was told after ``number`` and still is the newest of its section, with its own number."""
        if number >= self.newest:
            return None
        for place in range(bisect_right(self._numbers, number), len(self._numbers)):
            section = self._sections[self._told[place]]
            if section.number == self._numbers[place]:
                return section.number, section.text
        return None

    def snapshot(self, reader: Reader, now_ms: int) -> bytes:
        """Every section as it is now, for one who begins to listen: whoever has it knows all up to ``newest``."""
        if self._snapshot is None:
            for key in self._changed:
                self._sections[key].must_tell = True
            sections = tuple(self._seats(reader, key) for key in self._order)
            self._snapshot = self._encode(SeatsSnapshot(event_id=self.event_id, sections=sections), now_ms)
        return self._snapshot

    def _seats(self, reader: Reader, key: int) -> SectionSeats:
        section = self._sections[key]
        free = self._free(reader, key, section) if key in self._changed else section.free
        return SectionSeats(section.section_id, section.name, free)

    def _free(self, reader: Reader, key: int, section: _Section) -> int:
        return 0 if section.is_gone else self._count(reader, key)

    def _count(self, reader: Reader, key: int) -> int:
        return sum(count.free for _, count in COUNTS.scan(reader, self._partition, key))

    def _tell(self, key: int, section: _Section, free: int, now_ms: int) -> None:
        if free == section.free and not section.must_tell:
            return
        section.free, section.must_tell, section.told_at_ms = free, False, now_ms
        seats = SectionSeats(section.section_id, section.name, free)
        update = AvailabilityChanged(event_id=self.event_id, seats=seats, at_ms=now_ms)
        section.text = self._encode(update, now_ms)
        self.newest += 1
        section.number = self.newest
        self._numbers.append(section.number)
        self._told.append(key)
        self._snapshot = None

    def _forget_what_is_told_anew(self) -> None:
        kept = [
            (number, key)
            for number, key in zip(self._numbers, self._told, strict=True)
            if self._sections[key].number == number
        ]
        self._numbers = [number for number, _ in kept]
        self._told = [key for _, key in kept]
