"""Payments: each state and what may be done in it, each card and what it does, and what of it all is refused."""

from __future__ import annotations

from typing import cast

import pytest

from tests.stripe_judge.behaviour import AUTHORISATION_SECONDS
from tests.stripe_judge.desk import START, Desk, document, name_of, payment
from tests.stripe_judge.refusals import Document

INTENTS = "/v1/payment_intents"
WRONG_STATE = (400, "payment_intent_unexpected_state", None)


async def in_state(desk: Desk, state: str) -> str:
    """A payment in this state."""
    match state:
        case "requires_payment_method":
            return await desk.intent(payment_method=None, confirm=None, return_url=None)
        case "requires_confirmation":
            return await desk.intent(confirm=None, return_url=None)
        case "requires_action":
            return await desk.intent("threeDSecure2Required")
        case _:
            intent = await desk.intent()
    if state == "succeeded":
        await desk.done("POST", f"{INTENTS}/{intent}/capture")
    elif state == "canceled":
        await desk.done("POST", f"{INTENTS}/{intent}/cancel")
    return intent


# --- what makes none ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"amount": None}, "parameter_missing", "amount"),
        ({"currency": None}, "parameter_missing", "currency"),
        ({"amount": 0}, "parameter_invalid_integer", "amount"),
        ({"amount": -1000}, "parameter_invalid_integer", "amount"),
        ({"amount": 49}, "amount_too_small", "amount"),
        ({"amount": 100_000_000}, "amount_too_large", "amount"),
        ({"currency": "xyz"}, None, "currency"),
        ({"source": "tok_visa"}, "parameter_unknown", "source"),
        ({"customer": "cus_x"}, "resource_missing", "customer"),
        ({"payment_method": "pm_x"}, "resource_missing", "payment_method"),
        ({"payment_method": "tok_visa"}, "resource_missing", "payment_method"),
        ({"payment_method": None}, "payment_intent_unexpected_state", None),
        ({"return_url": None}, None, None),
        ({"confirm": None}, "parameter_unknown", "return_url"),
        ({"confirm": None, "return_url": None, "off_session": "true"}, "parameter_unknown", "off_session"),
        ({"capture_method": "later"}, None, "capture_method"),
        ({"payment_method_types[]": "sepa_debit"}, None, "payment_method_types"),
        ({"payment_method_types[]": "card", "automatic_payment_methods[enabled]": "true"}, None, None),
        ({"automatic_payment_methods[allow_redirects]": "never"}, "parameter_missing", None),
        ({"off_session": "true", "error_on_requires_action": "true"}, None, "off_session"),
    ],
)
async def test_what_is_refused_makes_no_payment(
    desk: Desk, changes: dict[str, object], code: str | None, param: str | None
) -> None:
    if code == "parameter_missing" and param is None:
        param = "automatic_payment_methods[enabled]"
    assert await desk.refused("POST", INTENTS, payment("visa", **changes)) == (400, code, param)
    assert desk.ledger() == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 50},
        {"amount": 99_999_999},
        {"amount": 50, "currency": "jpy"},
        {"currency": "USD"},
        {"return_url": None, "payment_method_types[]": "card"},
        {
            "return_url": None,
            "automatic_payment_methods[enabled]": "true",
            "automatic_payment_methods[allow_redirects]": "never",
        },
        {"off_session": "true"},
    ],
)
async def test_what_is_taken(desk: Desk, changes: dict[str, object]) -> None:
    intent = await desk.done("POST", INTENTS, payment("visa", **changes))
    assert (intent["status"], intent["livemode"]) == ("requires_capture", False)
    assert intent["currency"] == str(changes.get("currency", "usd")).lower()


# --- what a card does ---------------------------------------------------------------------------------------


async def test_a_good_card_is_authorised_and_nothing_is_taken(desk: Desk) -> None:
    shown = await desk.done(
        "POST",
        INTENTS,
        payment(**{"metadata[order_id]": "1", "description": "Two seats", "expand[]": "latest_charge"}),
    )
    assert (shown["amount_capturable"], shown["amount_received"]) == (1000, 0)
    assert (shown["metadata"], shown["description"]) == ({"order_id": "1"}, "Two seats")
    charge = cast("Document", shown["latest_charge"])
    assert (charge["captured"], charge["paid"], charge["amount_captured"]) == (False, True, 0)
    (line,) = desk.ledger().values()
    assert (line.authorised, line.capturable, line.captured) == (1000, 1000, 0)
    assert desk.event_types() == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.amount_capturable_updated",
    ]


