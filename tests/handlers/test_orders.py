from __future__ import annotations

import base64
from pathlib import Path
from uuid import UUID

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from config.settings import PaymentSettings, Settings, StorageSettings
from storage.schema.ids import EventId, OrderId
from tests.domain.inventory_stage import EVENT_ID, HOLD_MS, user_id
from tests.handlers.order_stage import BILLING, CHALLENGED, DECLINED, details_of, open_shop
from tests.handlers.sale_stage import open_plan, unknown_id
from tests.support.daemon import PUBLIC_URL, START_MS
from ticketd.ports.sandbox_payments import ActionOutcome

HOUR_MS = 3_600_000
KEY = {"idempotency-key": "the-first-try"}
OTHER_EVENT = EventId(UUID("0190a0b0-0000-7000-8000-0000000000ff"))
THREE = ("Floor/A/1", "Floor/A/2", "Floor/A/3")


# --- placing --------------------------------------------------------------------------------------------------------


async def test_the_answer_to_a_placed_order(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        body = await stage.wish_to_pay(buyer, 1, *THREE)
        placed = await buyer.post("/v1/orders", body, headers={"x-session-id": "session-7"})
        assert placed.status == 201
        order_id = placed.json["order_id"]
        assert b'"subtotal":1500.00,"fees":225.00,"taxes":135.00,"total":1860.00' in placed.body
        seat_ids = stage.seat_ids(*THREE)
        assert placed.json == {
            "order_id": order_id,
            "reservation_id": body["reservation_id"],
            "status": "PENDING",
            "seats": [
                {"seat_id": seat_id, "section": "Floor", "row": "A", "seat": str(number), "price": 500.00}
                for number, seat_id in enumerate(seat_ids, start=1)
            ],
            "currency": "USD",
            "subtotal": 1500.00,
            "fees": 225.00,
            "taxes": 135.00,
            "total": 1860.00,
            "payment_status": "AUTHORIZED",
            "delivery_method": "MOBILE",
            "created_at": placed.json["created_at"],
        }
        assert stage.record(OrderId(UUID(order_id))).trail[0].session_id == "session-7"


@pytest.mark.parametrize("page", ["", "https://shop.example/paid?lang=de"])
async def test_where_the_bank_sends_the_buyer_back_to(
    autojump_clock: MockClock, tmp_path: Path, page: str
) -> None:
    settings = Settings(
        storage=StorageSettings(map_size_bytes=256 * 1024 * 1024), payments=PaymentSettings(return_url=page)
    )
    async with open_shop(tmp_path, settings=settings) as stage:
        placed = await stage.order(await stage.buyer(1), 1, "Floor/A/1", token=CHALLENGED)
        assert placed["payment_status"] == "REQUIRES_ACTION"
        assert stage.record(OrderId(UUID(placed["order_id"]))).return_url == (page or PUBLIC_URL)


async def test_money_has_the_decimals_of_its_currency(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path, open_plan(currency="JPY")) as stage:
        buyer = await stage.buyer(1)
        placed = await buyer.post("/v1/orders", await stage.wish_to_pay(buyer, 1, "Floor/A/1"))
        assert b'"currency":"JPY","subtotal":50000,"fees":7500,"taxes":4500,"total":62000' in placed.body


@pytest.mark.parametrize("method", ["MOBILE", "EMAIL", "PRINT", "WILL_CALL", None])
async def test_each_way_of_delivery(autojump_clock: MockClock, tmp_path: Path, method: str | None) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        body = await stage.wish_to_pay(buyer, 1, "Floor/A/1", delivery_method=method)
        if method is None:
            del body["delivery_method"]
        placed = await buyer.post("/v1/orders", body)
        assert (placed.status, placed.json["delivery_method"]) == (201, method or "MOBILE")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reservation_id", "no-uuid"),
        ("reservation_id", None),
        ("delivery_method", "PIGEON"),
        ("billing_address", None),
        ("billing_address", {**BILLING, "country": "us"}),
        ("billing_address", {**BILLING, "street": ""}),
        ("billing_address", {"city": "New York", "country": "US"}),
        ("payment_method_id", 7),
        ("extra", True),
    ],
)
async def test_a_body_that_is_no_order(
    autojump_clock: MockClock, tmp_path: Path, field: str, value: object
) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        body = {**await stage.wish_to_pay(buyer, 1, "Floor/A/1"), field: value}
        answer = await buyer.post("/v1/orders", body)
        assert (answer.status, answer.code) == (400, "INVALID_REQUEST")
        del body[field]
        if field not in {"extra", "delivery_method"}:
            assert (await buyer.post("/v1/orders", body)).code == "INVALID_REQUEST"
        assert stage.gateway.keys_of("authorise") == []


