"""The sandbox gateway: the contract of every gateway, and what only the sandbox does."""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
import trio
import trio.testing

from storage.schema.ids import OrderId
from tests.ports.charges import (
    BUYER,
    TOTAL_MINOR,
    add_card,
    authorise,
    card,
    charge_of,
    list_all,
    new_key,
    snapshot,
)
from tests.ports.payment_contract import PaymentContract
from ticketd.ports.payments import (
    ActionRequired,
    Authorised,
    AuthoriseOutcome,
    Captured,
    CardAdded,
    Declined,
    GatewayState,
    GatewayUnavailable,
    IdempotencyMismatch,
    PaymentGateway,
)
from ticketd.ports.sandbox_bank import FAILED_ACTION_CODE, LARGEST_AMOUNT_MINOR, PAGE_PAYMENTS
from ticketd.ports.sandbox_payments import ActionOutcome, SandboxGateway

NOW_MS = int(datetime.datetime(2026, 1, 8, 10, 5, tzinfo=datetime.UTC).timestamp() * 1000)
PROJECT = Path(__file__).parents[2]
PUBLIC_URL = "http://127.0.0.1:8080"


def open_gateway(path: Path, *, inline: bool = False) -> SandboxGateway:
    return SandboxGateway(path, now_ms=lambda: NOW_MS, public_url=PUBLIC_URL, inline=inline)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sandbox-payments.sqlite"


@pytest.fixture
def gateway(path: Path) -> Iterator[SandboxGateway]:
    with contextlib.closing(open_gateway(path)) as gateway:
        yield gateway


class TestSandboxContract(PaymentContract):
    """In a thread, as the daemon runs it."""


class TestInlineSandboxContract(PaymentContract):
    """On the loop, as a simulation runs it."""

    @pytest.fixture
    def gateway(self, path: Path) -> Iterator[SandboxGateway]:
        with contextlib.closing(open_gateway(path, inline=True)) as gateway:
            yield gateway


def test_it_is_a_gateway(gateway: SandboxGateway) -> None:
    port: PaymentGateway = gateway
    assert port.name == "sandbox"


# --- cards ------------------------------------------------------------------------------------------------------


async def test_a_buyer_keeps_one_name(gateway: SandboxGateway) -> None:
    first = await gateway.describe_method(card(), new_key())
    assert isinstance(first, CardAdded)
    assert first.customer_ref == f"cus_{BUYER.hex}"
    later = await gateway.describe_method(card(customer_ref="cus_of_old"), new_key())
    assert isinstance(later, CardAdded)
    assert later.customer_ref == "cus_of_old"


async def test_a_card_runs_out_in_december_three_years_on(gateway: SandboxGateway) -> None:
    added = await gateway.describe_method(card("tok_visa_4242"), new_key())
    assert isinstance(added, CardAdded)
    assert (added.brand, added.last_four, added.expiry_month, added.expiry_year) == ("Visa", "4242", 12, 2029)


async def test_the_largest_amount(gateway: SandboxGateway) -> None:
    card = await add_card(gateway)
    largest = charge_of(card, amount_minor=LARGEST_AMOUNT_MINOR)
    assert isinstance(await gateway.authorise(largest, new_key()), Authorised)
    over = charge_of(card, amount_minor=LARGEST_AMOUNT_MINOR + 1)
    assert await gateway.authorise(over, new_key()) == Declined("amount_too_large")
    assert await gateway.find_by_order(over.order_id) is None
    beyond_64_bits = charge_of(card, amount_minor=2**70)
    assert await gateway.authorise(beyond_64_bits, new_key()) == Declined("amount_too_large")


# --- the buyer's challenge --------------------------------------------------------------------------------------


async def challenge(gateway: SandboxGateway) -> ActionRequired:
    charge = charge_of(await add_card(gateway, "tok_threeDSecure2Required"))
    outcome = await gateway.authorise(charge, new_key())
    assert isinstance(outcome, ActionRequired)
    return outcome


