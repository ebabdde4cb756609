"""SQLite: WAL, synchronous=FULL. Reads in the event loop, writes one after the other in a thread of their own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from scripts.benchmarks.peers.store import Event, HeldSeat, Join, Refused, Reserve, SeatRow, refuse_seats

Result = TypeVar("Result")


class SqliteStore:
    """A database file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._writer = ThreadPoolExecutor(1, "writer")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -65536")
        return connection

    async def open(self) -> None:
        self._reads = self._connect()
        self._writes = self._connect()

    async def close(self) -> None:
        self._writer.shutdown()
        self._reads.close()
        self._writes.close()

    async def events(self) -> list[Event]:
        found = self._reads.execute(
            "SELECT event_id, details, purchase_limit, hold_seconds, tax_rate, admits_at_once FROM events"
        )
        return [Event(*row[:5], bool(row[5])) for row in found]

    async def api_keys(self) -> dict[str, str]:
        return dict(self._reads.execute("SELECT key_hash, scope FROM api_keys").fetchall())

    async def join(self, join: Join) -> tuple[int, int]:
        return await self._commit(lambda: self._join(join))

    async def waiting(self, event_id: str, entry_id: str) -> tuple[int, int]:
        row = self._reads.execute(
            "SELECT e.status, e.place, r.waiting FROM entries e JOIN rooms r ON r.event_id = e.event_id"
            " WHERE e.entry_id = ? AND e.event_id = ?",
            (entry_id, event_id),
        ).fetchone()
        if row is None:
            raise Refused(410, "QUEUE_ENTRY_EXPIRED")
        status, place, waiting = row
        if status != "QUEUED":
            return 0, waiting
        (ahead,) = self._reads.execute(
            "SELECT count(*) FROM entries WHERE event_id = ? AND status = 'QUEUED' AND place < ?",
            (event_id, place),
        ).fetchone()
        return ahead + 1, waiting

    async def reserve(self, reserve: Reserve) -> list[HeldSeat]:
        return await self._commit(lambda: self._reserve(reserve))

    async def release(self, event_id: str, user_id: str, reservation_id: str) -> None:
        await self._commit(lambda: self._release(event_id, user_id, reservation_id))

    async def free_seats(self, event_id: str) -> dict[str, int]:
        found = self._reads.execute(
            "SELECT tier_id, sum(status = 'AVAILABLE') FROM seats WHERE event_id = ? GROUP BY tier_id",
            (event_id,),
        )
        return dict(found.fetchall())

    async def seats(self, event_id: str) -> Sequence[SeatRow]:
        found = self._reads.execute(
            "SELECT section_id, section, row_name, seat_id, number, tier_id, price_minor, status FROM seats"
            " WHERE event_id = ? ORDER BY ordinal",
            (event_id,),
        )
        return found.fetchall()

    async def _commit(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._transact, work)

    def _transact(self, work: Callable[[], Result]) -> Result:
        self._writes.execute("BEGIN IMMEDIATE")
        try:
            result = work()
            self._writes.execute("COMMIT")
        except BaseException:
            self._writes.execute("ROLLBACK")
            raise
        return result

    def _join(self, join: Join) -> tuple[int, int]:
        event_id, admits = join.event.event_id, join.event.admits_at_once
        place, waiting = self._writes.execute(
            "UPDATE rooms SET next_place = next_place + 1, waiting = waiting + ? WHERE event_id = ?"
            " RETURNING next_place, waiting",
            (0 if admits else 1, event_id),
        ).fetchone()
        try:
            self._writes.execute(
                "INSERT INTO entries (entry_id, event_id, user_id, device_hash, place, status)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    join.entry_id,
                    event_id,
                    join.user_id,
                    join.device_hash,
                    place,
                    "READY" if admits else "QUEUED",
                ),
            )
        except sqlite3.IntegrityError as error:
            device = "device" in str(error)
            raise Refused(409, "DEVICE_ALREADY_IN_QUEUE" if device else "ALREADY_IN_QUEUE") from None
        return (0 if admits else waiting), waiting

    def _reserve(self, reserve: Reserve) -> list[HeldSeat]:
        event, write = reserve.event, self._writes.execute
        entry = write(
            "SELECT status, expires_at FROM entries WHERE entry_id = ?", (reserve.entry_id,)
        ).fetchone()
        if entry is None or entry[0] != "SHOPPING" or entry[1] <= reserve.now:
            raise Refused(403, "ACCESS_EXPIRED")
        count = len(reserve.seat_ids)
        marks = ",".join("?" * count)
        held = write(
            "UPDATE seats SET status = 'RESERVED', reservation_id = ?"
            f" WHERE seat_id IN ({marks}) AND event_id = ? AND status = 'AVAILABLE'"
            " RETURNING seat_id, section, row_name, number, price_minor, fees_minor",
            (reserve.reservation_id, *reserve.seat_ids, event.event_id),
        ).fetchall()
        if len(held) != count:
            found = write(
                f"SELECT seat_id, status FROM seats WHERE seat_id IN ({marks}) AND event_id = ?",
                (*reserve.seat_ids, event.event_id),
            ).fetchall()
            mine = {row[0] for row in held}
            raise refuse_seats(reserve.seat_ids, [row for row in found if row[0] not in mine] or found)
        bought = write(
            "INSERT INTO purchases (event_id, user_id, seats) VALUES (?, ?, ?) ON CONFLICT (event_id, user_id)"
            " DO UPDATE SET seats = seats + excluded.seats WHERE seats + excluded.seats <= ? RETURNING seats",
            (event.event_id, reserve.user_id, count, event.purchase_limit),
        ).fetchone()
        if bought is None or bought[0] > event.purchase_limit:
            raise Refused(422, "PURCHASE_LIMIT_EXCEEDED")
        write(
            "INSERT INTO reservations (reservation_id, event_id, user_id, status, seats, expires_at)"
            " VALUES (?, ?, ?, 'HELD', ?, ?)",
            (
                reserve.reservation_id,
                event.event_id,
                reserve.user_id,
                count,
                reserve.now + event.hold_seconds,
            ),
        )
        return [HeldSeat(*row) for row in held]

    def _release(self, event_id: str, user_id: str, reservation_id: str) -> None:
        write = self._writes.execute
        row = write(
            "UPDATE reservations SET status = 'RELEASED' WHERE reservation_id = ? AND user_id = ? AND event_id = ?"
            " AND status = 'HELD' RETURNING seats",
            (reservation_id, user_id, event_id),
        ).fetchone()
        if row is None:
            raise Refused(404, "RESERVATION_NOT_FOUND")
        write(
            "UPDATE seats SET status = 'AVAILABLE', reservation_id = NULL WHERE reservation_id = ?",
            (reservation_id,),
        )
        write(
            "UPDATE purchases SET seats = seats - ? WHERE event_id = ? AND user_id = ?",
            (row[0], event_id, user_id),
        )
