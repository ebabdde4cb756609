"""The Stripe gateway: the contract of every gateway, against three that speak as Stripe does, and what is its alone.

The judge is strict and fails on order; localstripe is somebody else's reading of Stripe's API; Stripe's own test mode
is asked where ``STRIPE_TEST_KEY`` is set.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import parse_qsl, urlencode
from uuid import uuid4

import httpx
import pytest
import structlog
import trio
import trio.testing
from msgspec.structs import replace

from storage.schema.ids import UserId
from storage.schema.states import DisputeState
from tests.ports.charges import (
    TOTAL_MINOR,
    add_card,
    authorise,
    capture,
    card,
    charge_of,
    new_key,
    new_order,
    snapshot,
)
from tests.ports.payment_contract import PaymentContract
from tests.stripe_judge.control import LedgerLine
from tests.stripe_judge.faults import Fault
from tests.stripe_judge.process import API_KEY, JudgeProcess, running_judge
from ticketd.ports.payments import (
    ActionRequired,
    Authorised,
    Captured,
    CaptureRefused,
    CardAdded,
    Charge,
    Declined,
    GatewayState,
    GatewayUnavailable,
    IdempotencyMismatch,
    MethodRefused,
    MethodRequest,
    OperationRefusal,
    Refunded,
    RefundRefused,
    Voided,
)
from ticketd.ports.stripe_calls import StripeAccount
from ticketd.ports.stripe_payments import StripeGateway

# Stripe's SDK gives its form to httpx by an argument that httpx would rather have called otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

CREATE: Final = "POST /v1/payment_intents"
CAPTURE: Final = "POST /v1/payment_intents/{id}/capture"
CANCEL: Final = "POST /v1/payment_intents/{id}/cancel"
REFUND: Final = "POST /v1/refunds"
RETRIEVE: Final = "GET /v1/payment_intents/{id}"


def account(url: str, **changes: object) -> StripeAccount:
    plain = StripeAccount(
        api_key=API_KEY, api_base=url, timeout_seconds=20, calls_at_once=20, calls_per_second=10_000
    )
    return replace(plain, **changes)


@asynccontextmanager
async def opened(url: str, **changes: object) -> AsyncIterator[StripeGateway]:
    """A gateway of an account there, closed at the end."""
    gateway = StripeGateway(account(url, **changes))
    try:
        yield gateway
    finally:
        await gateway._calls.close()


@pytest.fixture(scope="module")
def judge_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JudgeProcess]:
    with running_judge(tmp_path_factory.mktemp("judge") / "judge.sqlite") as running:
        yield running


@pytest.fixture
def judge(judge_process: JudgeProcess) -> JudgeProcess:
    judge_process.forget_faults()
    judge_process.behave(declines_on_attach=False, search_lag_seconds=0, rate_per_second=None)
    return judge_process


@pytest.fixture
async def gateway(judge: JudgeProcess) -> AsyncIterator[StripeGateway]:
    async with opened(judge.url) as gateway:
        yield gateway


class TestJudgeContract(PaymentContract):
    """As strict as Stripe."""


# --- cards ------------------------------------------------------------------------------------------------------


async def test_a_buyer_has_one_customer_also_with_two_first_cards_at_once(
    gateway: StripeGateway, judge: JudgeProcess
) -> None:
    user_id = UserId(uuid4())
    refs: set[str | None] = set()

    async def add() -> None:
        added = await gateway.describe_method(replace(card(), user_id=user_id), new_key())
        assert isinstance(added, CardAdded)
        refs.add(added.customer_ref)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(add)
        nursery.start_soon(add)
    (customer,) = refs
    known = replace(card(customer_ref=customer), user_id=UserId(uuid4()))
    later = await gateway.describe_method(known, new_key())
    assert isinstance(later, CardAdded)
    assert later.customer_ref == customer
    assert later.gateway_method_ref.startswith(f"{customer}/pm_")


async def test_a_deleted_customer_is_made_anew(gateway: StripeGateway) -> None:
    key = new_key()
    request = replace(card(customer_ref="cus_deleted"), user_id=UserId(uuid4()))
    added = await gateway.describe_method(request, key)
    assert isinstance(added, CardAdded)
    assert added.customer_ref not in {None, "cus_deleted"}
    assert await gateway.describe_method(request, key) == added
    assert isinstance(await gateway.authorise(charge_of(added.gateway_method_ref), new_key()), Authorised)


async def test_a_payment_method_of_stripes_script_can_be_added_once_by_one_buyer(
    gateway: StripeGateway,
) -> None:
    added = await gateway.describe_method(card(), new_key())
    assert isinstance(added, CardAdded)
    method = added.gateway_method_ref.partition("/")[2]
    again = await gateway.describe_method(card(method, added.customer_ref), new_key())
    assert again == added
    stranger = MethodRequest(card_token=method, user_id=UserId(uuid4()))
    assert await gateway.describe_method(stranger, new_key()) == MethodRefused("belongs_to_another")
    await gateway.forget_method(added.gateway_method_ref)
    assert isinstance(await gateway.describe_method(card(method), new_key()), MethodRefused)


async def test_a_card_that_its_bank_declines_at_once_is_refused(
    gateway: StripeGateway, judge: JudgeProcess
) -> None:
    judge.behave(declines_on_attach=True)
    refused = await gateway.describe_method(card("tok_chargeDeclinedInsufficientFunds"), new_key())
    assert refused == MethodRefused("insufficient_funds")
    assert isinstance(await gateway.describe_method(card("tok_chargeCustomerFail"), new_key()), CardAdded)


@pytest.mark.parametrize(
    "token", ["", "tok_", "pm_", "tok_visa/x", "tok_\u00e9", "tok_" + "a" * 251, "src_1"]
)
async def test_no_token_at_all_is_not_sent(gateway: StripeGateway, judge: JudgeProcess, token: str) -> None:
    before = len(judge.calls())
    assert await gateway.describe_method(card(token), new_key()) == MethodRefused("no_token")
    assert len(judge.calls()) == before


# --- authorising ------------------------------------------------------------------------------------------------


async def test_a_declined_payment_is_cancelled_so_that_nothing_can_be_tried_on_it(
    gateway: StripeGateway, judge: JudgeProcess
) -> None:
    charge = charge_of(await add_card(gateway, "tok_chargeDeclined"))
    outcome = await gateway.authorise(charge, new_key())
    assert isinstance(outcome, Declined)
    (line,) = [each for each in judge.ledger() if each.payment_intent == outcome.payment_ref]
    assert line.status == "canceled"
    assert line.metadata == {"order_id": str(charge.order_id)}


async def test_a_declined_payment_that_is_only_found_is_cancelled_too(
    gateway: StripeGateway, judge: JudgeProcess
) -> None:
    charge = charge_of(await add_card(gateway, "tok_chargeDeclined"))
    judge.order_fault(CREATE, Fault.ERROR_AFTER)
    outcome = await gateway.authorise(charge, new_key())
    assert isinstance(outcome, Declined)
    assert outcome.decline_code == "generic_decline"
    assert [line.status for line in payments_of(judge, charge)] == ["canceled"]


async def test_a_declined_payment_that_cannot_be_cancelled_is_declined_all_the_same(
    gateway: StripeGateway, judge: JudgeProcess
) -> None:
    judge.order_fault(CANCEL, Fault.ERROR_BEFORE, should_retry=False)
    charge = charge_of(await add_card(gateway, "tok_chargeDeclined"))
    outcome = await gateway.authorise(charge, new_key())
    assert isinstance(outcome, Declined)
    assert outcome.payment_ref is not None
    assert (await snapshot(gateway, outcome.payment_ref)).state is GatewayState.FAILED


@pytest.mark.parametrize(("passed", "state"), [(True, GatewayState.AUTHORISED), (False, GatewayState.FAILED)])
async def test_a_challenge_has_a_page_and_a_secret(
    gateway: StripeGateway, judge: JudgeProcess, passed: bool, state: GatewayState
) -> None:
    key, charge = new_key(), charge_of(await add_card(gateway, "tok_threeDSecure2Required"))
    outcome = await gateway.authorise(charge, key)
    assert isinstance(outcome, ActionRequired)
    assert outcome.client_secret is not None
    assert outcome.client_secret.startswith(f"{outcome.payment_ref}_secret_")
    back = judge.finish_challenge(outcome.redirect_url, passed=passed)
    assert back is not None
    assert back.startswith(charge.return_url)
    seen = await snapshot(gateway, outcome.payment_ref)
    assert (seen.state, seen.redirect_url) == (state, None)
    assert seen.decline_code == (None if passed else "payment_intent_authentication_failure")
    assert await gateway.void(outcome.payment_ref, new_key()) == Voided()
    assert (await snapshot(gateway, outcome.payment_ref)).state is GatewayState.VOIDED


@pytest.mark.parametrize(
    ("amount_minor", "code"),
    [(49, "amount_too_small"), (50, None), (99_999_999, None), (100_000_000, "amount_too_large")],
)
async def test_an_amount_that_stripe_does_not_take_is_declined(
    gateway: StripeGateway, amount_minor: int, code: str | None
) -> None:
    charge = charge_of(await add_card(gateway), amount_minor=amount_minor)
    outcome = await gateway.authorise(charge, new_key())
    if code is None:
        assert isinstance(outcome, Authorised)
    else:
        assert outcome == Declined(code)


@pytest.mark.parametrize("currency", ["ISK", "UGX", "MGA"])
async def test_a_currency_that_stripe_counts_otherwise_is_not_charged(
    gateway: StripeGateway, judge: JudgeProcess, currency: str
) -> None:
    charge = replace(charge_of(await add_card(gateway)), currency=currency)
    before = len(judge.ledger())
    assert await gateway.authorise(charge, new_key()) == Declined("currency_not_supported")
    assert len(judge.ledger()) == before


async def test_another_buyers_card_is_not_charged(gateway: StripeGateway) -> None:
    mine, other = await add_card(gateway), MethodRequest(card_token="tok_visa", user_id=UserId(uuid4()))
    theirs = await gateway.describe_method(other, new_key())
    assert isinstance(theirs, CardAdded)
    crossed = f"{theirs.customer_ref}/{mine.partition('/')[2]}"
    assert isinstance(await gateway.authorise(charge_of(crossed), new_key()), Declined)


# --- what was lost on the way -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [Fault.DROP_BEFORE, Fault.DROP_AFTER, Fault.UNAVAILABLE_AFTER, Fault.LOCK_TIMEOUT]
)
async def test_a_lost_answer_is_asked_for_again_under_the_same_key(
    gateway: StripeGateway, judge: JudgeProcess, fault: Fault
) -> None:
    charge, key = charge_of(await add_card(gateway)), new_key()
    judge.order_fault(CREATE, fault)
    assert isinstance(await gateway.authorise(charge, key), Authorised)
    assert [call.key for call in judge.calls() if call.key == key] == [key, key]
    assert len(payments_of(judge, charge)) == 1


@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER])
async def test_a_key_that_is_spent_by_a_fault_of_stripes_is_no_end(
    gateway: StripeGateway, judge: JudgeProcess, fault: Fault
) -> None:
    charge, key = charge_of(await add_card(gateway)), new_key()
    judge.order_fault(CREATE, fault)
    outcome = await gateway.authorise(charge, key)
    assert isinstance(outcome, Authorised)
    assert len(payments_of(judge, charge)) == 1
    judge.order_fault(CAPTURE, fault)
    capture_key = new_key()
    for _ in range(2):
        assert await gateway.capture(outcome.payment_ref, TOTAL_MINOR, capture_key) == Captured(TOTAL_MINOR)
    judge.order_fault(REFUND, fault)
    refund_key = new_key()
    first = await gateway.refund(outcome.payment_ref, 1_000, refund_key)
    assert isinstance(first, Refunded)
    assert await gateway.refund(outcome.payment_ref, 1_000, refund_key) == first
    assert (await snapshot(gateway, outcome.payment_ref)).refunded_minor == 1_000
    assert await gateway.authorise(charge, key) == outcome
    assert len(payments_of(judge, charge)) == 1


@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER])
async def test_a_void_under_a_spent_key(gateway: StripeGateway, judge: JudgeProcess, fault: Fault) -> None:
    payment_ref, key = await authorise(gateway), new_key()
    judge.order_fault(CANCEL, fault)
    for _ in range(2):
        assert await gateway.void(payment_ref, key) == Voided()
    assert (await snapshot(gateway, payment_ref)).state is GatewayState.VOIDED


async def test_a_fault_under_every_key_is_told(gateway: StripeGateway, judge: JudgeProcess) -> None:
    charge = charge_of(await add_card(gateway))
    judge.order_fault(CREATE, Fault.ERROR_BEFORE, times=100)
    with pytest.raises(GatewayUnavailable) as caught:
        await gateway.authorise(charge, new_key())
    assert caught.value.effect_possible is True
    judge.forget_faults()
    assert payments_of(judge, charge) == []


async def test_an_authorisation_that_ran_out_is_void(gateway: StripeGateway, judge: JudgeProcess) -> None:
    payment_ref = await authorise(gateway)
    judge.expire(payment_ref)
    refused = await gateway.capture(payment_ref, TOTAL_MINOR, new_key())
    assert refused == CaptureRefused(OperationRefusal.WRONG_STATE)
    assert (await snapshot(gateway, payment_ref)).state is GatewayState.VOIDED


# --- looking ------------------------------------------------------------------------------------------------------


async def test_with_its_card_an_order_is_found_before_the_search_knows_it(
    gateway: StripeGateway, judge: JudgeProcess
) -> None:
    judge.behave(search_lag_seconds=60)
    charge = charge_of(await add_card(gateway))
    outcome = await gateway.authorise(charge, new_key())
    assert await gateway.find_by_order(charge.order_id) is None
    found = await gateway.find_by_order(charge.order_id, charge.method_ref)
    assert found is not None
    assert found.payment_ref == outcome.payment_ref
    assert await gateway.find_by_order(new_order(), charge.method_ref) is None
    assert await gateway.find_by_order(charge.order_id, "cus_unknown/pm_unknown") is None


async def test_a_refund_that_fails_later_is_none(gateway: StripeGateway, judge: JudgeProcess) -> None:
    payment_ref = await capture(gateway)
    refund = await gateway.refund(payment_ref, 1_000, new_key())
    assert isinstance(refund, Refunded)
    judge.settle_refund(refund.refund_ref, "failed")
    assert await gateway.list_refunds(payment_ref) == ()
    assert (await snapshot(gateway, payment_ref)).refunded_minor == 0


# --- the account and its limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("api_key", ["sk_test_CANARY_wrong"])
async def test_a_refused_key_is_said_and_the_daemon_goes_on(
    judge: JudgeProcess, api_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    with structlog.testing.capture_logs() as told:
        async with opened(judge.url, api_key=api_key) as gateway:
            assert await gateway.check() is False
            with pytest.raises(GatewayUnavailable) as caught:
                await gateway.describe_method(card(), new_key())
    assert caught.value.effect_possible is False
    assert "CANARY" not in f"{caught.value!r} {caught.value.__cause__!r} {told} {caplog.text} {gateway!r}"
    assert {line["log_level"] for line in told} == {"error"}


async def test_a_good_key_is_said(gateway: StripeGateway) -> None:
    with structlog.testing.capture_logs() as told:
        assert await gateway.check() is True
    assert [line["log_level"] for line in told] == ["info"]


async def test_no_network_is_said_and_nothing_can_have_happened() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Bound and not listening: a connection is refused.
        async with opened(f"http://127.0.0.1:{taken.getsockname()[1]}", timeout_seconds=1) as gateway:
            assert await gateway.check() is False
            with pytest.raises(GatewayUnavailable) as caught:
                await gateway.capture("pi_1", 1, new_key())
    assert caught.value.effect_possible is False


async def test_it_runs_until_it_is_cancelled(gateway: StripeGateway) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gateway.run)
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    assert gateway._calls._http._client_async.is_closed


async def test_what_is_sent_is_printed_nowhere(
    judge: JudgeProcess, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stripe._util.STRIPE_LOG", "debug")
    monkeypatch.setattr("stripe.log", "debug")
    async with opened(judge.url) as gateway:
        await authorise(gateway)
    told = capfd.readouterr()
    assert "tok_" not in told.out + told.err
    assert API_KEY not in repr(account(judge.url))


# --- other makes --------------------------------------------------------------------------------------------------


class LocalstripeWire(httpx.AsyncHTTPTransport):
    """Leaves out of a call what localstripe does not know: it refuses a payment that has any of these."""

    unknown = frozenset({"description", "return_url", "cancellation_reason", "metadata[refund_key]"})

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        form = [
            pair
            for pair in parse_qsl(request.content.decode(), keep_blank_values=True)
            if pair[0] not in self.unknown
        ]
        headers = {name: text for name, text in request.headers.items() if name != "content-length"}
        plain = httpx.Request(request.method, request.url, headers=headers, content=urlencode(form))
        plain.extensions = request.extensions
        return await super().handle_async_request(plain)


@pytest.fixture(scope="module")
def localstripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where one listens, for this module."""
    command = [sys.executable, "-u", "-m", "localstripe", "--port", "0", "--from-scratch"]
    folder = tmp_path_factory.mktemp("localstripe")
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        found = re.search(r":(\d+) ", process.stdout.readline())
        assert found is not None, "localstripe did not start"
        yield f"http://127.0.0.1:{found[1]}"
    finally:
        process.kill()
        process.communicate()


