"""The one way in which tickets and transfers are written: the records and all that is kept in step with them.

True here: a ticket's barcode is no other ticket's of its event, dead or alive; a ticket is TRANSFER_PENDING exactly
while the transfer that it names is PENDING; a pending transfer, and no other, stands in the due index; the mail of a
transfer has the transfer's id and leaves the queue with its end. Whether a step may be taken is decided by ``tickets``
and ``transfers``.
"""

from __future__ import annotations

from msgspec.structs import replace

from storage.engine import Reader, Transaction
from storage.schema.events import TicketsIssued, TransferMoved
from storage.schema.ids import EventId, OrderId, TicketId, TransferId, UserId
from storage.schema.layout import (
    BARCODES,
    BUYER_TICKETS,
    DUE_TRANSFERS,
    TICKETS,
    TRANSFERS,
    buyer_partition,
    event_partition,
)
from storage.schema.records import TicketRecord, TransferRecord
from storage.schema.states import (
    TICKET_MOVES,
    TRANSFER_MOVES,
    TicketState,
    TransferState,
    check_move,
)
from ticketd.domain.mails import remove_mail
from ticketd.tickets.barcode import Barcode, barcode_candidates


def load_ticket(reader: Reader, event_id: EventId, ticket_id: TicketId) -> TicketRecord:
    """A ticket that is known to exist. One that is missing means that the store is damaged (LookupError)."""
    ticket = TICKETS.get(reader, event_partition(event_id), ticket_id)
    if ticket is None:
        raise LookupError(f"event {event_id}: there is no ticket {ticket_id}")
    return ticket


def load_transfer(reader: Reader, event_id: EventId, transfer_id: TransferId) -> TransferRecord:
    """A transfer that is known to exist. One that is missing means that the store is damaged (LookupError)."""
    transfer = TRANSFERS.get(reader, event_partition(event_id), transfer_id)
    if transfer is None:
        raise LookupError(f"event {event_id}: there is no transfer {transfer_id}")
    return transfer


def free_barcode(reader: Reader, event_id: EventId, seed: bytes, ticket_id: TicketId) -> Barcode:
    """The first barcode of ``seed`` (32 bytes or more) for the ticket that no ticket of the event has or had."""
    partition = event_partition(event_id)
    return next(
        barcode
        for barcode in barcode_candidates(seed, ticket_id)
        if BARCODES.get(reader, partition, barcode) is None
    )


def begin_ticket(tx: Transaction, event_id: EventId, ticket: TicketRecord) -> None:
    """Writes a new ticket and lets its holder find it."""
    partition = event_partition(event_id)
    TICKETS.put(tx, ticket, partition, ticket.ticket_id)
    BARCODES.put(tx, ticket.ticket_id, partition, ticket.barcode)
    BUYER_TICKETS.put(tx, event_id, buyer_partition(ticket.holder_id), ticket.ticket_id)


def tell_issued(
    tx: Transaction, event_id: EventId, order_id: OrderId, ticket_ids: tuple[TicketId, ...]
) -> None:
    """Tells the change log that tickets of an order came to life."""
    issued = TicketsIssued(event_id=event_id, order_id=order_id, ticket_ids=ticket_ids)
    tx.emit(event_partition(event_id), issued)


def move_ticket(
    tx: Transaction,
    event_id: EventId,
    ticket: TicketRecord,
    state: TicketState,
    transfer_id: TransferId | None = None,
) -> TicketRecord:
    """Writes a ticket's next state. ``transfer_id`` is the offer that it is in, or by which it went to another."""
    moved = replace(ticket, state=check_move(TICKET_MOVES, ticket.state, state), transfer_id=transfer_id)
    TICKETS.put(tx, moved, event_partition(event_id), ticket.ticket_id)
    return moved


def begin_transfer(tx: Transaction, event_id: EventId, transfer: TransferRecord) -> None:
    """Writes a new, pending transfer and tells of it."""
    partition = event_partition(event_id)
    TRANSFERS.put(tx, transfer, partition, transfer.transfer_id)
    DUE_TRANSFERS.add(tx, partition, transfer.expires_at_ms, transfer.transfer_id)
    _tell_moved(tx, event_id, transfer, transfer.expires_at_ms)


def end_transfer(
    tx: Transaction,
    event_id: EventId,
    transfer: TransferRecord,
    state: TransferState,
    *,
    accepted: tuple[UserId, TicketId] | None = None,
) -> TransferRecord:
    """Ends a pending transfer. ``accepted`` is the recipient and the ticket that is theirs now, if it was accepted."""
    partition, transfer_id = event_partition(event_id), transfer.transfer_id
    recipient_id, new_ticket_id = accepted or (None, None)
    ended = replace(
        transfer,
        state=check_move(TRANSFER_MOVES, transfer.state, state),
        ended_at_ms=tx.now_ms,
        recipient_id=recipient_id,
        new_ticket_id=new_ticket_id,
    )
    TRANSFERS.put(tx, ended, partition, transfer_id)
    DUE_TRANSFERS.remove(tx, partition, transfer.expires_at_ms, transfer_id)
    remove_mail(tx, event_id, transfer_id)
    _tell_moved(tx, event_id, ended, None)
    return ended


def _tell_moved(tx: Transaction, event_id: EventId, transfer: TransferRecord, due_at_ms: int | None) -> None:
    moved = TransferMoved(
        event_id=event_id,
        transfer_id=transfer.transfer_id,
        ticket_id=transfer.ticket_id,
        state=transfer.state,
        due_at_ms=due_at_ms,
    )
    tx.emit(event_partition(event_id), moved)
