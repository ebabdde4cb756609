"""Customers and cards: what can be made, attached, detached, and never used again."""

from __future__ import annotations

from typing import cast

import pytest

from tests.stripe_judge.desk import Desk, name_of, payment

METHODS = "/v1/payment_methods"


async def test_a_customer_is_made_and_shown(desk: Desk) -> None:
    made = await desk.done("POST", "/v1/customers", {"email": "a@b.example", "metadata[user_id]": "u"})
    shown = await desk.done("GET", f"/v1/customers/{made['id']}")
    assert shown == made
    assert (made["object"], made["email"], made["metadata"]) == ("customer", "a@b.example", {"user_id": "u"})
    assert await desk.refused("GET", "/v1/customers/cus_unknown") == (404, "resource_missing", "id")


@pytest.mark.parametrize(
    ("token", "brand", "last4"),
    [
        ("tok_visa", "visa", "4242"),
        ("tok_mastercard", "mastercard", "4444"),
        ("tok_amex", "amex", "0005"),
        ("tok_chargeDeclined", "visa", "0002"),
        ("tok_chargeDeclinedInsufficientFunds", "visa", "9995"),
        ("tok_chargeDeclinedExpiredCard", "visa", "0069"),
        ("tok_threeDSecure2Required", "visa", "3220"),
        ("tok_createDispute", "visa", "0259"),
    ],
)
async def test_a_test_token_makes_its_card(desk: Desk, token: str, brand: str, last4: str) -> None:
    made = await desk.done("POST", METHODS, {"type": "card", "card[token]": token})
    card = cast("dict[str, object]", made["card"])
    assert (card["brand"], card["last4"], made["customer"]) == (brand, last4, None)
    assert await desk.done("GET", f"{METHODS}/{made['id']}") == made
    assert await desk.method(token) != made["id"]


@pytest.mark.parametrize(
    "token", ["tok_unknown", "TOK_VISA", "tok_visa ", "4242424242424242", "pm_card_visa"]
)
async def test_no_such_token(desk: Desk, token: str) -> None:
    refused = await desk.refused("POST", METHODS, {"type": "card", "card[token]": token})
    assert refused == (400, "resource_missing", "card[token]")


async def test_a_real_token_is_good_for_one_use(desk: Desk) -> None:
    token = desk.ordered("POST", "tokens", {"card": "amex"})["id"]
    form = {"type": "card", "card[token]": token}
    assert cast("dict[str, object]", (await desk.done("POST", METHODS, form))["card"])["brand"] == "amex"
    assert await desk.refused("POST", METHODS, form) == (400, "token_already_used", None)


async def test_what_cannot_be_attached(desk: Desk) -> None:
    customer, method = await desk.customer(), await desk.method()
    attach = f"{METHODS}/{method}/attach"
    assert await desk.refused("POST", attach) == (400, "parameter_missing", "customer")
    assert await desk.refused("POST", attach, {"customer": "cus_x"}) == (400, "resource_missing", "customer")
    gone = f"{METHODS}/pm_x/attach"
    assert await desk.refused("POST", gone, {"customer": customer}) == (
        404,
        "resource_missing",
        "payment_method",
    )
    assert (await desk.done("POST", attach, {"customer": customer}))["customer"] == customer
    for another in (customer, await desk.customer()):
        assert (await desk.refused("POST", attach, {"customer": another}))[0] == 400
    assert (await desk.done("POST", f"{METHODS}/pm_card_visa/attach", {"customer": customer}))["id"] != (
        "pm_card_visa"
    )


async def test_a_declined_card_cannot_be_attached_unless_the_judge_is_told_so(desk: Desk) -> None:
    customer, method = await desk.customer(), await desk.method("tok_chargeDeclinedExpiredCard")
    attach = f"{METHODS}/{method}/attach"
    assert await desk.refused("POST", attach, {"customer": customer}) == (402, "expired_card", None)
    await desk.method("tok_chargeCustomerFail", customer=customer)
    desk.ordered("POST", "settings", {"declines_on_attach": False})
    assert (await desk.done("POST", attach, {"customer": customer}))["customer"] == customer


async def test_a_detached_card_is_never_used_again(desk: Desk) -> None:
    customer = await desk.customer()
    method = await desk.method(customer=customer)
    assert (await desk.done("POST", f"{METHODS}/{method}/detach"))["customer"] is None
    assert (await desk.refused("POST", f"{METHODS}/{method}/detach"))[0] == 400
    assert (await desk.refused("POST", f"{METHODS}/{method}/attach", {"customer": customer}))[0] == 400
    form = payment(payment_method=method, customer=customer)
    assert await desk.refused("POST", "/v1/payment_intents", form) == (400, None, "payment_method")
    assert (await desk.refused("POST", f"{METHODS}/pm_x/detach"))[0] == 404
    assert desk.ledger() == {}


async def test_whose_card_it_is(desk: Desk) -> None:
    customer, other = await desk.customer(), await desk.customer()
    method = await desk.method(customer=customer)
    create = "/v1/payment_intents"
    assert await desk.refused("POST", create, payment(payment_method=method, customer=other)) == (
        400,
        "resource_missing",
        "payment_method",
    )
    assert await desk.refused("POST", create, payment(payment_method=method)) == (400, None, "payment_method")
    assert desk.ledger() == {}
    for _ in range(2):
        await desk.done("POST", create, payment(payment_method=method, customer=customer))


async def test_a_card_without_a_customer_is_good_for_one_payment(desk: Desk) -> None:
    method = await desk.method()
    form = payment(payment_method=method)
    first = name_of(await desk.done("POST", "/v1/payment_intents", form))
    assert await desk.refused("POST", "/v1/payment_intents", form) == (400, None, "payment_method")
    customer = await desk.customer()
    assert (await desk.refused("POST", f"{METHODS}/{method}/attach", {"customer": customer}))[0] == 400
    assert list(desk.ledger()) == [first]
    assert await desk.intent() != await desk.intent()  # pm_card_visa is another card each time
