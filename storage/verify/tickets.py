"""Invariants of tickets, their transfers and the mails that tell of them: one good code a seat, found by its holder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from storage.schema.ids import OrderId, SeatNumber
from storage.schema.layout import (
    BARCODES,
    BUYER_TICKETS,
    BUYER_TRANSFERS,
    DUE_MAILS,
    DUE_TRANSFERS,
    EVENT_OF_TRANSFER,
    MAILS,
    SYSTEM,
    buyer_partition,
)
from storage.schema.records import OrderRecord, TicketRecord, TransferRecord
from storage.schema.states import DisputeState, OrderState, TicketState, TransferState
from storage.verify.contents import EventContents
from storage.verify.problem import Problem

_VALID: Final = frozenset({TicketState.ACTIVE, TicketState.TRANSFER_PENDING})
"""The states of a ticket whose code opens a door."""

_TICKETED: Final = frozenset({OrderState.CONFIRMED, OrderState.CANCELLED})


def check_tickets_of_orders(event: EventContents) -> Iterator[Problem]:
    """Each seat of a confirmed order has one ticket that is good or was used, but for those that ended by a dispute or
    with their event; no other order has one that is good."""
    good: Counter[tuple[OrderId, SeatNumber]] = Counter()
    used: Counter[tuple[OrderId, SeatNumber]] = Counter()
    for ticket in event.tickets.values():
        place = (ticket.order_id, ticket.seat)
        order = event.orders.get(ticket.order_id)
        if order is None or ticket.seat not in order.seats or order.state not in _TICKETED:
            text = f"order {ticket.order_id} has no tickets for seat {ticket.seat}"
            yield event.problem("ticket-has-order", f"ticket {ticket.ticket_id}", text)
        good[place] += ticket.state in _VALID
        used[place] += ticket.state is TicketState.USED
    for order in event.orders.values():
        kept = frozenset(order.kept_seats) - _ended_seats(event, order)
        for seat in order.seats:
            place = (order.order_id, seat)
            has_ticket = order.state is OrderState.CONFIRMED and seat in kept
            wanted = 1 - used[place] if has_ticket else 0
            if good[place] != wanted:
                text = (
                    f"seat {seat} of this {order.state.value} order has {good[place]} good tickets, "
                    f"{used[place]} used ones"
                )
                yield event.problem("one-good-ticket-a-seat", f"order {order.order_id}", text)


def _ended_seats(event: EventContents, order: OrderRecord) -> frozenset[SeatNumber]:
    """Seats that a confirmed order has still, and whose tickets are dead all the same."""
    if order.owed_at_till:
        return frozenset(order.seats)
    voided = {
        ticket_id
        for dispute in event.disputes.get(order.order_id, ())
        if dispute.state is not DisputeState.WON
        for ticket_id in dispute.voided
    }
    return frozenset(event.tickets[ticket_id].seat for ticket_id in voided & event.tickets.keys())


def check_ticket_lines(event: EventContents) -> Iterator[Problem]:
    """An order names the first ticket of each of its seats; each transfer that was accepted leads to the next one, and
    there is no other."""
    reached: set[object] = set()
    for order in event.orders.values():
        wanted = len(order.seats) if order.confirmed_at_ms is not None else 0
        if len(order.ticket_ids) != wanted:
            text = f"{len(order.ticket_ids)} tickets for {wanted} seats that were confirmed"
            yield event.problem("order-names-tickets", f"order {order.order_id}", text)
            continue
        for seat, ticket_id in zip(order.seats, order.ticket_ids, strict=False):
            reached.add(ticket_id)
            first = event.tickets.get(ticket_id)
            of_order = None if first is None else (first.order_id, first.seat, first.issue, first.holder_id)
            if of_order != (order.order_id, seat, 1, order.user_id):
                text = f"ticket {ticket_id} is not the first one of seat {seat}"
                yield event.problem("order-names-tickets", f"order {order.order_id}", text)
    for transfer in event.transfers.values():
        if transfer.state is TransferState.ACCEPTED:
            reached.add(transfer.new_ticket_id)
            yield from _check_accepted(event, transfer)
    for ticket_id in event.tickets.keys() - reached:
        text = "neither its order nor a transfer leads to it"
        yield event.problem("ticket-is-reached", f"ticket {ticket_id}", text)


def _check_accepted(event: EventContents, transfer: TransferRecord) -> Iterator[Problem]:
    """The old ticket of an accepted transfer went by it; the new one is the next of its seat, and the recipient's."""
    old = event.tickets.get(transfer.ticket_id)
    new = None if transfer.new_ticket_id is None else event.tickets.get(transfer.new_ticket_id)
    if old is None or new is None:
        text = "one of its two tickets is not there"
    elif (old.state, old.transfer_id) != (TicketState.TRANSFERRED, transfer.transfer_id):
        text = f"ticket {old.ticket_id} did not go by it"
    elif (new.order_id, new.seat, new.issue) != (old.order_id, old.seat, old.issue + 1):
        text = f"ticket {new.ticket_id} is not the next one of the seat"
    elif transfer.recipient_id is None:
        text = "it has no recipient"
    else:
        return
    yield event.problem("transfer-leads-on", f"transfer {transfer.transfer_id}", text)


