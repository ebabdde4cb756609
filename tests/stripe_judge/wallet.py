"""Customers and their cards."""

from __future__ import annotations

from msgspec.structs import replace

from tests.stripe_judge.call import Call, new_id
from tests.stripe_judge.cards import CARDS, Decline, name_of_shared_method, name_of_token
from tests.stripe_judge.records import Customer, Method, Token
from tests.stripe_judge.refusals import Document, Refusal, bad_request, missing_in_parameter, missing_in_path

SPENT = (
    "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, shared with a "
    "connected account without Customer attachment, or was detached from a Customer. It may not be used again. To use "
    "a PaymentMethod multiple times, you must attach it to a Customer first."
)


def create_customer(call: Call) -> Document:
    params = call.params
    customer = Customer(
        id=new_id("cus_", 14),
        created=call.now,
        name=params.text_or_none("name"),
        email=params.text_or_none("email"),
        phone=params.text_or_none("phone"),
        description=params.text_or_none("description"),
        metadata=params.metadata(),
    )
    call.store.put(customer)
    call.emit("customer.created", customer)
    return call.show(customer)


def retrieve_customer(call: Call) -> Document:
    return call.show(call.named(Customer, "customer"))


def create_method(call: Call) -> Document:
    """A card from a token: a test token makes a new card each time, a real one can be used once."""
    token = call.params.group("card").text("token")
    card, used = name_of_token(token), None
    if card is None:
        used = call.store.find(Token, token)
        if used is None:
            raise missing_in_parameter("token", token, "card[token]")
        if used.spent:
            raise bad_request(
                f"You cannot use a Stripe token more than once: {token}.", code="token_already_used"
            )
        call.store.put(replace(used, spent=True))
        card = used.card
    method = _new_method(call, card, call.params.metadata())
    return call.show(method)


def _new_method(call: Call, card: str, metadata: dict[str, str]) -> Method:
    method = Method(id=new_id("pm_"), created=call.now, card=card, metadata=metadata)
    call.store.put(method)
    return method


def retrieve_method(call: Call) -> Document:
    return call.show(call.named(Method, "PaymentMethod"))


def attach_method(call: Call) -> Document:
    """Gives the card to the customer; refuses an unknown one of either, one that has its customer, a spent one, a
    declined one."""
    shared = name_of_shared_method(call.name)
    found = call.store.find(Method, call.name)
    if shared is None and found is None:
        raise missing_in_path("PaymentMethod", call.name)
    customer = call.meant(Customer, "customer", "customer")
    assert customer is not None
    if found is not None and found.customer is not None:
        raise bad_request("The payment method you provided has already been attached to a customer.")
    if found is not None and found.spent:
        raise bad_request(SPENT)
    card = found.card if found is not None else shared
    assert card is not None
    decline = CARDS[card].decline
    if decline is not None and not CARDS[card].attachable and call.behaviour.declines_on_attach:
        raise card_declined(decline)
    method = replace(found or _new_method(call, card, {}), customer=customer.id)
    call.store.put(method)
    call.emit("payment_method.attached", method)
    return call.show(method)


def card_declined(decline: Decline, **further: object) -> Refusal:
    """402."""
    if decline.decline_code is not None:
        further["decline_code"] = decline.decline_code
    return Refusal(402, decline.message, type="card_error", code=decline.code, **further)


def detach_method(call: Call) -> Document:
    """Takes the card from its customer, for ever."""
    method = call.named(Method, "PaymentMethod")
    if method.customer is None:
        raise bad_request(
            "The payment method you provided is not attached to a customer so detachment is impossible."
        )
    method = replace(method, customer=None, spent=True)
    call.store.put(method)
    call.emit("payment_method.detached", method)
    return call.show(method)


def chargeable(call: Call, customer: Customer | None) -> Method | None:
    """The card that the parameter ``payment_method`` names, if this customer (or nobody) may use it; else 400.

    A shared name such as ``pm_card_visa`` gives a card that is not kept yet: the caller keeps it.
    """
    name = call.params.text_or_none("payment_method")
    if name is None:
        return None
    shared = name_of_shared_method(name)
    if shared is not None:
        return Method(id=new_id("pm_"), created=call.now, card=shared)
    method = call.meant(Method, "PaymentMethod", "payment_method")
    assert method is not None
    if method.spent:
        raise bad_request(SPENT, param="payment_method")
    if method.customer is not None and customer is None:
        raise bad_request(
            "The payment method you provided is attached to a customer so for security purposes you must provide the "
            "customer in the request.",
            param="payment_method",
        )
    if method.customer is not None and customer is not None and method.customer != customer.id:
        raise bad_request(
            f"The customer does not have a payment method with the ID {method.id}. The payment method must be "
            "attached to the customer.",
            code="resource_missing",
            param="payment_method",
        )
    return method
