from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
import trio.testing

from config.settings import RateLimitSettings
from handlers.wire.box_office import MAX_TILL_SEATS
from storage.engine import Command, Transaction
from storage.schema.ids import OrderId, TicketId
from storage.schema.layout import SYSTEM, TOTAL, event_partition
from storage.schema.records import CountRecord
from storage.schema.states import OrderState, PaymentState, TicketState
from tests.domain.inventory_stage import EVENT_ID, section_id, tier_id, user_id
from tests.handlers.order_stage import BILLING
from tests.handlers.sale_stage import open_plan, unknown_id
from tests.handlers.ticket_box import FRIEND, accept
from tests.handlers.till_stage import SALES, TillStage, open_till, till_settings
from tests.support.daemon import START_MS, Answer
from tests.support.verified import assert_verified
from ticketd.credentials.api_keys import Scope
from ticketd.domain.event_cancellation import CancelEvent, cancel_event
from ticketd.domain.ticket_book import load_ticket, move_ticket
from ticketd.tasks.reconciling import Reconciler, Verdict
from ticketd.tickets.code import verify_ticket_code

KEY = {"idempotency-key": "till-key-1"}


def counted(stage: TillStage) -> CountRecord:
    partition = event_partition(EVENT_ID)
    with stage.daemon.services.engine.snapshot(partition) as view:
        found = TOTAL.get(view, partition)
    assert found is not None
    return found


async def test_a_sale_is_confirmed_captured_and_has_its_tickets_at_once(tmp_path: Path) -> None:
    async with open_till(tmp_path) as stage:
        sold = await stage.sell("Floor/A/1", "Floor/A/2", receipt="R 77")
        assert (sold["status"], sold["payment_status"]) == ("CONFIRMED", "CAPTURED")
        assert sold["payment"] == {"method": "CASH", "receipt": "R 77"}
        assert (sold["subtotal"], sold["fees"], sold["taxes"], sold["total"]) == (1000, 150, 90, 1240)
        assert [(t["row"], t["seat"], t["price"]) for t in sold["tickets"]] == [
            ("A", "1", 500),
            ("A", "2", 500),
        ]
        for ticket in sold["tickets"]:
            assert ticket["status"] == "ACTIVE"
            assert len(ticket["barcode"]) == 12
            keys = {key.kid: key.public for key in stage.daemon.services.keys.ticket_keys}
            assert str(verify_ticket_code(ticket["code"], keys).code.ticket_id) == ticket["ticket_id"]
            path = ticket["download_url"].removeprefix("http://tickets.test")
            assert (await stage.till.get(path)).body.startswith(b"%PDF")
        assert stage.moved(sold["order_id"]) == [("CAPTURED", 124_000, "R 77")]
        assert counted(stage).sold == 2


async def test_no_gateway_ever_looks_at_a_tills_order(tmp_path: Path) -> None:
    async with open_till(tmp_path) as stage:
        sold = await stage.sell("Floor/A/1")
        assert stage.record(sold["order_id"]).due_at_ms is None
        await stage.refund(sold["order_id"])
        assert stage.record(sold["order_id"]).due_at_ms is None


async def test_the_best_seats_of_a_section_and_a_price(tmp_path: Path) -> None:
    async with open_till(tmp_path) as stage:
        wish: dict[str, Any] = {
            "quantity": 2,
            "section_id": str(section_id("Balcony")),
            "tier_id": str(tier_id(1)),
        }
        sold = await stage.sell(**wish)
        assert [ticket["section"] for ticket in sold["tickets"]] == ["Balcony"] * 2


async def test_a_sale_is_shown_again_with_the_pictures_of_its_codes(tmp_path: Path) -> None:
    async with open_till(tmp_path) as stage:
        sold = await stage.sell("Floor/A/1")
        again = await stage.till.get(f"{SALES}/{sold['order_id']}")
        assert again.status == 200
        (ticket,) = again.json["tickets"]
        assert ticket.pop("qr_code").startswith("iVBOR"), "a PNG in base64"
        assert {**again.json, "tickets": [ticket]} == sold


