"""Five stories that shops tell of payments, played by the real daemon against the judge."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from storage.schema.states import OrderState
from tests.money.books import order_of, payments_of
from tests.money.deaths import CONFIRMED, DECLINED, DECLINING, REFUNDED, sell, wait_for_states
from tests.money.shop import (
    AUTHORISE,
    CAPTURE,
    REFUND,
    Buyer,
    Shop,
    open_shop,
    placed_order,
    wait_for,
)
from tests.stripe_judge.faults import Fault

AN_ORDER_AT_MOST: Final = 8
WHOLE_ORDERS: Final = 81
PUT_OFF: Final = 9
HANGING: Final = 10


def test_650_tickets_are_paid_and_19_orders_stuck_and_all_get_their_tickets(tmp_path: Path) -> None:
    with open_shop(
        tmp_path, rows=WHOLE_ORDERS + 1, seats_each=AN_ORDER_AT_MOST, capture_retry_seconds=20
    ) as shop:
        shop.start()
        sizes = [AN_ORDER_AT_MOST] * WHOLE_ORDERS + [2]
        sure = len(sizes) - PUT_OFF - HANGING
        for size in sizes[:sure]:
            buy(shop, size)
        # The money of nineteen is taken, and no answer, no webhook tells so.
        shop.fault(CAPTURE, Fault.ERROR_AFTER, should_retry=False, times=PUT_OFF)
        for size in sizes[sure : sure + PUT_OFF]:
            buy(shop, size)
        shop.wait_for_faults()
        shop.fault(CAPTURE, Fault.TIMEOUT_AFTER, times=HANGING)
        for size in sizes[sure + PUT_OFF :]:
            buy(shop, size)
        shop.wait_for_faults()
        wait_for(lambda: stuck(shop) == PUT_OFF + HANGING, lambda: f"{stuck(shop)} are stuck")
        shop.kill()

        shop.start()
        shop.rest()
        books = shop.audit()
        assert len(books.tickets) == 650
        assert {(order.state, order.payment_state) for order in books.orders.values()} == {CONFIRMED}


def buy(shop: Shop, size: int) -> None:
    buyer = Buyer(shop)
    buyer.reserve(size)
    placed_order(buyer.pay())


def stuck(shop: Shop) -> int:
    return sum(order.state is OrderState.PENDING for order in shop.orders().values())


def test_four_clicks_on_a_slow_page_are_one_charge(tmp_path: Path) -> None:
    with open_shop(tmp_path) as shop:
        shop.start()
        for key in ("one purchase", None):
            buyer = Buyer(shop)
            hold = buyer.reserve(2)
            shop.fault(AUTHORISE, Fault.SLOW, seconds=1)
            clicks = [shop.soon(partial(buyer.pay, key)) for _ in range(4)]
            answers = [click.result() for click in clicks]
            assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
            (order_id,) = {placed_order(answer) for answer in answers if answer.status_code == 201}
            if key is not None:
                again = buyer.pay(key)
                assert placed_order(again) == order_id
            wait_for_states(shop, order_id, CONFIRMED)
            (payment,) = payments_of(shop.judge.ledger(), order_id)
            assert (payment.tries, payment.captured) == (1, payment.amount)
            assert buyer.look(order_id)["reservation_id"] == hold["reservation_id"]
        shop.rest()
        assert len(shop.judge.ledger()) == 2
        shop.audit()


def test_four_clicks_of_which_three_lose_their_answer_are_one_charge(tmp_path: Path) -> None:
    with open_shop(tmp_path) as shop:
        shop.start()
        buyer = Buyer(shop)
        buyer.reserve(2)
        shop.fault(AUTHORISE, Fault.ERROR_AFTER, should_retry=False, times=3)
        assert [buyer.pay().status_code for _ in range(4)] == [503, 503, 503, 201]
        shop.rest()
        lines = shop.judge.ledger()
        assert sorted(line.status for line in lines) == ["canceled", "canceled", "canceled", "succeeded"]
        assert sum(line.captured > 0 for line in lines) == 1
        shop.audit()


def test_a_decline_is_no_end_since_the_next_try_has_a_key_of_its_own(tmp_path: Path) -> None:
    with open_shop(tmp_path) as shop:
        shop.start()
        buyer = Buyer(shop, DECLINING)
        hold = buyer.reserve(2)
        declined = buyer.pay("the first try")
        assert declined.status_code == 402
        assert declined.json()["error"]["code"] == "PAYMENT_DECLINED"
        first = buyer.order_id()
        assert buyer.pay("the first try").content == declined.content
        assert Buyer(shop).try_seats(hold["seat_ids"]).status_code == 409

        buyer.add_card("tok_visa")
        second = placed_order(buyer.pay("the second try"))
        wait_for_states(shop, second, CONFIRMED)
        shop.rest()
        orders = shop.orders()
        assert (orders[first].state, orders[first].payment_state) == DECLINED
        keys = [call.key for call in shop.judge.calls() if call.endpoint == AUTHORISE]
        assert len(keys) == len(set(keys)) == 2
        assert [line.captured for line in payments_of(shop.judge.ledger(), first)] == [0]
        shop.audit()


def test_a_refund_cancels_no_captured_payment_and_a_cancel_refunds_once(tmp_path: Path) -> None:
    with open_shop(tmp_path) as shop:
        shop.start()
        buyer = Buyer(shop)
        buyer.reserve(2)
        order_id = sell(shop, buyer)
        shop.hang(REFUND, after=True)
        answers = [
            future.result() for future in [shop.soon(lambda: buyer.cancel(order_id)) for _ in range(4)]
        ]
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
        shop.wait_for_faults()
        shop.kill()
        shop.start()
        assert buyer.cancel(order_id).status_code == 409
        shop.rest()
        wait_for_states(shop, order_id, REFUNDED)
        (payment,) = payments_of(shop.judge.ledger(), order_id)
        assert (payment.status, payment.captured, payment.refunded) == (
            "succeeded",
            payment.amount,
            payment.amount,
        )
        assert not [call for call in shop.judge.calls() if call.path.endswith("/cancel")]
        shop.audit()


def test_the_click_that_was_cut_off_is_answered_after_the_restart(tmp_path: Path) -> None:
    """What the buyer was answered stands, whoever answers: the same key after a kill is the same order."""
    with open_shop(tmp_path) as shop:
        shop.start()
        buyer = Buyer(shop)
        buyer.reserve(2)
        shop.hang(AUTHORISE, after=True)
        lost = shop.soon(lambda: buyer.pay("the only try"))
        shop.wait_for_faults()
        shop.kill()
        assert shop.outcome(lost) is None
        shop.start()
        shop.rest()
        again = buyer.pay("the only try")
        assert order_of(again.json()["order_id"]) == buyer.order_id()
        assert len(shop.judge.ledger()) == 1
        shop.audit()
