"""The table of what the judge answers: method, path, parameters, function."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from tests.stripe_judge import disputes, intents, lists, refunds, wallet
from tests.stripe_judge.call import Call
from tests.stripe_judge.form import Field, Kind, Spec
from tests.stripe_judge.refusals import Document, Refusal

_TEXT: Final = Field()
_FLAG: Final = Field(Kind.FLAG)
_METADATA: Final = Field(Kind.METADATA)
_EXPAND: Final[dict[str, Field]] = {"expand": Field(Kind.TEXTS)}
_PAGED: Final[dict[str, Field]] = {
    **_EXPAND,
    "limit": Field(Kind.INTEGER, least=1, most=lists.MOST),
    "starting_after": _TEXT,
    "ending_before": _TEXT,
}
_LISTED: Final[dict[str, Field]] = {**_PAGED, "created": Field(Kind.RANGE)}
_ADDRESS: Final[dict[str, Field]] = dict.fromkeys(
    ("city", "country", "line1", "line2", "postal_code", "state"), _TEXT
)
_PERSON: Final[dict[str, Field]] = {
    "name": _TEXT,
    "email": _TEXT,
    "phone": _TEXT,
    "address": Field(Kind.GROUP, fields=_ADDRESS),
}


@dataclass(frozen=True)
class Endpoint:
    """A call of the API. ``{id}`` in its path stands for a name."""

    method: str
    path: str
    function: Callable[[Call], Document]
    spec: Spec

    @property
    def title(self) -> str:
        """What faults are ordered for."""
        return f"{self.method} {self.path}"


def _balance(call: Call) -> Document:
    return {
        "object": "balance",
        "available": [{"amount": 0, "currency": "usd", "source_types": {"card": 0}}],
        "pending": [{"amount": 0, "currency": "usd", "source_types": {"card": 0}}],
        "livemode": False,
    }


def _account(call: Call) -> Document:
    return {
        "object": "account",
        "id": "acct_judge",
        "charges_enabled": True,
        "country": "US",
        "default_currency": "usd",
        "details_submitted": True,
        "payouts_enabled": True,
    }


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint("GET", "/v1/account", _account, _EXPAND),
    Endpoint("GET", "/v1/balance", _balance, _EXPAND),
    Endpoint(
        "POST",
        "/v1/customers",
        wallet.create_customer,
        {**_EXPAND, **_PERSON, "description": _TEXT, "metadata": _METADATA},
    ),
    Endpoint("GET", "/v1/customers/{id}", wallet.retrieve_customer, _EXPAND),
    Endpoint(
        "POST",
        "/v1/payment_methods",
        wallet.create_method,
        {
            **_EXPAND,
            "type": Field(required=True, choices=("card",)),
            "card": Field(Kind.GROUP, required=True, fields={"token": Field(required=True)}),
            "billing_details": Field(Kind.GROUP, fields=_PERSON),
            "metadata": _METADATA,
        },
    ),
    Endpoint("GET", "/v1/payment_methods/{id}", wallet.retrieve_method, _EXPAND),
    Endpoint(
        "POST",
        "/v1/payment_methods/{id}/attach",
        wallet.attach_method,
        {**_EXPAND, "customer": Field(required=True)},
    ),
    Endpoint("POST", "/v1/payment_methods/{id}/detach", wallet.detach_method, _EXPAND),
    Endpoint(
        "POST",
        "/v1/payment_intents",
        intents.create_intent,
        {
            **_EXPAND,
            "amount": Field(Kind.INTEGER, required=True, least=1),
            "currency": Field(required=True),
            "customer": _TEXT,
            "payment_method": _TEXT,
            "capture_method": Field(choices=("automatic", "automatic_async", "manual")),
            "confirm": _FLAG,
            "off_session": _FLAG,
            "error_on_requires_action": _FLAG,
            "return_url": _TEXT,
            "description": _TEXT,
            "receipt_email": _TEXT,
            "metadata": _METADATA,
            "payment_method_types": Field(Kind.TEXTS),
            "automatic_payment_methods": Field(
                Kind.GROUP,
                fields={
                    "enabled": Field(Kind.FLAG, required=True),
                    "allow_redirects": Field(choices=("always", "never")),
                },
            ),
        },
    ),
    Endpoint(
        "GET",
        "/v1/payment_intents",
        lists.list_intents,
        {**_LISTED, "customer": _TEXT},
    ),
    Endpoint(
        "GET",
        "/v1/payment_intents/search",
        lists.search_intents,
        {
            **_EXPAND,
            "query": Field(required=True),
            "limit": Field(Kind.INTEGER, least=1, most=lists.MOST),
            "page": _TEXT,
        },
    ),
    Endpoint("GET", "/v1/payment_intents/{id}", intents.retrieve_intent, {**_EXPAND, "client_secret": _TEXT}),
    Endpoint(
        "POST",
        "/v1/payment_intents/{id}/confirm",
        intents.confirm_intent,
        {**_EXPAND, "payment_method": _TEXT, "return_url": _TEXT, "off_session": _FLAG},
    ),
    Endpoint(
        "POST",
        "/v1/payment_intents/{id}/capture",
        intents.capture_intent,
        {**_EXPAND, "amount_to_capture": Field(Kind.INTEGER, least=1)},
    ),
    Endpoint(
        "POST",
        "/v1/payment_intents/{id}/cancel",
        intents.cancel_intent,
        {
            **_EXPAND,
            "cancellation_reason": Field(
                choices=("abandoned", "duplicate", "fraudulent", "requested_by_customer")
            ),
        },
    ),
    Endpoint(
        "POST",
        "/v1/refunds",
        refunds.create_refund,
        {
            **_EXPAND,
            "payment_intent": _TEXT,
            "charge": _TEXT,
            "amount": Field(Kind.INTEGER, least=1),
            "reason": Field(choices=("duplicate", "fraudulent", "requested_by_customer")),
            "metadata": _METADATA,
        },
    ),
    Endpoint("GET", "/v1/refunds", lists.list_refunds, {**_LISTED, "payment_intent": _TEXT, "charge": _TEXT}),
    Endpoint("GET", "/v1/refunds/{id}", refunds.retrieve_refund, _EXPAND),
    Endpoint("GET", "/v1/charges", lists.list_charges, {**_LISTED, "payment_intent": _TEXT}),
    Endpoint("GET", "/v1/charges/{id}", intents.retrieve_charge, _EXPAND),
    Endpoint(
        "GET", "/v1/disputes", lists.list_disputes, {**_LISTED, "payment_intent": _TEXT, "charge": _TEXT}
    ),
    Endpoint("GET", "/v1/disputes/{id}", disputes.retrieve_dispute, _EXPAND),
    Endpoint("GET", "/v1/events", lists.list_events, {**_LISTED, "type": _TEXT, "types": Field(Kind.TEXTS)}),
    Endpoint("GET", "/v1/events/{id}", lists.retrieve_event, _EXPAND),
)

_PATTERNS: Final = [
    (endpoint, re.compile(endpoint.path.replace("{id}", r"(?P<id>[^/]+)") + r"\Z")) for endpoint in ENDPOINTS
]


def find_endpoint(method: str, path: str) -> tuple[Endpoint, str]:
    """The endpoint and the name in its path; 404 if the API has none of this address."""
    for endpoint, pattern in _PATTERNS:
        found = pattern.match(path)
        if found is not None and endpoint.method == method:
            return endpoint, unquote(found.groupdict().get("id") or "")
    raise Refusal(
        404,
        f"Unrecognized request URL ({method}: {path}). Please see https://docs.stripe.com or we can help at "
        "https://support.stripe.com/.",
    )
