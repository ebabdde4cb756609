"""Stripe's test cards (https://docs.stripe.com/testing): what each token stands for and what its card does.

A token ``tok_visa`` has its payment method ``pm_card_visa``: a name under which each use makes another card.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Decline(msgspec.Struct, frozen=True):
    """Why a charge of the card fails; ``decline_code`` where Stripe gives one."""

    code: str
    decline_code: str | None
    message: str


class Card(msgspec.Struct, frozen=True):
    """A card. ``decline`` is what every charge of it meets; ``attachable`` whether a customer can keep it all the same.

    ``refunds_fail``: a refund succeeds and fails later, on order; ``refunds_wait``: it is pending until ordered on.
    """

    brand: str
    last4: str
    decline: Decline | None = None
    attachable: bool = True
    challenged: bool = False
    disputed: bool = False
    refunds_wait: bool = False


def _declined(decline_code: str, message: str = "Your card was declined.") -> Decline:
    return Decline("card_declined", decline_code, message)


_GENERIC: Final = _declined("generic_decline")

AUTHENTICATION_REQUIRED: Final = Decline(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)
AUTHENTICATION_FAILED: Final = Decline(
    "payment_intent_authentication_failure",
    None,
    "We are unable to authenticate your payment method. Please choose a different payment method and try again.",
)

CARDS: Final[dict[str, Card]] = {
    "visa": Card("visa", "4242"),
    "visa_debit": Card("visa", "5556"),
    "mastercard": Card("mastercard", "4444"),
    "amex": Card("amex", "0005"),
    "discover": Card("discover", "1117"),
    "jcb": Card("jcb", "0505"),
    "chargeDeclined": Card("visa", "0002", _GENERIC, attachable=False),
    "chargeDeclinedInsufficientFunds": Card(
        "visa", "9995", _declined("insufficient_funds", "Your card has insufficient funds."), attachable=False
    ),
    "chargeDeclinedLostCard": Card("visa", "9987", _declined("lost_card"), attachable=False),
    "chargeDeclinedStolenCard": Card("visa", "9979", _declined("stolen_card"), attachable=False),
    "chargeDeclinedExpiredCard": Card(
        "visa", "0069", Decline("expired_card", None, "Your card has expired."), attachable=False
    ),
    "chargeDeclinedProcessingError": Card(
        "visa",
        "0119",
        Decline(
            "processing_error",
            None,
            "An error occurred while processing your card. Try again in a little bit.",
        ),
        attachable=False,
    ),
    "chargeCustomerFail": Card("visa", "0341", _GENERIC),
    "threeDSecure2Required": Card("visa", "3220", challenged=True),
    "createDispute": Card("visa", "0259", disputed=True),
    "pendingRefund": Card("visa", "7726", refunds_wait=True),
}

TOKEN_PREFIX: Final = "tok_"
SHARED_METHOD_PREFIX: Final = "pm_card_"


def name_of_token(token: str) -> str | None:
    """Whose card the test token is."""
    name = token.removeprefix(TOKEN_PREFIX)
    return name if token.startswith(TOKEN_PREFIX) and name in CARDS else None


def name_of_shared_method(method_id: str) -> str | None:
    """Whose card the shared payment method is."""
    name = method_id.removeprefix(SHARED_METHOD_PREFIX)
    return name if method_id.startswith(SHARED_METHOD_PREFIX) and name in CARDS else None
