"""Percentiles, and what lies in which ten seconds."""

from __future__ import annotations

import pytest

from ticketd.rehearsal.measurements import Measurements, Outcome, percentile


@pytest.mark.parametrize(
    ("count", "percent", "found"),
    [
        (0, 50, 0),
        (1, 50, 1),
        (1, 99, 1),
        (2, 50, 1),
        (100, 50, 50),
        (100, 99, 99),
        (101, 99, 100),
        (100, 100, 100),
    ],
)
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(
    count: int, percent: float, found: float
) -> None:
    assert percentile([float(value) for value in range(1, count + 1)], percent) == found


def test_windows_of_ten_seconds() -> None:
    now = [50.0]
    notes = Measurements(lambda: now[0])
    for at_s in (0.0, 9.99, 10.0, 25.0):
        now[0] = 50.0 + at_s
        notes.note_let_in()
        notes.note_outcome(Outcome.BOUGHT)
        notes.note_outcome(Outcome.LEFT)
    assert notes.let_in_by_bucket == {0: 2, 1: 1, 2: 1}
    assert notes.done_by_bucket == {0: 2, 1: 1, 2: 1}
    assert notes.outcomes == {Outcome.BOUGHT: 4, Outcome.LEFT: 4}


def test_grown_positions_are_all_counted_and_some_written_out() -> None:
    notes = Measurements(lambda: 0.0)
    for number in range(25):
        notes.note_grown(number, 1, 2)
    assert notes.grown_count == 25
    assert len(notes.grown) == 20
