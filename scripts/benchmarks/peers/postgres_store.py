"""PostgreSQL through asyncpg: a pool, prepared statements (asyncpg keeps them), one transaction for each change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg

from scripts.benchmarks.peers.store import Event, HeldSeat, Join, Refused, Reserve, SeatRow, refuse_seats

_POOL: Final = 40
"""So that many share the sync of a commit."""
_FULL_OF_SEATS: Final = (
    "SELECT section_id, section, row_name, seat_id, number, tier_id, price_minor, status FROM seats"
    " WHERE event_id = $1 ORDER BY ordinal"
)
_WAITING: Final = (
    "SELECT e.status, r.waiting, CASE WHEN e.status = 'QUEUED' THEN (SELECT count(*) FROM entries a"
    " WHERE a.event_id = e.event_id AND a.status = 'QUEUED' AND a.place < e.place) ELSE -1 END"
    " FROM entries e JOIN rooms r ON r.event_id = e.event_id WHERE e.entry_id = $1 AND e.event_id = $2"
)
_HOLD: Final = (
    "WITH wanted AS (SELECT seat_id FROM seats WHERE seat_id = ANY($2::text[]) AND event_id = $3"
    " AND status = 'AVAILABLE' ORDER BY seat_id FOR UPDATE)"
    " UPDATE seats SET status = 'RESERVED', reservation_id = $1 FROM wanted"
    " WHERE seats.seat_id = wanted.seat_id"
    " RETURNING seats.seat_id, section, row_name, number, price_minor, fees_minor"
)
_BUY: Final = (
    "INSERT INTO purchases AS p (event_id, user_id, seats) VALUES ($1, $2, $3) ON CONFLICT (event_id, user_id)"
    " DO UPDATE SET seats = p.seats + excluded.seats WHERE p.seats + excluded.seats <= $4 RETURNING seats"
)


class PostgresStore:
    """A database, by its connection string."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def open(self) -> None:
        self._pool = await asyncpg.create_pool(self._dsn, min_size=_POOL, max_size=_POOL)

    async def close(self) -> None:
        await self._pool.close()

    async def events(self) -> list[Event]:
        found = await self._pool.fetch(
            "SELECT event_id, details, purchase_limit, hold_seconds, tax_rate, admits_at_once FROM events"
        )
        return [Event(*tuple(row)[:5], bool(row[5])) for row in found]

    async def api_keys(self) -> dict[str, str]:
        return dict(tuple(row) for row in await self._pool.fetch("SELECT key_hash, scope FROM api_keys"))

    async def join(self, join: Join) -> tuple[int, int]:
        event_id, admits = join.event.event_id, join.event.admits_at_once
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                place, waiting = await connection.fetchrow(
                    "UPDATE rooms SET next_place = next_place + 1, waiting = waiting + $1 WHERE event_id = $2"
                    " RETURNING next_place, waiting",
                    0 if admits else 1,
                    event_id,
                )
                await connection.execute(
                    "INSERT INTO entries (entry_id, event_id, user_id, device_hash, place, status)"
                    " VALUES ($1, $2, $3, $4, $5, $6)",
                    *(join.entry_id, event_id, join.user_id, join.device_hash, place),
                    "READY" if admits else "QUEUED",
                )
        except asyncpg.UniqueViolationError as error:
            device = "device" in (error.constraint_name or "")
            raise Refused(409, "DEVICE_ALREADY_IN_QUEUE" if device else "ALREADY_IN_QUEUE") from None
        return (0 if admits else waiting), waiting

    async def waiting(self, event_id: str, entry_id: str) -> tuple[int, int]:
        row = await self._pool.fetchrow(_WAITING, entry_id, event_id)
        if row is None:
            raise Refused(410, "QUEUE_ENTRY_EXPIRED")
        return row[2] + 1, row[1]

    async def reserve(self, reserve: Reserve) -> list[HeldSeat]:
        event, count = reserve.event, len(reserve.seat_ids)
        async with self._pool.acquire() as connection, connection.transaction():
            entry = await connection.fetchrow(
                "SELECT status, expires_at FROM entries WHERE entry_id = $1", reserve.entry_id
            )
            if entry is None or entry[0] != "SHOPPING" or entry[1] <= reserve.now:
                raise Refused(403, "ACCESS_EXPIRED")
            held = await connection.fetch(_HOLD, reserve.reservation_id, reserve.seat_ids, event.event_id)
            if len(held) != count:
                found = await connection.fetch(
                    "SELECT seat_id, status FROM seats WHERE seat_id = ANY($1::text[]) AND event_id = $2",
                    reserve.seat_ids,
                    event.event_id,
                )
                mine = {row[0] for row in held}
                others = [tuple(row) for row in found if row[0] not in mine]
                raise refuse_seats(reserve.seat_ids, others or [tuple(row) for row in found])
            bought = await connection.fetchval(
                _BUY, event.event_id, reserve.user_id, count, event.purchase_limit
            )
            if bought is None or bought > event.purchase_limit:
                raise Refused(422, "PURCHASE_LIMIT_EXCEEDED")
            await connection.execute(
                "INSERT INTO reservations (reservation_id, event_id, user_id, status, seats, expires_at)"
                " VALUES ($1, $2, $3, 'HELD', $4, $5)",
                *(reserve.reservation_id, event.event_id, reserve.user_id, count),
                reserve.now + event.hold_seconds,
            )
        return [HeldSeat(*row) for row in held]

    async def release(self, event_id: str, user_id: str, reservation_id: str) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            count = await connection.fetchval(
                "UPDATE reservations SET status = 'RELEASED' WHERE reservation_id = $1 AND user_id = $2"
                " AND event_id = $3 AND status = 'HELD' RETURNING seats",
                *(reservation_id, user_id, event_id),
            )
            if count is None:
                raise Refused(404, "RESERVATION_NOT_FOUND")
            await connection.execute(
                "UPDATE seats SET status = 'AVAILABLE', reservation_id = NULL WHERE reservation_id = $1",
                reservation_id,
            )
            await connection.execute(
                "UPDATE purchases SET seats = seats - $1 WHERE event_id = $2 AND user_id = $3",
                *(count, event_id, user_id),
            )

    async def free_seats(self, event_id: str) -> dict[str, int]:
        found = await self._pool.fetch(
            "SELECT tier_id, count(*) FILTER (WHERE status = 'AVAILABLE') FROM seats WHERE event_id = $1"
            " GROUP BY tier_id",
            event_id,
        )
        return dict(tuple(row) for row in found)

    async def seats(self, event_id: str) -> Sequence[SeatRow]:
        return [tuple(row) for row in await self._pool.fetch(_FULL_OF_SEATS, event_id)]
