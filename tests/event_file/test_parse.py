"""Whole files: what a good one becomes, and how a bad one is told."""

from __future__ import annotations

import copy
from uuid import UUID

import pytest

from tests.event_file.bad_files import BAD_FILES, Bad
from tests.event_file.bad_halls import BAD_HALLS
from tests.event_file.good_files import GOOD
from tests.event_file.samples import DEMO, FULL, LEAST, changed, encoded, faults_of, parsed, without
from ticketd.event_file.faults import EventFileInvalid, Fault
from ticketd.event_file.parse import parse_event_document, parse_event_file
from ticketd.event_file.plan import (
    EventPlan,
    PresaleCode,
    RoomPlan,
    RowPlan,
    SeatPlan,
    SectionPlan,
    TierPlan,
    VenuePlan,
)

ID = "00000000-0000-4000-8000-0000000000{}"
OTHER_ID = UUID("11111111-1111-4111-8111-111111111111")


def test_a_full_file_becomes_its_plan() -> None:
    plan = parsed(FULL)
    gallery = plan.sections[1]
    assert plan == EventPlan(
        event_id=UUID("6f1c2a9e-3b5d-4c7f-8a90-1b2c3d4e5f60"),
        name="Harvest Moon",
        description="First line.\n\tSecond line.",
        artist_id=UUID(ID.format("0a")),
        artist_name="Ada Reed",
        category="Concert",
        image_url="https://example.org/moon.png",
        venue=VenuePlan(
            venue_id=UUID(ID.format("0b")),
            name="Old Mill",
            city="Zürich",
            state="ZH",
            country="CH",
            timezone="Europe/Zurich",
        ),
        date_ms=1_818_356_400_000,
        doors_open_ms=1_818_352_800_000,
        presale_start_ms=1_780_308_000_000,
        presale_codes=(PresaleCode("FANS", 100), PresaleCode("PRESS", 1)),
        general_sale_start_ms=1_780_480_800_250,
        sale_end_ms=1_818_358_200_000,
        currency="CHF",
        tax_rate_ppm=81_000,
        purchase_limit=6,
        hold_seconds=300,
        refund_fees=False,
        refundable_until_ms=1_817_078_400_000,
        tiers=(
            TierPlan(tier_id=UUID(ID.format("c0")), name="Floor", price_minor=50_000, fees_minor=7_500),
            TierPlan(tier_id=plan.tiers[1].tier_id, name="Gallery", price_minor=9_000, fees_minor=750),
        ),
        sections=(
            SectionPlan(
                section_id=UUID(ID.format("d0")),
                name="Floor",
                rows=(
                    RowPlan("A", (SeatPlan("1", 0), SeatPlan("2", 0), SeatPlan("3", 0))),
                    RowPlan("B", tuple(SeatPlan(str(number), 0) for number in range(1, 41))),
                ),
            ),
            SectionPlan(
                section_id=gallery.section_id,
                name="Gallery",
                rows=(RowPlan("A", (SeatPlan("1", 1), SeatPlan("3", 1), SeatPlan("Box", 1))),),
            ),
        ),
        room=RoomPlan(
            enabled=True,
            capacity=5000,
            max_active=50,
            admit_per_minute=60,
            lobby_opens_ms=1_780_304_400_000,
            claim_seconds=60,
            access_seconds=900,
            max_entries_per_device=2,
        ),
    )
    assert plan.seat_count == 46


