"""What can be charged in which currency: at, below and above each bound."""

from __future__ import annotations

import pytest

from tests.stripe_judge.currencies import LARGEST_MINOR, SMALLEST_MINOR, check_charge
from tests.stripe_judge.refusals import Refusal


@pytest.mark.parametrize(("currency", "smallest"), sorted(SMALLEST_MINOR.items()))
def test_the_smallest_amount(currency: str, smallest: int) -> None:
    assert check_charge(smallest, currency.upper()) == currency
    assert check_charge(smallest + 1, currency) == currency
    with pytest.raises(Refusal) as refused:
        check_charge(smallest - 1, currency)
    assert (refused.value.status, refused.value.error["code"]) == (400, "amount_too_small")


@pytest.mark.parametrize("currency", ["usd", "jpy"])
def test_the_largest_amount(currency: str) -> None:
    assert check_charge(LARGEST_MINOR - 1, currency) == currency
    assert check_charge(LARGEST_MINOR, currency) == currency
    with pytest.raises(Refusal) as refused:
        check_charge(LARGEST_MINOR + 1, currency)
    assert (refused.value.status, refused.value.error["code"]) == (400, "amount_too_large")


def test_a_yen_is_no_hundredth() -> None:
    assert check_charge(50, "jpy") == "jpy"
    with pytest.raises(Refusal, match="at least 50 jpy"):
        check_charge(49, "jpy")


@pytest.mark.parametrize(("currency", "step"), [("kwd", 10), ("isk", 100)])
def test_amounts_that_end_in_noughts(currency: str, step: int) -> None:
    assert check_charge(5 * step, currency) == currency
    for amount in (5 * step - 1, 5 * step + 1):
        with pytest.raises(Refusal, match="divisible"):
            check_charge(amount, currency)


@pytest.mark.parametrize("currency", ["xxx", "us", "dollar", "u$d"])
def test_no_such_currency(currency: str) -> None:
    with pytest.raises(Refusal, match="Invalid currency") as refused:
        check_charge(1000, currency)
    assert refused.value.error["param"] == "currency"
