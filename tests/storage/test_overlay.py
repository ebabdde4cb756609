from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.engine import Key, Partition
from storage.keys import KeyTooLong, pack_key, prefix_range
from storage.overlay import Overlay, PartitionNotNamed, ValueTooLong, nested

HALL = Partition(b"hall")
OTHER = Partition(b"other")


class FixedReader:
    """Pairs that never change."""

    def __init__(self, pairs: dict[Key, bytes]) -> None:
        self._pairs = dict(pairs)

    def get(self, key: Key) -> bytes | None:
        return self._pairs.get(key)

    def scan(
        self, lo: Key, hi: Key, limit: int | None = None, reverse: bool = False
    ) -> Iterator[tuple[Key, bytes]]:
        keys = sorted(self._pairs)
        chosen = keys[bisect_left(keys, lo) : bisect_left(keys, hi)]
        if reverse:
            chosen.reverse()
        return iter([(key, self._pairs[key]) for key in chosen[:limit]])


def hall(number: int) -> Key:
    return pack_key(HALL, 1, number)


def over(pairs: dict[Key, bytes] | None = None) -> Overlay:
    return Overlay(FixedReader(pairs or {}), 5, [HALL])


def test_its_own_writes_are_read_and_the_base_is_not_touched() -> None:
    base = FixedReader({hall(1): b"old", hall(2): b"two"})
    overlay = Overlay(base, 5, [HALL])
    overlay.put(hall(1), b"new")
    overlay.delete(hall(2))
    assert (overlay.get(hall(1)), overlay.get(hall(2)), overlay.get(hall(3))) == (b"new", None, None)
    assert (base.get(hall(1)), base.get(hall(2))) == (b"old", b"two")
    assert overlay.now_ms == 5


def test_a_scan_is_not_affected_by_later_writes() -> None:
    overlay = over({hall(1): b"1", hall(3): b"3", hall(5): b"5"})
    overlay.put(hall(2), b"2")
    scan = overlay.scan(*prefix_range(HALL))
    untouched = overlay.scan(*prefix_range(HALL))
    assert next(scan) == (hall(1), b"1")
    overlay.put(hall(2), b"late")
    overlay.put(hall(4), b"late")
    overlay.delete(hall(3))
    expected = [(hall(1), b"1"), (hall(2), b"2"), (hall(3), b"3"), (hall(5), b"5")]
    assert list(scan) == expected[1:]
    assert list(untouched) == expected


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4, None])
def test_a_limited_scan_is_not_cut_short_by_deletions(limit: int | None, reverse: bool) -> None:
    overlay = over({hall(number): b"" for number in range(6)})
    for number in (0, 1, 4, 5):
        overlay.delete(hall(number))
    overlay.put(hall(9), b"")
    meant = [2, 3, 9]
    if reverse:
        meant.reverse()
    found = overlay.scan(*prefix_range(HALL), limit=limit, reverse=reverse)
    assert [key for key, _ in found] == [hall(number) for number in meant[:limit]]


def test_keys_of_other_partitions_are_refused_everywhere() -> None:
    overlay = over({pack_key(OTHER, 1): b"x"})
    key = pack_key(OTHER, 1)
    with pytest.raises(PartitionNotNamed):
        overlay.get(key)
    with pytest.raises(PartitionNotNamed):
        overlay.put(key, b"")
    with pytest.raises(PartitionNotNamed):
        overlay.delete(key)
    with pytest.raises(PartitionNotNamed):
        overlay.scan(*prefix_range(OTHER))
    with pytest.raises(PartitionNotNamed):
        overlay.scan(prefix_range(HALL)[0], prefix_range(OTHER)[1])
    with pytest.raises(PartitionNotNamed):
        overlay.emit(OTHER, "x")
    with pytest.raises(PartitionNotNamed):
        nested(overlay).put(key, b"")
    assert not overlay.has_writes()
    assert overlay.emitted == []


def test_an_overlay_that_names_no_partition_allows_none_and_one_without_names_all() -> None:
    with pytest.raises(PartitionNotNamed):
        Overlay(FixedReader({}), 0, []).put(hall(1), b"")
    free = Overlay(FixedReader({}), 0, None)
    free.put(hall(1), b"")
    free.put(pack_key(OTHER, 1), b"")
    assert len(free.writes()[0]) == 2


@pytest.mark.parametrize("length", [399, 400])
def test_keys_up_to_the_bound(length: int) -> None:
    over().put(Key(hall(1).ljust(length, b"x")), b"")


