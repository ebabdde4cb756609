from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from msgspec.structs import replace

from storage.schema.events import TicketsIssued, TransferMoved
from storage.schema.ids import TicketId
from storage.schema.layout import BARCODES, TICKETS
from storage.schema.states import OrderState, TicketState, TransferState
from tests.domain.refusals import refused
from tests.domain.ticket_stage import (
    DATE_MS,
    EVENT_ID,
    KID,
    RECIPIENT,
    SENDER,
    STRANGER,
    TicketStage,
    order_id,
    tickets_stage,
    user_id,
)
from ticketd.domain.tickets import (
    IssueTickets,
    Obstacle,
    blocking_ticket,
    find_ticket,
    is_transferable,
    issue_tickets,
    latest_tickets,
    order_tickets,
    transfer_obstacle,
)
from ticketd.errors import ErrorCode
from ticketd.tickets.barcode import barcode_candidates, is_valid_barcode
from ticketd.tickets.code import MAX_ISSUE

SEATS = ("Floor/A/1", "Floor/A/2", "Balcony/A/1")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[TicketStage]:
    with tickets_stage(tmp_path) as stage:
        yield stage


@pytest.fixture
async def tickets(stage: TicketStage) -> tuple[TicketId, ...]:
    """Three tickets of the sender's order 1."""
    await stage.put_event()
    return await stage.buy(SENDER, 1, *SEATS)


async def test_an_order_gets_a_ticket_for_each_seat(
    stage: TicketStage, tickets: tuple[TicketId, ...]
) -> None:
    records = [stage.ticket(ticket_id) for ticket_id in tickets]
    assert [record.seat for record in records] == list(stage.seats(*SEATS))
    assert {record.holder_id for record in records} == {user_id(SENDER)}
    assert {(record.issue, record.kid, record.state) for record in records} == {(1, KID, TicketState.ACTIVE)}
    assert all(is_valid_barcode(record.barcode) for record in records)
    issued = [change for change in stage.changes if isinstance(change, TicketsIssued)]
    assert issued == [TicketsIssued(event_id=EVENT_ID, order_id=order_id(1), ticket_ids=tickets)]
    stage.check()


async def test_a_second_confirmation_issues_nothing(
    stage: TicketStage, tickets: tuple[TicketId, ...]
) -> None:
    before = stage.everything()
    command = IssueTickets(
        event_id=EVENT_ID,
        order_id=order_id(1),
        user_id=user_id(SENDER),
        seats=stage.seats(*SEATS),
        ticket_ids=tuple(TicketId(stage.new_id()) for _ in SEATS),
        seed=b"x" * 32,
        kid=KID,
    )
    assert await stage.run((SENDER,), lambda tx: issue_tickets(tx, command)) == tickets
    assert stage.everything() == before


async def test_a_barcode_that_is_taken_is_passed_over(stage: TicketStage) -> None:
    await stage.put_event()
    await stage.order(SENDER, 1, "Floor/A/1")
    ticket_id, seed = TicketId(stage.new_id()), b"s" * 32
    first, second = islice(barcode_candidates(seed, ticket_id), 2)
    other = TicketId(stage.new_id())
    await stage.run((), lambda tx: BARCODES.put(tx, other, stage.partition, first))
    command = IssueTickets(
        event_id=EVENT_ID,
        order_id=order_id(1),
        user_id=user_id(SENDER),
        seats=stage.seats("Floor/A/1"),
        ticket_ids=(ticket_id,),
        seed=seed,
        kid=KID,
    )
    await stage.run((SENDER,), lambda tx: issue_tickets(tx, command))
    assert stage.ticket(ticket_id).barcode == second


