"""A ticket goes to another person: offered, and then accepted, declined, taken back, or run out.

True here: until the recipient accepts, the sender's ticket stays good; accepting ends its code and brings the next one
to life in one commit, so that a seat has exactly one good code at any time. Only the SHA-256 of a claim token is kept.

A sender who accepts an offer of their own gets a new ticket with a new code in the place of the old one.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec

from storage.engine import Partition, Reader, Transaction
from storage.schema.ids import EventId, TicketId, TransferId, UserId
from storage.schema.layout import (
    BUYER_TRANSFERS,
    DUE_TRANSFERS,
    EVENT,
    EVENT_OF_TRANSFER,
    ORDERS,
    SYSTEM,
    TRANSFERS,
    buyer_partition,
    event_partition,
)
from storage.schema.records import MailRecord, TicketRecord, TransferRecord
from storage.schema.states import TicketState, TransferState
from ticketd.domain.claim_mail import Offer, claim_mail
from ticketd.domain.mails import queue_mail
from ticketd.domain.sales import load_sale
from ticketd.domain.seat_labels import seat_labels
from ticketd.domain.ticket_book import (
    begin_ticket,
    begin_transfer,
    end_transfer,
    free_barcode,
    load_ticket,
    load_transfer,
    move_ticket,
    tell_issued,
)
from ticketd.domain.tickets import find_ticket, transfer_obstacle
from ticketd.errors import ErrorCode, Refusal


class OfferTransfer(msgspec.Struct, frozen=True, kw_only=True):
    """A holder offers a ticket to whoever reads the recipient's mail.

    ``transfer_id`` is new; ``claim_hash`` is that of a new claim token (``claim_hash_of``), and ``claim_link`` holds
    the token. ``transfer_ms`` is how long the offer stands, if the event does not start before.
    """

    user_id: UserId
    ticket_id: TicketId
    transfer_id: TransferId
    recipient_email: str
    recipient_name: str
    claim_hash: bytes
    claim_link: str
    transfer_ms: int


class AcceptTransfer(msgspec.Struct, frozen=True, kw_only=True):
    """A recipient takes an offered ticket. ``ticket_id`` is new, ``seed`` is 32 random bytes or more for its barcode,
    and ``kid`` names the key that signs its code."""

    event_id: EventId
    transfer_id: TransferId
    user_id: UserId
    claim_token: str
    ticket_id: TicketId
    seed: bytes
    kid: str


class DeclineTransfer(msgspec.Struct, frozen=True, kw_only=True):
    """A recipient does not want an offered ticket."""

    event_id: EventId
    transfer_id: TransferId
    claim_token: str


class CancelTransfer(msgspec.Struct, frozen=True, kw_only=True):
    """A sender takes an offer back."""

    transfer_id: TransferId
    user_id: UserId


def claim_hash_of(claim_token: str) -> bytes:
    """What is kept of a claim token."""
    return hashlib.sha256(claim_token.encode("utf-8", "surrogatepass")).digest()


def offer_partitions(event_id: EventId, user_id: UserId) -> tuple[Partition, ...]:
    """The partitions of a command that offers a ticket. Those of one that ends an offer: ``end_partitions``."""
    return event_partition(event_id), buyer_partition(user_id), SYSTEM


def end_partitions(event_id: EventId, user_id: UserId) -> tuple[Partition, ...]:
    """The partitions of a command by which ``user_id`` accepts, declines or takes back an offer."""
    return event_partition(event_id), buyer_partition(user_id)


def offer_transfer(tx: Transaction, command: OfferTransfer) -> TransferRecord:
    """Offers a ticket, and queues the mail to the recipient; the ticket is TRANSFER_PENDING and stays good.

    Refuses in this order: TICKET_NOT_FOUND, also for another's; TRANSFER_PENDING with ``transfer_id``;
    TICKET_NOT_TRANSFERABLE with ``reason`` (``ticketd.domain.tickets.Obstacle``).
    """
    event_id, ticket = find_ticket(tx, command.user_id, command.ticket_id)
    if ticket.state is TicketState.TRANSFER_PENDING:
        raise Refusal(ErrorCode.TRANSFER_PENDING, details={"transfer_id": str(ticket.transfer_id)})
    sale = load_sale(tx, event_id)
    order = ORDERS.get(tx, event_partition(event_id), ticket.order_id)
    obstacle = transfer_obstacle(ticket, order, sale, tx.now_ms)
    if obstacle is not None:
        raise Refusal(ErrorCode.TICKET_NOT_TRANSFERABLE, details={"reason": obstacle.value})
    transfer = TransferRecord(
        transfer_id=command.transfer_id,
        ticket_id=ticket.ticket_id,
        order_id=ticket.order_id,
        sender_id=command.user_id,
        recipient_email=command.recipient_email,
        recipient_name=command.recipient_name,
        claim_hash=command.claim_hash,
        state=TransferState.PENDING,
        created_at_ms=tx.now_ms,
        expires_at_ms=min(tx.now_ms + command.transfer_ms, sale.date_ms),
    )
    begin_transfer(tx, event_id, transfer)
    move_ticket(tx, event_id, ticket, TicketState.TRANSFER_PENDING, transfer.transfer_id)
    BUYER_TRANSFERS.put(tx, event_id, buyer_partition(command.user_id), transfer.transfer_id)
    EVENT_OF_TRANSFER.put(tx, event_id, SYSTEM, transfer.transfer_id)
    _queue_claim_mail(tx, event_id, transfer, command.claim_link)
    return transfer


def accept_transfer(tx: Transaction, command: AcceptTransfer) -> TicketRecord:
    """Ends the sender's ticket and gives the recipient the next one of its seat; that new ticket.

    Refuses in this order: TRANSFER_NOT_FOUND, also for a wrong claim token; TRANSFER_EXPIRED with ``status`` if the
    transfer has ended, and EXPIRED also when the event has started or was cancelled, or its ticket opened the door.
    """
    event_id = command.event_id
    transfer = find_offer(tx, event_id, command.transfer_id, command.claim_token)
    _require_open(tx, event_id, transfer)
    old = load_ticket(tx, event_id, transfer.ticket_id)
    new = TicketRecord(
        ticket_id=command.ticket_id,
        order_id=old.order_id,
        holder_id=command.user_id,
        seat=old.seat,
        issue=old.issue + 1,
        kid=command.kid,
        barcode=free_barcode(tx, event_id, command.seed, command.ticket_id),
        state=TicketState.ACTIVE,
        issued_at_ms=tx.now_ms,
    )
    move_ticket(tx, event_id, old, TicketState.TRANSFERRED, transfer.transfer_id)
    begin_ticket(tx, event_id, new)
    accepted = (command.user_id, new.ticket_id)
    end_transfer(tx, event_id, transfer, TransferState.ACCEPTED, accepted=accepted)
    tell_issued(tx, event_id, new.order_id, (new.ticket_id,))
    return new


def decline_transfer(tx: Transaction, command: DeclineTransfer) -> TransferRecord:
    """Ends an offer since the recipient does not want it; the ticket is the sender's alone again.

    Refuses as ``accept_transfer`` does.
    """
    transfer = find_offer(tx, command.event_id, command.transfer_id, command.claim_token)
    _require_open(tx, command.event_id, transfer)
    return _end_and_free(tx, command.event_id, transfer, TransferState.DECLINED)


def cancel_transfer(tx: Transaction, command: CancelTransfer) -> TransferRecord:
    """Ends an offer since the sender takes it back; the ticket is the sender's alone again.

    Refuses in this order: TRANSFER_NOT_FOUND, also for another's; TRANSFER_EXPIRED with ``status`` if it has ended.
    """
    event_id, transfer = find_sent_transfer(tx, command.user_id, command.transfer_id)
    _require_open(tx, event_id, transfer)
    return _end_and_free(tx, event_id, transfer, TransferState.CANCELLED)


def expire_transfers(tx: Transaction, event_id: EventId, limit: int) -> int | None:
    """Ends at most ``limit`` offers whose time is over; when the next is due (milliseconds UTC, may be past), None if
    there is none."""
    partition = event_partition(event_id)
    for _, transfer_id in list(DUE_TRANSFERS.until(tx, partition, tx.now_ms, limit)):
        transfer = load_transfer(tx, event_id, transfer_id)  # type: ignore[arg-type]  # the index's own form
        _end_and_free(tx, event_id, transfer, TransferState.EXPIRED)
    return next_transfer_expiry_ms(tx, event_id)


def next_transfer_expiry_ms(reader: Reader, event_id: EventId) -> int | None:
    """When the next offer of the event runs out (milliseconds UTC), None if none is pending."""
    for expires_at_ms, _ in DUE_TRANSFERS.scan(reader, event_partition(event_id), limit=1):
        if isinstance(expires_at_ms, int):
            return expires_at_ms
    return None


def event_of_transfer(reader: Reader, transfer_id: TransferId) -> EventId:
    """The event that a transfer lies in. Refuses TRANSFER_NOT_FOUND."""
    event_id = EVENT_OF_TRANSFER.get(reader, SYSTEM, transfer_id)
    if event_id is None:
        raise Refusal(ErrorCode.TRANSFER_NOT_FOUND)
    return event_id


def find_offer(
    reader: Reader, event_id: EventId, transfer_id: TransferId, claim_token: str
) -> TransferRecord:
    """The transfer that a claim token opens. Refuses TRANSFER_NOT_FOUND."""
    transfer = TRANSFERS.get(reader, event_partition(event_id), transfer_id)
    if transfer is None or not hmac.compare_digest(transfer.claim_hash, claim_hash_of(claim_token)):
        raise Refusal(ErrorCode.TRANSFER_NOT_FOUND)
    return transfer


def find_sent_transfer(
    reader: Reader, user_id: UserId, transfer_id: TransferId
) -> tuple[EventId, TransferRecord]:
    """A transfer that the buyer has offered, and its event. Refuses TRANSFER_NOT_FOUND, also for another's."""
    event_id = BUYER_TRANSFERS.get(reader, buyer_partition(user_id), transfer_id)
    transfer = None if event_id is None else TRANSFERS.get(reader, event_partition(event_id), transfer_id)
    if event_id is None or transfer is None:
        raise Refusal(ErrorCode.TRANSFER_NOT_FOUND)
    return event_id, transfer


