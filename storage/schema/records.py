"""The stored records, in msgspec structs.

Times are integers of milliseconds UTC (``…_at_ms``, ``…_until_ms``), money integers of minor units (``…_minor``) in the
event's currency, seats numbers within their event (see ``storage.schema.ids``). A record holds facts; what may be done
with them is the domain's.
"""

from __future__ import annotations

from uuid import UUID

import msgspec

from storage.schema.ids import (
    EntryId,
    EventId,
    OrderId,
    PaymentMethodId,
    ReservationId,
    RowKey,
    SeatNumber,
    SectionId,
    TicketId,
    TierId,
    TransferId,
    UserId,
)
from storage.schema.states import (
    DisputeState,
    EntryState,
    OrderState,
    PaymentState,
    ReservationState,
    TicketState,
    TransferState,
)


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of stored records: frozen, fields by name, defaults not written."""


# --- an event -------------------------------------------------------------------------------------------------------


class VenueRecord(Record, frozen=True, kw_only=True):
    """Where an event takes place; ``timezone`` is an IANA name."""

    venue_id: UUID
    name: str
    city: str
    state: str = ""
    country: str
    timezone: str


class EventRecord(Record, frozen=True, kw_only=True):
    """What an event shows of itself. Nothing that a decision needs: that is the SaleRecord."""

    event_id: EventId
    name: str
    description: str = ""
    artist_id: UUID | None = None
    artist_name: str = ""
    category: str = ""
    image_url: str = ""
    venue: VenueRecord
    doors_open_ms: int | None = None
    section_keys: tuple[int, ...]
    next_section_key: int
    next_row_key: int


class TierRecord(Record, frozen=True, kw_only=True):
    """A price: ``price_minor`` and ``fees_minor`` for each seat."""

    tier_id: TierId
    name: str
    price_minor: int
    fees_minor: int


class PresaleCodeRecord(Record, frozen=True, kw_only=True):
    """A code of the presale and how many joins it is good for."""

    code: str
    max_joins: int


class RoomSettings(Record, frozen=True, kw_only=True):
    """How the waiting room of an event admits. Rates are per minute; all counts are at least 1."""

    enabled: bool
    capacity: int
    max_active: int
    admit_per_minute: int
    lobby_opens_ms: int | None = None
    claim_seconds: int
    access_seconds: int
    max_entries_per_device: int


class SaleRecord(Record, frozen=True, kw_only=True):
    """What the decisions of an event's sale need. ``tax_rate_ppm`` is in millionths of the subtotal.

    ``room`` is in force; ``room_as_planned`` is what the event file says, None while that is the same.
    """

    date_ms: int
    presale_start_ms: int | None = None
    presale_codes: tuple[PresaleCodeRecord, ...] = ()
    general_sale_start_ms: int
    sale_end_ms: int | None = None
    currency: str
    tax_rate_ppm: int = 0
    purchase_limit: int
    hold_seconds: int
    refund_fees: bool = True
    refundable_until_ms: int | None = None
    cancelled: bool = False
    tiers: tuple[TierRecord, ...]
    room: RoomSettings
    room_as_planned: RoomSettings | None = None


class SectionRecord(Record, frozen=True, kw_only=True):
    """A section: its rows, in the order of the hall."""

    section_id: SectionId
    name: str
    row_keys: tuple[RowKey, ...]


class SeatPlanRecord(msgspec.Struct, frozen=True, array_like=True):
    """A seat of the plan. ``position`` is its slot in the row's state, given once and never again to another seat."""

    number: str
    position: int
    tier: int
    x: float | None = None
    y: float | None = None
    guid: str = ""


class RowPlanRecord(Record, frozen=True, kw_only=True):
    """A row as it stands in the hall, from one end to the other; ``slots`` is how many positions it has given,
    ``place`` its place in its section, 0 for the first row."""

    section_key: int
    label: str
    place: int = 0
    slots: int
    seats: tuple[SeatPlanRecord, ...]


class RowRecord(Record, frozen=True, kw_only=True):
    """The state of a row: ``states[position]`` is a SeatState; ``owners[position]`` the reservation, or the order,
    that has the seat. A row without this record is all AVAILABLE."""

    states: bytes
    owners: dict[int, UUID]


class CountRecord(Record, frozen=True, kw_only=True):
    """How many seats are in each state. Kept as seats change, never recounted for a request."""

    free: int = 0
    held: int = 0
    sold: int = 0
    blocked: int = 0


# --- the waiting room -----------------------------------------------------------------------------------------------


