"""Cards at Stripe: each belongs to a customer, one for each buyer, without which it could be charged once only.

A card's reference is ``cus_…/pm_…``: charging it takes both names. Source:
https://docs.stripe.com/payments/payment-methods and https://docs.stripe.com/api/payment_methods.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Final

import msgspec
import structlog

from storage.schema.ids import UserId
from ticketd.ports.payments import (
    CardAdded,
    GatewayUnavailable,
    MethodOutcome,
    MethodRefused,
    MethodRequest,
)
from ticketd.ports.stripe_answers import StripeCustomer, StripeMethod, brand_name
from ticketd.ports.stripe_calls import Ask, StripeCalls, step_key
from ticketd.ports.stripe_faults import StripeRefusal

MISSING: Final = "resource_missing"

_TOKEN: Final = re.compile(r"tok_[A-Za-z0-9_]{1,250}")
_METHOD: Final = re.compile(r"pm_[A-Za-z0-9_]{1,250}")
_REF: Final = re.compile(r"(cus_[A-Za-z0-9_]{1,250})/(pm_[A-Za-z0-9_]{1,250})")

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class MethodRef(msgspec.Struct, frozen=True):
    """A card's reference in its two parts."""

    customer: str
    method: str


def read_method_ref(text: str) -> MethodRef | None:
    """A card's reference; None for what is none of Stripe's."""
    match = _REF.fullmatch(text)
    return None if match is None else MethodRef(match[1], match[2])


class StripeMethods:
    """The cards of an account."""

    def __init__(self, calls: StripeCalls) -> None:
        self._calls = calls

    async def describe(self, request: MethodRequest, key: str) -> MethodOutcome:
        """As PaymentGateway.describe_method: takes tokens ``tok_…``, and ``pm_…`` that nobody else has."""
        deadline = self._calls.deadline()
        method = await self._find(request.card_token, key, deadline)
        if isinstance(method, MethodRefused):
            return method
        if method.card is None:
            return MethodRefused("not_a_card")
        if method.customer is not None:
            # Attached by an earlier try of the same request, or somebody else's.
            if method.customer != request.customer_ref:
                return MethodRefused("belongs_to_another")
            return _added(method, method.customer)
        return await self._attach(method.id, request, key, deadline)

    async def forget(self, method_ref: str) -> None:
        """As PaymentGateway.forget_method."""
        if (ref := read_method_ref(method_ref)) is None:
            return
        detach = partial(
            self._calls.v1.payment_methods.detach_async,
            ref.method,
            options={"idempotency_key": f"detach:{ref.method}"},
        )
        ask = Ask(endpoint="detach", send=detach)
        said = await self._calls.ask(ask, StripeMethod, self._calls.deadline())
        if isinstance(said, StripeRefusal):
            _log.debug("card was not attached", code=said.code, request_id=said.request_id)

    async def _find(self, token: str, key: str, deadline: float) -> StripeMethod | MethodRefused:
        """The card that a token stands for, made of it if it is not one yet."""
        methods = self._calls.v1.payment_methods
        if _METHOD.fullmatch(token):
            ask = Ask(
                endpoint="retrieve payment method",
                send=lambda: methods.retrieve_async(token),
                changes=False,
            )
        elif _TOKEN.fullmatch(token):
            ask = Ask(
                endpoint="create payment method",
                send=lambda: methods.create_async(
                    {"type": "card", "card": {"token": token}}, {"idempotency_key": key}
                ),
            )
        else:
            return MethodRefused("no_token")
        said = await self._calls.ask(ask, StripeMethod, deadline)
        return _refused(said) if isinstance(said, StripeRefusal) else said

    async def _attach(self, method: str, request: MethodRequest, key: str, deadline: float) -> MethodOutcome:
        customer = request.customer_ref
        if customer is None:
            customer = await self._make_customer(request.user_id, None, deadline)
        said = await self._attach_to(customer, method, key, deadline)
        if isinstance(said, StripeRefusal) and said.code == MISSING and said.param == "customer":
            # Somebody has deleted the customer at Stripe: the buyer gets another one.
            customer = await self._make_customer(request.user_id, customer, deadline)
            said = await self._attach_to(customer, method, key, deadline)
        return _refused(said) if isinstance(said, StripeRefusal) else _added(said, customer)

    async def _attach_to(
        self, customer: str, method: str, key: str, deadline: float
    ) -> StripeMethod | StripeRefusal:
        ask = Ask(
            endpoint="attach",
            send=lambda: self._calls.v1.payment_methods.attach_async(
                method, {"customer": customer}, {"idempotency_key": step_key(key, f"attach:{customer}")}
            ),
        )
        return await self._calls.ask(ask, StripeMethod, deadline)

    async def _make_customer(self, user_id: UserId, in_place_of: str | None, deadline: float) -> str:
        """The customer of a buyer. Two first cards at the same time make one: the key is the buyer's alone."""
        key = f"customer:{user_id}" if in_place_of is None else f"customer:{user_id}:{in_place_of}"

        async def make(key: str) -> StripeCustomer | StripeRefusal:
            ask = Ask(
                endpoint="create customer",
                send=lambda: self._calls.v1.customers.create_async(
                    {"metadata": {"user_id": str(user_id)}}, {"idempotency_key": key}
                ),
            )
            return await self._calls.ask(ask, StripeCustomer, deadline)

        async def look() -> None:
            """A customer that nobody uses does no harm."""

        said = await self._calls.ask_until_known(key, make, look)
        if isinstance(said, StripeRefusal):
            _log.error("stripe makes no customer", code=said.code, request_id=said.request_id)
            raise GatewayUnavailable(f"stripe: no customer, {said.code}", effect_possible=False)
        return said.id


def _refused(refusal: StripeRefusal) -> MethodRefused:
    return MethodRefused(refusal.decline_code or refusal.code)


def _added(method: StripeMethod, customer: str) -> MethodOutcome:
    if method.card is None:
        return MethodRefused("not_a_card")
    return CardAdded(
        gateway_method_ref=f"{customer}/{method.id}",
        brand=brand_name(method.card.brand),
        last_four=method.card.last4,
        expiry_month=method.card.exp_month,
        expiry_year=method.card.exp_year,
        customer_ref=customer,
    )
