"""Two sets of books held against each other: the store as it lies on the disk, and what the judge of payments has.

Neither side's own arithmetic is used for the other's: the judge's ledger comes from its own file, the daemon's orders,
tickets and movements are read beside the daemon, which may be dead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import msgspec

from config.settings import StorageSettings
from storage.clock import SystemClock
from storage.engine import Reader
from storage.open import open_reader
from storage.schema.events import EVENT_CODEC
from storage.schema.ids import EventId, OrderId
from storage.schema.layout import MOVEMENTS, ORDERS, TICKETS, event_partition
from storage.schema.movements import MovementKind, MovementRecord
from storage.schema.records import OrderRecord, TicketRecord
from storage.schema.states import DisputeState, OrderState, PaymentState, TicketState
from storage.snapshots import StoreReads
from storage.verify import verify_store
from tests.stripe_judge.control import LedgerLine
from ticketd.ports.stripe_intents import ORDER_KEY

_GAINED = {
    MovementKind.CAPTURED: 1,
    MovementKind.REFUNDED: -1,
    MovementKind.DISPUTED: -1,
    MovementKind.DISPUTE_WON: 1,
}
UNDER_WAY = frozenset({OrderState.INTENT, OrderState.PENDING})
KEPT = frozenset({PaymentState.CAPTURED})
GIVEN_BACK = frozenset({PaymentState.REFUNDED})
"""States in which money was taken; in all others at rest none was."""


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """One event as the store has it at one moment. ``problems`` is what ``ticketd verify`` would name."""

    orders: dict[OrderId, OrderRecord]
    tickets: list[TicketRecord]
    movements: list[MovementRecord]
    problems: list[str]

    @property
    def restless(self) -> list[OrderRecord]:
        """Orders that somebody will look at again."""
        return [order for order in self.orders.values() if order.due_at_ms is not None]

    def live_tickets(self, order_id: OrderId) -> int:
        return sum(
            ticket.order_id == order_id and ticket.state is not TicketState.VOID for ticket in self.tickets
        )

    def moved(self, order_id: OrderId, kind: MovementKind) -> int:
        """What the daemon's ledger says of one kind of movement of an order, in minor units."""
        return sum(
            movement.amount_minor
            for movement in self.movements
            if movement.order_id == order_id and movement.kind is kind
        )


@contextmanager
def reading(data: Path) -> Iterator[StoreReads]:
    """Reads beside the daemon, and changes nothing."""
    settings = StorageSettings(data=str(data))
    with open_reader(data, settings, SystemClock(), EVENT_CODEC) as reads:
        yield reads


def read_orders(reads: StoreReads, event_id: EventId) -> dict[OrderId, OrderRecord]:
    """The event's orders as they stand now."""
    partition = event_partition(event_id)
    with reads.snapshot() as view:
        return {order.order_id: order for _, order in ORDERS.scan(view, partition)}


def read_books(data: Path, event_id: EventId) -> Books:
    """All that the audit looks at, of one moment."""
    with reading(data) as reads, reads.snapshot() as view:
        return _books(view, event_id)


def _books(view: Reader, event_id: EventId) -> Books:
    partition = event_partition(event_id)
    return Books(
        orders={order.order_id: order for _, order in ORDERS.scan(view, partition)},
        tickets=[ticket for _, ticket in TICKETS.scan(view, partition)],
        movements=[movement for _, movement in MOVEMENTS.scan(view, partition)],
        problems=list(map(str, verify_store(view))),
    )


def payments_of(lines: Sequence[LedgerLine], order_id: OrderId) -> list[LedgerLine]:
    """The judge's payments that name the order."""
    return [line for line in lines if line.metadata.get(ORDER_KEY) == str(order_id)]


def disagreements(books: Books, lines: Sequence[LedgerLine]) -> list[str]:
    """All that is wrong between the two books once everything is at rest; none is what a test wants to see."""
    wrong = [f"verify: {problem}" for problem in books.problems]
    wrong += [f"not at rest: {order.order_id} {_states(order)}" for order in books.restless]
    known = {str(order_id) for order_id in books.orders}
    wrong += [
        f"a payment of nobody's order: {line.payment_intent}"
        for line in lines
        if line.metadata.get(ORDER_KEY) not in known
    ]
    for order in books.orders.values():
        of_order = payments_of(lines, order.order_id)
        wrong += [f"{order.order_id} {_states(order)}: {what}" for what in _of_order(books, order, of_order)]
    return wrong + _sums(books, lines)


def _of_order(books: Books, order: OrderRecord, lines: Sequence[LedgerLine]) -> Iterator[str]:
    set_aside = [line for line in lines if line.authorised]
    if len(set_aside) > 1:
        yield f"set aside {len(set_aside)} times"
    if sum(line.tries for line in lines) > 1:
        yield "its card was tried more than once"
    captured, refunded = sum(line.captured for line in lines), sum(line.refunded for line in lines)
    capturable = sum(line.capturable for line in lines)
    if capturable:
        yield f"{capturable} still set aside on the card"
    if any(line.status == "requires_action" for line in lines):
        yield "the card's bank still waits for the buyer"
    tickets, sold = books.live_tickets(order.order_id), order.state is OrderState.CONFIRMED
    with_bank = order.dispute in {DisputeState.OPEN, DisputeState.LOST}
    if sold and (order.payment_state not in KEPT or captured != order.total_minor):
        yield f"sold for {order.total_minor}, and {captured} was taken"
    if sold and captured - refunded <= 0 < order.total_minor:
        yield f"tickets without money: {captured} taken, {refunded} given back"
    if not sold and tickets:
        yield f"{tickets} live tickets without a sale"
    if sold and not tickets and not with_bank:
        yield "paid, and no ticket"
    owed = order.refund_minor if order.payment_state in GIVEN_BACK else captured
    if not sold and (captured or refunded) and refunded != owed and not with_bank:
        yield f"charged without tickets: {captured} taken, {refunded} given back"
    disputed = books.moved(order.order_id, MovementKind.DISPUTED) - books.moved(
        order.order_id, MovementKind.DISPUTE_WON
    )
    if disputed != sum(line.disputed for line in lines):
        yield f"{disputed} is with the bank here, {[line.disputed for line in lines]} at the gateway"
    for kind, theirs in ((MovementKind.CAPTURED, captured), (MovementKind.REFUNDED, refunded)):
        ours = books.moved(order.order_id, kind)
        if ours != theirs:
            yield f"{kind.value} is {ours} here and {theirs} at the gateway"


def _sums(books: Books, lines: Sequence[LedgerLine]) -> list[str]:
    """To the cent: what the seller has, by both books."""
    here = sum(movement.amount_minor * _GAINED.get(movement.kind, 0) for movement in books.movements)
    there = sum(line.captured - line.refunded - line.disputed for line in lines)
    return [] if here == there else [f"the seller has {here} here and {there} at the gateway"]


def _states(order: OrderRecord) -> str:
    return f"{order.state.value}/{order.payment_state.value}"


def order_of(text: object) -> OrderId:
    """An order's id, as an answer writes it."""
    return OrderId(UUID(str(text)))
