"""The judge as a process, spoken to by Stripe's own library under Trio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

import httpx
import pytest
import stripe
import trio

from tests.stripe_judge.faults import Fault
from tests.stripe_judge.process import API_KEY, JudgeProcess, running_judge

CREATE: Final = "POST /v1/payment_intents"
PATIENCE_SECONDS: Final = 10

# Stripe's library gives its form to httpx by an argument that httpx would rather have called otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JudgeProcess]:
    with running_judge(tmp_path_factory.mktemp("judge") / "judge.sqlite") as running:
        yield running


@asynccontextmanager
async def speaking(judge: JudgeProcess, api_key: str = API_KEY) -> AsyncIterator[stripe.StripeClient]:
    """Stripe's library, turned to the judge."""
    http = stripe.HTTPXClient(timeout=PATIENCE_SECONDS)
    try:
        yield stripe.StripeClient(api_key, base_addresses={"api": judge.url}, http_client=http)
    finally:
        await http.close_async()  # type: ignore[no-untyped-call]  # as the SDK has it


@pytest.fixture
async def client(judge: JudgeProcess) -> AsyncIterator[stripe.StripeClient]:
    judge.forget_faults()
    async with speaking(judge) as speaker:
        yield speaker


async def authorise(
    client: stripe.StripeClient, key: str, *, token: str = "tok_visa", amount: int = 1000
) -> stripe.PaymentIntent:
    """A buyer's first payment, as the daemon would make it."""
    customer = await client.v1.customers.create_async({"metadata": {"user_id": "u"}})
    method = await client.v1.payment_methods.create_async({"type": "card", "card": {"token": token}})
    await client.v1.payment_methods.attach_async(method.id, {"customer": customer.id})
    return await client.v1.payment_intents.create_async(
        {
            "amount": amount,
            "currency": "usd",
            "customer": customer.id,
            "payment_method": method.id,
            "capture_method": "manual",
            "confirm": True,
            "return_url": "https://shop.example/orders/1",
            "metadata": {"order_id": key},
            "expand": ["latest_charge"],
        },
        {"idempotency_key": key},
    )


async def test_the_life_of_a_payment(judge: JudgeProcess, client: stripe.StripeClient) -> None:
    intent = await authorise(client, "life")
    assert intent.status == "requires_capture"
    assert isinstance(intent.latest_charge, stripe.Charge)
    taken = await client.v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 900})
    assert (taken.status, taken.amount_received) == ("succeeded", 900)
    refund = await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 100})
    assert (refund.status, refund.amount) == ("succeeded", 100)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 801})
    assert refused.value.code == "amount_too_large"
    listed = await client.v1.refunds.list_async({"payment_intent": intent.id})
    assert [each.id for each in listed.data] == [refund.id]
    (line,) = [line for line in judge.ledger() if line.payment_intent == intent.id]
    assert (line.authorised, line.captured, line.refunded, line.released) == (1000, 900, 100, 100)
    assert line.metadata == {"order_id": "life"}


async def test_a_challenge_is_met_at_the_judges_page(
    judge: JudgeProcess, client: stripe.StripeClient
) -> None:
    for key, passed, status in (
        ("met", True, "requires_capture"),
        ("failed", False, "requires_payment_method"),
    ):
        intent = await authorise(client, key, token="tok_threeDSecure2Required")
        assert intent.status == "requires_action"
        assert intent.next_action is not None
        assert intent.next_action.redirect_to_url is not None
        url = intent.next_action.redirect_to_url.url
        assert url is not None
        async with httpx.AsyncClient(trust_env=False) as browser:
            page = await browser.get(url)
            assert page.status_code == 200
            assert 'name="outcome"' in page.text
            assert (await browser.post(url, data={"outcome": "maybe"})).status_code == 400
        back = judge.finish_challenge(url, passed=passed)
        assert back is not None
        assert back.startswith(f"https://shop.example/orders/1?payment_intent={intent.id}&")
        seen = await client.v1.payment_intents.retrieve_async(intent.id)
        assert seen.status == status
        async with httpx.AsyncClient(trust_env=False) as browser:
            assert (await browser.get(url)).status_code == 400
            assert (await browser.get(url[:-1])).status_code == 404


