from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from ticketd.ids import IdSource, uuid7


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_a_uuid7_has_its_form_and_its_time(at_ms: int, random: bytes) -> None:
    made = uuid7(at_ms, random)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == at_ms


@given(st.lists(st.integers(0, 5), min_size=2, max_size=50), st.randoms(use_true_random=False))
def test_ids_sort_as_they_were_made_whatever_the_clock_does(steps: list[int], random: object) -> None:
    times = itertools.cycle(step * 1_000_000 for step in steps)
    source = IdSource(lambda: next(times), lambda count: bytes(random.randrange(256) for _ in range(count)))  # type: ignore[attr-defined]  # a random.Random
    made = [source.new_id() for _ in range(len(steps) * 2)]
    assert made == sorted(set(made))
    assert all(one.version == 7 for one in made)
