"""Credentials, limits, and what is kept under an idempotency key."""

from __future__ import annotations

import base64
from dataclasses import replace

import msgspec
import pytest

from tests.stripe_judge.control import CallSeen
from tests.stripe_judge.desk import FORM, Desk, document, name_of, payment
from tests.stripe_judge.wire import Request

INTENTS = "/v1/payment_intents"
BALANCE = Request("GET", "/v1/balance", headers=FORM)


async def status_of(desk: Desk, request: Request) -> int:
    answer = await desk.judge.answer(request)
    assert answer is not None
    return answer.status


# --- credentials and form -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer sk_test_judge", 200),
        ("Basic " + base64.b64encode(b"sk_test_judge:").decode(), 200),
        ("Bearer sk_test_other", 401),
        ("Basic " + base64.b64encode(b"other:").decode(), 401),
        ("Basic ####", 401),
        ("Bearer ", 401),
        ("sk_test_judge", 401),
        ("", 401),
    ],
)
async def test_whose_key_it_is(desk: Desk, authorization: str, status: int) -> None:
    assert await status_of(desk, replace(BALANCE, headers={"authorization": authorization})) == status


@pytest.mark.parametrize(
    ("version", "status"), [("2026-06-24.dahlia", 200), ("2020-08-27", 200), ("latest", 400), ("", 400)]
)
async def test_a_version_is_a_date(desk: Desk, version: str, status: int) -> None:
    assert await status_of(desk, replace(BALANCE, headers={**FORM, "stripe-version": version})) == status


async def test_what_the_api_has_not(desk: Desk) -> None:
    for method, path in (
        ("GET", "/v1/nothing"),
        ("DELETE", INTENTS),
        ("POST", f"{INTENTS}/pi_x/"),
        ("GET", "/"),
    ):
        assert (await desk.refused(method, path))[0] == 404


async def test_a_body_is_a_form(desk: Desk) -> None:
    request = Request("POST", "/v1/customers", headers=FORM, body=b"name=x")
    assert await status_of(desk, request) == 200
    assert (
        await status_of(desk, replace(request, headers={**FORM, "content-type": "application/json"})) == 400
    )
    assert await status_of(desk, replace(request, query=b"name=x")) == 400
    assert await status_of(desk, replace(request, body=b"name=%FF")) == 400


@pytest.mark.parametrize(
    ("expand", "status"),
    [
        ("latest_charge", 200),
        ("latest_charge.payment_intent.latest_charge.customer", 200),
        ("latest_charge.payment_intent.latest_charge.payment_intent.customer", 400),
        ("amount", 400),
        ("data.latest_charge", 400),
    ],
)
async def test_what_can_be_expanded(desk: Desk, expand: str, status: int) -> None:
    intent = await desk.intent()
    assert (await desk.send("GET", f"{INTENTS}/{intent}", {"expand[]": expand})).status == status


# --- limits -------------------------------------------------------------------------------------------------


async def test_so_many_calls_in_a_second_for_each_endpoint(desk: Desk) -> None:
    desk.ordered("POST", "settings", {"rate_per_second": 3})
    for _ in range(3):
        await desk.done("GET", "/v1/balance")
    answer = await desk.send("GET", "/v1/balance")
    assert (answer.status, answer.headers["Stripe-Rate-Limited-Reason"]) == (429, "endpoint-rate")
    await desk.done("GET", "/v1/account")
    desk.wall += 1
    await desk.done("GET", "/v1/balance")
    desk.ordered("POST", "settings", {"rate_per_second": None})
    for _ in range(10):
        await desk.done("GET", "/v1/balance")


# --- keys ---------------------------------------------------------------------------------------------------


