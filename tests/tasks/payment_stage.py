"""A stage for tests of the payments task: one event in a real store, the sandbox gateway with faults on order, a clock
of Trio's, an audit of money against seats, and a way to die at any step."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import UUID

import trio
import trio.testing

from config.settings import Settings
from storage.clock import TrioClock
from storage.engine import Command, Committed, Engine, Reader, Transaction
from storage.schema.ids import EventId
from storage.schema.layout import ORDERS, OUTCOMES, SYSTEM, TICKETS, buyer_partition
from storage.schema.movements import MovementKind
from storage.schema.records import OrderRecord, OutcomeRecord, ReplyPlace, ReservationRecord, TicketRecord
from storage.schema.states import OrderState, PaymentState
from storage.verify.contents import EventContents
from storage.verify.ledger import (
    check_currency_sums,
    check_ledger_fits_orders,
    check_movement_sums,
    check_movement_times,
    check_movements,
)
from storage.writer import InlineEngine
from tests.domain.inventory_stage import (
    EVENT_ID,
    OPENS_MS,
    InventoryStage,
    make_plan,
    order_id,
    user_id,
)
from tests.domain.order_stage import begin_command, card_id, check_orders
from tests.domain.room_stage import open_store
from tests.ports.faulty_gateway import FaultyGateway
from ticketd.domain.cancellation import CancelOrder, cancel_order
from ticketd.domain.ledger import balance_of, list_movements
from ticketd.domain.payment_methods import AddPaymentMethod, add_payment_method
from ticketd.errors import Refusal
from ticketd.ports.payments import CardAdded, GatewayState, MethodRequest, PaymentGateway, PaymentSnapshot
from ticketd.ports.sandbox_payments import ActionOutcome, SandboxGateway
from ticketd.tasks.deadlines import run_due_work
from ticketd.tasks.holds import hold_expiry
from ticketd.tasks.payments import DeskParts, PaymentDesk
from ticketd.tasks.placing import Answers, PlacedAnswer

R = TypeVar("R")
T = TypeVar("T")

LEDGER = "sandbox.sqlite"
KID = "0a1b2c3d"


class PaymentStage(InventoryStage[TrioClock]):
    """One event, buyers with a card each, and the gateway. Orders and buyers are numbers."""

    def __init__(self, engine: InlineEngine, clock: TrioClock, path: Path) -> None:
        super().__init__(engine, clock)
        self._ledger_path = path / LEDGER
        self.sandbox = SandboxGateway(
            self._ledger_path, now_ms=clock.now_ms, public_url="http://tickets.test", inline=True
        )
        self.gateway = FaultyGateway(self.sandbox)

    def close(self) -> None:
        self.sandbox.close()

    def desk(
        self,
        *,
        engine: Engine | None = None,
        gateway: PaymentGateway | None = None,
        settings: Settings | None = None,
    ) -> PaymentDesk:
        """A desk that is not running yet."""
        return PaymentDesk(
            DeskParts(
                engine=engine or self.engine,
                clock=self.clock,
                gateway=gateway or self.gateway,
                settings=settings or Settings(),
                ticket_kid=lambda: KID,
                answers=Answers(created=render_created, refused=render_refused),
            )
        )

    @asynccontextmanager
    async def running(self, desk: PaymentDesk | None = None) -> AsyncIterator[PaymentDesk]:
        """A desk at work, and the task that ends holds, until the block ends."""
        desk = desk or self.desk()
        async with trio.open_nursery() as nursery:
            await nursery.start(run_due_work, self.engine, self.clock, hold_expiry(self.engine))
            await nursery.start(desk.run)
            yield desk
            nursery.cancel_scope.cancel()

    async def add_card(self, user: int, token: str = "tok_visa") -> None:
        """Gives the buyer a card, in place of the one before."""
        added = await self.sandbox.describe_method(
            MethodRequest(card_token=token, user_id=user_id(user)), f"{user}:{token}"
        )
        assert isinstance(added, CardAdded)
        command = AddPaymentMethod(
            user_id=user_id(user),
            payment_method_id=card_id(user),
            gateway="sandbox",
            method_ref=added.gateway_method_ref,
            brand=added.brand,
            last_four=added.last_four,
            expiry_month=added.expiry_month,
            expiry_year=added.expiry_year,
            customer_ref=added.customer_ref,
        )
        await self.decide(user, lambda tx: add_payment_method(tx, command))

    async def hold(self, *names: str, user: int = 1, token: str = "tok_visa") -> ReservationRecord:
        await self.add_card(user, token)
        return await self.reserve(user, *self.seats(*names))

    async def place(
        self,
        desk: PaymentDesk,
        hold: ReservationRecord,
        *,
        order: int = 1,
        user: int = 1,
        reply: ReplyPlace | None = None,
    ) -> PlacedAnswer:
        return await desk.place_order(begin_command(user, hold, order, reply=reply))

    async def cancel(self, order: int = 1, user: int = 1) -> OrderRecord:
        command = CancelOrder(event_id=EVENT_ID, order_id=order_id(order), user_id=user_id(user))
        return await self.decide(user, lambda tx: cancel_order(tx, command))

    async def act(self, outcome: ActionOutcome, order: int = 1) -> None:
        """The buyer ends the challenge of an order at the gateway."""
        ref = self.order(order).payment_ref
        assert ref is not None
        await self.sandbox.complete_action(ref, outcome)

    async def decide(self, user: int, function: Callable[[Transaction], R]) -> R:
        partitions = (self.partition, buyer_partition(user_id(user)), SYSTEM)
        return (await self.engine.submit(Command("test", partitions, function))).result

    def find_order(self, order: int = 1) -> OrderRecord | None:
        return self.read(lambda reader: ORDERS.get(reader, self.partition, order_id(order)))

    def order(self, order: int = 1) -> OrderRecord:
        found = self.find_order(order)
        assert found is not None
        return found

    def states(self, order: int = 1) -> tuple[OrderState, PaymentState]:
        return self.order(order).state, self.order(order).payment_state

    def tickets(self) -> list[TicketRecord]:
        return self.read(lambda reader: [ticket for _, ticket in TICKETS.scan(reader, self.partition)])

    def kept(self, reply: ReplyPlace, user: int = 1) -> OutcomeRecord | None:
        """What is kept of a request's outcome."""
        buyer = buyer_partition(user_id(user))
        with self.engine.snapshot(buyer) as view:
            return OUTCOMES.get(view, buyer, reply.digest)

    async def payment(self, order: int = 1) -> PaymentSnapshot | None:
        return await self.sandbox.find_by_order(order_id(order))

    async def until(self, after_ms: int) -> None:
        """Lets time pass to so many milliseconds after the opening, and all that is due happen."""
        await self.clock.wait_until_ms(OPENS_MS + after_ms)
        await trio.testing.wait_all_tasks_blocked()

    async def audit(self, *, at_rest: bool = True) -> None:
        """Fails unless orders, seats, tickets and the gateway's own books agree; ``at_rest``: nothing is left to do."""
        self.read(lambda reader: check_orders(reader, EVENT_ID))
        orders = self.read(lambda reader: [order for _, order in ORDERS.scan(reader, self.partition)])
        # A third party to both: the gateway's ledger as it lies on the disk.
        with closing(sqlite3.connect(self._ledger_path)) as ledger:
            paid = [UUID(bytes=found) for (found,) in ledger.execute("SELECT order_id FROM payments")]
        assert len(paid) == len(set(paid)), "one payment an order at most"
        assert set(paid) <= {order.order_id for order in orders}
        for order in orders:
            if at_rest:
                assert order.due_at_ms is None, order
                _check_money(order, await self.sandbox.find_by_order(order.order_id))
                await self._check_ledger(order)
        self.read(self._check_ledger_is_sound)

    async def _check_ledger(self, order: OrderRecord) -> None:
        """Fails unless the ledger has each movement of an order at rest once, and as the gateway has it."""
        movements = self.read(lambda reader: list_movements(reader, EVENT_ID, order.order_id))
        balance, payment = balance_of(movements), await self.sandbox.find_by_order(order.order_id)
        taken, given_back = (payment.captured_minor, payment.refunded_minor) if payment else (0, 0)
        assert (balance.captured_minor, balance.refunded_minor) == (taken, given_back), order
        assert balance.reserved_minor == 0, order
        refunds = await self.sandbox.list_refunds(payment.payment_ref if payment else "")
        told = [move for move in movements if move.kind is MovementKind.REFUNDED]
        assert [(move.movement_ref, move.amount_minor) for move in told] == [
            (refund.refund_ref, refund.amount_minor) for refund in refunds
        ]
        assert {move.gateway for move in movements} <= {"sandbox"}

    def _check_ledger_is_sound(self, reader: Reader) -> None:
        event = EventContents(reader, EVENT_ID)
        for check in (
            check_movements,
            check_movement_sums,
            check_ledger_fits_orders,
            check_currency_sums,
            check_movement_times,
        ):
            assert list(check(event)) == []


