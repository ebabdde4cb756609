"""Sums of money in integers of minor units. No float, and no form in which money is shown."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

_MILLION = 1_000_000


class Amounts(msgspec.Struct, frozen=True, kw_only=True):
    """What some seats cost together, in minor units of the event's currency."""

    subtotal_minor: int
    fees_minor: int
    taxes_minor: int

    @property
    def total_minor(self) -> int:
        """All that the buyer pays."""
        return self.subtotal_minor + self.fees_minor + self.taxes_minor


def taxes_minor(subtotal_minor: int, tax_rate_ppm: int) -> int:
    """The taxes on a subtotal: rounded half up, once for the whole order. Both are at least 0; fees are not taxed."""
    return (subtotal_minor * tax_rate_ppm + _MILLION // 2) // _MILLION


def amounts_of(prices: Iterable[tuple[int, int]], tax_rate_ppm: int) -> Amounts:
    """The sums over (price_minor, fees_minor) of each seat."""
    subtotal = fees = 0
    for price_minor, fees_minor in prices:
        subtotal += price_minor
        fees += fees_minor
    return Amounts(subtotal_minor=subtotal, fees_minor=fees, taxes_minor=taxes_minor(subtotal, tax_rate_ppm))
