"""Forms of the operator's part. What is imported is the event file, which has a schema of its own."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

import msgspec

from handlers.wire.common import AnswerBody, Money, PageQuery, Pagination, RequestBody, ShortText, Time
from ticketd.credentials.api_keys import MAX_NAME_LENGTH
from ticketd.event_file import bounds

MAX_SEAT_IDS = 10_000
MAX_REFUND_TICKETS = 1_000

KeyScope = Literal["public", "storefront", "operator", "gate", "box_office"]
SeatIds = Annotated[
    list[UUID], msgspec.Meta(min_length=1, max_length=MAX_SEAT_IDS, description="Seats, each named once")
]


# --- events ---------------------------------------------------------------------------------------------------------


class EventPutAnswer(AnswerBody, frozen=True, kw_only=True):
    """What putting an event did. ``seats`` counts those it has now."""

    event_id: UUID
    outcome: Literal["created", "replaced", "unchanged"]
    seats: int
    seats_added: int
    seats_removed: int


class EventCancelledAnswer(AnswerBody, frozen=True, kw_only=True):
    """An event whose sale has ended for good, and how far the ending of what was sold has come: ``orders_ended`` are
    cancelled and their money is due back, ``orders_at_tills`` have it back at the till that sold them, ``holds_ended``
    were not paid yet. ``done``: no order and no hold is left; the gateway may have refunds to make still."""

    event_id: UUID
    availability: Literal["CANCELLED"]
    orders_ended: int
    orders_at_tills: int
    holds_ended: int
    done: bool


class SeatCounts(AnswerBody, frozen=True, kw_only=True):
    """How many seats are in each state."""

    available: int
    reserved: int
    sold: int
    blocked: int


class OperatorEvent(AnswerBody, frozen=True, kw_only=True):
    """An event as its operator sees it in a list."""

    event_id: UUID
    name: str
    venue: str
    city: str
    date: Time
    status: str
    seats: SeatCounts


class OperatorEventList(AnswerBody, frozen=True, kw_only=True):
    """All events, by date."""

    events: list[OperatorEvent]
    pagination: Pagination


class SeatsBody(RequestBody, frozen=True, kw_only=True):
    """Seats that are to be taken off the sale, or put back on."""

    seat_ids: SeatIds


class SeatsAnswer(AnswerBody, frozen=True, kw_only=True):
    """How many of the seats that were named changed their state."""

    event_id: UUID
    changed: int


# --- rooms ----------------------------------------------------------------------------------------------------------


class SetRoomBody(RequestBody, frozen=True, kw_only=True):
    """What is to change in an event's waiting room; at least one of these. What is left out stays as it is."""

    pause: Annotated[bool, msgspec.Meta(description="true: let nobody in until resumed")] = False
    resume: Annotated[bool, msgspec.Meta(description="true: let buyers in again")] = False
    max_active: (
        Annotated[int, msgspec.Meta(ge=bounds.MAX_ACTIVE.least, le=bounds.MAX_ACTIVE.most)]
        | msgspec.UnsetType
    ) = msgspec.UNSET
    admit_per_minute: (
        Annotated[int, msgspec.Meta(ge=bounds.ADMIT_PER_MINUTE.least, le=bounds.ADMIT_PER_MINUTE.most)]
        | msgspec.UnsetType
    ) = msgspec.UNSET
    capacity: (
        Annotated[int, msgspec.Meta(ge=bounds.CAPACITY.least, le=bounds.CAPACITY.most)] | msgspec.UnsetType
    ) = msgspec.UNSET


class RoomAnswer(AnswerBody, frozen=True, kw_only=True):
    """A waiting room: what is set, and who is in it. ``admitted`` counts everybody ever let in.

    ``slowed_to_per_minute`` is how many are let in while payments fail for want of capacity; null while they do not.
    """

    event_id: UUID
    enabled: bool
    paused: bool
    max_active: int
    admit_per_minute: int
    slowed_to_per_minute: int | None
    capacity: int
    lobby: int
    waiting: int
    active: int
    admitted: int


# --- orders, audit, stats -------------------------------------------------------------------------------------------


class OperatorOrdersQuery(PageQuery, frozen=True, kw_only=True):
    """Which orders, and which part of the list."""

    event_id: UUID | None = None


class OperatorOrder(AnswerBody, frozen=True, kw_only=True):
    """An order as the operator sees it. ``status`` is INTENT while the gateway's first answer is outstanding.
    ``refund_amount`` is what is due back; ``captured``, ``refunded`` and ``disputed`` are what the ledger says was
    taken, given back, and is with the buyer's bank. ``dispute`` is INQUIRY, CLOSED, OPEN, WON or LOST, null without
    one; of several, the state that weighs most. ``owed_at_till``: the event was cancelled, and the till that sold the
    tickets has to give the money back."""

    order_id: UUID
    event_id: UUID
    user_id: UUID
    status: str
    payment_status: str
    payment_ref: str | None
    seat_count: int
    currency: str
    total: Money
    refund_amount: Money
    captured: Money
    refunded: Money
    disputed: Money
    dispute: str | None
    owed_at_till: bool
    created_at: Time
    confirmed_at: Time | None
    cancelled_at: Time | None


