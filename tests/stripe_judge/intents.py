"""Payment intents: made, confirmed, captured, cancelled."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from tests.stripe_judge import charging, wallet
from tests.stripe_judge.call import Call, new_id
from tests.stripe_judge.currencies import check_charge
from tests.stripe_judge.records import Charge, Customer, Intent, Method
from tests.stripe_judge.refusals import Document, Refusal, bad_request, wrong_state

CANCELLABLE: Final = frozenset(
    {"requires_payment_method", "requires_confirmation", "requires_action", "requires_capture"}
)
CONFIRMABLE: Final = frozenset({"requires_payment_method", "requires_confirmation", "requires_action"})
_ONLY_TO_CONFIRM: Final = ("return_url", "off_session", "error_on_requires_action")


def create_intent(call: Call) -> Document:
    """Makes a payment and, with ``confirm``, asks the card at once; all that is refused with 400 makes none."""
    params = call.params
    currency = check_charge(params.integer("amount"), params.text("currency"))
    customer = call.meant(Customer, "customer", "customer")
    types, automatic = _methods_taken(call)
    method = wallet.chargeable(call, customer)
    confirmed = params.flag("confirm")
    if confirmed:
        _check_confirmation(call, method, returns=params.text_or_none("return_url"), automatic=automatic)
    else:
        for name in _ONLY_TO_CONFIRM:
            if name in params:
                raise bad_request(
                    f"You may only provide {name} when confirm=true.", code="parameter_unknown", param=name
                )
    intent_id = new_id("pi_")
    intent = Intent(
        id=intent_id,
        created=call.now,
        amount=params.integer("amount"),
        currency=currency,
        status="requires_confirmation" if method is not None else "requires_payment_method",
        secret=new_id(f"{intent_id}_secret_", 25),
        capture_method=params.text_or_none("capture_method") or "automatic_async",
        types=types,
        automatic=automatic,
        customer=None if customer is None else customer.id,
        method=None if method is None else method.id,
        return_url=params.text_or_none("return_url"),
        description=params.text_or_none("description"),
        receipt_email=params.text_or_none("receipt_email"),
        metadata=params.metadata(),
    )
    if method is not None:
        call.store.put(method)
    call.store.put(intent)
    call.emit("payment_intent.created", intent)
    if not confirmed:
        return call.show(intent)
    assert method is not None
    return charging.confirm(call, intent, method, off_session=params.flag("off_session"))


def _methods_taken(call: Call) -> tuple[tuple[str, ...], bool]:
    """The types of payment, and whether the Dashboard chooses them, as it does where nothing is said.

    Another than cards is not known here.
    """
    params, group = call.params, call.params.group("automatic_payment_methods")
    if "payment_method_types" in params and "automatic_payment_methods" in params:
        raise bad_request(
            "You may only specify one of these parameters: automatic_payment_methods, payment_method_types."
        )
    if "payment_method_types" in params:
        if params.texts("payment_method_types") != ("card",):
            raise bad_request("The payment method type provided is invalid.", param="payment_method_types")
        return ("card",), False
    return ("card", "link"), "automatic_payment_methods" not in params or group.flag("enabled")


def _check_confirmation(call: Call, method: Method | None, *, returns: str | None, automatic: bool) -> None:
    params = call.params
    if params.flag("off_session") and params.flag("error_on_requires_action"):
        raise bad_request("You may not use error_on_requires_action with off_session.", param="off_session")
    redirects = params.group("automatic_payment_methods").text_or_none("allow_redirects") != "never"
    if automatic and redirects and returns is None:
        raise bad_request(
            "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because some of "
            "these payment methods might redirect your customer off of your page, you must provide a `return_url`."
        )
    if method is None:
        raise bad_request(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            code="payment_intent_unexpected_state",
        )


def retrieve_intent(call: Call) -> Document:
    return call.show(call.named(Intent, "payment_intent"))


def confirm_intent(call: Call) -> Document:
    """Asks the card of a payment that waits for it."""
    intent = call.named(Intent, "payment_intent")
    if intent.status not in CONFIRMABLE:
        raise wrong_state(
            f"You cannot confirm this PaymentIntent because it has a status of {intent.status}.",
            call.show(intent),
        )
    customer = call.store.get(Customer, intent.customer) if intent.customer is not None else None
    method = wallet.chargeable(call, customer)
    if method is None and intent.method is not None:
        method = call.store.get(Method, intent.method)
        spent = (
            method.spent and intent.status != "requires_action"
        )  # There it was this payment that spent it.
        if spent or (method.customer is not None and method.customer != intent.customer):
            raise bad_request(wallet.SPENT)
    returns = call.params.text_or_none("return_url") or intent.return_url
    _check_confirmation(call, method, returns=returns, automatic=intent.automatic)
    assert method is not None
    intent = replace(intent, return_url=returns)
    return charging.confirm(call, intent, method, off_session=call.params.flag("off_session"))


def capture_intent(call: Call) -> Document:
    """Takes what was authorised, or less; once."""
    intent = call.named(Intent, "payment_intent")
    if intent.status != "requires_capture":
        raise wrong_state(
            "This PaymentIntent could not be captured because it has a status of "
            f"{intent.status}. Only a PaymentIntent with one of the following statuses may be captured: "
            "requires_capture.",
            call.show(intent),
        )
    amount = call.params.integer("amount_to_capture", intent.capturable)
    if amount > intent.capturable:
        raise bad_request(
            f"The provided `amount_to_capture` is greater than the amount you can capture: {intent.capturable}.",
            code="amount_too_large",
            param="amount_to_capture",
        )
    return call.show(charging.take(call, intent, amount))


def cancel_intent(call: Call) -> Document:
    """Ends a payment of which nothing was taken."""
    intent = call.named(Intent, "payment_intent")
    if intent.status not in CANCELLABLE:
        raise wrong_state(
            f"You cannot cancel this PaymentIntent because it has a status of {intent.status}. Only a PaymentIntent "
            f"with one of the following statuses may be canceled: {', '.join(sorted(CANCELLABLE))}.",
            call.show(intent),
        )
    return call.show(charging.end(call, intent, call.params.text_or_none("cancellation_reason")))


def retrieve_charge(call: Call) -> Document:
    return call.show(call.named(Charge, "charge"))


def intent_behind_page(call: Call, secret: str) -> Intent:
    """The payment whose bank's page this is; 404 if the address is not one that was given out, 400 if it is over."""
    intent = call.store.find(Intent, call.name)
    if intent is None or intent.secret != secret:
        raise Refusal(404, "No such page")
    if intent.status != "requires_action":
        raise bad_request(f"This payment has a status of {intent.status}.")
    return intent
