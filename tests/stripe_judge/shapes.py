"""Records in the shape in which Stripe shows them, and the ``expand`` of what they name.

The shapes are Stripe's samples (``shapes.json`` says which) with the record's values put in.
"""

from __future__ import annotations

import copy
import json
from functools import singledispatch
from pathlib import Path
from typing import Final, cast

import msgspec

from tests.stripe_judge.cards import CARDS
from tests.stripe_judge.records import Charge, Customer, Dispute, Event, Intent, Method, Record, Refund
from tests.stripe_judge.refusals import Document, bad_request
from tests.stripe_judge.store import Store, Wanted

API_VERSION: Final = "2026-06-24.dahlia"
MOST_DEEP: Final = 4
_SAMPLES: Final = cast(
    "dict[str, Document]", json.loads((Path(__file__).parent / "shapes.json").read_text(encoding="utf-8"))
)
_EXPIRY_YEAR: Final = 2034
_EVIDENCE_SECONDS: Final = 7 * 86_400


def shape(store: Store, base_url: str, record: Record) -> Document:
    """The record as Stripe shows it."""
    if isinstance(record, Intent):
        return _intent(store, base_url, record)
    return _shaped(record)


@singledispatch
def _shaped(record: Record) -> Document:
    raise AssertionError(record)


def _shown(name: str, record: Record, **values: object) -> Document:
    return copy.deepcopy(_SAMPLES[name]) | {"id": record.id, "created": record.created} | values


def _card_face(name: str) -> Document:
    card = CARDS[name]
    return {
        "brand": card.brand,
        "last4": card.last4,
        "exp_month": 8,
        "exp_year": _EXPIRY_YEAR,
        "fingerprint": f"judge{card.last4:0>11}",
    }


@_shaped.register
def _method(method: Method) -> Document:
    shown = _shown("payment_method", method, customer=method.customer, metadata=method.metadata)
    sample = cast("Document", shown["card"])
    face = _card_face(method.card)
    networks = {"available": [face["brand"]], "preferred": None}
    shown["card"] = sample | face | {"display_brand": face["brand"], "networks": networks}
    return shown


def _intent(store: Store, base_url: str, intent: Intent) -> Document:
    return _shown(
        "payment_intent",
        intent,
        amount=intent.amount,
        amount_capturable=intent.capturable,
        amount_received=intent.received,
        automatic_payment_methods={"enabled": True} if intent.automatic else None,
        canceled_at=intent.canceled_at,
        cancellation_reason=intent.cancellation_reason,
        capture_method=intent.capture_method,
        client_secret=intent.secret,
        currency=intent.currency,
        customer=intent.customer,
        description=intent.description,
        last_payment_error=_last_error(store, base_url, intent),
        latest_charge=intent.charge,
        metadata=intent.metadata,
        next_action=_next_action(base_url, intent),
        payment_method=intent.method,
        payment_method_options={"card": {"request_three_d_secure": "automatic"}},
        payment_method_types=list(intent.types),
        receipt_email=intent.receipt_email,
        status=intent.status,
    )


def _next_action(base_url: str, intent: Intent) -> Document | None:
    if intent.status != "requires_action":
        return None
    url = f"{base_url}/3ds/{intent.id}/{intent.secret}"
    if intent.return_url is None:
        source = {"type": "three_d_secure_redirect", "stripe_js": url, "source": "src_judge"}
        return {"type": "use_stripe_sdk", "use_stripe_sdk": source}
    return {
        "type": "redirect_to_url",
        "redirect_to_url": {"return_url": intent.return_url, "url": url},
    }


def _last_error(store: Store, base_url: str, intent: Intent) -> Document | None:
    if intent.error is None:
        return None
    return decline_error(store, base_url, intent)


def decline_error(store: Store, base_url: str, intent: Intent) -> Document:
    """What is wrong with the card of the payment's last try; without the payment itself."""
    error = intent.error
    assert error is not None
    of_card = error.code != "payment_intent_authentication_failure"
    shown: Document = {
        "type": "card_error" if of_card else "invalid_request_error",
        "code": error.code,
        "doc_url": f"https://docs.stripe.com/error-codes/{error.code.replace('_', '-')}",
        "message": error.message,
    }
    if error.decline_code is not None:
        shown["decline_code"] = error.decline_code
    if intent.error_charge is not None:
        shown["charge"] = intent.error_charge
    if intent.error_method is not None:
        shown["payment_method"] = shape(store, base_url, store.get(Method, intent.error_method))
    return shown


