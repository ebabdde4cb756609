"""The hall as ``seating_plan``: a seating plan as pretix writes it (its ``seating-plan.schema.json``).

Zones become sections, categories are tiers by name, positions add up from zone, row and seat. What a sale needs is
checked strictly. What only a drawing needs (sizes, areas, colours, members that editors add) is somebody else's format
and passes unread; so do zones and rows without a seat, since they hold nothing to sell.

Rows of a zone with the same ``row_number`` are one row broken by an aisle: they are joined, in the order of the file. A
seat number that stands twice in such a row is a fault: two buyers would hold the same words.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from ticketd.event_file.bounds import MAX_GUID, MAX_LABEL, MAX_PLACE_NAME, ROWS, SEATS_IN_ROW, SECTIONS, Range
from ticketd.event_file.faults import shown
from ticketd.event_file.halls import Hall, check_row_texts
from ticketd.event_file.ids import derive_section_id
from ticketd.event_file.members import Members, Unique, did_you_mean, list_items, open_object
from ticketd.event_file.plan import RowPlan, SeatPlan, SectionPlan
from ticketd.event_file.values import Reader, Unreadable, read_coordinate, text

_ANY_LENGTH: Final = Range(0, 1_000_000)
_SHOWN_PLACES: Final = 3


class Point(NamedTuple):
    """A place in the plan's own units."""

    x: float
    y: float


_ORIGIN: Final = Point(0.0, 0.0)


class _JoinedRow:
    """A row of a zone, joined from all that have its label; ``numbers`` are those of its seats."""

    def __init__(self) -> None:
        self.seats: list[SeatPlan] = []
        self.numbers: set[str] = set()


class _SeatPlace(NamedTuple):
    """Where a seat stands in the file: indexes of zone, row and seat. Told only if it has a fault."""

    zone: int
    row: int
    seat: int

    def __str__(self) -> str:
        return f"seating_plan.zones[{self.zone}].rows[{self.row}].seats[{self.seat}]"


def _trimmed(most: int) -> Reader[str]:
    # White space around a name is an editor's slip; a plan comes as it is, and must not miss its tier for that.
    read_text = text(most, edges=True)

    def read(value: object) -> str:
        trimmed = read_text(value).strip()
        if not trimmed:
            raise Unreadable("must not be blank")
        return trimmed

    return read


_read_name = _trimmed(MAX_PLACE_NAME)
_read_label = _trimmed(MAX_LABEL)
_read_guid = text(MAX_GUID, edges=True)


def read_seating_plan(hall: Hall, value: object) -> tuple[SectionPlan, ...]:
    """The sections of a seating plan; what is wrong is noted in the hall's faults, and left out.

    The faults of zones, rows and seats come first, then each category without a tier, then each repeated seat_guid.
    """
    plan = open_object(hall.faults, "seating_plan", value, None)
    if plan is None or "zones" not in plan:
        if plan is not None:
            plan.fault("zones", "is missing")
        return ()
    return _PlanReading(hall).read_zones(plan)


