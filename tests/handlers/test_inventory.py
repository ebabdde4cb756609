from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
import trio
import zstandard

from handlers.wire.inventory import MAX_SEATS, SeatMapAnswer
from storage.engine import Command
from storage.schema.ids import OrderId, ReservationId
from storage.schema.layout import event_partition
from tests.domain.inventory_stage import EVENT_ID, section_id, tier_id, user_id
from tests.handlers.sale_stage import SaleStage, open_plan, open_sale, unknown_id
from tests.support.daemon import START_MS, Client
from tests.support.verified import assert_verified
from ticketd.domain.event_cancellation import CancelEvent, cancel_event
from ticketd.domain.reservations import freeze_reservation, sell_reservation
from ticketd.event_file.plan import RowPlan, SeatPlan, SectionPlan

HOLD_SECONDS = 600
MAP = f"/v1/events/{EVENT_ID}/seats"
RESERVE = "/v1/seats/reserve"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[SaleStage]:
    async with open_sale(tmp_path) as stage:
        yield stage


async def status_of(stage: SaleStage, name: str) -> str:
    section, row, number = name.split("/")
    for one in (await stage.browser.get(MAP)).json["sections"]:
        for line in one["rows"]:
            for seat in line["seats"]:
                if (one["name"], line["row"], seat["number"]) == (section, row, number):
                    return str(seat["status"])
    raise AssertionError(f"there is no seat {name}")


async def pay(stage: SaleStage, user: int, reservation_id: str, *, sell: bool) -> None:
    """Begins the payment of a hold and, with ``sell``, sells it."""
    hold = ReservationId(UUID(reservation_id))

    async def run(what: object) -> None:
        await stage.daemon.services.engine.submit(
            Command("pay", (event_partition(EVENT_ID),), what)  # type: ignore[arg-type]  # a transition
        )

    due_at_ms = stage.daemon.services.clock.now_ms() + 60_000
    order = OrderId(UUID(int=0xF))
    await run(lambda tx: freeze_reservation(tx, EVENT_ID, user_id(user), hold, order, due_at_ms))
    if sell:
        await run(lambda tx: sell_reservation(tx, EVENT_ID, hold))


# --- the seat map ---------------------------------------------------------------------------------------------------


async def test_the_seat_map_has_its_documented_form(stage: SaleStage) -> None:
    drawn = RowPlan("A", (SeatPlan("1", 0, 1.0, 2.0), SeatPlan("2", 1)))
    await stage.put(
        open_plan(
            sections=(SectionPlan(section_id=section_id("Floor"), name="Floor", rows=(drawn,)),),
        )
    )
    found = await stage.browser.get(MAP)
    assert found.status == 200
    assert b'"status":"AVAILABLE","price":500.00,' in found.body
    shown = msgspec.json.decode(found.body, type=SeatMapAnswer)
    assert [section.name for section in shown.sections] == ["Floor"]
    assert [seat.number for seat in shown.sections[0].rows[0].seats] == ["1", "2"]
    assert [str(seat.price) for seat in shown.sections[0].rows[0].seats] == ["500.00", "150.00"]
    assert shown.last_updated == "2026-07-14T03:33:20Z"
    later = await stage.browser.get(f"{MAP}?since={shown.version}")
    assert msgspec.json.decode(later.body, type=SeatMapAnswer).complete is False


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("", None), ("gzip", "gzip"), ("gzip, zstd", "zstd"), ("br", None), ("gzip;q=1, zstd;q=0.5", "gzip")],
)
async def test_the_seat_map_comes_compressed(stage: SaleStage, accepted: str, coding: str | None) -> None:
    plain = await stage.browser.get(MAP)
    found = await stage.browser.get(MAP, headers={"accept-encoding": accepted})
    assert found.headers.get("content-encoding") == coding
    assert found.headers["vary"] == "Accept-Encoding"
    body = found.body
    if coding == "gzip":
        body = gzip.decompress(body)
    elif coding == "zstd":
        body = zstandard.ZstdDecompressor().decompress(body)
    assert body == plain.body
    assert (found.headers["etag"] == plain.headers["etag"]) is (coding is None)
    again = await stage.browser.get(
        MAP, headers={"accept-encoding": accepted, "if-none-match": found.headers["etag"]}
    )
    assert (again.status, again.body) == (304, b"")
    await stage.block("Floor/A/1")
    changed = await stage.browser.get(
        MAP, headers={"accept-encoding": accepted, "if-none-match": found.headers["etag"]}
    )
    assert changed.status == 200


