"""Cancelling an event: its sale ends at once, and then its orders and holds, a bounded batch a commit.

True here: after the first commit nothing of the event is sold any more, so that no order comes to be behind the place
that the batches have reached; each batch remembers in its own commit where it ended; an order is ended once. The money
of an order that a till sold is given back at a till, by hand: the order stays, without tickets, and says so.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

import msgspec
from msgspec.structs import replace

from storage.engine import Key, Reader, Transaction
from storage.keys import prefix_range, unpack_parts
from storage.schema.cancellations import CancellationRecord
from storage.schema.events import EventPut
from storage.schema.ids import EventId, ReservationId
from storage.schema.layout import (
    CANCELLATION,
    DUE_RESERVATIONS,
    ORDERS,
    RESERVATIONS,
    SALE,
    event_partition,
)
from storage.schema.movements import BOX_OFFICE
from storage.schema.records import OrderRecord
from storage.schema.states import OrderState, PaymentState, ReservationState
from ticketd.domain.cancellation import cancel_paid, cancel_unpaid
from ticketd.domain.hold_book import end_hold
from ticketd.domain.order_book import save_order, trail_line
from ticketd.domain.refund_amounts import rest_minor
from ticketd.domain.reservations import return_seats
from ticketd.domain.sales import load_sale
from ticketd.domain.tickets import void_tickets

_WHY: Final = "the event is cancelled"


class CancelEvent(msgspec.Struct, frozen=True):
    """An operator cancels an event: no more seats of it can be reserved, and all that were sold are paid back."""

    event_id: EventId


class EventCancelled(msgspec.Struct, frozen=True):
    """``changed`` is False where the event was cancelled so before; ``progress`` is how far that has come."""

    changed: bool
    progress: CancellationRecord


class _Came(Enum):
    """What the cancellation of its event has come to for an order."""

    ENDED = auto()
    TO_TILL = auto()
    NOTHING = auto()


def cancel_event(tx: Transaction, command: CancelEvent) -> EventCancelled:
    """Ends the sale of an event for good, and has its orders and holds ended (``cancel_next``).

    A second time it changes nothing; but an event that was cancelled by a release that left the orders as they were has
    them ended now. Refuses EVENT_NOT_FOUND.
    """
    sale, partition = load_sale(tx, command.event_id), event_partition(command.event_id)
    if (begun := CANCELLATION.get(tx, partition)) is not None:
        return EventCancelled(changed=False, progress=begun)
    SALE.put(tx, replace(sale, cancelled=True), partition)
    progress = CancellationRecord(asked_at_ms=tx.now_ms)
    CANCELLATION.put(tx, progress, partition)
    tx.emit(partition, EventPut(event_id=command.event_id))
    return EventCancelled(changed=True, progress=progress)


def find_cancellation(reader: Reader, event_id: EventId) -> CancellationRecord | None:
    """How far an event's cancellation has come; None if it was not cancelled, or its orders are left as they are."""
    return CANCELLATION.get(reader, event_partition(event_id))


def next_cancellation_ms(reader: Reader, event_id: EventId) -> int | None:
    """When the next batch of an event's cancellation is due: at once, None if there is none."""
    progress = find_cancellation(reader, event_id)
    return None if progress is None or progress.done_at_ms is not None else progress.asked_at_ms


def cancel_next(tx: Transaction, event_id: EventId, limit: int) -> None:
    """Ends at most ``limit`` orders, or holds once all orders were looked at. An event without such work stays as it
    is."""
    progress = find_cancellation(tx, event_id)
    if progress is None or progress.done_at_ms is not None:
        return
    if progress.orders_looked_at:
        progress = _end_holds(tx, event_id, progress, limit)
    else:
        progress = _end_orders(tx, event_id, progress, limit)
    CANCELLATION.put(tx, progress, event_partition(event_id))


def _end_orders(
    tx: Transaction, event_id: EventId, progress: CancellationRecord, limit: int
) -> CancellationRecord:
    partition = event_partition(event_id)
    lo, hi = prefix_range(partition, ORDERS.number)
    if progress.last_order is not None:
        lo = Key(ORDERS.key(partition, progress.last_order) + b"\x00")
    orders = [ORDERS.decode(value) for _, value in tx.scan(lo, hi, limit)]
    came = [_end_order(tx, event_id, order) for order in orders]
    return replace(
        progress,
        last_order=orders[-1].order_id if orders else progress.last_order,
        orders_looked_at=len(orders) < limit,
        orders_ended=progress.orders_ended + came.count(_Came.ENDED),
        orders_at_tills=progress.orders_at_tills + came.count(_Came.TO_TILL),
    )


def _end_order(tx: Transaction, event_id: EventId, order: OrderRecord) -> _Came:
    """Ends one order with its tickets: all that was not given back is due, fees among it, whatever the event keeps.

    One whose payment has only begun is left: nothing is sold to it, however that ends.
    """
    if order.state not in {OrderState.PENDING, OrderState.CONFIRMED}:
        return _Came.NOTHING
    line = trail_line(tx, _WHY)
    if order.payment_state is PaymentState.REQUIRES_ACTION:
        cancel_unpaid(tx, event_id, order, line)
        return _Came.ENDED
    void_tickets(tx, event_id, order.order_id, even_used=True)
    if order.gateway == BOX_OFFICE:
        save_order(tx, event_id, order, replace(order, owed_at_till=True), line)
        return _Came.TO_TILL
    return_seats(tx, event_id, order.user_id, order.order_id, order.kept_seats)
    rest = rest_minor(tx, event_id, order, with_fees=True)
    cancel_paid(tx, event_id, order, order.refund_minor + rest, line)
    return _Came.ENDED


def _end_holds(
    tx: Transaction, event_id: EventId, progress: CancellationRecord, limit: int
) -> CancellationRecord:
    """Ends holds as if their time were over. One that is being paid is its payment's, which comes to nothing."""
    partition = event_partition(event_id)
    lo, hi = prefix_range(partition, DUE_RESERVATIONS.number)
    if progress.last_hold is not None:
        lo = Key(DUE_RESERVATIONS.key(partition, *progress.last_hold) + b"\x00")
    places = [_place_of(key) for key, _ in tx.scan(lo, hi, limit)]
    ended = 0
    for _, reservation_id in places:
        hold = RESERVATIONS.get(tx, partition, reservation_id)
        if hold is not None and hold.state is ReservationState.HELD:
            end_hold(tx, event_id, hold, ReservationState.EXPIRED)
            ended += 1
    return replace(
        progress,
        last_hold=places[-1] if places else progress.last_hold,
        holds_ended=progress.holds_ended + ended,
        done_at_ms=tx.now_ms if len(places) < limit else None,
    )


def _place_of(key: Key) -> tuple[int, ReservationId]:
    _, due_at_ms, reservation_id = unpack_parts(key)
    if not isinstance(due_at_ms, int):
        raise TypeError(f"a hold is due at {due_at_ms!r}")
    return due_at_ms, ReservationId(reservation_id)  # type: ignore[arg-type]  # as the index has it
