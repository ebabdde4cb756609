"""A short fuzz of the real daemon at every front, and what is made of how it was after each round."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.ladder.fuzz import RUNG
from tests.ladder.fuzz.cases import FEWEST_CASES
from tests.ladder.fuzz.event_files import nearly as nearly_a_file
from tests.ladder.fuzz.event_files import read_file
from tests.ladder.fuzz.fuzzing import FRONTS, MIB, PARTS, grown
from tests.ladder.fuzz.tokens import nearly as nearly_a_token
from tests.ladder.house import Vitals
from tests.ladder.rung import Budget

AT_REST = Vitals(
    own_memory_bytes=80 * MIB,
    descriptors=18,
    tasks=32,
    reader_slots=1,
    file_bytes=MIB,
    free_bytes=0,
    websockets=0,
    commands=9,
    processor_seconds=1.0,
)


def test_what_came_back_to_where_it_was_has_not_grown() -> None:
    assert grown([AT_REST, replace(AT_REST, tasks=35, descriptors=15), AT_REST]) == []


@pytest.mark.parametrize("name", ["descriptors", "tasks", "reader_slots", "websockets"])
def test_what_did_not_come_back_has(name: str) -> None:
    later = replace(AT_REST, **{name: getattr(AT_REST, name) + 4})
    assert grown([AT_REST, later]) == [f"{name} grew from {getattr(AT_REST, name)} to {getattr(later, name)}"]


def test_memory_that_grows_in_every_round_is_told() -> None:
    looks = [replace(AT_REST, own_memory_bytes=(80 + 4 * number) * MIB) for number in range(12)]
    (told,) = grown(looks)
    assert told.startswith("own memory grew by ")
    assert grown(looks[:4]) == []


def test_a_token_that_is_nearly_right_is_made_by_the_seed_alone_and_seldom_the_right_one() -> None:
    one, other = ("eyJhbGciOiJIUzI1NiIsImtpZCI6ImEifQ.eyJzdWIiOiJ4In0.AAAA", "eyJhIjoxfQ.eyJiIjoyfQ.BBBB")
    made = [nearly_a_token(random.Random(seed), one, other) for seed in range(500)]
    assert made == [nearly_a_token(random.Random(seed), one, other) for seed in range(500)]
    assert len(set(made)) > 150
    assert made.count(one) < 50


def test_files_that_are_nearly_right_are_some_right_some_wrong_and_some_no_json() -> None:
    made = [nearly_a_file(random.Random(seed)) for seed in range(200)]
    assert made == [nearly_a_file(random.Random(seed)) for seed in range(200)]
    unreadable = 0
    for data in made:
        try:
            json.loads(data)
        except (ValueError, RecursionError):
            unreadable += 1
    assert 5 < unreadable < 60


def test_files_that_are_nearly_right_are_read_or_refused() -> None:
    for seed in range(300):
        data = nearly_a_file(random.Random(seed))
        assert read_file(data)[1] is None, data


def test_a_short_fuzz_of_the_real_daemon_finds_nothing(tmp_path: Path) -> None:
    verdict = RUNG.climb(Budget(seconds=8, seed=1, folder=tmp_path))
    assert not verdict.findings
    for front in FRONTS:
        for part in PARTS:
            assert int(verdict.figures[f"{front}_{part.name.replace(' ', '_')}"]) >= FEWEST_CASES
