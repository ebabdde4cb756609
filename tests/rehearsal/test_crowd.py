"""The crowd: the same for the same seed, and each share as large as it was asked for."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace

from ticketd.rehearsal.crowd import CrowdPlan, Role, Shares, check_shares, make_crowd, parse_shares

PLAN = CrowdPlan(buyers=200, seed=7, shares=Shares(), arrive_seconds=10, think_seconds=1)


def test_the_same_seed_brings_the_same_crowd_and_another_one_another() -> None:
    assert make_crowd(PLAN) == make_crowd(PLAN)
    assert make_crowd(PLAN) != make_crowd(replace(PLAN, seed=8))


def test_shares_are_met_exactly() -> None:
    crowd = make_crowd(PLAN)
    assert Counter(person.role for person in crowd) == {
        Role.BUY: 150,
        Role.LEAVE: 20,
        Role.NEVER_CLAIM: 10,
        Role.LET_HOLD_LAPSE: 10,
        Role.DECLINE: 10,
    }
    assert sum(person.realtime for person in crowd) == 60


@pytest.mark.parametrize("buyers", [1, 2, 3, 7, 19, 33, 101])
@pytest.mark.parametrize("thirds", [33, 25, 1, 0])
def test_shares_add_up_whatever_the_size_of_the_crowd(buyers: int, thirds: int) -> None:
    shares = Shares(leave=thirds, never_claim=thirds, let_hold_lapse=thirds, decline=0)
    crowd = make_crowd(replace(PLAN, buyers=buyers, shares=shares))
    counted = Counter(person.role for person in crowd)
    assert counted.total() == buyers
    for role in (Role.LEAVE, Role.NEVER_CLAIM, Role.LET_HOLD_LAPSE):
        assert abs(counted[role] - buyers * thirds / 100) <= 1


def test_they_come_in_order_within_the_time() -> None:
    arrivals = [person.arrives_s for person in make_crowd(PLAN)]
    assert arrivals == sorted(arrivals)
    assert arrivals[0] >= 0
    assert arrivals[-1] <= 10
    assert [person.number for person in make_crowd(PLAN)] == list(range(200))


def test_everybody_and_nobody() -> None:
    everybody = make_crowd(
        replace(PLAN, shares=Shares(leave=100, never_claim=0, let_hold_lapse=0, decline=0))
    )
    assert {person.role for person in everybody} == {Role.LEAVE}
    nobody = make_crowd(
        replace(PLAN, shares=Shares(leave=0, never_claim=0, let_hold_lapse=0, decline=0, realtime=0))
    )
    assert {person.role for person in nobody} == {Role.BUY}
    assert not any(person.realtime for person in nobody)


def test_shares_are_read() -> None:
    assert parse_shares("", Shares()) == Shares()
    assert parse_shares("leave=0, let-hold-lapse=7,realtime=100", Shares()) == Shares(
        leave=0, let_hold_lapse=7, realtime=100
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("leave", "a whole number"),
        ("leave=x", "a whole number"),
        ("leave=-1", "a whole number"),
        ("leave=1.5", "a whole number"),
        ("buy=1", "is no share"),
        ("realtime=101", "0 to 100"),
        ("leave=86", "101 percent together"),
    ],
)
def test_shares_that_cannot_be_are_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_shares(text, Shares())


def test_a_hundred_percent_together_are_allowed() -> None:
    check_shares(Shares(leave=85))
    with pytest.raises(ValueError, match="-1"):
        check_shares(Shares(leave=-1))