def _check_money(order: OrderRecord, payment: PaymentSnapshot | None) -> None:
    """Fails unless the gateway has exactly the money that an order at rest says."""
    state = GatewayState.VOIDED if payment is None else payment.state
    taken = 0 if payment is None else payment.captured_minor
    given_back = 0 if payment is None else payment.refunded_minor
    match order.state, order.payment_state:
        case OrderState.CONFIRMED, PaymentState.CAPTURED:
            assert (taken, given_back) == (order.total_minor, order.refund_minor), order
        case ((OrderState.CANCELLED | OrderState.FAILED), PaymentState.REFUNDED):
            assert (taken, given_back) == (order.total_minor, order.refund_minor), order
        case ((OrderState.CANCELLED | OrderState.FAILED), (PaymentState.VOIDED | PaymentState.FAILED)):
            assert (taken, given_back) == (0, 0), order
            assert state in {GatewayState.VOIDED, GatewayState.FAILED}, order
        case _:
            raise AssertionError(f"not at rest: {order}")


def render_created(reader: Reader, event_id: EventId, order: OrderRecord) -> bytes:
    assert event_id == EVENT_ID
    return f"{order.order_id} {order.state}/{order.payment_state}".encode()


def render_refused(refusal: Refusal, request_id: str, now_ms: int) -> bytes:
    return f"{refusal.code.name} {request_id} {now_ms}".encode()


