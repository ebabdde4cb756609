"""A stage for tests of orders: one event in a real store, cards, and a check that orders, seats and indices agree."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from storage.engine import Command, Reader, Transaction
from storage.schema.ids import EventId, OrderId, PaymentMethodId, TicketId
from storage.schema.layout import (
    BUYER_ORDERS,
    DUE_ORDERS,
    EVENT_OF_ORDER,
    ORDERS,
    SYSTEM,
    TICKETS,
    buyer_partition,
    event_partition,
)
from storage.schema.records import AddressRecord, OrderRecord, ReplyPlace, ReservationRecord, TicketRecord
from storage.schema.states import OrderState, PaymentState, SeatState, TicketState
from tests.domain.inventory_recount import recount
from tests.domain.inventory_stage import (
    EVENT_ID,
    OPENS_MS,
    InventoryStage,
    make_plan,
    order_id,
    user_id,
)
from tests.domain.room_stage import HandClock, open_store
from ticketd.domain.cancellation import CancelOrder, cancel_order
from ticketd.domain.checkout import (
    BeginCheckout,
    OrderStep,
    RecordAction,
    RecordAuthorised,
    RecordRefused,
    await_buyer,
    begin_checkout,
    record_action,
    record_authorised,
    record_refused,
    record_unreachable,
)
from ticketd.domain.order_book import load_order
from ticketd.domain.payment_methods import AddPaymentMethod, add_payment_method
from ticketd.domain.seats import seat_states
from ticketd.domain.settlement import (
    ConfirmOrder,
    Move,
    PutOff,
    confirm_order,
    next_move,
    owe_refund,
    put_off,
    record_capture_refused,
    record_found,
    record_nothing_lost,
    record_refunded,
    record_taken,
    record_voided,
    wake_order,
)

R = TypeVar("R")

GATEWAY = "sandbox"
FREEZE_MS = 60_000
RESUME_MS = 45_000
BILLING = AddressRecord(street="123 Main St", city="New York", postal_code="10001", country="US")
REDIRECT = "http://tickets.test/sandbox/payments/pi_1"
CLIENT_SECRET = "pi_1_secret_1"


def card_id(user: int) -> PaymentMethodId:
    return PaymentMethodId(UUID(int=0xD000_0000 + user))


def begin_command(
    user: int, hold: ReservationRecord, order: int = 1, *, reply: ReplyPlace | None = None
) -> BeginCheckout:
    """The payment of a hold with the buyer's card."""
    return BeginCheckout(
        order_id=order_id(order),
        event_id=EVENT_ID,
        user_id=user_id(user),
        reservation_id=hold.reservation_id,
        payment_method_id=card_id(user),
        billing_address=BILLING,
        delivery_method="MOBILE",
        gateway=GATEWAY,
        return_url="http://tickets.test/back",
        freeze_ms=FREEZE_MS,
        resume_ms=RESUME_MS,
        session_id="session-1",
        reply=reply,
    )


class OrderStage(InventoryStage[HandClock]):
    """One event and what is done with orders in it. Orders are numbers, as buyers are; each has one card."""

    async def decide(self, user: int, function: Callable[[Transaction], R]) -> R:
        partitions = (self.partition, buyer_partition(user_id(user)), SYSTEM)
        return (await self.engine.submit(Command("test", partitions, function))).result

    async def add_card(self, user: int, gateway: str = GATEWAY) -> PaymentMethodId:
        command = AddPaymentMethod(
            user_id=user_id(user),
            payment_method_id=card_id(user),
            gateway=gateway,
            method_ref=f"pm_{user}",
            brand="Visa",
            last_four="4242",
            expiry_month=12,
            expiry_year=2030,
        )
        await self.decide(user, lambda tx: add_payment_method(tx, command))
        return card_id(user)

    async def begin(self, user: int, hold: ReservationRecord, order: int = 1) -> OrderRecord:
        await self.add_card(user)
        command = begin_command(user, hold, order)
        return await self.decide(user, lambda tx: begin_checkout(tx, command))

    async def intent(self, *names: str, user: int = 1, order: int = 1) -> OrderRecord:
        """An order of these seats whose payment was begun."""
        return await self.begin(user, await self.reserve(user, *self.seats(*names)), order)

    async def take(self, step: str, order: int = 1, user: int = 1) -> OrderRecord:
        """Takes one of the steps that record what the gateway said, or the buyer's cancel."""
        return await self.decide(user, lambda tx: STEPS[step](tx, step_of(order)))

    async def cancel(self, order: int = 1, user: int = 1) -> OrderRecord:
        command = CancelOrder(
            event_id=EVENT_ID, order_id=order_id(order), user_id=user_id(user), session_id="session-2"
        )
        return await self.decide(user, lambda tx: cancel_order(tx, command))

    def order(self, order: int = 1) -> OrderRecord:
        found = self.read(lambda reader: ORDERS.get(reader, self.partition, order_id(order)))
        assert found is not None
        return found

    def is_listed(self, order: int = 1, user: int = 1) -> bool:
        """Whether the buyer, and whoever wakes orders, can find the order."""
        buyer = buyer_partition(user_id(user))
        with self.engine.snapshot() as view:
            listed = BUYER_ORDERS.get(view, buyer, order_id(order)) is not None
            assert listed == (EVENT_OF_ORDER.get(view, SYSTEM, order_id(order)) is not None)
        return listed

    def tickets(self) -> list[TicketRecord]:
        return self.read(lambda reader: [ticket for _, ticket in TICKETS.scan(reader, self.partition)])

    def check(self) -> None:
        """Fails unless inventory, orders, tickets and the due index agree."""
        self.recount()
        self.read(lambda reader: check_orders(reader, EVENT_ID))


