"""What a connection can be told, as data. How it is written on the wire is ``handlers.wire.realtime``'s."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from storage.schema.ids import EventId, OrderId, ReservationId, SectionId
from storage.schema.states import EntryState, OrderState, PaymentState

Kind = tuple[object, ...]
"""What an update is about: of two that are of one kind, only the newer one matters."""


class SectionSeats(NamedTuple):
    """How many seats of a section are free."""

    section_id: SectionId
    section: str
    available_seats: int


class QueuePlace(NamedTuple):
    """A place in a room: ``position`` as a status answer has it, ``wait_ms`` the estimate; both 0 once let in, or over.

    ``state`` is SHOPPING for one whose window has begun; ended places have the state in which they ended.
    """

    state: EntryState
    position: int
    wait_ms: int


class AccessGrant(NamedTuple):
    """The access token of a buyer whose turn it is, and the end of the shopping window."""

    token: str
    expires_at_ms: int


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what is told."""

    event_id: EventId


class SeatsSnapshot(Update, frozen=True, kw_only=True):
    """What a new subscriber of an event's seats is told: every section, in the order of the hall."""

    sections: tuple[SectionSeats, ...]


class QueueSnapshot(Update, frozen=True, kw_only=True):
    """What a new subscriber in a room is told. ``grant`` is there when it is the buyer's turn."""

    place: QueuePlace
    grant: AccessGrant | None = None


class SubscriptionEnded(Update, frozen=True, kw_only=True):
    """Nothing more will be told of the event. ``is_deleted``: since the event is gone."""

    is_deleted: bool = False


class AvailabilityChanged(Update, frozen=True, kw_only=True):
    """The number of free seats in a section, or its name, is another."""

    seats: SectionSeats
    at_ms: int


class QueueMoved(Update, frozen=True, kw_only=True):
    """The buyer stands elsewhere. ``grant`` is there when it is the buyer's turn."""

    place: QueuePlace
    grant: AccessGrant | None = None
    at_ms: int


class Personal(Update, frozen=True, kw_only=True):
    """Base of what concerns one buyer's own things: each is put in line when it happens."""

    @property
    def kind(self) -> Kind:
        """What it is about."""
        raise NotImplementedError


class HoldExpiring(Personal, frozen=True, kw_only=True):
    """A hold ends soon, at ``due_at_ms``."""

    reservation_id: ReservationId
    due_at_ms: int

    @property
    def kind(self) -> Kind:
        return expiring_kind(self.reservation_id)


class HoldExpired(Personal, frozen=True, kw_only=True):
    """A hold has ended by its time."""

    reservation_id: ReservationId
    at_ms: int

    @property
    def kind(self) -> Kind:
        return "expired", self.reservation_id


class OrderChanged(Personal, frozen=True, kw_only=True):
    """An order is in another state, or its payment is."""

    order_id: OrderId
    state: OrderState
    payment_state: PaymentState
    at_ms: int

    @property
    def kind(self) -> Kind:
        return "order", self.order_id


def expiring_kind(reservation_id: ReservationId) -> Kind:
    """The kind of the update that tells of a hold's coming end."""
    return "expiring", reservation_id


Encode = Callable[[Update, int], bytes]
"""An update as a JSON object, as it is to be told at a time (milliseconds UTC)."""
