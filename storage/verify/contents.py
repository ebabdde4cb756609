"""What of an event is read once and looked at by several invariants.

Read only after the event's keys and records were found readable (``storage.verify.readable``): a part of a key has the
type that its table says. What has ended is not kept in memory, but for orders and tickets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from storage.engine import Partition, Reader
from storage.keys import Part
from storage.schema.cancellations import CancellationRecord
from storage.schema.disputes import DisputeRecord
from storage.schema.ids import (
    EntryId,
    EventId,
    OrderId,
    ReservationId,
    RowKey,
    SeatNumber,
    TicketId,
    TransferId,
    row_and_position,
)
from storage.schema.layout import (
    CANCELLATION,
    DISPUTES,
    DRAW,
    ENTRIES,
    EVENT,
    LOBBY,
    MOVEMENTS,
    ORDERS,
    REFUNDS,
    RESERVATIONS,
    ROOM,
    ROW_PLANS,
    ROWS,
    SALE,
    SECTIONS,
    TICKETS,
    TRANSFERS,
    event_partition,
)
from storage.schema.movements import MovementRecord
from storage.schema.records import (
    DrawRecord,
    EntryRecord,
    EventRecord,
    OrderRecord,
    ReservationRecord,
    RoomRecord,
    RowPlanRecord,
    RowRecord,
    SaleRecord,
    SectionRecord,
    TicketRecord,
    TransferRecord,
)
from storage.schema.refunds import RefundRecord
from storage.schema.states import (
    LIVE_ENTRY_STATES,
    LIVE_RESERVATION_STATES,
    OrderState,
    PaymentState,
    SeatState,
)
from storage.verify.change_log import History
from storage.verify.problem import Problem

KNOWN_SEAT_STATES = frozenset(int(state) for state in SeatState)


@dataclass(frozen=True)
class EventContents:
    """An event as it lies in the store."""

    reader: Reader
    event_id: EventId

    @cached_property
    def partition(self) -> Partition:
        return event_partition(self.event_id)

    @cached_property
    def event(self) -> EventRecord | None:
        return EVENT.get(self.reader, self.partition)

    @cached_property
    def sale(self) -> SaleRecord | None:
        return SALE.get(self.reader, self.partition)

    @cached_property
    def sections(self) -> dict[int, SectionRecord]:
        """Sections by section key."""
        return {whole(key): section for (key,), section in SECTIONS.scan(self.reader, self.partition)}

    @cached_property
    def plans(self) -> dict[RowKey, RowPlanRecord]:
        """Row plans by row key."""
        return {RowKey(whole(key)): row for (key,), row in ROW_PLANS.scan(self.reader, self.partition)}

    @cached_property
    def rows(self) -> dict[RowKey, RowRecord]:
        """Row states by row key; rows that were never touched have none."""
        return {RowKey(whole(key)): row for (key,), row in ROWS.scan(self.reader, self.partition)}

    @cached_property
    def live_holds(self) -> dict[ReservationId, ReservationRecord]:
        return {hold.reservation_id: hold for hold in self.holds() if hold.state in LIVE_RESERVATION_STATES}

    def holds(self) -> Iterator[ReservationRecord]:
        """All reservations, live and ended."""
        return (hold for _, hold in RESERVATIONS.scan(self.reader, self.partition))

    def hold(self, reservation_id: ReservationId) -> ReservationRecord | None:
        """A reservation, live or ended."""
        return RESERVATIONS.get(self.reader, self.partition, reservation_id)

    @cached_property
    def room(self) -> RoomRecord:
        return ROOM.get(self.reader, self.partition) or RoomRecord()

    @cached_property
    def draw(self) -> DrawRecord | None:
        return DRAW.get(self.reader, self.partition)

    @cached_property
    def lobby(self) -> dict[int, EntryId]:
        """The entries in the lobby's table, by their numbers in the order of joining."""
        return {whole(seq): entry_id for (seq,), entry_id in LOBBY.scan(self.reader, self.partition)}

    @cached_property
    def live_entries(self) -> dict[EntryId, EntryRecord]:
        return {entry.entry_id: entry for entry in self.entries() if entry.state in LIVE_ENTRY_STATES}

    def entries(self) -> Iterator[EntryRecord]:
        """All places of the room, live and ended."""
        return (entry for _, entry in ENTRIES.scan(self.reader, self.partition))

    @cached_property
    def orders(self) -> dict[OrderId, OrderRecord]:
        return {order.order_id: order for _, order in ORDERS.scan(self.reader, self.partition)}

    @cached_property
    def owning_orders(self) -> dict[OrderId, OrderRecord]:
        """Orders to which their seats are sold."""
        return {key: order for key, order in self.orders.items() if owns_seats(order)}

    @cached_property
    def refunds(self) -> dict[OrderId, list[RefundRecord]]:
        """The refunds that operators asked for, by their order."""
        found: dict[OrderId, list[RefundRecord]] = {}
        for _, refund in REFUNDS.scan(self.reader, self.partition):
            found.setdefault(refund.order_id, []).append(refund)
        return found

    @cached_property
    def disputes(self) -> dict[OrderId, list[DisputeRecord]]:
        """The disputes of payments, by their order."""
        found: dict[OrderId, list[DisputeRecord]] = {}
        for _, dispute in DISPUTES.scan(self.reader, self.partition):
            found.setdefault(dispute.order_id, []).append(dispute)
        return found

    @cached_property
    def cancellation(self) -> CancellationRecord | None:
        return CANCELLATION.get(self.reader, self.partition)

    @cached_property
    def tickets(self) -> dict[TicketId, TicketRecord]:
        return {ticket.ticket_id: ticket for _, ticket in TICKETS.scan(self.reader, self.partition)}

    @cached_property
    def transfers(self) -> dict[TransferId, TransferRecord]:
        return {offer.transfer_id: offer for _, offer in TRANSFERS.scan(self.reader, self.partition)}

    @cached_property
    def movements(self) -> dict[OrderId, list[MovementRecord]]:
        """The ledger: each order's movements, by their numbers."""
        found: dict[OrderId, list[MovementRecord]] = {}
        for _, movement in MOVEMENTS.scan(self.reader, self.partition):
            found.setdefault(movement.order_id, []).append(movement)
        return found

    @cached_property
    def history(self) -> History:
        """What the change log tells of the time under the present settings."""
        return History.of(self.reader, self.partition)

    def seat_state(self, seat: SeatNumber) -> tuple[SeatState | None, UUID | None]:
        """The state and owner of a seat; None for a state that is not one, or a seat that is not in the plan."""
        row_key, position = row_and_position(seat)
        plan, row = self.plans.get(row_key), self.rows.get(row_key)
        if plan is None or position >= plan.slots:
            return None, None
        if row is None or position >= len(row.states):
            return SeatState.AVAILABLE, None
        if row.states[position] not in KNOWN_SEAT_STATES:
            return None, None
        return SeatState(row.states[position]), row.owners.get(position)

    def problem(self, invariant: str, what: str, text: str) -> Problem:
        """A problem of this event; ``what`` names the thing."""
        return Problem(invariant=invariant, where=f"event {self.event_id}, {what}", text=text)

    def compare(
        self,
        invariant: str,
        where: str,
        wanted: Iterable[tuple[Part, ...]],
        found: Iterable[tuple[Part, ...]],
    ) -> Iterator[Problem]:
        """One problem for each tuple that ``where`` lacks, and for each that it has without a cause."""
        for what, text in differences(wanted, found):
            yield self.problem(invariant, f"{where} {what}", text)


