"""The bounds keep every stored record of an event small enough for the store."""

from __future__ import annotations

from uuid import UUID

import msgspec
from msgspec.structs import replace

from storage.schema.ids import EventId, RowKey, SectionId, TierId
from storage.schema.records import (
    EventRecord,
    PresaleCodeRecord,
    RoomSettings,
    RowPlanRecord,
    SaleRecord,
    SeatPlanRecord,
    SectionRecord,
    TierRecord,
    VenueRecord,
)
from ticketd.event_file import bounds

MAX_RECORD_BYTES = 64 * 1024 - 1
ID = UUID(int=2**128 - 1)
WIDEST = "\U0001f3ab"
LATEST_MS = bounds.TIMES_MS.most


def size(record: msgspec.Struct) -> int:
    return len(msgspec.msgpack.encode(record))


def test_the_largest_row_fits() -> None:
    texts = bounds.MAX_ROW_TEXT_BYTES // bounds.SEATS_IN_ROW.most
    seats = tuple(
        SeatPlanRecord(
            "9" * (texts // 2), 2**16 - 1, bounds.TIERS.most, -1.5e300, -1.5e300, "g" * (texts - texts // 2)
        )
        for _ in range(bounds.SEATS_IN_ROW.most)
    )
    row = RowPlanRecord(section_key=2**31, label=WIDEST * bounds.MAX_LABEL, slots=2**16, seats=seats)
    # Up to 767 bytes of the row's texts are lost to rounding above.
    assert size(row) + bounds.SEATS_IN_ROW.most <= MAX_RECORD_BYTES


def test_the_largest_sale_fits() -> None:
    tier = TierRecord(
        tier_id=TierId(ID),
        name=WIDEST * bounds.MAX_PLACE_NAME,
        price_minor=bounds.MAX_PRICE_MINOR,
        fees_minor=bounds.MAX_PRICE_MINOR,
    )
    code = PresaleCodeRecord(code="x" * bounds.MAX_CODE, max_joins=bounds.MAX_JOINS.most)
    room = RoomSettings(
        enabled=True,
        capacity=bounds.CAPACITY.most,
        max_active=bounds.MAX_ACTIVE.most,
        admit_per_minute=bounds.ADMIT_PER_MINUTE.most,
        lobby_opens_ms=LATEST_MS,
        claim_seconds=bounds.CLAIM_SECONDS.most,
        access_seconds=bounds.ACCESS_SECONDS.most,
        max_entries_per_device=bounds.MAX_ENTRIES_PER_DEVICE.most,
    )
    sale = SaleRecord(
        date_ms=LATEST_MS,
        presale_start_ms=LATEST_MS,
        presale_codes=(code,) * bounds.PRESALE_CODES.most,
        general_sale_start_ms=LATEST_MS,
        sale_end_ms=LATEST_MS,
        currency="CLF",
        tax_rate_ppm=bounds.MAX_TAX_PPM,
        purchase_limit=bounds.PURCHASE_LIMIT.most,
        hold_seconds=bounds.HOLD_SECONDS.most,
        refund_fees=False,
        refundable_until_ms=LATEST_MS,
        cancelled=True,
        tiers=(tier,) * bounds.TIERS.most,
        room=room,
        room_as_planned=replace(room, max_active=bounds.MAX_ACTIVE.most - 1),
    )
    assert size(sale) <= MAX_RECORD_BYTES


def test_the_largest_event_and_section_fit() -> None:
    venue = VenueRecord(
        venue_id=ID,
        name=WIDEST * bounds.MAX_NAME,
        city=WIDEST * bounds.MAX_CITY,
        state=WIDEST * bounds.MAX_CITY,
        country=WIDEST * bounds.MAX_COUNTRY,
        timezone="z" * bounds.MAX_TIMEZONE,
    )
    event = EventRecord(
        event_id=EventId(ID),
        name=WIDEST * bounds.MAX_NAME,
        description=WIDEST * bounds.MAX_DESCRIPTION,
        artist_id=ID,
        artist_name=WIDEST * bounds.MAX_NAME,
        category=WIDEST * bounds.MAX_CATEGORY,
        image_url="u" * bounds.MAX_URL,
        venue=venue,
        doors_open_ms=LATEST_MS,
        section_keys=(2**31,) * bounds.SECTIONS.most,
        next_section_key=2**31,
        next_row_key=2**31,
    )
    section = SectionRecord(
        section_id=SectionId(ID),
        name=WIDEST * bounds.MAX_PLACE_NAME,
        row_keys=(RowKey(2**31),) * bounds.ROWS.most,
    )
    assert size(event) <= MAX_RECORD_BYTES
    assert size(section) <= MAX_RECORD_BYTES
