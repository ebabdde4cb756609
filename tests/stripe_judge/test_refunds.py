"""Refunds and disputes: how money comes back, and how much at most."""

from __future__ import annotations

from typing import cast

import pytest

from tests.stripe_judge.desk import Desk, document, name_of
from tests.stripe_judge.refusals import Document

REFUNDS = "/v1/refunds"


async def captured(desk: Desk, card: str = "visa", amount: int = 1000) -> str:
    intent = await desk.intent(card)
    await desk.done("POST", f"/v1/payment_intents/{intent}/capture", {"amount_to_capture": amount})
    return intent


async def test_refunds_give_back_no_more_than_was_taken(desk: Desk) -> None:
    intent = await captured(desk, amount=900)
    too_much = (400, "amount_too_large", "amount")
    assert await desk.refused("POST", REFUNDS, {"payment_intent": intent, "amount": 901}) == too_much
    part = await desk.done("POST", REFUNDS, {"payment_intent": intent, "amount": 1, "reason": "duplicate"})
    assert (part["object"], part["amount"], part["status"]) == ("refund", 1, "succeeded")
    assert await desk.refused("POST", REFUNDS, {"payment_intent": intent, "amount": 900}) == too_much
    rest = await desk.done("POST", REFUNDS, {"payment_intent": intent})
    assert rest["amount"] == 899
    again = await desk.refused("POST", REFUNDS, {"payment_intent": intent, "amount": 1})
    assert again == (400, "charge_already_refunded", None)
    line = desk.ledger()[intent]
    assert (line.captured, line.refunded, line.released) == (900, 900, 100)
    charge = await desk.done("GET", f"/v1/charges/{rest['charge']}", {"expand[]": "refunds"})
    assert (charge["refunded"], charge["amount_refunded"]) == (True, 1000)
    data = cast("list[Document]", cast("Document", charge["refunds"])["data"])
    assert [refund["id"] for refund in data] == [rest["id"], part["id"]]
    assert await desk.done("GET", f"{REFUNDS}/{part['id']}") == part


@pytest.mark.parametrize(
    ("form", "code", "param"),
    [
        ({}, "parameter_missing", None),
        ({"payment_intent": "pi_x"}, "resource_missing", "payment_intent"),
        ({"charge": "ch_x"}, "resource_missing", "charge"),
        ({"payment_intent": "pi_x", "amount": 0}, "parameter_invalid_integer", "amount"),
        ({"payment_intent": "pi_x", "reason": "whim"}, None, "reason"),
        ({"payment_intent": "pi_x", "currency": "usd"}, "parameter_unknown", "currency"),
    ],
)
async def test_what_cannot_be_refunded(
    desk: Desk, form: dict[str, object], code: str | None, param: str | None
) -> None:
    assert await desk.refused("POST", REFUNDS, form) == (400, code, param)


async def test_a_refund_by_charge(desk: Desk) -> None:
    intent, other = await captured(desk), await captured(desk)
    charge = (await desk.done("GET", f"/v1/payment_intents/{intent}"))["latest_charge"]
    form = {"charge": charge, "payment_intent": other}
    assert await desk.refused("POST", REFUNDS, form) == (400, None, "charge")
    assert (await desk.done("POST", REFUNDS, {"charge": charge, "amount": 5}))["payment_intent"] == intent
    assert desk.ledger()[intent].refunded == 5


async def test_only_what_was_taken_is_refunded(desk: Desk) -> None:
    wrong = (400, "payment_intent_unexpected_state", None)
    assert await desk.refused("POST", REFUNDS, {"payment_intent": await desk.intent()}) == wrong


async def test_a_refund_that_fails_later_gives_the_money_back_to_the_shop(desk: Desk) -> None:
    intent = await captured(desk)
    refund = name_of(await desk.done("POST", REFUNDS, {"payment_intent": intent, "amount": 400}))
    failed = desk.ordered("POST", "refunds", {"refund": refund, "status": "failed"})
    assert (failed["status"], failed["failure_reason"]) == ("failed", "expired_or_canceled_card")
    assert desk.ledger()[intent].refunded == 0
    assert desk.event_types()[-2:] == ["refund.failed", "charge.refund.updated"]
    assert desk.order("POST", "refunds", {"refund": refund, "status": "failed"}).status == 404
    assert (await desk.done("POST", REFUNDS, {"payment_intent": intent}))["amount"] == 1000


async def test_a_refund_may_be_pending(desk: Desk) -> None:
    intent = await captured(desk, "pendingRefund")
    refund = await desk.done("POST", REFUNDS, {"payment_intent": intent})
    assert refund["status"] == "pending"
    desk.ordered("POST", "refunds", {"refund": refund["id"], "status": "succeeded"})
    assert (await desk.done("GET", f"{REFUNDS}/{refund['id']}"))["status"] == "succeeded"


# --- disputes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("won", [True, False])
async def test_a_dispute_takes_the_money_until_it_is_won(desk: Desk, won: bool) -> None:
    intent = await captured(desk)
    opened = desk.ordered("POST", "disputes", {"payment_intent": intent, "amount": 600})
    assert (opened["status"], opened["amount"], opened["payment_intent"]) == ("needs_response", 600, intent)
    assert desk.ledger()[intent].disputed == 600
    assert await desk.refused("POST", REFUNDS, {"payment_intent": intent}) == (400, "charge_disputed", None)
    desk.ordered("POST", "disputes/close", {"dispute": opened["id"], "won": won})
    shown = await desk.done("GET", f"/v1/disputes/{opened['id']}")
    assert shown["status"] == ("won" if won else "lost")
    assert desk.ledger()[intent].disputed == (0 if won else 600)
    listed = await desk.done("GET", "/v1/disputes", {"payment_intent": intent})
    assert [each["id"] for each in cast("list[Document]", listed["data"])] == [opened["id"]]
    told = [name for name in desk.event_types() if name.startswith("charge.dispute")]
    assert told == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.closed",
        *(["charge.dispute.funds_reinstated"] if won else []),
    ]


async def test_a_card_may_dispute_by_itself_once_it_is_charged(desk: Desk) -> None:
    intent = await desk.intent("createDispute")
    assert desk.ledger()[intent].disputed == 0
    assert desk.order("POST", "disputes", {"payment_intent": intent}).status == 404
    await desk.done("POST", f"/v1/payment_intents/{intent}/capture")
    assert desk.ledger()[intent].disputed == 1000


async def test_orders_out_of_form(desk: Desk) -> None:
    assert desk.order("POST", "disputes", {"payment": "pi_x"}).status == 400
    assert desk.order("POST", "disputes", {"payment_intent": "pi_x"}).status == 404
    assert desk.order("POST", "settings", {"no_such": 1}).status == 400
    assert desk.order("POST", "settings", {"rate_per_second": 0}).status == 400
    assert desk.order("POST", "no/such/order").status == 404
    assert "error" in document(desk.order("POST", "tokens", {"card": "none"}))
