"""Derived ids: equal for equal names, different for all else, and the same for ever."""

from __future__ import annotations

from uuid import UUID

from tests.event_file.samples import LEAST, SEATED, JsonPath, changed, encoded, faults_of, parsed
from ticketd.event_file.ids import (
    derive_artist_id,
    derive_event_id,
    derive_section_id,
    derive_tier_id,
    derive_venue_id,
)
from ticketd.event_file.parse import parse_event_file

EVENT = UUID("6f1c2a9e-3b5d-4c7f-8a90-1b2c3d4e5f60")


def test_ids_are_the_ones_they_always_were() -> None:
    # Stores hold these: a change here takes every event from its past.
    assert [
        str(derive_venue_id("Old Mill", "Zürich")),
        str(derive_artist_id("Ada Reed")),
        str(derive_event_id("Old Mill", "Zürich", 1_818_356_400_000, "Harvest Moon")),
        str(derive_tier_id(EVENT, "Floor")),
        str(derive_section_id(EVENT, "Floor")),
    ] == [
        "fa50a5ce-b995-5883-b1de-55434c55288c",
        "2525e9ef-d8b4-57ab-ac70-d2aabac0e951",
        "b3a7eaf2-2be7-56b8-8ddd-30e43735a08c",
        "b3362e5e-4991-5149-a60f-822255be30d0",
        "4d9986b2-032d-5f8f-8167-4702f5413e42",
    ]


def test_the_same_file_gives_the_same_ids() -> None:
    assert parsed(LEAST) == parsed(LEAST)
    assert parsed(SEATED) == parsed(SEATED)


def test_an_event_is_known_by_venue_date_and_name() -> None:
    first = parsed(LEAST).event_id
    changes: list[tuple[JsonPath, object]] = [
        (("name",), "Other"),
        (("date",), "2027-08-16T19:00:00Z"),
        (("venue", "name"), "Other"),
        (("venue", "city"), "Other"),
    ]
    others = {parsed(changed(LEAST, change)).event_id for change in changes}
    assert len(others | {first}) == 5
    # The same moment in another offset, another price, another hall: the same event.
    same = changed(
        LEAST,
        (("date",), "2027-08-15T21:00:00+02:00"),
        (("tiers", 0, "price"), "1"),
        (("sections", 0, "rows", 0, "last"), 9),
    )
    assert parsed(same).event_id == first


def test_venue_and_artist_are_the_same_in_other_events() -> None:
    with_artist = changed(LEAST, (("artist",), {"name": "Ada Reed"}))
    other = changed(with_artist, (("name",), "Other"), (("date",), "2028-01-01T00:00:00Z"))
    assert parsed(with_artist).venue.venue_id == parsed(other).venue.venue_id
    assert parsed(with_artist).artist_id == parsed(other).artist_id
    assert parsed(with_artist).event_id != parsed(other).event_id


def test_tiers_and_sections_belong_to_their_event() -> None:
    first = parse_event_file(encoded(LEAST), event_id=EVENT)
    other = parsed(LEAST)
    ids = {
        first.tiers[0].tier_id,
        first.sections[0].section_id,
        other.tiers[0].tier_id,
        other.sections[0].section_id,
    }
    assert len(ids) == 4


def test_names_do_not_run_into_each_other() -> None:
    assert derive_venue_id("ab", "c") != derive_venue_id("a", "bc")
    assert derive_tier_id(EVENT, "Floor") != derive_section_id(EVENT, "Floor")


def test_an_id_that_is_written_out_may_not_be_another_ones_derived_id() -> None:
    plan = parse_event_file(encoded(LEAST), event_id=EVENT)
    taken = str(plan.tiers[0].tier_id)
    document = changed(
        LEAST,
        (("event_id",), str(EVENT)),
        (("tiers",), [{"name": "Floor", "price": "1"}, {"tier_id": taken, "name": "Other", "price": "1"}]),
    )
    (fault,) = faults_of(document)
    assert fault.where == "tiers[1].tier_id"
