"""Forms of the payment methods part."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

import msgspec

from handlers.wire.common import END, Address, AnswerBody, Pagination, RequestBody


class AddPaymentMethodBody(RequestBody, frozen=True, kw_only=True):
    """A card, by the one-time token that the gateway's own form gave for it. Its number is never sent here."""

    type: Literal["CARD"]
    card_token: Annotated[
        str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^[!-~]+" + END, examples=["tok_visa_4242"])
    ]
    billing_address: Address | None = None


class PaymentMethodAnswer(AnswerBody, frozen=True, kw_only=True):
    """A payment method. The buyer's first one is the default."""

    payment_method_id: UUID
    type: Literal["CARD"]
    card_last_four: str
    card_brand: str
    expiry: Annotated[str, msgspec.Meta(examples=["12/2028"])]
    is_default: bool


class PaymentMethodList(AnswerBody, frozen=True, kw_only=True):
    """The buyer's payment methods, oldest first."""

    payment_methods: list[PaymentMethodAnswer]
    pagination: Pagination
