"""A row of seats as a transition has it open: its plan by position, and the state and owner of each seat.

How a row is read and what its bytes mean; no rule of who may have which seat, and no counts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from uuid import UUID

from storage.engine import Partition, Reader
from storage.schema.ids import RowKey
from storage.schema.layout import ROW_PLANS, ROWS
from storage.schema.records import RowPlanRecord, RowRecord
from storage.schema.states import SeatState

NO_SEAT: Final = 255
"""Stands for the tier at a position that no seat has (any more)."""

MAX_TIERS: Final = NO_SEAT

_SHAPES_KEPT: Final = 1024


class RowShape:
    """What the plan of a row says to those who move its seats, and to those who name them. Never changed once made.

    ``tiers[position]`` is the seat's tier, NO_SEAT where there is none; ``order`` the positions from one end of the row
    to the other; ``numbers`` what the seats are called, by position.
    """

    __slots__ = ("_plain", "label", "numbers", "order", "place", "section_key", "slots", "tiers")

    def __init__(self, plan: RowPlanRecord) -> None:
        tiers = bytearray([NO_SEAT]) * plan.slots
        for seat in plan.seats:
            tiers[seat.position] = seat.tier
        order = tuple(seat.position for seat in plan.seats)
        self._plain = order == tuple(range(plan.slots))
        self.label = plan.label
        self.numbers = {seat.position: seat.number for seat in plan.seats}
        self.section_key = plan.section_key
        self.place = plan.place
        self.slots = plan.slots
        self.tiers = bytes(tiers)
        self.order: range | tuple[int, ...] = range(plan.slots) if self._plain else order

    def in_order(self, by_position: bytes) -> bytes:
        """Bytes kept by position, in the order in which the seats stand."""
        return by_position if self._plain else bytes(map(by_position.__getitem__, self.order))


class SeatRow:
    """A row with the states of its seats, to be read and, by ``ticketd.domain.seats`` alone, to be changed."""

    __slots__ = ("owners", "row_key", "shape", "states")

    def __init__(self, row_key: RowKey, shape: RowShape, record: RowRecord | None) -> None:
        self.row_key = row_key
        self.shape = shape
        states = b"" if record is None else record.states
        # Seats that an import has added since have no state yet: they are AVAILABLE.
        self.states = bytearray(states.ljust(shape.slots, bytes([SeatState.AVAILABLE])))
        self.owners: dict[int, UUID] = {} if record is None else record.owners

    @property
    def tiers(self) -> bytes:
        """The tier at each position; NO_SEAT where there is no seat."""
        return self.shape.tiers

    @property
    def order(self) -> range | tuple[int, ...]:
        """The positions of the seats, from one end of the row to the other."""
        return self.shape.order

    def has_seat(self, position: int) -> bool:
        """Whether there is a seat at the position."""
        return position < self.shape.slots and self.shape.tiers[position] != NO_SEAT

    def states_in_order(self) -> bytes:
        """The state of each seat, from one end of the row to the other."""
        return self.shape.in_order(bytes(self.states))

    def record(self) -> RowRecord:
        """The row as it is stored."""
        return RowRecord(states=bytes(self.states), owners=self.owners)


def read_row(reader: Reader, partition: Partition, row_key: RowKey) -> SeatRow | None:
    """The row of an event; None if there is none."""
    shape = read_shape(reader, partition, row_key)
    return None if shape is None else SeatRow(row_key, shape, ROWS.get(reader, partition, row_key))


def read_shape(reader: Reader, partition: Partition, row_key: RowKey) -> RowShape | None:
    """The shape of a row of the event; None if there is none."""
    plan = reader.get(ROW_PLANS.key(partition, row_key))
    return None if plan is None else _shape_of(plan)


@lru_cache(maxsize=_SHAPES_KEPT)
def _shape_of(stored_plan: bytes) -> RowShape:
    """The shape in the stored bytes of a plan. Kept by those bytes, so that it can never be out of date: a plan is read
    with each move of its seats, and hardly ever changes."""
    return RowShape(ROW_PLANS.decode(stored_plan))
