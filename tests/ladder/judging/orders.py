"""One event's orders, tickets and transfers through time: legal moves, one capture an order, tickets issued once."""

from __future__ import annotations

from collections.abc import Iterator

from storage.schema.events import OrderMoved, TicketsIssued, TransferMoved
from storage.schema.ids import EventId, OrderId, TicketId, TransferId
from storage.schema.states import (
    ORDER_MOVES,
    PAYMENT_MOVES,
    TRANSFER_MOVES,
    OrderState,
    PaymentState,
    TransferState,
)
from storage.verify.problem import Problem


class OrdersJudge:
    """All orders of an event from the first on."""

    def __init__(self, event_id: EventId) -> None:
        self._where = f"event {event_id}"
        self._orders: dict[OrderId, tuple[OrderState, PaymentState]] = {}
        self._captured: set[OrderId] = set()
        self._ticketed: set[OrderId] = set()
        self._tickets: set[TicketId] = set()
        self._transfers: dict[TransferId, TransferState] = {}
        self._offered: dict[TicketId, TransferId] = {}

    def order(self, event: OrderMoved) -> Iterator[Problem]:
        """An order was begun, or went on."""
        before = self._orders.get(event.order_id)
        state, payment = event.state, event.payment_state
        if before is not None:
            if state is not before[0] and state not in ORDER_MOVES[before[0]]:
                yield self._problem("order-moves-legally", f"{event.order_id}: {before[0]} to {state}")
            if payment is not before[1] and payment not in PAYMENT_MOVES[before[1]]:
                yield self._problem("payment-moves-legally", f"{event.order_id}: {before[1]} to {payment}")
        if payment is PaymentState.CAPTURED and (before is None or before[1] is not PaymentState.CAPTURED):
            if event.order_id in self._captured:
                yield self._problem("one-capture-an-order", f"{event.order_id} is captured again")
            self._captured.add(event.order_id)
        self._orders[event.order_id] = (state, payment)

    def issue(self, event: TicketsIssued, seats: int) -> Iterator[Problem]:
        """An order's tickets came to life, or the one that follows an accepted transfer; the order has so many
        seats."""
        if again := self._tickets.intersection(event.ticket_ids):
            yield self._problem("one-code-a-ticket", f"issued again: {sorted(map(str, again))}")
        if event.order_id not in self._ticketed and len(event.ticket_ids) != seats:
            text = f"{len(event.ticket_ids)} for the {seats} seats of {event.order_id}"
            yield self._problem("tickets-all-or-nothing", text)
        self._ticketed.add(event.order_id)
        self._tickets.update(event.ticket_ids)

    def transfer(self, event: TransferMoved) -> Iterator[Problem]:
        """A ticket was offered, or the offer ended."""
        before = self._transfers.get(event.transfer_id)
        if before is None:
            if event.state is not TransferState.PENDING:
                yield self._problem("transfer-moves-legally", f"{event.transfer_id} begins as {event.state}")
        elif event.state not in TRANSFER_MOVES[before]:
            text = f"{event.transfer_id}: {before} to {event.state}"
            yield self._problem("transfer-moves-legally", text)
        if event.state is TransferState.PENDING:
            other = self._offered.setdefault(event.ticket_id, event.transfer_id)
            if other != event.transfer_id:
                yield self._problem("one-transfer-a-ticket", f"{event.ticket_id} is offered twice")
        elif self._offered.get(event.ticket_id) == event.transfer_id:
            del self._offered[event.ticket_id]
        self._transfers[event.transfer_id] = event.state

    def _problem(self, invariant: str, text: str) -> Problem:
        return Problem(invariant=invariant, where=self._where, text=text)
