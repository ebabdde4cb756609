"""What the store's forms remember: only so much, and never anything that is out of date."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TypeAlias
from uuid import UUID

import msgspec
import pytest

from handlers.answers import TEXTS_KEPT, money, second_text
from storage.engine import Key, Partition
from storage.keys import PREFIXES_KEPT, cached_prefix, partition_prefix
from storage.overlay import Overlay
from storage.schema.ids import EventId
from storage.schema.layout import PARTITIONS_KEPT, event_partition
from storage.schema.tables import HEADS_KEPT, Table, key_head
from tests.storage.stores import HALL
from ticketd.domain.hoarding import SUBJECTS_KEPT, subject_of

Remembering: TypeAlias = "functools._lru_cache_wrapper[object]"


@pytest.mark.parametrize(
    ("remember", "kept", "ask"),
    [
        (cached_prefix, PREFIXES_KEPT, lambda number: cached_prefix(Partition(b"%d" % number))),
        (key_head, HEADS_KEPT, lambda number: key_head(Partition(b"%d" % number), b"")),
        (event_partition, PARTITIONS_KEPT, lambda number: event_partition(EventId(UUID(int=number)))),
        (subject_of, SUBJECTS_KEPT, lambda number: subject_of(b"user", b"%d" % number)),
        (second_text, TEXTS_KEPT, second_text),
        (money, TEXTS_KEPT, lambda number: money(number, "USD")),
    ],
    ids=["prefixes", "heads", "partitions", "subjects", "times", "amounts"],
)
def test_only_so_much_is_remembered(remember: Remembering, kept: int, ask: Callable[[int], object]) -> None:
    remember.cache_clear()
    first = ask(0)
    for number in range(1, kept + 1):
        ask(number)
        if number in {kept - 2, kept - 1}:
            assert remember.cache_info().currsize == number + 1
    assert remember.cache_info().currsize == kept
    assert ask(0) == first
    assert remember.cache_info().currsize == kept


def test_a_remembered_prefix_is_the_one_that_would_be_made() -> None:
    assert cached_prefix(HALL) == partition_prefix(HALL)


class EmptyStore:
    """Stands under an overlay, and holds nothing."""

    def get(self, key: Key) -> bytes | None:
        return None

    def scan(
        self, lo: Key, hi: Key, limit: int | None = None, reverse: bool = False
    ) -> Iterator[tuple[Key, bytes]]:
        return iter(())


class Note(msgspec.Struct, frozen=True):
    text: str


def test_a_kept_record_is_the_one_of_the_stored_bytes_and_only_so_many_are() -> None:
    table = Table(7, "notes", Note, kept=2)
    tx = Overlay(EmptyStore(), 0, None)
    for number in range(3):
        table.put(tx, Note(f"note {number}"), HALL, number)
    first = table.get(tx, HALL, 0)
    assert first == Note("note 0")
    assert table.get(tx, HALL, 0) is first
    table.get(tx, HALL, 1)
    assert table.get(tx, HALL, 0) is first
    table.put(tx, Note("another"), HALL, 1)
    assert table.get(tx, HALL, 1) == Note("another")
    table.get(tx, HALL, 2)
    again = table.get(tx, HALL, 0)
    assert again == first
    assert again is not first
