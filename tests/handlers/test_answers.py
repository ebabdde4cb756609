from __future__ import annotations

import json
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.answers import answer, encode_json, money, no_content, optional_time, time_text
from ticketd.event_file.currencies import EXPONENTS


@pytest.mark.parametrize(
    ("amount_minor", "currency", "text"),
    [
        (150_000, "USD", "1500.00"),
        (0, "USD", "0.00"),
        (1, "EUR", "0.01"),
        (10, "EUR", "0.10"),
        (99_999_999_999_999, "USD", "999999999999.99"),
        (1500, "JPY", "1500"),
        (0, "JPY", "0"),
        (1_234_567, "KWD", "1234.567"),
        (100, "KWD", "0.100"),
    ],
)
def test_money_has_the_decimals_of_its_currency(amount_minor: int, currency: str, text: str) -> None:
    assert encode_json({"total": money(amount_minor, currency)}) == f'{{"total":{text}}}'.encode()


@given(st.integers(0, 10**15), st.sampled_from(sorted(EXPONENTS)))
def test_money_is_never_rounded_nor_written_with_an_exponent(amount_minor: int, currency: str) -> None:
    raw = encode_json(money(amount_minor, currency)).decode()
    assert re.fullmatch(r"\d+(\.\d+)?", raw)
    assert len(raw.partition(".")[2]) == EXPONENTS[currency]
    assert Decimal(raw).scaleb(EXPONENTS[currency]) == amount_minor
    assert isinstance(json.loads(raw), int | float)


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (999, "1970-01-01T00:00:00Z"),
        (1000, "1970-01-01T00:00:01Z"),
        (1_784_000_000_999, "2026-07-14T03:33:20Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59Z"),
    ],
)
def test_times_are_utc_in_whole_seconds(at_ms: int, text: str) -> None:
    assert time_text(at_ms) == optional_time(at_ms) == text


def test_no_time_is_null() -> None:
    assert optional_time(None) is None


def test_answers() -> None:
    found = answer({"a": 1}, status=201, headers=(("Location", "/a"),))
    assert (found.status, found.body, found.content_type) == (201, b'{"a":1}', "application/json")
    assert found.headers == (("Location", "/a"),)
    assert (no_content().status, no_content().body, no_content().content_type) == (204, b"", "")