async def test_one_section_and_what_changed(stage: SaleStage) -> None:
    whole = (await stage.browser.get(MAP)).json
    assert whole["complete"] is True
    balcony = (await stage.browser.get(f"{MAP}?section_id={section_id('Balcony')}")).json
    assert [section["name"] for section in balcony["sections"]] == ["Balcony"]
    buyer = await stage.buyer(1)
    await stage.reserve(buyer, 1, "Floor/A/3")
    changed = (await stage.browser.get(f"{MAP}?since={whole['version']}")).json
    assert changed["complete"] is False
    (section,) = changed["sections"]
    (row,) = section["rows"]
    (seat,) = row["seats"]
    assert (section["name"], row["row"], seat["number"], seat["status"]) == ("Floor", "A", "3", "RESERVED")
    assert changed["version"] > whole["version"]
    elsewhere = await stage.browser.get(f"{MAP}?since={whole['version']}&section_id={section_id('Balcony')}")
    assert elsewhere.json["sections"] == []


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        (f"section_id={unknown_id()}", 404, "NOT_FOUND"),
        ("section_id=floor", 400, "INVALID_REQUEST"),
        ("since=-1", 400, "INVALID_REQUEST"),
        ("since=x", 400, "INVALID_REQUEST"),
        ("since=", 400, "INVALID_REQUEST"),
        ("since=1000000", 400, "INVALID_REQUEST"),
        ("since=9223372036854775807", 400, "INVALID_REQUEST"),
        ("since=9223372036854775808", 400, "INVALID_REQUEST"),
    ],
)
async def test_a_map_that_cannot_be_given(stage: SaleStage, query: str, status: int, code: str) -> None:
    refused = await stage.browser.get(f"{MAP}?{query}")
    assert (refused.status, refused.code) == (status, code)


# --- reserving ------------------------------------------------------------------------------------------------------


async def test_three_seats_cost_what_the_example_says(stage: SaleStage) -> None:
    buyer = await stage.buyer(1)
    held = await stage.reserve(buyer, 1, "Floor/A/1", "Floor/A/2", "Floor/A/3")
    assert held.status == 201
    shown = held.json
    seat_ids = stage.seat_ids("Floor/A/1", "Floor/A/2", "Floor/A/3")
    assert shown["seat_ids"] == seat_ids
    assert shown["seats"][2] == {
        "seat_id": seat_ids[2],
        "section": "Floor",
        "row": "A",
        "seat": "3",
        "price": 500.0,
        "fees": 75.0,
    }
    sums = (
        b'"currency":"USD","total_price":1500.00,"fees":225.00,"total":1725.00,'
        b'"taxes":135.00,"grand_total":1860.00}'
    )
    assert held.body.endswith(sums)
    assert shown["expires_at"] == "2026-07-14T03:43:20Z"
    assert shown["event_id"] == str(EVENT_ID)
    assert held.headers["location"] == f"/v1/reservations/{shown['reservation_id']}"
    assert await status_of(stage, "Floor/A/2") == "RESERVED"
    looked_at = await buyer.get(f"/v1/reservations/{shown['reservation_id']}")
    assert (looked_at.status, looked_at.body) == (200, held.body)