def differences(
    wanted: Iterable[tuple[Part, ...]], found: Iterable[tuple[Part, ...]]
) -> Iterator[tuple[str, str]]:
    """What is only wanted, and what is only found: the tuple as text, and a sentence."""
    wanted, found = set(wanted), set(found)
    for parts in sorted(wanted - found, key=str):
        yield told(parts), "it is missing"
    for parts in sorted(found - wanted, key=str):
        yield told(parts), "it should not be there"


def told(parts: tuple[Part, ...]) -> str:
    """The parts of a key as a person reads them."""
    return ", ".join(part.hex() if isinstance(part, bytes) else str(part) for part in parts) or "()"


def owns_seats(order: OrderRecord) -> bool:
    """Whether an order's seats are sold to it: not while its buyer still has to act, nor once it has ended."""
    if order.state is OrderState.CONFIRMED:
        return True
    return order.state is OrderState.PENDING and order.payment_state is PaymentState.AUTHORIZED


def whole(part: Part) -> int:
    """A part of a key that is a whole number by its table."""
    if not isinstance(part, int):
        raise TypeError(f"a whole number is wanted in a key, not {part!r}")
    return part


def unique_id(part: Part) -> UUID:
    """A part of a key that is a UUID by its table."""
    if not isinstance(part, UUID):
        raise TypeError(f"a UUID is wanted in a key, not {part!r}")
    return part
