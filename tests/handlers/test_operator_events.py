from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import trio

from handlers.call import ListenerKind
from storage.schema.ids import EventId
from tests.handlers.operator_stage import EVENT, OperatorStage, open_stage
from tests.support.daemon import Client
from tests.support.events import NO_EVENT, arena_file
from tests.support.shopping import enter
from tests.support.verified import assert_verified
from ticketd.credentials.api_keys import Scope


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[OperatorStage]:
    async with open_stage(tmp_path) as stage:
        yield stage


async def test_an_event_is_created_left_as_it_is_and_replaced(stage: OperatorStage) -> None:
    created = await stage.put()
    assert created.status == 201
    assert created.headers["location"] == f"/v1/operator/events/{EVENT}"
    assert created.json == {
        "event_id": str(EVENT),
        "outcome": "created",
        "seats": 50,
        "seats_added": 50,
        "seats_removed": 0,
    }
    again = await stage.put()
    assert (again.status, again.json["outcome"]) == (200, "unchanged")
    replaced = await stage.put(arena_file(rows=[{"row": "A", "first": 1, "last": 12}]))
    assert replaced.status == 200
    assert replaced.json == {
        "event_id": str(EVENT),
        "outcome": "replaced",
        "seats": 12,
        "seats_added": 2,
        "seats_removed": 40,
    }


async def test_each_change_has_one_record_and_no_change_has_none(stage: OperatorStage) -> None:
    for _ in range(2):
        await stage.put()
    await stage.put(arena_file(name="Another Name"))
    await stage.put(arena_file(currency="USX"))
    subject = str(EVENT)
    assert await stage.audit() == [
        (
            "socket",
            "event.put",
            subject,
            {"outcome": "created", "name": "The Lantern Tour", "seats_added": 50, "seats_removed": 0},
        ),
        (
            "socket",
            "event.put",
            subject,
            {"outcome": "replaced", "name": "Another Name", "seats_added": 0, "seats_removed": 0},
        ),
    ]


async def test_buyers_see_what_was_put(stage: OperatorStage) -> None:
    await stage.put()
    seen = await stage.daemon.client().get(f"/v1/events/{EVENT}")
    assert (seen.status, seen.json["name"], seen.json["total_capacity"]) == (200, "The Lantern Tour", 50)
    await stage.put(arena_file(name="Another Name"))
    assert (await stage.daemon.client().get(f"/v1/events/{EVENT}")).json["name"] == "Another Name"


async def test_all_faults_of_a_file_are_told_in_their_places(stage: OperatorStage) -> None:
    refused = await stage.put(arena_file(currency="USX", tax_rate="2", purchase_limit=0))
    assert (refused.status, refused.code) == (400, "INVALID_REQUEST")
    details = refused.json["error"]["details"]
    assert [fault["where"] for fault in details["faults"]] == ["currency", "tax_rate", "purchase_limit"]
    assert all(fault["message"] for fault in details["faults"])
    assert details["more"] == 0
    assert await stage.audit() == []


async def test_a_file_that_names_another_event_is_refused(stage: OperatorStage) -> None:
    refused = await stage.put({**arena_file(), "event_id": str(uuid4())})
    assert (refused.status, refused.code) == (400, "INVALID_REQUEST")
    assert refused.json["error"]["details"]["faults"][0]["where"] == "event_id"
    assert (await stage.put({**arena_file(), "event_id": str(EVENT)})).status == 201


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b'{"a": 1, "a": 2}', b"[" * 100_000])
async def test_what_is_no_event_file_is_refused(stage: OperatorStage, raw: bytes) -> None:
    refused = await stage.operator.call(
        "PUT",
        f"/v1/operator/events/{EVENT}",
        raw=raw,
        headers={"content-type": "application/json"},
    )
    assert (refused.status, refused.code) == (400, "INVALID_REQUEST")


