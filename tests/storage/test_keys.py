from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.engine import Key, Partition
from storage.keys import (
    MAX_INT,
    KeyTooLong,
    Part,
    key_range,
    pack_key,
    pack_part,
    partition_of,
    partition_prefix,
    prefix_range,
    unpack_parts,
)

HALL = Partition(b"hall")

integers = st.integers(0, MAX_INT)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
raws = st.binary(max_size=12)
parts = st.one_of(integers, st.uuids(), texts, raws)
names = st.binary(min_size=1, max_size=64).map(Partition)


def order_of(part: Part) -> tuple[int, int | bytes | str]:
    """How a part is meant to sort: integers, then UUIDs, text, bytes; each kind as Python sorts it."""
    if isinstance(part, int):
        return 0, part
    if isinstance(part, UUID):
        return 1, part.int
    if isinstance(part, str):
        return 2, part
    return 3, part


@given(st.lists(parts, max_size=5), st.lists(parts, max_size=5))
def test_keys_sort_as_their_parts(left: list[Part], right: list[Part]) -> None:
    meant = [order_of(part) for part in left] < [order_of(part) for part in right]
    assert (pack_key(HALL, *left) < pack_key(HALL, *right)) == meant


@given(names, st.lists(parts, max_size=5))
def test_a_key_gives_back_its_partition_and_parts(name: Partition, some: list[Part]) -> None:
    key = pack_key(name, *some)
    assert partition_of(key) == name
    assert unpack_parts(key) == tuple(some)


@given(names, names, st.lists(parts, max_size=3), st.lists(parts, max_size=3))
def test_a_partition_is_one_range_that_holds_nothing_else(
    name: Partition, other: Partition, some: list[Part], more: list[Part]
) -> None:
    lo, hi = prefix_range(name)
    assert lo <= pack_key(name, *some) < hi
    assert (lo <= pack_key(other, *more) < hi) == (name == other)


@given(st.lists(parts, max_size=2), st.lists(parts, max_size=3))
def test_a_prefix_range_holds_what_begins_with_the_prefix(prefix: list[Part], some: list[Part]) -> None:
    lo, hi = prefix_range(HALL, *prefix)
    inside = lo <= pack_key(HALL, *some) < hi
    same_kinds = [(type(part), part) for part in some[: len(prefix)]] == [
        (type(part), part) for part in prefix
    ]
    assert inside == same_kinds


@pytest.mark.parametrize("number", [0, 1, MAX_INT - 1, MAX_INT])
def test_integers_in_the_range_are_packed(number: int) -> None:
    assert unpack_parts(pack_key(HALL, number)) == (number,)


@pytest.mark.parametrize("number", [-1, MAX_INT + 1])
def test_integers_outside_the_range_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match="integers from 0"):
        pack_part(number)


def test_the_longest_key_is_packed_and_one_byte_more_is_refused() -> None:
    overhead = len(pack_key(HALL, b""))
    assert len(pack_key(HALL, b"x" * (400 - overhead))) == 400
    with pytest.raises(KeyTooLong, match="401"):
        pack_key(HALL, b"x" * (401 - overhead))


@pytest.mark.parametrize("length", [1, 64])
def test_names_of_partitions_within_the_bounds(length: int) -> None:
    name = Partition(b"p" * length)
    assert partition_prefix(name) == bytes((length,)) + name


@pytest.mark.parametrize("length", [0, 65])
def test_names_of_partitions_outside_the_bounds(length: int) -> None:
    with pytest.raises(ValueError, match="1 to 64"):
        partition_prefix(Partition(b"p" * length))


def test_key_range_takes_its_bounds_from_parts() -> None:
    assert key_range(HALL, (1, 2), (1, 3)) == (pack_key(HALL, 1, 2), pack_key(HALL, 1, 3))


@pytest.mark.parametrize("junk", [b"\x01h\x99", b"\x01h\x30abc", b"\x01h\x20abc", b"\x01h\x10abc"])
def test_bytes_that_are_no_key_are_refused(junk: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # each kind of junk has its own words
        unpack_parts(Key(junk))
