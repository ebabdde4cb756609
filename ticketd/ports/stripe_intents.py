"""Stripe's payment intents, read as payments of the port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from storage.schema.ids import OrderId
from ticketd.ports.payments import GatewayState, PaymentSnapshot
from ticketd.ports.stripe_answers import StripeCharge, StripeIntent

ORDER_KEY: Final = "order_id"
"""Under which a payment's metadata name its order."""

GIVEN_UP: Final = "abandoned"
"""Why a payment was cancelled that had failed, so that nobody can try another card on it; any other reason, or none,
is a void."""

COUNTED_OTHERWISE: Final = frozenset({"ISK", "MGA", "UGX"})
"""Currencies whose amounts Stripe does not count in the minor units of ISO 4217
(https://docs.stripe.com/currencies): they cannot be charged here."""

_STATES: Final[Mapping[str, GatewayState]] = {
    "requires_payment_method": GatewayState.FAILED,
    "requires_confirmation": GatewayState.FAILED,
    "requires_action": GatewayState.REQUIRES_ACTION,
    # Not decided yet: neither can anything be taken, nor is it over.
    "processing": GatewayState.REQUIRES_ACTION,
    "requires_capture": GatewayState.AUTHORISED,
    "succeeded": GatewayState.CAPTURED,
    "canceled": GatewayState.VOIDED,
}


def state_of(intent: StripeIntent) -> GatewayState:
    """Where the payment stands. A status that is not known here is taken for one that is not decided yet."""
    if intent.status == "canceled" and intent.cancellation_reason == GIVEN_UP:
        return GatewayState.FAILED
    return _STATES.get(intent.status, GatewayState.REQUIRES_ACTION)


def order_of(intent: StripeIntent) -> OrderId | None:
    """The order that the payment is for; None if it names none."""
    try:
        return OrderId(UUID(intent.metadata.get(ORDER_KEY, "")))
    except ValueError:
        return None


def decline_code_of(intent: StripeIntent) -> str | None:
    """Why the last try to pay came to nothing."""
    error = intent.last_payment_error
    return None if error is None else error.decline_code or error.code


def redirect_url_of(intent: StripeIntent) -> str | None:
    """Where the buyer has to act, if it is a page."""
    action = intent.next_action
    return None if action is None or action.redirect_to_url is None else action.redirect_to_url.url


def snapshot_of(intent: StripeIntent) -> PaymentSnapshot | None:
    """The payment as it stands, with its charge if that was asked for; None if it names no order."""
    order_id = order_of(intent)
    if order_id is None:
        return None
    state = state_of(intent)
    charge = intent.latest_charge if isinstance(intent.latest_charge, StripeCharge) else None
    captured = charge.amount_captured if charge is not None and state is GatewayState.CAPTURED else 0
    return PaymentSnapshot(
        payment_ref=intent.id,
        order_id=order_id,
        state=state,
        amount_minor=intent.amount,
        currency=intent.currency.upper(),
        authorised_minor=intent.amount_capturable if state is GatewayState.AUTHORISED else 0,
        captured_minor=captured,
        refunded_minor=0 if charge is None else _refunded(charge, captured),
        is_disputed=charge is not None and charge.disputed,
        decline_code=decline_code_of(intent) if state is GatewayState.FAILED else None,
        redirect_url=redirect_url_of(intent) if state is GatewayState.REQUIRES_ACTION else None,
    )


def _refunded(charge: StripeCharge, captured: int) -> int:
    """What went back of what was taken: Stripe counts what was set aside and never taken as refunded, too."""
    return max(0, captured - (charge.amount - charge.amount_refunded))
