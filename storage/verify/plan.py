"""Invariants of an event's plan: its records are all there and agree about sections, rows and seats."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from storage.schema.ids import RowKey
from storage.schema.layout import EVENT_IDS, OPENINGS, SYSTEM, TOTAL
from storage.schema.records import RowPlanRecord
from storage.schema.states import SeatState
from storage.verify.contents import EventContents, whole
from storage.verify.problem import Problem

_LONGEST_RUN = 15
_WORD_BYTES = 2


def check_event_is_whole(event: EventContents) -> Iterator[Problem]:
    """An event has its record, its sale and its total, and is listed among the events."""
    if event.event is None:
        yield event.problem("event-is-whole", "event", "there is no record of it")
    elif event.event.event_id != event.event_id:
        yield event.problem("event-is-whole", "event", f"its record is that of event {event.event.event_id}")
    if event.sale is None:
        yield event.problem("event-is-whole", "sale", "there is no record of it")
    if TOTAL.get(event.reader, event.partition) is None:
        yield event.problem("event-is-whole", "total", "there is no record of it")
    if not EVENT_IDS.has(event.reader, SYSTEM, event.event_id):
        yield event.problem("event-is-listed", "event", "it is not among the listed events")


def check_sections(event: EventContents) -> Iterator[Problem]:
    """The event lists its sections, each section its rows in their places, and every key was given."""
    if event.event is None:
        return
    listed = event.event.section_keys
    if len(set(listed)) != len(listed) or set(listed) != set(event.sections):
        text = f"sections {sorted(listed)} are listed, sections {sorted(event.sections)} are there"
        yield event.problem("plan-agrees", "sections", text)
    if max(event.sections, default=-1) >= event.event.next_section_key:
        yield event.problem("plan-agrees", "sections", "a section has a key that is yet to be given")
    if max(event.plans, default=-1) >= event.event.next_row_key:
        yield event.problem("plan-agrees", "rows", "a row has a key that is yet to be given")
    places = {
        row_key: (section_key, place)
        for section_key, section in event.sections.items()
        for place, row_key in enumerate(section.row_keys)
    }
    rows = {row_key: (row.section_key, row.place) for row_key, row in event.plans.items()}
    for row_key in sorted(places.keys() | rows.keys()):
        if places.get(row_key) != rows.get(row_key):
            text = (
                f"section and place are {rows.get(row_key)} by its plan, {places.get(row_key)} by its section"
            )
            yield event.problem("plan-agrees", f"row {row_key}", text)


def check_row_plans(event: EventContents) -> Iterator[Problem]:
    """The seats of a row have positions of their own that the row has given, and a tier of the sale."""
    tiers = 0 if event.sale is None else len(event.sale.tiers)
    for row_key, row in event.plans.items():
        positions = {seat.position for seat in row.seats}
        if len(positions) != len(row.seats) or not all(0 <= position < row.slots for position in positions):
            text = "two seats share a position, or one has a position that was not given"
            yield event.problem("seat-positions", f"row {row_key}", text)
        if not all(0 <= seat.tier < tiers for seat in row.seats):
            yield event.problem("seat-tiers", f"row {row_key}", f"a seat is of none of the {tiers} tiers")


def check_openings(event: EventContents) -> Iterator[Problem]:
    """What a section keeps of the runs of free seats in its rows is what the rows say.

    A word of two bytes for each row, little-endian: bit n for a run of n free seats, bit 15 for longer ones too.
    """
    kept = {whole(key): packed for (key,), packed in OPENINGS.scan(event.reader, event.partition)}
    for section_key in sorted(event.sections.keys() | kept.keys()):
        section = event.sections.get(section_key)
        words = () if section is None else [_runs_of_free_seats(event, key) for key in section.row_keys]
        expected = b"".join(word.to_bytes(_WORD_BYTES, "little") for word in words)
        if kept.get(section_key) != (None if section is None else expected):
            text = "the kept runs of free seats are not those of its rows"
            yield event.problem("openings-equal-recount", f"section {section_key}", text)


def _runs_of_free_seats(event: EventContents, row_key: RowKey) -> int:
    plan = event.plans.get(row_key)
    if plan is None:
        return 0
    word = 0
    for free, seats in groupby(_free_seats(event, row_key, plan)):
        if free:
            word |= 1 << min(len(list(seats)), _LONGEST_RUN)
    return word


def _free_seats(event: EventContents, row_key: RowKey, plan: RowPlanRecord) -> Iterator[bool]:
    """For each seat of a row, from one end to the other, whether it is free."""
    row = event.rows.get(row_key)
    states = b"" if row is None else row.states
    for seat in plan.seats:
        yield seat.position >= len(states) or states[seat.position] == SeatState.AVAILABLE