class OperatorOrderList(AnswerBody, frozen=True, kw_only=True):
    """Orders, newest first."""

    orders: list[OperatorOrder]
    pagination: Pagination


class RefundBody(RequestBody, frozen=True, kw_only=True):
    """What to give back of an order: without ``ticket_ids`` all that was not given back yet."""

    ticket_ids: (
        Annotated[
            list[UUID],
            msgspec.Meta(
                min_length=1,
                max_length=MAX_REFUND_TICKETS,
                description="Tickets of the order, each named once",
            ),
        ]
        | None
    ) = None
    with_fees: Annotated[
        bool | None,
        msgspec.Meta(description="Whether fees go back too; null: as the event's refund_fees says"),
    ] = None
    even_used: Annotated[
        bool,
        msgspec.Meta(description="true: also tickets that were used, or that went to another person"),
    ] = False
    reason: ShortText = ""


class RefundAnswer(AnswerBody, frozen=True, kw_only=True):
    """A refund that an operator asked for. ``status`` is ASKED until the gateway made it (DONE), or refused it for good
    (REFUSED, with ``problem``)."""

    refund_id: UUID
    order_id: UUID
    status: Literal["ASKED", "DONE", "REFUSED"]
    amount: Money
    currency: str
    with_fees: bool
    ticket_ids: list[UUID]
    whole_order: bool
    reason: str
    problem: str
    asked_at: Time
    ended_at: Time | None


class DisputeAnswer(AnswerBody, frozen=True, kw_only=True):
    """A dispute by the buyer's bank; ``reason`` is the gateway's word. ``voided_tickets`` ended because of it."""

    dispute_id: str
    status: Literal["INQUIRY", "CLOSED", "OPEN", "WON", "LOST"]
    amount: Money
    currency: str
    reason: str
    voided_tickets: list[UUID]
    seen_at: Time
    ended_at: Time | None


class OperatorOrderDetails(OperatorOrder, frozen=True, kw_only=True):
    """An order with its refunds and its disputes, oldest first. ``refunds_refused`` counts the refunds that the gateway
    refused."""

    refunds: list[RefundAnswer]
    refunds_refused: int
    disputes: list[DisputeAnswer]


class AuditEntry(AnswerBody, frozen=True, kw_only=True):
    """One thing that an operator did. ``actor`` is an API key's id, ``socket`` or ``command line``."""

    audit_id: UUID
    at: Time
    actor: str
    action: str
    subject: str
    detail: msgspec.Raw


class AuditList(AnswerBody, frozen=True, kw_only=True):
    """What operators did, newest first."""

    audit: list[AuditEntry]
    pagination: Pagination


class HoardingStats(AnswerBody, frozen=True, kw_only=True):
    """Limits to hoarding at work: ``cooldowns`` counts buyers, devices and addresses that have to wait before they
    reserve again; ``refusals`` by reason, since the daemon was started."""

    cooldowns: int
    refusals: dict[str, int]


class EventStats(AnswerBody, frozen=True, kw_only=True):
    """One event's figures."""

    event_id: UUID
    name: str
    date: Time
    status: str
    seats: SeatCounts
    room: RoomAnswer
    hoarding: HoardingStats


class StoreStats(AnswerBody, frozen=True, kw_only=True):
    """Space, in bytes: what the data takes up, the most that it may grow to, what is free on the disk."""

    used_bytes: int
    map_bytes: int
    disk_free_bytes: int


class WriterStats(AnswerBody, frozen=True, kw_only=True):
    """What the writer did since it was started."""

    waiting: int
    batches: int
    committed: int
    rejected: int
    failed: int
    changes: int
    commit_seconds_sum: float


class StatsAnswer(AnswerBody, frozen=True, kw_only=True):
    """The daemon's figures. ``store`` and ``writer`` are null where the engine has none."""

    version: str
    events: list[EventStats]
    store: StoreStats | None
    writer: WriterStats | None


# --- keys and tokens ------------------------------------------------------------------------------------------------


class CreateKey(RequestBody, frozen=True, kw_only=True):
    """A new API key is wanted."""

    scope: KeyScope = "storefront"
    name: Annotated[
        str, msgspec.Meta(max_length=MAX_NAME_LENGTH, description="For people: who has the key")
    ] = ""


class KeyInfo(AnswerBody, frozen=True, kw_only=True):
    """What is known of an API key; its secret is not."""

    key_id: str
    scope: KeyScope
    name: str
    created_at: Time
    revoked_at: Time | None


class KeyCreated(AnswerBody, frozen=True, kw_only=True):
    """A new API key: ``key`` is told this once and never again."""

    key_id: str
    key: str
    scope: KeyScope
    name: str
    created_at: Time


class KeyList(AnswerBody, frozen=True, kw_only=True):
    """All API keys, oldest first."""

    keys: list[KeyInfo]
    pagination: Pagination


class SigningKeyRotated(AnswerBody, frozen=True, kw_only=True):
    """A new signing key is in force; the older ones of its kind still verify what they signed."""

    kind: str
    kid: str
    created_at: Time
