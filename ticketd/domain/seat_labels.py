"""What a seat is called: its section, row and number, as people find it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from storage.engine import Reader
from storage.schema.ids import EventId, RowKey, SeatNumber, row_and_position
from storage.schema.layout import SECTIONS, event_partition
from storage.schema.records import SectionRecord
from ticketd.domain.seat_rows import RowShape, read_shape

GONE = "-"
"""Stands for the name of a seat that has since been taken out of the hall's plan."""


class SeatLabel(msgspec.Struct, frozen=True):
    """A seat's place in the hall."""

    section: str
    row: str
    seat: str


def seat_labels(reader: Reader, event_id: EventId, seats: Sequence[SeatNumber]) -> list[SeatLabel]:
    """The labels of seats of one event, in the given order."""
    partition = event_partition(event_id)
    rows: dict[RowKey, RowShape | None] = {}
    sections: dict[int, SectionRecord | None] = {}
    labels: list[SeatLabel] = []
    for seat in seats:
        row_key, position = row_and_position(seat)
        if row_key not in rows:
            rows[row_key] = read_shape(reader, partition, row_key)
        row = rows[row_key]
        if row is None:
            labels.append(SeatLabel(GONE, GONE, GONE))
            continue
        if row.section_key not in sections:
            sections[row.section_key] = SECTIONS.get(reader, partition, row.section_key)
        section = sections[row.section_key]
        number = row.numbers.get(position, GONE)
        labels.append(SeatLabel(GONE if section is None else section.name, row.label, number))
    return labels
