"""Single values: what they become. What is refused stands in the bad files."""

from __future__ import annotations

import zoneinfo

import pytest

from ticketd.event_file import values
from ticketd.event_file.values import Unreadable, amount_minor, read_tax_rate_ppm, read_time_ms, read_timezone


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.001Z", 1),
        ("1970-01-01T00:00:00.0019Z", 1),
        ("1970-01-01T00:00:00.5Z", 500),
        ("1970-01-01t00:00:00.123456789z", 123),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1969-12-31T18:30:00-05:30", 0),
        ("1970-01-01T00:00:00-00:00", 0),
        ("1970-01-01T23:59:00+23:59", 0),
        ("2027-08-15T19:00:00Z", 1_818_356_400_000),
        ("2028-02-29T12:00:00+01:00", 1_835_434_800_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ],
)
def test_times_are_milliseconds_utc(text: str, at_ms: int) -> None:
    assert read_time_ms(text) == at_ms


@pytest.mark.parametrize(
    ("currency", "text", "minor"),
    [
        ("USD", "500.00", 50_000),
        ("USD", "500", 50_000),
        ("USD", "500.5", 50_050),
        ("USD", "0.01", 1),
        ("USD", "0", 0),
        ("USD", "10000000000", 10**12),
        ("JPY", "9800", 9_800),
        ("JPY", "1000000000000", 10**12),
        ("BHD", "1.005", 1_005),
        ("CLF", "1.0005", 10_005),
    ],
)
def test_amounts_are_minor_units_of_the_currency(currency: str, text: str, minor: int) -> None:
    assert amount_minor(currency)(text) == minor


@pytest.mark.parametrize(
    ("currency", "text"),
    [
        ("JPY", "9800.0"),
        ("JPY", "1000000000001"),
        ("USD", "1.005"),
        ("BHD", "1.0005"),
        ("BHD", "1000000000.001"),
        ("CLF", "1.00005"),
    ],
)
def test_amounts_have_no_more_decimals_than_the_currency_and_an_end(currency: str, text: str) -> None:
    with pytest.raises(Unreadable):
        amount_minor(currency)(text)


@pytest.mark.parametrize(
    ("text", "ppm"), [("0", 0), ("0.09", 90_000), ("0.081", 81_000), ("0.000001", 1), ("1", 1_000_000)]
)
def test_tax_rates_are_exact(text: str, ppm: int) -> None:
    assert read_tax_rate_ppm(text) == ppm


def test_every_time_zone_of_the_machine_is_known() -> None:
    assert {read_timezone(name) for name in zoneinfo.available_timezones()} == zoneinfo.available_timezones()


def test_a_machine_without_time_zone_data_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "_timezones", frozenset[str])
    with pytest.raises(Unreadable, match="install tzdata"):
        read_timezone("Europe/Berlin")
