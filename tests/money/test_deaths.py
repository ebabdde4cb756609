"""``kill -9`` of the real daemon at every point between two steps of an order's money, against the judge.

One process stands at all points at once, each with an order of its own, dies, and another one goes on.
"""

from __future__ import annotations

from pathlib import Path

from storage.schema.states import DisputeState, OrderState
from tests.money.books import UNDER_WAY, payments_of
from tests.money.deaths import CONFIRMED, POINTS, wait_for_states
from tests.money.shop import CAPTURE, Buyer, Shop, open_shop, placed_order, wait_for
from tests.stripe_judge.faults import Fault

PLENTY = 1_000
ALIVE = UNDER_WAY | {OrderState.CONFIRMED}


def test_killed_at_every_point_money_and_tickets_agree_and_nobody_else_gets_the_seats(tmp_path: Path) -> None:
    with open_shop(tmp_path, timeout_seconds=240, capture_retry_seconds=20) as shop:
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
        assert shop.command("reconcile").endswith(", 0 under way, 0 differ")


def test_what_was_answered_is_in_the_store_of_a_daemon_that_dies_at_once(tmp_path: Path) -> None:
    with open_shop(tmp_path) as shop:
        shop.start()
        buyer = Buyer(shop)
        buyer.reserve(2)
        shop.fault(CAPTURE, Fault.RATE_LIMIT, times=PLENTY, should_retry=False)
        order_id = placed_order(buyer.pay())
        shop.kill()
        assert shop.orders()[order_id].state is OrderState.PENDING
        shop.judge.forget_faults()
        shop.start()
        wait_for_states(shop, order_id, CONFIRMED)
        assert buyer.cancel(order_id).status_code == 200
        shop.kill()
        assert shop.orders()[order_id].state is OrderState.CANCELLED
        shop.start()
        shop.rest()
        shop.audit()


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
    wait_for(lambda: disputes_of(buyers) == {name: point.dispute for name, point in POINTS.items()})
    ended = {}
    for name, buyer in buyers.items():
        order = buyer.order()
        ended[name] = None if order is None else (order.state, order.payment_state)
    assert ended == {name: point.ends for name, point in POINTS.items()}
    lines = shop.judge.ledger()
    for name, point in POINTS.items():
        if point.ends == CONFIRMED:
            (payment,) = payments_of(lines, buyers[name].order_id())
            assert payment.captured == payment.amount, name
            assert payment.refunded == (payment.amount // 2 if point.gives_back_half else 0), name


def disputes_of(buyers: dict[str, Buyer]) -> dict[str, DisputeState | None]:
    """What the newest order of each buyer says of a dispute."""
    orders = {name: buyer.order() for name, buyer in buyers.items()}
    return {name: None if order is None else order.dispute for name, order in orders.items()}
