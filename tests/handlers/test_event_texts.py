"""The texts of events: kept while they are true, in every coding, and only so many of them."""

from __future__ import annotations

from uuid import UUID

import msgspec
import pytest

from config.settings import ServerSettings
from handlers.event_texts import EventTexts
from handlers.forms import finish_reply
from storage.schema.ids import EventId, TierId
from storage.schema.records import CountRecord, EventRecord, RoomSettings, SaleRecord, TierRecord, VenueRecord
from tests.handlers.requests import raw_request
from ticketd.domain.sales import SalePhase
from ticketd.views.catalogue import EventDetails

ROOM = RoomSettings(
    enabled=False,
    capacity=1,
    max_active=1,
    admit_per_minute=1,
    claim_seconds=1,
    access_seconds=1,
    max_entries_per_device=1,
)


def details(number: int, description: str = "x" * 2000) -> EventDetails:
    event = EventRecord(
        event_id=EventId(UUID(int=number)),
        name="Event",
        description=description,
        venue=VenueRecord(venue_id=UUID(int=1), name="Hall", city="Berlin", country="DE", timezone="UTC"),
        section_keys=(),
        next_section_key=0,
        next_row_key=0,
    )
    sale = SaleRecord(
        date_ms=1,
        general_sale_start_ms=0,
        currency="USD",
        purchase_limit=1,
        hold_seconds=1,
        tiers=(TierRecord(tier_id=TierId(UUID(int=2)), name="Floor", price_minor=1, fees_minor=0),),
        room=ROOM,
    )
    return EventDetails(
        event=event, sale=sale, total=CountRecord(free=7), phase=SalePhase.ON_SALE, free_by_tier=(7,)
    )


@pytest.mark.parametrize("coding", [None, "gzip", "zstd"])
@pytest.mark.parametrize("description", ["", "x" * 2000], ids=["short", "long"])
def test_a_kept_text_is_the_one_that_would_be_made_for_the_call(coding: str | None, description: str) -> None:
    texts = EventTexts()
    one = details(1, description)
    request = raw_request("GET", headers={"accept-encoding": coding or ""})
    plain = texts.reply(one, None)
    made = finish_reply(ServerSettings(), request, plain, "id")
    for _ in range(2):
        kept = texts.reply(one, coding)
        assert texts.reply(one, coding) is kept
        finished = finish_reply(ServerSettings(), request, kept, "id")
        assert (finished.status, finished.body, finished.content_type) == (200, made.body, made.content_type)
        assert sorted(finished.headers) == sorted(made.headers)


@pytest.mark.parametrize("coding", [None, "gzip", "zstd"])
def test_other_details_have_another_text(coding: str | None) -> None:
    texts = EventTexts()
    before = details(1)
    after = msgspec.structs.replace(before, total=CountRecord(free=6), free_by_tier=(6,))
    first, second = texts.reply(before, coding), texts.reply(after, coding)
    assert first.body != second.body
    assert first.headers != second.headers
    assert texts.reply(before, coding).body == first.body


def test_only_so_many_are_kept_and_the_longest_unasked_goes_first() -> None:
    texts = EventTexts(kept_events=2)
    one, two, three = (details(number) for number in (1, 2, 3))
    kept = {}
    for event, count in ((one, 1), (two, 2)):
        kept[event.event.event_id] = texts.reply(event, None)
        assert len(texts) == count
    assert texts.reply(one, None) is kept[one.event.event_id]
    texts.reply(three, None)
    assert len(texts) == 2
    assert texts.reply(one, None) is kept[one.event.event_id]
    assert texts.reply(two, None) is not kept[two.event.event_id]