async def test_a_sale_repeated_with_its_key_is_the_same_sale(tmp_path: Path) -> None:
    async with open_till(tmp_path) as stage:
        body = stage.sale(quantity=2)
        first = await stage.till.post(SALES, body, headers=KEY)
        again = await stage.till.post(SALES, body, headers=KEY)
        assert (first.status, again.status) == (201, 201)
        assert again.body == first.body
        assert again.headers["idempotency-replayed"] == "true"
        assert counted(stage).sold == 2
        other = await stage.till.post(SALES, stage.sale(quantity=1), headers=KEY)
        assert (other.status, other.code) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_a_receipt_is_good_for_one_sale_of_an_event(tmp_path: Path) -> None:
    async with open_till(tmp_path) as stage:
        sold = await stage.sell("Floor/A/1", receipt="R-9")
        again = await stage.till.post(SALES, stage.sale("Floor/A/2", receipt="R-9"))
        assert (again.status, again.code) == (409, "ORDER_EXISTS")
        assert again.json["error"]["details"] == {"order_id": sold["order_id"]}
        card = {"method": "CARD_TERMINAL", "receipt": "R-9"}
        assert (await stage.till.post(SALES, stage.sale("Floor/A/2", payment=card))).status == 201, (
            "a terminal counts its own"
        )


async def test_the_most_seats_of_a_sale(tmp_path: Path) -> None:
    async with open_till(
        tmp_path, open_plan({"Floor": {"A": MAX_TILL_SEATS, "B": MAX_TILL_SEATS - 1}})
    ) as stage:
        too_many = await stage.till.post(SALES, stage.sale(quantity=MAX_TILL_SEATS + 1))
        assert (too_many.status, too_many.code) == (400, "INVALID_REQUEST")
        body = stage.sale(quantity=MAX_TILL_SEATS)
        sold = await stage.till.post(SALES, body, headers=KEY)
        assert sold.status == 201, "however few a buyer may have by themselves"
        assert len(sold.json["tickets"]) == MAX_TILL_SEATS
        assert (await stage.till.post(SALES, body, headers=KEY)).body == sold.body
        assert (await stage.till.post(SALES, stage.sale(quantity=MAX_TILL_SEATS - 1))).status == 201


@pytest.mark.parametrize(
    ("payment", "status"),
    [
        ({"method": "CASH", "receipt": "x" * 64}, 201),
        ({"method": "CASH", "receipt": "x" * 65}, 400),
        ({"method": "CASH", "receipt": ""}, 400),
        ({"method": "CASH", "receipt": " x"}, 400),
        ({"method": "CASH", "receipt": "x\n"}, 400),
        ({"method": "CHEQUE", "receipt": "x"}, 400),
        ({"method": "CASH"}, 400),
    ],
)
async def test_the_forms_of_a_payment(tmp_path: Path, payment: dict[str, str], status: int) -> None:
    async with open_till(tmp_path) as stage:
        assert (await stage.till.post(SALES, stage.sale("Floor/A/1", payment=payment))).status == status


async def test_seats_that_cannot_be_sold(tmp_path: Path) -> None:
    async with open_till(tmp_path) as stage:
        await stage.sell("Floor/A/1")
        buyer = await stage.buyer(1)
        assert (await stage.reserve(buyer, 1, "Floor/A/2")).status == 201
        await stage.block("Floor/A/3")

        async def attempt(*names: str, **fields: object) -> tuple[int, str]:
            answer = await stage.till.post(SALES, stage.sale(*names, **fields))  # type: ignore[arg-type]
            return answer.status, answer.code

        before = counted(stage)
        assert await attempt("Floor/A/1") == (410, "SEATS_UNAVAILABLE")
        assert await attempt("Floor/A/3") == (410, "SEATS_UNAVAILABLE")
        assert await attempt("Floor/A/2", "Floor/A/4") == (409, "SEATS_TAKEN")
        assert await attempt("Floor/A/1", "Floor/A/2") == (410, "SEATS_UNAVAILABLE"), "which weighs more"
        assert await attempt(quantity=50) == (410, "SEATS_UNAVAILABLE")
        assert await attempt(quantity=7) == (422, "NO_ADJACENT_SEATS")
        assert await attempt(seat_ids=[unknown_id()]) == (404, "SEAT_NOT_FOUND")
        assert await attempt(quantity=1, tier_id=unknown_id()) == (404, "SEAT_NOT_FOUND")
        assert await attempt(quantity=1, section_id=unknown_id()) == (404, "SEAT_NOT_FOUND")
        assert await attempt(quantity=1, event_id=unknown_id()) == (404, "EVENT_NOT_FOUND")
        assert await attempt() == (400, "INVALID_REQUEST")
        assert await attempt("Floor/A/5", quantity=1) == (400, "INVALID_REQUEST")
        assert counted(stage) == before


