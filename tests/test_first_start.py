"""The first start on a store: its keys, and the ledger of orders that an older release left."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from storage.schema.layout import LEDGER_SINCE, ORDERS, SIGNING_KEYS, SYSTEM
from storage.verify import verify_store
from tests.domain.inventory_stage import EVENT_ID, OPENS_MS, order_id
from tests.domain.order_stage import OrderStage, orders
from tests.domain.test_ledger import make_old
from tests.support.daemon import START_MS, open_daemon
from ticketd import first_start
from ticketd.domain.keys import SIGNING_KEY_KINDS
from ticketd.domain.ledger import list_movements
from ticketd.first_start import prepare_store

DAY_MS = 86_400_000
SEATS = ("Floor/A/1", "Floor/A/2", "Floor/A/3")


async def test_a_new_store_has_keys_and_a_ledger_from_the_start(tmp_path: Path) -> None:
    async with open_daemon(tmp_path) as daemon:
        with daemon.services.engine.snapshot(SYSTEM) as view:
            since_ms = LEDGER_SINCE.get(view, SYSTEM)
            keys = [key for _, key in SIGNING_KEYS.scan(view, SYSTEM)]
        assert since_ms is not None
        assert len(keys) == len(SIGNING_KEY_KINDS)
        await prepare_store(daemon.services.engine, START_MS + DAY_MS, "sandbox")
        with daemon.services.engine.snapshot(SYSTEM) as view:
            assert LEDGER_SINCE.get(view, SYSTEM) == since_ms
            assert [key for _, key in SIGNING_KEYS.scan(view, SYSTEM)] == keys


async def sell(stage: OrderStage, count: int) -> None:
    """So many orders as a release without a ledger would have left them."""
    for number in range(1, count + 1):
        await stage.intent(SEATS[number - 1], user=number, order=number)
        await stage.take("authorised", number, number)
        await stage.take("confirmed", number, number)
    await stage.decide(1, partial(make_old, stage=stage, orders=range(1, count + 1)))


def derived(stage: OrderStage) -> list[int | None]:
    """How many movements each order counts."""
    found = stage.read(lambda reader: [order for _, order in ORDERS.scan(reader, stage.partition)])
    return [order.movements for order in found]


def since(stage: OrderStage) -> int | None:
    with stage.engine.snapshot(SYSTEM) as view:
        return LEDGER_SINCE.get(view, SYSTEM)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
async def test_the_ledger_of_older_orders_is_derived_once(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_start, "ORDERS_A_COMMIT", 2)
    async with orders(tmp_path) as stage:
        await sell(stage, count)
        assert derived(stage) == [None] * count
        before = stage.engine.counters.committed
        await prepare_store(stage.engine, OPENS_MS, "stripe")
        keys_and_mark = 2
        assert stage.engine.counters.committed - before == keys_and_mark + (count + 1) // 2
        assert derived(stage) == [2] * count
        assert since(stage) == OPENS_MS
        for number in range(1, count + 1):
            told = stage.read(partial(list_movements, event_id=EVENT_ID, order_id=order_id(number)))
            assert {movement.gateway for movement in told} == {"stripe"}
        with stage.engine.snapshot() as view:
            assert [str(problem) for problem in verify_store(view) if "ledger" in problem.invariant] == []


async def test_a_start_that_was_broken_off_is_gone_on_with(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await sell(stage, 3)
        await first_start._derive_some(stage.engine, EVENT_ID, [order_id(2)], "sandbox")
        assert sorted(derived(stage), key=str) == [2, None, None]
        assert since(stage) is None
        await prepare_store(stage.engine, OPENS_MS, "sandbox")
        assert derived(stage) == [2, 2, 2]


async def test_a_store_that_has_its_ledger_is_not_walked_again(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await prepare_store(stage.engine, OPENS_MS, "sandbox")
        await sell(stage, 1)
        await prepare_store(stage.engine, OPENS_MS, "sandbox")
        assert derived(stage) == [None]
