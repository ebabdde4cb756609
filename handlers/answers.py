"""How values go on the wire: JSON bytes, money with its currency's decimals, times in RFC 3339 with ``Z``."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import msgspec

from handlers.call import Reply
from ticketd.event_file.currencies import EXPONENTS

_encoder: Final = msgspec.json.Encoder(decimal_format="number")
TEXTS_KEPT: Final = 4096
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def encode_json(value: object) -> bytes:
    """A struct, list or dict as JSON. Decimals become numbers with exactly their own decimals."""
    return _encoder.encode(value)


def answer(value: object, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """A reply with ``value`` as its JSON body."""
    return Reply(status=status, body=_encoder.encode(value), headers=headers)


def no_content() -> Reply:
    """204 without a body."""
    return Reply(status=204, content_type="")


@functools.lru_cache(maxsize=TEXTS_KEPT)
def money(amount_minor: int, currency: str) -> Decimal:
    """An amount of minor units as the number that goes on the wire: 150000 USD is 1500.00."""
    return Decimal(amount_minor).scaleb(-EXPONENTS[currency])


def time_text(at_ms: int) -> str:
    """A time as ``2026-08-15T19:00:00Z``; parts of a second are cut off."""
    return second_text(at_ms // 1000)


@functools.lru_cache(maxsize=TEXTS_KEPT)
def second_text(at_seconds: int) -> str:
    """``time_text`` of whole seconds, remembered for the latest: what is asked for at a time differs by little."""
    return (_EPOCH + timedelta(seconds=at_seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def optional_time(at_ms: int | None) -> str | None:
    """``time_text``, or None."""
    return None if at_ms is None else time_text(at_ms)
