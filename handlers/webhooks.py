"""Webhooks of Stripe: they wake orders, and nothing in them is believed but that something has happened."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from handlers.answers import answer
from handlers.call import AnyCall, Reply, parse_uuid
from handlers.services import Services
from handlers.wire.webhooks import WebhookTaken
from storage.engine import Command
from storage.schema.ids import EventId, OrderId
from storage.schema.layout import EVENT_OF_ORDER, SYSTEM
from ticketd.credentials.stripe_signature import is_signed
from ticketd.domain.webhooks import HeedEvent, event_partitions, heed_event
from ticketd.errors import ErrorCode, Refusal

_DISPUTES: Final = "charge.dispute."


class _Subject(msgspec.Struct, frozen=True):
    """What an event is about: a payment, a charge, a dispute."""

    metadata: dict[str, str] | None = None


class _Data(msgspec.Struct, frozen=True):
    object: _Subject


class _StripeEvent(msgspec.Struct, frozen=True):
    """As much of an event as is read."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    type: Annotated[str, msgspec.Meta(max_length=255)]
    data: _Data


async def receive_stripe_event(services: Services, call: AnyCall) -> Reply:
    """200 for every event that Stripe has signed, known or not, new or not: an order that it is about is looked at.

    Refuses NOT_FOUND where no secret is configured, then INVALID_REQUEST for what is not Stripe's or cannot be read.
    """
    secret = services.settings.payments.stripe_webhook_secret
    if not secret:
        raise Refusal(ErrorCode.NOT_FOUND)
    signature = call.headers.get("stripe-signature", "")
    if not is_signed(secret, signature, call.raw, services.clock.now_ms()):
        raise Refusal(ErrorCode.INVALID_REQUEST, details={"header": "Stripe-Signature"})
    event = _read(call.raw)
    order_id = _order_of(event)
    heed = HeedEvent(
        gateway="stripe",
        name=event.id,
        event_id=None if order_id is None else _event_of(services, order_id),
        order_id=order_id,
    )
    command = Command(
        "heed_event", event_partitions(heed), lambda tx: heed_event(tx, heed), may_use_reserve=True
    )
    is_new = (await services.engine.submit(command)).result
    if is_new and event.type.startswith(_DISPUTES):
        # It names no order: the gateway is asked which disputes there are.
        services.payments.disputes.look_soon()
    return answer(WebhookTaken(received=True))


def _read(raw: bytes) -> _StripeEvent:
    try:
        return msgspec.json.decode(raw, type=_StripeEvent)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Refusal(ErrorCode.INVALID_REQUEST, details={"body": "is no event"}) from None


def _order_of(event: _StripeEvent) -> OrderId | None:
    """The order that a payment, or its charge, names."""
    found = parse_uuid((event.data.object.metadata or {}).get("order_id", ""))
    return None if found is None else OrderId(found)


def _event_of(services: Services, order_id: OrderId) -> EventId | None:
    with services.engine.snapshot(SYSTEM) as view:
        return EVENT_OF_ORDER.get(view, SYSTEM, order_id)
