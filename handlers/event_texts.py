"""Events as they are told to everybody: written once for each change, and compressed once for each coding.

What an event is, and whether it has changed, is the catalogue's to say: it gives the same details again for as long as
they are true.
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from typing import Final

from handlers.answers import encode_json, money, optional_time, time_text
from handlers.call import Reply
from handlers.coding import compress, compressed_headers, etag_of, may_compress
from handlers.wire.events import EventAnswer, PriceRange, PricingTier, SaleInfo, Venue
from storage.schema.ids import EventId
from storage.schema.records import SaleRecord
from ticketd.domain.sales import SalePhase, sale_ends_ms, sale_opens_ms
from ticketd.views.catalogue import EventDetails

KEPT_EVENTS: Final = 256
"""So many events have their texts kept, the ones asked for longest ago going first: a few kilobytes each."""
_RATE_DECIMALS: Final = 6


class _Told:
    """What is told of one event, by coding; None stands for plain bytes."""

    __slots__ = ("details", "replies")

    def __init__(self, details: EventDetails) -> None:
        self.details = details
        self.replies: dict[str | None, Reply] = {None: _plain_reply(details)}


class EventTexts:
    """The replies that tell of events."""

    def __init__(self, kept_events: int = KEPT_EVENTS) -> None:
        """``kept_events`` is 1 or more."""
        self._kept_events = kept_events
        self._told: OrderedDict[EventId, _Told] = OrderedDict()

    def __len__(self) -> int:
        """How many events have their texts kept."""
        return len(self._told)

    def reply(self, details: EventDetails, coding: str | None) -> Reply:
        """The reply with these details, in a coding where the client takes one and the text is long enough."""
        event_id = details.event.event_id
        told = self._told.get(event_id)
        if told is None or told.details is not details:
            told = self._told[event_id] = _Told(details)
            if len(self._told) > self._kept_events:
                self._told.popitem(last=False)
        self._told.move_to_end(event_id)
        reply = told.replies.get(coding)
        if reply is None:
            reply = told.replies[coding] = _coded(told.replies[None], coding)
        return reply


def _plain_reply(details: EventDetails) -> Reply:
    body = encode_json(_event(details))
    return Reply(status=200, body=body, headers=(("ETag", etag_of(body)),))


def _coded(plain: Reply, coding: str | None) -> Reply:
    if coding is None or not may_compress(plain):
        return plain
    return Reply(
        status=200, body=compress(plain.body, coding), headers=compressed_headers(plain.headers, coding)
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
        price_range=price_range(sale),
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


def price_range(sale: SaleRecord) -> PriceRange:
    """The least and the greatest price of a seat."""
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
