"""Where a sale of the ladder takes place: a data folder with one event and a key, and the real daemon upon it.

The folder is made once by the tools that have a store to themselves, and then copied; what happens in it is the
business of whoever plays.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec
import trio

from config.settings import StorageSettings
from storage.clock import SystemClock
from storage.engine import Change, Command
from storage.open import open_inline_engine, open_reader
from storage.schema.events import EVENT_CODEC
from storage.schema.ids import EventId, RowKey, SeatNumber, seat_id, seat_number
from storage.schema.layout import ROW_PLANS, event_partition
from storage.snapshots import StoreReads
from storage.verify import verify_store
from tests.support.daemon import add_key
from tests.support.events import arena_file, room
from tests.support.process import DaemonProcess, serving
from ticketd.credentials.api_keys import API_KEY_RANDOM_BYTES, Scope
from ticketd.domain.events import PutEvent, event_command_partitions, put_event
from ticketd.event_file.parse import parse_event_file
from ticketd.first_start import prepare_store

EVENT_ID: Final = EventId(UUID("0f0e0d0c-0b0a-4009-8807-060504030203"))
STORAGE: Final = StorageSettings(map_size_bytes=256 * 1024 * 1024, min_free_bytes=0)
ENVIRON: Final = {
    "TICKETD_RATE_LIMITS_ENABLED": "false",
    "TICKETD_SERVER_COMMIT_HEADER": "true",
    "TICKETD_STORAGE_MAP_SIZE_BYTES": str(STORAGE.map_size_bytes),
    "TICKETD_STORAGE_MIN_FREE_BYTES": str(STORAGE.min_free_bytes),
    "TICKETD_LOG_FORMAT": "json",
}

_AT_ONCE: Final = 10_000


class Hall(msgspec.Struct, frozen=True, kw_only=True):
    """How large the sale is: rows of 10 seats, and how many may shop at once."""

    rows: int = 6
    max_active: int = 20
    purchase_limit: int = 6
    hold_seconds: int = 600

    def event_file(self) -> dict[str, object]:
        """The event file."""
        rows = [{"row": f"R{number}", "first": 1, "last": 10} for number in range(self.rows)]
        return arena_file(
            rows=rows,
            event_id=str(EVENT_ID),
            purchase_limit=self.purchase_limit,
            hold_seconds=self.hold_seconds,
            waiting_room=room(max_active=self.max_active, admit_per_minute=100_000, claim_seconds=600),
        )


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A data folder with the event in it, and a key of scope ``storefront``."""

    data: Path
    key: str
    hall: Hall
    seats: list[str]
    """The ids of all seats."""
    version: int
    """How many changes the event has seen before the sale."""

    def copy_to(self, data: Path) -> Stage:
        """The same in another folder, which must not be there yet. The daemon must not be running."""
        shutil.copytree(self.data, data, ignore=shutil.ignore_patterns("operator.sock"))
        return msgspec.structs.replace(self, data=data)

    @contextmanager
    def serving(
        self, environ: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> Iterator[DaemonProcess]:
        """The daemon, begun by the command ``prefix``, such as a tracer that lets it keep its process id."""
        with serving(self.data, environ={**ENVIRON, **(environ or {})}, prefix=prefix) as daemon:
            yield daemon

    @contextmanager
    def reading(self) -> Iterator[StoreReads]:
        """What reads the store, whether a daemon runs on it or not."""
        with open_reader(self.data, STORAGE, SystemClock(), EVENT_CODEC) as reads:
            yield reads

    def changes(self) -> list[Change]:
        """What has happened to the event in the sale."""
        found: list[Change] = []
        with self.reading() as reads:
            while more := reads.changes(event_partition(EVENT_ID), self.version + len(found), _AT_ONCE):
                found += more
        return found

    def problems(self) -> list[str]:
        """What ``ticketd verify`` finds wrong in the store."""
        with self.reading() as reads, reads.snapshot() as snapshot:
            return [str(problem) for problem in verify_store(snapshot)]


def set_stage(data: Path, hall: Hall) -> Stage:
    """Makes the folder ``data`` with the event."""
    plan = parse_event_file(json.dumps(hall.event_file()).encode())

    async def prepare() -> Stage:
        clock = SystemClock()
        with open_inline_engine(data, STORAGE, clock, EVENT_CODEC, synced=False) as engine:
            await prepare_store(engine, clock.now_ms(), "sandbox")
            command = PutEvent(plan=plan)
            await engine.submit(
                Command("put_event", event_command_partitions(EVENT_ID), lambda tx: put_event(tx, command))
            )
            key = await add_key(engine, Scope.STOREFRONT, clock.now_ms(), bytes(API_KEY_RANDOM_BYTES))
            with engine.snapshot() as snapshot:
                version = snapshot.version(event_partition(EVENT_ID))
                plans = list(ROW_PLANS.scan(snapshot, event_partition(EVENT_ID)))
        seats = [
            public_id(seat_number(RowKey(row_key), position))
            for (row_key,), plan in plans
            if isinstance(row_key, int)
            for position in range(len(plan.seats))
        ]
        return Stage(data=data, key=key, hall=hall, seats=seats, version=version)

    return trio.run(prepare)


def public_id(seat: SeatNumber) -> str:
    """A seat's id, as buyers know it."""
    return str(seat_id(EVENT_ID, seat))
