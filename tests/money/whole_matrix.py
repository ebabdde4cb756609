"""The long form of the matrix of faults: every call, every fault, once, three times in a row, and told to be final.

It is not collected with the other tests: ``scripts/money-matrix`` runs it.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from storage.schema.states import DisputeState, OrderState
from tests.money.deaths import CONFIRMED, POINTS, REFUNDED, VOIDED
from tests.money.faults import CALLS, KINDS, cells, hold_together
from tests.money.shop import AUTHORISE, CAPTURE, REFUND, VOID, Buyer, Shop, open_shop, wait_for
from tests.money.test_deaths import (
    PLENTY,
    assert_ended_as_they_should,
    assert_no_seat_was_given_up,
    stand_everywhere,
)
from tests.money.test_ends import order_states
from tests.stripe_judge.faults import Fault, FaultOrder


@pytest.mark.parametrize("endpoint", CALLS)
def test_whatever_befalls_a_call_its_order_comes_to_rest(tmp_path: Path, endpoint: str) -> None:
    with open_shop(tmp_path, timeout_seconds=2, capture_retry_seconds=4) as shop:
        shop.start()
        hold_together(shop, (cell for cell in cells(KINDS, whole=True) if cell.endpoint == endpoint))


def test_each_next_life_dies_too_after_the_first_effect_of_its_kind(tmp_path: Path) -> None:
    with open_shop(tmp_path, timeout_seconds=240, capture_retry_seconds=20) as shop:
        shop.start()
        buyers = stand_everywhere(shop)
        shop.kill()
        for endpoint in (AUTHORISE, CAPTURE, REFUND, VOID):
            shop.fault(endpoint, Fault.TIMEOUT_AFTER, times=PLENTY)
            shop.start()
            wait_until_all_hang(shop)
            shop.kill()
            shop.judge.forget_faults()
            assert_no_seat_was_given_up(shop)
        shop.start(capture_retry_seconds=1)
        shop.rest()
        assert_ended_as_they_should(shop, buyers)
        shop.audit()


def test_a_buyer_who_cancels_where_the_daemon_dies_has_all_back_or_all_tickets(tmp_path: Path) -> None:
    """At each point the buyer cancels before the daemon dies, and whoever is left cancels after the next start."""
    with open_shop(tmp_path, timeout_seconds=240, capture_retry_seconds=20) as shop:
        shop.start()
        buyers: dict[str, Buyer] = {}
        cancelled: set[str] = set()
        for name, point in POINTS.items():
            buyers[name] = buyer = Buyer(shop, point.token)
            buyer.reserve(2)
            point.lead(shop, buyer)
            if point.dispute is DisputeState.OPEN or (order := buyer.order()) is None:
                # A refund that meets an open dispute waits for its end.
                continue
            if buyer.cancel(order.order_id).status_code == 200:
                cancelled.add(name)
        shop.kill()
        assert shop.books().problems == []

        shop.start(capture_retry_seconds=1)
        shop.rest()
        for name, point in POINTS.items():
            ends = {REFUNDED, VOIDED} if name in cancelled else {point.ends}
            assert order_states(buyers[name]) in ends, name
        shop.audit()
        for name, buyer in buyers.items():
            if order_states(buyer) == CONFIRMED and POINTS[name].dispute is not DisputeState.OPEN:
                assert buyer.cancel(buyer.order_id()).status_code == 200, name
        shop.rest()
        books = shop.audit()
        left = {order.dispute for order in books.orders.values() if order.state is OrderState.CONFIRMED}
        assert left <= {DisputeState.OPEN}


def wait_until_all_hang(shop: Shop) -> None:
    """Until every order that is due waits for an answer that will not come."""

    def hanging() -> int:
        (left,) = shop.judge.ask("GET", "faults", list[FaultOrder])
        return PLENTY - left.times

    def due() -> int:
        now_ms = time.time() * 1000
        return sum(
            order.due_at_ms is not None and (order.due_at_ms <= now_ms or order.state is OrderState.INTENT)
            for order in shop.orders().values()
        )

    wait_for(lambda: due() <= hanging(), lambda: f"{due()} are due, and {hanging()} hang")
