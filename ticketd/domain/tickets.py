"""Tickets as an order brings them to life and ends them, and what may be known of them.

True here: each seat of a confirmed order has one line of tickets, the first one its buyer's; each transfer adds the
next one of the line, with the next issue number and a code of its own. At most the last one of a line opens a door.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import msgspec

from storage.engine import Reader, Transaction
from storage.schema.ids import EventId, OrderId, SeatNumber, TicketId, UserId
from storage.schema.layout import BUYER_TICKETS, ORDERS, TICKETS, buyer_partition, event_partition
from storage.schema.records import OrderRecord, SaleRecord, TicketRecord
from storage.schema.states import OrderState, TicketState, TransferState
from ticketd.domain.ticket_book import (
    begin_ticket,
    end_transfer,
    free_barcode,
    load_ticket,
    load_transfer,
    move_ticket,
    tell_issued,
)
from ticketd.errors import ErrorCode, Refusal
from ticketd.tickets.code import MAX_ISSUE

VALID_TICKET_STATES: Final = frozenset({TicketState.ACTIVE, TicketState.TRANSFER_PENDING})
"""The states of a ticket that opens a door: the sender's stays good until the recipient accepts."""


class Obstacle(StrEnum):
    """Why a ticket cannot be offered to another, in the order in which it is judged."""

    TICKET_TRANSFERRED = "TICKET_TRANSFERRED"
    TICKET_USED = "TICKET_USED"
    TICKET_VOID = "TICKET_VOID"
    ORDER_NOT_CONFIRMED = "ORDER_NOT_CONFIRMED"
    EVENT_CANCELLED = "EVENT_CANCELLED"
    EVENT_STARTED = "EVENT_STARTED"
    TOO_MANY_ISSUES = "TOO_MANY_ISSUES"
    """The seat's code has no further issue number."""


class IssueTickets(msgspec.Struct, frozen=True, kw_only=True):
    """An order was paid. ``ticket_ids``, new ones, has one for each of ``seats``; ``seed``, 32 random bytes or more, is
    what the barcodes are drawn from; ``kid`` names the key that signs the codes."""

    event_id: EventId
    order_id: OrderId
    user_id: UserId
    seats: tuple[SeatNumber, ...]
    ticket_ids: tuple[TicketId, ...]
    seed: bytes
    kid: str


def issue_tickets(tx: Transaction, command: IssueTickets) -> tuple[TicketId, ...]:
    """Brings an order's tickets to life, one for each seat, in the order of the seats; the ids of them.

    Touches the partitions of the event and of the buyer. If the order's record names tickets already, it is those.
    """
    order = ORDERS.get(tx, event_partition(command.event_id), command.order_id)
    if order is not None and order.ticket_ids:
        return order.ticket_ids
    for seat, ticket_id in zip(command.seats, command.ticket_ids, strict=True):
        ticket = TicketRecord(
            ticket_id=ticket_id,
            order_id=command.order_id,
            holder_id=command.user_id,
            seat=seat,
            issue=1,
            kid=command.kid,
            barcode=free_barcode(tx, command.event_id, command.seed, ticket_id),
            state=TicketState.ACTIVE,
            issued_at_ms=tx.now_ms,
        )
        begin_ticket(tx, command.event_id, ticket)
    tell_issued(tx, command.event_id, command.order_id, command.ticket_ids)
    return command.ticket_ids


def void_tickets(tx: Transaction, event_id: EventId, order_id: OrderId, *, even_used: bool = False) -> None:
    """Ends every ticket of an order that could still open a door, and every offer of one (CANCELLED).

    Touches the event's partition alone. An order without tickets is left as it is. ``even_used``: those too that were
    used.
    """
    order = ORDERS.get(tx, event_partition(event_id), order_id)
    if order is None:
        return
    for ticket in list(_all_tickets(tx, event_id, order)):
        if ticket.state in VALID_TICKET_STATES or (even_used and ticket.state is TicketState.USED):
            void_ticket(tx, event_id, ticket)


def void_ticket(tx: Transaction, event_id: EventId, ticket: TicketRecord) -> None:
    """Ends one ticket, and the offer of it (CANCELLED) if there is one."""
    end_pending_transfer(tx, event_id, ticket, TransferState.CANCELLED)
    move_ticket(tx, event_id, ticket, TicketState.VOID)


