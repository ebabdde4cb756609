"""The JSON Schema of the event file (draft 2020-12), made from the parser's own field names, bounds and patterns.

``event.schema.json`` beside this file is its text: ``python -m ticketd.event_file.schema`` prints it anew. A file that
the parser takes always fits the schema. A file that fits may still be refused for what a schema cannot say: repeated
names and ids, times of no calendar or in the wrong order, unknown time zones, tiers that are not there, first after
last, decimals that the currency does not have, halves of surrogate pairs, 8.0 for 8, and what holds over a whole row or
hall.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import resources
from typing import Final

from ticketd.event_file import bounds
from ticketd.event_file.currencies import EXPONENTS
from ticketd.event_file.document import Json
from ticketd.event_file.parse import EVENT_FIELDS
from ticketd.event_file.parts import (
    ARTIST_FIELDS,
    CODE_FIELDS,
    ROOM_FIELDS,
    SALE_FIELDS,
    TIER_FIELDS,
    VENUE_FIELDS,
)
from ticketd.event_file.plan import RoomPlan
from ticketd.event_file.sections import ROW_FIELDS, SECTION_FIELDS
from ticketd.event_file.values import (
    AMOUNT_PATTERN,
    CODE_PATTERN,
    CONTROL_BUT_LINES_PATTERN,
    CONTROL_PATTERN,
    EDGE_PATTERN,
    RATE_PATTERN,
    TIME_PATTERN,
    URL_PATTERN,
    UUID_PATTERN,
)

Schema = dict[str, Json]

SCHEMA_FILE: Final = "event.schema.json"

# In Python's patterns $ also matches before a last line end; what follows it here makes it the very end everywhere.
_END: Final = r"$(?![\s\S])"


def event_schema() -> Schema:
    """The JSON Schema of the event file."""
    one_hall: list[Json] = [{"required": ["sections"]}, {"required": ["seating_plan"]}]
    required = ("name", "venue", "date", "sale", "currency", "tiers")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:ticketd:event-file",
        "title": "ticketd event file",
        "description": "What `ticketd import` and `PUT /v1/operator/events/{event_id}` read.",
        **_object(EVENT_FIELDS, _event_members(), required),
        "oneOf": one_hall,
        "$defs": {
            "uuid": {"type": "string", "format": "uuid", "pattern": f"^{UUID_PATTERN}{_END}"},
            "time": {"type": "string", "format": "date-time", "pattern": f"^{TIME_PATTERN}{_END}"},
            "amount": {
                "type": "string",
                "pattern": f"^{AMOUNT_PATTERN}{_END}",
                "description": 'Such as "500.00", with at most the decimals of the currency.',
            },
            "position": _open_object({"x": {"type": "number"}, "y": {"type": "number"}}, ("x", "y")),
            "row": _row(),
            "seating_plan": _seating_plan(),
        },
    }


def schema_text() -> str:
    """The schema as the text of its file."""
    return json.dumps(event_schema(), indent=2) + "\n"


def read_schema_file() -> bytes:
    """The schema's file as it is shipped."""
    return (resources.files("ticketd.event_file") / SCHEMA_FILE).read_bytes()


