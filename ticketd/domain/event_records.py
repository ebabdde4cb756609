"""An event as it is stored, and as its plan says it: the way from one to the other, and back.

True here: a row and a seat keep the key and the position by which they are known for as long as every plan names them
(a row by its section's name and its label, a seat by its number); neither is ever given to another. What may be changed
while seats are held or sold is ``ticketd.domain.events``'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import msgspec

from storage.engine import Reader
from storage.schema.ids import EventId, RowKey, SectionId, TierId
from storage.schema.layout import EVENT, ROW_PLANS, SALE, SECTIONS, event_partition
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
from ticketd.domain.room_settings import planned_room, room_after_import, with_room
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


class StoredEvent(msgspec.Struct, frozen=True):
    """All records of an event's plan; equal if nothing of it differs."""

    event: EventRecord
    sale: SaleRecord
    sections: dict[int, SectionRecord]
    rows: dict[RowKey, RowPlanRecord]


def load_event(reader: Reader, event_id: EventId) -> StoredEvent | None:
    """The records of an event; None if there is none."""
    partition = event_partition(event_id)
    event, sale = EVENT.get(reader, partition), SALE.get(reader, partition)
    if event is None or sale is None:
        return None
    sections = {_int(key): section for (key,), section in SECTIONS.scan(reader, partition)}
    rows = {RowKey(_int(key)): row for (key,), row in ROW_PLANS.scan(reader, partition)}
    return StoredEvent(event, sale, sections, rows)


def records_of(plan: EventPlan, old: StoredEvent | None) -> StoredEvent:
    """The records of a plan that takes the place of ``old``; all new if that is None."""
    return _Arrangement(plan, old).stored()


def plan_of(stored: StoredEvent) -> EventPlan:
    """The plan that the records say: the room is the one that was planned, whatever an operator has set since."""
    event, sale = stored.event, stored.sale
    return EventPlan(
        event_id=event.event_id,
        name=event.name,
        description=event.description,
        artist_id=event.artist_id,
        artist_name=event.artist_name,
        category=event.category,
        image_url=event.image_url,
        venue=msgspec.convert(event.venue, VenuePlan, from_attributes=True),
        date_ms=sale.date_ms,
        doors_open_ms=event.doors_open_ms,
        presale_start_ms=sale.presale_start_ms,
        presale_codes=tuple(PresaleCode(known.code, known.max_joins) for known in sale.presale_codes),
        general_sale_start_ms=sale.general_sale_start_ms,
        sale_end_ms=sale.sale_end_ms,
        currency=sale.currency,
        tax_rate_ppm=sale.tax_rate_ppm,
        purchase_limit=sale.purchase_limit,
        hold_seconds=sale.hold_seconds,
        refund_fees=sale.refund_fees,
        refundable_until_ms=sale.refundable_until_ms,
        tiers=tuple(msgspec.convert(tier, TierPlan, from_attributes=True) for tier in sale.tiers),
        sections=tuple(_section_plan(stored, stored.sections[key]) for key in event.section_keys),
        room=msgspec.convert(planned_room(sale), RoomPlan, from_attributes=True),
    )


