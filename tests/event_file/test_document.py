"""Plans written back as event files, and read again."""

from __future__ import annotations

import json
import string
from typing import TypeVar
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.event_file.samples import FULL, SEATED, changed, parsed
from ticketd.event_file.currencies import EXPONENTS
from ticketd.event_file.document import plan_to_document
from ticketd.event_file.ids import derive_section_id
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
from ticketd.event_file.schema import event_schema

T = TypeVar("T")

SCHEMA = Draft202012Validator(event_schema())
TIMES = st.integers(0, 253_402_300_799_999)
CHARACTERS = st.characters(exclude_categories=["Cc", "Cs"])
PLAIN = st.text(string.ascii_letters + string.digits + "äß日本 -", min_size=1, max_size=8)
LINES = st.text(st.one_of(CHARACTERS, st.sampled_from("\n\t\r")), max_size=40)
COUNTS = st.integers(1, 1000)


def names(most: int = 12) -> st.SearchStrategy[str]:
    return st.one_of(PLAIN, st.text(CHARACTERS, min_size=1, max_size=most)).map(str.strip).filter(bool)


def maybe(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    return st.one_of(st.none(), strategy)


@st.composite
def venues(draw: st.DrawFn) -> VenuePlan:
    return VenuePlan(
        venue_id=draw(st.uuids()),
        name=draw(names()),
        city=draw(names()),
        state=draw(st.one_of(st.just(""), names())),
        country=draw(names()),
        timezone=draw(st.sampled_from(["Europe/Zurich", "UTC", "America/New_York"])),
    )


@st.composite
def tier_lists(draw: st.DrawFn) -> tuple[TierPlan, ...]:
    found = draw(st.lists(names(), min_size=1, max_size=4, unique=True))
    ids = draw(st.lists(st.uuids(), min_size=len(found), max_size=len(found), unique=True))
    amounts = st.integers(0, 10**12)
    return tuple(
        TierPlan(tier_id=tier_id, name=name, price_minor=draw(amounts), fees_minor=draw(amounts))
        for tier_id, name in zip(ids, found, strict=True)
    )


@st.composite
def seat_numbers(draw: st.DrawFn) -> list[str]:
    if draw(st.booleans()):
        first = draw(st.integers(0, 999_990))
        return [str(number) for number in range(first, first + draw(st.integers(1, 8)))]
    return draw(st.lists(names(5), min_size=1, max_size=5, unique=True))


@st.composite
def plain_halls(draw: st.DrawFn, tier_count: int) -> tuple[SectionPlan, ...]:
    found = draw(st.lists(names(), min_size=1, max_size=3, unique=True))
    ids = draw(st.lists(st.uuids(), min_size=len(found), max_size=len(found), unique=True))
    sections = []
    for section_id, name in zip(ids, found, strict=True):
        tier = draw(st.integers(0, tier_count - 1))
        rows = tuple(
            RowPlan(label, tuple(SeatPlan(number, tier) for number in draw(seat_numbers())))
            for label in draw(st.lists(names(5), min_size=1, max_size=3, unique=True))
        )
        sections.append(SectionPlan(section_id=section_id, name=name, rows=rows))
    return tuple(sections)


@st.composite
def drawn_halls(draw: st.DrawFn, event_id: UUID, tier_count: int) -> tuple[SectionPlan, ...]:
    places = st.floats(allow_nan=False, allow_infinity=False)
    guids = iter(range(1000))
    sections = []
    for name in draw(st.lists(names(), min_size=1, max_size=3, unique=True)):
        rows = tuple(
            RowPlan(
                label,
                tuple(
                    SeatPlan(
                        number,
                        draw(st.integers(0, tier_count - 1)),
                        draw(places),
                        draw(places),
                        f"guid {next(guids)}",
                    )
                    for number in draw(seat_numbers())
                ),
            )
            for label in draw(st.lists(names(5), min_size=1, max_size=3, unique=True))
        )
        sections.append(SectionPlan(section_id=derive_section_id(event_id, name), name=name, rows=rows))
    return tuple(sections)


@st.composite
def rooms(draw: st.DrawFn, opening_ms: int) -> RoomPlan:
    return RoomPlan(
        enabled=draw(st.booleans()),
        capacity=draw(COUNTS),
        max_active=draw(COUNTS),
        admit_per_minute=draw(COUNTS),
        lobby_opens_ms=draw(maybe(st.integers(0, opening_ms))),
        claim_seconds=draw(COUNTS),
        access_seconds=draw(COUNTS),
        max_entries_per_device=draw(COUNTS),
    )


@st.composite
def plans(draw: st.DrawFn) -> EventPlan:
    event_id = draw(st.uuids())
    tiers = draw(tier_lists())
    presale_ms, general_ms, *later_ms = sorted(draw(st.lists(TIMES, min_size=4, max_size=4, unique=True)))
    presale_start_ms = draw(st.sampled_from([None, presale_ms]))
    date_ms, end_ms = draw(st.permutations(later_ms))
    artist_id = draw(maybe(st.uuids()))
    codes = draw(
        st.lists(st.text(string.ascii_letters + '"\\', min_size=1, max_size=6), max_size=3, unique=True)
    )
    hall = plain_halls(len(tiers)) if draw(st.booleans()) else drawn_halls(event_id, len(tiers))
    return EventPlan(
        event_id=event_id,
        name=draw(names()),
        description=draw(LINES),
        artist_id=artist_id,
        artist_name="" if artist_id is None else draw(names()),
        category=draw(st.one_of(st.just(""), names())),
        image_url=draw(st.sampled_from(["", "http://e.org", "https://e.org:8443/a?b=%20#c"])),
        venue=draw(venues()),
        date_ms=date_ms,
        doors_open_ms=draw(maybe(st.integers(0, date_ms))),
        presale_start_ms=presale_start_ms,
        presale_codes=tuple(PresaleCode(code, draw(COUNTS)) for code in codes),
        general_sale_start_ms=general_ms,
        sale_end_ms=draw(st.sampled_from([None, end_ms])),
        currency=draw(st.sampled_from(sorted(EXPONENTS))),
        tax_rate_ppm=draw(st.integers(0, 1_000_000)),
        purchase_limit=draw(COUNTS),
        hold_seconds=draw(COUNTS),
        refund_fees=draw(st.booleans()),
        refundable_until_ms=draw(maybe(TIMES)),
        tiers=tiers,
        sections=draw(hall),
        room=draw(rooms(general_ms if presale_start_ms is None else presale_start_ms)),
    )


@settings(max_examples=100, deadline=None)
@given(plans())
def test_a_plan_that_is_written_is_read_back_as_it_was(plan: EventPlan) -> None:
    document = plan_to_document(plan)
    assert parse_event_document(document) == plan
    assert parse_event_file(json.dumps(document).encode()) == plan
    assert parse_event_file(json.dumps(document, ensure_ascii=False).encode(), event_id=plan.event_id) == plan
    # What the parser takes always fits the schema.
    assert [error.message for error in SCHEMA.iter_errors(document)] == []


def test_rows_that_count_on_are_written_as_first_and_last() -> None:
    document = plan_to_document(parsed(FULL))
    sections = document["sections"]
    assert isinstance(sections, list)
    assert [section["rows"] for section in sections if isinstance(section, dict)] == [
        [{"row": "A", "first": 1, "last": 3}, {"row": "B", "first": 1, "last": 40}],
        [{"row": "A", "seats": ["1", "3", "Box"]}],
    ]


def test_numbers_that_only_look_alike_are_written_out() -> None:
    for numbers in (["Box", "1"], ["01", "02"], ["1", "2", "3a"], ["²"], ["٣"], ["2", "1"], ["1000001"]):
        document = changed(FULL, (("sections", 0, "rows", 0, "seats"), numbers))
        assert parse_event_document(plan_to_document(parsed(document))) == parsed(document)


def test_a_full_file_is_written_as_it_was() -> None:
    document = plan_to_document(parsed(FULL))
    assert document["date"] == "2027-08-15T19:00:00Z"
    assert document["sale"] == {
        "presale_start": "2026-06-01T10:00:00Z",
        "presale_codes": [{"code": "FANS", "max_joins": 100}, {"code": "PRESS", "max_joins": 1}],
        "general_sale_start": "2026-06-03T10:00:00.250Z",
        "sale_end": "2027-08-15T19:30:00Z",
    }
    assert document["tax_rate"] == "0.081"
    tiers = document["tiers"]
    assert isinstance(tiers, list)
    assert tiers[0] == {
        "tier_id": "00000000-0000-4000-8000-0000000000c0",
        "name": "Floor",
        "price": "500.00",
        "fees": "75.00",
    }
    assert list(document) == [name for name in (*FULL, "seating_plan") if name in document]


def test_a_hall_with_positions_is_written_as_a_seating_plan() -> None:
    document = plan_to_document(parsed(SEATED))
    assert "sections" not in document
    assert parse_event_document(document) == parsed(SEATED)
