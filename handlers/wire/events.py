"""Forms of the events part."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec

from handlers.wire.common import AnswerBody, Money, PageQuery, Pagination, Time

SearchText = Annotated[str, msgspec.Meta(max_length=200)]
SearchDate = Annotated[
    str,
    msgspec.Meta(
        max_length=40,
        description="A date (2026-06-01, the whole day in UTC) or a time of RFC 3339; included",
        examples=["2026-06-01", "2026-06-01T18:00:00Z"],
    ),
]


class EventQuery(PageQuery, frozen=True, kw_only=True):
    """What is searched for. All that is given must hold; case, accents and punctuation count nowhere."""

    query: Annotated[
        SearchText,
        msgspec.Meta(
            description="Words, or their beginnings, of the event's name, artist, venue, city or category",
            examples=["taylor swift"],
        ),
    ] = ""
    city: Annotated[SearchText, msgspec.Meta(description="The whole name of the venue's city")] = ""
    category: Annotated[SearchText, msgspec.Meta(description="The whole category, such as Concert")] = ""
    artist: Annotated[SearchText, msgspec.Meta(description="The artist's whole name")] = ""
    date_from: SearchDate = ""
    date_to: SearchDate = ""


class VenueSummary(AnswerBody, frozen=True, kw_only=True):
    """Where an event takes place."""

    name: str
    city: str
    state: str
    country: str


class Venue(VenueSummary, frozen=True, kw_only=True):
    """Where an event takes place; ``timezone`` is an IANA name, by which the event's local times are told."""

    venue_id: UUID
    timezone: str


class PriceRange(AnswerBody, frozen=True, kw_only=True):
    """The prices of a seat, without fees and taxes, from the lowest to the highest."""

    min: Money
    max: Money


class EventListed(AnswerBody, frozen=True, kw_only=True):
    """An event as the search shows it. ``on_sale_date`` is when the general sale starts.

    ``availability`` is UPCOMING, LOBBY, PRESALE, ON_SALE, SOLD_OUT, ENDED or CANCELLED.
    """

    event_id: UUID
    name: str
    artist: str | None
    category: str
    venue: VenueSummary
    date: Time
    on_sale_date: Time
    price_range: PriceRange
    currency: str
    availability: str
    image_url: str | None


class EventList(AnswerBody, frozen=True, kw_only=True):
    """The events found, by date."""

    events: list[EventListed]
    pagination: Pagination


class PricingTier(AnswerBody, frozen=True, kw_only=True):
    """A price: what one seat costs, its fees, and both together, without taxes; and how many seats are free."""

    tier_id: UUID
    name: str
    price: Money
    fees: Money
    total: Money
    available_seats: int


class SaleInfo(AnswerBody, frozen=True, kw_only=True):
    """When an event is sold. ``opens_at`` is the time from which one may join the queue: the lobby's, if there is one.

    ``status`` is UPCOMING, LOBBY, PRESALE, ON_SALE, SOLD_OUT, ENDED or CANCELLED.
    """

    presale_start: Time | None
    general_sale_start: Time
    sale_end: Time
    lobby_opens: Time | None
    opens_at: Time
    status: str


class EventAnswer(AnswerBody, frozen=True, kw_only=True):
    """An event. ``purchase_limit`` is how many seats one buyer may have, ``hold_seconds`` how long a reservation lives;
    ``tax_rate`` is the part of the prices that is added as taxes, 0.09 for nine percent."""

    event_id: UUID
    name: str
    description: str
    artist_id: UUID | None
    artist: str | None
    venue_id: UUID
    venue: Venue
    date: Time
    doors_open: Time | None
    category: str
    image_url: str | None
    currency: str
    tax_rate: Annotated[Money, msgspec.Meta(description="0 to 1, at most six decimals", examples=[0.09])]
    price_range: PriceRange
    pricing_tiers: list[PricingTier]
    sale_info: SaleInfo
    purchase_limit: int
    hold_seconds: int
    total_capacity: int
    available_seats: int
