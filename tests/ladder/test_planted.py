"""Planted bugs: every rung has some, each can still be planted, and those that are cheap to find are found here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ladder.rungs import NAMES, plants_of
from tests.support.planting import Missed, Plant, assert_found, assert_plantable

PLANTS = {f"{name}: {bug}": plant for name in NAMES for bug, plant in plants_of(name).items()}
SAMPLE = [bug for bug, plant in PLANTS.items() if plant.sample]


@pytest.mark.parametrize("name", NAMES)
def test_every_rung_has_a_planted_bug_and_at_most_one_of_them_in_the_sample(name: str) -> None:
    plants = plants_of(name)
    assert plants
    assert sum(plant.sample for plant in plants.values()) <= 1


@pytest.mark.parametrize("bug", PLANTS)
def test_a_bug_can_still_be_planted(bug: str) -> None:
    assert_plantable(PLANTS[bug])


@pytest.mark.parametrize("bug", SAMPLE)
def test_a_planted_bug_is_found(tmp_path: Path, bug: str) -> None:
    assert_found(PLANTS[bug], tmp_path / "tree")


HARMLESS = Plant(
    file="tests/ladder/test_climb.py",
    right='"""The frame of the ladder: ',
    wrong='"""The frame of a ladder: ',
    told="a bug",
    test="tests/ladder/test_climb.py::test_time_is_split_by_shares",
)
HARMFUL = Plant(
    file="tests/ladder/rungs.py",
    right="seconds * rung.share / shares",
    wrong="seconds / shares",
    told="a bug",
    test="tests/ladder/test_climb.py::test_time_is_split_by_shares",
)


@pytest.mark.parametrize("plant", [HARMLESS, HARMFUL], ids=["is not found", "is found for another reason"])
def test_a_bug_is_missed_that(tmp_path: Path, plant: Plant) -> None:
    with pytest.raises(Missed):
        assert_found(plant, tmp_path / "tree")


@pytest.mark.parametrize(
    "changes",
    [
        {"right": "a text that stands nowhere"},
        {"right": "seconds"},
        {"wrong": "seconds * rung.share / shares"},
        {"told": ""},
        {"test": None},
        {"rung": "fuzz"},
        {"test": "tests/ladder/test_that_is_gone.py::test_it"},
    ],
    ids=str,
)
def test_a_plant_that_has_rotted_is_told(changes: dict[str, str | None]) -> None:
    fields = {name: getattr(HARMFUL, name) for name in HARMFUL.__struct_fields__}
    assert_plantable(HARMFUL)
    with pytest.raises(AssertionError):
        assert_plantable(Plant(**{**fields, **changes}))
