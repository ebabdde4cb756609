"""The operator's refunds over the API: what is answered, shown, audited and repeated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio.testing

from storage.engine import Command
from storage.schema.ids import EventId, OrderId
from storage.schema.layout import event_partition
from storage.schema.states import DisputeState
from tests.handlers.operator_stage import EVENT, OperatorStage, open_stage
from tests.support.daemon import Answer, Client
from tests.support.shopping import wait_for_order
from ticketd.domain.disputes import NoteDispute, note_dispute


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[OperatorStage]:
    async with open_stage(tmp_path) as stage:
        await stage.put()
        yield stage


async def sell(stage: OperatorStage, seats: int = 2) -> tuple[Client, dict[str, Any]]:
    """A confirmed order, and its buyer."""
    wanted = (await stage.seat_ids())[:seats]
    buyer, held = await stage.hold(*wanted)
    card = await buyer.post("/v1/payment-methods", {"type": "CARD", "card_token": "tok_visa"})
    placed = await buyer.post(
        "/v1/orders",
        {
            "reservation_id": held["reservation_id"],
            "payment_method_id": card.json["payment_method_id"],
            "billing_address": {
                "street": "1 Main St",
                "city": "Berlin",
                "postal_code": "10115",
                "country": "DE",
            },
        },
    )
    return buyer, await wait_for_order(buyer, placed.json["order_id"], "CONFIRMED")


async def refund(stage: OperatorStage, order: dict[str, Any], **body: object) -> Answer:
    return await stage.operator.post(f"/v1/operator/orders/{order['order_id']}/refund", body)


async def test_of_money_that_the_bank_keeps_nothing_is_told_to_go_back(stage: OperatorStage) -> None:
    buyer, order = await sell(stage)
    lost = NoteDispute(
        event_id=EventId(EVENT),
        order_id=OrderId(UUID(order["order_id"])),
        dispute_ref="dp_1",
        state=DisputeState.LOST,
        amount_minor=round(order["total"] * 100),
    )
    partitions = (event_partition(lost.event_id),)
    await stage.daemon.services.engine.submit(
        Command("note_dispute", partitions, lambda tx: note_dispute(tx, lost))
    )
    asked = await refund(stage, order)
    assert (asked.status, asked.json["amount"]) == (200, 0)
    place = f"/v1/operator/orders/{order['order_id']}"
    # Before the gateway was looked at as after it.
    assert (await stage.operator.get(place)).json["refund_amount"] == 0
    assert (await buyer.get(f"/v1/orders/{order['order_id']}")).json["refund_amount"] == 0
    await wait_for_order(buyer, order["order_id"], "CANCELLED", payment="REFUNDED")
    shown = (await stage.operator.get(place)).json
    assert (shown["refund_amount"], shown["refunded"], shown["disputed"]) == (0, 0, order["total"])
    assert [(each["status"], each["amount"]) for each in shown["refunds"]] == [("DONE", 0)]


async def test_a_ticket_and_then_the_rest(stage: OperatorStage) -> None:
    buyer, order = await sell(stage)
    first = order["tickets"][0]["ticket_id"]
    before = await stage.seats_by_state()
    asked = await refund(stage, order, ticket_ids=[first], reason="rain")
    assert asked.status == 200, asked.body
    part = asked.json
    assert (part["status"], part["ticket_ids"], part["whole_order"], part["reason"]) == (
        "ASKED",
        [first],
        False,
        "rain",
    )
    await trio.testing.wait_all_tasks_blocked()
    assert (await stage.seats_by_state())["available"] == before["available"] + 1
    own = (await buyer.get(f"/v1/orders/{order['order_id']}")).json
    assert (own["status"], own["payment_status"], own["refund_amount"]) == (
        "CONFIRMED",
        "CAPTURED",
        part["amount"],
    )
    assert [ticket["status"] for ticket in own["tickets"]] == ["VOID", "ACTIVE"]
    rest = (await refund(stage, order)).json
    assert rest["whole_order"] is True
    assert rest["amount"] + part["amount"] == order["total"]
    await wait_for_order(buyer, order["order_id"], "CANCELLED", payment="REFUNDED")
    shown = (await stage.operator.get(f"/v1/operator/orders/{order['order_id']}")).json
    assert [each["status"] for each in shown["refunds"]] == ["DONE", "DONE"]
    assert (shown["refund_amount"], shown["refunds_refused"]) == (order["total"], 0)
    deeds = [deed for deed in await stage.audit() if deed[1] == "order.refund"]
    assert [(deed[0], deed[2], deed[3]["tickets"]) for deed in deeds] == [
        ("socket", order["order_id"], 1),
        ("socket", order["order_id"], 1),
    ]


async def test_a_request_that_is_repeated_gives_back_once(stage: OperatorStage) -> None:
    _, order = await sell(stage)
    target = f"/v1/operator/orders/{order['order_id']}/refund"
    body = {"ticket_ids": [order["tickets"][0]["ticket_id"]]}
    answers = [
        await stage.operator.post(target, body, headers={"idempotency-key": "refund-number-1"})
        for _ in range(2)
    ]
    assert answers[0].body == answers[1].body
    shown = (await stage.operator.get(f"/v1/operator/orders/{order['order_id']}")).json
    assert len(shown["refunds"]) == 1


async def test_what_is_refused(stage: OperatorStage) -> None:
    _, order = await sell(stage)
    ticket = order["tickets"][0]["ticket_id"]
    unknown = {"order_id": str(uuid4())}
    cases: list[tuple[dict[str, Any], dict[str, object], int, str]] = [
        (unknown, {}, 404, "ORDER_NOT_FOUND"),
        ({"order_id": "x"}, {}, 404, "ORDER_NOT_FOUND"),
        (order, {"ticket_ids": [ticket, ticket]}, 400, "INVALID_REQUEST"),
        (order, {"ticket_ids": []}, 400, "INVALID_REQUEST"),
        (order, {"ticket_ids": [str(uuid4())]}, 404, "TICKET_NOT_FOUND"),
        (order, {"reason": "x" * 201}, 400, "INVALID_REQUEST"),
        (order, {"amount": 5}, 400, "INVALID_REQUEST"),
    ]
    for of, body, status, code in cases:
        answer = await refund(stage, of, **body)
        assert (answer.status, answer.json["error"]["code"]) == (status, code), body
    assert (await refund(stage, order)).status == 200
    again = await refund(stage, order)
    assert (again.status, again.json["error"]["code"]) == (409, "ORDER_ALREADY_CANCELLED")
    assert [deed for deed in await stage.audit() if deed[1] == "order.refund"][1:] == []


async def test_refused_refunds_are_counted_in_the_metrics(stage: OperatorStage) -> None:
    assert b"ticketd_refunds_refused 0" in (await stage.operator.get("/metrics")).body
    _, order = await sell(stage)
    ref = (await stage.operator.get(f"/v1/operator/orders/{order['order_id']}")).json["payment_ref"]
    await stage.daemon.services.gateway.refund(ref, 1, "by hand")
    await stage.daemon.services.gateway.refund(ref, round(order["total"] * 100) - 2, "nearly all")
    await refund(stage, order, ticket_ids=[order["tickets"][0]["ticket_id"]])
    await trio.testing.wait_all_tasks_blocked()
    assert b"ticketd_refunds_refused 1" in (await stage.operator.get("/metrics")).body
    shown = (await stage.operator.get(f"/v1/operator/orders/{order['order_id']}")).json
    assert (shown["refunds"][0]["status"], shown["refunds"][0]["problem"]) == ("REFUSED", "AMOUNT_TOO_LARGE")
    assert shown["refunds_refused"] == 1
