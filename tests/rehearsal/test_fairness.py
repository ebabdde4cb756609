"""Who was overtaken, by ranks and times alone."""

from __future__ import annotations

from ticketd.rehearsal.fairness import Standing, find_overtaken


def stood(rank: int, admitted: int | None = None, ended: int | None = None) -> Standing:
    return Standing(rank=rank, admitted_at_ms=admitted, ended_at_ms=ended)


def test_in_order_and_at_the_same_time_is_fair() -> None:
    assert find_overtaken([]) == []
    assert find_overtaken([stood(1, 10), stood(2, 10), stood(3, 11), stood(4)]) == []
    assert find_overtaken([stood(3, 11), stood(1, 10), stood(2, 11)]) == []


def test_a_swap_is_found() -> None:
    (fault,) = find_overtaken([stood(1, 11), stood(2, 10), stood(3, 12)])
    assert fault == "number 1 in line still waited when number 2 was let in"


def test_who_waits_on_is_overtaken() -> None:
    (fault,) = find_overtaken([stood(1, 10), stood(2), stood(3, 12)])
    assert "number 2" in fault


def test_everybody_who_was_overtaken_is_named() -> None:
    assert len(find_overtaken([stood(1), stood(2), stood(3, 20), stood(4, 10)])) == 3


def test_who_left_before_was_not_overtaken() -> None:
    assert find_overtaken([stood(1, None, 9), stood(2, None, 10), stood(3, 10)]) == []
    (fault,) = find_overtaken([stood(1, None, 9), stood(2, None, 11), stood(3, 10)])
    assert "number 2" in fault


def test_what_became_of_the_visit_does_not_matter() -> None:
    assert find_overtaken([stood(1, 10, 500), stood(2, 11, 12)]) == []
