"""What amounts a currency takes: minimum charges, zero-decimal and special cases of https://docs.stripe.com/currencies."""

from __future__ import annotations

from typing import Final

from tests.stripe_judge.refusals import bad_request

LARGEST_MINOR: Final = 99_999_999
"""Eight digits, in whatever minor unit."""

SMALLEST_MINOR: Final[dict[str, int]] = {
    "usd": 50,
    "aed": 200,
    "aud": 50,
    "bgn": 100,
    "brl": 50,
    "cad": 50,
    "chf": 50,
    "czk": 1500,
    "dkk": 250,
    "eur": 50,
    "gbp": 30,
    "hkd": 400,
    "huf": 17500,
    "inr": 50,
    "jpy": 50,
    "mxn": 1000,
    "myr": 200,
    "nok": 300,
    "nzd": 50,
    "pln": 200,
    "ron": 200,
    "sek": 300,
    "sgd": 50,
    "thb": 1000,
}
WITHOUT_DECIMALS: Final = frozenset(
    "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split()  # noqa: SIM905 - a list of words
)
IN_WHOLE_HUNDREDS: Final = frozenset({"isk", "ugx"})
IN_WHOLE_TENS: Final = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
KNOWN: Final = frozenset(SMALLEST_MINOR) | WITHOUT_DECIMALS | IN_WHOLE_HUNDREDS | IN_WHOLE_TENS


def check_charge(amount_minor: int, currency: str) -> str:
    """The currency's code in small letters, if so much can be charged in it; else 400.

    A currency without a minimum of its own has that of 50 US cents, which the judge, knowing no rates, takes as 1.
    """
    code = currency.lower()
    if code not in KNOWN:
        raise bad_request(f"Invalid currency: {code}.", param="currency")
    if amount_minor > LARGEST_MINOR:
        raise bad_request(
            f"Amount must be no more than {written(LARGEST_MINOR, code)}",
            code="amount_too_large",
            param="amount",
        )
    smallest = SMALLEST_MINOR.get(code, 1)
    if amount_minor < smallest:
        raise bad_request(
            f"Amount must be at least {written(smallest, code)}", code="amount_too_small", param="amount"
        )
    step = 100 if code in IN_WHOLE_HUNDREDS else 10 if code in IN_WHOLE_TENS else 1
    if amount_minor % step:
        raise bad_request(f"Invalid {code} amount: must be divisible by {step}", param="amount")
    return code


def written(amount_minor: int, code: str) -> str:
    """An amount as a message says it."""
    if code in WITHOUT_DECIMALS:
        return f"{amount_minor} {code}"
    return f"{amount_minor / 100:.2f} {code}"
