from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from msgspec.structs import replace
from trio.testing import MockClock

from storage.schema.records import OrderRecord
from storage.schema.states import OrderState, PaymentState
from tests.domain.inventory_stage import order_id, user_id
from tests.domain.order_stage import BILLING, card_id
from tests.ports.charges import add_card
from tests.ports.faulty_gateway import FaultyGateway, When
from ticketd.domain.ledger import FREE_REF
from ticketd.ports.payments import (
    ActionRequired,
    Authorised,
    AuthoriseOutcome,
    Captured,
    Declined,
    GatewayState,
    GatewayUnavailable,
    Refunded,
    Voided,
)
from ticketd.ports.sandbox_payments import SandboxGateway
from ticketd.tasks.gateway_calls import CALLS_AT_ONCE, KEYS_KEPT_MS, GatewayCalls, payment_ref_of

TIMEOUT_SECONDS = 20
NOW_MS = 1_800_000_000_000


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[FaultyGateway]:
    sandbox = SandboxGateway(
        tmp_path / "sandbox.sqlite", now_ms=lambda: NOW_MS, public_url="http://t.test", inline=True
    )
    with contextlib.closing(sandbox):
        yield FaultyGateway(sandbox)


async def new_order(gateway: FaultyGateway, total_minor: int = 62_000) -> OrderRecord:
    return OrderRecord(
        order_id=order_id(1),
        user_id=user_id(1),
        reservation_id=order_id(2),  # type: ignore[arg-type]  # any UUID
        entry_id=order_id(3),  # type: ignore[arg-type]  # any UUID
        state=OrderState.INTENT,
        payment_state=PaymentState.STARTED,
        seats=(),
        subtotal_minor=total_minor,
        fees_minor=0,
        taxes_minor=0,
        total_minor=total_minor,
        currency="USD",
        delivery_method="MOBILE",
        billing_address=BILLING,
        payment_method_id=card_id(1),
        method_ref=await add_card(gateway),
        return_url="http://t.test/back",
        created_at_ms=1,
    )


async def authorised(calls: GatewayCalls, order: OrderRecord) -> OrderRecord:
    outcome = await calls.authorise(order)
    assert isinstance(outcome, Authorised)
    return replace(order, payment_ref=outcome.payment_ref)


async def test_each_call_has_the_orders_amounts_and_a_key_of_its_own(gateway: FaultyGateway) -> None:
    calls = GatewayCalls(gateway, TIMEOUT_SECONDS, lambda: NOW_MS)
    order = await authorised(calls, await new_order(gateway))
    payment = await calls.fetch(order)
    assert payment is not None
    assert (payment.state, payment.amount_minor, payment.order_id) == (
        GatewayState.AUTHORISED,
        62_000,
        order_id(1),
    )
    assert await calls.capture(order) == Captured(62_000)
    owing = replace(order, refund_minor=54_500)
    refunded = await calls.refund(owing, 0)
    assert isinstance(refunded, Refunded)
    assert refunded.amount_minor == 54_500
    keys = [call.idempotency_key for call in gateway.calls[1:]]
    name = order_id(1)
    assert keys == [f"{name}:authorise", None, f"{name}:capture", f"{name}:refund"]


async def test_a_call_made_again_moves_nothing_again(gateway: FaultyGateway) -> None:
    calls = GatewayCalls(gateway, TIMEOUT_SECONDS, lambda: NOW_MS)
    order = await authorised(calls, await new_order(gateway))
    assert await authorised(calls, order) == order
    assert await calls.capture(order) == await calls.capture(order)
    owing = replace(order, refund_minor=62_000)
    assert await calls.refund(owing, 0) == await calls.refund(owing, 0)
    payment = await calls.fetch(order)
    assert payment is not None
    assert (payment.captured_minor, payment.refunded_minor) == (62_000, 62_000)


@pytest.mark.parametrize(("age_ms", "asked"), [(KEYS_KEPT_MS - 1, True), (KEYS_KEPT_MS, False)])
async def test_an_order_that_outlives_its_key_is_looked_for(
    gateway: FaultyGateway, age_ms: int, asked: bool
) -> None:
    calls = GatewayCalls(gateway, TIMEOUT_SECONDS, lambda: 1 + age_ms)
    order = await authorised(calls, await new_order(gateway))
    assert await calls.authorise_again(order) == Authorised(payment_ref_of(order))
    assert len(gateway.keys_of("authorise")) == 1 + asked
    assert len(gateway.keys_of("find_by_order")) == 1 - asked


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("tok_visa", Authorised),
        ("tok_chargeDeclined", Declined),
        ("tok_threeDSecure2Required", ActionRequired),
    ],
)
async def test_what_is_found_is_what_was_answered(
    gateway: FaultyGateway, token: str, kind: type[AuthoriseOutcome]
) -> None:
    calls = GatewayCalls(gateway, TIMEOUT_SECONDS, lambda: NOW_MS)
    order = replace(await new_order(gateway), method_ref=await add_card(gateway, token))
    assert isinstance(await calls.authorise_again(order), Declined), "nothing was asked for"
    answered = await calls.authorise(order)
    assert isinstance(answered, kind)
    assert await calls.authorise_again(order) == answered
    assert len(gateway.keys_of("authorise")) == 1