def _event_members() -> dict[str, Json]:
    room = RoomPlan()
    return {
        "event_id": _or_null(_ref("uuid"), "Left out: derived from the venue, the date and the name."),
        "name": _text(bounds.MAX_NAME),
        "description": {
            "type": "string",
            "maxLength": bounds.MAX_DESCRIPTION,
            "not": {"pattern": CONTROL_BUT_LINES_PATTERN},
            "default": "",
        },
        "artist": _or_null(
            _object(
                ARTIST_FIELDS,
                {"artist_id": _or_null(_ref("uuid")), "name": _text(bounds.MAX_NAME)},
                ("name",),
            )
        ),
        "category": _text(bounds.MAX_CATEGORY, default=""),
        "image_url": {
            "type": "string",
            "maxLength": bounds.MAX_URL,
            "pattern": f"^({URL_PATTERN})?{_END}",
            "default": "",
        },
        "venue": _venue(),
        "date": _ref("time"),
        "doors_open": _or_null(_ref("time")),
        "sale": _sale(),
        "currency": {"enum": list[Json](sorted(EXPONENTS)), "description": "ISO 4217."},
        "tax_rate": {"type": "string", "pattern": f"^{RATE_PATTERN}{_END}", "default": "0"},
        "purchase_limit": _number(bounds.PURCHASE_LIMIT, 8),
        "hold_seconds": _number(bounds.HOLD_SECONDS, 600),
        "refund_fees": {"type": "boolean", "default": True},
        "refundable_until": _or_null(_ref("time")),
        "tiers": _list(_tier(), bounds.TIERS),
        "sections": _list(_section(), bounds.SECTIONS),
        "seating_plan": _ref("seating_plan"),
        "waiting_room": _room(room),
    }


def _venue() -> Schema:
    members: dict[str, Json] = {
        "venue_id": _or_null(_ref("uuid"), "Left out: derived from the venue's name and city."),
        "name": _text(bounds.MAX_NAME),
        "city": _text(bounds.MAX_CITY),
        "state": _text(bounds.MAX_CITY, default=""),
        "country": _text(bounds.MAX_COUNTRY, description="A name, or two letters of ISO 3166."),
        "timezone": _text(bounds.MAX_TIMEZONE, description="An IANA name such as Europe/Berlin."),
    }
    return _object(VENUE_FIELDS, members, ("name", "city", "country", "timezone"))


def _sale() -> Schema:
    code: dict[str, Json] = {
        "code": {"type": "string", "pattern": f"^{CODE_PATTERN}{_END}"},
        "max_joins": _number(bounds.MAX_JOINS),
    }
    members: dict[str, Json] = {
        "presale_start": _or_null(_ref("time")),
        "presale_codes": {
            **_list(_object(CODE_FIELDS, code, CODE_FIELDS), bounds.PRESALE_CODES),
            "default": [],
        },
        "general_sale_start": _ref("time"),
        "sale_end": _or_null(_ref("time"), "null: the sale ends at the event's date."),
    }
    return _object(SALE_FIELDS, members, ("general_sale_start",))


def _tier() -> Schema:
    members: dict[str, Json] = {
        "tier_id": _or_null(_ref("uuid")),
        "name": _text(bounds.MAX_PLACE_NAME),
        "price": _ref("amount"),
        "fees": {**_ref("amount"), "default": "0"},
    }
    return _object(TIER_FIELDS, members, ("name", "price"))


def _section() -> Schema:
    members: dict[str, Json] = {
        "section_id": _or_null(_ref("uuid")),
        "name": _text(bounds.MAX_PLACE_NAME),
        "tier": _text(bounds.MAX_PLACE_NAME, description="The name of one of the tiers."),
        "rows": _list(_ref("row"), bounds.ROWS),
    }
    return _object(SECTION_FIELDS, members, ("name", "tier", "rows"))


def _row() -> Schema:
    seats = {**_list(_text(bounds.MAX_LABEL), bounds.SEATS_IN_ROW), "uniqueItems": True}
    members: dict[str, Json] = {
        "row": _text(bounds.MAX_LABEL),
        "seats": seats,
        "first": _number(bounds.SEAT_NUMBERS),
        "last": _number(bounds.SEAT_NUMBERS),
    }
    has_first_or_last: Schema = {"anyOf": [{"required": ["first"]}, {"required": ["last"]}]}
    ways: list[Json] = [
        {"required": ["seats"], "not": has_first_or_last},
        {"required": ["first", "last"], "not": {"required": ["seats"]}},
    ]
    return {**_object(ROW_FIELDS, members, ("row",)), "oneOf": ways}


