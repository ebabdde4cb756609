"""The settings of a waiting room: as the event file plans them, and as they are in force.

An operator may set three of them for the day (``SetRoom``); an import leaves what was set until the file itself says
something else. How a room admits by them is ``ticketd.domain.room_book``'s.
"""

from __future__ import annotations

from typing import TypeVar

from msgspec.structs import replace

from storage.schema.records import RoomSettings, SaleRecord

T = TypeVar("T")


def planned_room(sale: SaleRecord) -> RoomSettings:
    """The settings as the last import's file has them."""
    return sale.room if sale.room_as_planned is None else sale.room_as_planned


def with_room(sale: SaleRecord, planned: RoomSettings, in_force: RoomSettings) -> SaleRecord:
    """The sale with these settings; what is planned is written only where it differs from what is in force."""
    return replace(sale, room=in_force, room_as_planned=None if planned == in_force else planned)


def room_after_import(old: SaleRecord, planned: RoomSettings) -> RoomSettings:
    """The settings in force once a file that plans ``planned`` is imported.

    What an operator can set stays as it is while the file says of it what it said before, and is the file's as soon as
    that differs; everything else is the file's.
    """
    before, now = planned_room(old), old.room
    return replace(
        planned,
        max_active=_merged(before.max_active, planned.max_active, now.max_active),
        admit_per_minute=_merged(before.admit_per_minute, planned.admit_per_minute, now.admit_per_minute),
        capacity=_merged(before.capacity, planned.capacity, now.capacity),
    )


def _merged(planned_before: T, planned: T, in_force: T) -> T:
    return in_force if planned == planned_before else planned
