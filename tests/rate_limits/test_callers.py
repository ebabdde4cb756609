"""The table of callers: who is remembered, who is forgotten, and that it stays small."""

from __future__ import annotations

import sys

import pytest

from ticketd.rate_limits.callers import GENERATION_MS, Callers


def key_of(number: int) -> bytes:
    return number.to_bytes(16)


def test_a_caller_is_remembered_and_a_stranger_is_not() -> None:
    callers = Callers(10)
    callers.keep(key_of(1), 7, 0)
    assert callers.find(key_of(1)) == 7
    assert callers.find(key_of(2)) is None
    callers.keep(key_of(1), 8, 0)
    assert callers.find(key_of(1)) == 8
    assert len(callers) == 1


def test_those_quiet_for_the_longest_are_forgotten_first() -> None:
    callers = Callers(10)
    for number in range(10):
        callers.keep(key_of(number), number, 0)
    assert len(callers) == 10
    callers.keep(key_of(0), 100, 0)
    for number in range(10, 14):
        callers.keep(key_of(number), number, 0)
    assert callers.find(key_of(0)) == 100
    assert [callers.find(key_of(number)) for number in (1, 4)] == [None, None]
    assert callers.find(key_of(9)) == 9


def test_a_caller_is_never_counted_twice() -> None:
    callers = Callers(10)
    for number in (*range(5), *range(5), 5, 0, 1, 2):
        callers.keep(key_of(number), number, 0)
    assert len(callers) == 6


@pytest.mark.parametrize("most", [2, 3, 1000, 1001])
def test_no_more_are_kept_than_there_is_room_for(most: int) -> None:
    callers = Callers(most)
    largest = 0
    for number in range(3 * most):
        callers.keep(key_of(number), number, 0)
        largest = max(largest, len(callers))
    assert most - 1 <= largest <= most


def test_a_room_for_one_is_refused() -> None:
    with pytest.raises(ValueError, match="two"):
        Callers(1)


def test_a_generation_ends_with_its_time() -> None:
    callers = Callers(10)
    callers.keep(key_of(1), 1, 0)
    callers.keep(key_of(2), 2, GENERATION_MS - 1)
    assert len(callers) == 2
    callers.keep(key_of(3), 3, GENERATION_MS)
    assert callers.find(key_of(1)) == 1
    callers.keep(key_of(3), 3, 2 * GENERATION_MS - 1)
    assert callers.find(key_of(1)) == 1
    callers.keep(key_of(3), 3, 2 * GENERATION_MS)
    assert callers.find(key_of(1)) is None
    assert len(callers) == 1


def test_a_clock_set_back_forgets_at_most_a_generation() -> None:
    callers = Callers(10)
    callers.keep(key_of(1), 1, 10**9)
    callers.keep(key_of(2), 2, 0)
    callers.keep(key_of(3), 3, 1)
    assert [callers.find(key_of(number)) for number in (1, 2, 3)] == [1, 2, 3]


def test_a_million_callers_fit_into_a_bounded_memory() -> None:
    callers = Callers(200_000)
    state = 1_784_000_000_000 << 20 | 5
    for number in range(1_000_000):
        callers.keep(key_of(number), state + number, 0)
    assert len(callers) == 200_000
    tables = [value for value in vars(callers).values() if isinstance(value, dict)]
    taken = sum(sys.getsizeof(table) for table in tables) + sum(
        sys.getsizeof(key) + sys.getsizeof(kept) for table in tables for key, kept in table.items()
    )
    assert taken < 48 * 1024 * 1024
