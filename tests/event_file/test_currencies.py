"""The currencies of ISO 4217."""

from __future__ import annotations

import pytest

from ticketd.event_file.currencies import EXPONENTS, decimal_text


def test_the_list_is_whole() -> None:
    by_exponent = {
        exponent: sum(1 for found in EXPONENTS.values() if found == exponent)
        for exponent in set(EXPONENTS.values())
    }
    assert by_exponent == {0: 17, 2: 139, 3: 7, 4: 2}
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in EXPONENTS)


@pytest.mark.parametrize(
    ("code", "exponent"), [("USD", 2), ("EUR", 2), ("JPY", 0), ("BHD", 3), ("CLF", 4), ("XCG", 2)]
)
def test_decimals(code: str, exponent: int) -> None:
    assert EXPONENTS[code] == exponent


@pytest.mark.parametrize("code", ["XXX", "XTS", "XAU", "DEM", "HRK", "BGN", "ANG"])
def test_what_is_no_active_currency_is_not_there(code: str) -> None:
    assert code not in EXPONENTS


@pytest.mark.parametrize(
    ("minor", "code", "text"),
    [
        (50_000, "USD", "500.00"),
        (5, "USD", "0.05"),
        (0, "USD", "0.00"),
        (9_800, "JPY", "9800"),
        (1_005, "BHD", "1.005"),
    ],
)
def test_amounts_are_written_with_the_currencys_decimals(minor: int, code: str, text: str) -> None:
    assert decimal_text(minor, code) == text