class TestLocalstripe:
    """Somebody else's reading of Stripe's API, as far as it goes.

    The contract's suite cannot be run against it: it makes no cards of tokens, ignores idempotency keys, knows no
    search, and takes a capture of what was cancelled and a refund of more than was taken.
    """

    @pytest.fixture
    async def gateway(self, localstripe: str) -> AsyncIterator[StripeGateway]:
        async with opened(localstripe) as gateway:
            gateway._calls._http._client_async = httpx.AsyncClient(transport=LocalstripeWire())
            yield gateway

    async def test_a_payment_from_its_card_to_its_refund(self, gateway: StripeGateway) -> None:
        assert await gateway.check() is True
        added = await gateway.describe_method(card("pm_card_visa"), new_key())
        assert isinstance(added, CardAdded)
        assert (added.brand, added.last_four) == ("Visa", "4242")
        charge = charge_of(added.gateway_method_ref)
        outcome = await gateway.authorise(charge, new_key())
        assert isinstance(outcome, Authorised)
        seen = await snapshot(gateway, outcome.payment_ref)
        assert (seen.state, seen.order_id) == (GatewayState.AUTHORISED, charge.order_id)
        assert await gateway.capture(outcome.payment_ref, TOTAL_MINOR, new_key()) == Captured(TOTAL_MINOR)
        refund = await gateway.refund(outcome.payment_ref, 1_000, new_key())
        assert isinstance(refund, Refunded)
        assert (await snapshot(gateway, outcome.payment_ref)).state is GatewayState.CAPTURED
        assert await gateway.list_refunds(outcome.payment_ref) == (refund,)

    async def test_a_void(self, gateway: StripeGateway) -> None:
        added = await gateway.describe_method(card("pm_card_visa"), new_key())
        assert isinstance(added, CardAdded)
        outcome = await gateway.authorise(charge_of(added.gateway_method_ref), new_key())
        assert isinstance(outcome, Authorised)
        assert await gateway.void(outcome.payment_ref, new_key()) == Voided()
        assert (await snapshot(gateway, outcome.payment_ref)).state is GatewayState.VOIDED

    async def test_a_declined_card(self, gateway: StripeGateway) -> None:
        added = await gateway.describe_method(card("pm_card_chargeCustomerFail"), new_key())
        assert isinstance(added, CardAdded)
        outcome = await gateway.authorise(charge_of(added.gateway_method_ref), new_key())
        assert isinstance(outcome, Declined)


