"""Events: searching them, and looking at one."""

from __future__ import annotations

import re
from typing import Final

from handlers.answers import answer, time_text
from handlers.call import AnyCall, Reply
from handlers.coding import accepted_coding
from handlers.event_texts import price_range
from handlers.services import Services
from handlers.wire.common import Pagination
from handlers.wire.events import EventList, EventListed, EventQuery, VenueSummary
from storage.schema.ids import EventId
from ticketd.errors import ErrorCode, Refusal
from ticketd.event_file.values import Unreadable, read_time_ms
from ticketd.views.catalogue import EventSummary
from ticketd.views.search import LAST_MS, SearchQuery

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DAY_MS: Final = 86_400_000


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


def get_event(services: Services, call: AnyCall) -> Reply:
    """200 with the event as it is now."""
    event_id = EventId(call.path_id("event_id", ErrorCode.EVENT_NOT_FOUND))
    details = services.catalogue.details(event_id)
    if details is None:
        raise Refusal(ErrorCode.EVENT_NOT_FOUND, details={"event_id": str(event_id)})
    coding = accepted_coding(call.headers.get("accept-encoding", ""))
    return services.event_texts.reply(details, coding)


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
        price_range=price_range(sale),
        currency=sale.currency,
        availability=shown.phase.value,
        image_url=event.image_url or None,
    )
