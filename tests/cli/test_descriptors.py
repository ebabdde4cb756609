"""The bound on open files."""

from __future__ import annotations

import resource

import pytest
from structlog.testing import capture_logs

from ticketd.cli.descriptors import OTHERS, raise_descriptor_limit


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The bounds of a system that allows 1,000 and at most 5,000; what is set is added."""
    found = [(1000, 5000)]
    monkeypatch.setattr(resource, "getrlimit", lambda which: found[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: found.append(pair))
    return found


@pytest.mark.parametrize(("over", "told"), [(-1, 0), (0, 0), (1, 1)])
def test_it_is_raised_and_told_if_that_is_too_little(
    over: int, told: int, limits: list[tuple[int, int]]
) -> None:
    with capture_logs() as logs:
        raise_descriptor_limit(5000 - OTHERS + over)
    assert limits == [(1000, 5000), (5000, 5000)]
    assert [entry["event"] for entry in logs] == ["descriptors.too_few"] * told


def test_what_is_as_high_as_it_may_be_is_left_alone(limits: list[tuple[int, int]]) -> None:
    limits[:] = [(5000, 5000)]
    raise_descriptor_limit(100)
    assert limits == [(5000, 5000)]


def test_no_bound_is_enough(limits: list[tuple[int, int]]) -> None:
    limits[:] = [(1000, resource.RLIM_INFINITY)]
    with capture_logs() as logs:
        raise_descriptor_limit(1_000_000)
    assert limits[-1] == (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert logs == []
