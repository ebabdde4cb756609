"""Where everything lies: the three kinds of partition and the tables in each.

An event's partition holds all that must be decided together about it, in one contiguous range of keys. The parts of
each key stand beside its table. A number is never used again for another table.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from uuid import UUID

from storage.engine import Partition, Reader
from storage.schema.cancellations import CancellationRecord
from storage.schema.disputes import DisputeRecord
from storage.schema.ids import EntryId, EventId, OrderId, TicketId, UserId
from storage.schema.movements import MovementRecord
from storage.schema.records import (
    ApiKeyRecord,
    AuditRecord,
    CountRecord,
    DrawRecord,
    EntryRecord,
    EventRecord,
    HeartbeatRecord,
    LapseRecord,
    MailRecord,
    OrderRecord,
    OutcomeRecord,
    PaymentMethodRecord,
    PurchaseRecord,
    ReservationRecord,
    RoomRecord,
    RowPlanRecord,
    RowRecord,
    SaleRecord,
    SectionRecord,
    SigningKeyRecord,
    TicketRecord,
    TransferRecord,
)
from storage.schema.refunds import RefundRecord
from storage.schema.tables import Index, Table

SYSTEM: Final = Partition(b"s")
EVENT_PREFIX: Final = b"e"
BUYER_PREFIX: Final = b"b"
PARTITIONS_KEPT: Final = 1024


@lru_cache(maxsize=PARTITIONS_KEPT)
def event_partition(event_id: EventId) -> Partition:
    """The partition of one event."""
    return Partition(EVENT_PREFIX + event_id.bytes)


def buyer_partition(user_id: UserId) -> Partition:
    """The partition of one buyer's own things."""
    return Partition(BUYER_PREFIX + user_id.bytes)


def event_of(partition: Partition) -> EventId | None:
    """The event of a partition; None if it is another kind."""
    if partition[:1] == EVENT_PREFIX and len(partition) == 17:
        return EventId(UUID(bytes=bytes(partition[1:])))
    return None


# --- an event's partition: the event and its plan ---
EVENT: Final = Table(1, "event", EventRecord)  # ()
SALE: Final = Table(2, "sale", SaleRecord, kept=256)  # ()
SECTIONS: Final = Table(3, "sections", SectionRecord, kept=1024)  # (section_key)
ROW_PLANS: Final = Table(4, "row_plans", RowPlanRecord)  # (row_key)

# --- an event's partition: inventory ---
ROWS: Final = Table(10, "rows", RowRecord)  # (row_key)
COUNTS: Final = Table(11, "counts", CountRecord)  # (section_key, tier)
TOTAL: Final = Table(12, "total", CountRecord)  # ()
RESERVATIONS: Final = Table(13, "reservations", ReservationRecord)  # (reservation_id)
DUE_RESERVATIONS: Final = Index(14, "due_reservations")  # (due_at_ms, reservation_id)
PURCHASES: Final = Table(15, "purchases", PurchaseRecord)  # (user_id)
OPENINGS: Final = Table(16, "openings", bytes)  # (section_key): see ticketd.domain.best_seats

# --- an event's partition: the waiting room ---
ROOM: Final = Table(20, "room", RoomRecord, kept=256)  # ()
ENTRIES: Final = Table(21, "entries", EntryRecord)  # (entry_id)
LINE: Final = Table(22, "line", EntryId)  # (seq): those who are QUEUED, in the order of their admission
LIVE_BY_USER: Final = Table(23, "live_by_user", EntryId)  # (user_id)
LIVE_BY_DEVICE: Final = Index(24, "live_by_device")  # (device_hash, entry_id)
DUE_ENTRIES: Final = Index(25, "due_entries")  # (due_at_ms, entry_id)
ADMISSIONS: Final = Table(26, "admissions", int)  # (ordinal): at_ms of the ordinal-th admission
PRESALE_JOINS: Final = Table(27, "presale_joins", int)  # (code): how many joined with it
LOBBY: Final = Table(28, "lobby", EntryId)  # (seq): those of the lobby in order of joining; see DrawRecord
DRAW: Final = Table(29, "draw", DrawRecord)  # ()
DRAWN_ORDER: Final = Table(
    40, "drawn_order", bytes
)  # (chunk): rank -> number of joining, from first_joined_seq
DRAWN_RANKS: Final = Table(
    41, "drawn_ranks", bytes
)  # (chunk): number of joining, from first_joined_seq -> rank
DRAWN_LEFT: Final = Index(46, "drawn_left")  # (seq): those of the draw's list who ended while they waited

