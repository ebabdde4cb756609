"""The Stripe gateway: the contract of every gateway, against three that speak as Stripe does, and what is its alone.

The judge is strict and fails on order; localstripe is somebody else's reading of Stripe's API; Stripe's own test mode
is asked where ``STRIPE_TEST_KEY`` is set.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

import pytest
from msgspec.structs import replace

from tests.ports.payment_contract import PaymentContract
from tests.stripe_judge.process import API_KEY, JudgeProcess, running_judge
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
