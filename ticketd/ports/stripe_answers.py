"""What Stripe answers, as far as it is read here (https://docs.stripe.com/api); all else is passed over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec


class StripeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of objects of Stripe's API. Amounts are in minor units."""


class StripeCustomer(StripeAnswer, frozen=True, kw_only=True):
    """Somebody to whom cards belong."""

    id: str


class CardFace(StripeAnswer, frozen=True, kw_only=True):
    """What may be shown of a card."""

    brand: str
    last4: str
    exp_month: int
    exp_year: int


class StripeMethod(StripeAnswer, frozen=True, kw_only=True):
    """A way to pay; ``card`` is there for a card."""

    id: str
    card: CardFace | None = None
    customer: str | None = None


class RedirectPage(StripeAnswer, frozen=True, kw_only=True):
    """Where the buyer's bank asks."""

    url: str | None = None


class StripeAction(StripeAnswer, frozen=True, kw_only=True):
    """What the buyer has to do."""

    redirect_to_url: RedirectPage | None = None


class PaymentFault(StripeAnswer, frozen=True, kw_only=True):
    """Why the last try to pay came to nothing."""

    code: str | None = None
    decline_code: str | None = None


class StripeCharge(StripeAnswer, frozen=True, kw_only=True):
    """Money that was asked of a card. ``amount_refunded`` includes what was set aside and not taken."""

    amount: int
    amount_captured: int = 0
    amount_refunded: int = 0
    disputed: bool = False


class StripeIntent(StripeAnswer, frozen=True, kw_only=True):
    """A payment. ``latest_charge`` is whole only where it was asked for so."""

    id: str
    status: str
    amount: int
    currency: str
    created: int = 0
    amount_capturable: int = 0
    client_secret: str | None = None
    metadata: Mapping[str, str] = {}
    next_action: StripeAction | None = None
    last_payment_error: PaymentFault | None = None
    cancellation_reason: str | None = None
    latest_charge: StripeCharge | str | None = None


class IntentList(StripeAnswer, frozen=True, kw_only=True):
    """A page of payments, or of what a search for them found."""

    data: tuple[StripeIntent, ...]
    has_more: bool = False


class StripeRefund(StripeAnswer, frozen=True, kw_only=True):
    """Money on its way back."""

    id: str
    amount: int
    status: str | None = None
    metadata: Mapping[str, str] = {}


class RefundList(StripeAnswer, frozen=True, kw_only=True):
    """A page of refunds."""

    data: tuple[StripeRefund, ...]
    has_more: bool = False


class StripeDispute(StripeAnswer, frozen=True, kw_only=True):
    """A bank asks for a payment's money. ``payment_intent`` is whole only where it was asked for so."""

    id: str
    amount: int
    currency: str
    status: str
    reason: str = ""
    payment_intent: StripeIntent | str | None = None


class DisputeList(StripeAnswer, frozen=True, kw_only=True):
    """A page of disputes."""

    data: tuple[StripeDispute, ...]
    has_more: bool = False


class FaultBody(StripeAnswer, frozen=True, kw_only=True):
    """What an error says of itself."""

    code: str | None = None
    decline_code: str | None = None
    param: str | None = None
    payment_intent: StripeIntent | None = None


class ErrorBody(StripeAnswer, frozen=True, kw_only=True):
    """The body of an answer that is an error."""

    error: FaultBody


_BRANDS: Final[Mapping[str, str]] = {
    "amex": "American Express",
    "cartes_bancaires": "Cartes Bancaires",
    "diners": "Diners Club",
    "discover": "Discover",
    "eftpos_au": "Eftpos Australia",
    "jcb": "JCB",
    "mastercard": "Mastercard",
    "unionpay": "UnionPay",
    "visa": "Visa",
}


def brand_name(brand: str) -> str:
    """A card's brand as people write it."""
    return _BRANDS.get(brand, brand.replace("_", " ").title())