async def test_a_challenge_has_a_page_on_the_daemon(gateway: SandboxGateway) -> None:
    charge = charge_of(await add_card(gateway, "tok_threeDSecure2Required"))
    outcome = await gateway.authorise(charge, new_key())
    assert isinstance(outcome, ActionRequired)
    assert outcome.redirect_url == f"{PUBLIC_URL}/sandbox/payments/{outcome.payment_ref}"
    action = await gateway.describe_action(outcome.payment_ref)
    assert action is not None
    assert action.state is GatewayState.REQUIRES_ACTION
    assert (action.order_id, action.amount_minor, action.currency) == (charge.order_id, TOTAL_MINOR, "USD")
    assert (action.description, action.return_url) == (charge.description, charge.return_url)


async def test_the_public_url_may_be_known_late(path: Path) -> None:
    front = ["http://unknown.example"]
    late = SandboxGateway(path, now_ms=lambda: NOW_MS, public_url=lambda: front[0])
    with contextlib.closing(late) as gateway:
        front[0] = "http://127.0.0.1:4711/"
        outcome = await challenge(gateway)
    assert outcome.redirect_url == f"http://127.0.0.1:4711/sandbox/payments/{outcome.payment_ref}"


async def test_a_completed_challenge_is_authorised(gateway: SandboxGateway) -> None:
    payment_ref = (await challenge(gateway)).payment_ref
    for later in (ActionOutcome.COMPLETE, ActionOutcome.COMPLETE, ActionOutcome.FAIL):
        action = await gateway.complete_action(payment_ref, later)
        assert action is not None
        assert action.state is GatewayState.AUTHORISED
    seen = await snapshot(gateway, payment_ref)
    assert (seen.state, seen.authorised_minor) == (GatewayState.AUTHORISED, TOTAL_MINOR)
    assert seen.redirect_url is None
    assert await gateway.capture(payment_ref, TOTAL_MINOR, new_key()) == Captured(TOTAL_MINOR)


async def test_a_failed_challenge_stays_failed(gateway: SandboxGateway) -> None:
    payment_ref = (await challenge(gateway)).payment_ref
    for later in (ActionOutcome.FAIL, ActionOutcome.COMPLETE):
        action = await gateway.complete_action(payment_ref, later)
        assert action is not None
        assert action.state is GatewayState.FAILED
    seen = await snapshot(gateway, payment_ref)
    assert (seen.state, seen.decline_code) == (GatewayState.FAILED, FAILED_ACTION_CODE)


async def test_a_voided_challenge_cannot_be_completed(gateway: SandboxGateway) -> None:
    payment_ref = (await challenge(gateway)).payment_ref
    await gateway.void(payment_ref, new_key())
    action = await gateway.complete_action(payment_ref, ActionOutcome.COMPLETE)
    assert action is not None
    assert action.state is GatewayState.VOIDED
    assert (await snapshot(gateway, payment_ref)).authorised_minor == 0


async def test_there_is_no_page_without_a_challenge(gateway: SandboxGateway) -> None:
    for payment_ref in (await authorise(gateway), "pi_unknown", "pi_\udcff"):
        assert await gateway.describe_action(payment_ref) is None
        assert await gateway.complete_action(payment_ref, ActionOutcome.FAIL) is None


# --- what is kept -----------------------------------------------------------------------------------------------


async def test_money_moved_is_remembered_after_a_restart(path: Path) -> None:
    key, void_key = new_key(), new_key()
    with contextlib.closing(open_gateway(path)) as before:
        charge = charge_of(await add_card(before))
        authorised = await before.authorise(charge, key)
        assert isinstance(authorised, Authorised)
        await before.capture(authorised.payment_ref, TOTAL_MINOR, new_key())
        await before.refund(authorised.payment_ref, 500, new_key())
        voided_ref = await authorise(before)
        voided = await before.void(voided_ref, void_key)
        pending = await challenge(before)
        known = [
            await snapshot(before, ref) for ref in (authorised.payment_ref, voided_ref, pending.payment_ref)
        ]
    with contextlib.closing(open_gateway(path)) as after:
        assert [await snapshot(after, seen.payment_ref) for seen in known] == known
        assert await after.find_by_order(charge.order_id) == known[0]
        assert await after.authorise(charge, key) == authorised
        assert await after.void(voided_ref, void_key) == voided
        with pytest.raises(IdempotencyMismatch):
            await after.authorise(charge_of(charge.method_ref), key)
        await after.complete_action(pending.payment_ref, ActionOutcome.COMPLETE)
        assert await after.capture(pending.payment_ref, TOTAL_MINOR, new_key()) == Captured(TOTAL_MINOR)


