"""Transfers: a ticket is offered to another person, who accepts or declines it, or whose sender takes it back."""

from __future__ import annotations

import os
import secrets
from urllib.parse import urlencode

import msgspec

from handlers.answers import answer, no_content, time_text
from handlers.call import AnyCall, Call, Reply
from handlers.commit import Decision, commit
from handlers.ownership import own_things, require_event
from handlers.services import Services
from handlers.wire.common import PageQuery, page_of
from handlers.wire.transfers import (
    ClaimTransfer,
    OfferTicket,
    TransferAccepted,
    TransferAnswer,
    TransferDeclined,
    TransferList,
)
from storage.schema.ids import EventId, TicketId, TransferId
from storage.schema.layout import BUYER_TRANSFERS, SYSTEM
from storage.schema.records import TicketRecord, TransferRecord
from storage.schema.states import TransferState
from ticketd.domain.ticket_book import load_transfer
from ticketd.domain.tickets import find_ticket
from ticketd.domain.transfers import (
    AcceptTransfer,
    CancelTransfer,
    DeclineTransfer,
    OfferTransfer,
    accept_transfer,
    cancel_transfer,
    claim_hash_of,
    decline_transfer,
    end_partitions,
    event_of_transfer,
    find_sent_transfer,
    offer_partitions,
    offer_transfer,
)
from ticketd.errors import ErrorCode, Refusal
from ticketd.ids import new_id
from ticketd.ports.mail import MailRefused, check_address

_CLAIM_TOKEN_BYTES = 32
_SEED_BYTES = 32


async def offer_own_ticket(services: Services, call: Call[OfferTicket]) -> Reply:
    """200 with the offer, PENDING; a mail with the claim link is on its way to the recipient."""
    ticket_id = TicketId(call.path_id("ticket_id", ErrorCode.TICKET_NOT_FOUND))
    body, user_id = call.body, call.principal.user_id
    _check_address(body.recipient_email)
    with services.engine.snapshot() as view:
        event_id, _ = find_ticket(view, user_id, ticket_id)
    require_event(call, event_id)
    transfer_id, claim_token = TransferId(new_id()), secrets.token_urlsafe(_CLAIM_TOKEN_BYTES)
    link = urlencode({"transfer": str(transfer_id), "token": claim_token})
    command = OfferTransfer(
        user_id=user_id,
        ticket_id=ticket_id,
        transfer_id=transfer_id,
        recipient_email=body.recipient_email,
        recipient_name=body.recipient_name,
        claim_hash=claim_hash_of(claim_token),
        claim_link=f"{services.public_url}/claim?{link}",
        transfer_ms=services.settings.tickets.transfer_seconds * 1000,
    )
    decision = Decision(
        "offer_transfer",
        offer_partitions(event_id, user_id),
        lambda tx: offer_transfer(tx, command),
        lambda transfer: answer(_transfer(event_id, transfer)),
    )
    return await commit(services, call, decision)


async def list_transfers(services: Services, call: AnyCall) -> Reply:
    """200 with the offers that the buyer has made, newest first; with an access token, those of its event's tickets."""
    query = call.query_as(PageQuery)
    with services.engine.snapshot() as view:
        shown, pagination = page_of(own_things(view, call, BUYER_TRANSFERS), query)
        transfers = [
            _transfer(event_id, load_transfer(view, event_id, TransferId(transfer_id)))
            for event_id, transfer_id in shown
        ]
    return answer(TransferList(transfers=transfers, pagination=pagination))


async def accept_offered_ticket(services: Services, call: Call[ClaimTransfer]) -> Reply:
    """200: the ticket is the caller's, under a new code; the sender's code is dead."""
    event_id, transfer_id = _locate(services, call)
    user_id = call.principal.user_id
    command = AcceptTransfer(
        event_id=event_id,
        transfer_id=transfer_id,
        user_id=user_id,
        claim_token=call.body.claim_token,
        ticket_id=TicketId(new_id()),
        seed=os.urandom(_SEED_BYTES),
        kid=services.keys.ticket_key.kid,
    )

    def render(ticket: TicketRecord) -> Reply:
        return answer(
            TransferAccepted(
                transfer_id=transfer_id,
                status=TransferState.ACCEPTED,
                ticket_id=ticket.ticket_id,
                event_id=event_id,
            )
        )

    decision = Decision(
        "accept_transfer",
        end_partitions(event_id, user_id),
        lambda tx: accept_transfer(tx, command),
        render,
    )
    return await commit(services, call, decision)


async def decline_offered_ticket(services: Services, call: Call[ClaimTransfer]) -> Reply:
    """200: the ticket stays its sender's."""
    event_id, transfer_id = _locate(services, call)
    command = DeclineTransfer(event_id=event_id, transfer_id=transfer_id, claim_token=call.body.claim_token)
    decision = Decision(
        "decline_transfer",
        end_partitions(event_id, call.principal.user_id),
        lambda tx: decline_transfer(tx, command),
        lambda ended: answer(TransferDeclined(transfer_id=ended.transfer_id, status=ended.state)),
    )
    return await commit(services, call, decision)


async def cancel_own_transfer(services: Services, call: AnyCall) -> Reply:
    """204: the ticket is the sender's alone again."""
    transfer_id = TransferId(call.path_id("transfer_id", ErrorCode.TRANSFER_NOT_FOUND))
    user_id = call.principal.user_id
    with services.engine.snapshot() as view:
        event_id, _ = find_sent_transfer(view, user_id, transfer_id)
    require_event(call, event_id)
    command = CancelTransfer(transfer_id=transfer_id, user_id=user_id)
    decision = Decision(
        "cancel_transfer",
        end_partitions(event_id, user_id),
        lambda tx: cancel_transfer(tx, command),
        lambda _: no_content(),
    )
    return await commit(services, call, decision)


def _locate(services: Services, call: AnyCall) -> tuple[EventId, TransferId]:
    transfer_id = TransferId(call.path_id("transfer_id", ErrorCode.TRANSFER_NOT_FOUND))
    with services.engine.snapshot(SYSTEM) as view:
        return event_of_transfer(view, transfer_id), transfer_id


def _check_address(address: str) -> None:
    """Refuses INVALID_REQUEST for what no mail could be sent to."""
    try:
        check_address(address)
    except MailRefused as problem:
        details = {"field": "recipient_email", "problem": str(problem)}
        raise Refusal(ErrorCode.INVALID_REQUEST, details=details) from None


def _transfer(event_id: EventId, transfer: TransferRecord) -> TransferAnswer:
    ended = transfer.ended_at_ms
    return TransferAnswer(
        transfer_id=transfer.transfer_id,
        ticket_id=transfer.ticket_id,
        event_id=event_id,
        status=transfer.state,
        recipient_email=transfer.recipient_email,
        recipient_name=transfer.recipient_name,
        created_at=time_text(transfer.created_at_ms),
        expires_at=time_text(transfer.expires_at_ms),
        ended_at=msgspec.UNSET if ended is None else time_text(ended),
    )