def test_the_least_file_has_all_defaults() -> None:
    plan = parsed(LEAST)
    assert (plan.description, plan.artist_id, plan.artist_name, plan.category, plan.image_url) == (
        "",
        None,
        "",
        "",
        "",
    )
    assert plan.venue.state == ""
    assert (plan.doors_open_ms, plan.presale_start_ms, plan.sale_end_ms, plan.refundable_until_ms) == (
        None,
    ) * 4
    assert plan.presale_codes == ()
    assert (plan.tax_rate_ppm, plan.purchase_limit, plan.hold_seconds, plan.refund_fees) == (0, 8, 600, True)
    assert plan.tiers[0].fees_minor == 0
    assert plan.room == RoomPlan(
        enabled=True,
        capacity=100_000,
        max_active=500,
        admit_per_minute=600,
        lobby_opens_ms=None,
        claim_seconds=120,
        access_seconds=600,
        max_entries_per_device=1,
    )


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_is_taken(name: str) -> None:
    assert faults_of(GOOD[name]) == []


@pytest.mark.parametrize("bad", BAD_FILES + BAD_HALLS, ids=lambda bad: bad.name)
def test_one_fault_is_told_alone_with_its_place(bad: Bad) -> None:
    (fault,) = faults_of(bad.document)
    assert fault.where == bad.where
    assert bad.says in fault.message
    # What is told can be printed and sent, whatever the file held.
    assert str(fault).isprintable()
    str(fault).encode()


def test_all_faults_are_told_at_once_in_reading_order() -> None:
    document = changed(
        without(FULL, ("name",)),
        (("venue", "city"), ""),
        (("sections", 0, "rows", 0, "seats", 1), ""),
        (("tiers", 1, "price"), "x"),
        (("zzz",), 1),
    )
    assert [fault.where for fault in faults_of(document)] == [
        "zzz",
        "name",
        "venue.city",
        "tiers[1].price",
        "sections[0].rows[0].seats[1]",
    ]


@pytest.mark.parametrize(
    ("count", "told", "more"), [(199, 199, 0), (200, 200, 0), (201, 200, 1), (900, 200, 700)]
)
def test_so_many_faults_are_told(count: int, told: int, more: int) -> None:
    document = {**{f"odd {index}": 1 for index in range(count)}, **FULL}
    with pytest.raises(EventFileInvalid) as caught:
        parse_event_file(encoded(document))
    assert (len(caught.value.faults), caught.value.more) == (told, more)
    lines = str(caught.value).splitlines()
    assert lines[0] == '["odd 0"]: is not a field of the event file'
    assert (lines[-1] == f"and {more} more") == (more > 0)


def test_faults_in_tiers_do_not_spread_to_what_is_right() -> None:
    document = changed(FULL, (("currency",), "???"), (("tiers", 0, "price"), "1.2345"))
    assert [fault.where for fault in faults_of(document)] == ["currency"]


def test_the_path_gives_the_event_its_id() -> None:
    assert parse_event_file(encoded(LEAST), event_id=OTHER_ID).event_id == OTHER_ID
    same = changed(LEAST, (("event_id",), str(OTHER_ID).upper()))
    assert parse_event_file(encoded(same), event_id=OTHER_ID).event_id == OTHER_ID


def test_a_file_that_names_another_event_than_the_path_is_refused() -> None:
    with pytest.raises(EventFileInvalid) as caught:
        parse_event_file(encoded(FULL), event_id=OTHER_ID)
    assert caught.value.faults == (
        Fault("event_id", f"must be {OTHER_ID}, the event that is written to, or be left out"),
    )


def test_a_decoded_document_is_read_like_its_bytes() -> None:
    document = copy.deepcopy(FULL)
    assert parse_event_document(document) == parsed(FULL)
    assert document == FULL
    with pytest.raises(EventFileInvalid):
        parse_event_document([])


def test_null_is_the_same_as_left_out() -> None:
    assert parsed(GOOD["nulls"]).artist_id is None
    assert parsed(changed(LEAST, (("event_id",), None), (("tiers", 0, "tier_id"), None))) == parsed(LEAST)


@pytest.mark.parametrize(("name", "seats"), [("arena", 2000), ("theatre", 138), ("club", 200)])
def test_the_demo_files_are_right(name: str, seats: int) -> None:
    assert parse_event_file((DEMO / f"{name}.json").read_bytes()).seat_count == seats