async def test_a_card_that_is_not_the_buyers(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer, other = await stage.buyer(1), await stage.buyer(2)
        foreign = await stage.add_card(other)
        body = await stage.wish_to_pay(buyer, 1, "Floor/A/1")
        for method in (foreign, unknown_id(), "no-uuid"):
            answer = await buyer.post("/v1/orders", {**body, "payment_method_id": method})
            assert (answer.status, answer.code) == (400, "INVALID_PAYMENT_METHOD")
        assert (await buyer.post("/v1/orders", body)).status == 201


async def test_a_reservation_that_is_not_the_buyers_or_not_live(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_shop(tmp_path) as stage:
        buyer, other = await stage.buyer(1), await stage.buyer(2)
        body = await stage.wish_to_pay(buyer, 1, "Floor/A/1")
        foreign = await stage.hold(other, 2, "Floor/A/2")
        for reservation in (foreign, unknown_id()):
            answer = await buyer.post("/v1/orders", {**body, "reservation_id": reservation})
            assert (answer.status, answer.code) == (404, "RESERVATION_NOT_FOUND")
        await stage.pass_seconds(HOLD_MS / 1000)
        answer = await buyer.post("/v1/orders", body)
        assert (answer.status, answer.code) == (410, "RESERVATION_EXPIRED")


async def test_a_reservation_that_has_its_order(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        body = await stage.wish_to_pay(buyer, 1, "Floor/A/1")
        placed = await buyer.post("/v1/orders", body)
        answer = await buyer.post("/v1/orders", body)
        assert (answer.status, answer.code) == (409, "ORDER_EXISTS")
        assert details_of(answer) == {"order_id": placed.json["order_id"]}


async def test_a_declined_card(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        body = await stage.wish_to_pay(buyer, 1, "Floor/A/1", token=DECLINED)
        answer = await buyer.post("/v1/orders", body)
        assert (answer.status, answer.code) == (402, "PAYMENT_DECLINED")
        assert details_of(answer) == {"decline_code": "insufficient_funds"}
        assert (await buyer.get("/v1/orders")).json["orders"] == []
        card = await stage.add_card(buyer)
        assert (await buyer.post("/v1/orders", {**body, "payment_method_id": card})).status == 201


async def test_a_gateway_that_is_away(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        body = await stage.wish_to_pay(buyer, 1, "Floor/A/1")
        stage.gateway.fail("authorise")
        answer = await buyer.post("/v1/orders", body, headers=KEY)
        assert (answer.status, answer.code) == (503, "PAYMENT_UNAVAILABLE")
        assert int(answer.headers["retry-after"]) > 0
        again = await buyer.post("/v1/orders", body, headers=KEY)
        assert (again.status, "idempotency-replayed" in again.headers) == (201, False)


async def test_only_an_access_token_places_orders(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        body = await stage.wish_to_pay(buyer, 1, "Floor/A/1")
        owner = await stage.daemon.user(user_id(1))
        answer = await owner.post("/v1/orders", body)
        assert (answer.status, answer.code) == (403, "TOKEN_KIND_NOT_ALLOWED")
        elsewhere = buyer.with_token(buyer.token, "another-device")
        assert (await elsewhere.post("/v1/orders", body)).code == "DEVICE_MISMATCH"


async def test_a_live_hold_is_paid_after_the_time_to_shop_is_over(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        assert (await buyer.delete("/v1/queue/leave")).status == 403, "an access token is no queue token"
        body = await stage.wish_to_pay(buyer, 1, "Floor/A/1")
        await stage.order(buyer, 1, "Floor/A/2")
        more = await stage.reserve(buyer, 1, "Floor/A/3")
        assert (more.status, more.code) == (403, "ACCESS_EXPIRED"), "an order ends the time to shop"
        assert (await buyer.post("/v1/orders", body)).status == 201


async def test_a_caller_who_hangs_up_has_bought_all_the_same(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        body = await stage.wish_to_pay(buyer, 1, "Floor/A/1")
        pause = stage.gateway.pause("authorise")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: buyer.post("/v1/orders", body, headers=KEY))
            await pause.reached.wait()
            nursery.cancel_scope.cancel()
        running = await buyer.post("/v1/orders", body, headers=KEY)
        assert (running.status, running.code) == (409, "IDEMPOTENCY_KEY_IN_USE")
        pause.resume.set()
        await trio.testing.wait_all_tasks_blocked()
        again = await buyer.post("/v1/orders", body, headers=KEY)
        assert (again.status, again.json["status"]) == (201, "PENDING")
        assert again.headers["idempotency-replayed"] == "true"
        orders = (await buyer.get("/v1/orders")).json["orders"]
        assert [order["status"] for order in orders] == ["CONFIRMED"]


# --- 3-D Secure -----------------------------------------------------------------------------------------------------


async def test_a_payment_that_needs_the_buyer(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        placed = await stage.order(buyer, 1, "Floor/A/1", token=CHALLENGED)
        assert (placed["status"], placed["payment_status"]) == ("PENDING", "REQUIRES_ACTION")
        action = placed["next_action"]
        assert action["type"] == "REDIRECT"
        assert "client_secret" not in action, "the sandbox has no script for pages"
        path = f"/v1/orders/{placed['order_id']}"
        shown = (await buyer.get(path)).json
        assert shown["next_action"] == action
        assert shown["tickets"] == []
        page = action["redirect_url"].removeprefix("http://tickets.test")
        browser = stage.daemon.client().with_token(None, None)
        browser.api_key = None
        done = await browser.call(
            "POST",
            page,
            raw=b"outcome=complete",
            headers={"content-type": "application/x-www-form-urlencoded"},
        )
        assert done.status == 200
        await trio.testing.wait_all_tasks_blocked()
        order = (await buyer.get(path)).json
        assert (order["status"], order["payment_status"]) == ("CONFIRMED", "CAPTURED")
        assert "next_action" not in order
        assert len(order["tickets"]) == 1


async def test_a_challenge_that_is_never_met(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        placed = await stage.order(buyer, 1, "Floor/A/1", token=CHALLENGED)
        await stage.pass_seconds(HOLD_MS / 1000)
        order = (await buyer.get(f"/v1/orders/{placed['order_id']}")).json
        assert (order["status"], order["payment_status"]) == ("FAILED", "VOIDED")
        free = (await stage.browser.get(f"/v1/events/{EVENT_ID}")).json
        assert free["available_seats"] == free["total_capacity"]


# --- looking --------------------------------------------------------------------------------------------------------


async def test_a_confirmed_order_with_its_tickets(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        placed = await stage.order(buyer, 1, *THREE)
        order = (await buyer.get(f"/v1/orders/{placed['order_id']}")).json
        assert order["event"] == {
            "event_id": str(EVENT_ID),
            "name": "A Night of Tests",
            "date": order["event"]["date"],
            "venue": "The Hall",
        }
        assert (order["status"], order["payment_status"], order["total"]) == ("CONFIRMED", "CAPTURED", 1860.0)
        assert order["seats"] == placed["seats"]
        assert order["confirmed_at"] >= order["created_at"]
        assert order["cancelled_at"] is None
        assert order["refund_amount"] is None
        assert "billing_address" not in order
        assert [ticket["status"] for ticket in order["tickets"]] == ["ACTIVE"] * 3
        for ticket in order["tickets"]:
            assert base64.b64decode(ticket["qr_code"]).startswith(b"\x89PNG")
            assert ticket["download_url"].startswith(
                f"http://tickets.test/tickets/{ticket['ticket_id']}.pdf?link="
            )
        owner = await stage.daemon.user(user_id(1))
        assert (await owner.get(f"/v1/orders/{placed['order_id']}")).json["order_id"] == placed["order_id"]


async def test_an_order_that_is_not_the_buyers(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer, other = await stage.buyer(1), await stage.buyer(2)
        placed = await stage.order(buyer, 1, "Floor/A/1")
        for caller in (other, await stage.daemon.user(user_id(2))):
            for order_id in (placed["order_id"], unknown_id(), "no-uuid"):
                looked = await caller.get(f"/v1/orders/{order_id}")
                assert (looked.status, looked.code) == (404, "ORDER_NOT_FOUND")
                cancelled = await caller.post(f"/v1/orders/{order_id}/cancel")
                assert (cancelled.status, cancelled.code) == (404, "ORDER_NOT_FOUND")
            assert (await caller.get("/v1/orders")).json["pagination"]["total"] == 0


async def test_an_access_token_sees_the_orders_of_its_own_event_alone(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_shop(tmp_path) as stage:
        await stage.put(open_plan(event_id=OTHER_EVENT, name="Another Night"))
        buyer = await stage.buyer(1)
        placed = await stage.order(buyer, 1, "Floor/A/1")
        elsewhere = await stage.buyer(1, OTHER_EVENT)
        for answer in (
            await elsewhere.get(f"/v1/orders/{placed['order_id']}"),
            await elsewhere.post(f"/v1/orders/{placed['order_id']}/cancel"),
        ):
            assert (answer.status, answer.code) == (403, "EVENT_MISMATCH")
        assert (await elsewhere.get("/v1/orders")).json["orders"] == []
        assert len((await buyer.get("/v1/orders")).json["orders"]) == 1


async def test_the_list_is_newest_first_and_in_pages(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        wishes = [await stage.wish_to_pay(buyer, 1, name) for name in THREE]
        placed = []
        for wish in wishes:
            await stage.pass_seconds(1)
            placed.append((await buyer.post("/v1/orders", wish)).json)
        await trio.testing.wait_all_tasks_blocked()
        newest = [order["order_id"] for order in reversed(placed)]
        owner = await stage.daemon.user(user_id(1))
        whole = (await owner.get("/v1/orders")).json
        assert whole["pagination"] == {"page": 1, "per_page": 20, "total": 3}
        assert sorted(order["order_id"] for order in whole["orders"]) == sorted(newest)
        times = [order["created_at"] for order in whole["orders"]]
        assert times == sorted(times, reverse=True)
        assert whole["orders"][0] == {
            "order_id": newest[0],
            "event": whole["orders"][0]["event"],
            "seat_count": 1,
            "currency": "USD",
            "total": 620.0,
            "status": "CONFIRMED",
            "payment_status": "CAPTURED",
            "created_at": placed[-1]["created_at"],
            "confirmed_at": whole["orders"][0]["confirmed_at"],
            "cancelled_at": None,
        }
        second = (await owner.get("/v1/orders?page=2&per_page=2")).json
        assert second["pagination"] == {"page": 2, "per_page": 2, "total": 3}
        assert [order["order_id"] for order in second["orders"]] == [newest[2]]
        for query in ("page=0", "per_page=0", "per_page=101", "page=x"):
            assert (await owner.get(f"/v1/orders?{query}")).code == "INVALID_REQUEST"


# --- cancelling -----------------------------------------------------------------------------------------------------


async def test_a_cancelled_order(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        placed = await stage.order(buyer, 1, *THREE)
        path = f"/v1/orders/{placed['order_id']}"
        await stage.pass_seconds(60)
        cancelled = await buyer.post(f"{path}/cancel", headers={"x-session-id": "session-8"})
        assert cancelled.status == 200
        assert b'"refund_amount":1860.00' in cancelled.body
        assert cancelled.json == {
            "order_id": placed["order_id"],
            "status": "CANCELLED",
            "refund_amount": 1860.0,
            "currency": "USD",
            "refund_status": "PROCESSING",
            "cancelled_at": cancelled.json["cancelled_at"],
        }
        await trio.testing.wait_all_tasks_blocked()
        order = (await buyer.get(path)).json
        assert (order["status"], order["payment_status"]) == ("CANCELLED", "REFUNDED")
        assert (order["refund_amount"], order["cancelled_at"]) == (1860.0, cancelled.json["cancelled_at"])
        assert {(ticket["status"], ticket["qr_code"]) for ticket in order["tickets"]} == {("VOID", "")}
        assert (await stage.browser.get(f"/v1/events/{EVENT_ID}")).json["available_seats"] == 16
        again = await buyer.post(f"{path}/cancel")
        assert (again.status, again.code) == (409, "ORDER_ALREADY_CANCELLED")
        lines = stage.record(OrderId(UUID(placed["order_id"]))).trail
        assert [line.session_id for line in lines if "cancelled" in line.what] == ["session-8"]


async def test_the_event_may_keep_the_fees(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path, open_plan(refund_fees=False)) as stage:
        buyer = await stage.buyer(1)
        placed = await stage.order(buyer, 1, *THREE)
        cancelled = await buyer.post(f"/v1/orders/{placed['order_id']}/cancel")
        assert b'"refund_amount":1635.00' in cancelled.body


async def test_an_order_that_was_never_charged(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        placed = await stage.order(buyer, 1, "Floor/A/1", token=CHALLENGED)
        cancelled = await buyer.post(f"/v1/orders/{placed['order_id']}/cancel")
        assert (cancelled.status, cancelled.json["refund_status"]) == (200, "NOT_CHARGED")
        assert b'"refund_amount":0.00' in cancelled.body
        await trio.testing.wait_all_tasks_blocked()
        order = (await buyer.get(f"/v1/orders/{placed['order_id']}")).json
        assert (order["status"], order["payment_status"]) == ("CANCELLED", "VOIDED")


async def test_an_order_whose_challenge_was_failed(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        placed = await stage.order(buyer, 1, "Floor/A/1", token=CHALLENGED)
        order_id = OrderId(UUID(placed["order_id"]))
        sandbox, ref = stage.daemon.services.sandbox, stage.record(order_id).payment_ref
        assert sandbox is not None
        assert ref is not None
        await sandbox.complete_action(ref, ActionOutcome.FAIL)
        await stage.daemon.services.payments.wake(order_id)
        await trio.testing.wait_all_tasks_blocked()
        answer = await buyer.post(f"/v1/orders/{placed['order_id']}/cancel")
        assert (answer.status, answer.code) == (400, "ORDER_NOT_CANCELLABLE")
        assert details_of(answer) == {"reason": "NOT_PAID"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"date_ms": START_MS + HOUR_MS}, "EVENT_STARTED"),
        ({"refundable_until_ms": START_MS + HOUR_MS}, "PAST_REFUNDABLE_UNTIL"),
    ],
)
async def test_an_order_that_can_no_longer_be_cancelled(
    autojump_clock: MockClock, tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    async with open_shop(tmp_path, open_plan(**changes)) as stage:
        buyer = await stage.buyer(1)
        placed = await stage.order(buyer, 1, "Floor/A/1")
        await stage.pass_seconds(HOUR_MS / 1000)
        owner = await stage.daemon.user(user_id(1))
        answer = await owner.post(f"/v1/orders/{placed['order_id']}/cancel")
        assert (answer.status, answer.code) == (400, "ORDER_NOT_CANCELLABLE")
        assert details_of(answer) == {"reason": reason}