async def test_a_file_that_is_not_said_to_be_json_is_refused(stage: OperatorStage) -> None:
    refused = await stage.operator.call(
        "PUT", f"/v1/operator/events/{EVENT}", raw=b"{}", headers={"content-type": "text/plain"}
    )
    assert (refused.status, refused.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_a_malformed_id_is_no_event(stage: OperatorStage) -> None:
    for method in ("PUT", "GET", "DELETE"):
        refused = await stage.operator.call(
            method, "/v1/operator/events/nine", raw=b"{}" if method == "PUT" else None
        )
        assert (refused.status, refused.code) == (404, "EVENT_NOT_FOUND"), method


async def test_an_import_derives_the_id_and_may_be_done_twice(stage: OperatorStage) -> None:
    first = await stage.operator.post("/v1/operator/events", arena_file())
    second = await stage.operator.post("/v1/operator/events", arena_file())
    assert (first.status, second.status) == (201, 200)
    assert first.json["event_id"] == second.json["event_id"]
    assert UUID(first.json["event_id"])
    assert second.json["outcome"] == "unchanged"


async def test_a_large_hall_goes_in_and_comes_out(stage: OperatorStage) -> None:
    rows: list[dict[str, object]] = [
        {"row": str(row), "seats": [f"{seat}a" for seat in range(100)]} for row in range(200)
    ]
    assert (await stage.put(arena_file(rows=rows))).json["seats"] == 20_000
    told = await stage.operator.get(f"/v1/operator/events/{EVENT}")
    assert len(told.body) > 64 * 1024
    assert (await stage.put(told.json)).json["outcome"] == "unchanged"


async def test_what_is_told_of_an_event_is_its_file(stage: OperatorStage) -> None:
    await stage.put()
    told = await stage.operator.get(f"/v1/operator/events/{EVENT}")
    assert told.status == 200
    assert (told.json["name"], told.json["tax_rate"]) == ("The Lantern Tour", "0.09")
    assert (await stage.put(told.json)).json["outcome"] == "unchanged"
    missing = await stage.operator.get(f"/v1/operator/events/{uuid4()}")
    assert (missing.status, missing.code) == (404, "EVENT_NOT_FOUND")


async def test_events_are_listed_by_date_and_page(stage: OperatorStage) -> None:
    dates = ["2027-09-01T19:00:00Z", "2027-03-01T19:00:00Z", "2025-01-01T19:00:00Z"]
    for number, date in enumerate(dates):
        sale = {"general_sale_start": "2024-01-05T10:00:00Z"}
        await stage.put(
            arena_file(name=f"e{number}", date=date, doors_open=None, sale=sale), UUID(int=number)
        )
    listed = (await stage.operator.get("/v1/operator/events")).json
    assert [(event["name"], event["status"]) for event in listed["events"]] == [
        ("e2", "ENDED"),
        ("e1", "ON_SALE"),
        ("e0", "ON_SALE"),
    ]
    assert listed["events"][0] == {
        "event_id": str(UUID(int=2)),
        "name": "e2",
        "venue": "Harbour Point Arena",
        "city": "New York",
        "date": dates[2],
        "status": "ENDED",
        "seats": {"available": 50, "reserved": 0, "sold": 0, "blocked": 0},
    }
    second = (await stage.operator.get("/v1/operator/events?page=2&per_page=2")).json
    assert [event["name"] for event in second["events"]] == ["e0"]
    assert second["pagination"] == {"page": 2, "per_page": 2, "total": 3}


async def test_an_event_is_deleted_once(stage: OperatorStage) -> None:
    await stage.put()
    assert (await stage.operator.delete(f"/v1/operator/events/{EVENT}")).status == 204
    gone = await stage.operator.delete(f"/v1/operator/events/{EVENT}")
    assert (gone.status, gone.code) == (404, "EVENT_NOT_FOUND")
    assert (await stage.daemon.client().get(f"/v1/events/{EVENT}")).status == 404
    assert [deed[1] for deed in await stage.audit()] == ["event.put", "event.delete"]


async def test_an_event_of_which_only_payments_failed_is_deleted(stage: OperatorStage) -> None:
    await stage.put()
    (seat, *_) = await stage.seat_ids()
    buyer, held = await stage.hold(seat)
    card = await buyer.post("/v1/payment-methods", {"type": "CARD", "card_token": "tok_chargeDeclined"})
    address = {"street": "1 Main St", "city": "Berlin", "postal_code": "10115", "country": "DE"}
    declined = await buyer.post(
        "/v1/orders",
        {
            "reservation_id": held["reservation_id"],
            "payment_method_id": card.json["payment_method_id"],
            "billing_address": address,
        },
    )
    assert declined.status == 402, declined.body
    assert (await stage.operator.delete(f"/v1/operator/events/{EVENT}")).code == "SEATS_TAKEN"
    assert (await buyer.delete(f"/v1/reservations/{held['reservation_id']}")).status == 204
    assert (await stage.operator.delete(f"/v1/operator/events/{EVENT}")).status == 204
    assert_verified(stage.daemon)


async def test_an_event_is_cancelled_for_good_and_what_was_sold_of_it_ends(stage: OperatorStage) -> None:
    await stage.put()
    seats = await stage.seat_ids()
    order_id = (await stage.order(seats[0]))["order_id"]
    await trio.sleep(60)
    buyer, user = await enter(stage.daemon, EventId(EVENT))
    progress = {"orders_ended": 0, "orders_at_tills": 0, "holds_ended": 0, "done": False}
    for ended in (progress, {**progress, "orders_ended": 1, "done": True}):
        cancelled = await stage.operator.post(f"/v1/operator/events/{EVENT}/cancel")
        assert cancelled.status == 200
        assert cancelled.json == {"event_id": str(EVENT), "availability": "CANCELLED", **ended}
        await trio.sleep(60)
        order = (await stage.operator.get(f"/v1/operator/orders/{order_id}")).json
        assert (order["status"], order["payment_status"]) == ("CANCELLED", "REFUNDED")
        assert (order["refunded"], order["owed_at_till"]) == (order["captured"], False)
    (listed,) = (await stage.operator.get("/v1/operator/events")).json["events"]
    assert (listed["status"], listed["seats"]["sold"]) == ("CANCELLED", 0)
    shown = (await stage.daemon.client().get(f"/v1/events/{EVENT}")).json
    assert shown["sale_info"]["status"] == "CANCELLED"
    wish = {"event_id": str(EVENT), "user_id": str(user), "seat_ids": seats[1:2]}
    refused = await buyer.post("/v1/seats/reserve", wish)
    assert (refused.code, refused.json["error"]["details"]["reason"]) == ("SALE_ENDED", "CANCELLED")
    assert (await stage.put()).json["outcome"] == "unchanged"
    deeds = [deed[1:] for deed in await stage.audit() if deed[1] != "event.put"]
    assert deeds == [("event.cancel", str(EVENT), {})]
    assert_verified(stage.daemon)


@pytest.mark.parametrize("event_id", ["nine", NO_EVENT])
async def test_an_unknown_event_is_not_cancelled(stage: OperatorStage, event_id: str) -> None:
    refused = await stage.operator.post(f"/v1/operator/events/{event_id}/cancel")
    assert (refused.status, refused.code) == (404, "EVENT_NOT_FOUND")
    assert await stage.audit() == []


async def test_what_was_set_of_the_room_outlives_an_import(stage: OperatorStage) -> None:
    await stage.put()
    await stage.operator.post(f"/v1/operator/rooms/{EVENT}", {"max_active": 7})
    told = await stage.operator.get(f"/v1/operator/events/{EVENT}")
    assert told.json["waiting_room"]["max_active"] == 500
    assert (await stage.put()).json["outcome"] == "unchanged"
    room = (await stage.operator.post(f"/v1/operator/rooms/{EVENT}", {"resume": True})).json
    assert room["max_active"] == 7
    await stage.put(arena_file(waiting_room={"max_active": 501}))
    room = (await stage.operator.post(f"/v1/operator/rooms/{EVENT}", {"resume": True})).json
    assert room["max_active"] == 501
    assert_verified(stage.daemon)


async def test_an_event_with_held_seats_or_orders_is_not_deleted(stage: OperatorStage) -> None:
    await stage.put()
    seats = await stage.seat_ids()
    await stage.hold(seats[0])
    held = await stage.operator.delete(f"/v1/operator/events/{EVENT}")
    assert (held.status, held.code) == (409, "SEATS_TAKEN")
    await stage.order(seats[1])
    sold = await stage.operator.delete(f"/v1/operator/events/{EVENT}")
    assert (sold.status, sold.code) == (409, "ORDER_EXISTS")
    assert [deed[1] for deed in await stage.audit()] == ["event.put"]


async def test_a_file_without_a_held_seat_is_refused_and_names_it(stage: OperatorStage) -> None:
    await stage.put()
    seats = await stage.seat_ids()
    await stage.hold(seats[29])
    refused = await stage.put(arena_file(rows=[{"row": "A", "first": 1, "last": 10}]))
    assert (refused.status, refused.code) == (409, "SEATS_TAKEN")
    details = refused.json["error"]["details"]
    assert (details["seats"], details["seat_ids"]) == (["Floor/C/10"], [seats[29]])
    assert (await stage.seats_by_state())["available"] == 49


# --- seats ----------------------------------------------------------------------------------------------------------


async def block(
    stage: OperatorStage, *seats: str, how: str = "block", event: object = EVENT
) -> tuple[int, object]:
    answer = await stage.operator.post(f"/v1/operator/events/{event}/{how}", {"seat_ids": list(seats)})
    return answer.status, answer.json["changed"] if answer.status == 200 else answer.code


async def test_seats_are_taken_off_the_sale_and_put_back(stage: OperatorStage) -> None:
    await stage.put()
    seats = await stage.seat_ids()
    assert await block(stage, *seats[:3]) == (200, 3)
    assert await block(stage, *seats[:4]) == (200, 1)
    assert await block(stage, *seats[:4]) == (200, 0)
    assert (await stage.seats_by_state()) == {"available": 46, "reserved": 0, "sold": 0, "blocked": 4}
    assert await block(stage, *seats[2:6], how="unblock") == (200, 2)
    assert (await stage.seats_by_state())["blocked"] == 2
    deeds = [(deed[1], deed[3].get("changed")) for deed in await stage.audit()]
    assert deeds == [("event.put", None), ("seats.block", 3), ("seats.block", 1), ("seats.unblock", 2)]


async def test_held_and_sold_seats_are_not_blocked(stage: OperatorStage) -> None:
    await stage.put()
    seats = await stage.seat_ids()
    await stage.hold(seats[0])
    assert await block(stage, *seats[:2]) == (409, "SEATS_TAKEN")
    await stage.order(seats[1])
    assert await block(stage, *seats[:3]) == (410, "SEATS_UNAVAILABLE")
    assert (await stage.seats_by_state())["blocked"] == 0


async def test_unknown_events_and_seats_are_not_blocked(stage: OperatorStage) -> None:
    await stage.put()
    seats = await stage.seat_ids()
    for how in ("block", "unblock"):
        assert await block(stage, seats[0], how=how, event=uuid4()) == (404, "EVENT_NOT_FOUND")
        assert await block(stage, seats[0], how=how, event="nine") == (404, "EVENT_NOT_FOUND")
        assert await block(stage, seats[0], str(uuid4()), how=how) == (404, "SEAT_NOT_FOUND")
        beyond = seats[0][:-4] + "ffff"
        assert await block(stage, seats[0], beyond, how=how) == (404, "SEAT_NOT_FOUND")
    assert (await stage.seats_by_state())["blocked"] == 0


async def test_seats_that_are_missing_or_repeated_cannot_be_read(stage: OperatorStage) -> None:
    await stage.put()
    seats = await stage.seat_ids()
    assert await block(stage) == (400, "INVALID_REQUEST")
    assert await block(stage, seats[0], seats[0]) == (400, "INVALID_REQUEST")
    assert await block(stage, seats[0].upper(), seats[0]) == (400, "INVALID_REQUEST")
    assert await block(stage, "one") == (400, "INVALID_REQUEST")


async def test_so_many_seats_and_no_more_are_blocked_at_once(stage: OperatorStage) -> None:
    rows = [{"row": str(row), "first": 1, "last": 137} for row in range(73)]  # 10,001 seats
    await stage.put(arena_file(rows=rows))
    seats = await stage.seat_ids()
    assert await block(stage, *seats) == (400, "INVALID_REQUEST")
    assert await block(stage, *seats[:-1]) == (200, 10_000)


# --- whose door it is -----------------------------------------------------------------------------------------------


async def test_the_public_door_has_no_operator(stage: OperatorStage) -> None:
    await stage.put()
    public = Client(stage.daemon.server, stage.daemon.keys[Scope.OPERATOR])
    for method, path in (
        ("GET", "/v1/operator/events"),
        ("PUT", f"/v1/operator/events/{EVENT}"),
        ("POST", "/v1/operator/keys"),
        ("GET", "/v1/operator/stats"),
    ):
        answer = await public.call(method, path)
        assert (answer.status, answer.code) == (404, "NOT_FOUND"), path


async def test_on_tcp_the_operator_needs_a_key_of_that_scope(stage: OperatorStage) -> None:
    def on_tcp(key: str | None) -> Client:
        return Client(stage.daemon.server, key, listener=ListenerKind.OPERATOR_TCP)

    keyless = await on_tcp(None).get("/v1/operator/events")
    assert (keyless.status, keyless.code) == (401, "API_KEY_INVALID")
    for scope in (Scope.PUBLIC, Scope.STOREFRONT, Scope.GATE):
        wrong = await on_tcp(stage.daemon.keys[scope]).get("/v1/operator/events")
        assert (wrong.status, wrong.code) == (403, "SCOPE_MISSING")
    key = stage.daemon.keys[Scope.OPERATOR]
    raw = json.dumps(arena_file()).encode()
    put = await on_tcp(key).call("PUT", f"/v1/operator/events/{EVENT}", raw=raw)
    assert put.status == 201
    assert (await stage.audit())[0][0] == key.split("_")[1]


async def test_an_idempotent_import_answers_the_same_again(stage: OperatorStage) -> None:
    headers = {"idempotency-key": "import-0001"}
    first = await stage.operator.post("/v1/operator/events", arena_file(), headers=headers)
    second = await stage.operator.post("/v1/operator/events", arena_file(), headers=headers)
    assert (first.status, first.body) == (second.status, second.body)
    assert second.headers["idempotency-replayed"] == "true"
    other = await stage.operator.post("/v1/operator/events", arena_file(name="x"), headers=headers)
    assert (other.status, other.code) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert len(await stage.audit()) == 1