@pytest.mark.parametrize(
    ("plan", "refusal"),
    [
        ({"general_sale_start_ms": START_MS + 60_000}, ("SALE_NOT_OPEN", "2026-07-14T03:34:20Z")),
        ({"general_sale_start_ms": START_MS + 60_000, "presale_start_ms": START_MS}, None),
        ({"date_ms": START_MS, "general_sale_start_ms": START_MS - 1}, ("SALE_ENDED", "ENDED")),
        ({"date_ms": START_MS + 60_000}, None),
        ({"sale_end_ms": START_MS}, None),
    ],
)
async def test_when_tills_sell(
    tmp_path: Path,
    plan: dict[str, int],
    refusal: tuple[str, str] | None,
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_till(tmp_path, open_plan(**plan)) as stage:
        answer = await stage.till.post(SALES, stage.sale("Floor/A/1"))
        if refusal is None:
            assert answer.status == 201, answer.body
        else:
            (detail,) = answer.json["error"]["details"].values()
            assert (answer.code, detail) == refusal


async def test_an_event_that_is_cancelled_is_not_sold(tmp_path: Path) -> None:
    async with open_till(tmp_path) as stage:
        command = CancelEvent(EVENT_ID)
        await stage.daemon.services.engine.submit(
            Command("cancel", (event_partition(EVENT_ID), SYSTEM), lambda tx: cancel_event(tx, command))
        )
        answer = await stage.till.post(SALES, stage.sale("Floor/A/1"))
        assert (answer.status, answer.code) == (410, "SALE_ENDED")
        assert answer.json["error"]["details"] == {"reason": "CANCELLED"}


@pytest.mark.parametrize("parts", [True, False])
async def test_a_till_gives_back_by_hand_what_it_sold_of_an_event_that_is_cancelled(
    tmp_path: Path, parts: bool
) -> None:
    async with open_till(tmp_path, open_plan(refund_fees=False)) as stage:
        sold = await stage.sell("Floor/A/1", "Floor/A/2", receipt="R-1", user_id=str(user_id(1)))
        tickets = [ticket["ticket_id"] for ticket in sold["tickets"]]
        await use(stage, TicketId(UUID(tickets[0])))
        await give_away(stage, TicketId(UUID(tickets[1])))
        operator = stage.daemon.operator()
        assert (await operator.post(f"/v1/operator/events/{EVENT_ID}/cancel")).status == 200
        await trio.testing.wait_all_tasks_blocked()
        progress = (await operator.post(f"/v1/operator/events/{EVENT_ID}/cancel")).json
        assert (progress["orders_ended"], progress["orders_at_tills"], progress["done"]) == (0, 1, True)
        shown = (await stage.till.get(f"{SALES}/{sold['order_id']}")).json
        assert (shown["status"], shown["money_due"]) == ("CONFIRMED", True)
        assert [ticket["status"] for ticket in shown["tickets"]] == ["VOID", "TRANSFERRED"]
        seen = (await operator.get(f"/v1/operator/orders/{sold['order_id']}")).json
        assert seen["owed_at_till"] is True
        assert_verified(stage.daemon)

        if parts:
            wish = {"receipt": "B-1", "ticket_ids": tickets[:1]}
            one = await stage.till.post(f"{SALES}/{sold['order_id']}/refund", wish)
            assert (one.json["status"], one.json["money_due"], one.json["refund_amount"]) == (
                "CONFIRMED",
                True,
                620,
            )
            assert_verified(stage.daemon)
        back = await stage.refund(sold["order_id"], "B-2")
        assert (back.json["status"], back.json["money_due"]) == ("CANCELLED", False)
        assert back.json["refund_amount"] == 1240, "fees too, whatever the event keeps"
        seen = (await operator.get(f"/v1/operator/orders/{sold['order_id']}")).json
        assert (seen["owed_at_till"], seen["refunded"]) == (False, 1240)
        assert_verified(stage.daemon)


async def test_a_refund_gives_all_back_in_one_commit(tmp_path: Path) -> None:
    async with open_till(tmp_path) as stage:
        sold = await stage.sell("Floor/A/1", "Floor/A/2", receipt="R-1")
        back = await stage.refund(sold["order_id"], "B-1", headers=KEY)
        assert back.status == 200, back.body
        assert (back.json["status"], back.json["payment_status"]) == ("CANCELLED", "REFUNDED")
        assert back.json["refund_amount"] == 1240
        for ticket in back.json["tickets"]:
            assert (ticket["status"], ticket["code"], ticket["download_url"]) == ("VOID", "", "")
        assert stage.moved(sold["order_id"]) == [("CAPTURED", 124_000, "R-1"), ("REFUNDED", 124_000, "B-1")]
        assert counted(stage).sold == 0
        assert (await stage.refund(sold["order_id"], "B-1", headers=KEY)).body == back.body
        twice = await stage.refund(sold["order_id"], "B-2")
        assert (twice.status, twice.code) == (409, "ORDER_ALREADY_CANCELLED")
        shown = await stage.till.get(f"{SALES}/{sold['order_id']}")
        assert [ticket["qr_code"] for ticket in shown.json["tickets"]] == ["", ""]
        await stage.sell("Floor/A/1", "Floor/A/2")


async def test_fees_that_the_event_keeps_are_not_given_back(tmp_path: Path) -> None:
    async with open_till(tmp_path, open_plan(refund_fees=False)) as stage:
        sold = await stage.sell("Floor/A/1")
        back = await stage.refund(sold["order_id"])
        assert back.json["refund_amount"] == 545
        assert [amount for _, amount, _ in stage.moved(sold["order_id"])] == [62_000, 54_500]


async def test_what_no_till_sold_is_not_there(tmp_path: Path) -> None:
    async with open_till(tmp_path) as stage:
        online = await buy_online(stage, 1, "Floor/A/1")
        for order_id in (online, unknown_id(), "x"):
            for answer in (await stage.till.get(f"{SALES}/{order_id}"), await stage.refund(order_id)):
                assert (answer.status, answer.code) == (404, "ORDER_NOT_FOUND")


async def test_a_buyer_finds_what_was_sold_to_them_and_gets_the_money_at_the_till_alone(
    tmp_path: Path,
) -> None:
    async with open_till(tmp_path) as stage:
        sold = await stage.sell("Floor/A/1", user_id=str(user_id(1)))
        buyer = await stage.daemon.user(user_id(1))
        tickets = await buyer.get(f"/v1/tickets?order_id={sold['order_id']}")
        assert [t["ticket_id"] for t in tickets.json["tickets"]] == [sold["tickets"][0]["ticket_id"]]
        answer = await buyer.post(f"/v1/orders/{sold['order_id']}/cancel")
        assert (answer.status, answer.code) == (400, "ORDER_NOT_CANCELLABLE")
        assert answer.json["error"]["details"] == {"reason": "PAID_AT_BOX_OFFICE"}


async def test_whoever_else_has_a_key_sells_nothing(tmp_path: Path) -> None:
    async with open_till(tmp_path) as stage:
        sold = await stage.sell("Floor/A/1")
        for scope in set(Scope) - {Scope.BOX_OFFICE}:
            caller = stage.daemon.client(scope)
            answers = [
                await caller.post(SALES, stage.sale("Floor/A/2")),
                await caller.get(f"{SALES}/{sold['order_id']}"),
                await caller.post(f"{SALES}/{sold['order_id']}/refund", {"receipt": "B"}),
            ]
            assert {(a.status, a.code) for a in answers} == {(403, "SCOPE_MISSING")}


async def test_a_till_browses_and_does_nothing_else(tmp_path: Path) -> None:
    async with open_till(tmp_path) as stage:
        assert (await stage.till.get(f"/v1/events/{EVENT_ID}/seats")).status == 200
        for path in ("/v1/sessions", "/v1/queue/join", "/v1/seats/reserve", "/v1/orders"):
            answer = await stage.till.post(path, {})
            assert (answer.status, answer.code) == (403, "SCOPE_MISSING"), path


async def test_without_the_setting_there_is_no_box_office(tmp_path: Path) -> None:
    async with open_till(tmp_path, settings=till_settings(box_office=False)) as stage:
        answers = [
            await stage.till.post(SALES, stage.sale("Floor/A/1")),
            await stage.till.get(f"{SALES}/{unknown_id()}"),
            await stage.refund(unknown_id()),
        ]
        assert {(a.status, a.code) for a in answers} == {(404, "NOT_FOUND")}


async def test_a_till_alone_takes_no_cards(tmp_path: Path) -> None:
    settings = till_settings("box_office", box_office=False)
    async with open_till(tmp_path, settings=settings) as stage:
        sold = await stage.sell("Floor/A/1")
        assert (await stage.refund(sold["order_id"])).status == 200
        buyer = await stage.buyer(1)
        card = await buyer.post("/v1/payment-methods", {"type": "CARD", "card_token": "tok_visa"})
        assert (card.status, card.code) == (400, "INVALID_PAYMENT_METHOD")
        held = await stage.reserve(buyer, 1, "Floor/A/2")
        body = order_body(held.json["reservation_id"], unknown_id())
        paid = await buyer.post("/v1/orders", body)
        assert (paid.status, paid.code) == (400, "INVALID_PAYMENT_METHOD")


async def test_the_last_seats_go_to_a_till_or_to_buyers_never_to_both(tmp_path: Path) -> None:
    async with open_till(tmp_path, open_plan({"Floor": {"A": 2, "B": 2, "C": 2, "D": 2}})) as stage:
        buyers = [await stage.buyer(number) for number in range(1, 7)]
        answers: list[Answer] = []

        async def hold(number: int) -> None:
            wish = stage.wish(number, quantity=2)
            answers.append(await buyers[number - 1].post("/v1/seats/reserve", wish))

        async def sell() -> None:
            answers.append(await stage.till.post(SALES, stage.sale(quantity=2)))

        async with trio.open_nursery() as nursery:
            for number in range(1, 7):
                nursery.start_soon(hold, number)
                nursery.start_soon(sell)
        done = [answer for answer in answers if answer.status == 201]
        seats = [
            seat
            for answer in done
            for seat in (answer.json.get("seat_ids") or [t["seat_id"] for t in answer.json["tickets"]])
        ]
        assert len(seats) == len(set(seats)) == 8
        assert {a.code for a in answers if a.status != 201} == {"SEATS_UNAVAILABLE"}
        counts = counted(stage)
        assert (counts.free, counts.held + counts.sold) == (0, 8)


async def test_a_till_has_a_rate_of_its_own(tmp_path: Path) -> None:
    limits = RateLimitSettings(box_office_per_minute=2, other_per_minute=1, orders_per_minute=1)
    async with open_till(tmp_path, settings=till_settings(limits=limits)) as stage:
        path = f"{SALES}/{unknown_id()}"
        assert [(await stage.till.get(path)).status for _ in range(3)] == [404, 404, 429]


async def test_the_states_of_a_tills_order(tmp_path: Path) -> None:
    async with open_till(tmp_path) as stage:
        sold = await stage.sell("Floor/A/1")
        order = stage.record(sold["order_id"])
        assert (order.state, order.payment_state) == (OrderState.CONFIRMED, PaymentState.CAPTURED)
        assert order.trail[0].what.startswith("sold at the till of ")


def order_body(reservation_id: str, card: str) -> dict[str, object]:
    return {
        "reservation_id": reservation_id,
        "payment_method_id": card,
        "billing_address": BILLING,
        "delivery_method": "MOBILE",
    }


async def buy_online(stage: TillStage, user: int, *names: str) -> str:
    buyer = await stage.buyer(user)
    held = await stage.reserve(buyer, user, *names)
    card = await buyer.post("/v1/payment-methods", {"type": "CARD", "card_token": "tok_visa"})
    body = order_body(held.json["reservation_id"], card.json["payment_method_id"])
    placed = await buyer.post("/v1/orders", body)
    assert placed.status == 201, placed.body
    await trio.testing.wait_all_tasks_blocked()
    return str(placed.json["order_id"])


async def test_an_operator_cannot_have_a_gateway_give_back_what_a_till_took(tmp_path: Path) -> None:
    async with open_till(tmp_path) as stage:
        sold = await stage.sell("Floor/A/1")
        path = f"/v1/operator/orders/{sold['order_id']}/refund"
        answer = await stage.daemon.operator().post(path, {})
        assert (answer.status, answer.code) == (400, "ORDER_NOT_CANCELLABLE")
        assert answer.json["error"]["details"] == {"reason": "PAID_AT_BOX_OFFICE"}


async def test_tickets_are_given_back_one_by_one_and_the_last_ends_the_sale(tmp_path: Path) -> None:
    async with open_till(tmp_path) as stage:
        sold = await stage.sell("Floor/A/1", "Floor/A/2", receipt="R-1")
        path, first = f"{SALES}/{sold['order_id']}/refund", sold["tickets"][0]["ticket_id"]
        back = await stage.till.post(path, {"receipt": "B-1", "ticket_ids": [first]})
        assert back.status == 200, back.body
        assert (back.json["status"], back.json["refund_amount"]) == ("CONFIRMED", 620)
        assert [ticket["status"] for ticket in back.json["tickets"]] == ["VOID", "ACTIVE"]
        assert stage.record(sold["order_id"]).due_at_ms is None, "nobody is to be asked"
        stage.check()
        again = await stage.till.post(path, {"receipt": "B-2", "ticket_ids": [first]})
        assert (again.status, again.code) == (400, "ORDER_NOT_CANCELLABLE")
        used = await stage.till.post(path, {"receipt": "B-1"})
        assert (used.status, used.code) == (409, "ORDER_EXISTS")
        unknown = await stage.till.post(path, {"receipt": "B-3", "ticket_ids": [unknown_id()]})
        assert (unknown.status, unknown.code) == (404, "TICKET_NOT_FOUND")
        rest = await stage.till.post(path, {"receipt": "B-4"})
        assert (rest.json["status"], rest.json["refund_amount"]) == ("CANCELLED", 1240)
        assert [(kind, amount) for kind, amount, _ in stage.moved(sold["order_id"])] == [
            ("CAPTURED", 124_000),
            ("REFUNDED", 62_000),
            ("REFUNDED", 62_000),
        ]
        assert counted(stage).sold == 0


@pytest.mark.parametrize("state", [TicketState.USED, TicketState.TRANSFERRED])
async def test_a_ticket_that_was_used_is_not_given_back(tmp_path: Path, state: TicketState) -> None:
    async with open_till(tmp_path) as stage:
        sold = await stage.sell("Floor/A/1", user_id=str(user_id(1)))
        ticket_id = TicketId(UUID(sold["tickets"][0]["ticket_id"]))
        if state is TicketState.TRANSFERRED:
            await give_away(stage, ticket_id)
        else:
            await use(stage, ticket_id)
        answer = await stage.refund(sold["order_id"])
        assert (answer.status, answer.code) == (400, "ORDER_NOT_CANCELLABLE")
        assert answer.json["error"]["details"]["reason"] == f"TICKET_{state.value}"


async def test_no_gateway_is_asked_when_the_ledger_is_held_against_it(tmp_path: Path) -> None:
    async def fetch(payment_ref: str) -> None:
        raise AssertionError(f"asked about {payment_ref}")

    async with open_till(tmp_path) as stage:
        sold = await stage.sell("Floor/A/1")
        reconciler = Reconciler(
            stage.daemon.services.engine, fetch, stage.daemon.services.gateway.disputes_of
        )
        assert await reconciler.compare_order(EVENT_ID, OrderId(UUID(sold["order_id"]))) == Verdict()


async def use(stage: TillStage, ticket_id: TicketId) -> None:
    def enter(tx: Transaction) -> None:
        move_ticket(tx, EVENT_ID, load_ticket(tx, EVENT_ID, ticket_id), TicketState.USED)

    await stage.daemon.services.engine.submit(Command("use", (event_partition(EVENT_ID),), enter))


async def give_away(stage: TillStage, ticket_id: TicketId) -> None:
    sender = await stage.daemon.user(user_id(1))
    offered = await sender.post(f"/v1/tickets/{ticket_id}/transfer", FRIEND)
    assert offered.status == 200, offered.body
    await trio.testing.wait_all_tasks_blocked()
    taken = await accept(stage, 2, offered.json["transfer_id"])
    assert taken.status == 200, taken.body
