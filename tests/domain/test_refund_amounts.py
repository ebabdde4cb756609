"""Whose money is whose: all tickets refunded one by one, in any order, give back exactly the total."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ticketd.domain.money import taxes_minor
from ticketd.domain.refund_amounts import SeatMoney, share_money

PRICES = st.lists(st.tuples(st.integers(0, 100_000_00), st.integers(0, 10_000_00)), min_size=1, max_size=30)
RATES = st.integers(0, 1_000_000)


@given(PRICES, RATES)
def test_all_shares_are_the_total_exactly(prices: list[tuple[int, int]], rate_ppm: int) -> None:
    subtotal, fees = sum(price for price, _ in prices), sum(fee for _, fee in prices)
    taxes = taxes_minor(subtotal, rate_ppm)
    shares = share_money(prices, taxes)
    assert sum(share.refund_minor(with_fees=True) for share in shares) == subtotal + fees + taxes
    assert sum(share.refund_minor(with_fees=False) for share in shares) == subtotal + taxes
    assert all(share.taxes_minor >= 0 for share in shares)


@given(PRICES, RATES)
def test_a_share_of_the_taxes_is_within_one_minor_unit_of_what_its_price_is_of_the_whole(
    prices: list[tuple[int, int]], rate_ppm: int
) -> None:
    subtotal = sum(price for price, _ in prices)
    taxes = taxes_minor(subtotal, rate_ppm)
    for (price, _), share in zip(prices, share_money(prices, taxes), strict=True):
        if subtotal:
            assert abs(share.taxes_minor * subtotal - taxes * price) < subtotal
        else:
            assert share.taxes_minor == 0


def test_shares_that_do_not_come_out_even() -> None:
    assert [share.taxes_minor for share in share_money([(100, 0)] * 3, 10)] == [3, 3, 4]
    assert share_money([(0, 5), (100, 7)], 9) == [
        SeatMoney(price_minor=0, fees_minor=5, taxes_minor=0),
        SeatMoney(price_minor=100, fees_minor=7, taxes_minor=9),
    ]