async def test_the_same_key_answers_the_same_and_does_nothing_twice(desk: Desk) -> None:
    first = await desk.send("POST", INTENTS, payment(), key="k")
    await desk.done("POST", f"{INTENTS}/{name_of(document(first))}/capture", key="capture")
    again = await desk.send("POST", INTENTS, dict(reversed(payment().items())), key="k")
    assert (again.status, again.body) == (200, first.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"]
    assert "Idempotent-Replayed" not in first.headers
    assert len(desk.ledger()) == 1


async def test_a_decline_and_a_refusal_stay_with_their_key(desk: Desk) -> None:
    declined = await desk.send("POST", INTENTS, payment("chargeDeclined"), key="declined")
    small = await desk.send("POST", INTENTS, payment(amount=1), key="small")
    capture = f"{INTENTS}/{await desk.intent()}/capture"
    too_much = await desk.send("POST", capture, {"amount_to_capture": 1001}, key="too much")
    assert (declined.status, small.status, too_much.status) == (402, 400, 400)
    desk.wall += 365 * 86_400
    for path, form, key, kept in (
        (INTENTS, payment("chargeDeclined"), "declined", declined),
        (INTENTS, payment(amount=1), "small", small),
        (capture, {"amount_to_capture": 1001}, "too much", too_much),
    ):
        again = await desk.send("POST", path, form, key=key)
        assert (again.status, again.body) == (kept.status, kept.body)
        assert again.headers["Idempotent-Replayed"] == "true"
    assert len(desk.ledger()) == 2


async def test_what_was_never_begun_is_not_kept(desk: Desk) -> None:
    assert (await desk.refused("POST", INTENTS, payment(amount=0), key="k"))[0] == 400
    assert (await desk.refused("POST", INTENTS, payment(source="x"), key="k"))[0] == 400
    assert (await desk.refused("POST", INTENTS, payment(currency=None), key="k"))[0] == 400
    await desk.done("POST", INTENTS, payment(), key="k")


@pytest.mark.parametrize(
    "changes", [{"amount": 1001}, {"description": "x"}, {"return_url": "https://other.example"}]
)
async def test_a_key_belongs_to_its_parameters(desk: Desk, changes: dict[str, object]) -> None:
    await desk.done("POST", INTENTS, payment(), key="k")
    answer = await desk.send("POST", INTENTS, payment("visa", **changes), key="k")
    assert answer.status == 400
    assert b'"idempotency_error"' in answer.body
    assert len(desk.ledger()) == 1


async def test_a_key_belongs_to_its_endpoint(desk: Desk) -> None:
    intent = name_of(await desk.done("POST", INTENTS, payment(), key="k"))
    for action in ("capture", "cancel"):
        answer = await desk.send("POST", f"{INTENTS}/{intent}/{action}", key="k")
        assert answer.status == 400
        assert b'"idempotency_error"' in answer.body
    assert desk.ledger()[intent].status == "requires_capture"


async def test_only_a_post_has_a_key(desk: Desk) -> None:
    intent = await desk.intent()
    before = await desk.done("GET", f"{INTENTS}/{intent}", key="k")
    await desk.done("POST", f"{INTENTS}/{intent}/capture", key="k")
    assert before != await desk.done("GET", f"{INTENTS}/{intent}", key="k")


@pytest.mark.parametrize(("length", "status"), [(0, 400), (1, 200), (254, 200), (255, 200), (256, 400)])
async def test_how_long_a_key_is(desk: Desk, length: int, status: int) -> None:
    assert (await desk.send("POST", "/v1/customers", {"name": "x"}, key="k" * length)).status == status


async def test_every_call_is_written_down(desk: Desk) -> None:
    await desk.send("POST", "/v1/customers", {"name": "x"}, key="k")
    await desk.send("POST", "/v1/customers", {"name": "x"}, key="k")
    await desk.send("GET", "/v1/customers/cus_x")
    seen = msgspec.json.decode(desk.order("GET", "calls").body, type=list[CallSeen])
    assert [(call.endpoint, call.key, call.status, call.replayed) for call in seen] == [
        ("POST /v1/customers", "k", 200, False),
        ("POST /v1/customers", "k", 200, True),
        ("GET /v1/customers/{id}", None, 404, False),
    ]
