"""Event files for the tests: one good one of each form, and ways to change a single place of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ticketd.event_file.faults import EventFileInvalid, Fault
from ticketd.event_file.parse import parse_event_file
from ticketd.event_file.plan import EventPlan

Document = dict[str, object]
JsonPath = tuple[str | int, ...]
Change = Callable[[Document], None]

DATA: Final = Path(__file__).resolve().parent.parent / "data"
DEMO: Final = Path(__file__).resolve().parent.parent.parent / "ticketd" / "demo"

FULL: Final[Document] = {
    "event_id": "6F1C2A9E-3b5d-4c7f-8a90-1b2c3d4e5f60",
    "name": "Harvest Moon",
    "description": "First line.\n\tSecond line.",
    "artist": {"artist_id": "00000000-0000-4000-8000-00000000000a", "name": "Ada Reed"},
    "category": "Concert",
    "image_url": "https://example.org/moon.png",
    "venue": {
        "venue_id": "00000000-0000-4000-8000-00000000000b",
        "name": "Old Mill",
        "city": "Zürich",
        "state": "ZH",
        "country": "CH",
        "timezone": "Europe/Zurich",
    },
    "date": "2027-08-15T19:00:00Z",
    "doors_open": "2027-08-15T20:00:00+02:00",
    "sale": {
        "presale_start": "2026-06-01T10:00:00Z",
        "presale_codes": [{"code": "FANS", "max_joins": 100}, {"code": "PRESS", "max_joins": 1}],
        "general_sale_start": "2026-06-03T10:00:00.250Z",
        "sale_end": "2027-08-15T19:30:00Z",
    },
    "currency": "CHF",
    "tax_rate": "0.081",
    "purchase_limit": 6,
    "hold_seconds": 300,
    "refund_fees": False,
    "refundable_until": "2027-08-01T00:00:00Z",
    "tiers": [
        {
            "tier_id": "00000000-0000-4000-8000-0000000000c0",
            "name": "Floor",
            "price": "500.00",
            "fees": "75.00",
        },
        {"name": "Gallery", "price": "90", "fees": "7.5"},
    ],
    "sections": [
        {
            "section_id": "00000000-0000-4000-8000-0000000000d0",
            "name": "Floor",
            "tier": "Floor",
            "rows": [{"row": "A", "seats": ["1", "2", "3"]}, {"row": "B", "first": 1, "last": 40}],
        },
        {"name": "Gallery", "tier": "Gallery", "rows": [{"row": "A", "seats": ["1", "3", "Box"]}]},
    ],
    "waiting_room": {
        "enabled": True,
        "capacity": 5000,
        "max_active": 50,
        "admit_per_minute": 60,
        "lobby_opens": "2026-06-01T09:00:00Z",
        "claim_seconds": 60,
        "access_seconds": 900,
        "max_entries_per_device": 2,
    },
}
"""Says everything that can be said with sections."""

LEAST: Final[Document] = {
    "name": "Harvest Moon",
    "venue": {"name": "Old Mill", "city": "Zürich", "country": "CH", "timezone": "Europe/Zurich"},
    "date": "2027-08-15T19:00:00Z",
    "sale": {"general_sale_start": "2026-06-03T10:00:00Z"},
    "currency": "CHF",
    "tiers": [{"name": "Floor", "price": "500.00"}],
    "sections": [{"name": "Floor", "tier": "Floor", "rows": [{"row": "A", "first": 1, "last": 2}]}],
}
"""Says only what must be said."""


def seat(number: str, guid: str, x: float = 0, y: float = 0, category: str = "Floor") -> Document:
    """A seat of a seating plan."""
    return {"seat_number": number, "seat_guid": guid, "position": {"x": x, "y": y}, "category": category}


def with_plan(zones: object) -> Document:
    """The least event file, with these zones as its hall."""
    document = copy.deepcopy(LEAST)
    del document["sections"]
    document["seating_plan"] = {"name": "Plan", "categories": [{"name": "Floor"}], "zones": zones}
    return document


def zone(name: str, *rows: tuple[str, list[Document]]) -> Document:
    """A zone of a seating plan at the origin; each row is its number and its seats."""
    return {
        "name": name,
        "position": {"x": 0, "y": 0},
        "rows": [
            {"row_number": label, "position": {"x": 0, "y": 0}, "seats": seats} for label, seats in rows
        ],
    }


SEATED: Final[Document] = with_plan(
    [
        zone("Hall", ("A", [seat("1", "g1", 1.5, 2), seat("2", "g2", 3, 2)])),
        zone("Box", ("A", [seat("1", "g3")])),
    ]
)
"""Has a seating plan."""


def put(document: Document, path: JsonPath, value: object) -> None:
    """Sets the value at ``path``."""
    _parent(document, path)[path[-1]] = value


def drop(document: Document, path: JsonPath) -> None:
    """Removes the member at ``path``."""
    del _parent(document, path)[path[-1]]


def _parent(document: Document, path: JsonPath) -> dict[str | int, object]:
    place: object = document
    for step in path[:-1]:
        if isinstance(place, list) and isinstance(step, int):
            place = place[step]
        else:
            assert isinstance(place, dict)
            place = place[step]
    assert isinstance(place, dict | list)
    # A list takes an index where a dict takes a name; for the caller both are "the place before the last step".
    return place  # type: ignore[return-value]  # see above


def changed(base: Document, *changes: tuple[JsonPath, object]) -> Document:
    """A copy of ``base`` with other values at these paths."""
    document = copy.deepcopy(base)
    for path, value in changes:
        put(document, path, value)
    return document


def without(base: Document, *paths: JsonPath) -> Document:
    """A copy of ``base`` without the members at these paths."""
    document = copy.deepcopy(base)
    for path in paths:
        drop(document, path)
    return document


def encoded(document: object) -> bytes:
    """The bytes of a document; lone surrogates are escaped, as JSON can say them."""
    return json.dumps(document).encode()


def parsed(document: object) -> EventPlan:
    """The plan of a document that is right."""
    return parse_event_file(encoded(document))


def faults_of(document: object) -> list[Fault]:
    """All faults of a document; none if it is right."""
    try:
        parse_event_file(encoded(document))
    except EventFileInvalid as refused:
        return list(refused.faults)
    return []
