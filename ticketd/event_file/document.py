"""An event written back as an event file: what ``parse`` reads from it is the plan again.

The hall becomes a ``seating_plan`` if its seats have positions, else ``sections``; every default and id is written out.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from ticketd.event_file.bounds import SEAT_NUMBERS, TAX_DECIMALS
from ticketd.event_file.currencies import decimal_text
from ticketd.event_file.plan import EventPlan, RowPlan, SectionPlan, TierPlan

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

_ORIGIN: Final[dict[str, Json]] = {"x": 0, "y": 0}
_COLOURS: Final = ("#4E79A7", "#F28E2B", "#59A14F", "#E15759", "#B07AA1", "#EDC948", "#76B7B2", "#9C755F")


def plan_to_document(plan: EventPlan) -> dict[str, Json]:
    """The event file of a plan, as JSON objects: ``parse_event_document(plan_to_document(plan)) == plan``.

    That holds for plans that a parser made: section ids of a hall with positions are not written, since they follow
    from the event's id and the zones' names.
    """
    document: dict[str, Json] = {
        "event_id": str(plan.event_id),
        "name": plan.name,
        "description": plan.description,
        "artist": None,
        "category": plan.category,
        "image_url": plan.image_url,
        "venue": {
            "venue_id": str(plan.venue.venue_id),
            "name": plan.venue.name,
            "city": plan.venue.city,
            "state": plan.venue.state,
            "country": plan.venue.country,
            "timezone": plan.venue.timezone,
        },
        "date": _time_text(plan.date_ms),
        "doors_open": _time_text_or_null(plan.doors_open_ms),
        "sale": _sale(plan),
        "currency": plan.currency,
        "tax_rate": _rate_text(plan.tax_rate_ppm),
        "purchase_limit": plan.purchase_limit,
        "hold_seconds": plan.hold_seconds,
        "refund_fees": plan.refund_fees,
        "refundable_until": _time_text_or_null(plan.refundable_until_ms),
        "tiers": [_tier(tier, plan.currency) for tier in plan.tiers],
    }
    if plan.artist_id is not None:
        document["artist"] = {"artist_id": str(plan.artist_id), "name": plan.artist_name}
    if any(seat.x is not None for section in plan.sections for row in section.rows for seat in row.seats):
        document["seating_plan"] = _seating_plan(plan)
    else:
        document["sections"] = [_section(section, plan.tiers) for section in plan.sections]
    document["waiting_room"] = _room(plan)
    return document


def _sale(plan: EventPlan) -> dict[str, Json]:
    return {
        "presale_start": _time_text_or_null(plan.presale_start_ms),
        "presale_codes": [{"code": code.code, "max_joins": code.max_joins} for code in plan.presale_codes],
        "general_sale_start": _time_text(plan.general_sale_start_ms),
        "sale_end": _time_text_or_null(plan.sale_end_ms),
    }


def _room(plan: EventPlan) -> dict[str, Json]:
    room = plan.room
    return {
        "enabled": room.enabled,
        "capacity": room.capacity,
        "max_active": room.max_active,
        "admit_per_minute": room.admit_per_minute,
        "lobby_opens": _time_text_or_null(room.lobby_opens_ms),
        "claim_seconds": room.claim_seconds,
        "access_seconds": room.access_seconds,
        "max_entries_per_device": room.max_entries_per_device,
    }


def _tier(tier: TierPlan, currency: str) -> dict[str, Json]:
    return {
        "tier_id": str(tier.tier_id),
        "name": tier.name,
        "price": decimal_text(tier.price_minor, currency),
        "fees": decimal_text(tier.fees_minor, currency),
    }


def _section(section: SectionPlan, tiers: tuple[TierPlan, ...]) -> dict[str, Json]:
    tier = tiers[section.rows[0].seats[0].tier]
    return {
        "section_id": str(section.section_id),
        "name": section.name,
        "tier": tier.name,
        "rows": [_row(row) for row in section.rows],
    }


def _row(row: RowPlan) -> dict[str, Json]:
    numbers = [seat.number for seat in row.seats]
    if numbers[0].isascii() and numbers[0].isdecimal():
        first = int(numbers[0])
        last = first + len(numbers) - 1
        if last <= SEAT_NUMBERS.most and numbers == [str(number) for number in range(first, last + 1)]:
            return {"row": row.label, "first": first, "last": last}
    return {"row": row.label, "seats": list[Json](numbers)}


def _seating_plan(plan: EventPlan) -> dict[str, Json]:
    categories: list[Json] = [
        {"name": tier.name, "color": _COLOURS[index % len(_COLOURS)]} for index, tier in enumerate(plan.tiers)
    ]
    zones: list[Json] = [
        {
            "name": section.name,
            "position": _ORIGIN,
            "rows": [
                {"row_number": row.label, "position": _ORIGIN, "seats": list(_seats(row, plan.tiers))}
                for row in section.rows
            ],
        }
        for section in plan.sections
    ]
    return {"name": plan.venue.name, "categories": categories, "zones": zones}


def _seats(row: RowPlan, tiers: tuple[TierPlan, ...]) -> Iterator[Json]:
    # Positions are absolute in a plan; zone and row stand at the origin, so that nothing is rounded on the way back.
    for seat in row.seats:
        yield {
            "seat_number": seat.number,
            "seat_guid": seat.guid,
            "position": {"x": seat.x, "y": seat.y},
            "category": tiers[seat.tier].name,
        }


def _time_text(at_ms: int) -> str:
    seconds, part = divmod(at_ms, 1000)
    clock = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{clock}.{part:03d}Z" if part else f"{clock}Z"


def _time_text_or_null(at_ms: int | None) -> str | None:
    return None if at_ms is None else _time_text(at_ms)


def _rate_text(ppm: int) -> str:
    whole, part = divmod(ppm, 10**TAX_DECIMALS)
    return f"{whole}.{part:0{TAX_DECIMALS}d}".rstrip("0").rstrip(".")