async def test_errors_arrive_as_the_librarys_own(judge: JudgeProcess, client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.CardError) as declined:
        await authorise(client, "declined", token="tok_chargeCustomerFail")
    assert (declined.value.http_status, declined.value.code) == (402, "card_declined")
    assert declined.value.error is not None
    assert declined.value.error.decline_code == "generic_decline"
    assert declined.value.error.payment_intent is not None
    assert declined.value.error.payment_intent.status == "requires_payment_method"
    with pytest.raises(stripe.InvalidRequestError) as missing:
        await client.v1.payment_intents.retrieve_async("pi_unknown")
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    with pytest.raises(stripe.IdempotencyError):
        await authorise(client, "declined", amount=2000)
    judge.order_fault(CREATE, Fault.RATE_LIMIT)
    with pytest.raises(stripe.RateLimitError):
        await authorise(client, "limited")
    judge.order_fault(CREATE, Fault.ERROR_BEFORE)
    with pytest.raises(stripe.APIError) as broken:
        await authorise(client, "broken")
    assert broken.value.http_status == 500
    judge.order_fault(CREATE, Fault.DROP_AFTER)
    with pytest.raises(stripe.APIConnectionError):
        await authorise(client, "dropped")
    assert [line.status for line in judge.ledger() if line.metadata == {"order_id": "dropped"}] == [
        "requires_capture"
    ]
    async with speaking(judge, "sk_test_wrong") as stranger:
        with pytest.raises(stripe.AuthenticationError):
            await stranger.v1.balance.retrieve_async()
    assert (await client.v1.balance.retrieve_async()).object == "balance"


async def test_many_at_once_are_each_charged_once(judge: JudgeProcess, client: stripe.StripeClient) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(12):
            nursery.start_soon(authorise, client, f"many-{number}")
    made = [line.metadata["order_id"] for line in judge.ledger() if "many" in line.metadata["order_id"]]
    assert sorted(made) == sorted(f"many-{number}" for number in range(12))


async def test_pages_hold_all_and_each_once(judge: JudgeProcess, client: stripe.StripeClient) -> None:
    made = [(await authorise(client, f"page-{number}")).id for number in range(5)]
    first = await client.v1.payment_intents.list_async({"limit": 2, "created": {"gte": 1}})
    seen = [intent.id async for intent in first.auto_paging_iter()]
    assert seen[:5] == made[::-1]
    assert seen == [line.payment_intent for line in reversed(judge.ledger())]


async def test_what_was_answered_outlives_a_kill(judge: JudgeProcess, client: stripe.StripeClient) -> None:
    intent = await authorise(client, "killed")
    judge.order_fault("POST /v1/payment_intents/{id}/capture", Fault.DROP_AFTER)
    with pytest.raises(stripe.APIConnectionError):
        await client.v1.payment_intents.capture_async(intent.id, {}, {"idempotency_key": "capture-killed"})
    judge.order_fault("POST /v1/refunds", Fault.LOCK_TIMEOUT)
    url = judge.url
    judge.kill()
    with pytest.raises(stripe.APIConnectionError):
        await client.v1.payment_intents.retrieve_async(intent.id)
    judge.start()
    assert judge.url == url
    taken = await client.v1.payment_intents.capture_async(
        intent.id, {}, {"idempotency_key": "capture-killed"}
    )
    assert taken.status == "succeeded"
    assert taken.last_response is not None
    assert taken.last_response.headers["idempotent-replayed"] == "true"
    with pytest.raises(stripe.RateLimitError) as locked:
        await client.v1.refunds.create_async({"payment_intent": intent.id})
    assert locked.value.error is not None
    assert locked.value.error.code == "lock_timeout"
    assert locked.value.request_id is not None
    (line,) = [line for line in judge.ledger() if line.payment_intent == intent.id]
    assert (line.captured, line.tries) == (1000, 1)