def _seating_plan() -> Schema:
    """A pretix seating plan, as far as a sale needs it. Members that are not named here are allowed everywhere."""
    seat = _open_object(
        {
            "seat_number": _trimmed(bounds.MAX_LABEL),
            "seat_guid": {
                "type": "string",
                "minLength": 1,
                "maxLength": bounds.MAX_GUID,
                "not": {"pattern": CONTROL_PATTERN},
            },
            "position": _ref("position"),
            "category": _trimmed(bounds.MAX_PLACE_NAME),
        },
        ("seat_number", "seat_guid", "position", "category"),
    )
    seats: Schema = {"type": "array", "items": seat}
    empty_row: Schema = {"properties": {"seats": {"maxItems": 0}}}
    with_seats = _open_object(
        {"row_number": _trimmed(bounds.MAX_LABEL), "position": _ref("position")}, ("row_number",)
    )
    row: Schema = {**_open_object({"seats": seats}, ("seats",)), "anyOf": [empty_row, with_seats]}
    zone_members: dict[str, Json] = {"rows": {"type": "array", "items": row}, "position": _ref("position")}
    empty_zone: Schema = {"properties": {"rows": {"items": empty_row}}}
    named_zone = _open_object({"name": _trimmed(bounds.MAX_PLACE_NAME)}, ("name",))
    zone: Schema = {**_open_object(zone_members, ("rows", "position")), "anyOf": [empty_zone, named_zone]}
    zones: Schema = {"type": "array", "maxItems": bounds.SECTIONS.most, "items": zone}
    return _open_object({"zones": zones}, ("zones",))


def _room(room: RoomPlan) -> Schema:
    members: dict[str, Json] = {
        "enabled": {"type": "boolean", "default": room.enabled},
        "capacity": _number(bounds.CAPACITY, room.capacity),
        "max_active": _number(bounds.MAX_ACTIVE, room.max_active),
        "admit_per_minute": _number(bounds.ADMIT_PER_MINUTE, room.admit_per_minute),
        "lobby_opens": _or_null(_ref("time"), "null: no lobby, joining opens with the sale."),
        "claim_seconds": _number(bounds.CLAIM_SECONDS, room.claim_seconds),
        "access_seconds": _number(bounds.ACCESS_SECONDS, room.access_seconds),
        "max_entries_per_device": _number(bounds.MAX_ENTRIES_PER_DEVICE, room.max_entries_per_device),
    }
    return _object(ROOM_FIELDS, members, ())


def _object(fields: Sequence[str], members: dict[str, Json], required: Sequence[str]) -> Schema:
    if tuple(members) != tuple(fields):
        raise ValueError(f"the schema has {tuple(members)} where the parser reads {tuple(fields)}")
    return {**_open_object(members, required), "additionalProperties": False}


def _open_object(members: dict[str, Json], required: Sequence[str]) -> Schema:
    return {"type": "object", "required": list[Json](required), "properties": members}


def _list(items: Schema, limits: bounds.Range) -> Schema:
    return {"type": "array", "minItems": limits.least, "maxItems": limits.most, "items": items}


def _text(most: int, *, default: str | None = None, description: str | None = None) -> Schema:
    """A text within one line, without white space at its edges; it may be empty exactly if it has a default."""
    schema: Schema = {
        "type": "string",
        "minLength": 1 if default is None else 0,
        "maxLength": most,
        "not": {"pattern": f"{CONTROL_PATTERN}|{EDGE_PATTERN}"},
    }
    if default is not None:
        schema["default"] = default
    if description is not None:
        schema["description"] = description
    return schema


def _trimmed(most: int) -> Schema:
    return {"type": "string", "maxLength": most, "pattern": r"\S", "not": {"pattern": CONTROL_PATTERN}}


def _number(limits: bounds.Range, default: int | None = None) -> Schema:
    schema: Schema = {"type": "integer", "minimum": limits.least, "maximum": limits.most}
    if default is not None:
        schema["default"] = default
    return schema


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _or_null(schema: Schema, description: str | None = None) -> Schema:
    either: Schema = {"anyOf": [schema, {"type": "null"}], "default": None}
    if description is not None:
        either["description"] = description
    return either


if __name__ == "__main__":
    sys.stdout.write(schema_text())
