"""Single values of an event file: from what JSON holds to what a plan holds.

Each reader takes one value of any kind and returns it in the plan's form, or raises ``Unreadable`` with a sentence that
says what it must be. Readers know nothing of places, of other members, or of each other.
"""

from __future__ import annotations

import functools
import math
import re
import zoneinfo
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, TypeVar
from uuid import UUID

from ticketd.event_file.bounds import (
    MAX_CODE,
    MAX_PRICE_MINOR,
    MAX_TAX_PPM,
    MAX_TIMEZONE,
    MAX_URL,
    TAX_DECIMALS,
    TIMES_MS,
    Range,
)
from ticketd.event_file.currencies import EXPONENTS, LARGEST_EXPONENT, decimal_text
from ticketd.event_file.faults import shown

T = TypeVar("T")
Reader = Callable[[object], T]

CONTROL_PATTERN: Final = r"[\u0000-\u001f\u007f-\u009f]"
CONTROL_BUT_LINES_PATTERN: Final = r"[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]"
EDGE_PATTERN: Final = r"^\s|\s$"
TIME_PATTERN: Final = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
UUID_PATTERN: Final = r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
URL_PATTERN: Final = r"https?://[!-.0->@-~][!-~]*"
CODE_PATTERN: Final = rf"[!-~]{{1,{MAX_CODE}}}"
AMOUNT_PATTERN: Final = rf"(0|[1-9][0-9]{{0,12}})(\.[0-9]{{1,{LARGEST_EXPONENT}}})?"
RATE_PATTERN: Final = rf"[01](\.[0-9]{{1,{TAX_DECIMALS}}})?"

_CONTROL: Final = re.compile(CONTROL_PATTERN)
_CONTROL_BUT_LINES: Final = re.compile(CONTROL_BUT_LINES_PATTERN)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_TIME: Final = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[Tt](?P<clock>[0-9]{2}:[0-9]{2}:[0-9]{2})(\.(?P<fraction>[0-9]{1,9}))?"
    r"([Zz]|(?P<sign>[+-])(?P<hours>[0-9]{2}):(?P<minutes>[0-9]{2}))"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Unreadable(ValueError):
    """A value is not what its place wants; the text says what that is."""


def text(most: int, *, least: int = 1, lines: bool = False, edges: bool = False) -> Reader[str]:
    """A reader of texts of ``least`` to ``most`` characters (code points).

    Refuses, in this order: another kind of value, the wrong length, control characters (``lines`` allows tabs and line
    ends), lone surrogates, and white space at the start or the end (``edges`` and ``lines`` allow it).
    """
    control = _CONTROL_BUT_LINES if lines else _CONTROL

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise Unreadable(f"must be a text, not {kind_of(value)}")
        if not value and least:
            raise Unreadable("must not be empty")
        if len(value) > most:
            raise Unreadable(f"must be at most {most} characters long, not {len(value)}")
        if value.isprintable() and (edges or value.strip() == value):
            return value
        if control.search(value):
            raise Unreadable(f"must not hold control characters: {shown(value)}")
        if _SURROGATE.search(value):
            raise Unreadable(f"must not hold a half of a surrogate pair: {shown(value)}")
        if not edges and not lines and value.strip() != value:
            raise Unreadable(f"must not begin or end with white space: {shown(value)}")
        return value

    return read


