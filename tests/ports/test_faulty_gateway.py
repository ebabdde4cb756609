"""The test double itself: it keeps the contract while nothing is ordered, and fails exactly where it is told to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from tests.ports.charges import add_card, charge_of, new_key
from tests.ports.faulty_gateway import FaultyGateway, When
from tests.ports.payment_contract import PaymentContract
from ticketd.ports.payments import Authorised, GatewayState, GatewayUnavailable
from ticketd.ports.sandbox_payments import SandboxGateway


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[FaultyGateway]:
    sandbox = SandboxGateway(
        tmp_path / "sandbox-payments.sqlite", now_ms=lambda: 0, public_url="", inline=True
    )
    with closing(sandbox):
        yield FaultyGateway(sandbox)


class TestFaultyContract(PaymentContract):
    """With nothing ordered."""


async def test_before_the_effect_nothing_was_done(gateway: FaultyGateway) -> None:
    charge, key = charge_of(await add_card(gateway)), new_key()
    gateway.fail("authorise", times=2)
    for _ in range(2):
        with pytest.raises(GatewayUnavailable) as caught:
            await gateway.authorise(charge, key)
        assert caught.value.effect_possible is False
        assert await gateway.find_by_order(charge.order_id) is None
    assert isinstance(await gateway.authorise(charge, key), Authorised)
    assert gateway.keys_of("authorise") == [key] * 3


async def test_after_the_effect_only_the_answer_is_lost(gateway: FaultyGateway) -> None:
    charge, key = charge_of(await add_card(gateway)), new_key()
    gateway.fail("authorise", When.AFTER_EFFECT)
    with pytest.raises(GatewayUnavailable) as caught:
        await gateway.authorise(charge, key)
    assert caught.value.effect_possible is True
    found = await gateway.find_by_order(charge.order_id)
    assert found is not None
    assert found.state is GatewayState.AUTHORISED
    assert await gateway.authorise(charge, key) == Authorised(found.payment_ref)


async def test_a_call_waits_where_it_was_told_to(gateway: FaultyGateway) -> None:
    charge = charge_of(await add_card(gateway))
    before, after = gateway.pause("authorise"), gateway.pause("authorise", When.AFTER_EFFECT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gateway.authorise, charge, new_key())
        await before.reached.wait()
        assert await gateway.find_by_order(charge.order_id) is None
        before.resume.set()
        await after.reached.wait()
        assert await gateway.find_by_order(charge.order_id) is not None
        after.resume.set()


def test_an_unknown_operation_is_a_mistake_in_the_test(gateway: FaultyGateway) -> None:
    with pytest.raises(AttributeError, match="authorize"):
        gateway.fail("authorize")
