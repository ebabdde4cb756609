"""The events of the change log: what a committed command made true. A past participle each.

They are stored under their ``type`` tag; a tag is never used again for another meaning, a field once stored keeps its
name. Readers: seat maps and their deltas, rooms, realtime, the tasks that wake by them, audits.
"""

from __future__ import annotations

from typing import Final

import msgspec

from storage.engine import EventCodec
from storage.schema.ids import (
    EntryId,
    EventId,
    OrderId,
    ReservationId,
    SeatNumber,
    TicketId,
    TransferId,
    UserId,
)
from storage.schema.states import EntryState, OrderState, PaymentState, SeatState, TransferState


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """Base of all events."""


class EventPut(Event, frozen=True, kw_only=True, tag="event-put"):
    """An event was created or replaced: its plan, prices or dates may all have changed."""

    event_id: EventId


class EventDeleted(Event, frozen=True, kw_only=True, tag="event-deleted"):
    """An event was deleted with everything in it."""

    event_id: EventId


class SeatsMoved(Event, frozen=True, kw_only=True, tag="seats-moved"):
    """Seats went from one state to another: reserved, released, sold, returned, blocked or unblocked.

    ``reservation_id``, ``user_id`` and ``due_at_ms`` are those of the hold concerned, if one is; ``expired`` tells a
    hold that ran out from one that was given up.
    """

    event_id: EventId
    seats: tuple[SeatNumber, ...]
    state: SeatState
    reservation_id: ReservationId | None = None
    order_id: OrderId | None = None
    user_id: UserId | None = None
    due_at_ms: int | None = None
    expired: bool = False


class HoldMoved(Event, frozen=True, kw_only=True, tag="hold-moved"):
    """The time at which a hold's seats fall free has changed, since a payment began or ended."""

    event_id: EventId
    reservation_id: ReservationId
    user_id: UserId
    due_at_ms: int


class EntryMoved(Event, frozen=True, kw_only=True, tag="entry-moved"):
    """A place in the room was taken, or went on to another state. ``seq`` is its place in the order of joining;
    ``due_at_ms`` when it lapses by itself."""

    event_id: EventId
    entry_id: EntryId
    user_id: UserId
    seq: int
    before: EntryState | None
    after: EntryState
    due_at_ms: int | None = None


class RoomChanged(Event, frozen=True, kw_only=True, tag="room-changed"):
    """The room's settings were changed, or it was paused or resumed."""

    event_id: EventId


class TimeCredited(Event, frozen=True, kw_only=True, tag="time-credited"):
    """What the event's buyers have until a certain time (to claim, to shop, to pay a hold) they have ``credit_ms``
    longer, since so much time has passed that the daemon did not live, or that the machine's clock skipped."""

    event_id: EventId
    credit_ms: int


class LobbyDrawn(Event, frozen=True, kw_only=True, tag="lobby-drawn"):
    """The lobby's draw is made: its entries, still LOBBY in their records, stand in the line from now on, in the order
    drawn. ``entry_count`` is how many were drawn."""

    event_id: EventId
    entry_count: int


class OrderMoved(Event, frozen=True, kw_only=True, tag="order-moved"):
    """An order was begun or changed its state; ``due_at_ms`` is when the payments task is to look at it."""

    event_id: EventId
    order_id: OrderId
    user_id: UserId
    state: OrderState
    payment_state: PaymentState
    due_at_ms: int | None = None


class TicketsIssued(Event, frozen=True, kw_only=True, tag="tickets-issued"):
    """Tickets came to life."""

    event_id: EventId
    order_id: OrderId
    ticket_ids: tuple[TicketId, ...]


class TransferMoved(Event, frozen=True, kw_only=True, tag="transfer-moved"):
    """A transfer was offered or ended."""

    event_id: EventId
    transfer_id: TransferId
    ticket_id: TicketId
    state: TransferState
    due_at_ms: int | None = None


class MailQueued(Event, frozen=True, kw_only=True, tag="mail-queued"):
    """A mail waits to be sent."""

    event_id: EventId
    due_at_ms: int


class KeysChanged(Event, frozen=True, kw_only=True, tag="keys-changed"):
    """API keys or signing keys were added, retired or revoked."""


DomainEvent = (
    EventPut
    | EventDeleted
    | SeatsMoved
    | HoldMoved
    | EntryMoved
    | RoomChanged
    | TimeCredited
    | LobbyDrawn
    | OrderMoved
    | TicketsIssued
    | TransferMoved
    | MailQueued
    | KeysChanged
)

_encoder: Final = msgspec.msgpack.Encoder(uuid_format="bytes")
_decoder: Final = msgspec.msgpack.Decoder(DomainEvent)


def _decode(data: bytes) -> object:
    event: object = _decoder.decode(data)
    return event


EVENT_CODEC: Final = EventCodec(encode=_encoder.encode, decode=_decode)
