"""One sale from the event file to the cancelled order, to the cent, through the API."""

from __future__ import annotations

import base64
from pathlib import Path
from uuid import UUID

import trio
import trio.testing

from tests.support.daemon import Daemon, open_daemon
from tests.support.events import arena_file, put_plan
from tests.support.shopping import enter, wait_for_order
from tests.support.verified import assert_verified

ADDRESS = {
    "street": "123 Main St",
    "city": "New York",
    "state": "NY",
    "postal_code": "10001",
    "country": "US",
}


async def test_three_seats_are_sold_to_the_cent(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_daemon(tmp_path) as daemon:
        event_id = await put_plan(daemon, arena_file())
        buyer, user_id = await enter(daemon, event_id)
        seats = await _first_floor_seats(daemon, event_id, 3)

        held = await buyer.post(
            "/v1/seats/reserve",
            {"event_id": str(event_id), "seat_ids": seats, "user_id": str(user_id)},
        )
        assert held.status == 201, held.body
        assert held.json["seat_ids"] == seats
        assert b'"total_price":1500.00,' in held.body
        assert (held.json["fees"], held.json["total"]) == (225.00, 1725.00)
        assert (held.json["taxes"], held.json["grand_total"], held.json["currency"]) == (
            135.00,
            1860.00,
            "USD",
        )

        card = await buyer.post("/v1/payment-methods", {"type": "CARD", "card_token": "tok_visa_4242"})
        assert card.status == 201
        assert (card.json["card_last_four"], card.json["card_brand"]) == ("4242", "Visa")
        assert card.json["is_default"] is True

        placed = await buyer.post(
            "/v1/orders",
            {
                "reservation_id": held.json["reservation_id"],
                "payment_method_id": card.json["payment_method_id"],
                "billing_address": ADDRESS,
                "delivery_method": "MOBILE",
            },
        )
        assert placed.status == 201, placed.body
        assert (placed.json["status"], placed.json["payment_status"]) == ("PENDING", "AUTHORIZED")
        assert b'"subtotal":1500.00,"fees":225.00,"taxes":135.00,"total":1860.00' in placed.body
        assert placed.json["seats"][0]["section"] == "Floor"

        order_id = placed.json["order_id"]
        assert_verified(daemon)
        order = await wait_for_order(buyer, order_id, "CONFIRMED")
        assert_verified(daemon)
        assert (order["payment_status"], order["total"]) == ("CAPTURED", 1860.00)
        assert len(order["tickets"]) == 3
        assert base64.b64decode(order["tickets"][0]["qr_code"]).startswith(b"\x89PNG")

        tickets = (await buyer.get(f"/v1/tickets?order_id={order_id}")).json["tickets"]
        assert {(t["section"], t["status"], t["transferable"]) for t in tickets} == {
            ("Floor", "ACTIVE", True)
        }
        assert len({t["barcode"] for t in tickets}) == 3

        after_order = await buyer.post(
            "/v1/seats/reserve", {"event_id": str(event_id), "quantity": 1, "user_id": str(user_id)}
        )
        assert (after_order.status, after_order.code) == (403, "ACCESS_EXPIRED")

        cancelled = await buyer.post(f"/v1/orders/{order_id}/cancel")
        assert cancelled.status == 200, cancelled.body
        assert (cancelled.json["status"], cancelled.json["refund_status"]) == ("CANCELLED", "PROCESSING")
        assert b'"refund_amount":1860.00' in cancelled.body
        assert_verified(daemon)
        refunded = await wait_for_order(buyer, order_id, "CANCELLED", payment="REFUNDED")
        assert {ticket["status"] for ticket in refunded["tickets"]} == {"VOID"}
        details = (await daemon.client().get(f"/v1/events/{event_id}")).json
        assert details["available_seats"] == details["total_capacity"]
        assert_verified(daemon)


async def test_sixty_four_clients_get_exactly_fifty_seats(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_daemon(tmp_path) as daemon:
        event_id = await put_plan(daemon, arena_file(rows=[{"row": "A", "first": 1, "last": 50}]))
        buyers = [await enter(daemon, event_id) for _ in range(64)]
        won: list[str] = []

        async def fight(number: int) -> None:
            buyer, user_id = buyers[number]
            answer = await buyer.post(
                "/v1/seats/reserve", {"event_id": str(event_id), "quantity": 1, "user_id": str(user_id)}
            )
            if answer.status == 201:
                won.extend(answer.json["seat_ids"])
            else:
                assert (answer.status, answer.code) == (410, "SEATS_UNAVAILABLE")

        async with trio.open_nursery() as nursery:
            for number in range(64):
                nursery.start_soon(fight, number)
        assert len(won) == len(set(won)) == 50
        assert_verified(daemon)


async def _first_floor_seats(daemon: Daemon, event_id: UUID, count: int) -> list[str]:
    answer = await daemon.client().get(f"/v1/events/{event_id}/seats")
    row = answer.json["sections"][0]["rows"][0]
    return [seat["seat_id"] for seat in row["seats"][:count]]
