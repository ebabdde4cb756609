"""The sandbox gateway's own memory: an SQLite file of cards, payments, refunds and answered calls.

What was committed here survives a restart and a power cut, since the sandbox stands for an outside system
that does not forget when the daemon does. It is not the ticketing store, and nothing of a sale is kept in it.
It keeps rows; which of them may change, and how, is ``sandbox_bank``'s. Not for use by two threads at once.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

from storage.schema.ids import OrderId
from ticketd.ports.payments import GatewayState, GatewayUnavailable, IdempotencyMismatch

_APPLICATION_ID: Final = 0x746B7462
_SCHEMA_VERSION: Final = 1
_BUSY_SECONDS: Final = 5.0

_SCHEMA: Final = (
    "CREATE TABLE cards (ref TEXT PRIMARY KEY, token TEXT NOT NULL, forgotten INTEGER NOT NULL DEFAULT 0)",
    # The payment in JSON, which SQLite's own functions read: the fields are those of PaymentRow.
    "CREATE TABLE payments (seq INTEGER PRIMARY KEY, ref TEXT NOT NULL UNIQUE, order_id BLOB, payment TEXT)",
    "CREATE INDEX payments_of_order ON payments (order_id, seq)",
    "CREATE TABLE refunds (ref TEXT PRIMARY KEY, payment_ref TEXT, amount_minor INTEGER, created_at_ms INTEGER)",
    "CREATE TABLE answers (key TEXT PRIMARY KEY, fingerprint BLOB, outcome BLOB) WITHOUT ROWID",
)


class LedgerUnusable(Exception):
    """The file cannot serve as the sandbox's ledger; the message is one sentence that says why."""


class PaymentRow(msgspec.Struct, frozen=True, kw_only=True):
    """A payment as it is kept. Amounts in minor units of ``currency``."""

    ref: str
    order_id: OrderId
    card_ref: str
    amount_minor: int
    currency: str
    description: str
    return_url: str
    redirect_url: str | None
    state: GatewayState
    captured_minor: int = 0
    refunded_minor: int = 0
    decline_code: str | None = None
    created_at_ms: int


