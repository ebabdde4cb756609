"""Forms of the tickets part."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec

from handlers.wire.common import AnswerBody, PageQuery, Pagination, Time
from storage.schema.states import TicketState
from ticketd.tickets.code import PublicTicketKey


class TicketsQuery(PageQuery, frozen=True, kw_only=True):
    """Which tickets are asked for: those of one of one's orders, or all that one holds or held."""

    order_id: UUID | None = None


class TicketAnswer(AnswerBody, frozen=True, kw_only=True):
    """A ticket as whoever holds it, or held it, sees it.

    ``status``: ACTIVE; TRANSFER_PENDING (offered to another person, and still good until they accept); TRANSFERRED
    (another person's by now); USED (it opened the door); VOID (its order was cancelled). ``event_date`` is when the
    event starts.
    """

    ticket_id: UUID
    order_id: UUID
    event_id: UUID
    event_name: str
    event_date: Time
    venue: str
    section: str
    row: str
    seat: str
    qr_code: Annotated[
        str,
        msgspec.Meta(
            description="A PNG in base64 of the signed code that opens the door; empty if the ticket is VOID or "
            "TRANSFERRED"
        ),
    ]
    barcode: Annotated[
        str, msgspec.Meta(description="12 digits for people to read, the last one a check digit")
    ]
    status: TicketState
    transferable: Annotated[bool, msgspec.Meta(description="Whether it can be offered to another person now")]
    download_url: Annotated[
        str,
        msgspec.Meta(
            description="A PDF of the ticket, for whoever has this link; empty if the ticket is VOID or TRANSFERRED"
        ),
    ]
    transfer_id: Annotated[
        UUID | msgspec.UnsetType,
        msgspec.Meta(description="The offer that it is in, or by which it went to another person"),
    ] = msgspec.UNSET


class TicketList(AnswerBody, frozen=True, kw_only=True):
    """A part of one's tickets: an order's in the order of its seats, all of them newest first."""

    tickets: list[TicketAnswer]
    pagination: Pagination


class TicketKeys(AnswerBody, frozen=True, kw_only=True):
    """The public keys by which a gate verifies the codes of tickets, the newest first.

    A code names its key. Keys that sign no new tickets any more stay in the list, since their tickets are good.
    """

    keys: list[PublicTicketKey]