def end_pending_transfer(
    tx: Transaction, event_id: EventId, ticket: TicketRecord, state: TransferState
) -> None:
    """Ends the offer that a ticket is in, if it is in one; the ticket's own state is the caller's to write."""
    if ticket.state is TicketState.TRANSFER_PENDING and ticket.transfer_id is not None:
        end_transfer(tx, event_id, load_transfer(tx, event_id, ticket.transfer_id), state)


def order_tickets(reader: Reader, event_id: EventId, order: OrderRecord) -> list[TicketRecord]:
    """An order's tickets as its buyer has them: for each seat, in the order of the seats, the latest that was theirs.

    That of a seat that went to another person is TRANSFERRED. Empty while the order has no tickets.
    """
    tickets: list[TicketRecord] = []
    for first in order.ticket_ids:
        own = [ticket for ticket in _line(reader, event_id, first) if ticket.holder_id == order.user_id]
        tickets.append(own[-1])
    return tickets


def latest_tickets(reader: Reader, event_id: EventId, order: OrderRecord) -> list[TicketRecord]:
    """The last ticket of each of an order's seats, whoever holds it; in the order of the seats."""
    return [list(_line(reader, event_id, first))[-1] for first in order.ticket_ids]


def blocking_ticket(reader: Reader, event_id: EventId, order: OrderRecord) -> TicketState | None:
    """What keeps an order from being cancelled by its buyer: USED if one of its tickets was, else TRANSFERRED if one
    was accepted by a recipient, else None."""
    states = {ticket.state for ticket in _all_tickets(reader, event_id, order)}
    return next((state for state in (TicketState.USED, TicketState.TRANSFERRED) if state in states), None)


def find_ticket(reader: Reader, user_id: UserId, ticket_id: TicketId) -> tuple[EventId, TicketRecord]:
    """A ticket that the buyer holds, or held, and its event. Refuses TICKET_NOT_FOUND, also for another's."""
    event_id = BUYER_TICKETS.get(reader, buyer_partition(user_id), ticket_id)
    ticket = None if event_id is None else TICKETS.get(reader, event_partition(event_id), ticket_id)
    if event_id is None or ticket is None:
        raise Refusal(ErrorCode.TICKET_NOT_FOUND)
    return event_id, ticket


def transfer_obstacle(
    ticket: TicketRecord, order: OrderRecord | None, sale: SaleRecord, now_ms: int
) -> Obstacle | None:
    """Why a ticket cannot be offered to another at ``now_ms``; None if nothing but an offer of it can be in the way."""
    judged = (
        (ticket.state is TicketState.TRANSFERRED, Obstacle.TICKET_TRANSFERRED),
        (ticket.state is TicketState.USED, Obstacle.TICKET_USED),
        (ticket.state is TicketState.VOID, Obstacle.TICKET_VOID),
        (order is None or order.state is not OrderState.CONFIRMED, Obstacle.ORDER_NOT_CONFIRMED),
        (sale.cancelled, Obstacle.EVENT_CANCELLED),
        (now_ms >= sale.date_ms, Obstacle.EVENT_STARTED),
        (ticket.issue >= MAX_ISSUE, Obstacle.TOO_MANY_ISSUES),
    )
    return next((obstacle for stands, obstacle in judged if stands), None)


def is_transferable(ticket: TicketRecord, order: OrderRecord | None, sale: SaleRecord, now_ms: int) -> bool:
    """Whether the ticket's holder may offer it to another at ``now_ms``."""
    return ticket.state is TicketState.ACTIVE and transfer_obstacle(ticket, order, sale, now_ms) is None


def _all_tickets(reader: Reader, event_id: EventId, order: OrderRecord) -> Iterator[TicketRecord]:
    for first in order.ticket_ids:
        yield from _line(reader, event_id, first)


def _line(reader: Reader, event_id: EventId, first: TicketId) -> Iterator[TicketRecord]:
    """The tickets of a seat from the first one on, each but the last TRANSFERRED."""
    ticket = load_ticket(reader, event_id, first)
    yield ticket
    while ticket.state is TicketState.TRANSFERRED and ticket.transfer_id is not None:
        transfer = load_transfer(reader, event_id, ticket.transfer_id)
        if transfer.new_ticket_id is None:
            raise LookupError(f"event {event_id}: transfer {transfer.transfer_id} names no new ticket")
        ticket = load_ticket(reader, event_id, transfer.new_ticket_id)
        yield ticket
