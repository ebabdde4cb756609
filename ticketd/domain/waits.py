"""How long a place in the line is likely to wait: an estimate from the admissions really seen. It decides nothing."""

from __future__ import annotations

import math
from typing import Final

from storage.engine import Reader
from storage.schema.ids import EventId
from storage.schema.layout import ADMISSIONS
from ticketd.domain.admission import ADMISSIONS_KEPT_MS
from ticketd.domain.room_book import RATE_WINDOW_MS, RoomReading

SEEN_WINDOW_MS: Final = 300_000
"""Admissions of about this time tell how fast the line moves; time not seen yet counts as the settings say."""

MINUTE_MS: Final = 60_000


def estimated_wait_ms(reader: Reader, event_id: EventId, position: int, now_ms: int) -> int:
    """How long the buyer at ``position`` is likely to wait, in milliseconds; 0 for position 0 or no such event."""
    reading = RoomReading.of(reader, event_id, now_ms)
    return 0 if reading is None else wait_ms(reading, reader, position)


def lobby_wait_ms(reading: RoomReading, reader: Reader) -> int:
    """How long a buyer in the lobby is likely to wait: until the opening, then as from the middle of the lobby."""
    until_opening_ms = max(0, reading.sale.general_sale_start_ms - reading.now_ms)
    middle = reading.room.waiting + (reading.room.lobby + 1) // 2
    return until_opening_ms + wait_ms(reading, reader, middle)


def lobby_quiet_ms(reading: RoomReading) -> int:
    """How long a buyer in the lobby may keep still and miss no turn, in milliseconds: until half of the time to claim
    is over after the opening, since the draw may put anybody first."""
    until_opening_ms = max(0, reading.sale.general_sale_start_ms - reading.now_ms)
    return until_opening_ms + reading.sale.room.claim_seconds * 500


def wait_ms(reading: RoomReading, reader: Reader, position: int) -> int:
    """The estimate for ``position`` (from 1) of a room that is read already, in milliseconds; 0 for position 0."""
    if position <= 0 or not reading.sale.room.enabled:
        return 0
    return wait_at_rate_ms(position, admissions_per_ms(reading, reader))


def wait_at_rate_ms(position: int, per_ms: float) -> int:
    """How long ``position`` (from 1) is likely to wait where so many are let in a millisecond."""
    return math.ceil(position / per_ms)


def whole_minutes(duration_ms: int) -> int:
    """A wait as it is told: whole minutes, rounded up, at least 1."""
    return max(1, -(-duration_ms // MINUTE_MS))


def admissions_per_ms(reading: RoomReading, reader: Reader) -> float:
    """How fast the line moves; above 0.

    The newest admissions are looked at by their ordinals: as many as five minutes can hold, or half of them, and so on,
    until the oldest of them is recent enough."""
    rate_per_minute = reading.rate_per_minute
    expected = _expected_per_ms(reading)
    fastest = rate_per_minute / RATE_WINDOW_MS
    seen = min(reading.room.admitted, rate_per_minute * (SEEN_WINDOW_MS // RATE_WINDOW_MS))
    while seen > 0:
        first_ms = ADMISSIONS.get(reader, reading.partition, reading.room.admitted - seen + 1)
        if first_ms is not None and first_ms > reading.now_ms - ADMISSIONS_KEPT_MS:
            span_ms = max(0, reading.now_ms - first_ms)
            unseen_ms = max(0, SEEN_WINDOW_MS - span_ms)
            return min(fastest, (seen + expected * unseen_ms) / (span_ms + unseen_ms))
        seen //= 2
    return expected


def _expected_per_ms(reading: RoomReading) -> float:
    """What can be expected without a look at who was let in: the rate, or each place falling free once in a shopping
    window."""
    settings = reading.sale.room
    by_places = settings.max_active / (settings.access_seconds * 1000)
    return min(reading.rate_per_minute / RATE_WINDOW_MS, by_places)
