"""The short form of the model: walks by a seed for volume, and Hypothesis, which looks for small ways to fail."""

from __future__ import annotations

import tempfile
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.ladder.model.bare import REFUSALS, SEATS, USERS, Bare
from tests.ladder.model.product import Product
from tests.ladder.model.rung import RUNG
from tests.ladder.model.walk import LIMITS, Pair, Step, steps, walk_bare
from tests.ladder.rung import Budget

_USERS: Final = st.integers(0, USERS - 1)
_SEATS: Final = st.integers(0, SEATS - 1)


def test_climb(tmp_path: Path) -> None:
    verdict = RUNG.climb(Budget(seconds=8, seed=4, folder=tmp_path))
    print(verdict.figures)
    assert verdict.passed, verdict
    # Nearly all refusals that there are; a sale that is sold out is rare.
    assert int(verdict.figures["kinds_of_refusals"]) >= len(REFUSALS) - 3


def test_the_bare_model_walks_the_same_way_alone(tmp_path: Path) -> None:
    seed, count = 5, 2_000
    alone = walk_bare(seed, count)
    limit = LIMITS[seed % len(LIMITS)]
    product = Product(tmp_path, limit)
    pair = Pair(Bare(limit), product)
    for step in islice(steps(seed), count):
        pair.take(step)
    product.close()
    assert (alone.now, alone.seats, alone.states) == (pair.bare.now, pair.bare.seats, pair.bare.states)
    assert (alone.admitted, alone.order_count) == (pair.bare.admitted, pair.bare.order_count)


class Machine(RuleBasedStateMachine):
    """The model and the product side by side, over a real store."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._product = Product(Path(self._folder.name), 2)
        self._pair = Pair(Bare(2), self._product)
        self._steps: Counter[str] = Counter()

    def _take(self, name: str, user: int, *arguments: object, passes_ms: int = 0) -> None:
        self._pair.take(Step(name, user, arguments, passes_ms))
        self._steps[name] += 1

    @rule(user=_USERS)
    def comes_in(self, user: int) -> None:
        self._take("join", user)
        self._take("claim", user)

    @rule(name=st.sampled_from(("join", "leave", "claim", "release", "pay", "cancel")), user=_USERS)
    def asks(self, name: str, user: int) -> None:
        self._take(name, user)

    @rule(user=_USERS, first=_SEATS, count=st.integers(1, 3))
    def reserves(self, user: int, first: int, count: int) -> None:
        self._take("reserve", user, tuple((first + further) % SEATS for further in range(count)))

    @rule(name=st.sampled_from(("authorised", "refused", "captured")), user=_USERS)
    def is_answered_by_the_gateway(self, name: str, user: int) -> None:
        self._take(name, user)

    @rule(name=st.sampled_from(("block", "unblock")), seat=_SEATS)
    def blocks(self, name: str, seat: int) -> None:
        self._take(name, -1, seat)

    @rule(max_active=st.integers(1, 4), rate=st.integers(1, 8), paused=st.booleans())
    def sets_the_room(self, max_active: int, rate: int, paused: bool) -> None:
        self._take("set_room", -1, max_active, rate, paused)

    @rule(passes_ms=st.sampled_from((1, 999, 15_000, 59_999, 60_000, 90_000, 240_000)), user=_USERS)
    def waits(self, passes_ms: int, user: int) -> None:
        self._take("captured", user, passes_ms=passes_ms)

    @invariant()
    def agrees(self) -> None:
        self._pair.compare()

    def teardown(self) -> None:
        problems = self._product.problems()
        self._product.close()
        self._folder.cleanup()
        assert problems == []


def test_hypothesis_finds_no_difference() -> None:
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=25, stateful_step_count=30, deadline=None, derandomize=True)
    )
