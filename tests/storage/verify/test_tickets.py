"""Faults planted in tickets, transfers and mails."""

from __future__ import annotations

from uuid import UUID

import msgspec

from storage.schema.ids import OrderId, SeatNumber, TicketId, UserId
from storage.schema.layout import (
    BARCODES,
    BUYER_TICKETS,
    BUYER_TRANSFERS,
    DUE_MAILS,
    DUE_TRANSFERS,
    EVENT_OF_TRANSFER,
    MAILS,
    ORDERS,
    SYSTEM,
    TICKETS,
    TRANSFERS,
    buyer_partition,
)
from storage.schema.records import OrderRecord, TicketRecord, TransferRecord
from storage.schema.states import OrderState, TicketState, TransferState
from tests.storage.verify.good_store import Damage

TWIN = TicketId(UUID(int=0xBAD))
NOBODY = UUID(int=0xBAD)


def ticket_in(damage: Damage, state: TicketState, **fields: object) -> TicketRecord:
    return damage.find(TICKETS, state=state, **fields)


def transfer_in(damage: Damage, state: TransferState) -> TransferRecord:
    return damage.find(TRANSFERS, state=state)


def confirmed(damage: Damage) -> OrderRecord:
    return damage.find(ORDERS, state=OrderState.CONFIRMED)


def add_ticket(damage: Damage, ticket: TicketRecord) -> None:
    """Adds a ticket with all that is kept in step with it."""
    TICKETS.put(damage.tx, ticket, damage.event, ticket.ticket_id)
    BARCODES.put(damage.tx, ticket.ticket_id, damage.event, ticket.barcode)
    holder = buyer_partition(ticket.holder_id)
    BUYER_TICKETS.put(damage.tx, damage.event_id, holder, ticket.ticket_id)


def test_the_good_store_has_tickets_in_every_state_that_the_api_leads_to(damage: Damage) -> None:
    states = sorted(ticket.state.value for _, ticket in TICKETS.scan(damage.tx, damage.event))
    assert states == ["ACTIVE", "ACTIVE", "TRANSFERRED", "TRANSFER_PENDING", "VOID", "VOID"]


def test_a_second_good_ticket_for_a_seat(damage: Damage) -> None:
    ticket = ticket_in(damage, TicketState.ACTIVE)
    add_ticket(damage, msgspec.structs.replace(ticket, ticket_id=TWIN, barcode="000000000000"))
    assert damage.found() == ["one-good-ticket-a-seat", "ticket-is-reached"]


def test_a_seat_of_a_confirmed_order_without_a_good_ticket(damage: Damage) -> None:
    damage.change(TICKETS, ticket_in(damage, TicketState.ACTIVE).ticket_id, state=TicketState.VOID)
    assert damage.found() == ["one-good-ticket-a-seat"]


def test_a_ticket_that_was_used_is_its_seats_ticket(damage: Damage) -> None:
    damage.change(TICKETS, ticket_in(damage, TicketState.ACTIVE).ticket_id, state=TicketState.USED)
    assert damage.found() == []


def test_a_good_ticket_of_a_cancelled_order(damage: Damage) -> None:
    damage.change(TICKETS, ticket_in(damage, TicketState.VOID).ticket_id, state=TicketState.ACTIVE)
    assert damage.found() == ["one-good-ticket-a-seat"]


def test_a_ticket_of_a_seat_that_its_order_has_not(damage: Damage) -> None:
    void = ticket_in(damage, TicketState.VOID)
    stray = msgspec.structs.replace(
        void, ticket_id=TWIN, barcode="000000000000", seat=SeatNumber(void.seat + 1000)
    )
    add_ticket(damage, stray)
    assert damage.found() == ["ticket-has-order", "ticket-is-reached"]


def test_a_ticket_of_an_order_that_is_not_there(damage: Damage) -> None:
    void = ticket_in(damage, TicketState.VOID)
    damage.change(TICKETS, void.ticket_id, order_id=OrderId(NOBODY))
    assert damage.found() == ["order-names-tickets", "ticket-has-order"]


def test_an_order_that_names_too_few_tickets(damage: Damage) -> None:
    order = damage.find(ORDERS, state=OrderState.CANCELLED)
    damage.change(ORDERS, order.order_id, ticket_ids=order.ticket_ids[:1])
    assert damage.counted()["order-names-tickets"] == 1


def test_an_order_that_names_its_tickets_for_other_seats(damage: Damage) -> None:
    order = damage.find(ORDERS, state=OrderState.CANCELLED)
    damage.change(ORDERS, order.order_id, ticket_ids=order.ticket_ids[::-1])
    assert damage.found() == ["order-names-tickets"] * 2


def test_a_transfer_that_leads_to_no_ticket(damage: Damage) -> None:
    accepted = transfer_in(damage, TransferState.ACCEPTED)
    damage.change(TRANSFERS, accepted.transfer_id, new_ticket_id=NOBODY)
    assert damage.found() == ["ticket-is-reached", "transfer-leads-on"]


def test_a_transferred_ticket_that_went_by_another_transfer(damage: Damage) -> None:
    given = ticket_in(damage, TicketState.TRANSFERRED)
    pending = transfer_in(damage, TransferState.PENDING)
    damage.change(TICKETS, given.ticket_id, transfer_id=pending.transfer_id)
    assert damage.found() == ["ticket-as-transfer", "transfer-leads-on"]


