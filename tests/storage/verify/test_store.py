"""The whole store: nothing is found in a good one, and whatever has no place in it is named."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID

import pytest

import storage.verify
from storage.engine import Key, Partition
from storage.keys import key_range, pack_key
from storage.schema.ids import EventId
from storage.schema.layout import EVENT_IDS, ROOM, SYSTEM, event_of
from storage.verify import Problem, verify_event, verify_store
from tests.storage.verify.good_store import Damage

UNKNOWN = EventId(UUID(int=0xBAD))
SOURCES = Path(storage.verify.__file__).parent
TESTS = Path(__file__).parent


def test_nothing_is_found_in_a_good_store(damage: Damage) -> None:
    assert damage.texts() == []


def test_a_problem_says_where_it_is_and_which_invariant_it_breaks() -> None:
    problem = Problem(invariant="due-holds", where="event 1", text="it is missing")
    assert str(problem) == "event 1: it is missing [due-holds]"


def test_one_event_is_verified_alone(damage: Damage) -> None:
    damage.change(ROOM, waiting=7)
    lobby = event_of(damage.lobby)
    assert lobby is not None
    assert [problem.invariant for problem in verify_event(damage.tx, damage.event_id)] == [
        "room-equals-recount"
    ]
    assert list(verify_event(damage.tx, lobby)) == []


def test_an_event_that_there_never_was_has_no_problems(damage: Damage) -> None:
    assert list(verify_event(damage.tx, UNKNOWN)) == []


def test_of_a_deleted_event_its_change_log_may_be_left(damage: Damage) -> None:
    for key, _ in list(damage.tx.scan(*key_range(damage.lobby, (1,), (1001,)))):
        damage.tx.delete(key)
    lobby = event_of(damage.lobby)
    assert lobby is not None
    EVENT_IDS.remove(damage.tx, SYSTEM, lobby)
    assert damage.found() == []


@pytest.mark.parametrize("name", [b"x", b"e", b"e" + bytes(17), b"b" + bytes(3), b"\xff" * 64])
def test_a_partition_that_is_none_of_ours(damage: Damage, name: bytes) -> None:
    damage.tx.put(pack_key(Partition(name), 1), b"\x01")
    assert damage.found() == ["partition-known"]


@pytest.mark.parametrize("key", [b"\x00", b"\x00\x01", b"\x41" + bytes(70), b"\xff\xff\xff"])
def test_a_key_of_no_partition(damage: Damage, key: bytes) -> None:
    damage.tx.put(Key(key), b"\x01")
    assert damage.found() == ["key-has-partition"]


@pytest.mark.parametrize("key", [b"\x01", b"\x11e", b"\x12ab", b"\x01s\xff" + bytes(9)])
def test_a_key_that_is_cut_off_in_its_partition_or_lies_behind_it(damage: Damage, key: bytes) -> None:
    damage.tx.put(Key(key), b"\x01")
    assert damage.found() == ["key-has-partition"]


def test_what_follows_a_key_that_is_cut_off_is_looked_at(damage: Damage) -> None:
    damage.tx.put(Key(b"\x11e"), b"\x01")
    damage.change(ROOM, waiting=7)
    assert damage.found() == ["key-has-partition", "room-equals-recount"]


def test_every_problem_is_found_lazily(damage: Damage) -> None:
    """A store with many problems is not read to its end for the first one."""
    damage.change_in(damage.lobby, ROOM, waiting=7)
    damage.tx.put(Key(b"\x00"), b"\x01")
    assert next(verify_store(damage.tx)).invariant == "key-has-partition"


def test_each_invariant_has_a_planted_fault() -> None:
    """The name of every problem that the sources can find is one that a test has seen."""
    sources = "\n".join(path.read_text() for path in SOURCES.glob("*.py"))
    tests = "\n".join(path.read_text() for path in TESTS.glob("test_*.py"))
    named = re.findall(r'(?:invariant=|problem\(\s*|compare\(\s*|_not_there\(\s*)"([a-z-]+)"', sources)
    of_tables = {"line", "lobby"}
    assert len(set(named)) > 60
    assert {name for name in {*named, *of_tables} if f'"{name}"' not in tests} == set()
