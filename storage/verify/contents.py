"""What of an event is read once and looked at by several invariants."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

from storage.engine import Partition, Reader
from storage.schema.ids import EventId, OrderId, ReservationId, SeatNumber, row_and_position
from storage.schema.layout import ORDERS, RESERVATIONS, ROW_PLANS, ROWS, SALE, event_partition
from storage.schema.records import OrderRecord, ReservationRecord, RowPlanRecord, RowRecord, SaleRecord
from storage.schema.states import LIVE_RESERVATION_STATES, OrderState, PaymentState, SeatState
from storage.verify.problem import Problem


@dataclass(frozen=True)
class EventContents:
    """An event as it lies in the store. Live holds and orders are kept, ended ones only counted on where needed."""

    reader: Reader
    event_id: EventId
    partition: Partition = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "partition", event_partition(self.event_id))

    @cached_property
    def sale(self) -> SaleRecord | None:
        return SALE.get(self.reader, self.partition)

    @cached_property
    def plans(self) -> dict[int, RowPlanRecord]:
        """Row plans by row key."""
        return {_whole(parts[0]): row for parts, row in ROW_PLANS.scan(self.reader, self.partition)}

    @cached_property
    def rows(self) -> dict[int, RowRecord]:
        """Row states by row key; rows that are all free have none."""
        return {_whole(parts[0]): row for parts, row in ROWS.scan(self.reader, self.partition)}

    @cached_property
    def holds(self) -> dict[ReservationId, ReservationRecord]:
        """All reservations, live and ended."""
        return {hold.reservation_id: hold for _, hold in RESERVATIONS.scan(self.reader, self.partition)}

    @cached_property
    def live_holds(self) -> dict[ReservationId, ReservationRecord]:
        return {key: hold for key, hold in self.holds.items() if hold.state in LIVE_RESERVATION_STATES}

    @cached_property
    def orders(self) -> dict[OrderId, OrderRecord]:
        return {order.order_id: order for _, order in ORDERS.scan(self.reader, self.partition)}

    @cached_property
    def owning_orders(self) -> dict[OrderId, OrderRecord]:
        """Orders to which their seats are sold."""
        return {key: order for key, order in self.orders.items() if owns_seats(order)}

    def seat_state(self, seat: SeatNumber) -> tuple[SeatState | None, UUID | None]:
        """The state and owner of a seat; None for a state that is not one, or a slot that is not there."""
        row_key, position = row_and_position(seat)
        row = self.rows.get(row_key)
        if row is None:
            plan = self.plans.get(row_key)
            return (SeatState.AVAILABLE if plan is not None and position < plan.slots else None), None
        if position >= len(row.states) or row.states[position] not in set(SeatState):
            return None, None
        return SeatState(row.states[position]), row.owners.get(position)

    def problem(self, invariant: str, what: str, text: str) -> Problem:
        """A problem of this event; ``what`` names the thing."""
        return Problem(invariant=invariant, where=f"event {self.event_id}, {what}", text=text)


def owns_seats(order: OrderRecord) -> bool:
    """Whether an order's seats are sold to it: not while its buyer still has to act, nor once it has ended."""
    if order.state is OrderState.CONFIRMED:
        return True
    return order.state is OrderState.PENDING and order.payment_state is PaymentState.AUTHORIZED


def _whole(part: object) -> int:
    if not isinstance(part, int):
        raise TypeError(f"a key part that should be a whole number is {part!r}")
    return part
