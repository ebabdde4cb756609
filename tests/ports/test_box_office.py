from __future__ import annotations

from uuid import UUID

import pytest

from storage.schema.ids import OrderId, UserId
from ticketd.ports.box_office import BoxOfficeGateway
from ticketd.ports.payments import Charge, GatewayUnavailable, MethodRefused, MethodRequest, PaymentGateway

GATEWAY: PaymentGateway = BoxOfficeGateway()
ORDER_ID = OrderId(UUID(int=1))


async def test_it_takes_no_card() -> None:
    request = MethodRequest(card_token="tok_visa", user_id=UserId(UUID(int=2)), customer_ref=None)
    assert isinstance(await GATEWAY.describe_method(request, "key"), MethodRefused)


async def test_it_has_no_payments_of_its_own() -> None:
    page = await GATEWAY.list_payments(0)
    assert (page.payments, page.next_cursor) == ((), None)


async def test_it_says_nothing_of_the_payments_of_another_gateway() -> None:
    charge = Charge(
        order_id=ORDER_ID,
        amount_minor=1,
        currency="USD",
        method_ref="a card",
        description="an order",
        return_url="http://shop.test",
    )
    for call in (
        GATEWAY.forget_method("a card"),
        GATEWAY.authorise(charge, "key"),
        GATEWAY.capture("a payment", 1, "key"),
        GATEWAY.void("a payment", "key"),
        GATEWAY.refund("a payment", 1, "key"),
        GATEWAY.fetch("a payment"),
        GATEWAY.find_by_order(ORDER_ID),
        GATEWAY.list_refunds("a payment"),
    ):
        with pytest.raises(GatewayUnavailable) as caught:
            await call
        assert caught.value.effect_possible
