"""The parts of an event file beside its hall: artist, venue, sale, tiers and waiting room.

Each reader takes the members of the event, reads one of them whole, and answers what it could read; what is wrong is
noted in the faults of the members.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

from ticketd.event_file import bounds
from ticketd.event_file.faults import shown
from ticketd.event_file.ids import derive_artist_id, derive_tier_id, derive_venue_id
from ticketd.event_file.members import Members, Unique, list_items, open_object
from ticketd.event_file.plan import PresaleCode, RoomPlan, TierPlan, VenuePlan
from ticketd.event_file.values import (
    amount_minor,
    read_code,
    read_flag,
    read_time_ms,
    read_timezone,
    read_uuid,
    text,
    whole_number,
)

ARTIST_FIELDS: Final = ("artist_id", "name")
VENUE_FIELDS: Final = ("venue_id", "name", "city", "state", "country", "timezone")
SALE_FIELDS: Final = ("presale_start", "presale_codes", "general_sale_start", "sale_end")
CODE_FIELDS: Final = ("code", "max_joins")
TIER_FIELDS: Final = ("tier_id", "name", "price", "fees")
ROOM_FIELDS: Final = (
    "enabled",
    "capacity",
    "max_active",
    "admit_per_minute",
    "lobby_opens",
    "claim_seconds",
    "access_seconds",
    "max_entries_per_device",
)

_UNKNOWN_ID: Final = UUID(int=0)


class SaleParts(msgspec.Struct, frozen=True, kw_only=True):
    """The ``sale`` of an event; ``general_sale_start_ms`` is None only if it could not be read."""

    presale_start_ms: int | None = None
    presale_codes: tuple[PresaleCode, ...] = ()
    general_sale_start_ms: int | None = None
    sale_end_ms: int | None = None


def read_artist(event: Members) -> tuple[UUID | None, str]:
    """The artist's id and name; None and an empty name for an event without one."""
    if "artist" not in event or event.value("artist") is None:
        return None, ""
    artist = event.nested("artist", ARTIST_FIELDS)
    if artist is None:
        return None, ""
    given_id = artist.nullable("artist_id", read_uuid)
    name = artist.required("name", text(bounds.MAX_NAME)) or ""
    return given_id or derive_artist_id(name), name


def read_venue(event: Members) -> VenuePlan:
    """The venue; texts that could not be read are empty."""
    venue = event.nested("venue", VENUE_FIELDS)
    if venue is None:
        return VenuePlan(venue_id=_UNKNOWN_ID, name="", city="", country="", timezone="")
    given_id = venue.nullable("venue_id", read_uuid)
    name = venue.required("name", text(bounds.MAX_NAME)) or ""
    city = venue.required("city", text(bounds.MAX_CITY)) or ""
    return VenuePlan(
        venue_id=given_id or derive_venue_id(name, city),
        name=name,
        city=city,
        state=venue.optional("state", text(bounds.MAX_CITY, least=0), ""),
        country=venue.required("country", text(bounds.MAX_COUNTRY)) or "",
        timezone=venue.required("timezone", read_timezone) or "",
    )


def read_sale(event: Members, date_ms: int | None) -> SaleParts:
    """When the sale opens and ends, and the codes of its presale; ``date_ms`` is the event's, None if it could not be
    read."""
    sale = event.nested("sale", SALE_FIELDS)
    if sale is None:
        return SaleParts()
    presale_start_ms = sale.nullable("presale_start", read_time_ms)
    codes = _read_codes(sale)
    general_ms = sale.required("general_sale_start", read_time_ms)
    sale_end_ms = sale.nullable("sale_end", read_time_ms)
    if general_ms is not None:
        if date_ms is not None and general_ms >= date_ms:
            sale.fault("general_sale_start", "must be before the event's date")
        if presale_start_ms is not None and presale_start_ms >= general_ms:
            sale.fault("presale_start", "must be before general_sale_start")
        if sale_end_ms is not None and sale_end_ms <= general_ms:
            sale.fault("sale_end", "must be after general_sale_start")
    return SaleParts(
        presale_start_ms=presale_start_ms,
        presale_codes=codes,
        general_sale_start_ms=general_ms,
        sale_end_ms=sale_end_ms,
    )