class _Arrangement:
    """The keys and positions that a plan's sections, rows and seats get: their old ones, or the next new ones."""

    def __init__(self, plan: EventPlan, old: StoredEvent | None) -> None:
        self._plan = plan
        self._old = old
        self._next_section_key = 0 if old is None else old.event.next_section_key
        self._next_row_key = 0 if old is None else old.event.next_row_key
        self._section_keys: dict[str, int] = {}
        self._row_keys: dict[tuple[int, str], RowKey] = {}
        if old is not None:
            self._section_keys = {section.name: key for key, section in old.sections.items()}
            self._row_keys = {(row.section_key, row.label): key for key, row in old.rows.items()}

    def stored(self) -> StoredEvent:
        sections: dict[int, SectionRecord] = {}
        rows: dict[RowKey, RowPlanRecord] = {}
        for section in self._plan.sections:
            section_key = self._section_keys.get(section.name)
            if section_key is None:
                section_key = self._next_section_key
                self._next_section_key += 1
            of_section = self._rows(section_key, section.rows)
            rows.update(of_section)
            sections[section_key] = SectionRecord(
                section_id=SectionId(section.section_id), name=section.name, row_keys=tuple(of_section)
            )
        return StoredEvent(self._event(tuple(sections)), self._sale(), sections, rows)

    def _rows(self, section_key: int, plans: Iterable[RowPlan]) -> dict[RowKey, RowPlanRecord]:
        rows: dict[RowKey, RowPlanRecord] = {}
        for place, plan in enumerate(plans):
            row_key = self._row_keys.get((section_key, plan.label))
            if row_key is None:
                row_key = RowKey(self._next_row_key)
                self._next_row_key += 1
            old = None if self._old is None else self._old.rows.get(row_key)
            rows[row_key] = _row_record(section_key, place, plan, old)
        return rows

    def _event(self, section_keys: tuple[int, ...]) -> EventRecord:
        plan = self._plan
        return EventRecord(
            event_id=EventId(plan.event_id),
            name=plan.name,
            description=plan.description,
            artist_id=plan.artist_id,
            artist_name=plan.artist_name,
            category=plan.category,
            image_url=plan.image_url,
            venue=msgspec.convert(plan.venue, VenueRecord, from_attributes=True),
            doors_open_ms=plan.doors_open_ms,
            section_keys=section_keys,
            next_section_key=self._next_section_key,
            next_row_key=self._next_row_key,
        )

    def _sale(self) -> SaleRecord:
        plan, old = self._plan, None if self._old is None else self._old.sale
        planned = msgspec.convert(plan.room, RoomSettings, from_attributes=True)
        sale = SaleRecord(
            date_ms=plan.date_ms,
            presale_start_ms=plan.presale_start_ms,
            presale_codes=tuple(
                PresaleCodeRecord(code=known.code, max_joins=known.max_joins) for known in plan.presale_codes
            ),
            general_sale_start_ms=plan.general_sale_start_ms,
            sale_end_ms=plan.sale_end_ms,
            currency=plan.currency,
            tax_rate_ppm=plan.tax_rate_ppm,
            purchase_limit=plan.purchase_limit,
            hold_seconds=plan.hold_seconds,
            refund_fees=plan.refund_fees,
            refundable_until_ms=plan.refundable_until_ms,
            # A plan does not say it: a cancelled event stays cancelled.
            cancelled=False if old is None else old.cancelled,
            tiers=tuple(
                TierRecord(
                    tier_id=TierId(tier.tier_id),
                    name=tier.name,
                    price_minor=tier.price_minor,
                    fees_minor=tier.fees_minor,
                )
                for tier in plan.tiers
            ),
            room=planned,
        )
        return sale if old is None else with_room(sale, planned, room_after_import(old, planned))


def _row_record(section_key: int, place: int, plan: RowPlan, old: RowPlanRecord | None) -> RowPlanRecord:
    positions = {} if old is None else {seat.number: seat.position for seat in old.seats}
    slots = 0 if old is None else old.slots
    seats: list[SeatPlanRecord] = []
    for seat in plan.seats:
        position = positions.get(seat.number)
        if position is None:
            position = slots
            slots += 1
        seats.append(
            SeatPlanRecord(
                number=seat.number, position=position, tier=seat.tier, x=seat.x, y=seat.y, guid=seat.guid
            )
        )
    return RowPlanRecord(
        section_key=section_key, label=plan.label, place=place, slots=slots, seats=tuple(seats)
    )


def _section_plan(stored: StoredEvent, section: SectionRecord) -> SectionPlan:
    rows = [stored.rows[row_key] for row_key in section.row_keys]
    return SectionPlan(
        section_id=section.section_id,
        name=section.name,
        rows=tuple(RowPlan(row.label, tuple(map(_seat_plan, row.seats))) for row in rows),
    )


def _seat_plan(seat: SeatPlanRecord) -> SeatPlan:
    return SeatPlan(number=seat.number, tier=seat.tier, x=seat.x, y=seat.y, guid=seat.guid)


def _int(part: int | UUID | str | bytes) -> int:
    if not isinstance(part, int):
        raise TypeError(f"a section's or a row's key is an integer, not {part!r}")
    return part