class RoomRecord(Record, frozen=True, kw_only=True):
    """The room's counters. ``waiting`` counts QUEUED, ``lobby`` LOBBY, ``active`` READY and SHOPPING; ``admitted`` all
    admissions ever. ``opening_seq`` is the first of the places kept in the line for the lobby, once its list is closed:
    who has a smaller seq stands before the lobby, who has a greater one behind it. ``next_rank`` is the first rank of
    the draw whose turn has not come yet. ``slowed_to_per_minute`` is the rate of admission while payments fail for want
    of capacity, None while it is the settings'.
    """

    next_seq: int = 1
    waiting: int = 0
    lobby: int = 0
    active: int = 0
    admitted: int = 0
    paused: bool = False
    opening_seq: int | None = None
    next_rank: int = 0
    slowed_to_per_minute: int | None = None


class DrawRecord(Record, frozen=True, kw_only=True):
    """The draw of the lobby. ``seed`` (32 bytes) is secret until ``drawn_at_ms`` is set.

    ``entry_count`` is how many are in the list of the draw once it is closed, None before; from then on the list is the
    lobby's table as it is, and nobody leaves it. ``first_joined_seq`` is the seq of its first. ``departed`` counts
    those in the table who have left: the list was closed before, and opened again when the sale was put off.
    """

    seed: bytes
    entry_count: int | None = None
    first_joined_seq: int = 0
    departed: int = 0
    drawn_at_ms: int | None = None


class EntryRecord(Record, frozen=True, kw_only=True):
    """One place. ``due_at_ms`` is when it lapses (READY: unseen; SHOPPING: the window's end), as in the due index.

    The access token is not stored: ``access_kid`` and ``access_issued_at_ms`` make the same one again. ``address_hash``
    stands for the address that joined, None where that is nobody's own.
    """

    entry_id: EntryId
    user_id: UserId
    device_hash: bytes
    seq: int
    state: EntryState
    joined_at_ms: int
    admitted_at_ms: int | None = None
    due_at_ms: int | None = None
    access_kid: str | None = None
    access_issued_at_ms: int | None = None
    ended_at_ms: int | None = None
    address_hash: bytes | None = None


# --- inventory ------------------------------------------------------------------------------------------------------


class PurchaseRecord(Record, frozen=True, kw_only=True):
    """How many seats a buyer holds, and has bought, of an event."""

    held: int = 0
    bought: int = 0


class ReservationRecord(Record, frozen=True, kw_only=True):
    """A hold. ``expires_at_ms`` is what the buyer was told; ``due_at_ms`` when the seats fall free, which a payment
    under way may move. ``prices`` has (price_minor, fees_minor) for each seat, as they were when it was made.
    ``excused``: the gateway could not take a payment for it, so that it is not its buyer's doing if it runs out."""

    reservation_id: ReservationId
    user_id: UserId
    entry_id: EntryId
    state: ReservationState
    seats: tuple[SeatNumber, ...]
    prices: tuple[tuple[int, int], ...]
    subtotal_minor: int
    fees_minor: int
    taxes_minor: int
    created_at_ms: int
    expires_at_ms: int
    due_at_ms: int
    order_id: OrderId | None = None
    excused: bool = False


class LapseRecord(Record, frozen=True, kw_only=True):
    """Holds of one subject (a buyer, a device, an address) that ran out: when the latest did, oldest first, until when
    the subject makes no new one (0: it may), and when all this is forgotten."""

    lapsed_at_ms: tuple[int, ...]
    cooldown_until_ms: int = 0
    forget_at_ms: int


# --- orders ---------------------------------------------------------------------------------------------------------


class AddressRecord(Record, frozen=True, kw_only=True):
    """A billing address, as given."""

    street: str
    city: str
    state: str = ""
    postal_code: str
    country: str


class TrailRecord(Record, frozen=True, kw_only=True):
    """One line of an order's audit trail."""

    at_ms: int
    what: str
    session_id: str = ""


class ReplyPlace(Record, frozen=True, kw_only=True):
    """Where the outcome of an idempotent request is to be kept when a background task finishes it, and the id of the
    request, which an answer that refuses shows."""

    digest: bytes
    fingerprint: bytes
    request_id: str = ""


