"""Events that come twice, late, in the wrong order, early or never: none decides alone about an order."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.schema.states import OrderState
from tests.money.deaths import (
    CHALLENGED,
    CONFIRMED,
    DECLINED,
    DECLINING,
    REFUNDED,
    VOIDED,
    Ends,
    be_challenged,
    sell,
    wait_for_states,
)
from tests.money.shop import AUTHORISE, Buyer, Shop, open_shop
from tests.stripe_judge.behaviour import Delivery


def test_a_webhook_replayed_or_early_leaves_an_unpaid_order_unpaid_and_a_paid_one_paid(
    tmp_path: Path,
) -> None:
    with open_shop(tmp_path) as shop:
        shop.judge.send_webhooks(delivery=Delivery.NORMAL)
        shop.start()
        ended = trade(shop)
        shop.rest()
        shop.wait_for_webhooks()
        before = shop.audit()
        assert len(shop.judge.deliver(order="reversed")) > len(ended)
        shop.judge.deliver(order="shuffled")
        shop.wait_for_webhooks()
        shop.rest()
        after = shop.audit()
        assert (after.orders, after.tickets, after.movements) == (
            before.orders,
            before.tickets,
            before.movements,
        )

        # The event of an authorisation whose answer is still on its way comes before there is an order to pay.
        early = Buyer(shop)
        early.reserve(2)
        shop.hang(AUTHORISE, after=True)
        shop.soon(early.pay)
        shop.wait_for_faults()
        shop.wait_for_webhooks()
        order = early.order()
        assert order is not None
        assert order.state is OrderState.INTENT
        shop.kill()
        shop.start()
        shop.rest()
        assert_ended(shop, {early: CONFIRMED} | ended)
        shop.wait_for_webhooks()
        shop.audit()


@pytest.mark.parametrize("delivery", [Delivery.TWICE, Delivery.LATE, Delivery.REVERSED, Delivery.NEVER])
def test_however_events_are_delivered_orders_end_as_they_should(tmp_path: Path, delivery: Delivery) -> None:
    with open_shop(tmp_path) as shop:
        shop.judge.send_webhooks(delivery=delivery, late_seconds=1, window_seconds=1)
        shop.start()
        ended = trade(shop)
        shop.rest()
        if delivery is not Delivery.NEVER:
            shop.wait_for_webhooks()
        shop.rest()
        assert_ended(shop, ended)
        shop.audit()


def trade(shop: Shop) -> dict[Buyer, Ends]:
    """Buyers of every sort, each with what is to come of their order."""
    ended: dict[Buyer, Ends] = {}

    def come(ends: Ends, token: str = "tok_visa") -> Buyer:
        buyer = Buyer(shop, token)
        buyer.reserve(2)
        ended[buyer] = ends
        return buyer

    sell(shop, come(CONFIRMED))
    fickle = come(REFUNDED)
    assert fickle.cancel(sell(shop, fickle)).status_code == 200
    assert come(DECLINED, DECLINING).pay().status_code == 402
    patient = come(CONFIRMED, CHALLENGED)
    order_id, page = be_challenged(patient)
    shop.judge.finish_challenge(page)
    wait_for_states(shop, order_id, CONFIRMED)
    give_up = come(VOIDED, CHALLENGED)
    order_id, _ = be_challenged(give_up)
    assert give_up.cancel(order_id).status_code == 200
    return ended


def assert_ended(shop: Shop, ended: dict[Buyer, Ends]) -> None:
    for buyer, ends in ended.items():
        order = buyer.order()
        assert order is not None
        assert (order.state, order.payment_state) == ends