# --- an event's partition: hoarding; a subject is 16 bytes that stand for a buyer, a device or an address ---
LAPSES: Final = Table(43, "lapses", LapseRecord)  # (subject)
LIVE_BY_ADDRESS: Final = Index(44, "live_by_address")  # (address_hash, entry_id)
LAPSES_DUE: Final = Index(45, "lapses_due")  # (forget_at_ms, subject)

# --- an event's partition: orders, tickets, transfers, mail ---
ORDERS: Final = Table(30, "orders", OrderRecord)  # (order_id)
DUE_ORDERS: Final = Index(31, "due_orders")  # (due_at_ms, order_id)
TICKETS: Final = Table(32, "tickets", TicketRecord)  # (ticket_id)
BARCODES: Final = Table(33, "barcodes", TicketId)  # (barcode)
TRANSFERS: Final = Table(34, "transfers", TransferRecord)  # (transfer_id)
DUE_TRANSFERS: Final = Index(35, "due_transfers")  # (expires_at_ms, transfer_id)
MAILS: Final = Table(36, "mails", MailRecord)  # (mail_id)
DUE_MAILS: Final = Index(37, "due_mails")  # (due_at_ms, mail_id)
MOVEMENTS: Final = Table(
    38, "movements", MovementRecord
)  # (order_id, number): the ledger, from 1 for each order
MOVEMENT_SUMS: Final = Table(
    49, "movement_sums", int
)  # (currency, kind): what the event's movements add up to
MOVEMENT_TIMES: Final = Index(39, "movement_times")  # (at_ms, order_id, number)

REFUNDS: Final = Table(47, "refunds", RefundRecord)  # (order_id, refund_id)
ASKED_REFUNDS: Final = Index(48, "asked_refunds")  # (order_id, refund_id): of tickets, and not made yet
RECEIPTS: Final = Table(60, "receipts", OrderId)  # (key_id, method, receipt): what a till was paid against it
DISPUTES: Final = Table(61, "disputes", DisputeRecord)  # (order_id, dispute_ref)
CANCELLATION: Final = Table(62, "cancellation", CancellationRecord)  # ()

# --- any partition: outcomes of idempotent requests ---
OUTCOMES: Final = Table(50, "outcomes", OutcomeRecord)  # (digest)
DUE_OUTCOMES: Final = Index(51, "due_outcomes")  # (forget_at_ms, digest)

# --- a buyer's partition; the value is the event that the thing lies in ---
PAYMENT_METHODS: Final = Table(100, "payment_methods", PaymentMethodRecord)  # (payment_method_id)
BUYER_ORDERS: Final = Table(101, "buyer_orders", EventId)  # (order_id)
BUYER_TICKETS: Final = Table(102, "buyer_tickets", EventId)  # (ticket_id)
BUYER_TRANSFERS: Final = Table(103, "buyer_transfers", EventId)  # (transfer_id): those that the buyer sends
CUSTOMERS: Final = Table(104, "customers", str)  # (gateway): the gateway's name for the buyer

# --- the system's partition ---
EVENT_IDS: Final = Index(200, "event_ids")  # (event_id)
API_KEYS: Final = Table(201, "api_keys", ApiKeyRecord)  # (key_id)
SIGNING_KEYS: Final = Table(202, "signing_keys", SigningKeyRecord)  # (kind, kid)
AUDIT: Final = Table(203, "audit", AuditRecord)  # (at_ms, audit_id)
EVENT_OF_ORDER: Final = Table(204, "event_of_order", EventId)  # (order_id)
EVENT_OF_TRANSFER: Final = Table(205, "event_of_transfer", EventId)  # (transfer_id)
LEDGER_SINCE: Final = Table(
    209, "ledger_since", int
)  # (): at_ms from when on every order has its movements; see ticketd.first_start
SEEN_HOOKS: Final = Table(
    207, "seen_hooks", int
)  # (digest): forget_at_ms of a gateway's event that was heeded
DUE_HOOKS: Final = Index(208, "due_hooks")  # (forget_at_ms, digest)
HEARTBEAT: Final = Table(206, "heartbeat", HeartbeatRecord)  # (): see ticketd.tasks.timekeeper


def list_events(reader: Reader) -> list[EventId]:
    """The ids of all events that there are, in order; ``reader`` can read the system's partition."""
    return [EventId(part) for (part,) in EVENT_IDS.scan(reader, SYSTEM) if isinstance(part, UUID)]
