"""The event file, read: from bytes to an ``EventPlan``, or to everything that is wrong with them.

The order of reading is the order of the faults: the same file gives the same faults in the same order. No clock: a file
is right or wrong whatever the day.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from ticketd.event_file import bounds
from ticketd.event_file.faults import Faults
from ticketd.event_file.halls import Hall, SeatBudget
from ticketd.event_file.ids import derive_event_id
from ticketd.event_file.json_text import read_json
from ticketd.event_file.members import Members, open_object
from ticketd.event_file.parts import read_artist, read_room, read_sale, read_tiers, read_venue
from ticketd.event_file.plan import EventPlan, SectionPlan, TierPlan
from ticketd.event_file.seating_plan import read_seating_plan
from ticketd.event_file.sections import read_sections
from ticketd.event_file.values import (
    read_currency,
    read_flag,
    read_tax_rate_ppm,
    read_time_ms,
    read_url,
    read_uuid,
    text,
    whole_number,
)

EVENT_FIELDS: Final = (
    "event_id",
    "name",
    "description",
    "artist",
    "category",
    "image_url",
    "venue",
    "date",
    "doors_open",
    "sale",
    "currency",
    "tax_rate",
    "purchase_limit",
    "hold_seconds",
    "refund_fees",
    "refundable_until",
    "tiers",
    "sections",
    "seating_plan",
    "waiting_room",
)


def parse_event_file(data: bytes, *, event_id: UUID | None = None) -> EventPlan:
    """The plan of an event file of at most 16 MiB of UTF-8 JSON.

    ``event_id``, if given, is the event's id; a file that names another is refused. Raises EventFileInvalid: alone, for
    bytes that are no JSON; else with the names that are repeated in an object, then with all other faults in the order
    of the file's form.
    """
    faults = Faults()
    document = read_json(data, faults)
    if document is None and faults.count:
        raise faults.refusal()
    return _parse(document, event_id, faults)


def parse_event_document(document: object, *, event_id: UUID | None = None) -> EventPlan:
    """The same for JSON that was decoded already, in which repeated names can no longer be seen."""
    return _parse(document, event_id, Faults())


def _parse(document: object, event_id: UUID | None, faults: Faults) -> EventPlan:
    event = open_object(faults, "", document, EVENT_FIELDS)
    if event is None:
        raise faults.refusal()
    plan = _read_event(event, event_id)
    if faults.count:
        raise faults.refusal()
    return plan


def _read_event(event: Members, wanted_id: UUID | None) -> EventPlan:
    """The plan, with stand-ins where a fault was noted: not to be used if there is one."""
    given_id = event.nullable("event_id", read_uuid)
    if given_id is not None and wanted_id is not None and given_id != wanted_id:
        event.fault("event_id", f"must be {wanted_id}, the event that is written to, or be left out")
    name = event.required("name", text(bounds.MAX_NAME)) or ""
    description = event.optional("description", text(bounds.MAX_DESCRIPTION, least=0, lines=True), "")
    artist_id, artist_name = read_artist(event)
    category = event.optional("category", text(bounds.MAX_CATEGORY, least=0), "")
    image_url = event.optional("image_url", read_url, "")
    venue = read_venue(event)
    date_ms = event.required("date", read_time_ms)
    doors_open_ms = event.nullable("doors_open", read_time_ms)
    if date_ms is not None and doors_open_ms is not None and doors_open_ms > date_ms:
        event.fault("doors_open", "must not be after date")
    sale = read_sale(event, date_ms)
    currency = event.required("currency", read_currency)
    tax_rate_ppm = event.optional("tax_rate", read_tax_rate_ppm, 0)
    purchase_limit = event.optional("purchase_limit", whole_number(bounds.PURCHASE_LIMIT), 8)
    hold_seconds = event.optional("hold_seconds", whole_number(bounds.HOLD_SECONDS), 600)
    refund_fees = event.optional("refund_fees", read_flag, True)
    refundable_until_ms = event.nullable("refundable_until", read_time_ms)
    event_id = wanted_id or given_id or derive_event_id(venue.name, venue.city, date_ms or 0, name)
    tiers = read_tiers(event, event_id, currency)
    sections = _read_hall(event, event_id, tiers)
    return EventPlan(
        event_id=event_id,
        name=name,
        description=description,
        artist_id=artist_id,
        artist_name=artist_name,
        category=category,
        image_url=image_url,
        venue=venue,
        date_ms=date_ms or 0,
        doors_open_ms=doors_open_ms,
        presale_start_ms=sale.presale_start_ms,
        presale_codes=sale.presale_codes,
        general_sale_start_ms=sale.general_sale_start_ms or 0,
        sale_end_ms=sale.sale_end_ms,
        currency=currency or "",
        tax_rate_ppm=tax_rate_ppm,
        purchase_limit=purchase_limit,
        hold_seconds=hold_seconds,
        refund_fees=refund_fees,
        refundable_until_ms=refundable_until_ms,
        tiers=tiers,
        sections=sections,
        room=read_room(event, sale),
    )


def _read_hall(event: Members, event_id: UUID, tiers: tuple[TierPlan, ...]) -> tuple[SectionPlan, ...]:
    has_sections, has_plan = "sections" in event, "seating_plan" in event
    if has_sections == has_plan:
        told = "not both" if has_sections else "and has neither"
        event.faults.add(event.where, f"must have either sections or seating_plan, {told}")
        return ()
    hall = Hall(
        faults=event.faults,
        event_id=event_id,
        tiers={tier.name: index for index, tier in enumerate(tiers)},
        budget=SeatBudget(event.faults),
    )
    if has_plan:
        return read_seating_plan(hall, event.value("seating_plan"))
    return read_sections(hall, "sections", event.value("sections"))
