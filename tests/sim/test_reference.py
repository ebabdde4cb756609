"""The reference itself: it counts as a plain list does, and no broken rule gets past it."""

from __future__ import annotations

import random

import pytest

from tests.sim.line import BLOCK, PlainLine
from tests.sim.reference import Deed, Difference, Move, Reference, Rules, Wish

PRESALE_MS, OPENS_MS = 1_000, 2_000
CLAIM_MS, ACCESS_MS = 30_000, 90_000


def reference_at(
    now_ms: int, *, max_active: int = 1, admit_per_minute: int = 10, capacity: int = 5
) -> Reference:
    made = Reference(
        Rules(
            presale_ms=PRESALE_MS,
            opens_ms=OPENS_MS,
            capacity=capacity,
            max_active=max_active,
            admit_per_minute=admit_per_minute,
            claim_ms=CLAIM_MS,
            access_ms=ACCESS_MS,
        )
    )
    made.pass_time(now_ms)
    return made


def joined(number: int, state: str) -> tuple[list[Move], list[Deed]]:
    return [Move(number, state, is_new=True)], [Deed(Wish.JOIN, number)]


def line_of(*numbers: int, max_active: int = 1, admit_per_minute: int = 10) -> Reference:
    """The first is in, the others wait."""
    reference = reference_at(OPENS_MS, max_active=1, admit_per_minute=admit_per_minute)
    for at, number in enumerate(numbers):
        reference.replay(*joined(number, "QUEUED" if at else "READY"))
    reference.rules.max_active = max_active
    return reference


@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_a_line_counts_as_a_list_does(size: int) -> None:
    draw = random.Random(size)
    numbers = draw.sample(range(10 * size), size)
    line = PlainLine(numbers)
    while numbers:
        assert (len(line), line.first(), line.last()) == (len(numbers), numbers[0], numbers[-1])
        probe = draw.randrange(len(numbers))
        assert line.position(numbers[probe]) == probe + 1
        for gone in draw.sample(numbers, min(len(numbers), 97)):
            line.remove(gone)
            numbers.remove(gone)
            assert gone not in line
    assert (len(line), line.first(), line.last()) == (0, None, None)


def test_a_number_stands_in_a_line_once() -> None:
    line = PlainLine([1])
    with pytest.raises(ValueError, match="already"):
        line.append(1)


def test_positions_count_the_presale_then_the_lobby_then_the_rest() -> None:
    reference = reference_at(0)
    for number in (1, 2, 3):
        reference.replay(*joined(number, "LOBBY"))
    reference.rules.paused = True
    reference.pass_time(PRESALE_MS)
    reference.replay(*joined(4, "QUEUED"))
    reference.pass_time(OPENS_MS)
    reference.replay(*joined(5, "QUEUED"))
    assert [reference.position(number) for number in range(1, 6)] == [0, 0, 0, 1, 5]
    reference.replay([Move(2, "LEFT")], [Deed(Wish.LEAVE, 2)])
    reference.reveal([3, 2, 1])
    assert [reference.position(number) for number in range(1, 6)] == [3, 0, 2, 1, 4]
    assert reference.first_and_last() == [4, 4, 3, 1, 5, 5]


def test_nobody_of_the_line_behind_the_lobby_comes_in_before_the_draw() -> None:
    reference = reference_at(0)
    reference.replay(*joined(1, "LOBBY"))
    reference.pass_time(OPENS_MS)
    reference.replay(*joined(2, "QUEUED"))
    reference.check_settled()
    with pytest.raises(Difference, match="before None"):
        reference.replay([Move(2, "READY")])


@pytest.mark.parametrize(("entry_count", "listed"), [(3, [1, 2, 3]), (2, [1, 3]), (1, [3])])
def test_who_left_at_the_stroke_before_the_list_was_closed_is_not_in_it(
    entry_count: int, listed: list[int]
) -> None:
    reference = reference_at(0)
    for number in (1, 2, 3):
        reference.replay(*joined(number, "LOBBY"))
    reference.pass_time(OPENS_MS)
    for number in (2, 1):
        reference.replay([Move(number, "LEFT")], [Deed(Wish.LEAVE, number)])
    assert reference.list_of(entry_count) == listed
    reference.reveal(listed)
    assert reference.position(3) == 1


