"""What an event file says, read and normalised: every default filled in, every id set, every unit an integer.

Data alone. Times are milliseconds UTC (``…_ms``), money minor units of the event's currency (``…_minor``). A plan made
by the parser keeps all the bounds of ``bounds``; it says nothing of what is stored or sold.
"""

from __future__ import annotations

from uuid import UUID

import msgspec


class VenuePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Where the event takes place. ``timezone`` is an IANA name."""

    venue_id: UUID
    name: str
    city: str
    state: str = ""
    country: str
    timezone: str


class PresaleCode(msgspec.Struct, frozen=True):
    """A code of the presale and for how many joins it is good."""

    code: str
    max_joins: int


class TierPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A price for each seat, and the fees on it."""

    tier_id: UUID
    name: str
    price_minor: int
    fees_minor: int = 0


class SeatPlan(msgspec.Struct, frozen=True, gc=False):
    """A seat. ``tier`` is an index into the event's tiers; ``x``, ``y``, ``guid`` come from a seating plan alone."""

    number: str
    tier: int
    x: float | None = None
    y: float | None = None
    guid: str = ""


class RowPlan(msgspec.Struct, frozen=True):
    """A row, its seats from one end to the other. Labels differ within a section, numbers within a row."""

    label: str
    seats: tuple[SeatPlan, ...]


class SectionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A section, its rows in the order of the hall."""

    section_id: UUID
    name: str
    rows: tuple[RowPlan, ...]


class RoomPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How the waiting room admits. Counts and rates are at least 1."""

    enabled: bool = True
    capacity: int = 100_000
    max_active: int = 500
    admit_per_minute: int = 600
    lobby_opens_ms: int | None = None
    claim_seconds: int = 120
    access_seconds: int = 600
    max_entries_per_device: int = 1


class EventPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A whole event. ``tax_rate_ppm`` is in millionths; ``artist_id`` is None exactly if ``artist_name`` is empty."""

    event_id: UUID
    name: str
    description: str = ""
    artist_id: UUID | None = None
    artist_name: str = ""
    category: str = ""
    image_url: str = ""
    venue: VenuePlan
    date_ms: int
    doors_open_ms: int | None = None
    presale_start_ms: int | None = None
    presale_codes: tuple[PresaleCode, ...] = ()
    general_sale_start_ms: int
    sale_end_ms: int | None = None
    currency: str
    tax_rate_ppm: int = 0
    purchase_limit: int = 8
    hold_seconds: int = 600
    refund_fees: bool = True
    refundable_until_ms: int | None = None
    tiers: tuple[TierPlan, ...]
    sections: tuple[SectionPlan, ...]
    room: RoomPlan = RoomPlan()

    @property
    def seat_count(self) -> int:
        """How many seats the event has, over all sections."""
        return sum(len(row.seats) for section in self.sections for row in section.rows)
