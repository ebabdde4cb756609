"""Tickets: one's own, the printed page behind its signed link, and the public keys that gates verify codes with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from handlers.answers import answer, time_text
from handlers.call import AnyCall, Reply
from handlers.coding import etag_of
from handlers.ownership import own_things, require_event
from handlers.services import Services
from handlers.ticket_art import FoundTicket, download_url, find_linked_ticket, pdf_of, qr_code_of
from handlers.wire.common import page_of
from handlers.wire.tickets import TicketAnswer, TicketKeys, TicketList, TicketsQuery
from handlers.wire.transfers import TicketLinkQuery
from storage.engine import Reader
from storage.schema.ids import EventId, OrderId, TicketId
from storage.schema.layout import BUYER_TICKETS, EVENT, ORDERS, SALE, buyer_partition, event_partition
from storage.schema.records import EventRecord, SaleRecord
from ticketd.domain.order_book import find_order
from ticketd.domain.seat_labels import SeatLabel, seat_labels
from ticketd.domain.ticket_book import load_ticket
from ticketd.domain.tickets import is_transferable, order_tickets
from ticketd.errors import ErrorCode
from ticketd.tickets.code import export_public_keys

PDF_TYPE: Final = "application/pdf"


class _Facts(msgspec.Struct, frozen=True):
    """A ticket and what the store says around it."""

    found: FoundTicket
    event: EventRecord
    sale: SaleRecord
    label: SeatLabel
    transferable: bool


async def list_tickets(services: Services, call: AnyCall) -> Reply:
    """200 with the buyer's tickets: those of ``order_id`` in the order of its seats, else all, newest first; with an
    access token, those of its event."""
    query = call.query_as(TicketsQuery)
    order_id = query.order_id
    found = _all_own(services, call) if order_id is None else _of_order(services, call, OrderId(order_id))
    shown, pagination = page_of(found, query)
    facts = _facts_of(services, shown)
    tickets = [await _ticket(services, known) for known in facts]
    return answer(TicketList(tickets=tickets, pagination=pagination))


async def download_ticket(services: Services, call: AnyCall) -> Reply:
    """200 with the ticket as a PDF, for whoever has the link."""
    ticket_id = TicketId(call.path_id("ticket_id", ErrorCode.TICKET_NOT_FOUND))
    found = find_linked_ticket(services, ticket_id, call.query_as(TicketLinkQuery).link)
    body = await pdf_of(services, found)
    return Reply(
        status=200,
        body=body,
        content_type=PDF_TYPE,
        headers=(
            ("Cache-Control", "private, no-store"),
            ("Content-Disposition", f'inline; filename="ticket-{ticket_id}.pdf"'),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        ),
    )


async def list_ticket_keys(services: Services, call: AnyCall) -> Reply:
    """200 with the public keys of ticket codes."""
    keys = export_public_keys(services.keys.ticket_keys)
    return answer(TicketKeys(keys=keys), headers=(("ETag", etag_of([key.x for key in keys])),))


def _all_own(services: Services, call: AnyCall) -> list[tuple[EventId, TicketId]]:
    with services.engine.snapshot(buyer_partition(call.principal.user_id)) as view:
        return [
            (event_id, TicketId(ticket_id)) for event_id, ticket_id in own_things(view, call, BUYER_TICKETS)
        ]


def _of_order(services: Services, call: AnyCall, order_id: OrderId) -> list[tuple[EventId, TicketId]]:
    with services.engine.snapshot() as view:
        event_id, order = find_order(view, call.principal.user_id, order_id)
        require_event(call, event_id)
        return [(event_id, ticket.ticket_id) for ticket in order_tickets(view, event_id, order)]


def _facts_of(services: Services, tickets: Sequence[tuple[EventId, TicketId]]) -> list[_Facts]:
    """What is told of tickets, in their order; each event is read once."""
    by_event: dict[EventId, list[TicketId]] = {}
    for event_id, ticket_id in tickets:
        by_event.setdefault(event_id, []).append(ticket_id)
    facts: dict[TicketId, _Facts] = {}
    for event_id, ticket_ids in by_event.items():
        with services.engine.snapshot(event_partition(event_id)) as view:
            for known in _facts_of_event(view, event_id, ticket_ids, view.now_ms):
                facts[known.found.ticket.ticket_id] = known
    return [facts[ticket_id] for _, ticket_id in tickets]


def _facts_of_event(
    reader: Reader, event_id: EventId, ticket_ids: Iterable[TicketId], now_ms: int
) -> list[_Facts]:
    partition = event_partition(event_id)
    event, sale = EVENT.get(reader, partition), SALE.get(reader, partition)
    if event is None or sale is None:
        raise LookupError(f"event {event_id} has tickets and no record")
    tickets = [load_ticket(reader, event_id, ticket_id) for ticket_id in ticket_ids]
    labels = seat_labels(reader, event_id, [ticket.seat for ticket in tickets])
    orders = {order_id: ORDERS.get(reader, partition, order_id) for order_id in {t.order_id for t in tickets}}
    return [
        _Facts(
            FoundTicket(event_id, ticket),
            event,
            sale,
            label,
            is_transferable(ticket, orders[ticket.order_id], sale, now_ms),
        )
        for ticket, label in zip(tickets, labels, strict=True)
    ]


async def _ticket(services: Services, known: _Facts) -> TicketAnswer:
    ticket = known.found.ticket
    return TicketAnswer(
        ticket_id=ticket.ticket_id,
        order_id=ticket.order_id,
        event_id=known.found.event_id,
        event_name=known.event.name,
        event_date=time_text(known.sale.date_ms),
        venue=known.event.venue.name,
        section=known.label.section,
        row=known.label.row,
        seat=known.label.seat,
        qr_code=await qr_code_of(services, known.found.event_id, ticket),
        barcode=ticket.barcode,
        status=ticket.state,
        transferable=known.transferable,
        download_url=download_url(services, ticket),
        transfer_id=msgspec.UNSET if ticket.transfer_id is None else ticket.transfer_id,
    )
