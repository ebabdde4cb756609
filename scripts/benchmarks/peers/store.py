"""What the endpoints ask of a database, and what it may refuse. The two databases are in files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Refused(Exception):
    """The answer is an error: its status, its code, its details."""

    def __init__(self, status: int, code: str, **details: object) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.details = details


@dataclass(frozen=True, slots=True)
class Event:
    """What of an event does not change; ``details`` is JSON."""

    event_id: str
    details: str
    purchase_limit: int
    hold_seconds: int
    tax_rate: float
    admits_at_once: bool


@dataclass(frozen=True, slots=True)
class Join:
    """Somebody who joins."""

    event: Event
    entry_id: str
    user_id: str
    device_hash: str


@dataclass(frozen=True, slots=True)
class Reserve:
    """Seats that somebody asks for; times are seconds since 1970."""

    event: Event
    reservation_id: str
    entry_id: str
    user_id: str
    seat_ids: Sequence[str]
    now: int


@dataclass(frozen=True, slots=True)
class HeldSeat:
    """A seat that was reserved just now."""

    seat_id: str
    section: str
    row_name: str
    number: str
    price_minor: int
    fees_minor: int


SeatRow = tuple[str, str, str, str, str, str, int, str]
"""Section id, section, row, seat id, number, tier id, price, status."""


class Store(Protocol):
    """A database. ``join`` and ``waiting`` answer the place in line and how many wait; place 0 is let in."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def events(self) -> list[Event]: ...
    async def api_keys(self) -> dict[str, str]: ...
    async def join(self, join: Join) -> tuple[int, int]: ...
    async def waiting(self, event_id: str, entry_id: str) -> tuple[int, int]: ...
    async def reserve(self, reserve: Reserve) -> list[HeldSeat]: ...
    async def release(self, event_id: str, user_id: str, reservation_id: str) -> None: ...
    async def free_seats(self, event_id: str) -> dict[str, int]: ...
    async def seats(self, event_id: str) -> Sequence[SeatRow]: ...


def refuse_seats(asked: Sequence[str], found: Sequence[tuple[str, str]]) -> Refused:
    """Why seats could not be had; ``found``: id and status of those that there are."""
    unknown = sorted(set(asked) - {seat_id for seat_id, _ in found})
    if unknown:
        return Refused(404, "SEAT_NOT_FOUND", seat_ids=unknown)
    if gone := [seat_id for seat_id, status in found if status in {"SOLD", "BLOCKED"}]:
        return Refused(410, "SEATS_UNAVAILABLE", seat_ids=gone)
    return Refused(
        409, "SEATS_TAKEN", seat_ids=[seat_id for seat_id, status in found if status == "RESERVED"]
    )
