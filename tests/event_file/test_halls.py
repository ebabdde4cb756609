"""What holds over a whole hall."""

from __future__ import annotations

from tests.event_file.good_files import GOOD
from tests.event_file.samples import parsed
from ticketd.event_file.bounds import MAX_SEATS
from ticketd.event_file.faults import Faults
from ticketd.event_file.halls import SeatBudget


def test_the_budget_is_used_up_to_the_last_seat_and_told_once() -> None:
    faults = Faults()
    budget = SeatBudget(faults)
    assert budget.take("a", MAX_SEATS - 1)
    assert budget.take("b", 1)
    assert faults.count == 0
    assert not budget.take("c", 1)
    assert not budget.take("d", 1)
    assert not budget.take("e", 0)
    (fault,) = faults.refusal().faults
    assert fault.where == "c"


def test_the_largest_hall_has_all_its_seats() -> None:
    assert parsed(GOOD["most seats"]).seat_count == MAX_SEATS
