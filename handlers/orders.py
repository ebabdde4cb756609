"""Orders: placing one for a hold, looking at one's own, cancelling.

Placing is a job of the payment desk: it goes on when the client is gone, and the 201 is stored in the commit that sells
the seats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, cast

import msgspec
from msgspec.structs import replace

from handlers.answers import answer, encode_json, money, optional_time, time_text
from handlers.call import AnyCall, Call, Reply, parse_uuid
from handlers.commit import REPLAYED, Decision, commit
from handlers.errors import error_reply
from handlers.ownership import own_things, require_event
from handlers.payment_methods import stored_address
from handlers.services import Services
from handlers.ticket_art import download_url, qr_code_of
from handlers.wire.common import PageQuery, page_of
from handlers.wire.orders import (
    CreateOrder,
    DeliveryMethod,
    NextAction,
    OrderCancelled,
    OrderCreated,
    OrderDetails,
    OrderEvent,
    OrderList,
    OrderSeat,
    OrderSummary,
    OrderTicket,
)
from storage.engine import Reader, Transaction
from storage.schema.ids import EventId, OrderId, PaymentMethodId, ReservationId, seat_id
from storage.schema.layout import (
    BUYER_ORDERS,
    EVENT,
    ORDERS,
    RESERVATIONS,
    SALE,
    SYSTEM,
    buyer_partition,
    event_partition,
)
from storage.schema.records import OrderRecord, ReplyPlace, TicketRecord
from storage.schema.states import OrderState, PaymentState
from ticketd.domain.cancellation import CancelOrder, cancel_order
from ticketd.domain.checkout import BeginCheckout
from ticketd.domain.ledger import read_balance
from ticketd.domain.order_book import find_order
from ticketd.domain.seat_labels import seat_labels
from ticketd.domain.tickets import order_tickets
from ticketd.errors import ErrorCode, Refusal
from ticketd.ids import new_id

_NOT_CHARGED: Final = "NOT_CHARGED"
_PROCESSING: Final = "PROCESSING"
_ABOUT_THE_KEY: Final = frozenset({ErrorCode.IDEMPOTENCY_KEY_IN_USE, ErrorCode.IDEMPOTENCY_KEY_REUSED})


async def create_order(services: Services, call: Call[CreateOrder]) -> Reply:
    """201 with the order, PENDING/AUTHORIZED, or PENDING/REQUIRES_ACTION with ``next_action``."""
    body, event_id = call.body, call.principal.event_id
    method = parse_uuid(body.payment_method_id)
    if method is None:
        raise Refusal(ErrorCode.INVALID_PAYMENT_METHOD)
    order_id = OrderId(new_id())
    begin = BeginCheckout(
        order_id=order_id,
        event_id=event_id,
        user_id=call.principal.user_id,
        reservation_id=ReservationId(body.reservation_id),
        payment_method_id=PaymentMethodId(method),
        billing_address=stored_address(body.billing_address),
        delivery_method=body.delivery_method,
        gateway=services.gateway.name,
        return_url=services.settings.payments.return_url or services.public_url,
        freeze_ms=services.settings.payments.freeze_seconds * 1000,
        resume_ms=services.payments.resume_ms,
        session_id=call.session_id,
        reply=_reply_place(call),
    )
    try:
        placed = await services.payments.place_order(begin)
    except Refusal as refusal:
        if refusal.code not in _ABOUT_THE_KEY:
            raise
        # It tells of the first try, whose outcome is the one to be kept.
        return replace(error_reply(refusal, call.request_id, services.clock.now_ms()), kept=True)
    headers = (REPLAYED,) if placed.is_repeated else ()
    return Reply(status=placed.status, body=placed.body, headers=headers, kept=begin.reply is not None)


def render_created(reader: Reader, event_id: EventId, order: OrderRecord) -> bytes:
    """The body of the 201 that answers a placed order."""
    return encode_json(
        OrderCreated(
            order_id=order.order_id,
            reservation_id=order.reservation_id,
            status=order.state.value,
            seats=_seats(reader, event_id, order),
            currency=order.currency,
            subtotal=money(order.subtotal_minor, order.currency),
            fees=money(order.fees_minor, order.currency),
            taxes=money(order.taxes_minor, order.currency),
            total=money(order.total_minor, order.currency),
            payment_status=order.payment_state.value,
            delivery_method=cast(DeliveryMethod, order.delivery_method),
            created_at=time_text(order.created_at_ms),
            next_action=_next_action(reader, event_id, order),
        )
    )


def render_refused(refusal: Refusal, request_id: str, now_ms: int) -> bytes:
    """The body of the answer to a request for an order that came to nothing."""
    return error_reply(refusal, request_id, now_ms).body


async def list_orders(services: Services, call: AnyCall) -> Reply:
    """200 with the buyer's orders, newest first; with an access token, those of its event."""
    query = call.query_as(PageQuery)
    with services.engine.snapshot() as view:
        shown, pagination = page_of(own_things(view, call, BUYER_ORDERS), query)
        orders = [_summary(view, event_id, OrderId(order_id)) for event_id, order_id in shown]
    return answer(OrderList(orders=orders, pagination=pagination))


