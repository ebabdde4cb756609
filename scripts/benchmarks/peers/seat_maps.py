"""Seat maps and counts of free seats, kept until a seat of the event moves; made anew four times a second at most."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.benchmarks.peers.store import SeatRow, Store

_FRESH_SECONDS = 0.25


@dataclass(slots=True)
class Kept:
    """What was made of an event's seats at ``version``."""

    version: int
    made_at: float
    body: bytes
    gzipped: bytes
    etag: str


class SeatMaps:
    """``moved`` is to be called after each commit that moves a seat."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._versions: dict[str, int] = {}
        self._maps: dict[str, Kept] = {}
        self._free: dict[str, tuple[int, float, dict[str, int]]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def moved(self, event_id: str) -> None:
        self._versions[event_id] = self._versions.get(event_id, 1) + 1

    async def read(self, event_id: str) -> Kept:
        """The map as it was at most a quarter of a second ago."""
        async with self._locks.setdefault(event_id, asyncio.Lock()):
            version, kept = self._versions.get(event_id, 1), self._maps.get(event_id)
            if kept and (kept.version == version or time.monotonic() - kept.made_at < _FRESH_SECONDS):
                return kept
            rows = await self._store.seats(event_id)
            body = await asyncio.to_thread(seat_map, event_id, version, rows)
            gzipped = await asyncio.to_thread(gzip.compress, body, 4, mtime=0)
            kept = Kept(version, time.monotonic(), body, gzipped, f'"{event_id}-{version}"')
            self._maps[event_id] = kept
            return kept

    async def free_seats(self, event_id: str) -> dict[str, int]:
        """How many seats of each tier are free, as of a quarter of a second ago."""
        version, kept = self._versions.get(event_id, 1), self._free.get(event_id)
        if kept and (kept[0] == version or time.monotonic() - kept[1] < _FRESH_SECONDS):
            return kept[2]
        found = await self._store.free_seats(event_id)
        self._free[event_id] = (version, time.monotonic(), found)
        return found


def seat_map(event_id: str, version: int, rows: Sequence[SeatRow]) -> bytes:
    """The answer's JSON."""
    sections: dict[str, dict[str, object]] = {}
    seats_of: dict[tuple[str, str], list[object]] = {}
    rows_of: dict[str, list[object]] = {}
    for section_id, section, row_name, seat_id, number, tier_id, price_minor, status in rows:
        if section_id not in sections:
            rows_of[section_id] = []
            sections[section_id] = {
                "section_id": section_id,
                "name": section,
                "rows": rows_of[section_id],
            }
        seats = seats_of.get((section_id, row_name))
        if seats is None:
            seats = seats_of[section_id, row_name] = []
            rows_of[section_id].append({"row": row_name, "seats": seats})
        seats.append(
            {
                "seat_id": seat_id,
                "number": number,
                "status": status,
                "price": price_minor / 100,
                "tier_id": tier_id,
            }
        )
    answer = {
        "event_id": event_id,
        "version": version,
        "complete": True,
        "currency": "USD",
        "sections": list(sections.values()),
        "last_updated": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return json.dumps(answer, separators=(",", ":")).encode()