def whole_number(bounds: Range) -> Reader[int]:
    """A reader of whole numbers within ``bounds``; 8.0 is not written as one, and true is none."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Unreadable(f"must be a whole number, not {kind_of(value)}")
        if not bounds.least <= value <= bounds.most:
            raise Unreadable(f"must be {bounds.least} to {bounds.most}")
        return value

    return read


def read_flag(value: object) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise Unreadable(f"must be true or false, not {kind_of(value)}")
    return value


def read_uuid(value: object) -> UUID:
    """A UUID in its usual form with hyphens, in either case (RFC 9562 section 4)."""
    if not isinstance(value, str) or not re.fullmatch(UUID_PATTERN, value):
        raise Unreadable(f"must be a UUID such as 6f1c2a9e-3b5d-4c7f-8a90-1b2c3d4e5f60, not {_seen(value)}")
    return UUID(value)


def read_time_ms(value: object) -> int:
    """A time of RFC 3339 with ``Z`` or an offset, as milliseconds UTC; digits past the third are cut off.

    Refuses what is no time of the calendar, leap seconds (they have no place in milliseconds UTC), and years outside
    1970 to 9999.
    """
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Unreadable(f"must be a time such as 2027-08-15T19:00:00Z, not {_seen(value)}")
    hours, minutes = int(match["hours"] or 0), int(match["minutes"] or 0)
    try:
        # fromisoformat of newer Pythons takes 24:00:00 for the next midnight; RFC 3339 does not.
        local = datetime.strptime(f"{match['date']} {match['clock']} +0000", "%Y-%m-%d %H:%M:%S %z")
    except ValueError:
        raise Unreadable(f"is no time of the calendar: {_seen(value)}") from None
    if hours > 23 or minutes > 59:
        raise Unreadable(f"has an offset from UTC that does not exist: {_seen(value)}")
    offset = timedelta(hours=hours, minutes=minutes)
    zone = timezone(-offset if match["sign"] == "-" else offset)
    seconds = (local.replace(tzinfo=zone) - _EPOCH) // timedelta(seconds=1)
    at_ms = seconds * 1000 + int((match["fraction"] or "0").ljust(3, "0")[:3])
    if not TIMES_MS.least <= at_ms <= TIMES_MS.most:
        raise Unreadable("must lie in the years 1970 to 9999")
    return at_ms


def read_url(value: object) -> str:
    """An http or https address in the characters of RFC 3986 (ASCII), or an empty text for none."""
    if not isinstance(value, str):
        raise Unreadable(f"must be a text, not {kind_of(value)}")
    if len(value) > MAX_URL:
        raise Unreadable(f"must be at most {MAX_URL} characters long, not {len(value)}")
    if value and not re.fullmatch(URL_PATTERN, value):
        raise Unreadable(f"must be an http or https address, not {_seen(value)}")
    return value


def read_currency(value: object) -> str:
    """The code of an active currency of ISO 4217, in upper case."""
    if not isinstance(value, str) or value not in EXPONENTS:
        raise Unreadable(f"must be the code of a currency (ISO 4217) such as USD, not {_seen(value)}")
    return value


def read_timezone(value: object) -> str:
    """The name of a time zone that this machine's time zone data knows."""
    name = text(MAX_TIMEZONE)(value)
    known = _timezones()
    if not known:
        raise Unreadable("cannot be checked: this machine has no time zone data (install tzdata)")
    if name not in known:
        raise Unreadable(f"must be the name of a time zone such as Europe/Berlin, not {shown(name)}")
    return name


def read_code(value: object) -> str:
    """A presale code: 1 to 64 printable ASCII characters without a space."""
    if not isinstance(value, str) or not re.fullmatch(CODE_PATTERN, value):
        raise Unreadable(
            f"must be 1 to {MAX_CODE} printable ASCII characters without spaces, not {_seen(value)}"
        )
    return value


def amount_minor(currency: str | None) -> Reader[int]:
    """A reader of amounts such as ``"500.00"``, as minor units of ``currency`` (None: not known, any decimals pass).

    A JSON number is refused: it is a binary fraction by the time it is read. Refused, too: more decimals than the
    currency has, and more than ``MAX_PRICE_MINOR``.
    """
    exponent = LARGEST_EXPONENT if currency is None else EXPONENTS[currency]

    def read(value: object) -> int:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise Unreadable('must be a text such as "500.00", since a number would be a binary fraction')
        if not isinstance(value, str) or not re.fullmatch(AMOUNT_PATTERN, value):
            raise Unreadable(f'must be an amount such as "500.00", not {_seen(value)}')
        whole, _, part = value.partition(".")
        if len(part) > exponent:
            raise Unreadable(f"must have at most {exponent} decimals in {currency}: {shown(value)}")
        minor = int(whole + part.ljust(exponent, "0"))
        if minor > MAX_PRICE_MINOR:
            most = MAX_PRICE_MINOR if currency is None else decimal_text(MAX_PRICE_MINOR, currency)
            raise Unreadable(f"must be at most {most}")
        return minor

    return read


def read_tax_rate_ppm(value: object) -> int:
    """A rate such as ``"0.09"``, 0 to 1 with at most 6 decimals, as millionths."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise Unreadable('must be a text such as "0.09", since a number would be a binary fraction')
    if not isinstance(value, str) or not re.fullmatch(RATE_PATTERN, value):
        raise Unreadable(
            f'must be a rate such as "0.09" with at most {TAX_DECIMALS} decimals, not {_seen(value)}'
        )
    whole, _, part = value.partition(".")
    ppm = int(whole + part.ljust(TAX_DECIMALS, "0"))
    if ppm > MAX_TAX_PPM:
        raise Unreadable("must be at most 1")
    return ppm


def read_coordinate(value: object) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable(f"must be a number, not {kind_of(value)}")
    try:
        coordinate = float(value)
    except OverflowError:
        coordinate = math.inf
    if not math.isfinite(coordinate):
        raise Unreadable("must be a finite number")
    return coordinate


def kind_of(value: object) -> str:
    """What a value is, in the words of JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "an object"


def _seen(value: object) -> str:
    return shown(value) if isinstance(value, str) else kind_of(value)


@functools.cache
def _timezones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())
