"""Distinct types for distinct ids, and the numbers by which an event's rows and seats are known.

A seat's number is ``row_key << 16 | position``: the row is found without a look-up table. Row keys and positions are
given once, at the first import that names the row or the seat, and never again to another.
"""

from __future__ import annotations

from typing import NewType
from uuid import UUID

EventId = NewType("EventId", UUID)
UserId = NewType("UserId", UUID)
EntryId = NewType("EntryId", UUID)
ReservationId = NewType("ReservationId", UUID)
OrderId = NewType("OrderId", UUID)
TicketId = NewType("TicketId", UUID)
TransferId = NewType("TransferId", UUID)
RefundId = NewType("RefundId", UUID)
PaymentMethodId = NewType("PaymentMethodId", UUID)
SectionId = NewType("SectionId", UUID)
TierId = NewType("TierId", UUID)

SeatNumber = NewType("SeatNumber", int)
"""A seat within its event, 0 to 2**48 - 1."""

RowKey = NewType("RowKey", int)
"""A row within its event, 0 to 2**32 - 1."""

MAX_POSITION = 2**16 - 1

_FRONT_MASK = (2**80 - 1) << 48
_VERSION_AND_VARIANT_MASK = ~((0xF << 76) | (0x3 << 62))
_VERSION_8 = 0x8 << 76
_VARIANT_RFC = 0x2 << 62
_NUMBER_MASK = 2**48 - 1


def seat_number(row_key: RowKey, position: int) -> SeatNumber:
    """The number of the seat at ``position`` (0 to 65,535) of a row."""
    return SeatNumber(row_key << 16 | position)


def row_and_position(number: SeatNumber) -> tuple[RowKey, int]:
    """The row key and the position in the row of a seat's number."""
    return RowKey(number >> 16), number & MAX_POSITION


def seat_front(event_id: EventId) -> int:
    """The front part that all seat ids of an event share, as an integer whose last 48 bits are 0."""
    return (event_id.int & _FRONT_MASK & _VERSION_AND_VARIANT_MASK) | _VERSION_8 | _VARIANT_RFC


def seat_id(event_id: EventId, number: SeatNumber) -> UUID:
    """The public id of a seat: a UUIDv8, its front part the event's, its last 48 bits the seat's number."""
    return UUID(int=seat_front(event_id) | number)


def seat_number_of(event_id: EventId, seat: UUID) -> SeatNumber | None:
    """The number of a seat of this event; None if the id is not of this event's form."""
    if seat.int & ~_NUMBER_MASK != seat_front(event_id):
        return None
    return SeatNumber(seat.int & _NUMBER_MASK)
