"""A stage for tests of tickets: one event in a real store, orders that are paid in one step, a check of everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from msgspec.structs import replace

from storage.clock import Clock
from storage.engine import Change, Command, Reader, Transaction
from storage.schema.ids import (
    EntryId,
    EventId,
    OrderId,
    PaymentMethodId,
    ReservationId,
    SeatNumber,
    TicketId,
    TransferId,
)
from storage.schema.layout import (
    BARCODES,
    BUYER_TICKETS,
    BUYER_TRANSFERS,
    DUE_MAILS,
    DUE_TRANSFERS,
    EVENT_OF_TRANSFER,
    MAILS,
    ORDERS,
    SALE,
    SYSTEM,
    TICKETS,
    TRANSFERS,
    buyer_partition,
    event_partition,
)
from storage.schema.records import (
    AddressRecord,
    MailRecord,
    OrderRecord,
    SaleRecord,
    TicketRecord,
    TransferRecord,
)
from storage.schema.states import OrderState, PaymentState, TicketState, TransferState
from storage.writer import InlineEngine
from tests.domain.inventory_recount import seats_by_name
from tests.domain.inventory_stage import DATE_MS, EVENT_ID, OPENS_MS, make_plan, order_id, user_id
from tests.domain.room_stage import HandClock, open_store
from ticketd.domain.events import PutEvent, event_command_partitions, put_event
from ticketd.domain.settlement import ConfirmOrder, confirm_order
from ticketd.domain.tickets import VALID_TICKET_STATES, void_tickets
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
    expire_transfers,
    offer_partitions,
    offer_transfer,
)

R = TypeVar("R")
T = TypeVar("T")

TRANSFER_MS = 7 * 86_400_000
KID = "0a1b2c3d"
SENDER, RECIPIENT, STRANGER = 1, 2, 3

__all__ = (
    "DATE_MS",
    "EVENT_ID",
    "OPENS_MS",
    "TicketStage",
    "open_stage",
    "order_id",
    "tickets_stage",
    "user_id",
)


class TicketStage:
    """One event whose tickets are given out and handed on. Buyers and orders are numbers."""

    def __init__(self, engine: InlineEngine, clock: HandClock) -> None:
        self.engine = engine
        self.clock = clock
        self.partition = event_partition(EVENT_ID)
        self.changes: list[object] = []
        self._ids = count(1)
        engine.subscribe(self._notice)

    def _notice(self, changes: Sequence[Change]) -> None:
        self.changes += [change.event for change in changes]

    async def run(self, users: Sequence[int], function: Callable[[Transaction], R]) -> R:
        """A command over the event's partition and those of the users."""
        buyers = tuple(buyer_partition(user_id(user)) for user in users)
        return (await self.engine.submit(Command("test", (self.partition, *buyers, SYSTEM), function))).result

    def read(self, function: Callable[[Reader], T]) -> T:
        with self.engine.snapshot() as snapshot:
            return function(snapshot)

    async def put_event(self, **changes: object) -> None:
        plan = make_plan(**changes)  # type: ignore[arg-type]  # the tests name real fields
        command = Command("put", event_command_partitions(EVENT_ID), lambda tx: put_event(tx, PutEvent(plan)))
        await self.engine.submit(command)

    def new_id(self) -> UUID:
        """Ids in rising order, as the real ones are."""
        return UUID(int=(7 << 76) | (2 << 62) | next(self._ids))

    def seats(self, *names: str) -> tuple[SeatNumber, ...]:
        by_name = self.read(lambda reader: seats_by_name(reader, EVENT_ID))
        return tuple(by_name[name] for name in names)

    async def order(self, user: int, order: int, *names: str) -> OrderRecord:
        """An order whose money is set aside."""
        record = OrderRecord(
            order_id=order_id(order),
            user_id=user_id(user),
            reservation_id=ReservationId(UUID(int=1)),
            entry_id=EntryId(UUID(int=2)),
            state=OrderState.PENDING,
            payment_state=PaymentState.AUTHORIZED,
            seats=self.seats(*names),
            subtotal_minor=1,
            fees_minor=0,
            taxes_minor=0,
            total_minor=1,
            currency="USD",
            delivery_method="MOBILE",
            billing_address=AddressRecord(street="S", city="C", postal_code="1", country="US"),
            payment_method_id=PaymentMethodId(UUID(int=3)),
            method_ref="m",
            payment_ref="pi_1",
            return_url="",
            created_at_ms=self.clock.at_ms,
        )
        await self.run((user,), lambda tx: ORDERS.put(tx, record, self.partition, record.order_id))
        return record

    async def confirm(self, user: int, order: int) -> tuple[TicketId, ...]:
        """The order is paid; its tickets."""
        seats = self.read(lambda reader: self.order_of(reader, order)).seats
        command = ConfirmOrder(
            event_id=EVENT_ID,
            order_id=order_id(order),
            captured_minor=1,
            ticket_ids=tuple(TicketId(self.new_id()) for _ in seats),
            seed=b"s" * 32,
            kid=KID,
        )
        return (await self.run((user,), lambda tx: confirm_order(tx, command))).ticket_ids

    async def buy(self, user: int, order: int, *names: str) -> tuple[TicketId, ...]:
        await self.order(user, order, *names)
        return await self.confirm(user, order)

    def order_of(self, reader: Reader, order: int) -> OrderRecord:
        found = ORDERS.get(reader, self.partition, order_id(order))
        assert found is not None
        return found

    async def change_order(self, order: int, **changes: object) -> None:
        record = self.read(lambda reader: self.order_of(reader, order))
        changed = replace(record, **changes)
        await self.run((), lambda tx: ORDERS.put(tx, changed, self.partition, changed.order_id))

    def sale(self) -> SaleRecord:
        found = self.read(lambda reader: SALE.get(reader, self.partition))
        assert found is not None
        return found

    async def change_sale(self, **changes: object) -> None:
        changed = replace(self.sale(), **changes)
        await self.run((), lambda tx: SALE.put(tx, changed, self.partition))

    async def plant(self, ticket_id: TicketId, **changes: object) -> None:
        """Writes a ticket as only a gate, or a damage, could leave it."""
        changed = replace(self.ticket(ticket_id), **changes)
        await self.run((), lambda tx: TICKETS.put(tx, changed, self.partition, ticket_id))

    async def offer(self, user: int, ticket_id: TicketId, token: str = "t" * 43) -> TransferRecord:
        command = OfferTransfer(
            user_id=user_id(user),
            ticket_id=ticket_id,
            transfer_id=TransferId(self.new_id()),
            recipient_email="friend@example.com",
            recipient_name="John Doe",
            claim_hash=claim_hash_of(token),
            claim_link=f"https://tickets.example/claim?transfer=x&token={token}",
            transfer_ms=TRANSFER_MS,
        )
        named = Command(
            "offer", offer_partitions(EVENT_ID, user_id(user)), lambda tx: offer_transfer(tx, command)
        )
        return (await self.engine.submit(named)).result

    async def accept(self, user: int, transfer_id: TransferId, token: str = "t" * 43) -> TicketRecord:
        command = AcceptTransfer(
            event_id=EVENT_ID,
            transfer_id=transfer_id,
            user_id=user_id(user),
            claim_token=token,
            ticket_id=TicketId(self.new_id()),
            seed=b"a" * 32,
            kid="ffffffff",
        )
        named = Command(
            "accept", end_partitions(EVENT_ID, user_id(user)), lambda tx: accept_transfer(tx, command)
        )
        return (await self.engine.submit(named)).result

    async def decline(self, user: int, transfer_id: TransferId, token: str = "t" * 43) -> TransferRecord:
        command = DeclineTransfer(event_id=EVENT_ID, transfer_id=transfer_id, claim_token=token)
        named = Command(
            "decline", end_partitions(EVENT_ID, user_id(user)), lambda tx: decline_transfer(tx, command)
        )
        return (await self.engine.submit(named)).result

    async def cancel(self, user: int, transfer_id: TransferId) -> TransferRecord:
        command = CancelTransfer(transfer_id=transfer_id, user_id=user_id(user))
        named = Command(
            "cancel", end_partitions(EVENT_ID, user_id(user)), lambda tx: cancel_transfer(tx, command)
        )
        return (await self.engine.submit(named)).result

    async def expire(self, limit: int = 100) -> int | None:
        command = Command("expire", (self.partition,), lambda tx: expire_transfers(tx, EVENT_ID, limit))
        return (await self.engine.submit(command)).result

    async def void(self, order: int) -> None:
        command = Command("void", (self.partition,), lambda tx: void_tickets(tx, EVENT_ID, order_id(order)))
        await self.engine.submit(command)

    def ticket(self, ticket_id: TicketId) -> TicketRecord:
        found = self.read(lambda reader: TICKETS.get(reader, self.partition, ticket_id))
        assert found is not None
        return found

    def transfer(self, transfer_id: TransferId) -> TransferRecord:
        found = self.read(lambda reader: TRANSFERS.get(reader, self.partition, transfer_id))
        assert found is not None
        return found

    def mails(self) -> list[MailRecord]:
        return self.read(lambda reader: [mail for _, mail in MAILS.scan(reader, self.partition)])

    def everything(self) -> dict[bytes, bytes]:
        """All records of the event, to see that nothing has changed."""

        def read(reader: Reader) -> dict[bytes, bytes]:
            prefix = bytes((len(self.partition),)) + self.partition + b"\x10"
            return dict(reader.scan(prefix + (1).to_bytes(8, "big"), prefix + b"\xff"))  # type: ignore[arg-type]  # keys

        return self.read(read)

    def check(self) -> None:
        """Fails unless tickets, transfers, mails and all that points to them agree."""
        self.read(lambda reader: check_tickets(reader, EVENT_ID))