class OrderRecord(Record, frozen=True, kw_only=True):
    """An order and its money. ``due_at_ms`` is when the payments task looks at it next; None when it is at rest.

    ``payment_ref`` is the gateway's name for the payment; ``method_ref`` for the card. ``redirect_url`` and
    ``client_secret`` are there only while the buyer has to act: either lets a page finish the payment.
    ``gateway`` is which one was asked; empty for an order of a release that did not note it. ``movements`` counts the
    order's in the ledger; None: from before there was one. ``returned_seats`` are those whose tickets were refunded by
    themselves, so that they are on sale again; ``refunds_asked`` counts refunds of such that the gateway has yet to
    make. ``refund_minor`` is all that was given back, or is on its way; what the buyer's bank keeps is part of it only
    while the payment is REFUND_PENDING. ``dispute`` is the state of the bank's dispute of its payment, of several the
    one that weighs most. ``owed_at_till``: the event was cancelled, and the till that sold the tickets owes their
    money.
    """

    order_id: OrderId
    user_id: UserId
    reservation_id: ReservationId
    entry_id: EntryId
    state: OrderState
    payment_state: PaymentState
    seats: tuple[SeatNumber, ...]
    subtotal_minor: int
    fees_minor: int
    taxes_minor: int
    total_minor: int
    currency: str
    delivery_method: str
    billing_address: AddressRecord
    payment_method_id: PaymentMethodId
    gateway: str = ""
    method_ref: str
    payment_ref: str | None = None
    redirect_url: str | None = None
    client_secret: str | None = None
    return_url: str
    decline_code: str | None = None
    refund_minor: int = 0
    created_at_ms: int
    confirmed_at_ms: int | None = None
    cancelled_at_ms: int | None = None
    due_at_ms: int | None = None
    tries: int = 0
    reply: ReplyPlace | None = None
    ticket_ids: tuple[TicketId, ...] = ()
    returned_seats: tuple[SeatNumber, ...] = ()
    refunds_asked: int = 0
    dispute: DisputeState | None = None
    owed_at_till: bool = False
    movements: int | None = None
    trail: tuple[TrailRecord, ...] = ()

    @property
    def kept_seats(self) -> tuple[SeatNumber, ...]:
        """The seats whose tickets were not refunded by themselves, in the order of ``seats``."""
        returned = frozenset(self.returned_seats)
        return tuple(seat for seat in self.seats if seat not in returned)


class TicketRecord(Record, frozen=True, kw_only=True):
    """One ticket. ``issue`` counts the codes given out for its seat within its order; the highest is the valid one."""

    ticket_id: TicketId
    order_id: OrderId
    holder_id: UserId
    seat: SeatNumber
    issue: int
    kid: str
    barcode: str
    state: TicketState
    issued_at_ms: int
    transfer_id: TransferId | None = None


class TransferRecord(Record, frozen=True, kw_only=True):
    """The offer of a ticket. Only the SHA-256 of the claim token is kept."""

    transfer_id: TransferId
    ticket_id: TicketId
    order_id: OrderId
    sender_id: UserId
    recipient_email: str
    recipient_name: str
    claim_hash: bytes
    state: TransferState
    created_at_ms: int
    expires_at_ms: int
    ended_at_ms: int | None = None
    recipient_id: UserId | None = None
    new_ticket_id: TicketId | None = None


class MailRecord(Record, frozen=True, kw_only=True):
    """A mail to be sent; removed once it was."""

    mail_id: UUID
    to: str
    to_name: str
    subject: str
    text: str
    due_at_ms: int
    tries: int = 0


# --- a buyer's own --------------------------------------------------------------------------------------------------


class PaymentMethodRecord(Record, frozen=True, kw_only=True):
    """A card, by the gateway's reference; no number of it is ever seen here."""

    payment_method_id: PaymentMethodId
    gateway: str
    method_ref: str
    brand: str
    last_four: str
    expiry_month: int
    expiry_year: int
    billing_address: AddressRecord | None = None
    is_default: bool
    created_at_ms: int


# --- the system's own -----------------------------------------------------------------------------------------------


class ApiKeyRecord(Record, frozen=True, kw_only=True):
    """An API key; only the SHA-256 of its secret is kept."""

    key_id: str
    scope: str
    name: str
    secret_hash: bytes
    created_at_ms: int
    revoked_at_ms: int | None = None


class HeartbeatRecord(Record, frozen=True, kw_only=True):
    """That the daemon lived at ``at_ms``. ``credited_ms`` is how much of the time since then, in which it does not run,
    was credited already, by a command that worked on the store of the stopped daemon; 0 while it runs."""

    at_ms: int
    credited_ms: int = 0


class SigningKeyRecord(Record, frozen=True, kw_only=True):
    """A key that signs tokens, links or tickets. ``kind``: user, queue, access, link or ticket."""

    kid: str
    kind: str
    secret: bytes
    created_at_ms: int
    retired_at_ms: int | None = None


class AuditRecord(Record, frozen=True, kw_only=True):
    """What an operator did: ``subject`` is what it was done to, ``detail`` a short JSON text."""

    audit_id: UUID
    at_ms: int
    actor: str
    action: str
    subject: str
    detail: str = ""


class OutcomeRecord(Record, frozen=True, kw_only=True):
    """The first outcome of a request with an Idempotency-Key. ``fingerprint`` is the SHA-256 of its path and body;
    ``body`` is as it was answered, or that in zlib's form (RFC 1950) if it is ``packed``."""

    fingerprint: bytes
    status: int
    content_type: str
    body: bytes
    packed: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    forget_at_ms: int
