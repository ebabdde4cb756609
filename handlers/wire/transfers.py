"""Forms of the transfers part."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec

from handlers.wire.common import END, AnswerBody, Email, Pagination, RequestBody, Time
from storage.schema.states import TransferState

PersonName = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+" + END,
        description="A name in one line",
    ),
]


class OfferTicket(RequestBody, frozen=True, kw_only=True):
    """Whom the ticket is offered to: a mail with a claim link goes there."""

    recipient_email: Email
    recipient_name: PersonName


class ClaimTransfer(RequestBody, frozen=True, kw_only=True):
    """The proof that the offer was for the caller: the ``token`` of the claim link."""

    claim_token: Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[!-~]+" + END)]


class TransferAnswer(AnswerBody, frozen=True, kw_only=True):
    """The offer of a ticket, as its sender sees it.

    ``status``: PENDING until ``expires_at``, then one of ACCEPTED, DECLINED, CANCELLED (by the sender, or with the
    order) and EXPIRED.
    """

    transfer_id: UUID
    ticket_id: UUID
    event_id: UUID
    status: TransferState
    recipient_email: str
    recipient_name: str
    created_at: Time
    expires_at: Time
    ended_at: Time | msgspec.UnsetType = msgspec.UNSET


class TransferList(AnswerBody, frozen=True, kw_only=True):
    """A part of the offers that one has made, newest first."""

    transfers: list[TransferAnswer]
    pagination: Pagination


class TransferAccepted(AnswerBody, frozen=True, kw_only=True):
    """The ticket is the caller's: ``ticket_id`` is the new one, which ``GET /v1/tickets`` shows."""

    transfer_id: UUID
    status: TransferState
    ticket_id: UUID
    event_id: UUID


class TransferDeclined(AnswerBody, frozen=True, kw_only=True):
    """The ticket stays its sender's."""

    transfer_id: UUID
    status: TransferState


class ClaimQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What the claim link in the mail carries."""

    transfer: str = ""
    token: str = ""


class TicketLinkQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What the link to a ticket's PDF carries."""

    link: Annotated[str, msgspec.Meta(description="The signature in the ``download_url``")] = ""