@pytest.mark.parametrize("count", [0, 2])
async def test_another_number_of_ids_than_of_seats_is_a_fault(stage: TicketStage, count: int) -> None:
    await stage.put_event()
    command = IssueTickets(
        event_id=EVENT_ID,
        order_id=order_id(1),
        user_id=user_id(SENDER),
        seats=stage.seats("Floor/A/1"),
        ticket_ids=tuple(TicketId(stage.new_id()) for _ in range(count)),
        seed=b"s" * 32,
        kid=KID,
    )
    with pytest.raises(ValueError, match="zip"):
        await stage.run((SENDER,), lambda tx: issue_tickets(tx, command))


async def test_void_ends_tickets_and_their_offers(stage: TicketStage, tickets: tuple[TicketId, ...]) -> None:
    transfer = await stage.offer(SENDER, tickets[0])
    await stage.plant(tickets[1], state=TicketState.USED)
    await stage.change_order(1, state=OrderState.CANCELLED)
    await stage.void(1)
    assert [stage.ticket(ticket_id).state for ticket_id in tickets] == [
        TicketState.VOID,
        TicketState.USED,
        TicketState.VOID,
    ]
    assert stage.transfer(transfer.transfer_id).state is TransferState.CANCELLED
    assert stage.mails() == []
    moved = [change.state for change in stage.changes if isinstance(change, TransferMoved)]
    assert moved == [TransferState.PENDING, TransferState.CANCELLED]
    stage.check()


async def test_void_reaches_the_recipients_ticket(stage: TicketStage, tickets: tuple[TicketId, ...]) -> None:
    transfer = await stage.offer(SENDER, tickets[0])
    new = await stage.accept(RECIPIENT, transfer.transfer_id)
    await stage.change_order(1, state=OrderState.CANCELLED)
    await stage.void(1)
    assert stage.ticket(new.ticket_id).state is TicketState.VOID
    assert stage.ticket(tickets[0]).state is TicketState.TRANSFERRED
    stage.check()


async def test_void_leaves_other_orders_and_orders_without_tickets(
    stage: TicketStage, tickets: tuple[TicketId, ...]
) -> None:
    await stage.order(RECIPIENT, 2, "Floor/B/1")
    before = stage.everything()
    await stage.void(2)
    await stage.void(3)
    assert stage.everything() == before


async def test_an_orders_tickets_as_its_buyer_has_them(
    stage: TicketStage, tickets: tuple[TicketId, ...]
) -> None:
    first = await stage.offer(SENDER, tickets[0])
    gone = await stage.accept(RECIPIENT, first.transfer_id)
    second = await stage.offer(SENDER, tickets[1])
    away = await stage.accept(RECIPIENT, second.transfer_id)
    third = await stage.offer(RECIPIENT, away.ticket_id)
    back = await stage.accept(SENDER, third.transfer_id)
    order = stage.read(lambda reader: stage.order_of(reader, 1))
    own = stage.read(lambda reader: order_tickets(reader, EVENT_ID, order))
    assert [(ticket.ticket_id, ticket.state) for ticket in own] == [
        (tickets[0], TicketState.TRANSFERRED),
        (back.ticket_id, TicketState.ACTIVE),
        (tickets[2], TicketState.ACTIVE),
    ]
    latest = stage.read(lambda reader: latest_tickets(reader, EVENT_ID, order))
    assert [ticket.ticket_id for ticket in latest] == [gone.ticket_id, back.ticket_id, tickets[2]]


async def test_an_order_without_tickets_has_none(stage: TicketStage) -> None:
    await stage.put_event()
    order = await stage.order(SENDER, 1, "Floor/A/1")
    assert stage.read(lambda reader: order_tickets(reader, EVENT_ID, order)) == []
    assert stage.read(lambda reader: blocking_ticket(reader, EVENT_ID, order)) is None


async def test_what_keeps_an_order_from_being_cancelled(
    stage: TicketStage, tickets: tuple[TicketId, ...]
) -> None:
    def blocking() -> TicketState | None:
        order = stage.read(lambda reader: stage.order_of(reader, 1))
        return stage.read(lambda reader: blocking_ticket(reader, EVENT_ID, order))

    assert blocking() is None
    transfer = await stage.offer(SENDER, tickets[0])
    assert blocking() is None
    new = await stage.accept(RECIPIENT, transfer.transfer_id)
    assert blocking() is TicketState.TRANSFERRED
    await stage.plant(new.ticket_id, state=TicketState.USED)
    assert blocking() is TicketState.USED