def check_tickets(reader: Reader, event_id: EventId) -> None:
    """Every rule that the books promise, read from the records alone."""
    partition = event_partition(event_id)
    tickets = {record.ticket_id: record for _, record in TICKETS.scan(reader, partition)}
    transfers = {record.transfer_id: record for _, record in TRANSFERS.scan(reader, partition)}
    orders = {record.order_id: record for _, record in ORDERS.scan(reader, partition)}
    assert {barcode: ticket for (barcode,), ticket in BARCODES.scan(reader, partition)} == {
        ticket.barcode: ticket.ticket_id for ticket in tickets.values()
    }
    for ticket in tickets.values():
        assert BUYER_TICKETS.get(reader, buyer_partition(ticket.holder_id), ticket.ticket_id) == event_id
    _check_lines(orders, tickets)
    pending = {key: record for key, record in transfers.items() if record.state is TransferState.PENDING}
    assert {record.ticket_id: key for key, record in pending.items()} == {
        ticket.ticket_id: ticket.transfer_id
        for ticket in tickets.values()
        if ticket.state is TicketState.TRANSFER_PENDING
    }
    assert list(DUE_TRANSFERS.scan(reader, partition)) == sorted(
        (record.expires_at_ms, key) for key, record in pending.items()
    )
    for key, record in transfers.items():
        assert EVENT_OF_TRANSFER.get(reader, SYSTEM, key) == event_id
        assert BUYER_TRANSFERS.get(reader, buyer_partition(record.sender_id), key) == event_id
        accepted = record.state is TransferState.ACCEPTED
        assert accepted == (record.new_ticket_id is not None) == (record.recipient_id is not None)
        assert accepted == (tickets[record.ticket_id].transfer_id == key and key not in pending)
        assert (record.ended_at_ms is None) == (key in pending)
        if record.new_ticket_id is not None:
            assert tickets[record.new_ticket_id].issue == tickets[record.ticket_id].issue + 1
            assert tickets[record.ticket_id].state is TicketState.TRANSFERRED
    mails = {mail.mail_id: mail for _, mail in MAILS.scan(reader, partition)}
    assert mails.keys() <= pending.keys()
    assert list(DUE_MAILS.scan(reader, partition)) == sorted((m.due_at_ms, m.mail_id) for m in mails.values())


