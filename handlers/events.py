"""Events: searching them, and looking at one."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from handlers.answers import answer, encode_json, money, optional_time, time_text
from handlers.call import AnyCall, Reply
from handlers.forms import etag_of
from handlers.services import Services
from handlers.wire.common import Pagination
from handlers.wire.events import (
    EventAnswer,
    EventList,
    EventListed,
    EventQuery,
    PriceRange,
    PricingTier,
    SaleInfo,
    Venue,
    VenueSummary,
)
from storage.schema.ids import EventId
from storage.schema.records import SaleRecord
from ticketd.domain.sales import SalePhase, sale_ends_ms, sale_opens_ms
from ticketd.errors import ErrorCode, Refusal
from ticketd.event_file.values import Unreadable, read_time_ms
from ticketd.views.catalogue import EventDetails, EventSummary
from ticketd.views.search import LAST_MS, SearchQuery

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DAY_MS: Final = 86_400_000
_RATE_DECIMALS: Final = 6


async def search_events(services: Services, call: AnyCall) -> Reply:
    """200 with the events found, by date. Refuses INVALID_REQUEST for what is no date."""
    query = call.query_as(EventQuery)
    shown, total = services.catalogue.search(
        SearchQuery(
            query=query.query,
            city=query.city,
            category=query.category,
            artist=query.artist,
            date_from_ms=_first_ms(query.date_from) if query.date_from else 0,
            date_to_ms=_last_ms(query.date_to) if query.date_to else LAST_MS,
            limit=query.per_page,
            offset=(query.page - 1) * query.per_page,
        )
    )
    pagination = Pagination(page=query.page, per_page=query.per_page, total=total)
    return answer(EventList(events=[_listed(one) for one in shown], pagination=pagination))


async def get_event(services: Services, call: AnyCall) -> Reply:
    """200 with the event as it is now."""
    event_id = EventId(call.path_id("event_id", ErrorCode.EVENT_NOT_FOUND))
    details = services.catalogue.details(event_id)
    if details is None:
        raise Refusal(ErrorCode.EVENT_NOT_FOUND, details={"event_id": str(event_id)})
    body = encode_json(_event(details))
    return Reply(status=200, body=body, headers=(("ETag", etag_of(body)),))


def _first_ms(text: str) -> int:
    """The first millisecond of a date, or a time."""
    return _read_ms("date_from", f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)


def _last_ms(text: str) -> int:
    """The last millisecond of a date, or a time."""
    if _DATE.fullmatch(text):
        return _read_ms("date_to", f"{text}T00:00:00Z") + _DAY_MS - 1
    return _read_ms("date_to", text)


def _read_ms(name: str, text: str) -> int:
    try:
        return read_time_ms(text)
    except Unreadable as problem:
        raise Refusal(ErrorCode.INVALID_REQUEST, details={"query": f"{name} {problem}"}) from None


def _listed(shown: EventSummary) -> EventListed:
    event, sale, venue = shown.event, shown.sale, shown.event.venue
    return EventListed(
        event_id=event.event_id,
        name=event.name,
        artist=event.artist_name or None,
        category=event.category,
        venue=VenueSummary(name=venue.name, city=venue.city, state=venue.state, country=venue.country),
        date=time_text(sale.date_ms),
        on_sale_date=time_text(sale.general_sale_start_ms),
        price_range=_price_range(sale),
        currency=sale.currency,
        availability=shown.phase.value,
        image_url=event.image_url or None,
    )


def _event(details: EventDetails) -> EventAnswer:
    event, sale, total = details.event, details.sale, details.total
    venue = event.venue
    return EventAnswer(
        event_id=event.event_id,
        name=event.name,
        description=event.description,
        artist_id=event.artist_id,
        artist=event.artist_name or None,
        venue_id=venue.venue_id,
        venue=Venue(
            venue_id=venue.venue_id,
            name=venue.name,
            city=venue.city,
            state=venue.state,
            country=venue.country,
            timezone=venue.timezone,
        ),
        date=time_text(sale.date_ms),
        doors_open=optional_time(event.doors_open_ms),
        category=event.category,
        image_url=event.image_url or None,
        currency=sale.currency,
        tax_rate=Decimal(sale.tax_rate_ppm).scaleb(-_RATE_DECIMALS).normalize(),
        price_range=_price_range(sale),
        pricing_tiers=_tiers(details),
        sale_info=_sale_info(sale, details.phase),
        purchase_limit=sale.purchase_limit,
        hold_seconds=sale.hold_seconds,
        total_capacity=total.free + total.held + total.sold + total.blocked,
        available_seats=total.free,
    )


def _tiers(details: EventDetails) -> list[PricingTier]:
    currency = details.sale.currency
    return [
        PricingTier(
            tier_id=tier.tier_id,
            name=tier.name,
            price=money(tier.price_minor, currency),
            fees=money(tier.fees_minor, currency),
            total=money(tier.price_minor + tier.fees_minor, currency),
            available_seats=free,
        )
        for tier, free in zip(details.sale.tiers, details.free_by_tier, strict=True)
    ]


def _price_range(sale: SaleRecord) -> PriceRange:
    prices = [tier.price_minor for tier in sale.tiers]
    return PriceRange(min=money(min(prices), sale.currency), max=money(max(prices), sale.currency))


def _sale_info(sale: SaleRecord, phase: SalePhase) -> SaleInfo:
    lobby_opens_ms = sale.room.lobby_opens_ms if sale.room.enabled else None
    opens_ms = sale_opens_ms(sale)
    return SaleInfo(
        presale_start=optional_time(sale.presale_start_ms),
        general_sale_start=time_text(sale.general_sale_start_ms),
        sale_end=time_text(sale_ends_ms(sale)),
        lobby_opens=optional_time(lobby_opens_ms),
        opens_at=time_text(opens_ms if lobby_opens_ms is None else min(lobby_opens_ms, opens_ms)),
        status=phase.value,
    )