async def test_disputes_from_the_inquiry_to_the_verdict(judge: JudgeProcess) -> None:
    async with opened(judge.url) as gateway:
        charge = charge_of(await add_card(gateway))
        outcome = await gateway.authorise(charge, new_key())
        assert isinstance(outcome, Authorised)
        ref = outcome.payment_ref
        await gateway.capture(ref, TOTAL_MINOR, new_key())
        asked = judge.open_dispute(ref, amount=600, inquiry=True)
        opened_ = judge.open_dispute(ref, amount=500, reason="general")
        assert (await snapshot(gateway, ref)).is_disputed
        first, second = await gateway.disputes_of(ref)
        assert (first.dispute_ref, first.state, first.amount_minor) == (asked, DisputeState.INQUIRY, 600)
        assert (second.dispute_ref, second.reason, second.currency) == (opened_, "general", "USD")
        assert (second.payment_ref, second.order_id) == (ref, charge.order_id)
        refused = RefundRefused(OperationRefusal.DISPUTED)
        assert await gateway.refund(ref, 1_000, new_key()) == refused
        judge.close_dispute(opened_, won=False)
        assert (await gateway.disputes_of(ref))[1].state is DisputeState.LOST
        assert await gateway.refund(ref, 1_000, new_key()) == refused
        judge.close_dispute(opened_, won=True)
        assert (await gateway.disputes_of(ref))[1].state is DisputeState.WON
        assert isinstance(await gateway.refund(ref, 1_000, new_key()), Refunded)


