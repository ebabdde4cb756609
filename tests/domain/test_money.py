from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticketd.domain.money import amounts_of, taxes_minor


@pytest.mark.parametrize(
    ("subtotal_minor", "rate_ppm", "wanted"),
    [
        (150_000, 90_000, 13_500),
        (0, 90_000, 0),
        (150_000, 0, 0),
        (1, 500_000, 1),  # exactly half: up
        (1, 499_999, 0),
        (1, 500_001, 1),
        (3, 500_000, 2),
        (10, 1_000_000, 10),
    ],
)
def test_taxes_are_rounded_half_up(subtotal_minor: int, rate_ppm: int, wanted: int) -> None:
    assert taxes_minor(subtotal_minor, rate_ppm) == wanted


@given(st.integers(0, 10**15), st.integers(0, 1_000_000))
def test_taxes_are_never_off_by_more_than_half(subtotal_minor: int, rate_ppm: int) -> None:
    exact = Fraction(subtotal_minor * rate_ppm, 1_000_000)
    assert -Fraction(1, 2) < taxes_minor(subtotal_minor, rate_ppm) - exact <= Fraction(1, 2)


def test_three_seats_at_500_with_fees_of_75_and_9_percent() -> None:
    amounts = amounts_of([(50_000, 7_500)] * 3, 90_000)
    assert (amounts.subtotal_minor, amounts.fees_minor, amounts.taxes_minor) == (150_000, 22_500, 13_500)
    assert amounts.total_minor == 186_000


def test_taxes_are_rounded_once_for_all_seats_and_not_for_each() -> None:
    assert amounts_of([(5, 0)] * 2, 100_000).taxes_minor == 1
    assert amounts_of([(5, 99)], 100_000).taxes_minor == 1


def test_nothing_costs_nothing() -> None:
    assert amounts_of([], 90_000).total_minor == 0
