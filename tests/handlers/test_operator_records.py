from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from handlers import operator_records
from tests.handlers.operator_stage import EVENT, OperatorStage, open_stage
from tests.support.daemon import Client
from tests.support.events import NO_EVENT
from ticketd.version import VERSION


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[OperatorStage]:
    async with open_stage(tmp_path) as stage:
        await stage.put()
        yield stage


async def test_orders_are_listed_newest_first(stage: OperatorStage) -> None:
    seats = await stage.seat_ids()
    placed = [await stage.order(seat) for seat in seats[:3]]
    await stage.put(event_id=UUID(int=7))
    listed = await stage.operator.get("/v1/operator/orders")
    assert listed.status == 200
    assert [order["order_id"] for order in listed.json["orders"]] == [
        order["order_id"] for order in reversed(placed)
    ]
    newest = listed.json["orders"][0]
    assert (newest["event_id"], newest["seat_count"], newest["currency"]) == (str(EVENT), 1, "USD")
    assert b'"total":620.00,"refund_amount":0.00' in listed.body
    of_event = await stage.operator.get(f"/v1/operator/orders?event_id={EVENT}&per_page=2")
    assert [order["order_id"] for order in of_event.json["orders"]] == [
        order["order_id"] for order in reversed(placed[1:])
    ]
    assert of_event.json["pagination"] == {"page": 1, "per_page": 2, "total": 3}
    of_other = await stage.operator.get(f"/v1/operator/orders?event_id={UUID(int=7)}")
    assert of_other.json == {"orders": [], "pagination": {"page": 1, "per_page": 20, "total": 0}}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (f"event_id={NO_EVENT}", 404),
        ("event_id=nine", 400),
        ("page=0", 400),
        ("page=x", 400),
        ("per_page=0", 400),
        ("per_page=101", 400),
        ("per_page=100", 200),
        ("page=1000000", 200),
        ("page=1000001", 400),
    ],
)
async def test_orders_that_cannot_be_asked_for(stage: OperatorStage, query: str, status: int) -> None:
    assert (await stage.operator.get(f"/v1/operator/orders?{query}")).status == status


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5000])
async def test_pages_are_the_same_however_the_table_is_walked(
    stage: OperatorStage, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    for number in range(8):
        await stage.operator.post("/v1/operator/keys", {"name": str(number)})
    monkeypatch.setattr(operator_records, "_BATCH_KEYS", batch)
    whole = (await stage.operator.get("/v1/operator/audit?per_page=100")).json["audit"]
    assert [deed["action"] for deed in whole] == ["key.create"] * 8 + ["event.put"]
    for per_page in (1, 2, 3, 4, 8, 9, 10):
        pages = []
        for page in range(1, 9 // per_page + 3):
            answer = await stage.operator.get(f"/v1/operator/audit?page={page}&per_page={per_page}")
            assert answer.json["pagination"] == {"page": page, "per_page": per_page, "total": 9}
            pages += answer.json["audit"]
        assert pages == whole


async def test_an_audit_record_says_who_when_and_what(stage: OperatorStage) -> None:
    (deed,) = (await stage.operator.get("/v1/operator/audit")).json["audit"]
    assert UUID(deed.pop("audit_id"))
    assert deed == {
        "at": "2026-07-14T03:33:20Z",
        "actor": "socket",
        "action": "event.put",
        "subject": str(EVENT),
        "detail": {
            "outcome": "created",
            "name": "The Lantern Tour",
            "seats_added": 50,
            "seats_removed": 0,
        },
    }


async def test_stats(stage: OperatorStage) -> None:
    seats = await stage.seat_ids()
    await stage.hold(*seats[:2])
    await stage.order(seats[2])
    stats = (await stage.operator.get("/v1/operator/stats")).json
    (event,) = stats["events"]
    assert (event["event_id"], event["status"]) == (str(EVENT), "ON_SALE")
    assert event["seats"] == {"available": 47, "reserved": 2, "sold": 1, "blocked": 0}
    assert (event["room"]["active"], event["room"]["admitted"]) == (1, 2)
    assert stats["version"] == VERSION
    assert 0 < stats["store"]["used_bytes"] < stats["store"]["map_bytes"]
    assert stats["store"]["disk_free_bytes"] > 0
    assert stats["writer"]["committed"] > 5
    assert stats["writer"]["failed"] == 0


async def test_no_query_is_needed_and_none_is_believed(stage: OperatorStage) -> None:
    wrong = Client(stage.daemon.server, "tk_wrong", listener=stage.operator.listener, device=None)
    refused = await wrong.get("/v1/operator/stats")
    assert (refused.status, refused.code) == (401, "API_KEY_INVALID")
