"""What both ways of writing a hall share: the tiers by name, and the bounds that hold over many rows at once."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import msgspec

from ticketd.event_file.bounds import MAX_ROW_TEXT_BYTES, MAX_SEATS
from ticketd.event_file.faults import Faults
from ticketd.event_file.plan import SeatPlan


class SeatBudget:
    """Counts seats over the whole hall, so that a short file cannot ask for endless ones."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._left = MAX_SEATS

    def take(self, where: str, count: int) -> bool:
        """Whether ``count`` more seats are allowed; the first time they are not, a fault is noted at ``where``."""
        if self._left < 0:
            return False
        self._left -= count
        if self._left < 0:
            self._faults.add(where, f"makes more than {MAX_SEATS} seats in all")
        return self._left >= 0


class Hall(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader of sections needs of the rest of the file. ``tiers`` has each tier's index by its name.

    It is empty only if no tier could be read, which is a fault already: then no name is looked for in it.
    """

    faults: Faults
    event_id: UUID
    tiers: Mapping[str, int]
    budget: SeatBudget


def check_row_texts(faults: Faults, where: str, seats: tuple[SeatPlan, ...]) -> None:
    """Notes a row whose seat numbers and guids are, together, too long for its stored record."""
    total = sum(len(seat.number.encode()) + len(seat.guid.encode()) for seat in seats)
    if total > MAX_ROW_TEXT_BYTES:
        faults.add(
            where,
            f"has seat numbers and guids of {total} bytes in all; at most {MAX_ROW_TEXT_BYTES} are allowed in a row",
        )
