"""The judge's memory: one SQLite file, where every answer is committed before it is given.

It is safe against a killed process, not against a cut of power: nothing is forced to the disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tests.stripe_judge.form import Range
from tests.stripe_judge.records import Charge, Event, Intent, Record

R = TypeVar("R", bound=Record)
S = TypeVar("S", bound=msgspec.Struct)

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS records (
    number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL UNIQUE, created INTEGER NOT NULL,
    customer TEXT, intent TEXT, label TEXT, due INTEGER, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_customer ON records (kind, customer, number);
CREATE INDEX IF NOT EXISTS by_intent ON records (kind, intent, number);
CREATE INDEX IF NOT EXISTS by_due ON records (due) WHERE due IS NOT NULL;
CREATE TABLE IF NOT EXISTS keys (
    key TEXT PRIMARY KEY, endpoint TEXT NOT NULL, parameters TEXT NOT NULL, status INTEGER NOT NULL,
    body BLOB NOT NULL, request TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS faults (
    number INTEGER PRIMARY KEY AUTOINCREMENT, endpoint TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS calls (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, endpoint TEXT NOT NULL, path TEXT NOT NULL, key TEXT,
    status INTEGER, replayed INTEGER NOT NULL, fault TEXT);
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL, due REAL NOT NULL, place INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0, status INTEGER, done INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS undone ON deliveries (due, place) WHERE NOT done;
"""


@dataclass(frozen=True)
class Wanted:
    """Which records a list asks for; of a cursor only one side is set. ``label`` may end in ``*``."""

    customer: str | None = None
    intent: str | None = None
    labels: tuple[str, ...] = ()
    created: Range = field(default_factory=Range)
    before: int | None = None
    after: int | None = None


class Store:
    """The open file."""

    def __init__(self, path: Path) -> None:
        self.sql = sqlite3.connect(path, isolation_level=None)
        self.sql.execute("PRAGMA journal_mode = WAL")
        self.sql.execute("PRAGMA synchronous = OFF")
        self.sql.executescript(_TABLES)

    def close(self) -> None:
        self.sql.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written in it, or nothing."""
        self.sql.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.sql.execute("ROLLBACK")
            raise
        self.sql.execute("COMMIT")

    def put(self, record: Record) -> None:
        """Writes a record, which keeps its place in the order of making."""
        body = msgspec.json.encode(record)
        customer = getattr(record, "customer", None)
        intent = record.id if isinstance(record, Intent) else getattr(record, "intent", None)
        label = record.type if isinstance(record, Event) else None
        due = record.capture_before if isinstance(record, Charge) else None
        self.sql.execute(
            "INSERT INTO records (kind, id, created, customer, intent, label, due, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
            " customer = excluded.customer, due = excluded.due, body = excluded.body",
            (type(record).__name__, record.id, record.created, customer, intent, label, due, body),
        )

    def find(self, kind: type[R], record_id: str) -> R | None:
        """The record of this id, if there is one of this kind."""
        row = self.sql.execute(
            "SELECT body FROM records WHERE id = ? AND kind = ?", (_text(record_id), kind.__name__)
        ).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=kind)

    def get(self, kind: type[R], record_id: str) -> R:
        """The record of this id, which must be there."""
        found = self.find(kind, record_id)
        assert found is not None
        return found

    def number_of(self, kind: type[Record], record_id: str) -> int | None:
        """The record's place in the order of making."""
        row = self.sql.execute(
            "SELECT number FROM records WHERE id = ? AND kind = ?", (_text(record_id), kind.__name__)
        ).fetchone()
        return None if row is None else int(row[0])

    def listed(self, kind: type[R], wanted: Wanted, limit: int | None = None) -> list[R]:
        """Records, newest first; with ``after``, the oldest ones above it."""
        conditions: list[tuple[str, object]] = [("kind = ?", kind.__name__)]
        conditions += [("customer = ?", wanted.customer)] if wanted.customer is not None else []
        conditions += [("intent = ?", wanted.intent)] if wanted.intent is not None else []
        conditions += [("created >= ?", wanted.created.least)] if wanted.created.least is not None else []
        conditions += [("created <= ?", wanted.created.most)] if wanted.created.most is not None else []
        conditions += [("number < ?", wanted.before)] if wanted.before is not None else []
        conditions += [("number > ?", wanted.after)] if wanted.after is not None else []
        where = " AND ".join(condition for condition, _ in conditions)
        if wanted.labels:
            where += " AND (" + " OR ".join(["label GLOB ?"] * len(wanted.labels)) + ")"
        upward = wanted.after is not None
        rows = self.sql.execute(
            f"SELECT body FROM records WHERE {where} ORDER BY number {'ASC' if upward else 'DESC'} LIMIT ?",
            [*(value for _, value in conditions), *wanted.labels, -1 if limit is None else limit],
        ).fetchall()
        found = [msgspec.json.decode(row[0], type=kind) for row in rows]
        return found[::-1] if upward else found

    def due_charges(self, now: int) -> list[Charge]:
        """Authorisations whose time is over."""
        rows = self.sql.execute(
            "SELECT body FROM records WHERE due IS NOT NULL AND due <= ? ORDER BY number", (now,)
        )
        return [msgspec.json.decode(row[0], type=Charge) for row in rows.fetchall()]

    def setting(self, kind: type[S]) -> S:
        """The settings of this kind; as they are by default, if none were made."""
        row = self.sql.execute("SELECT body FROM settings WHERE name = ?", (kind.__name__,)).fetchone()
        return kind() if row is None else msgspec.json.decode(row[0], type=kind)

    def set(self, setting: msgspec.Struct) -> None:
        self.sql.execute(
            "INSERT OR REPLACE INTO settings VALUES (?, ?)",
            (type(setting).__name__, msgspec.json.encode(setting)),
        )


def _text(given: str) -> str:
    """A text that SQLite takes: one with half a pair of surrogates is nobody's name."""
    return given.encode(errors="replace").decode()
