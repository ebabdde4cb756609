"""The operator's view of the money: the ledger, page by page, and the ledger held against the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from handlers.answers import answer, money, time_text
from handlers.call import AnyCall, Reply
from handlers.services import Services
from handlers.wire.ledger import (
    LedgerDifference,
    LedgerMovement,
    LedgerPage,
    LedgerQuery,
    ReconcileOrderQuery,
    ReconcilePage,
    ReconcileQuery,
)
from storage.schema.ids import EventId, OrderId
from storage.schema.layout import ORDERS, event_partition
from storage.schema.movements import MovementRecord
from ticketd.domain.ledger import LedgerPlace, movements_between
from ticketd.domain.sales import load_sale
from ticketd.errors import ErrorCode, Refusal
from ticketd.ports.payments import DisputeSnapshot, GatewayUnavailable, PaymentSnapshot
from ticketd.tasks.reconciling import Reconciler, Verdict

_FOR_EVER_MS = 1 << 47
"""Past every time that can be written."""


async def list_ledger(services: Services, call: AnyCall) -> Reply:
    """200 with movements of an event's money, oldest first. Refuses EVENT_NOT_FOUND."""
    query = call.query_as(LedgerQuery)
    event_id = EventId(query.event_id)
    span_ms = (_ms(query.since, 0), _ms(query.until, _FOR_EVER_MS))
    after = None if query.after is None else _place_of(query.after)
    with services.engine.snapshot(event_partition(event_id)) as view:
        load_sale(view, event_id)
        found = movements_between(view, event_id, span_ms, after, query.per_page)
    at_end = len(found) < query.per_page
    return answer(
        LedgerPage(
            movements=[_movement(event_id, movement) for movement in found],
            next=None if at_end else _text_of(found[-1]),
        )
    )


async def reconcile_payments(services: Services, call: AnyCall) -> Reply:
    """200 with a page of the gateway's payments, each compared with the ledger. Refuses EVENT_NOT_FOUND, and
    PAYMENT_UNAVAILABLE if the gateway cannot be asked. With an event, what leads to no order of it is left out."""
    query = call.query_as(ReconcileQuery)
    wanted = None if query.event_id is None else EventId(query.event_id)
    if wanted is not None:
        with services.engine.snapshot(event_partition(wanted)) as view:
            load_sale(view, wanted)
    gateway, since_ms = services.gateway, _ms(query.since, 0)
    reconciler = _reconciler(services)
    refs: list[str] = []
    verdicts: list[Verdict] = []
    try:
        try:
            page = await services.payments.call_gateway(lambda: gateway.list_payments(since_ms, query.cursor))
        except ValueError:
            told = {"query": "no such cursor was given out"}
            raise Refusal(ErrorCode.INVALID_REQUEST, details=told) from None
        for payment in page.payments:
            event_id = reconciler.find_event(payment.order_id)
            if wanted in {None, event_id}:
                refs.append(payment.payment_ref)
                verdicts.append(await reconciler.compare_seen(payment, event_id))
    except GatewayUnavailable as trouble:
        raise _unavailable(trouble) from None
    return answer(_page(refs, verdicts, page.next_cursor))


async def reconcile_order(services: Services, call: AnyCall) -> Reply:
    """200 with one order compared with its payment at the gateway. Refuses ORDER_NOT_FOUND, and PAYMENT_UNAVAILABLE if
    the gateway cannot be asked."""
    order_id = OrderId(call.path_id("order_id", ErrorCode.ORDER_NOT_FOUND))
    event_id = EventId(call.query_as(ReconcileOrderQuery).event_id)
    partition = event_partition(event_id)
    with services.engine.snapshot(partition) as view:
        order = ORDERS.get(view, partition, order_id)
    if order is None:
        raise Refusal(ErrorCode.ORDER_NOT_FOUND)
    try:
        verdict = await _reconciler(services).compare_order(event_id, order_id)
    except GatewayUnavailable as trouble:
        raise _unavailable(trouble) from None
    return answer(_page([order.payment_ref or ""], [verdict], None))


def _reconciler(services: Services) -> Reconciler:
    async def fetch(payment_ref: str) -> PaymentSnapshot | None:
        return await services.payments.call_gateway(lambda: services.gateway.fetch(payment_ref))

    async def fetch_disputes(payment_ref: str) -> tuple[DisputeSnapshot, ...]:
        return await services.payments.call_gateway(lambda: services.gateway.disputes_of(payment_ref))

    return Reconciler(services.engine, fetch, fetch_disputes)


def _unavailable(trouble: GatewayUnavailable) -> Refusal:
    return Refusal(
        ErrorCode.PAYMENT_UNAVAILABLE, "The gateway cannot be asked.", details={"problem": str(trouble)}
    )


def _page(refs: list[str], verdicts: Sequence[Verdict], next_cursor: str | None) -> ReconcilePage:
    return ReconcilePage(
        payment_refs=refs,
        under_way=sum(verdict.under_way for verdict in verdicts),
        differences=[
            msgspec.convert(difference, LedgerDifference, from_attributes=True)
            for verdict in verdicts
            for difference in verdict.differences
        ],
        next=next_cursor,
    )


def _movement(event_id: EventId, movement: MovementRecord) -> LedgerMovement:
    return LedgerMovement(
        at=time_text(movement.at_ms),
        event_id=event_id,
        order_id=movement.order_id,
        number=movement.number,
        kind=movement.kind.value,
        amount=money(movement.amount_minor, movement.currency),
        currency=movement.currency,
        gateway=movement.gateway,
        payment_ref=movement.payment_ref,
        movement_ref=movement.movement_ref,
    )


def _text_of(movement: MovementRecord) -> str:
    return f"{movement.at_ms}-{movement.order_id.hex}-{movement.number}"


def _place_of(text: str) -> LedgerPlace:
    at_ms, order_id, number = text.split("-")
    return int(at_ms), OrderId(UUID(hex=order_id)), int(number)


def _ms(when: str | None, otherwise_ms: int) -> int:
    """A time of the query in milliseconds UTC, none before 1970. A day that there is not is INVALID_REQUEST."""
    if when is None:
        return otherwise_ms
    try:
        return max(int(datetime.fromisoformat(when).timestamp() * 1000), 0)
    except (ValueError, OverflowError) as error:
        raise Refusal(ErrorCode.INVALID_REQUEST, details={"query": f"{when}: {error}"}) from None
