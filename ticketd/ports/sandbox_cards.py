"""The test cards of the sandbox gateway, by their tokens, as in Stripe's test mode
(https://docs.stripe.com/testing).

No number of a card is here, since none is ever sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec


class SandboxCard(msgspec.Struct, frozen=True):
    """A card and what happens when it is charged: declined with ``decline_code``, or the buyer asked first,
    or neither."""

    brand: str
    last_four: str
    decline_code: str | None = None
    asks_buyer: bool = False


SANDBOX_CARDS: Final[Mapping[str, SandboxCard]] = {
    "tok_visa": SandboxCard("Visa", "4242"),
    "tok_visa_4242": SandboxCard("Visa", "4242"),
    "tok_mastercard": SandboxCard("Mastercard", "4444"),
    "tok_amex": SandboxCard("American Express", "0005"),
    "tok_chargeDeclined": SandboxCard("Visa", "0002", decline_code="generic_decline"),
    "tok_chargeDeclinedInsufficientFunds": SandboxCard("Visa", "9995", decline_code="insufficient_funds"),
    "tok_chargeDeclinedExpiredCard": SandboxCard("Visa", "0069", decline_code="expired_card"),
    "tok_threeDSecure2Required": SandboxCard("Visa", "3220", asks_buyer=True),
}