def check_transfer_states(event: EventContents) -> Iterator[Problem]:
    """A ticket is offered exactly while the transfer that it names is pending, and went by it if that was accepted."""
    for transfer in event.transfers.values():
        ticket = event.tickets.get(transfer.ticket_id)
        if transfer.state is TransferState.PENDING and not _offers(ticket, transfer):
            text = f"it is pending, and ticket {transfer.ticket_id} is not offered by it"
            yield event.problem("ticket-as-transfer", f"transfer {transfer.transfer_id}", text)
        if (transfer.ended_at_ms is None) != (transfer.state is TransferState.PENDING):
            text = f"it is {transfer.state.value}, ended at {transfer.ended_at_ms}"
            yield event.problem("transfer-times", f"transfer {transfer.transfer_id}", text)
    for ticket in event.tickets.values():
        by = None if ticket.transfer_id is None else event.transfers.get(ticket.transfer_id)
        state = None if by is None or by.ticket_id != ticket.ticket_id else by.state
        wanted = {
            TicketState.TRANSFER_PENDING: TransferState.PENDING,
            TicketState.TRANSFERRED: TransferState.ACCEPTED,
        }.get(ticket.state)
        if wanted is not None and state is not wanted:
            text = f"it is {ticket.state.value}, and no transfer of it is {wanted.value}"
            yield event.problem("ticket-as-transfer", f"ticket {ticket.ticket_id}", text)


def _offers(ticket: TicketRecord | None, transfer: TransferRecord) -> bool:
    return (
        ticket is not None
        and ticket.state is TicketState.TRANSFER_PENDING
        and ticket.transfer_id == transfer.transfer_id
    )


def check_barcodes(event: EventContents) -> Iterator[Problem]:
    """Every ticket, dead or alive, is found by its barcode, which is no other's."""
    wanted = ((ticket.barcode, ticket.ticket_id) for ticket in event.tickets.values())
    found = ((*parts, ticket_id) for parts, ticket_id in BARCODES.scan(event.reader, event.partition))
    return event.compare("barcodes", BARCODES.name, wanted, found)


def check_due_transfers(event: EventContents) -> Iterator[Problem]:
    """Exactly the pending transfers stand in the index of what falls due."""
    wanted = (
        (transfer.expires_at_ms, transfer.transfer_id)
        for transfer in event.transfers.values()
        if transfer.state is TransferState.PENDING
    )
    found = DUE_TRANSFERS.scan(event.reader, event.partition)
    return event.compare("due-transfers", DUE_TRANSFERS.name, wanted, found)


def check_due_mails(event: EventContents) -> Iterator[Problem]:
    """Exactly the mails that wait stand in the index of what is to be sent."""
    wanted = ((mail.due_at_ms, mail.mail_id) for _, mail in MAILS.scan(event.reader, event.partition))
    found = DUE_MAILS.scan(event.reader, event.partition)
    return event.compare("due-mails", DUE_MAILS.name, wanted, found)


def check_tickets_are_found(event: EventContents) -> Iterator[Problem]:
    """A ticket is found by its holder, a transfer by its sender and by its id."""
    for ticket in event.tickets.values():
        found = BUYER_TICKETS.get(event.reader, buyer_partition(ticket.holder_id), ticket.ticket_id)
        if found != event.event_id:
            text = f"its holder finds it in event {found}"
            yield event.problem("holder-finds-ticket", f"ticket {ticket.ticket_id}", text)
    for transfer in event.transfers.values():
        where = f"transfer {transfer.transfer_id}"
        found = BUYER_TRANSFERS.get(event.reader, buyer_partition(transfer.sender_id), transfer.transfer_id)
        if found != event.event_id:
            yield event.problem("sender-finds-transfer", where, f"its sender finds it in event {found}")
        found = EVENT_OF_TRANSFER.get(event.reader, SYSTEM, transfer.transfer_id)
        if found != event.event_id:
            yield event.problem("event-of-transfer", where, f"by its id it is found in event {found}")
