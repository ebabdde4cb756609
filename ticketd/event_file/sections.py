"""The hall as ``sections``: each with a tier and rows, a row as a list of seat numbers or as first and last.

Positions for drawing are not part of this form; see ``seating_plan``.
"""

from __future__ import annotations

from ticketd.event_file.bounds import MAX_LABEL, MAX_PLACE_NAME, ROWS, SEAT_NUMBERS, SEATS_IN_ROW, SECTIONS
from ticketd.event_file.faults import shown
from ticketd.event_file.halls import Hall, check_row_texts
from ticketd.event_file.ids import derive_section_id
from ticketd.event_file.members import Members, Unique, did_you_mean, list_items, open_object
from ticketd.event_file.plan import RowPlan, SeatPlan, SectionPlan
from ticketd.event_file.values import Unreadable, read_uuid, text, whole_number

SECTION_FIELDS = ("section_id", "name", "tier", "rows")
ROW_FIELDS = ("row", "seats", "first", "last")

_read_name = text(MAX_PLACE_NAME)
_read_label = text(MAX_LABEL)
_read_number = whole_number(SEAT_NUMBERS)


def read_sections(hall: Hall, where: str, value: object) -> tuple[SectionPlan, ...]:
    """The sections of a list; what is wrong is noted in the hall's faults, and left out."""
    names = Unique(hall.faults, "the section name")
    ids = Unique(hall.faults, "the section id")
    plans: list[SectionPlan] = []
    for index, item in enumerate(list_items(hall.faults, where, value, SECTIONS)):
        section = open_object(hall.faults, f"{where}[{index}]", item, SECTION_FIELDS)
        if section is None:
            continue
        given_id = section.nullable("section_id", read_uuid)
        name = section.required("name", _read_name)
        tier = _read_tier(hall, section)
        rows = _read_rows(hall, section, tier)
        if name is None or not names.check(section.path("name"), name, shown(name)):
            continue
        section_id = given_id or derive_section_id(hall.event_id, name)
        ids.check(section.path("section_id"), section_id, str(section_id))
        plans.append(SectionPlan(section_id=section_id, name=name, rows=rows))
    return tuple(plans)


def _read_tier(hall: Hall, section: Members) -> int:
    name = section.required("tier", _read_name)
    if name is None:
        return 0
    if hall.tiers and name not in hall.tiers:
        section.fault("tier", f"names no tier: {shown(name)}{did_you_mean(name, hall.tiers)}")
    return hall.tiers.get(name, 0)


def _read_rows(hall: Hall, section: Members, tier: int) -> tuple[RowPlan, ...]:
    if "rows" not in section:
        section.fault("rows", "is missing")
        return ()
    where = section.path("rows")
    labels = Unique(hall.faults, "the row")
    plans: list[RowPlan] = []
    for index, item in enumerate(list_items(hall.faults, where, section.value("rows"), ROWS)):
        row = open_object(hall.faults, f"{where}[{index}]", item, ROW_FIELDS)
        if row is None:
            continue
        label = row.required("row", _read_label)
        if label is not None:
            labels.check(row.path("row"), label, shown(label))
        numbers = _read_numbers(hall, row)
        seats = tuple(SeatPlan(number, tier) for number in numbers)
        check_row_texts(hall.faults, row.where, seats)
        plans.append(RowPlan(label or "", seats))
    return tuple(plans)


def _read_numbers(hall: Hall, row: Members) -> list[str]:
    has_seats, has_ends = "seats" in row, "first" in row or "last" in row
    if has_seats == has_ends:
        told = "not both" if has_seats else "and has neither"
        hall.faults.add(row.where, f"must have either seats, or first and last, {told}")
        return []
    if has_seats:
        return _listed_numbers(hall, row.path("seats"), row.value("seats"))
    return _counted_numbers(hall, row)


def _counted_numbers(hall: Hall, row: Members) -> list[str]:
    first = row.required("first", _read_number)
    last = row.required("last", _read_number)
    if first is None or last is None:
        return []
    count = last - first + 1
    if count < 1:
        row.fault("last", f"must be at least {first}, which is first")
        return []
    if count > SEATS_IN_ROW.most:
        hall.faults.add(row.where, f"must have at most {SEATS_IN_ROW.most} seats, not {count}")
        return []
    if not hall.budget.take(row.where, count):
        return []
    return [str(number) for number in range(first, last + 1)]


def _listed_numbers(hall: Hall, where: str, value: object) -> list[str]:
    items = list_items(hall.faults, where, value, SEATS_IN_ROW)
    if not hall.budget.take(where, len(items)):
        return []
    first_places: dict[str, int] = {}
    for index, item in enumerate(items):
        try:
            number = _read_label(item)
        except Unreadable as error:
            hall.faults.add(f"{where}[{index}]", str(error))
            continue
        first = first_places.setdefault(number, index)
        if first != index:
            hall.faults.add(
                f"{where}[{index}]",
                f"the seat {shown(number)} is repeated; it stands first at {where}[{first}]",
            )
    return list(first_places)
