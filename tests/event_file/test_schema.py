"""The JSON Schema: it stands beside the parser and says the same."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from tests.event_file.bad_files import BAD_FILES, Bad
from tests.event_file.bad_halls import BAD_HALLS
from tests.event_file.good_files import GOOD
from tests.event_file.samples import DATA, DEMO
from ticketd.event_file.schema import event_schema, read_schema_file, schema_text

VALIDATOR = Draft202012Validator(event_schema())


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(event_schema())


def test_the_file_is_what_is_made() -> None:
    assert read_schema_file().decode() == schema_text(), "python -m ticketd.event_file.schema makes it anew"
    assert json.loads(read_schema_file()) == event_schema()


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_fits(name: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(GOOD[name])] == []


@pytest.mark.parametrize("bad", BAD_FILES + BAD_HALLS, ids=lambda bad: bad.name)
def test_what_is_wrong_is_seen_where_a_schema_can(bad: Bad) -> None:
    assert VALIDATOR.is_valid(bad.document) != bad.schema_sees


@pytest.mark.parametrize("name", ["arena", "theatre", "club"])
def test_the_demo_files_fit(name: str) -> None:
    assert VALIDATOR.is_valid(json.loads((DEMO / f"{name}.json").read_bytes()))


def test_a_real_seating_plan_fits() -> None:
    document = {
        **{name: value for name, value in GOOD["least"].items() if name != "sections"},
        "seating_plan": json.loads((DATA / "seatmap-canvas-stadium.pretix.json").read_bytes()),
    }
    assert VALIDATOR.is_valid(document)