async def test_without_a_capture_method_the_money_is_taken_at_once(desk: Desk) -> None:
    shown = await desk.done("POST", INTENTS, payment(capture_method=None))
    assert (shown["status"], shown["amount_received"]) == ("succeeded", 1000)
    (line,) = desk.ledger().values()
    assert (line.captured, line.capturable) == (1000, 0)


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("chargeDeclined", "card_declined", "generic_decline"),
        ("chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("chargeDeclinedExpiredCard", "expired_card", None),
        ("chargeCustomerFail", "card_declined", "generic_decline"),
    ],
)
async def test_a_bad_card_leaves_a_payment_without_its_card(
    desk: Desk, card: str, code: str, decline_code: str | None
) -> None:
    answer = await desk.send("POST", INTENTS, payment(card))
    error = cast("Document", document(answer)["error"])
    assert (answer.status, error["type"], error["code"]) == (402, "card_error", code)
    assert error.get("decline_code") == decline_code
    left = cast("Document", error["payment_intent"])
    assert (left["status"], left["payment_method"]) == ("requires_payment_method", None)
    last = cast("Document", left["last_payment_error"])
    assert (last["code"], last.get("decline_code")) == (code, decline_code)
    charge = await desk.done("GET", f"/v1/charges/{error['charge']}")
    assert (charge["status"], charge["paid"], charge["failure_code"]) == ("failed", False, code)
    (line,) = desk.ledger().values()
    assert (line.authorised, line.tries) == (0, 1)
    # Another card saves it: the same payment, a second try.
    again = await desk.done(
        "POST",
        f"{INTENTS}/{left['id']}/confirm",
        {"payment_method": "pm_card_visa", "return_url": "https://shop.example/"},
    )
    assert (again["status"], again["last_payment_error"]) == ("requires_capture", None)
    (line,) = desk.ledger().values()
    assert (line.authorised, line.tries) == (1000, 2)


async def test_a_challenge_cannot_be_met_by_nobody(desk: Desk) -> None:
    refused = await desk.refused("POST", INTENTS, payment("threeDSecure2Required", off_session="true"))
    assert refused == (402, "authentication_required", None)
    shown = await desk.done("POST", INTENTS, payment("threeDSecure2Required"))
    action = cast("Document", shown["next_action"])
    assert action["type"] == "redirect_to_url"
    by_card = {"payment_method_types[]": "card", "return_url": None}
    shown = await desk.done("POST", INTENTS, payment("threeDSecure2Required", **by_card))
    assert cast("Document", shown["next_action"])["type"] == "use_stripe_sdk"


# --- states -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "confirm", "capture", "cancel", "refund"),
    [
        ("requires_payment_method", False, False, True, False),
        ("requires_confirmation", True, False, True, False),
        ("requires_action", True, False, True, False),
        ("requires_capture", False, True, True, False),
        ("succeeded", False, False, False, True),
        ("canceled", False, False, False, False),
    ],
)
async def test_what_may_be_done_in_which_state(
    desk: Desk, state: str, confirm: bool, capture: bool, cancel: bool, refund: bool
) -> None:
    for action, form, allowed in (
        ("confirm", {"return_url": "https://shop.example/"}, confirm),
        ("capture", {}, capture),
        ("cancel", {}, cancel),
    ):
        intent = await in_state(desk, state)
        before = desk.ledger()[intent]
        assert before.status == state
        path = f"{INTENTS}/{intent}/{action}"
        if allowed:
            await desk.done("POST", path, form)
        else:
            assert await desk.refused("POST", path, form) == WRONG_STATE
            assert desk.ledger()[intent] == before
    intent = await in_state(desk, state)
    answer = await desk.send("POST", "/v1/refunds", {"payment_intent": intent})
    assert answer.status == (200 if refund else 400)


@pytest.mark.parametrize("action", ["confirm", "capture", "cancel"])
async def test_no_such_payment(desk: Desk, action: str) -> None:
    refused = await desk.refused("POST", f"{INTENTS}/pi_unknown/{action}")
    assert refused == (404, "resource_missing", "intent")
    assert await desk.refused("GET", f"{INTENTS}/pi_unknown") == (404, "resource_missing", "intent")
    assert await desk.refused("GET", f"{INTENTS}/pi_%C3%A9") == (404, "resource_missing", "intent")
    assert await desk.refused("GET", "/v1/charges/ch_x") == (404, "resource_missing", "id")