_CHARGING = """
import itertools, sys, uuid
from pathlib import Path
import trio
from ticketd.ports.payments import Charge, MethodRequest
from ticketd.ports.sandbox_payments import SandboxGateway

async def main():
    gateway = SandboxGateway(Path(sys.argv[1]), now_ms=lambda: 0, public_url="")
    request = MethodRequest(card_token="tok_visa", user_id=uuid.UUID(int=0))
    card = (await gateway.describe_method(request, "card")).gateway_method_ref
    for number in itertools.count():
        order_id = uuid.UUID(int=number)
        charge = Charge(
            order_id=order_id, amount_minor=1, currency="USD", method_ref=card, description="", return_url=""
        )
        outcome = await gateway.authorise(charge, f"order-{number}")
        print(order_id, outcome.payment_ref, flush=True)

trio.run(main)
"""


def charge_until_killed(path: Path) -> list[str]:
    """The lines that a process told of its charges before it was killed."""
    command = [sys.executable, "-c", _CHARGING, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as charging:
        assert charging.stdout is not None
        told = [charging.stdout.readline() for _ in range(50)]
        charging.kill()
        return told + [line for line in charging.stdout if line.endswith("\n")]


async def test_an_answer_survives_a_kill(path: Path) -> None:
    told = charge_until_killed(path)
    with contextlib.closing(open_gateway(path)) as gateway:
        for line in told:
            order_id, payment_ref = line.split()
            found = await gateway.find_by_order(OrderId(UUID(order_id)))
            assert found is not None
            assert (found.payment_ref, found.state) == (payment_ref, GatewayState.AUTHORISED)


async def test_a_full_disk_is_an_unavailable_gateway(gateway: SandboxGateway) -> None:
    charge, key = charge_of(await add_card(gateway)), new_key()
    database = gateway._ledger._db
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(GatewayUnavailable) as caught:  # noqa: PT012 - it fails once the last page is full
        for _ in range(1_000):
            await gateway.describe_method(card(), new_key())
    assert caught.value.effect_possible is False
    database.execute(f"PRAGMA max_page_count = {pages + 1_000}")
    assert isinstance(await gateway.authorise(charge, key), Authorised)


# --- calls that meet --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps the ledger's thread waiting, as a slow disk does."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def test_a_cancelled_call_has_charged_all_the_same(gateway: SandboxGateway, path: Path) -> None:
    charge, key = charge_of(await add_card(gateway)), new_key()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            with locked(path):
                nursery.start_soon(gateway.authorise, charge, key)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
    found = await gateway.find_by_order(charge.order_id)
    assert found is not None
    assert found.state is GatewayState.AUTHORISED
    assert await gateway.authorise(charge, key) == Authorised(found.payment_ref)


async def test_a_call_cancelled_before_its_turn_did_nothing_and_spoils_no_other(
    gateway: SandboxGateway, path: Path
) -> None:
    card = await add_card(gateway)
    first, second, third = (charge_of(card) for _ in range(3))
    async with trio.open_nursery() as nursery, trio.open_nursery() as given_up:
        with locked(path):
            nursery.start_soon(gateway.authorise, first, new_key())
            await trio.testing.wait_all_tasks_blocked()
            given_up.start_soon(gateway.authorise, second, new_key())
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(gateway.authorise, third, new_key())
            await trio.testing.wait_all_tasks_blocked()
            given_up.cancel_scope.cancel()
    assert await gateway.find_by_order(first.order_id) is not None
    assert await gateway.find_by_order(second.order_id) is None
    assert await gateway.find_by_order(third.order_id) is not None
    assert gateway._waiting == []


@pytest.mark.parametrize("moments", range(6))
async def test_a_call_cancelled_at_any_moment_takes_no_other_with_it(
    gateway: SandboxGateway, moments: int
) -> None:
    card = await add_card(gateway)
    outcomes: list[AuthoriseOutcome] = []

    async def call() -> None:
        outcomes.append(await gateway.authorise(charge_of(card), new_key()))

    rounds = 8  # Trio wakes tasks in random order.
    for _ in range(rounds):
        async with trio.open_nursery() as nursery, trio.open_nursery() as given_up:
            given_up.start_soon(gateway.authorise, charge_of(card), new_key())
            nursery.start_soon(call)
            for _ in range(moments):
                await trio.lowlevel.checkpoint()
            given_up.cancel_scope.cancel()
        assert gateway._waiting == []
    assert len(outcomes) == rounds


async def test_calls_that_meet_share_a_commit_and_a_mismatch_is_its_own(
    gateway: SandboxGateway, path: Path
) -> None:
    card, used_key = await add_card(gateway), new_key()
    await gateway.authorise(charge_of(card), used_key)
    outcomes: list[AuthoriseOutcome] = []
    mismatches: list[IdempotencyMismatch] = []

    async def call(key: str) -> None:
        try:
            outcomes.append(await gateway.authorise(charge_of(card), key))
        except IdempotencyMismatch as error:
            mismatches.append(error)

    statements: list[str] = []
    gateway._ledger._db.set_trace_callback(statements.append)
    async with trio.open_nursery() as nursery:
        with locked(path):
            for number in range(20):
                nursery.start_soon(call, used_key if number == 10 else new_key())
            await trio.testing.wait_all_tasks_blocked()
    assert len(outcomes) == 19
    assert len(mismatches) == 1
    # The first call may have gone alone; all that came while it waited were taken along together.
    assert statements.count("COMMIT") <= 2
    for outcome in outcomes:
        assert outcome.payment_ref is not None
        assert (await snapshot(gateway, outcome.payment_ref)).state is GatewayState.AUTHORISED


async def test_a_batch_that_fails_fails_for_each_of_its_calls(gateway: SandboxGateway, path: Path) -> None:
    card = await add_card(gateway)
    gateway._ledger._db.execute("PRAGMA busy_timeout = 1")
    errors: list[GatewayUnavailable] = []

    async def call() -> None:
        try:
            await gateway.authorise(charge_of(card), new_key())
        except GatewayUnavailable as error:
            errors.append(error)

    with locked(path):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(call)
    assert len({id(error) for error in errors}) == 5
    assert not any(error.effect_possible for error in errors)
    await call()
    assert len(errors) == 5


# --- the list of payments ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [PAGE_PAYMENTS - 1, PAGE_PAYMENTS, PAGE_PAYMENTS + 1])
async def test_the_list_comes_in_pages(path: Path, count: int) -> None:
    with contextlib.closing(open_gateway(path, inline=True)) as gateway:
        card = await add_card(gateway)
        made = [await gateway.authorise(charge_of(card), new_key()) for _ in range(count)]
        first = await gateway.list_payments(0)
        assert len(first.payments) == min(count, PAGE_PAYMENTS)
        listed = await list_all(gateway, since_ms=0)
        assert [payment.payment_ref for payment in listed] == [outcome.payment_ref for outcome in made]


@pytest.mark.parametrize(("since_ms", "count"), [(NOW_MS - 1, 1), (NOW_MS, 1), (NOW_MS + 1, 0)])
async def test_the_list_begins_at_its_time(gateway: SandboxGateway, since_ms: int, count: int) -> None:
    await authorise(gateway)
    assert len(await list_all(gateway, since_ms=since_ms)) == count