def is_open(reader: Reader, event_id: EventId, transfer: TransferRecord, now_ms: int) -> bool:
    """Whether an offer can still be accepted or taken back at ``now_ms``."""
    if transfer.state is not TransferState.PENDING or now_ms >= transfer.expires_at_ms:
        return False
    sale = load_sale(reader, event_id)
    ticket = load_ticket(reader, event_id, transfer.ticket_id)
    return not sale.cancelled and now_ms < sale.date_ms and ticket.state is TicketState.TRANSFER_PENDING


def _require_open(tx: Transaction, event_id: EventId, transfer: TransferRecord) -> None:
    if not is_open(tx, event_id, transfer, tx.now_ms):
        pending = transfer.state is TransferState.PENDING
        status = TransferState.EXPIRED if pending else transfer.state
        raise Refusal(ErrorCode.TRANSFER_EXPIRED, details={"status": status.value})


def _end_and_free(
    tx: Transaction, event_id: EventId, transfer: TransferRecord, state: TransferState
) -> TransferRecord:
    ticket = load_ticket(tx, event_id, transfer.ticket_id)
    if ticket.state is TicketState.TRANSFER_PENDING and ticket.transfer_id == transfer.transfer_id:
        move_ticket(tx, event_id, ticket, TicketState.ACTIVE)
    return end_transfer(tx, event_id, transfer, state)


def _queue_claim_mail(tx: Transaction, event_id: EventId, transfer: TransferRecord, link: str) -> None:
    event = EVENT.get(tx, event_partition(event_id))
    if event is None:
        raise LookupError(f"event {event_id} has tickets and no record")
    (seat,) = seat_labels(tx, event_id, [load_ticket(tx, event_id, transfer.ticket_id).seat])
    mail = claim_mail(Offer(event, load_sale(tx, event_id), seat, transfer), link)
    queue_mail(
        tx,
        event_id,
        MailRecord(
            mail_id=transfer.transfer_id,
            to=transfer.recipient_email,
            to_name=transfer.recipient_name,
            subject=mail.subject,
            text=mail.text,
            due_at_ms=tx.now_ms,
        ),
    )