async def test_the_best_seats(stage: SaleStage) -> None:
    buyer = await stage.buyer(1)
    held = await buyer.post(RESERVE, stage.wish(1, quantity=2))
    assert held.status == 201
    assert [(seat["section"], seat["row"]) for seat in held.json["seats"]] == [("Floor", "A")] * 2
    held = await buyer.post(
        RESERVE, stage.wish(1, quantity=2, section_id=str(section_id("Balcony")), tier_id=str(tier_id(1)))
    )
    assert [(seat["section"], seat["price"]) for seat in held.json["seats"]] == [("Balcony", 150.0)] * 2
    held = await buyer.post(RESERVE, stage.wish(1, quantity=1, section_id=None, tier_id=None, seat_ids=None))
    assert held.status == 201
    for field in ("section_id", "tier_id"):
        refused = await buyer.post(RESERVE, stage.wish(1, quantity=1, **{field: unknown_id()}))
        assert (refused.status, refused.code) == (404, "SEAT_NOT_FOUND")
    refused = await buyer.post(RESERVE, stage.wish(1, quantity=7, section_id=str(section_id("Balcony"))))
    assert (refused.status, refused.code) == (410, "SEATS_UNAVAILABLE")
    refused = await buyer.post(RESERVE, stage.wish(1, quantity=7))
    assert (refused.status, refused.code) == (422, "NO_ADJACENT_SEATS")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"seat_ids": []},
        {"seat_ids": None},
        {"seat_ids": ["A"]},
        {"seat_ids": [str(UUID(int=1)), "1"]},
        {"seat_ids": [unknown_id(), unknown_id()]},
        {"seat_ids": [unknown_id(), unknown_id().upper()]},
        {"seat_ids": [str(UUID(int=number)) for number in range(MAX_SEATS + 1)]},
        {"seat_ids": unknown_id()},
        {"seat_ids": [unknown_id()], "quantity": 1},
        {"seat_ids": [unknown_id()], "section_id": unknown_id()},
        {"seat_ids": [unknown_id()], "tier_id": unknown_id()},
        {"quantity": 0},
        {"quantity": -1},
        {"quantity": MAX_SEATS + 1},
        {"quantity": 1.5},
        {"quantity": "2"},
        {"quantity": True},
        {"quantity": 1, "section_id": "Floor"},
        {"quantity": 1, "seats": 2},
        {"quantity": 1, "user_id": "me"},
        {"quantity": 1, "event_id": None},
        {"section_id": unknown_id()},
    ],
)
async def test_a_wish_that_cannot_be_read(stage: SaleStage, fields: dict[str, object]) -> None:
    buyer = await stage.buyer(1)
    before = (await stage.browser.get(MAP)).body
    refused = await buyer.post(RESERVE, {**stage.wish(1), **fields})
    assert (refused.status, refused.code) == (400, "INVALID_REQUEST")
    assert (await stage.browser.get(MAP)).body == before


async def test_as_many_seats_are_reserved_at_once_as_the_event_allows(tmp_path: Path) -> None:
    hall = {"Floor": {"A": MAX_SEATS, "B": MAX_SEATS}}
    async with open_sale(tmp_path, open_plan(hall, purchase_limit=MAX_SEATS)) as stage:
        buyer = await stage.buyer(1)
        wish = stage.wish(1, seat_ids=stage.seat_ids(*(f"Floor/A/{n}" for n in range(1, MAX_SEATS + 1))))
        assert len(json.dumps(wish)) < 64 * 1024
        headers = {"idempotency-key": "a-whole-row"}
        held = await buyer.post(RESERVE, wish, headers=headers)
        assert held.status == 201, held.body
        again = await buyer.post(RESERVE, wish, headers=headers)
        assert len(again.body) > 64 * 1024
        assert (again.body, again.headers["idempotency-replayed"]) == (held.body, "true")
        over = await buyer.post(RESERVE, stage.wish(1, quantity=1))
        assert (over.status, over.code) == (422, "PURCHASE_LIMIT_EXCEEDED")
        another = await stage.buyer(2)
        best = await another.post(RESERVE, stage.wish(2, quantity=MAX_SEATS))
        assert (best.status, len(best.json["seat_ids"])) == (201, MAX_SEATS)
        assert_verified(stage.daemon)


async def test_the_most_seats_of_a_wish_can_be_read(stage: SaleStage) -> None:
    buyer = await stage.buyer(1)
    most = [str(UUID(int=number)) for number in range(MAX_SEATS)]
    refused = await buyer.post(RESERVE, stage.wish(1, seat_ids=most))
    assert (refused.status, refused.code) == (404, "SEAT_NOT_FOUND")
    refused = await buyer.post(RESERVE, stage.wish(1, quantity=MAX_SEATS))
    assert (refused.status, refused.code) == (410, "SEATS_UNAVAILABLE")


async def test_for_whom_and_where(stage: SaleStage) -> None:
    other = open_plan(event_id=UUID(int=0x77))
    await stage.put(other)
    buyer = await stage.buyer(1)
    (seat,) = stage.seat_ids("Floor/A/1")
    wrong_both = {"event_id": str(other.event_id), "user_id": str(user_id(2)), "seat_ids": [seat]}
    refused = await buyer.post(RESERVE, wrong_both)
    assert (refused.status, refused.code) == (403, "USER_MISMATCH")
    refused = await buyer.post(RESERVE, {**wrong_both, "user_id": str(user_id(1))})
    assert (refused.status, refused.code) == (403, "EVENT_MISMATCH")
    assert await status_of(stage, "Floor/A/1") == "AVAILABLE"


