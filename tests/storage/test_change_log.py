from __future__ import annotations

import pytest

from storage.change_log import log_key, read_changes, stage_changes
from storage.engine import Partition, StorageError
from storage.keys import MAX_INT, pack_key, prefix_range
from storage.overlay import Overlay
from tests.storage.stores import CODEC, HALL, NOON_MS, OTHER
from tests.storage.test_overlay import FixedReader

NEW = Partition(b"new")


def empty() -> Overlay:
    return Overlay(FixedReader({}), NOON_MS, [HALL, OTHER, NEW])


def test_the_log_lies_in_its_partition_below_every_record() -> None:
    lo, _ = prefix_range(HALL)
    assert lo < log_key(HALL, 0) == pack_key(HALL, 0, 0)
    assert log_key(HALL, MAX_INT) < pack_key(HALL, 1)


def test_staging_goes_on_from_the_version_that_is_there() -> None:
    tx = empty()
    stage_changes(tx, [(HALL, "a")], CODEC)
    changes, versions = stage_changes(tx, [(HALL, "b"), (OTHER, "c"), (HALL, "d")], CODEC)
    assert [(change.partition, change.version, change.event) for change in changes] == [
        (HALL, 2, "b"),
        (OTHER, 1, "c"),
        (HALL, 3, "d"),
    ]
    assert versions == {HALL: 3, OTHER: 1}
    found = read_changes(tx, CODEC, HALL, 0, 10)
    assert found is not None
    assert [(change.version, change.at_ms, change.event) for change in found] == [
        (1, NOON_MS, "a"),
        (2, NOON_MS, "b"),
        (3, NOON_MS, "d"),
    ]


def test_nothing_emitted_stages_nothing() -> None:
    tx = empty()
    assert stage_changes(tx, [], CODEC) == ([], {})
    assert not tx.has_writes()


def test_a_partition_that_never_saw_a_change_has_an_empty_log() -> None:
    assert read_changes(empty(), CODEC, NEW, 0, 10) == []
    assert read_changes(empty(), CODEC, NEW, 1, 10) is None


def test_an_entry_of_an_unknown_schema_is_refused() -> None:
    tx = empty()
    stage_changes(tx, [(HALL, "a")], CODEC)
    tx.put(log_key(HALL, 1), b"\x09")
    with pytest.raises(StorageError, match="schema 09"):
        read_changes(tx, CODEC, HALL, 0, 10)
