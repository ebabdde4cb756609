"""The sandbox's file: durable, its owner's, all or nothing, and never somebody else's."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from ticketd.ports.payments import GatewayUnavailable
from ticketd.ports.sandbox_ledger import LedgerUnusable, SandboxLedger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sandbox-payments.sqlite"


def test_the_ledger_is_its_owners_and_durable(path: Path) -> None:
    with closing(SandboxLedger(path)) as ledger:
        database = ledger._db
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_foreign_file_is_refused_and_left_as_it_is(path: Path) -> None:
    path.write_bytes(b"a shopping list, not a ledger\n" * 100)
    with pytest.raises(LedgerUnusable, match="not a database"):
        SandboxLedger(path)
    assert path.read_bytes().startswith(b"a shopping list")
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE songs (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(LedgerUnusable, match="of something else"):
        SandboxLedger(path)
    assert path.read_bytes() == before


def test_a_later_form_is_refused(path: Path) -> None:
    SandboxLedger(path).close()
    with closing(sqlite3.connect(path)) as later:
        later.execute("PRAGMA user_version = 2")
    with pytest.raises(LedgerUnusable, match="has form 2"):
        SandboxLedger(path)


def test_a_path_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "ledger.sqlite", tmp_path):
        with pytest.raises(LedgerUnusable, match="cannot be opened"):
            SandboxLedger(path)


def test_a_commit_is_whole_or_nothing(path: Path) -> None:
    with closing(SandboxLedger(path)) as ledger:

        def bug() -> None:
            raise RuntimeError("a bug")

        with pytest.raises(RuntimeError, match="a bug"):
            ledger.commit_together([lambda: ledger.add_card("pm_1", "tok_visa"), bug])
        assert ledger.card_token("pm_1") is None
        ledger.commit_together([lambda: ledger.add_card("pm_1", "tok_visa")])
        assert ledger.card_token("pm_1") == "tok_visa"


def test_a_commit_that_fails_may_have_been_made(path: Path) -> None:
    with closing(SandboxLedger(path)) as ledger:
        database = ledger._db
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("CREATE TABLE owed (ref TEXT REFERENCES cards (ref) DEFERRABLE INITIALLY DEFERRED)")

        def owe() -> None:
            database.execute("INSERT INTO owed VALUES ('pm_0')")

        with pytest.raises(GatewayUnavailable) as caught:
            ledger.commit_together([owe])
        assert caught.value.effect_possible is True
        ledger.commit_together([lambda: ledger.add_card("pm_1", "tok_visa")])
        assert ledger.card_token("pm_1") == "tok_visa"
