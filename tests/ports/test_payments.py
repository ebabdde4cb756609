"""The forms of the payment port."""

from __future__ import annotations

import pytest

from tests.ports.charges import charge_of, new_order
from ticketd.ports.payments import Charge, GatewayUnavailable, check_amount, check_key


@pytest.mark.parametrize("amount_minor", [0, -1])
def test_a_charge_asks_for_something(amount_minor: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        charge_of("pm_1", amount_minor=amount_minor)
    assert charge_of("pm_1", amount_minor=1).amount_minor == 1


@pytest.mark.parametrize("currency", ["", "US", "USDX", "usd", "Usd", "1.0", "ÄÖÜ"])
def test_a_currency_is_three_capital_letters(currency: str) -> None:
    with pytest.raises(ValueError, match="currency"):
        Charge(
            order_id=new_order(),
            amount_minor=1,
            currency=currency,
            method_ref="pm_1",
            description="",
            return_url="",
        )


@pytest.mark.parametrize("field", ["method_ref", "description", "return_url"])
def test_a_charge_can_be_sent(field: str) -> None:
    texts = {"method_ref": "pm_1", "description": "Zoë", "return_url": "https://x.example/"}
    Charge(order_id=new_order(), amount_minor=1, currency="USD", **texts)
    with pytest.raises(UnicodeEncodeError):
        Charge(order_id=new_order(), amount_minor=1, currency="USD", **(texts | {field: "\udcff"}))


def test_a_key_is_what_a_header_can_carry() -> None:
    assert check_key("k" * 255) == "k" * 255
    assert check_key("order:1 capture") == "order:1 capture"
    for key in ("", "k" * 256, "k\r\n", "é", "\x7f"):
        with pytest.raises(ValueError, match="idempotency key"):
            check_key(key)


def test_an_amount_is_at_least_one() -> None:
    assert check_amount(1) == 1
    with pytest.raises(ValueError, match="at least 1"):
        check_amount(0)


@pytest.mark.parametrize("effect_possible", [True, False])
def test_unavailable_says_whether_money_may_have_moved(effect_possible: bool) -> None:
    error = GatewayUnavailable("timed out", effect_possible=effect_possible)
    assert error.effect_possible is effect_possible
    assert str(error) == "timed out"