@pytest.mark.parametrize("amount", [1, 999, 1000])
async def test_a_capture_takes_no_more_than_was_authorised(desk: Desk, amount: int) -> None:
    intent = await desk.intent()
    capture = f"{INTENTS}/{intent}/capture"
    assert await desk.refused("POST", capture, {"amount_to_capture": 1001}) == (
        400,
        "amount_too_large",
        "amount_to_capture",
    )
    for none in (0, -1):
        assert (await desk.refused("POST", capture, {"amount_to_capture": none}))[1] == (
            "parameter_invalid_integer"
        )
    shown = await desk.done("POST", capture, {"amount_to_capture": amount, "expand[]": "latest_charge"})
    assert (shown["status"], shown["amount_received"], shown["amount_capturable"]) == ("succeeded", amount, 0)
    charge = cast("Document", shown["latest_charge"])
    # What was not taken is released, which the charge counts as refunded.
    assert (charge["amount_captured"], charge["amount_refunded"]) == (amount, 1000 - amount)
    line = desk.ledger()[intent]
    assert (line.captured, line.released, line.refunded) == (amount, 1000 - amount, 0)


async def test_a_cancelled_payment_holds_nothing(desk: Desk) -> None:
    intent = await desk.intent()
    cancel = f"{INTENTS}/{intent}/cancel"
    assert (await desk.refused("POST", cancel, {"cancellation_reason": "whim"}))[0] == 400
    shown = await desk.done("POST", cancel, {"cancellation_reason": "abandoned"})
    assert (shown["status"], shown["amount_capturable"]) == ("canceled", 0)
    assert (shown["canceled_at"], shown["cancellation_reason"]) == (START, "abandoned")
    line = desk.ledger()[intent]
    assert (line.captured, line.released, line.refunded) == (0, 1000, 0)
    assert desk.event_types()[-2:] == ["charge.refunded", "payment_intent.canceled"]


async def test_a_payment_that_waits_for_its_buyer_can_be_cancelled_under_the_page(desk: Desk) -> None:
    intent = await in_state(desk, "requires_action")
    shown = await desk.done("GET", f"{INTENTS}/{intent}")
    page = str(cast("Document", cast("Document", shown["next_action"])["redirect_to_url"])["url"])
    path = page.removeprefix(desk.judge.base_url)
    await desk.done("POST", f"{INTENTS}/{intent}/cancel")
    assert (await desk.send("POST", path, {"outcome": "complete"})).status == 400
    assert desk.ledger()[intent].authorised == 0


# --- time ---------------------------------------------------------------------------------------------------


async def test_an_authorisation_ends_with_its_time(desk: Desk) -> None:
    early, late = await desk.intent(), await desk.intent()
    desk.wall += AUTHORISATION_SECONDS - 1
    await desk.done("POST", f"{INTENTS}/{early}/capture")
    desk.wall += 1
    assert await desk.refused("POST", f"{INTENTS}/{late}/capture") == WRONG_STATE
    shown = await desk.done("GET", f"{INTENTS}/{late}")
    assert (shown["status"], shown["cancellation_reason"]) == ("canceled", "automatic")
    assert desk.ledger()[early].captured == 1000
    assert (desk.ledger()[late].released, desk.ledger()[late].captured) == (1000, 0)
    assert desk.event_types()[-2:] == ["charge.expired", "payment_intent.canceled"]


async def test_the_judges_clock_can_be_set_ahead(desk: Desk) -> None:
    intent = await desk.intent()
    desk.ordered("POST", "settings", {"ahead_seconds": AUTHORISATION_SECONDS})
    lines = cast("list[Document]", desk.ordered("GET", "ledger"))
    assert [line["status"] for line in lines] == ["canceled"]
    assert desk.ledger()[intent].status == "canceled"
    assert (await desk.done("POST", INTENTS, payment()))["created"] == START + AUTHORISATION_SECONDS


async def test_an_authorisation_ends_on_order(desk: Desk) -> None:
    intent = name_of(await desk.done("POST", INTENTS, payment()))
    desk.ordered("POST", "expire", {"payment_intent": intent})
    assert desk.ledger()[intent].status == "canceled"
    assert desk.order("POST", "expire", {"payment_intent": intent}).status == 404