@_shaped.register
def _charge(charge: Charge) -> Document:
    shown = _shown(
        "charge",
        charge,
        amount=charge.amount,
        amount_captured=charge.captured,
        amount_refunded=charge.released + charge.refunded,
        captured=charge.captured > 0,
        currency=charge.currency,
        customer=charge.customer,
        description=charge.description,
        disputed=charge.disputed,
        metadata=charge.metadata,
        paid=charge.decline is None,
        payment_intent=charge.intent,
        payment_method=charge.method,
        refunded=charge.released + charge.refunded == charge.amount,
        status="succeeded" if charge.decline is None else "failed",
    )
    if charge.decline is not None:
        shown |= {"failure_code": charge.decline.code, "failure_message": charge.decline.message}
        shown["outcome"] = cast("Document", shown["outcome"]) | {
            "network_status": "declined_by_network",
            "reason": charge.decline.decline_code or charge.decline.code,
            "seller_message": "The bank did not return any further details with this decline.",
            "type": "issuer_declined",
        }
    details = cast("dict[str, Document]", shown["payment_method_details"])
    details["card"] |= _card_face(charge.card) | {
        "amount_authorized": charge.amount if charge.decline is None else None,
        "capture_before": charge.capture_before,
        "network": CARDS[charge.card].brand,
        "overcapture": {"maximum_amount_capturable": charge.amount, "status": "unavailable"},
    }
    return shown


@_shaped.register
def _refund(refund: Refund) -> Document:
    shown = _shown(
        "refund",
        refund,
        amount=refund.amount,
        charge=refund.charge,
        currency=refund.currency,
        metadata=refund.metadata,
        payment_intent=refund.intent,
        reason=refund.reason,
        status=refund.status,
    )
    if refund.failure_reason is not None:
        shown["failure_reason"] = refund.failure_reason
    return shown


@_shaped.register
def _dispute(dispute: Dispute) -> Document:
    shown = _shown(
        "dispute",
        dispute,
        amount=dispute.amount,
        charge=dispute.charge,
        currency=dispute.currency,
        is_charge_refundable=dispute.status.startswith("warning"),
        payment_intent=dispute.intent,
        reason=dispute.reason,
        status=dispute.status,
    )
    cast("Document", shown["evidence_details"])["due_by"] = dispute.created + _EVIDENCE_SECONDS
    return shown


@_shaped.register
def _event(event: Event) -> Document:
    return _shown(
        "event",
        event,
        api_version=API_VERSION,
        type=event.type,
        data={"object": json.loads(bytes(event.about))},
        pending_webhooks=0,
        request={"id": event.request, "idempotency_key": event.key},
    )


@_shaped.register
def _customer(customer: Customer) -> Document:
    return _shown("customer", customer) | msgspec.structs.asdict(customer)


# --- expanding ----------------------------------------------------------------------------------------------

_EXPANDABLE: Final[dict[str, dict[str, type[Record]]]] = {
    "payment_intent": {"latest_charge": Charge, "customer": Customer, "payment_method": Method},
    "charge": {"customer": Customer, "payment_intent": Intent},
    "refund": {"charge": Charge, "payment_intent": Intent},
    "dispute": {"charge": Charge, "payment_intent": Intent},
    "payment_method": {"customer": Customer},
}


def expand(store: Store, base_url: str, document: Document, paths: tuple[str, ...]) -> Document:
    """The document with what the paths name in place of its ids; 400 for what cannot be expanded."""
    for path in paths:
        steps = path.split(".")
        if len(steps) > MOST_DEEP:
            raise bad_request(
                f"You cannot expand more than {MOST_DEEP} levels of a property.", param="expand"
            )
        _expand_one(store, base_url, document, steps)
    return document


def _expand_one(store: Store, base_url: str, document: Document, steps: list[str]) -> None:
    step, rest = steps[0], steps[1:]
    kind = document["object"]
    if kind in {"list", "search_result"} and step == "data" and rest:
        for item in cast("list[Document]", document["data"]):
            _expand_one(store, base_url, item, rest)
        return
    if kind == "charge" and step == "refunds" and not rest:
        refunds = store.listed(Refund, Wanted(intent=cast("str", document["payment_intent"])))
        document[step] = {
            "object": "list",
            "data": [_refund(refund) for refund in refunds if refund.charge == document["id"]],
            "has_more": False,
            "url": f"/v1/charges/{document['id']}/refunds",
        }
        return
    found = _EXPANDABLE.get(str(kind), {}).get(step)
    if found is None:
        raise bad_request(f"This property cannot be expanded ({step}).", param="expand")
    inner = document[step]
    if isinstance(inner, str):
        document[step] = inner = shape(store, base_url, store.get(found, inner))
    if rest and isinstance(inner, dict):
        _expand_one(store, base_url, inner, rest)