class SandboxLedger:
    """The open file at ``path``, which is made, readable by its owner alone, if it is not there.

    Refuses with LedgerUnusable what cannot be opened or written, and what is not a ledger of this form.
    """

    def __init__(self, path: Path) -> None:
        try:
            _make_file(path)
            self._db = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise LedgerUnusable(f"{path} cannot be opened: {error}") from error
        try:
            self._prepare(path)
        except sqlite3.Error as error:
            self._db.close()
            raise LedgerUnusable(f"{path} cannot serve as the ledger of the sandbox: {error}") from error
        except LedgerUnusable:
            self._db.close()
            raise

    def _prepare(self, path: Path) -> None:
        (application_id,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        is_new = tables == 0 and application_id == 0
        if not is_new and application_id != _APPLICATION_ID:
            raise LedgerUnusable(f"{path} is an SQLite file of something else")
        if not is_new and version != _SCHEMA_VERSION:
            raise LedgerUnusable(
                f"{path} has form {version}; this version of ticketd reads form {_SCHEMA_VERSION}"
            )
        # With a write-ahead log a durable commit is one fsync; FULL is what makes it one at all.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("BEGIN IMMEDIATE")
        if is_new:
            for statement in _SCHEMA:
                self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        # An index is no part of the form: a file of before gets it too.
        self._db.execute("CREATE INDEX IF NOT EXISTS refunds_of_payment ON refunds (payment_ref)")
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Closes the file; nothing may be asked afterwards."""
        self._db.close()

    def commit_together(self, steps: Iterable[Callable[[], None]]) -> None:
        """Runs the steps one after another and makes them durable in one commit: all of them, or none.

        If the file fails: GatewayUnavailable, ``effect_possible`` only when the commit itself failed.
        """
        committing = False
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for step in steps:
                step()
            committing = True
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise GatewayUnavailable(
                f"the sandbox's ledger failed: {error}", effect_possible=committing
            ) from error
        finally:
            self._undo()

    def _undo(self) -> None:
        if self._db.in_transaction:
            # A file that fails here too keeps the transaction open, so that nothing more is taken.
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")

    # --- answered calls -------------------------------------------------------------------------------------

    def answer_to(self, key: str, fingerprint: bytes) -> bytes | None:
        """What was answered to this key; None if it is new, IdempotencyMismatch if it came with other
        parameters."""
        row: tuple[bytes, bytes] | None = self._db.execute(
            "SELECT fingerprint, outcome FROM answers WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        if row[0] != fingerprint:
            raise IdempotencyMismatch(f"the idempotency key {key!r} was used before with other parameters")
        return row[1]

    def keep_answer(self, key: str, fingerprint: bytes, outcome: bytes) -> None:
        """Keeps the outcome of a new key."""
        self._db.execute("INSERT INTO answers VALUES (?, ?, ?)", (key, fingerprint, outcome))

    # --- cards ----------------------------------------------------------------------------------------------

    def add_card(self, ref: str, token: str) -> None:
        """Keeps a card by its new reference."""
        self._db.execute("INSERT INTO cards (ref, token) VALUES (?, ?)", (ref, token))

    def card_token(self, ref: str) -> str | None:
        """The token of a card that was added and not forgotten."""
        row: tuple[str] | None = self._db.execute(
            "SELECT token FROM cards WHERE ref = ? AND NOT forgotten", (ref,)
        ).fetchone()
        return None if row is None else row[0]

    def forget_card(self, ref: str) -> None:
        """Marks a card as forgotten, if it is known."""
        self._db.execute("UPDATE cards SET forgotten = 1 WHERE ref = ?", (ref,))

    # --- payments -------------------------------------------------------------------------------------------

    def add_payment(self, payment: PaymentRow) -> None:
        """Keeps a new payment; it is its order's newest."""
        self._db.execute(
            "INSERT INTO payments (ref, order_id, payment) VALUES (?, ?, ?)",
            (payment.ref, payment.order_id.bytes, _text_of(payment)),
        )

    def change_payment(self, payment: PaymentRow) -> None:
        """Keeps what became of a payment that was added."""
        self._db.execute("UPDATE payments SET payment = ? WHERE ref = ?", (_text_of(payment), payment.ref))

    def payment(self, ref: str) -> PaymentRow | None:
        """The payment of this reference."""
        if not ref.isascii():  # It comes from an address that anybody may type.
            return None
        row: tuple[str] | None = self._db.execute(
            "SELECT payment FROM payments WHERE ref = ?", (ref,)
        ).fetchone()
        return None if row is None else _PAYMENT.decode(row[0])

    def newest_payment_of(self, order_id: OrderId) -> PaymentRow | None:
        """The payment that was added last for this order."""
        row: tuple[str] | None = self._db.execute(
            "SELECT payment FROM payments WHERE order_id = ? ORDER BY seq DESC LIMIT 1", (order_id.bytes,)
        ).fetchone()
        return None if row is None else _PAYMENT.decode(row[0])

    def add_refund(self, ref: str, payment_ref: str, amount_minor: int, now_ms: int) -> None:
        """Keeps a refund."""
        self._db.execute("INSERT INTO refunds VALUES (?, ?, ?, ?)", (ref, payment_ref, amount_minor, now_ms))

    def refunds_of(self, payment_ref: str) -> list[tuple[str, int]]:
        """The reference and the amount of each refund of a payment, oldest first."""
        if not payment_ref.isascii():
            return []
        return self._db.execute(
            "SELECT ref, amount_minor FROM refunds WHERE payment_ref = ? ORDER BY rowid", (payment_ref,)
        ).fetchall()

    def payments_after(self, seq: int, since_ms: int, limit: int) -> list[tuple[int, PaymentRow]]:
        """The payments behind number ``seq`` that were begun at ``since_ms`` or later, with their numbers."""
        rows: list[tuple[int, str]] = self._db.execute(
            "SELECT seq, payment FROM payments WHERE seq > ?"
            " AND json_extract(payment, '$.created_at_ms') >= ? ORDER BY seq LIMIT ?",
            (seq, since_ms, limit),
        ).fetchall()
        return [(number, _PAYMENT.decode(text)) for number, text in rows]


_PAYMENT: Final = msgspec.json.Decoder(PaymentRow)


def _make_file(path: Path) -> None:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _text_of(payment: PaymentRow) -> str:
    return msgspec.json.encode(payment).decode()
