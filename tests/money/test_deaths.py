"""``kill -9`` of the real daemon at every point between two steps of an order's money, against the judge.

One process stands at all points at once, each with an order of its own, dies, and another one goes on.
"""

from __future__ import annotations

import time
from pathlib import Path

from storage.schema.states import OrderState
from tests.money.books import UNDER_WAY
from tests.money.deaths import POINTS
from tests.money.shop import AUTHORISE, CAPTURE, REFUND, VOID, Buyer, Shop, open_shop, wait_for
from tests.stripe_judge.faults import Fault, FaultOrder

PLENTY = 1_000
ALIVE = UNDER_WAY | {OrderState.CONFIRMED}


def test_killed_at_every_point_money_and_tickets_agree_and_nobody_else_gets_the_seats(tmp_path: Path) -> None:
    with open_shop(tmp_path, capture_retry_seconds=30) as shop:
        shop.start()
        buyers = stand_everywhere(shop)
        shop.kill()
        assert_no_seat_was_given_up(shop)

        shop.start(capture_retry_seconds=1)
        thief = Buyer(shop)
        assert_nobody_else_gets_the_seats(shop, buyers, thief)
        shop.rest()
        assert_ended_as_they_should(shop, buyers)
        assert_nobody_else_gets_the_seats(shop, buyers, thief)
        shop.audit()
        assert shop.command("verify") == "nothing is wrong"


def test_each_next_life_dies_too_after_the_first_effect_of_its_kind(tmp_path: Path) -> None:
    with open_shop(tmp_path, capture_retry_seconds=30) as shop:
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


def stand_everywhere(shop: Shop) -> dict[str, Buyer]:
    """A buyer at each point, by the point's name."""
    buyers: dict[str, Buyer] = {}
    for name, point in POINTS.items():
        buyer = buyers[name] = Buyer(shop, point.token)
        buyer.reserve(2)
        point.lead(shop, buyer)
    return buyers


def assert_no_seat_was_given_up(shop: Shop) -> None:
    """While nobody is there: the store is whole, and what is under way has its seats."""
    books = shop.books()
    assert books.problems == []
    for order in books.orders.values():
        assert bool(books.live_tickets(order.order_id)) == (order.state is OrderState.CONFIRMED)


def assert_nobody_else_gets_the_seats(shop: Shop, buyers: dict[str, Buyer], thief: Buyer) -> None:
    for name, buyer in buyers.items():
        order = buyer.order()
        if order is not None and order.state in ALIVE:
            answer = thief.try_seats(buyer.hold["seat_ids"])
            assert answer.status_code in {409, 410}, (name, answer.text)


def assert_ended_as_they_should(shop: Shop, buyers: dict[str, Buyer]) -> None:
    ended = {}
    for name, buyer in buyers.items():
        order = buyer.order()
        ended[name] = None if order is None else (order.state, order.payment_state)
    assert ended == {name: point.ends for name, point in POINTS.items()}