async def get_order(services: Services, call: AnyCall) -> Reply:
    """200 with the order and, once it is CONFIRMED, its tickets. If it waits for its buyer to act, the gateway is asked
    at once whether that was done, which the next call shows."""
    order_id = OrderId(call.path_id("order_id", ErrorCode.ORDER_NOT_FOUND))
    with services.engine.snapshot() as view:
        event_id, order = find_order(view, call.principal.user_id, order_id)
        require_event(call, event_id)
        details = _details(view, event_id, order)
        tickets = order_tickets(view, event_id, order)
    services.payments.look_soon(event_id, order)
    shown = [await _ticket(services, event_id, ticket) for ticket in tickets]
    return answer(replace(details, tickets=shown))


async def cancel_own_order(services: Services, call: AnyCall) -> Reply:
    """200: the order is cancelled, its seats are on sale again, its money is on its way back."""
    order_id = OrderId(call.path_id("order_id", ErrorCode.ORDER_NOT_FOUND))
    user_id = call.principal.user_id
    buyer = buyer_partition(user_id)
    with services.engine.snapshot() as view:
        event_id, _ = find_order(view, user_id, order_id)
    require_event(call, event_id)
    command = CancelOrder(event_id=event_id, order_id=order_id, user_id=user_id, session_id=call.session_id)

    def decide(tx: Transaction) -> OrderRecord:
        return cancel_order(tx, command)

    partitions = (event_partition(event_id), buyer, SYSTEM)
    decision = Decision("cancel_order", partitions, decide, _cancelled, may_use_reserve=True)
    return await commit(services, call, decision)


def _cancelled(order: OrderRecord) -> Reply:
    refunding = order.payment_state is PaymentState.REFUND_PENDING
    return answer(
        OrderCancelled(
            order_id=order.order_id,
            status=order.state.value,
            refund_amount=money(order.refund_minor, order.currency),
            currency=order.currency,
            refund_status=_PROCESSING if refunding else _NOT_CHARGED,
            cancelled_at=time_text(order.cancelled_at_ms or 0),
        )
    )


def _reply_place(call: AnyCall) -> ReplyPlace | None:
    if call.idempotent is None:
        return None
    return ReplyPlace(
        digest=call.idempotent.digest,
        fingerprint=call.idempotent.fingerprint,
        request_id=call.request_id,
    )


