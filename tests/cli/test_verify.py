"""``ticketd verify``: on a sound store, on one with a planted fault, and on what is no store."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
import trio

from config import load_settings
from storage.clock import SystemClock
from storage.engine import Command
from storage.open import open_inline_engine
from storage.schema.events import EVENT_CODEC
from storage.schema.ids import EventId
from storage.schema.layout import TOTAL, event_partition
from storage.schema.records import CountRecord
from tests.cli.conftest import Run
from tests.support.events import arena_file


@pytest.fixture
def event_id(run: Run, data: Path) -> EventId:
    told = run("import", "-", "--json", "--data", data, stdin=json.dumps(arena_file()).encode())
    return EventId(UUID(json.loads(told.out)["event_id"]))


def miscount(data: Path, event_id: EventId) -> None:
    """Plants a fault: one free seat too many."""
    settings = load_settings().settings.storage
    partition = event_partition(event_id)
    wrong = CountRecord(free=51)
    with open_inline_engine(data, settings, SystemClock(), EVENT_CODEC) as engine:
        command = Command("miscount", (partition,), lambda tx: TOTAL.put(tx, wrong, partition))
        trio.run(engine.submit, command)


@pytest.mark.usefixtures("event_id")
def test_a_sound_store(run: Run, data: Path) -> None:
    told = run("verify", "--data", data)
    assert (told.status, told.out, told.err) == (0, "nothing is wrong\n", "")
    assert run("verify", "--json", "--data", data).out == '{"problems":0}\n'


def test_a_fault_is_named_and_ends_with_one(run: Run, data: Path, event_id: EventId) -> None:
    miscount(data, event_id)
    told = run("verify", "--data", data)
    assert told.status == 1
    assert str(event_id) in told.line
    assert told.err == f"ticketd: 1 problem in {data}\n"
    as_json = run("verify", "--json", "--data", data)
    assert as_json.status == 1
    problem, total = map(json.loads, as_json.out.splitlines())
    assert set(problem) == {"invariant", "where", "text"}
    assert total == {"problems": 1}


@pytest.mark.usefixtures("event_id")
def test_it_changes_nothing(run: Run, data: Path) -> None:
    before = (data / "ticketd.lmdb").read_bytes()
    assert run("verify", "--data", data).status == 0
    assert (data / "ticketd.lmdb").read_bytes() == before


def test_what_is_no_store_is_refused(run: Run, data: Path) -> None:
    told = run("verify", "--data", data)
    assert (told.status, told.out) == (1, "")
    data.mkdir()
    assert run("verify", "--data", data).err == f"ticketd: the data folder {data} holds no store\n"
    (data / "ticketd.lmdb").write_bytes(b"not a store" * 1000)
    told = run("verify", "--data", data)
    assert told.status == 1
    assert len(told.err.splitlines()) == 1
