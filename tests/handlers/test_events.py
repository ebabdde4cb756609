from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode
from uuid import UUID

import pytest

from storage.engine import Command
from storage.schema.layout import event_partition
from tests.domain.inventory_stage import EVENT_ID, make_plan, rich_plan, tier_id
from tests.handlers.sale_stage import SaleStage, open_plan, open_sale, unknown_id
from tests.support.daemon import START_MS
from ticketd.domain.event_cancellation import CancelEvent, cancel_event
from ticketd.event_file.plan import RoomPlan


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[SaleStage]:
    async with open_sale(tmp_path) as stage:
        yield stage


async def names(stage: SaleStage, **query: object) -> list[str]:
    found = await stage.browser.get("/v1/events/search?" + urlencode(query))
    assert found.status == 200, found.body
    assert found.json["pagination"]["total"] == len(found.json["events"])
    return [event["name"] for event in found.json["events"]]


async def test_a_search_shows_what_one_needs_to_choose(stage: SaleStage) -> None:
    found = await stage.browser.get("/v1/events/search?query=night+of&city=berlin&date_from=2026-10-01")
    assert found.status == 200
    assert found.json == {
        "events": [
            {
                "event_id": str(EVENT_ID),
                "name": "A Night of Tests",
                "artist": None,
                "category": "",
                "venue": {"name": "The Hall", "city": "Berlin", "state": "", "country": "DE"},
                "date": "2026-10-12T03:33:20Z",
                "on_sale_date": "2026-07-13T03:33:20Z",
                "price_range": {"min": 99.99, "max": 500.0},
                "currency": "USD",
                "availability": "ON_SALE",
                "image_url": None,
            }
        ],
        "pagination": {"page": 1, "per_page": 20, "total": 1},
    }
    assert b'"price_range":{"min":99.99,"max":500.00}' in found.body


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, True),
        ({"query": ""}, True),
        ({"query": "tests hall"}, True),
        ({"query": "opera"}, False),
        ({"city": "BERLÍN"}, True),
        ({"city": "ber"}, False),
        ({"category": "Opera"}, False),
        ({"artist": "nobody"}, False),
        ({"date_from": "2026-10-12"}, True),
        ({"date_from": "2026-10-13"}, False),
        ({"date_to": "2026-10-12"}, True),
        ({"date_to": "2026-10-11"}, False),
        ({"date_from": "2026-10-12T03:33:20Z"}, True),
        ({"date_from": "2026-10-12T03:33:21Z"}, False),
        ({"date_to": "2026-10-12T03:33:20Z"}, True),
        ({"date_to": "2026-10-12T03:33:19Z"}, False),
        ({"date_from": "2026-10-12T05:33:20+02:00"}, True),
        ({"date_from": "2026-10-12T05:33:21+02:00"}, False),
        ({"date_from": "", "date_to": ""}, True),
        ({"date_from": "2026-10-13", "date_to": "2026-10-11"}, False),
        ({"date_to": "9999-12-31"}, True),
        ({"query": '"'}, True),
        ({"query": "a AND ("}, False),
        ({"query": "tests OR"}, False),
        ({"unknown": "field"}, True),
    ],
)
async def test_what_a_search_finds(stage: SaleStage, query: dict[str, object], found: bool) -> None:
    assert (await names(stage, **query) == ["A Night of Tests"]) is found


@pytest.mark.parametrize(
    "query",
    [
        "date_from=yesterday",
        "date_from=2026-02-30",
        "date_to=2026-10-12T03:33:20",
        "date_to=0000-01-01",
        "date_to=2026-10-12T05:33:20+02:00",  # the plus reads as a space
        "page=0",
        "page=1000001",
        "page=x",
        "per_page=0",
        "per_page=101",
        "query=" + "a" * 201,
        "query=a&query=b",
        "query=%00",
        "query=%ff",
    ],
)
async def test_a_search_that_cannot_be_read(stage: SaleStage, query: str) -> None:
    refused = await stage.browser.get(f"/v1/events/search?{query}")
    assert (refused.status, refused.code) == (400, "INVALID_REQUEST")


async def test_pages_of_a_search(stage: SaleStage) -> None:
    for number in range(3):
        await stage.put(
            open_plan(event_id=UUID(int=number), name=f"Early {number}", date_ms=START_MS + number)
        )
    first = (await stage.browser.get("/v1/events/search?per_page=3")).json
    assert [event["name"] for event in first["events"]] == ["Early 0", "Early 1", "Early 2"]
    second = (await stage.browser.get("/v1/events/search?per_page=3&page=2")).json
    assert [event["name"] for event in second["events"]] == ["A Night of Tests"]
    assert second["pagination"] == {"page": 2, "per_page": 3, "total": 4}
    beyond = (await stage.browser.get("/v1/events/search?page=1000000&per_page=100")).json
    assert beyond["events"] == []
    assert beyond["pagination"]["total"] == 4