async def test_seats_that_there_are_not(stage: SaleStage) -> None:
    buyer = await stage.buyer(1)
    (seat,) = stage.seat_ids("Floor/A/1")
    nearly = seat[:-1] + "f"
    for strange in (unknown_id(), nearly):
        refused = await buyer.post(RESERVE, stage.wish(1, seat_ids=[seat, strange]))
        assert (refused.status, refused.code) == (404, "SEAT_NOT_FOUND")
        assert refused.json["error"]["details"]["seat_ids"] == [strange]
    assert await status_of(stage, "Floor/A/1") == "AVAILABLE"


async def test_seats_that_are_not_free(stage: SaleStage) -> None:
    first, second = await stage.buyer(1), await stage.buyer(2)
    held = await stage.reserve(first, 1, "Floor/A/1")
    again = await stage.reserve(first, 1, "Floor/A/1")
    assert (again.status, again.json) == (201, held.json)
    more = await stage.reserve(first, 1, "Floor/A/1", "Floor/A/2")
    assert (more.status, more.code) == (409, "SEATS_TAKEN")
    taken = await stage.reserve(second, 2, "Floor/A/1", "Floor/A/2")
    assert (taken.status, taken.code) == (409, "SEATS_TAKEN")
    assert taken.json["error"]["details"]["seat_ids"] == stage.seat_ids("Floor/A/1")
    await stage.block("Floor/A/2")
    gone = await stage.reserve(second, 2, "Floor/A/1", "Floor/A/2", "Floor/A/3")
    assert (gone.status, gone.code) == (410, "SEATS_UNAVAILABLE")
    assert gone.json["error"]["details"]["seat_ids"] == stage.seat_ids("Floor/A/2")
    assert await status_of(stage, "Floor/A/3") == "AVAILABLE"


async def test_the_purchase_limit(stage: SaleStage) -> None:
    await stage.put(open_plan(purchase_limit=2))
    buyer = await stage.buyer(1)
    refused = await stage.reserve(buyer, 1, "Floor/A/1", "Floor/A/2", "Floor/A/3")
    assert (refused.status, refused.code) == (422, "PURCHASE_LIMIT_EXCEEDED")
    assert (await stage.reserve(buyer, 1, "Floor/A/1", "Floor/A/2")).status == 201
    refused = await stage.reserve(buyer, 1, "Floor/A/3")
    assert refused.json["error"]["details"] == {"limit": 2, "held": 2, "bought": 0}


async def test_when_the_sale_is_over(stage: SaleStage) -> None:
    buyer = await stage.buyer(1)
    await stage.daemon.services.engine.submit(
        Command("cancel", (event_partition(EVENT_ID),), lambda tx: cancel_event(tx, CancelEvent(EVENT_ID)))
    )
    refused = await stage.reserve(buyer, 1, "Floor/A/1")
    assert (refused.status, refused.code) == (410, "SALE_ENDED")


async def test_a_sale_that_was_put_off(stage: SaleStage) -> None:
    buyer = await stage.buyer(1)
    await stage.put(open_plan(general_sale_start_ms=START_MS + 60_000))
    refused = await stage.reserve(buyer, 1, "Floor/A/1")
    assert (refused.status, refused.code) == (403, "SALE_NOT_OPEN")
    assert refused.json["error"]["details"]["opens_at"] == "2026-07-14T03:34:20Z"