def _seats(reader: Reader, event_id: EventId, order: OrderRecord) -> list[OrderSeat]:
    hold = RESERVATIONS.get(reader, event_partition(event_id), order.reservation_id)
    prices: Sequence[tuple[int, int]] = hold.prices if hold is not None else ((0, 0),) * len(order.seats)
    labels = seat_labels(reader, event_id, order.seats)
    return [
        OrderSeat(
            seat_id=seat_id(event_id, seat),
            section=label.section,
            row=label.row,
            seat=label.seat,
            price=money(price, order.currency),
        )
        for seat, label, (price, _) in zip(order.seats, labels, prices, strict=True)
    ]


def _next_action(reader: Reader, event_id: EventId, order: OrderRecord) -> NextAction | msgspec.UnsetType:
    if order.payment_state is not PaymentState.REQUIRES_ACTION or order.redirect_url is None:
        return msgspec.UNSET
    hold = RESERVATIONS.get(reader, event_partition(event_id), order.reservation_id)
    kind: Literal["REDIRECT"] = "REDIRECT"
    return NextAction(
        type=kind,
        redirect_url=order.redirect_url,
        expires_at=time_text(order.created_at_ms if hold is None else hold.expires_at_ms),
        client_secret=msgspec.UNSET if order.client_secret is None else order.client_secret,
    )


def _event(reader: Reader, event_id: EventId) -> OrderEvent:
    partition = event_partition(event_id)
    event, sale = EVENT.get(reader, partition), SALE.get(reader, partition)
    if event is None or sale is None:
        raise LookupError(f"event {event_id} has orders and no record")
    return OrderEvent(
        event_id=event_id, name=event.name, date=time_text(sale.date_ms), venue=event.venue.name
    )


def _summary(reader: Reader, event_id: EventId, order_id: OrderId) -> OrderSummary:
    order = ORDERS.get(reader, event_partition(event_id), order_id)
    if order is None:
        raise LookupError(f"event {event_id}: there is no order {order_id}")
    return OrderSummary(
        order_id=order.order_id,
        event=_event(reader, event_id),
        seat_count=len(order.seats),
        currency=order.currency,
        total=money(order.total_minor, order.currency),
        status=order.state.value,
        payment_status=order.payment_state.value,
        created_at=time_text(order.created_at_ms),
        confirmed_at=optional_time(order.confirmed_at_ms),
        cancelled_at=optional_time(order.cancelled_at_ms),
    )


def _given_back_minor(reader: Reader, event_id: EventId, order: OrderRecord) -> int:
    # Only beside a bank is it another sum than the order's own.
    if order.dispute is None:
        return order.refund_minor
    return read_balance(reader, event_id, order.order_id).given_back_minor(order)


def _details(reader: Reader, event_id: EventId, order: OrderRecord) -> OrderDetails:
    gives_back = order.state is OrderState.CANCELLED or order.refund_minor > 0
    return OrderDetails(
        order_id=order.order_id,
        reservation_id=order.reservation_id,
        event=_event(reader, event_id),
        seats=_seats(reader, event_id, order),
        currency=order.currency,
        subtotal=money(order.subtotal_minor, order.currency),
        fees=money(order.fees_minor, order.currency),
        taxes=money(order.taxes_minor, order.currency),
        total=money(order.total_minor, order.currency),
        status=order.state.value,
        payment_status=order.payment_state.value,
        delivery_method=cast(DeliveryMethod, order.delivery_method),
        tickets=[],
        created_at=time_text(order.created_at_ms),
        confirmed_at=optional_time(order.confirmed_at_ms),
        cancelled_at=optional_time(order.cancelled_at_ms),
        refund_amount=money(_given_back_minor(reader, event_id, order), order.currency)
        if gives_back
        else None,
        next_action=_next_action(reader, event_id, order),
    )


async def _ticket(services: Services, event_id: EventId, ticket: TicketRecord) -> OrderTicket:
    return OrderTicket(
        ticket_id=ticket.ticket_id,
        qr_code=await qr_code_of(services, event_id, ticket),
        download_url=download_url(services, ticket),
        status=ticket.state.value,
    )
