"""The box office: a till sells seats that were paid for at once, shows a sale again, and takes one back.

Any till's key opens the sales of all tills: people come back to whichever window is open.
"""

from __future__ import annotations

import os
from typing import cast

from msgspec.structs import replace

from handlers.answers import answer, money, optional_time, time_text
from handlers.call import AnyCall, Call, Reply
from handlers.commit import Decision, commit
from handlers.inventory import check_choice, seat_numbers
from handlers.services import Services
from handlers.ticket_art import WITHOUT_ART, download_url, qr_code_of, ticket_code
from handlers.wire.box_office import RefundAtTillBody, SellAtTillBody, TillPaid, TillSale, TillTicket
from handlers.wire.orders import DeliveryMethod
from storage.engine import Reader, Transaction
from storage.schema.ids import (
    EventId,
    OrderId,
    RefundId,
    ReservationId,
    SectionId,
    TicketId,
    TierId,
    UserId,
    seat_id,
)
from storage.schema.layout import (
    EVENT_OF_ORDER,
    RESERVATIONS,
    SYSTEM,
    buyer_partition,
    event_partition,
)
from storage.schema.movements import BOX_OFFICE
from storage.schema.records import ApiKeyRecord, OrderRecord
from storage.schema.states import OrderState
from ticketd.domain.box_office import (
    RefundAtTill,
    SellAtTill,
    find_till_order,
    refund_at_till,
    sell_at_till,
    till_user,
)
from ticketd.domain.seat_labels import seat_labels
from ticketd.domain.tickets import order_tickets
from ticketd.errors import ErrorCode, Refusal
from ticketd.ids import new_id


async def create_till_sale(services: Services, call: Call[SellAtTillBody]) -> Reply:
    """201 with the sale and its tickets: the seats are sold, the money is in the ledger."""
    till = _require_till(services, call)
    check_choice(call.body)
    command = _sale_of(services, call, till)
    event_id = command.event_id

    def decide(tx: Transaction) -> TillSale:
        return _shown(services, tx, event_id, sell_at_till(tx, command))

    def render(sale: TillSale) -> Reply:
        place = f"/v1/box-office/sales/{sale.order_id}"
        return answer(sale, status=201, headers=(("Location", place),))

    partitions = (event_partition(event_id), buyer_partition(command.user_id), SYSTEM)
    return await commit(services, call, Decision("sell_at_till", partitions, decide, render))


async def get_till_sale(services: Services, call: AnyCall) -> Reply:
    """200 with a sale as it stands, each ticket with its picture, to be printed again."""
    _require_till(services, call)
    event_id, order_id = _find_sale(services, call)
    with services.engine.snapshot(event_partition(event_id)) as view:
        order = find_till_order(view, event_id, order_id)
        sale = _shown(services, view, event_id, order)
        tickets = order_tickets(view, event_id, order)
    pictures = [await qr_code_of(services, event_id, ticket) for ticket in tickets]
    shown = zip(sale.tickets, pictures, strict=True)
    return answer(replace(sale, tickets=[replace(one, qr_code=picture) for one, picture in shown]))


async def refund_till_sale(services: Services, call: Call[RefundAtTillBody]) -> Reply:
    """200 with the sale: money was given back, the seats are on sale, their tickets void; CANCELLED if it was all."""
    till = _require_till(services, call)
    event_id, order_id = _find_sale(services, call)
    named = call.body.ticket_ids
    command = RefundAtTill(
        event_id=event_id,
        order_id=order_id,
        refund_id=RefundId(new_id()),
        key_id=till.key_id,
        receipt=call.body.receipt,
        ticket_ids=None if named is None else tuple(TicketId(one) for one in named),
    )

    def decide(tx: Transaction) -> TillSale:
        return _shown(services, tx, event_id, refund_at_till(tx, command))

    partitions = (event_partition(event_id),)
    decision = Decision("refund_at_till", partitions, decide, answer, may_use_reserve=True)
    return await commit(services, call, decision)