async def test_when_the_time_to_shop_is_over(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    room = msgspec.structs.replace(open_plan().room, access_seconds=30)
    async with open_sale(tmp_path, open_plan(room=room)) as stage:
        buyer = await stage.buyer(1)
        held = await stage.reserve(buyer, 1, "Floor/A/1")
        await trio.sleep(31)
        refused = await stage.reserve(buyer, 1, "Floor/A/2")
        assert (refused.status, refused.code) == (403, "ACCESS_EXPIRED")
        # What is held may still be given up.
        gone = await buyer.delete(f"/v1/reservations/{held.json['reservation_id']}")
        assert gone.status == 204


async def test_an_idempotency_key_holds_once(stage: SaleStage) -> None:
    buyer = await stage.buyer(1)
    key = {"idempotency-key": "key-of-a-wish"}
    first = await buyer.post(RESERVE, stage.wish(1, quantity=2), headers=key)
    again = await buyer.post(RESERVE, stage.wish(1, quantity=2), headers=key)
    assert (again.status, again.body) == (201, first.body)
    assert again.headers["idempotency-replayed"] == "true"
    other = await buyer.post(RESERVE, stage.wish(1, quantity=1), headers=key)
    assert (other.status, other.code) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert (await stage.browser.get(f"/v1/events/{EVENT_ID}")).json["available_seats"] == 14


# --- the life of a reservation --------------------------------------------------------------------------------------


async def hold(stage: SaleStage) -> tuple[Client, str]:
    """A buyer, and the path of a reservation that they have."""
    buyer = await stage.buyer(1)
    held = await stage.reserve(buyer, 1, "Floor/A/1")
    return buyer, f"/v1/reservations/{held.json['reservation_id']}"


async def test_a_reservation_is_released_once(stage: SaleStage) -> None:
    buyer, path = await hold(stage)
    gone = await buyer.delete(path)
    assert (gone.status, gone.body) == (204, b"")
    assert await status_of(stage, "Floor/A/1") == "AVAILABLE"
    for again in (await buyer.get(path), await buyer.delete(path)):
        assert (again.status, again.code) == (404, "RESERVATION_NOT_FOUND")


async def test_releasing_twice_under_one_key_is_releasing_once(stage: SaleStage) -> None:
    buyer, path = await hold(stage)
    key = {"idempotency-key": "key-of-a-release"}
    for _ in range(2):
        assert (await buyer.delete(path, headers=key)).status == 204


@pytest.mark.parametrize("reservation_id", [unknown_id(), "x", "0"])
async def test_a_reservation_that_there_is_not(stage: SaleStage, reservation_id: str) -> None:
    buyer = await stage.buyer(1)
    for answer in (
        await buyer.get(f"/v1/reservations/{reservation_id}"),
        await buyer.delete(f"/v1/reservations/{reservation_id}"),
    ):
        assert (answer.status, answer.code) == (404, "RESERVATION_NOT_FOUND")


async def test_another_buyers_reservation_looks_like_none(stage: SaleStage) -> None:
    _, path = await hold(stage)
    stranger = await stage.buyer(2)
    for answer in (await stranger.get(path), await stranger.delete(path)):
        assert (answer.status, answer.code) == (404, "RESERVATION_NOT_FOUND")
    assert await status_of(stage, "Floor/A/1") == "RESERVED"


async def test_a_reservation_runs_out(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with open_sale(tmp_path) as stage:
        buyer, path = await hold(stage)
        await trio.sleep(HOLD_SECONDS - 1)
        assert (await buyer.get(path)).status == 200
        await trio.sleep(2)
        for answer in (await buyer.get(path), await buyer.delete(path)):
            assert (answer.status, answer.code) == (410, "RESERVATION_EXPIRED")
        assert await status_of(stage, "Floor/A/1") == "AVAILABLE"


async def test_a_reservation_that_is_being_paid_or_was(stage: SaleStage) -> None:
    buyer, path = await hold(stage)
    reservation_id = path.rpartition("/")[2]
    await pay(stage, 1, reservation_id, sell=False)
    shown = await buyer.get(path)
    assert (shown.status, shown.json["status"]) == (200, "PAYING")
    refused = await buyer.delete(path)
    assert (refused.status, refused.code) == (409, "ORDER_EXISTS")
    await stage.daemon.services.engine.submit(
        Command(
            "sell",
            (event_partition(EVENT_ID),),
            lambda tx: sell_reservation(tx, EVENT_ID, ReservationId(UUID(reservation_id))),
        )
    )
    for answer in (await buyer.get(path), await buyer.delete(path)):
        assert (answer.status, answer.code) == (409, "ORDER_EXISTS")
        assert answer.json["error"]["details"] == {"order_id": str(UUID(int=0xF))}
    assert await status_of(stage, "Floor/A/1") == "SOLD"


async def test_who_may_hold_seats(stage: SaleStage) -> None:
    buyer, path = await hold(stage)
    calls = [("POST", RESERVE, stage.wish(1, quantity=1)), ("GET", path, None), ("DELETE", path, None)]
    for method, target, body in calls:
        assert (await stage.browser.call(method, target, body)).code == "TOKEN_MISSING"
        assert (await (await stage.daemon.user()).call(method, target, body)).code == "TOKEN_KIND_NOT_ALLOWED"
        elsewhere = buyer.with_token(buyer.token, "another-device")
        assert (await elsewhere.call(method, target, body)).code == "DEVICE_MISMATCH"
    assert json.loads((await buyer.get(path)).body)["status"] == "HELD"