def test_a_key_over_the_bound() -> None:
    with pytest.raises(KeyTooLong):
        over().put(Key(hall(1).ljust(401, b"x")), b"")


@pytest.mark.parametrize("length", [0, 64 * 1024 - 1, 64 * 1024])
def test_values_up_to_the_bound(length: int) -> None:
    over().put(hall(1), b"x" * length)


def test_a_value_over_the_bound() -> None:
    with pytest.raises(ValueTooLong):
        over().put(hall(1), b"x" * (64 * 1024 + 1))


def test_merging_moves_writes_and_events_in_order() -> None:
    outer = over({hall(1): b"1", hall(2): b"2"})
    outer.emit(HALL, "first")
    inner = nested(outer)
    inner.put(hall(1), b"new")
    inner.delete(hall(2))
    inner.emit(HALL, "second")
    assert outer.get(hall(1)) == b"1"
    inner.merge_into(outer)
    assert (outer.get(hall(1)), outer.get(hall(2))) == (b"new", None)
    assert outer.emitted == [(HALL, "first"), (HALL, "second")]


def test_merging_into_a_narrower_overlay_is_refused() -> None:
    wide = Overlay(FixedReader({}), 0, [HALL, OTHER])
    wide.put(pack_key(OTHER, 1), b"")
    with pytest.raises(PartitionNotNamed):
        wide.merge_into(over())


def test_a_nested_overlay_that_is_forgotten_leaves_nothing() -> None:
    outer = over()
    inner = nested(outer)
    inner.put(hall(1), b"x")
    inner.emit(HALL, "x")
    assert inner.now_ms == outer.now_ms
    assert not outer.has_writes()
    assert outer.emitted == []


def test_growth_counts_what_is_replaced_and_removed() -> None:
    overlay = over({hall(1): b"12345", hall(2): b"12345"})
    key_bytes = len(hall(1))
    assert overlay.growth_bytes() == 0
    overlay.put(hall(1), b"1234567")
    assert overlay.growth_bytes() == 2
    overlay.put(hall(3), b"123")
    assert overlay.growth_bytes() == 2 + key_bytes + 3
    assert overlay.put_bytes() == 2 * key_bytes + 10
    overlay.delete(hall(2))
    assert overlay.growth_bytes() == 0
    overlay.delete(hall(9))
    assert overlay.growth_bytes() == 0
    overlay.delete(hall(3))
    assert overlay.growth_bytes() == 2 - key_bytes - 5


numbers = st.integers(0, 60)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), numbers, st.binary(max_size=3)),
        st.tuples(st.just("delete"), numbers),
        st.tuples(st.just("get"), numbers),
        st.tuples(st.just("scan"), numbers, numbers, st.none() | st.integers(0, 5), st.booleans()),
        st.tuples(st.just("open")),
        st.tuples(st.just("merge")),
        st.tuples(st.just("drop")),
    ),
    max_size=60,
)


@given(st.dictionaries(numbers, st.binary(max_size=3)), steps, st.integers(0, 40))
def test_a_stack_of_overlays_reads_like_a_dictionary(
    start: dict[int, bytes], steps: list[tuple[object, ...]], ballast: int
) -> None:
    stack = [over({hall(number): value for number, value in start.items()})]
    models = [dict(start)]
    for number in range(1000, 1000 + ballast):  # so many new keys at once that they are sorted in together
        stack[0].put(hall(number), b"")
        models[0][number] = b""
    for step in steps:
        top, model = stack[-1], models[-1]
        match step:
            case "put", int(number), bytes(value):
                top.put(hall(number), value)
                model[number] = value
            case "delete", int(number):
                top.delete(hall(number))
                model.pop(number, None)
            case "get", int(number):
                assert top.get(hall(number)) == model.get(number)
            case "scan", int(lo), int(hi), limit, bool(reverse):
                assert limit is None or isinstance(limit, int)
                meant = sorted((number for number in model if lo <= number < hi), reverse=reverse)[:limit]
                found = top.scan(hall(lo), hall(hi), limit, reverse)
                assert list(found) == [(hall(number), model[number]) for number in meant]
            case ("open",):
                stack.append(nested(top))
                models.append(dict(model))
            case ("merge",) if len(stack) > 1:
                stack.pop().merge_into(stack[-1])
                models[-2:] = [models[-1]]
            case ("drop",) if len(stack) > 1:
                stack.pop()
                models.pop()
            case _:
                pass
    found = stack[-1].scan(*prefix_range(HALL))
    assert list(found) == [(hall(number), models[-1][number]) for number in sorted(models[-1])]