def _check_lines(orders: dict[OrderId, OrderRecord], tickets: dict[TicketId, TicketRecord]) -> None:
    """A confirmed order has one line for each seat, with dense issues, and at most the last one is good."""
    lines: dict[tuple[OrderId, SeatNumber], list[TicketRecord]] = {}
    for ticket in sorted(tickets.values(), key=lambda ticket: ticket.issue):
        lines.setdefault((ticket.order_id, ticket.seat), []).append(ticket)
    wanted = Counter(
        (order.order_id, seat)
        for order in orders.values()
        if order.state is OrderState.CONFIRMED
        for seat in order.seats
    )
    assert wanted.keys() <= lines.keys()
    for line in lines.values():
        assert [ticket.issue for ticket in line] == list(range(1, len(line) + 1))
        assert line[0].ticket_id in orders[line[0].order_id].ticket_ids
        assert all(ticket.state is TicketState.TRANSFERRED for ticket in line[:-1])
        assert line[-1].state in VALID_TICKET_STATES | {TicketState.VOID, TicketState.USED}


@contextmanager
def tickets_stage(path: Path) -> Iterator[TicketStage]:
    """A stage in a new store, its clock at the opening of the sale; its event has yet to be put."""
    clock = HandClock(OPENS_MS)
    with open_store(path, clock) as engine:
        yield TicketStage(engine, clock)


@contextmanager
def open_stage(path: Path, clock: Clock) -> Iterator[TicketStage]:
    """A stage whose time is another clock's."""
    with open_store(path, clock) as engine:
        yield TicketStage(engine, HandClock(clock.now_ms()))
