"""What becomes of a payment when its card is asked, when its money is taken, and when its authorisation ends."""

from __future__ import annotations

from msgspec.structs import replace

from tests.stripe_judge.call import Call, new_id
from tests.stripe_judge.cards import AUTHENTICATION_FAILED, AUTHENTICATION_REQUIRED, CARDS, Decline
from tests.stripe_judge.disputes import open_dispute
from tests.stripe_judge.records import Charge, Intent, Method
from tests.stripe_judge.refusals import Document, Refusal
from tests.stripe_judge.shapes import decline_error


def confirm(call: Call, intent: Intent, method: Method, *, off_session: bool) -> Document:
    """Asks the card: authorised, to be acted for, or declined (402; the payment stays, without its card)."""
    if method.customer is None:
        method = replace(method, spent=True)
    call.store.put(method)
    intent = replace(intent, method=method.id, error=None, error_method=None, error_charge=None)
    card = CARDS[method.card]
    if card.challenged and not off_session:
        intent = replace(intent, status="requires_action")
        call.store.put(intent)
        call.emit("payment_intent.requires_action", intent)
        return call.show(intent)
    decline = AUTHENTICATION_REQUIRED if card.challenged else card.decline
    if decline is None:
        return call.show(_approve(call, intent, method))
    intent = _decline(call, intent, method, decline)
    error = decline_error(call.store, call.base_url, intent) | {"payment_intent": call.show(intent)}
    raise Refusal(
        402, decline.message, **{name: error[name] for name in error if name not in {"message", "doc_url"}}
    )


def _charge_of(call: Call, intent: Intent, method: Method, decline: Decline | None) -> Charge:
    return Charge(
        id=new_id("ch_"),
        created=call.now,
        amount=intent.amount,
        currency=intent.currency,
        intent=intent.id,
        method=method.id,
        card=method.card,
        customer=intent.customer,
        decline=decline,
        description=intent.description,
        metadata=intent.metadata,
    )


def _decline(call: Call, intent: Intent, method: Method, decline: Decline) -> Intent:
    charge = _charge_of(call, intent, method, decline)
    call.store.put(charge)
    call.emit("charge.failed", charge)
    intent = replace(
        intent,
        status="requires_payment_method",
        method=None,
        charge=charge.id,
        error=decline,
        error_method=method.id,
        error_charge=charge.id,
    )
    call.store.put(intent)
    call.emit("payment_intent.payment_failed", intent)
    return intent


def _approve(call: Call, intent: Intent, method: Method) -> Intent:
    charge = _charge_of(call, intent, method, None)
    by_hand = intent.capture_method == "manual"
    if by_hand:
        charge = replace(charge, capture_before=call.now + call.behaviour.authorisation_seconds)
    call.store.put(charge)
    call.emit("charge.succeeded", charge)
    if not by_hand:
        return take(call, replace(intent, charge=charge.id, capturable=intent.amount), intent.amount)
    intent = replace(intent, status="requires_capture", charge=charge.id, capturable=intent.amount)
    call.store.put(intent)
    call.emit("payment_intent.amount_capturable_updated", intent)
    return intent


def end_challenge(call: Call, intent: Intent, *, passed: bool) -> Intent:
    """What the buyer did at the bank's page: the card is charged, or the payment waits for another."""
    assert intent.status == "requires_action"
    assert intent.method is not None
    method = call.store.get(Method, intent.method)
    if passed:
        return _approve(call, intent, method)
    intent = replace(
        intent,
        status="requires_payment_method",
        method=None,
        error=AUTHENTICATION_FAILED,
        error_method=method.id,
    )
    call.store.put(intent)
    call.emit("payment_intent.payment_failed", intent)
    return intent


def take(call: Call, intent: Intent, amount: int) -> Intent:
    """Takes so much of an authorised payment, and releases the rest."""
    assert intent.charge is not None
    by_hand = intent.capture_method == "manual"
    charge = call.store.get(Charge, intent.charge)
    charge = replace(charge, captured=amount, released=charge.amount - amount, capture_before=None)
    intent = replace(intent, status="succeeded", capturable=0, received=amount)
    call.store.put(charge)
    call.store.put(intent)
    if by_hand:
        call.emit("charge.captured", charge)
    call.emit("payment_intent.succeeded", intent)
    if CARDS[charge.card].disputed:
        open_dispute(call, charge, amount, "fraudulent")
    return intent


def end(call: Call, intent: Intent, reason: str | None) -> Intent:
    """Cancels a payment that was not taken, and releases what was authorised."""
    if intent.status == "requires_capture":
        assert intent.charge is not None
        charge = call.store.get(Charge, intent.charge)
        charge = replace(charge, released=charge.amount, capture_before=None)
        call.store.put(charge)
        call.emit("charge.expired" if reason == "automatic" else "charge.refunded", charge)
    intent = replace(
        intent, status="canceled", capturable=0, canceled_at=call.now, cancellation_reason=reason
    )
    call.store.put(intent)
    call.emit("payment_intent.canceled", intent)
    return intent


def expire_authorisations(call: Call) -> None:
    """Cancels what was authorised and not captured in time."""
    for charge in call.store.due_charges(call.now):
        end(call, call.store.get(Intent, charge.intent), "automatic")
