"""An event's orders as they are read and written: each change with its trail, its due time and its event, in step.

What may be done with an order, and when, is in ``checkout``, ``settlement`` and ``cancellation``.
"""

from __future__ import annotations

from msgspec.structs import replace

from storage.engine import Reader, Transaction
from storage.schema.events import OrderMoved
from storage.schema.ids import EventId, OrderId, UserId
from storage.schema.layout import BUYER_ORDERS, DUE_ORDERS, ORDERS, buyer_partition, event_partition
from storage.schema.records import OrderRecord, TrailRecord
from storage.schema.states import ORDER_MOVES, PAYMENT_MOVES, check_move
from ticketd.errors import ErrorCode, Refusal


def load_order(reader: Reader, event_id: EventId, order_id: OrderId) -> OrderRecord:
    """An order that is known to exist. One that is missing means that the store is damaged (LookupError)."""
    order = ORDERS.get(reader, event_partition(event_id), order_id)
    if order is None:
        raise LookupError(f"event {event_id}: there is no order {order_id}")
    return order


def find_order(reader: Reader, user_id: UserId, order_id: OrderId) -> tuple[EventId, OrderRecord]:
    """A buyer's own order and its event. Refuses ORDER_NOT_FOUND, also for another's."""
    event_id = BUYER_ORDERS.get(reader, buyer_partition(user_id), order_id)
    order = None if event_id is None else ORDERS.get(reader, event_partition(event_id), order_id)
    if event_id is None or order is None:
        raise Refusal(ErrorCode.ORDER_NOT_FOUND)
    return event_id, order


def trail_line(tx: Transaction, what: str, session_id: str = "") -> TrailRecord:
    """A line of an order's trail: what is done to it now, and by which session if it is a caller's doing."""
    return TrailRecord(at_ms=tx.now_ms, what=what, session_id=session_id)


def save_order(
    tx: Transaction,
    event_id: EventId,
    before: OrderRecord | None,
    after: OrderRecord,
    line: TrailRecord | None,
) -> OrderRecord:
    """Writes an order after a step: checks that its states may move so, keeps the due index in step, adds ``line``
    (unless it is None) to its trail, and emits OrderMoved. Answers the order as it was written."""
    partition = event_partition(event_id)
    if before is not None:
        _check_moves(before, after)
        if before.due_at_ms is not None and before.due_at_ms != after.due_at_ms:
            DUE_ORDERS.remove(tx, partition, before.due_at_ms, before.order_id)
    order = after if line is None else replace(after, trail=(*after.trail, line))
    if order.due_at_ms is not None:
        DUE_ORDERS.add(tx, partition, order.due_at_ms, order.order_id)
    ORDERS.put(tx, order, partition, order.order_id)
    tx.emit(
        partition,
        OrderMoved(
            event_id=event_id,
            order_id=order.order_id,
            user_id=order.user_id,
            state=order.state,
            payment_state=order.payment_state,
            due_at_ms=order.due_at_ms,
        ),
    )
    return order


def _check_moves(before: OrderRecord, after: OrderRecord) -> None:
    if before.state is not after.state:
        check_move(ORDER_MOVES, before.state, after.state)
    if before.payment_state is not after.payment_state:
        check_move(PAYMENT_MOVES, before.payment_state, after.payment_state)