def reply_of(number: int = 1, fingerprint: bytes = b"f") -> ReplyPlace:
    return ReplyPlace(
        digest=number.to_bytes(32, "big"), fingerprint=fingerprint * 32, request_id=f"request-{number}"
    )


@asynccontextmanager
async def payments(path: Path, **changes: object) -> AsyncIterator[PaymentStage]:
    """A stage in a new store with the event in it, now being the opening of the sale."""
    clock = TrioClock(OPENS_MS)
    with open_store(path, clock) as engine:
        stage = PaymentStage(engine, clock, path)
        try:
            await stage.put(make_plan(**changes))  # type: ignore[arg-type]  # the tests name real fields
            yield stage
        finally:
            stage.close()


# --- dying ----------------------------------------------------------------------------------------------------------


class Death:
    """Where a process dies: at its ``at``-th step, a step being a commit or a call of the gateway that was made.

    Nothing of the process goes on from there, and nobody has heard what the step came to.
    """

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.steps: list[str] = []
        self._scope = trio.CancelScope()

    @contextmanager
    def process(self) -> Iterator[None]:
        """What runs in the block dies with the process."""
        with self._scope:
            yield

    @property
    def has_come(self) -> bool:
        return self._scope.cancel_called

    async def pass_step(self, name: str) -> None:
        if not self.has_come:
            self.steps.append(name)
            if len(self.steps) == self.at:
                self._scope.cancel()
        if self.has_come:
            await trio.sleep_forever()


class MortalEngine:
    """An engine whose process dies after one of its commits."""

    def __init__(self, inner: Engine, death: Death) -> None:
        self._inner = inner
        self._death = death

    async def submit(self, command: Command[T], *, deadline_seconds: float | None = None) -> Committed[T]:
        if self._death.has_come:
            await trio.sleep_forever()
        with trio.CancelScope(shield=True):
            committed = await self._inner.submit(command, deadline_seconds=deadline_seconds)
        await self._death.pass_step(command.name)
        return committed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class MortalGateway:
    """A gateway whose caller dies after one of its calls took effect."""

    def __init__(self, inner: PaymentGateway, death: Death) -> None:
        self._inner = inner
        self._death = death

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        async def call(*arguments: object) -> object:
            if self._death.has_come:
                await trio.sleep_forever()
            with trio.CancelScope(shield=True):
                outcome = await cast(Callable[..., Awaitable[object]], found)(*arguments)
            await self._death.pass_step(name)
            return outcome

        return call


def mortal_desk(stage: PaymentStage, death: Death) -> PaymentDesk:
    """A desk of a process that dies."""
    return stage.desk(
        engine=cast(Engine, MortalEngine(stage.engine, death)),
        gateway=cast(PaymentGateway, MortalGateway(stage.gateway, death)),
    )