class _PlanReading:
    """One reading of a plan, with what has to be known over all zones."""

    def __init__(self, hall: Hall) -> None:
        self._hall = hall
        self._faults = hall.faults
        self._names = Unique(hall.faults, "the zone name")
        self._guids: dict[str, list[_SeatPlace]] = {}
        self._missing_tiers: dict[str, list[_SeatPlace]] = {}

    def read_zones(self, plan: Members) -> tuple[SectionPlan, ...]:
        where = plan.path("zones")
        before = self._faults.count
        sections: list[SectionPlan] = []
        zones = list_items(self._faults, where, plan.value("zones"), Range(0, SECTIONS.most))
        for index, item in enumerate(zones):
            zone = open_object(self._faults, f"{where}[{index}]", item, None)
            section = None if zone is None else self._read_zone(index, zone)
            if section is not None:
                sections.append(section)
        self._note_missing_tiers()
        self._note_repeated_guids()
        if not sections and self._faults.count == before:
            self._faults.add(where, "have no seats to sell")
        return tuple(sections)

    def _read_zone(self, index: int, zone: Members) -> SectionPlan | None:
        position = _read_position(zone, required=True)
        if "rows" not in zone:
            zone.fault("rows", "is missing")
            return None
        joined: dict[str, _JoinedRow] = {}
        has_seats = False
        for row_index, row in self._rows_with_seats(zone):
            has_seats = True
            self._read_row(_SeatPlace(index, row_index, 0), row, position, joined)
        if not has_seats:
            return None
        if len(joined) > ROWS.most:
            zone.fault("rows", f"must have at most {ROWS.most} different row numbers, not {len(joined)}")
        name = zone.required("name", _read_name)
        if name is None or not self._names.check(zone.path("name"), name, shown(name)):
            return None
        rows = tuple(self._finish_row(zone, label, row.seats) for label, row in joined.items())
        return SectionPlan(section_id=derive_section_id(self._hall.event_id, name), name=name, rows=rows)

    def _rows_with_seats(self, zone: Members) -> Iterator[tuple[int, Members]]:
        where = zone.path("rows")
        for index, item in enumerate(list_items(self._faults, where, zone.value("rows"), _ANY_LENGTH)):
            row = open_object(self._faults, f"{where}[{index}]", item, None)
            if row is None:
                continue
            if "seats" not in row:
                row.fault("seats", "is missing")
            elif row.value("seats") != []:
                yield index, row

    def _read_row(self, first: _SeatPlace, row: Members, zone: Point, joined: dict[str, _JoinedRow]) -> None:
        label = row.required("row_number", _read_label)
        start = _read_position(row, required=False)
        origin = Point(zone.x + start.x, zone.y + start.y)
        where = row.path("seats")
        items = list_items(self._faults, where, row.value("seats"), _ANY_LENGTH)
        if not self._hall.budget.take(where, len(items)):
            return
        # A row whose own number cannot be read still has its seats read, for their faults.
        whole = _JoinedRow() if label is None else joined.setdefault(label, _JoinedRow())
        for index, item in enumerate(items):
            place = first._replace(seat=index)
            seat = open_object(self._faults, str(place), item, None)
            plan = None if seat is None else self._read_seat(place, seat, origin)
            if plan is None or seat is None:
                continue
            if plan.number in whole.numbers and len(self._guids.get(plan.guid, ())) < 2:
                seat.fault(
                    "seat_number", f"{shown(plan.number)} is repeated in row {shown(label or '')} of its zone"
                )
            whole.numbers.add(plan.number)
            whole.seats.append(plan)

    def _read_seat(self, place: _SeatPlace, seat: Members, origin: Point) -> SeatPlan | None:
        number = seat.required("seat_number", _read_label)
        guid = seat.required("seat_guid", _read_guid)
        if guid is not None:
            self._guids.setdefault(guid, []).append(place)
        category = seat.required("category", _read_name)
        tier = 0
        if category is not None:
            tier = self._hall.tiers.get(category, -1)
            if tier < 0 and self._hall.tiers:
                self._missing_tiers.setdefault(category, []).append(place)
        point = _read_position(seat, required=True)
        x, y = origin.x + point.x, origin.y + point.y
        try:
            read_coordinate(x)
            read_coordinate(y)
        except Unreadable:
            seat.fault("position", "lies, added to its zone's and its row's, at no finite place")
        if number is None or guid is None:
            return None
        return SeatPlan(number, tier, x, y, guid)

    def _finish_row(self, zone: Members, label: str, seats: list[SeatPlan]) -> RowPlan:
        where = zone.path("rows")
        if len(seats) > SEATS_IN_ROW.most:
            self._faults.add(
                where, f"row {shown(label)} must have at most {SEATS_IN_ROW.most} seats, not {len(seats)}"
            )
        row = RowPlan(label, tuple(seats))
        check_row_texts(self._faults, f"{where}, row {shown(label)}", row.seats)
        return row

    def _note_missing_tiers(self) -> None:
        for category, places in self._missing_tiers.items():
            hint = "" if self._faults.full else did_you_mean(category, self._hall.tiers)
            count = "1 seat has" if len(places) == 1 else f"{len(places)} seats have"
            self._faults.add(
                f"{places[0]}.category",
                f"there is no tier for the category {shown(category)}, which {count}{hint}",
            )

    def _note_repeated_guids(self) -> None:
        for guid, places in self._guids.items():
            if len(places) == 1:
                continue
            others = ", ".join(str(place) for place in places[1 : 1 + _SHOWN_PLACES])
            unsaid = len(places) - 1 - _SHOWN_PLACES
            more = f" and {unsaid} more" if unsaid > 0 else ""
            self._faults.add(f"{places[0]}.seat_guid", f"{shown(guid)} is repeated at {others}{more}")


def _read_position(members: Members, *, required: bool) -> Point:
    """The position of a zone, a row or a seat; where it has none, or cannot be read, the origin."""
    if "position" not in members:
        if required:
            members.fault("position", "is missing")
        return _ORIGIN
    position = open_object(members.faults, members.path("position"), members.value("position"), None)
    if position is None:
        return _ORIGIN
    return Point(
        position.required("x", read_coordinate) or 0.0, position.required("y", read_coordinate) or 0.0
    )