def _read_codes(sale: Members) -> tuple[PresaleCode, ...]:
    if "presale_codes" not in sale:
        return ()
    where = sale.path("presale_codes")
    unique = Unique(sale.faults, "the code")
    codes: list[PresaleCode] = []
    for index, item in enumerate(
        list_items(sale.faults, where, sale.value("presale_codes"), bounds.PRESALE_CODES)
    ):
        members = open_object(sale.faults, f"{where}[{index}]", item, CODE_FIELDS)
        if members is None:
            continue
        code = members.required("code", read_code)
        max_joins = members.required("max_joins", whole_number(bounds.MAX_JOINS))
        if code is not None and unique.check(members.path("code"), code, shown(code)):
            codes.append(PresaleCode(code, max_joins or 0))
    return tuple(codes)


def read_tiers(event: Members, event_id: UUID, currency: str | None) -> tuple[TierPlan, ...]:
    """The tiers whose names could be read; ``currency`` is None if it could not be."""
    if "tiers" not in event:
        event.fault("tiers", "is missing")
        return ()
    where = event.path("tiers")
    names = Unique(event.faults, "the tier name")
    ids = Unique(event.faults, "the tier id")
    read_amount = amount_minor(currency)
    tiers: list[TierPlan] = []
    for index, item in enumerate(list_items(event.faults, where, event.value("tiers"), bounds.TIERS)):
        tier = open_object(event.faults, f"{where}[{index}]", item, TIER_FIELDS)
        if tier is None:
            continue
        given_id = tier.nullable("tier_id", read_uuid)
        name = tier.required("name", text(bounds.MAX_PLACE_NAME))
        price_minor = tier.required("price", read_amount) or 0
        fees_minor = tier.optional("fees", read_amount, 0)
        if name is None or not names.check(tier.path("name"), name, shown(name)):
            continue
        tier_id = given_id or derive_tier_id(event_id, name)
        ids.check(tier.path("tier_id"), tier_id, str(tier_id))
        tiers.append(TierPlan(tier_id=tier_id, name=name, price_minor=price_minor, fees_minor=fees_minor))
    return tuple(tiers)


def read_room(event: Members, sale: SaleParts) -> RoomPlan:
    """The waiting room, which may be left out."""
    defaults = RoomPlan()
    if "waiting_room" not in event:
        return defaults
    room = event.nested("waiting_room", ROOM_FIELDS)
    if room is None:
        return defaults

    def number(name: str, limits: bounds.Range, default: int) -> int:
        return room.optional(name, whole_number(limits), default)

    enabled = room.optional("enabled", read_flag, defaults.enabled)
    capacity = number("capacity", bounds.CAPACITY, defaults.capacity)
    max_active = number("max_active", bounds.MAX_ACTIVE, defaults.max_active)
    admit_per_minute = number("admit_per_minute", bounds.ADMIT_PER_MINUTE, defaults.admit_per_minute)
    lobby_opens_ms = room.nullable("lobby_opens", read_time_ms)
    opening_ms = sale.general_sale_start_ms if sale.presale_start_ms is None else sale.presale_start_ms
    if lobby_opens_ms is not None and opening_ms is not None and lobby_opens_ms > opening_ms:
        first = "general_sale_start" if sale.presale_start_ms is None else "presale_start"
        room.fault("lobby_opens", f"must not be after {first}, the first opening of the sale")
    return RoomPlan(
        enabled=enabled,
        capacity=capacity,
        max_active=max_active,
        admit_per_minute=admit_per_minute,
        lobby_opens_ms=lobby_opens_ms,
        claim_seconds=number("claim_seconds", bounds.CLAIM_SECONDS, defaults.claim_seconds),
        access_seconds=number("access_seconds", bounds.ACCESS_SECONDS, defaults.access_seconds),
        max_entries_per_device=number(
            "max_entries_per_device", bounds.MAX_ENTRIES_PER_DEVICE, defaults.max_entries_per_device
        ),
    )
