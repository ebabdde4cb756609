"""Payment methods: adding a card by its token, listing, forgetting."""

from __future__ import annotations

from uuid import uuid4

from handlers.answers import answer, no_content
from handlers.call import AnyCall, Call, Reply
from handlers.commit import Decision, commit
from handlers.services import Services
from handlers.wire.common import Address, PageQuery, page_of
from handlers.wire.payment_methods import AddPaymentMethodBody, PaymentMethodAnswer, PaymentMethodList
from storage.engine import Transaction
from storage.schema.ids import PaymentMethodId
from storage.schema.layout import buyer_partition
from storage.schema.records import AddressRecord, PaymentMethodRecord
from ticketd.domain.payment_methods import (
    AddPaymentMethod,
    RemovePaymentMethod,
    add_payment_method,
    find_customer,
    find_payment_method,
    list_payment_methods,
    remove_payment_method,
)
from ticketd.errors import ErrorCode, Refusal
from ticketd.ids import new_id
from ticketd.ports.payments import GatewayUnavailable, MethodRefused, MethodRequest


async def create_payment_method(services: Services, call: Call[AddPaymentMethodBody]) -> Reply:
    """201 with the card. Refuses INVALID_PAYMENT_METHOD for a token that the gateway does not take,
    PAYMENT_UNAVAILABLE if it cannot be asked."""
    return await services.payments.see_through(lambda: _add_card(services, call))


async def get_payment_methods(services: Services, call: AnyCall) -> Reply:
    """200 with the buyer's cards."""
    query = call.query_as(PageQuery)
    user_id = call.principal.user_id
    with services.engine.snapshot(buyer_partition(user_id)) as view:
        found = list_payment_methods(view, user_id)
    shown, pagination = page_of(found, query)
    body = PaymentMethodList(payment_methods=[_told(record) for record in shown], pagination=pagination)
    return answer(body)


async def delete_payment_method(services: Services, call: AnyCall) -> Reply:
    """204: the card is forgotten, here and, as far as it can be asked, by the gateway."""
    command = RemovePaymentMethod(
        call.principal.user_id,
        PaymentMethodId(call.path_id("payment_method_id", ErrorCode.PAYMENT_METHOD_NOT_FOUND)),
    )
    partition = buyer_partition(command.user_id)
    with services.engine.snapshot(partition) as view:
        known = find_payment_method(view, command.user_id, command.payment_method_id)

    def decide(tx: Transaction) -> PaymentMethodRecord:
        return remove_payment_method(tx, command)

    decision = Decision(
        "remove_payment_method", (partition,), decide, lambda _: no_content(), may_use_reserve=True
    )
    reply = await commit(services, call, decision)
    if known is not None:
        services.payments.forget_method_soon(known.method_ref)
    return reply


def stored_address(address: Address) -> AddressRecord:
    """A billing address as it is stored."""
    return AddressRecord(
        street=address.street,
        city=address.city,
        state=address.state,
        postal_code=address.postal_code,
        country=address.country,
    )


async def _add_card(services: Services, call: Call[AddPaymentMethodBody]) -> Reply:
    # With an Idempotency-Key a repeated request, but no other one, asks the gateway under the same key again.
    again = call.idempotent
    key = uuid4().hex if again is None else f"{again.digest.hex()}:{again.fingerprint.hex()}"
    user_id, gateway = call.principal.user_id, services.gateway
    with services.engine.snapshot(buyer_partition(user_id)) as view:
        customer_ref = find_customer(view, user_id, gateway.name)
    request = MethodRequest(card_token=call.body.card_token, user_id=user_id, customer_ref=customer_ref)
    try:
        outcome = await services.payments.call_gateway(
            lambda: gateway.describe_method(request, f"method:{key}")
        )
    except GatewayUnavailable:
        raise Refusal(ErrorCode.PAYMENT_UNAVAILABLE) from None
    if isinstance(outcome, MethodRefused):
        raise Refusal(ErrorCode.INVALID_PAYMENT_METHOD)
    address = call.body.billing_address
    command = AddPaymentMethod(
        user_id=user_id,
        payment_method_id=PaymentMethodId(new_id()),
        gateway=gateway.name,
        method_ref=outcome.gateway_method_ref,
        brand=outcome.brand,
        last_four=outcome.last_four,
        expiry_month=outcome.expiry_month,
        expiry_year=outcome.expiry_year,
        billing_address=None if address is None else stored_address(address),
        customer_ref=outcome.customer_ref,
    )

    def decide(tx: Transaction) -> PaymentMethodRecord:
        return add_payment_method(tx, command)

    decision = Decision(
        "add_payment_method",
        (buyer_partition(command.user_id),),
        decide,
        lambda record: answer(_told(record), status=201),
    )
    return await commit(services, call, decision)


def _told(record: PaymentMethodRecord) -> PaymentMethodAnswer:
    return PaymentMethodAnswer(
        payment_method_id=record.payment_method_id,
        type="CARD",
        card_last_four=record.last_four,
        card_brand=record.brand,
        expiry=f"{record.expiry_month:02}/{record.expiry_year}",
        is_default=record.is_default,
    )