async def test_an_event_in_full(stage: SaleStage) -> None:
    plan = rich_plan()
    await stage.put(plan)
    details = await stage.browser.get(f"/v1/events/{EVENT_ID}")
    assert details.status == 200
    shown = details.json
    assert shown["pricing_tiers"][0] == {
        "tier_id": str(tier_id(0)),
        "name": "Floor",
        "price": 500.0,
        "fees": 75.0,
        "total": 575.0,
        "available_seats": 1,
    }
    assert [tier["available_seats"] for tier in shown["pricing_tiers"]] == [1, 1, 0]
    assert b'"price":500.00,"fees":75.00,"total":575.00' in details.body
    assert shown["sale_info"] == {
        "presale_start": "2027-01-15T07:59:59Z",
        "general_sale_start": "2027-01-15T08:00:00Z",
        "sale_end": "2027-04-15T07:59:59Z",
        "lobby_opens": "2027-01-15T07:59:59Z",
        "opens_at": "2027-01-15T07:59:59Z",
        "status": "UPCOMING",
    }
    del shown["pricing_tiers"], shown["sale_info"]
    assert shown == {
        "event_id": str(EVENT_ID),
        "name": "A Night of Tests",
        "description": "Twelve scenes.",
        "artist_id": str(UUID(int=0x22)),
        "artist": "The Testers",
        "venue_id": str(UUID(int=0x11)),
        "venue": {
            "venue_id": str(UUID(int=0x11)),
            "name": "The Hall",
            "city": "Berlin",
            "state": "",
            "country": "DE",
            "timezone": "Europe/Berlin",
        },
        "date": "2027-04-15T08:00:00Z",
        "doors_open": "2027-04-15T07:00:00Z",
        "category": "Concert",
        "image_url": "https://example.org/a.png",
        "currency": "USD",
        "tax_rate": 0.09,
        "price_range": {"min": 99.99, "max": 500.0},
        "purchase_limit": 4,
        "hold_seconds": 60,
        "total_capacity": 2,
        "available_seats": 2,
    }


async def test_the_lobby_of_a_room_that_is_not_enabled_opens_nothing(stage: SaleStage) -> None:
    await stage.put(make_plan(room=RoomPlan(enabled=False, lobby_opens_ms=START_MS)))
    info = (await stage.browser.get(f"/v1/events/{EVENT_ID}")).json["sale_info"]
    assert info["lobby_opens"] is None
    assert info["opens_at"] == info["general_sale_start"] == "2027-01-15T08:00:00Z"
    await stage.put(make_plan(room=RoomPlan(enabled=True, lobby_opens_ms=START_MS)))
    info = (await stage.browser.get(f"/v1/events/{EVENT_ID}")).json["sale_info"]
    assert info["lobby_opens"] == info["opens_at"] == "2026-07-14T03:33:20Z"
    assert info["status"] == "LOBBY"


async def test_free_seats_follow_the_sale(stage: SaleStage) -> None:
    buyer = await stage.buyer(1)
    await stage.reserve(buyer, 1, "Floor/A/1", "Floor/A/2", "Balcony/A/1")
    await stage.block("Floor/B/1")
    shown = (await stage.browser.get(f"/v1/events/{EVENT_ID}")).json
    assert [tier["available_seats"] for tier in shown["pricing_tiers"]] == [9, 3, 0]
    assert (shown["total_capacity"], shown["available_seats"]) == (16, 12)


async def test_an_event_that_has_not_changed_is_not_sent_again(stage: SaleStage) -> None:
    path = f"/v1/events/{EVENT_ID}"
    first = await stage.browser.get(path)
    again = await stage.browser.get(path, headers={"if-none-match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    await stage.block("Floor/A/1")
    changed = await stage.browser.get(path, headers={"if-none-match": first.headers["etag"]})
    assert changed.status == 200
    assert changed.headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize("event_id", [unknown_id(), "not-an-id", "0", str(EVENT_ID)[:-1]])
async def test_an_event_that_there_is_not(stage: SaleStage, event_id: str) -> None:
    for path in (f"/v1/events/{event_id}", f"/v1/events/{event_id}/seats"):
        refused = await stage.browser.get(path)
        assert (refused.status, refused.code) == (404, "EVENT_NOT_FOUND")


async def test_a_cancelled_event_says_so(stage: SaleStage) -> None:
    await stage.daemon.services.engine.submit(
        Command("cancel", (event_partition(EVENT_ID),), lambda tx: cancel_event(tx, CancelEvent(EVENT_ID)))
    )
    assert (await stage.browser.get(f"/v1/events/{EVENT_ID}")).json["sale_info"]["status"] == "CANCELLED"
    ((event,)) = (await stage.browser.get("/v1/events/search")).json["events"]
    assert event["availability"] == "CANCELLED"


@pytest.mark.parametrize("path", ["search", str(EVENT_ID), f"{EVENT_ID}/seats"])
async def test_who_may_browse(stage: SaleStage, path: str) -> None:
    target = f"/v1/events/{path}"
    assert (await stage.browser.get(target)).status == 200
    assert (await (await stage.daemon.user()).get(target)).status == 200
    buyer = await stage.buyer(1)
    assert (await buyer.get(target)).status == 200
    buyer.device = "another"
    assert (await buyer.get(target)).code == "DEVICE_MISMATCH"
    buyer.api_key = None
    assert (await buyer.get(target)).code == "API_KEY_INVALID"
    joined = await stage.browser.post(
        "/v1/queue/join",
        {"event_id": str(EVENT_ID), "user_id": str(UUID(int=9)), "device_fingerprint": "device-1"},
    )
    queueing = stage.browser.with_token(joined.json["queue_token"])
    assert (await queueing.get(target)).code == "QUEUE_ACCESS_ONLY"
    assert (await stage.browser.with_token("nonsense").get(target)).code == "TOKEN_INVALID"
    assert (await stage.browser.post(target, {})).code == "METHOD_NOT_ALLOWED"