async def test_disputes_are_listed_page_by_page_newest_first(judge: JudgeProcess) -> None:
    async with opened(judge.url) as gateway:
        ref = await capture(gateway)
        made = [judge.open_dispute(ref, amount=1) for _ in range(101)]
        page = await gateway.list_disputes(0)
        assert page.next_cursor == made[1]
        rest = await gateway.list_disputes(0, page.next_cursor)
        assert rest.next_cursor is None or rest.disputes[0].dispute_ref == made[0]
        seen = [dispute.dispute_ref for dispute in page.disputes]
        assert seen == made[:0:-1]


@pytest.mark.skipif(
    "STRIPE_TEST_KEY" not in os.environ, reason="STRIPE_TEST_KEY names no key of a test account"
)
class TestStripeItself:
    """Stripe's test mode: what the contract's suite says of a payment, with a card that can be kept and is declined."""

    @pytest.fixture
    async def gateway(self) -> AsyncIterator[StripeGateway]:
        key = os.environ["STRIPE_TEST_KEY"]
        assert "_test_" in key, "only a key of the test mode"
        async with opened("https://api.stripe.com", api_key=key, calls_per_second=20) as gateway:
            yield gateway

    async def test_a_payment_from_its_card_to_its_refund(self, gateway: StripeGateway) -> None:
        assert await gateway.check() is True
        charge, key = charge_of(await add_card(gateway)), new_key()
        outcome = await gateway.authorise(charge, key)
        assert isinstance(outcome, Authorised)
        assert await gateway.authorise(charge, key) == outcome
        with pytest.raises(IdempotencyMismatch):
            await gateway.authorise(replace(charge, amount_minor=TOTAL_MINOR + 1), key)
        found = await gateway.find_by_order(charge.order_id, charge.method_ref)
        assert found is not None
        assert (found.payment_ref, found.state) == (outcome.payment_ref, GatewayState.AUTHORISED)
        assert await gateway.capture(outcome.payment_ref, TOTAL_MINOR, new_key()) == Captured(TOTAL_MINOR)
        again = await gateway.capture(outcome.payment_ref, TOTAL_MINOR, new_key())
        assert again == CaptureRefused(OperationRefusal.WRONG_STATE)
        refund = await gateway.refund(outcome.payment_ref, 1_000, new_key())
        assert isinstance(refund, Refunded)
        seen = await snapshot(gateway, outcome.payment_ref)
        assert (seen.captured_minor, seen.refunded_minor) == (TOTAL_MINOR, 1_000)
        over = await gateway.refund(outcome.payment_ref, TOTAL_MINOR, new_key())
        assert over == RefundRefused(OperationRefusal.AMOUNT_TOO_LARGE)

    async def test_what_comes_to_nothing(self, gateway: StripeGateway) -> None:
        payment_ref = await authorise(gateway)
        assert await gateway.void(payment_ref, new_key()) == Voided()
        assert (await snapshot(gateway, payment_ref)).state is GatewayState.VOIDED
        declined = await gateway.authorise(
            charge_of(await add_card(gateway, "tok_chargeCustomerFail")), new_key()
        )
        assert isinstance(declined, Declined)
        challenged = await gateway.authorise(
            charge_of(await add_card(gateway, "tok_threeDSecure2Required")), new_key()
        )
        assert isinstance(challenged, ActionRequired)
        assert challenged.client_secret is not None
        assert await gateway.void(challenged.payment_ref, new_key()) == Voided()
        assert isinstance(await gateway.describe_method(card("tok_unknown"), new_key()), MethodRefused)
        assert await gateway.fetch("pi_unknown") is None


def payments_of(judge: JudgeProcess, charge: Charge) -> list[LedgerLine]:
    """What the judge has of an order."""
    return [line for line in judge.ledger() if line.metadata == {"order_id": str(charge.order_id)}]