async def test_only_the_holder_finds_a_ticket(stage: TicketStage, tickets: tuple[TicketId, ...]) -> None:
    async def find(user: int, ticket_id: TicketId) -> None:
        stage.read(lambda reader: find_ticket(reader, user_id(user), ticket_id))

    event_id, ticket = stage.read(lambda reader: find_ticket(reader, user_id(SENDER), tickets[0]))
    assert (event_id, ticket.ticket_id) == (EVENT_ID, tickets[0])
    await refused(ErrorCode.TICKET_NOT_FOUND, find(STRANGER, tickets[0]))
    await refused(ErrorCode.TICKET_NOT_FOUND, find(SENDER, TicketId(stage.new_id())))


@pytest.mark.parametrize(
    ("state", "obstacle", "transferable"),
    [
        (TicketState.ACTIVE, None, True),
        (TicketState.TRANSFER_PENDING, None, False),
        (TicketState.TRANSFERRED, Obstacle.TICKET_TRANSFERRED, False),
        (TicketState.USED, Obstacle.TICKET_USED, False),
        (TicketState.VOID, Obstacle.TICKET_VOID, False),
    ],
)
async def test_the_state_of_a_ticket_in_the_way(
    stage: TicketStage,
    tickets: tuple[TicketId, ...],
    state: TicketState,
    obstacle: Obstacle | None,
    transferable: bool,
) -> None:
    await stage.plant(tickets[0], state=state)
    ticket, order = stage.ticket(tickets[0]), stage.read(lambda reader: stage.order_of(reader, 1))
    sale = stage.sale()
    assert transfer_obstacle(ticket, order, sale, DATE_MS - 1) is obstacle
    assert is_transferable(ticket, order, sale, DATE_MS - 1) is transferable
    assert set(TicketState) == {
        TicketState.ACTIVE,
        TicketState.TRANSFER_PENDING,
        TicketState.TRANSFERRED,
        TicketState.USED,
        TicketState.VOID,
    }


async def test_what_else_is_in_the_way(stage: TicketStage, tickets: tuple[TicketId, ...]) -> None:
    ticket, order = stage.ticket(tickets[0]), stage.read(lambda reader: stage.order_of(reader, 1))
    sale = stage.sale()
    assert transfer_obstacle(ticket, order, sale, DATE_MS) is Obstacle.EVENT_STARTED
    assert transfer_obstacle(ticket, order, sale, DATE_MS + 1) is Obstacle.EVENT_STARTED
    cancelled = replace(sale, cancelled=True)
    assert transfer_obstacle(ticket, order, cancelled, DATE_MS) is Obstacle.EVENT_CANCELLED
    pending = replace(order, state=OrderState.PENDING)
    assert transfer_obstacle(ticket, pending, cancelled, DATE_MS) is Obstacle.ORDER_NOT_CONFIRMED
    assert transfer_obstacle(ticket, None, sale, 0) is Obstacle.ORDER_NOT_CONFIRMED
    last = replace(ticket, issue=MAX_ISSUE)
    assert transfer_obstacle(last, order, sale, 0) is Obstacle.TOO_MANY_ISSUES
    assert transfer_obstacle(replace(ticket, issue=MAX_ISSUE - 1), order, sale, 0) is None


async def test_a_missing_ticket_is_damage(stage: TicketStage, tickets: tuple[TicketId, ...]) -> None:
    order = stage.read(lambda reader: stage.order_of(reader, 1))
    await stage.run((), lambda tx: TICKETS.delete(tx, stage.partition, tickets[1]))
    with pytest.raises(LookupError, match="there is no ticket"):
        stage.read(lambda reader: order_tickets(reader, EVENT_ID, order))