async def test_an_old_order_over_nothing_is_not_looked_for(gateway: FaultyGateway) -> None:
    calls = GatewayCalls(gateway, TIMEOUT_SECONDS, lambda: NOW_MS)
    assert await calls.authorise_again(await new_order(gateway, total_minor=0)) == Authorised(FREE_REF)
    assert gateway.keys_of("find_by_order") == []


async def test_what_went_back_already_is_not_asked_for_again(gateway: FaultyGateway) -> None:
    calls = GatewayCalls(gateway, TIMEOUT_SECONDS, lambda: NOW_MS)
    order = replace(await authorised(calls, await new_order(gateway)), refund_minor=62_000)
    await calls.capture(order)
    assert order.payment_ref is not None
    await gateway.refund(order.payment_ref, 2_000, "by hand")
    refunded = await calls.refund(order, 2_000)
    assert isinstance(refunded, Refunded)
    assert refunded.amount_minor == 60_000
    assert gateway.keys_of("refund")[-1] == f"{order_id(1)}:refund:2000"


async def test_a_void(gateway: FaultyGateway) -> None:
    calls = GatewayCalls(gateway, TIMEOUT_SECONDS, lambda: NOW_MS)
    order = await authorised(calls, await new_order(gateway))
    assert await calls.void(order) == Voided()
    assert gateway.keys_of("void") == [f"{order_id(1)}:void"]


async def test_nothing_is_asked_for_an_order_over_nothing(gateway: FaultyGateway) -> None:
    calls = GatewayCalls(gateway, TIMEOUT_SECONDS, lambda: NOW_MS)
    assert await calls.authorise(await new_order(gateway, total_minor=0)) == Authorised(FREE_REF)
    assert gateway.keys_of("authorise") == []


async def test_an_order_without_a_payment_is_a_fault(gateway: FaultyGateway) -> None:
    with pytest.raises(LookupError, match="no payment"):
        payment_ref_of(await new_order(gateway))


async def test_a_call_has_its_time_and_no_more(autojump_clock: MockClock, gateway: FaultyGateway) -> None:
    calls = GatewayCalls(gateway, TIMEOUT_SECONDS, lambda: NOW_MS)
    began = trio.current_time()
    gateway.pause("authorise", When.AFTER_EFFECT)
    with pytest.raises(GatewayUnavailable) as caught:
        await calls.authorise(await new_order(gateway))
    assert caught.value.effect_possible
    assert trio.current_time() - began == TIMEOUT_SECONDS


@pytest.mark.parametrize("others", [CALLS_AT_ONCE - 1, CALLS_AT_ONCE])
async def test_a_call_beyond_the_most_at_once_waits_for_its_turn(
    autojump_clock: MockClock, gateway: FaultyGateway, others: int
) -> None:
    calls = GatewayCalls(gateway, TIMEOUT_SECONDS, lambda: NOW_MS)
    order = await new_order(gateway)
    under_way = 0
    go_on = trio.Event()

    async def occupy() -> None:
        nonlocal under_way
        under_way += 1
        await go_on.wait()
        under_way -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(others):
            nursery.start_soon(calls.call, occupy)
        await trio.testing.wait_all_tasks_blocked()
        assert under_way == others
        nursery.start_soon(calls.authorise, order)
        await trio.testing.wait_all_tasks_blocked()
        assert len(gateway.keys_of("authorise")) == (1 if others < CALLS_AT_ONCE else 0)
        go_on.set()
        await trio.testing.wait_all_tasks_blocked()
        assert len(gateway.keys_of("authorise")) == 1
    assert under_way == 0


async def test_a_call_that_never_got_its_turn_did_nothing(
    autojump_clock: MockClock, gateway: FaultyGateway
) -> None:
    calls = GatewayCalls(gateway, TIMEOUT_SECONDS, lambda: NOW_MS)

    async def occupy() -> None:
        await trio.sleep(TIMEOUT_SECONDS - 1)

    order = await new_order(gateway)
    async with trio.open_nursery() as nursery:
        for _ in range(2 * CALLS_AT_ONCE):
            nursery.start_soon(calls.call, occupy)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(GatewayUnavailable) as caught:
            await calls.authorise(order)
        assert not caught.value.effect_possible
        assert gateway.keys_of("authorise") == []
        nursery.cancel_scope.cancel()
