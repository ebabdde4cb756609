"""The active currencies of ISO 4217 and the decimals of their minor units.

As of the list of 2026-01-01. Codes without a minor unit (metals, bond units, the SDR, test codes) are left out: nothing
can be priced in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_CODES_BY_EXPONENT: Final[Mapping[int, str]] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW "
        "CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF "
        "IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK "
        "MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP "
        "SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG "
        "YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}

EXPONENTS: Final[Mapping[str, int]] = {
    code: exponent for exponent, codes in _CODES_BY_EXPONENT.items() for code in codes.split()
}
"""The decimals of each currency: ``{"USD": 2, "JPY": 0, "BHD": 3, …}``."""

LARGEST_EXPONENT: Final = max(_CODES_BY_EXPONENT)


def decimal_text(minor: int, currency: str) -> str:
    """An amount of minor units (0 or more) with the currency's own decimals: 50000 in USD is ``"500.00"``.

    Raises KeyError for a currency that is not in ``EXPONENTS``.
    """
    exponent = EXPONENTS[currency]
    if exponent == 0:
        return str(minor)
    whole, part = divmod(minor, 10**exponent)
    return f"{whole}.{part:0{exponent}d}"
