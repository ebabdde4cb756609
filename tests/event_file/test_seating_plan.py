"""Seating plans of pretix: sections, positions, rows over an aisle, and a real plan with real faults."""

from __future__ import annotations

import copy
import json
from collections import Counter

import pytest

from tests.event_file.samples import (
    DATA,
    LEAST,
    Document,
    changed,
    encoded,
    faults_of,
    parsed,
    seat,
    with_plan,
    zone,
)
from ticketd.event_file.faults import EventFileInvalid
from ticketd.event_file.parse import parse_event_document, parse_event_file
from ticketd.event_file.plan import RowPlan, SeatPlan

TIERS = [{"name": f"Category {number}", "price": "40.00"} for number in ("I", "II", "III", "IV", "V")]


def stadium() -> Document:
    document = changed(LEAST, (("tiers",), TIERS))
    del document["sections"]
    document["seating_plan"] = json.loads((DATA / "seatmap-canvas-stadium.pretix.json").read_bytes())
    return document


def plan_seats(document: Document) -> list[tuple[str, str, str]]:
    """(zone, row, guid) of every seat of the plan."""
    plan = document["seating_plan"]
    assert isinstance(plan, dict)
    return [
        (found["name"], row["row_number"], each["seat_guid"])
        for found in plan["zones"]
        for row in found["rows"]
        for each in row["seats"]
    ]


def repaired(document: Document) -> Document:
    """The plan with each seat only where its guid stands first."""
    document = copy.deepcopy(document)
    plan = document["seating_plan"]
    assert isinstance(plan, dict)
    seen: set[str] = set()
    for found in plan["zones"]:
        for row in found["rows"]:
            kept = []
            for each in row["seats"]:
                if each["seat_guid"] not in seen:
                    seen.add(each["seat_guid"])
                    kept.append(each)
            row["seats"] = kept
    return document


def test_positions_add_up_from_zone_row_and_seat() -> None:
    found = zone("Hall", ("A", [seat("1", "g1", 0.25, 4), seat("2", "g2", -1, 5.5)]))
    document = with_plan([found])
    document = changed(
        document,
        (("seating_plan", "zones", 0, "position"), {"x": 100, "y": 200}),
        (("seating_plan", "zones", 0, "rows", 0, "position"), {"x": 10.5, "y": -20}),
    )
    (section,) = parsed(document).sections
    assert section.name == "Hall"
    assert section.rows == (
        RowPlan("A", (SeatPlan("1", 0, 110.75, 184.0, "g1"), SeatPlan("2", 0, 109.5, 185.5, "g2"))),
    )


def test_seats_of_one_row_may_have_different_tiers() -> None:
    document = with_plan([zone("Hall", ("A", [seat("1", "g1"), seat("2", "g2", category="Aisle")]))])
    document = changed(
        document, (("tiers",), [{"name": "Aisle", "price": "1"}, {"name": "Floor", "price": "2"}])
    )
    assert [each.tier for each in parsed(document).sections[0].rows[0].seats] == [1, 0]


def test_a_row_broken_by_an_aisle_is_one_row() -> None:
    left, right = [seat("1", "g1"), seat("2", "g2")], [seat("3", "g3", x=9)]
    document = with_plan([zone("Hall", ("A", left), ("B", [seat("1", "h1")]), ("A", right))])
    (section,) = parsed(document).sections
    assert [(row.label, [each.number for each in row.seats]) for row in section.rows] == [
        ("A", ["1", "2", "3"]),
        ("B", ["1"]),
    ]


def test_the_same_row_and_seat_may_stand_in_two_zones() -> None:
    document = with_plan([zone("Left", ("A", [seat("1", "g1")])), zone("Right", ("A", [seat("1", "g2")]))])
    assert parsed(document).seat_count == 2


def test_what_holds_no_seat_is_no_section() -> None:
    stage = {"name": "Stage", "position": {"x": 0, "y": 0}, "rows": [], "areas": [{"shape": "text"}]}
    document = with_plan([stage, zone("Hall", ("", []), ("A", [seat("1", "g1")]))])
    (section,) = parsed(document).sections
    assert [row.label for row in section.rows] == ["A"]


@pytest.mark.parametrize(("times", "more"), [(4, ""), (5, " and 1 more"), (6, " and 2 more")])
def test_a_guid_repeated_many_times_is_told_once(times: int, more: str) -> None:
    rows = [(f"R{number}", [seat("1", "same")]) for number in range(times)]
    (fault,) = faults_of(with_plan([zone("Hall", *rows)]))
    assert fault.where == "seating_plan.zones[0].rows[0].seats[0].seat_guid"
    assert fault.message == (
        '"same" is repeated at seating_plan.zones[0].rows[1].seats[0], seating_plan.zones[0].rows[2].seats[0], '
        f"seating_plan.zones[0].rows[3].seats[0]{more}"
    )


def test_too_many_seats_are_refused_once() -> None:
    # The same thousand seats again and again: as a file that would be larger than what is read.
    row = zone("Big", ("A", [seat(f"{number}", f"{number}") for number in range(1000)]))["rows"]
    assert isinstance(row, list)
    document = with_plan([{**zone("Big"), "rows": row * 203}])
    with pytest.raises(EventFileInvalid) as caught:
        parse_event_document(document)
    told = [fault.where for fault in caught.value.faults if "seats in all" in fault.message]
    assert told == ["seating_plan.zones[0].rows[200].seats"]


def test_the_stadium_is_refused_and_every_repeated_guid_named() -> None:
    document = stadium()
    counts = Counter(guid for _, _, guid in plan_seats(document))
    repeated = [guid for guid, count in counts.items() if count > 1]
    assert (sum(counts.values()), len(repeated)) == (738, 126)
    with pytest.raises(EventFileInvalid) as caught:
        parse_event_file(encoded(document))
    assert caught.value.more == 0
    assert [fault.message.split('"')[1] for fault in caught.value.faults] == repeated
    assert all(fault.where.endswith(".seat_guid") for fault in caught.value.faults)


def test_the_stadium_without_tiers_names_each_missing_category_once() -> None:
    document = changed(repaired(stadium()), (("tiers",), [{"name": "Category IV", "price": "1"}]))
    faults = faults_of(document)
    assert [fault.message.split('"')[1] for fault in faults] == ["Category I", "Category V"]


def test_the_repaired_stadium_is_taken_with_every_seat() -> None:
    document = repaired(stadium())
    plan = parsed(document)
    assert plan.seat_count == 318
    assert [section.name for section in plan.sections] == ["Ground floor", "First Floor"]
    found = [
        (section.name, row.label, each.guid)
        for section in plan.sections
        for row in section.rows
        for each in row.seats
    ]
    assert sorted(found) == sorted(plan_seats(document))
    first = plan.sections[0].rows[0].seats[1]
    assert (first.x, first.y) == (1261.05673144212 + 25, 478.85213751448657)
