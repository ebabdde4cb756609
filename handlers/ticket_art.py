"""A ticket's pictures: its QR code, its printed page, and the signed link to that page.

True here: only a ticket that may open the door, or did, has any of them. A link is good for one ticket and one issue of
it, for as long as the link key is in force. Who may see a ticket in an answer is the endpoints' to say.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
from typing import Final
from uuid import UUID

import msgspec
import trio

from handlers.services import Services
from storage.schema.ids import EventId, OrderId, TicketId
from storage.schema.layout import EVENT, EVENT_OF_ORDER, SALE, SYSTEM, TICKETS, event_partition
from storage.schema.records import TicketRecord
from storage.schema.states import TicketState
from ticketd.domain.seat_labels import seat_labels
from ticketd.errors import ErrorCode, Refusal
from ticketd.tickets.barcode import Barcode
from ticketd.tickets.code import TicketCode, sign_ticket_code
from ticketd.tickets.pdf import TicketPage, ticket_pdf
from ticketd.tickets.qr import qr_png_base64

WITHOUT_ART: Final = frozenset({TicketState.TRANSFERRED, TicketState.VOID})

MAX_WAITING_PAGES: Final = 100
"""More pages than this are not waited for: at a tenth of a second each, the client would have gone."""

_CACHED_PAGES: Final = 128
_LINK_PURPOSE: Final = b"ticketd ticket link 1\x00"
_MAC_BYTES: Final = 32
# Making pages is work for the interpreter alone: a second thread would only take its turns from the loop.
_page_turn: Final = trio.CapacityLimiter(1)


class FoundTicket(msgspec.Struct, frozen=True):
    """A ticket and the event that it opens."""

    event_id: EventId
    ticket: TicketRecord


def ticket_code(services: Services, event_id: EventId, ticket: TicketRecord) -> str:
    """The signed text of a ticket's QR code. LookupError if its key is gone: the store is damaged."""
    key = services.keys.find_ticket_key(ticket.kid)
    if key is None:
        raise LookupError(f"ticket {ticket.ticket_id}: there is no key {ticket.kid}")
    code = TicketCode(
        event_id=event_id, ticket_id=ticket.ticket_id, seat_number=ticket.seat, issue=ticket.issue
    )
    return sign_ticket_code(key, code)


async def qr_code_of(services: Services, event_id: EventId, ticket: TicketRecord) -> str:
    """A ticket's QR code as a PNG in base64; empty for one that is VOID or TRANSFERRED.

    A picture takes a few milliseconds to draw and is then kept for a while. Drawing holds the interpreter, in a thread
    as well as here; so it is done here, one picture at a time, and everybody else has a turn after each.
    """
    if ticket.state in WITHOUT_ART:
        return ""
    picture = qr_png_base64(ticket_code(services, event_id, ticket))
    await trio.sleep(0)
    return picture


def download_url(services: Services, ticket: TicketRecord) -> str:
    """Where the PDF of a ticket is, for whoever has the link; empty for one that is VOID or TRANSFERRED."""
    if ticket.state in WITHOUT_ART:
        return ""
    link = link_of(services.keys.link_secret, ticket)
    return f"{services.public_url}/tickets/{ticket.ticket_id}.pdf?link={link}"


def link_of(secret: bytes, ticket: TicketRecord) -> str:
    """What proves the right to see a ticket: its order, by which it is found, and an HMAC-SHA256, in base64url.

    LookupError without a secret: anybody could make such a link.
    """
    if not secret:
        raise LookupError("there is no key to sign links with")
    order = ticket.order_id.bytes
    signed = _LINK_PURPOSE + order + ticket.ticket_id.bytes + ticket.issue.to_bytes(2, "big")
    mac = hmac.digest(secret, signed, hashlib.sha256)
    return base64.urlsafe_b64encode(order + mac).decode("ascii")


def find_linked_ticket(services: Services, ticket_id: TicketId, link: str) -> FoundTicket:
    """The ticket that a link opens. Refuses TICKET_NOT_FOUND for a wrong link, and for a ticket that is VOID or
    TRANSFERRED."""
    order_id = _order_of(link)
    with services.engine.snapshot(SYSTEM) as view:
        event_id = None if order_id is None else EVENT_OF_ORDER.get(view, SYSTEM, order_id)
    if event_id is None:
        raise Refusal(ErrorCode.TICKET_NOT_FOUND)
    partition = event_partition(event_id)
    with services.engine.snapshot(partition) as view:
        ticket = TICKETS.get(view, partition, ticket_id)
    if (
        ticket is None
        or not hmac.compare_digest(link_of(services.keys.link_secret, ticket).encode(), link.encode())
        or ticket.state in WITHOUT_ART
    ):
        raise Refusal(ErrorCode.TICKET_NOT_FOUND)
    return FoundTicket(event_id, ticket)


async def pdf_of(services: Services, found: FoundTicket) -> bytes:
    """The printed page of a ticket. Refuses OVERLOADED if very many wait for theirs."""
    page = _page_of(services, found)
    if _page_turn.statistics().tasks_waiting >= MAX_WAITING_PAGES:
        raise Refusal(ErrorCode.OVERLOADED)
    return await trio.to_thread.run_sync(_cached_pdf, page, limiter=_page_turn)


@functools.lru_cache(maxsize=_CACHED_PAGES)
def _cached_pdf(page: TicketPage) -> bytes:
    return ticket_pdf(page)


def _page_of(services: Services, found: FoundTicket) -> TicketPage:
    ticket, partition = found.ticket, event_partition(found.event_id)
    with services.engine.snapshot(partition) as view:
        event, sale = EVENT.get(view, partition), SALE.get(view, partition)
        (label,) = seat_labels(view, found.event_id, [ticket.seat])
    if event is None or sale is None:
        raise LookupError(f"event {found.event_id} has tickets and no record")
    return TicketPage(
        event_name=event.name,
        artist=event.artist_name or None,
        venue_name=event.venue.name,
        venue_city=event.venue.city,
        timezone=event.venue.timezone,
        starts_at_ms=sale.date_ms,
        doors_open_ms=event.doors_open_ms,
        section=label.section,
        row=label.row,
        seat=label.seat,
        order_id=ticket.order_id,
        ticket_id=ticket.ticket_id,
        barcode=Barcode(ticket.barcode),
        code=ticket_code(services, found.event_id, ticket),
        issued_at_ms=ticket.issued_at_ms,
    )


def _order_of(link: str) -> OrderId | None:
    """The order that a link names; None for a text that is no link."""
    try:
        raw = base64.b64decode(link.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    return OrderId(UUID(bytes=raw[:16])) if len(raw) == 16 + _MAC_BYTES else None