def check_orders(reader: Reader, event_id: EventId) -> None:
    """Fails unless each order has what its states promise, and stands in the due index exactly under its due time."""
    partition = event_partition(event_id)
    recount(reader, event_id)
    orders = [order for _, order in ORDERS.scan(reader, partition)]
    due = {(order.due_at_ms, order.order_id) for order in orders if order.due_at_ms is not None}
    assert set(DUE_ORDERS.scan(reader, partition)) == due
    tickets: dict[OrderId, list[TicketRecord]] = {}
    for _, ticket in TICKETS.scan(reader, partition):
        tickets.setdefault(ticket.order_id, []).append(ticket)
    for order in orders:
        assert order.total_minor == order.subtotal_minor + order.fees_minor + order.taxes_minor
        assert 0 <= order.refund_minor <= order.total_minor
        assert (next_move(order) is Move.NOTHING) == (order.due_at_ms is None), order
        kept = order.kept_seats
        has = {owner for _, owner in seat_states(reader, event_id, kept)}
        sold = order.state is OrderState.CONFIRMED or (
            order.state is OrderState.PENDING and order.payment_state is PaymentState.AUTHORIZED
        )
        assert (has == {order.order_id}) if sold else (order.order_id not in has)
        if sold:
            assert {state for state, _ in seat_states(reader, event_id, kept)} == {SeatState.SOLD}
        own = tickets.pop(order.order_id, [])
        live = [ticket for ticket in own if ticket.state is not TicketState.VOID]
        assert len(live) == (len(kept) if order.state is OrderState.CONFIRMED else 0)
        assert {ticket.ticket_id for ticket in own} == set(order.ticket_ids)
        assert list(order.trail) == sorted(order.trail, key=lambda line: line.at_ms)
    assert not tickets


def step_of(order: int) -> OrderStep:
    return OrderStep(event_id=EVENT_ID, order_id=order_id(order))


def confirm_command(order: OrderId, seats: int, captured_minor: int) -> ConfirmOrder:
    """Tickets for so many seats, with ids and codes made of the order's id."""
    return ConfirmOrder(
        event_id=EVENT_ID,
        order_id=order,
        captured_minor=captured_minor,
        ticket_ids=tuple(TicketId(UUID(int=order.int + (n << 64))) for n in range(1, seats + 1)),
        seed=order.bytes * 2,
        kid="0a1b2c3d",
    )


def _confirm(tx: Transaction, step: OrderStep) -> OrderRecord:
    order = ORDERS.get(tx, event_partition(EVENT_ID), step.order_id)
    assert order is not None
    return confirm_order(tx, confirm_command(step.order_id, len(order.seats), order.total_minor))


STEPS: dict[str, Callable[[Transaction, OrderStep], OrderRecord]] = {
    "authorised": lambda tx, step: record_authorised(
        tx, RecordAuthorised(event_id=step.event_id, order_id=step.order_id, payment_ref="pi_1")
    ),
    "action": lambda tx, step: record_action(
        tx,
        RecordAction(
            event_id=step.event_id,
            order_id=step.order_id,
            payment_ref="pi_1",
            redirect_url=REDIRECT,
            client_secret=CLIENT_SECRET,
        ),
    ),
    "refused": lambda tx, step: record_refused(
        tx, RecordRefused(event_id=step.event_id, order_id=step.order_id, decline_code="generic_decline")
    ),
    "unreachable": lambda tx, step: record_unreachable(tx, step, None),
    "no answer": lambda tx, step: record_unreachable(tx, step, 5_000),
    "await": await_buyer,
    "confirmed": _confirm,
    "capture refused": record_capture_refused,
    "found": lambda tx, step: record_found(tx, step, "pi_1", set_aside=True),
    "nothing lost": record_nothing_lost,
    "voided": record_voided,
    "refunded": lambda tx, step: record_refunded(
        tx, step, [("re_1", load_order(tx, step.event_id, step.order_id).refund_minor)]
    ),
    "owed": lambda tx, step: owe_refund(tx, step, load_order(tx, step.event_id, step.order_id).total_minor),
    "taken": lambda tx, step: record_taken(
        tx, step, load_order(tx, step.event_id, step.order_id).total_minor
    ),
    "woken": wake_order,
    "put off": lambda tx, step: put_off(
        tx, PutOff(event_id=step.event_id, order_id=step.order_id, delay_ms=7_000)
    ),
}
"""Every step that the payments task takes, by what it records."""


@asynccontextmanager
async def orders(path: Path, **changes: object) -> AsyncIterator[OrderStage]:
    """A stage in a new store with the event in it, its clock at the opening of the sale."""
    clock = HandClock(OPENS_MS)
    with open_store(path, clock) as engine:
        stage = OrderStage(engine, clock)
        await stage.put(make_plan(**changes))  # type: ignore[arg-type]  # the tests name real fields
        yield stage