def _require_till(services: Services, call: AnyCall) -> ApiKeyRecord:
    """The key of the till that calls. Refuses NOT_FOUND where no till sells."""
    payments, key = services.settings.payments, call.principal.api_key
    if key is None or not (payments.box_office or payments.gateway == BOX_OFFICE):
        raise Refusal(ErrorCode.NOT_FOUND)
    return key


def _sale_of(services: Services, call: Call[SellAtTillBody], till: ApiKeyRecord) -> SellAtTill:
    body, event_id = call.body, EventId(call.body.event_id)
    seats = None if body.seat_ids is None else seat_numbers(event_id, body.seat_ids)
    wanted = (body.quantity or 1) if seats is None else len(seats)
    return SellAtTill(
        event_id=event_id,
        order_id=OrderId(new_id()),
        reservation_id=ReservationId(new_id()),
        user_id=till_user(till.secret_hash) if body.user_id is None else UserId(body.user_id),
        key_id=till.key_id,
        method=body.payment.method,
        receipt=body.payment.receipt,
        seats=seats,
        section_id=None if body.section_id is None else SectionId(body.section_id),
        tier_id=None if body.tier_id is None else TierId(body.tier_id),
        delivery_method=body.delivery_method,
        ticket_ids=tuple(TicketId(new_id()) for _ in range(wanted)),
        seed=os.urandom(32),
        kid=services.keys.ticket_key.kid,
        session_id=call.session_id,
    )


def _find_sale(services: Services, call: AnyCall) -> tuple[EventId, OrderId]:
    """The sale of the path, and its event. Refuses ORDER_NOT_FOUND, also for an order that no till sold."""
    order_id = OrderId(call.path_id("order_id", ErrorCode.ORDER_NOT_FOUND))
    with services.engine.snapshot(SYSTEM) as view:
        event_id = EVENT_OF_ORDER.get(view, SYSTEM, order_id)
    if event_id is None:
        raise Refusal(ErrorCode.ORDER_NOT_FOUND)
    with services.engine.snapshot(event_partition(event_id)) as view:
        find_till_order(view, event_id, order_id)
    return event_id, order_id


def _shown(services: Services, reader: Reader, event_id: EventId, order: OrderRecord) -> TillSale:
    method, _, receipt = (order.payment_ref or "").partition(":")
    is_over, currency = order.state is OrderState.CANCELLED, order.currency
    return TillSale(
        order_id=order.order_id,
        event_id=event_id,
        status=order.state.value,
        payment_status=order.payment_state.value,
        payment=TillPaid(method=method, receipt=receipt),
        currency=currency,
        subtotal=money(order.subtotal_minor, currency),
        fees=money(order.fees_minor, currency),
        taxes=money(order.taxes_minor, currency),
        total=money(order.total_minor, currency),
        delivery_method=cast(DeliveryMethod, order.delivery_method),
        tickets=_tickets(services, reader, event_id, order),
        created_at=time_text(order.created_at_ms),
        cancelled_at=optional_time(order.cancelled_at_ms),
        refund_amount=money(order.refund_minor, currency) if is_over or order.refund_minor else None,
        money_due=order.owed_at_till and not is_over,
    )


def _tickets(services: Services, reader: Reader, event_id: EventId, order: OrderRecord) -> list[TillTicket]:
    hold = RESERVATIONS.get(reader, event_partition(event_id), order.reservation_id)
    prices = ((0, 0),) * len(order.seats) if hold is None else hold.prices
    tickets = order_tickets(reader, event_id, order)
    labels = seat_labels(reader, event_id, order.seats)
    return [
        TillTicket(
            ticket_id=ticket.ticket_id,
            seat_id=seat_id(event_id, ticket.seat),
            section=label.section,
            row=label.row,
            seat=label.seat,
            price=money(price_minor, order.currency),
            barcode=ticket.barcode,
            code="" if ticket.state in WITHOUT_ART else ticket_code(services, event_id, ticket),
            download_url=download_url(services, ticket),
            status=ticket.state.value,
        )
        for ticket, label, (price_minor, _) in zip(tickets, labels, prices, strict=True)
    ]
