from __future__ import annotations

import itertools
import time
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from ticketd.ids import IdSource, RandomPool, new_id_text, uuid7


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


@given(st.lists(st.integers(1, 16), max_size=60))
def test_random_bytes_of_a_pool_are_given_out_once(takes: list[int]) -> None:
    fetched: list[bytes] = []

    def fetch(count: int) -> bytes:
        # Each fetch and each place in it has a byte of its own.
        fetched.append(bytes(len(fetched) << 4 | at for at in range(count)))
        return fetched[-1]

    pool = RandomPool(fetch, pool_bytes=16)
    taken = [pool.take(count) for count in takes[:15]]
    assert [len(one) for one in taken] == takes[:15]
    given_out = b"".join(taken)
    assert len(set(given_out)) == len(given_out)


def test_the_text_of_a_new_id_is_a_uuid7_of_now() -> None:
    before_ms = time.time_ns() // 1_000_000
    texts = [new_id_text() for _ in range(2000)]
    made = [UUID(text) for text in texts]
    assert [str(one) for one in made] == texts
    assert len(set(made)) == len(made)
    for one in made:
        assert (one.version, one.variant) == (7, "specified in RFC 4122")
        assert before_ms <= one.int >> 80 <= time.time_ns() // 1_000_000
    # Every bit that may be random is so.
    ones, zeroes = 0, 0
    for one in made:
        ones, zeroes = ones | one.int, zeroes | ~one.int
    assert ones & zeroes & (2**76 - 1) == (2**76 - 1) & ~(3 << 62)