@pytest.mark.parametrize("order", [[1], [1, 2, 3], [1, 1], [2, 3], []])
def test_a_draw_of_others_is_a_difference(order: list[int]) -> None:
    reference = reference_at(0)
    for number in (1, 2):
        reference.replay(*joined(number, "LOBBY"))
    reference.pass_time(OPENS_MS)
    with pytest.raises(Difference, match="drawn"):
        reference.reveal(order)


def test_overtaking_is_a_difference() -> None:
    reference = line_of(1, 2, 3, max_active=2)
    with pytest.raises(Difference, match="3 was let in before 2"):
        reference.replay([Move(3, "READY")])


def test_one_too_many_inside_is_a_difference() -> None:
    reference = line_of(1, 2)
    with pytest.raises(Difference, match="1 of 1 are in"):
        reference.replay([Move(2, "READY")])


@pytest.mark.parametrize(("after_ms", "is_allowed"), [(59_999, False), (60_000, True)])
def test_the_rate_is_that_of_any_minute(after_ms: int, is_allowed: bool) -> None:
    reference = line_of(1, 2, max_active=9, admit_per_minute=1)
    reference.pass_time(OPENS_MS + after_ms)
    if is_allowed:
        reference.replay([Move(2, "READY")])
    else:
        with pytest.raises(Difference, match="1 since a minute, at most 1"):
            reference.replay([Move(2, "READY")])


def test_a_place_that_is_left_empty_is_a_difference() -> None:
    reference = line_of(1, 2)
    reference.check_settled()
    reference.rules.max_active = 2
    with pytest.raises(Difference, match="2 is not let in"):
        reference.check_settled()


@pytest.mark.parametrize(("after_ms", "is_due"), [(CLAIM_MS - 1, False), (CLAIM_MS, True)])
def test_a_lapse_is_neither_early_nor_forgotten(after_ms: int, is_due: bool) -> None:
    reference = line_of(1)
    reference.pass_time(OPENS_MS + after_ms)
    if is_due:
        with pytest.raises(Difference, match="0 ms overdue"):
            reference.check_settled()
        reference.replay([Move(1, "EXPIRED")])
    else:
        reference.check_settled()
        with pytest.raises(Difference, match="1 lapsed"):
            reference.replay([Move(1, "EXPIRED")])


@pytest.mark.parametrize(
    ("moves", "deeds"),
    [
        ([Move(9, "QUEUED", is_new=True)], []),
        ([Move(2, "LEFT")], []),
        ([Move(2, "EXPIRED")], []),
        ([], [Deed(Wish.LEAVE, 2)]),
        ([], [Deed(Wish.JOIN, 9)]),
        ([Move(9, "LOBBY", is_new=True)], [Deed(Wish.JOIN, 9)]),
        ([Move(9, "READY", is_new=True)], [Deed(Wish.JOIN, 9)]),
        ([], [Deed(Wish.JOIN, 9, "QUEUE_FULL")]),
        ([], [Deed(Wish.JOIN_AGAIN, 2)]),
        ([], [Deed(Wish.SHARE_DEVICE, 2)]),
        ([Move(9, "QUEUED", is_new=True)], [Deed(Wish.JOIN, 9, told=(3, 2))]),
        ([Move(9, "QUEUED", is_new=True)], [Deed(Wish.JOIN, 9, told=(2, 1))]),
        ([], [Deed(Wish.LEAVE, 9)]),
        ([], [Deed(Wish.CLAIM, 1)]),
        ([Move(2, "SHOPPING")], [Deed(Wish.CLAIM, 2)]),
    ],
)
def test_what_nobody_asked_for_and_what_was_not_done_is_a_difference(
    moves: list[Move], deeds: list[Deed]
) -> None:
    reference = line_of(1, 2)
    with pytest.raises(Difference):
        reference.replay(moves, deeds)


@pytest.mark.parametrize(("waiting", "refusal"), [(1, ""), (2, "QUEUE_FULL"), (3, "QUEUE_FULL")])
def test_a_full_room_refuses(waiting: int, refusal: str) -> None:
    reference = line_of(*range(waiting + 1))
    reference.rules.capacity = 2
    moves = [] if refusal else [Move(9, "QUEUED", is_new=True)]
    reference.replay(moves, [Deed(Wish.JOIN, 9, refusal, (waiting + 1, waiting + 1))])


def test_time_does_not_go_back() -> None:
    reference = reference_at(OPENS_MS)
    with pytest.raises(Difference, match="back by 1 ms"):
        reference.pass_time(OPENS_MS - 1)
