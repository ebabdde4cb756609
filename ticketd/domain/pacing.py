"""A room that is slowed for a while, since payments fail for want of capacity: the steps down, and back up.

Letting in more than can pay only makes more holds that run out. The settings stay as they are; what is changed is a
rate beside them, which counts only while it is lower. When a step is taken is ``ticketd.tasks.pacing``'s.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from storage.engine import Reader, Transaction
from storage.schema.events import RoomChanged
from storage.schema.ids import EventId
from storage.schema.layout import ROOM, event_partition
from ticketd.domain.admission import room_is_empty
from ticketd.domain.room_book import RoomBook

SLOWEST_PART: Final = 16
"""The rate is not lowered below this part of the setting, nor below 1 a minute."""


class Paced(msgspec.Struct, frozen=True, kw_only=True):
    """A step taken: the rate a minute before and after it. ``slowed``: whether it is below the setting now."""

    before: int
    after: int
    slowed: bool


def slow_room(tx: Transaction, event_id: EventId) -> Paced | None:
    """Halves the rate of an enabled room with people in it; None for any other, or if it is as low as it goes."""
    book = RoomBook.open(tx, event_id)
    if book is None or not book.sale.room.enabled or room_is_empty(tx, event_id):
        return None
    before = book.rate_per_minute
    after = max(1, book.sale.room.admit_per_minute // SLOWEST_PART, before // 2)
    return None if after >= before else _set_rate(book, before, after)


def quicken_room(tx: Transaction, event_id: EventId, *, at_once: bool = False) -> Paced | None:
    """Doubles the rate of a room that is slowed, up to the setting, or lifts the slowing ``at_once``; None if it is not
    slowed."""
    book = RoomBook.open(tx, event_id)
    if book is None or book.room.slowed_to_per_minute is None:
        return None
    before, most = book.rate_per_minute, book.sale.room.admit_per_minute
    return _set_rate(book, before, most if at_once else min(most, 2 * before))


def is_slowed(reader: Reader, event_id: EventId) -> bool:
    """Whether a room is slowed."""
    room = ROOM.get(reader, event_partition(event_id))
    return room is not None and room.slowed_to_per_minute is not None


def _set_rate(book: RoomBook, before: int, after: int) -> Paced:
    slowed = after < book.sale.room.admit_per_minute
    book.room = replace(book.room, slowed_to_per_minute=after if slowed else None)
    book.save()
    book.tx.emit(book.partition, RoomChanged(event_id=book.event_id))
    return Paced(before=before, after=after, slowed=slowed)