def test_a_new_ticket_with_an_old_issue_number(damage: Damage) -> None:
    new = ticket_in(damage, TicketState.ACTIVE, issue=2)
    damage.change(TICKETS, new.ticket_id, issue=1)
    assert damage.found() == ["transfer-leads-on"]


def test_an_accepted_transfer_without_a_recipient(damage: Damage) -> None:
    damage.change(TRANSFERS, transfer_in(damage, TransferState.ACCEPTED).transfer_id, recipient_id=None)
    assert damage.found() == ["transfer-leads-on"]


def test_a_pending_transfer_of_a_ticket_that_is_not_offered(damage: Damage) -> None:
    offered = ticket_in(damage, TicketState.TRANSFER_PENDING)
    damage.change(TICKETS, offered.ticket_id, state=TicketState.ACTIVE)
    assert damage.found() == ["ticket-as-transfer"]


def test_an_offered_ticket_whose_transfer_has_ended(damage: Damage) -> None:
    pending = transfer_in(damage, TransferState.PENDING)
    damage.change(TRANSFERS, pending.transfer_id, state=TransferState.DECLINED, ended_at_ms=1)
    DUE_TRANSFERS.remove(damage.tx, damage.event, pending.expires_at_ms, pending.transfer_id)
    assert damage.found() == ["ticket-as-transfer"]


def test_a_pending_transfer_with_an_end(damage: Damage) -> None:
    damage.change(TRANSFERS, transfer_in(damage, TransferState.PENDING).transfer_id, ended_at_ms=1)
    assert damage.found() == ["transfer-times"]


def test_an_ended_transfer_without_an_end(damage: Damage) -> None:
    damage.change(TRANSFERS, transfer_in(damage, TransferState.ACCEPTED).transfer_id, ended_at_ms=None)
    assert damage.found() == ["transfer-times"]


def test_a_ticket_without_its_barcode(damage: Damage) -> None:
    BARCODES.delete(damage.tx, damage.event, ticket_in(damage, TicketState.VOID).barcode)
    assert damage.found() == ["barcodes"]


def test_a_barcode_without_a_ticket(damage: Damage) -> None:
    BARCODES.put(damage.tx, TWIN, damage.event, "000000000000")
    assert damage.found() == ["barcodes"]


def test_two_tickets_with_one_barcode(damage: Damage) -> None:
    active, void = ticket_in(damage, TicketState.ACTIVE), ticket_in(damage, TicketState.VOID)
    BARCODES.delete(damage.tx, damage.event, void.barcode)
    damage.change(TICKETS, void.ticket_id, barcode=active.barcode)
    assert damage.found() == ["barcodes"]


def test_a_pending_transfer_that_never_falls_due(damage: Damage) -> None:
    pending = transfer_in(damage, TransferState.PENDING)
    DUE_TRANSFERS.remove(damage.tx, damage.event, pending.expires_at_ms, pending.transfer_id)
    assert damage.found() == ["due-transfers"]


def test_an_ended_transfer_that_falls_due(damage: Damage) -> None:
    accepted = transfer_in(damage, TransferState.ACCEPTED)
    DUE_TRANSFERS.add(damage.tx, damage.event, accepted.expires_at_ms, accepted.transfer_id)
    assert damage.found() == ["due-transfers"]


def test_a_mail_that_is_never_sent(damage: Damage) -> None:
    mail = damage.find(MAILS, to="a@example.com")
    DUE_MAILS.remove(damage.tx, damage.event, mail.due_at_ms, mail.mail_id)
    assert damage.found() == ["due-mails"]


def test_a_mail_to_be_sent_that_is_not_there(damage: Damage) -> None:
    DUE_MAILS.add(damage.tx, damage.event, 1, NOBODY)
    assert damage.found() == ["due-mails"]


def test_a_ticket_that_its_holder_does_not_find(damage: Damage) -> None:
    ticket = ticket_in(damage, TicketState.ACTIVE)
    BUYER_TICKETS.delete(damage.tx, buyer_partition(ticket.holder_id), ticket.ticket_id)
    assert damage.found() == ["holder-finds-ticket"]


def test_a_transfer_that_its_sender_does_not_find(damage: Damage) -> None:
    sent = transfer_in(damage, TransferState.PENDING)
    BUYER_TRANSFERS.delete(damage.tx, buyer_partition(sent.sender_id), sent.transfer_id)
    assert damage.found() == ["sender-finds-transfer"]


def test_a_transfer_that_is_not_found_by_its_id(damage: Damage) -> None:
    EVENT_OF_TRANSFER.delete(damage.tx, SYSTEM, transfer_in(damage, TransferState.PENDING).transfer_id)
    assert damage.found() == ["event-of-transfer"]


def test_a_ticket_whose_holder_is_another(damage: Damage) -> None:
    """The former holder still finds it, the new one does not."""
    ticket = ticket_in(damage, TicketState.ACTIVE, issue=2)
    damage.change(TICKETS, ticket.ticket_id, holder_id=UserId(NOBODY))
    assert damage.found() == ["buyer-tickets-exist", "holder-finds-ticket"]
