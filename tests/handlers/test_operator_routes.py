"""The operator's lines of the table, as far as they follow from each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from handlers.endpoint import OPERATING, Door, Endpoint
from handlers.operator_routes import OPERATOR_ENDPOINTS
from handlers.routes import ENDPOINTS

OPERATING_PAGE = Path(__file__).resolve().parents[2] / "docs" / "operating.md"


def name(line: Endpoint) -> str:
    return f"{line.method} {line.path}"


@pytest.mark.parametrize("line", OPERATOR_ENDPOINTS, ids=name)
def test_a_line_of_the_operator_is_behind_the_operators_door_alone(line: Endpoint) -> None:
    assert line in ENDPOINTS
    assert line.path.startswith("/v1/operator/")
    assert line.door is Door.OPERATOR
    assert line.credential is OPERATING


def test_no_other_line_is_behind_that_door() -> None:
    assert {line for line in ENDPOINTS if line.door is Door.OPERATOR} == set(OPERATOR_ENDPOINTS)


@pytest.mark.parametrize("line", OPERATOR_ENDPOINTS, ids=name)
def test_what_answers_a_secret_keeps_no_outcome(line: Endpoint) -> None:
    secret = line.name in {"create_api_key", "create_user_token"}
    assert line.idempotent == (line.method in {"POST", "DELETE"} and not secret)


@pytest.mark.parametrize("line", OPERATOR_ENDPOINTS, ids=name)
def test_every_line_is_in_the_page_for_operators(line: Endpoint) -> None:
    path = line.path.replace("/events/{event_id}/unblock", "/unblock")
    assert path.removeprefix("/v1/operator") in OPERATING_PAGE.read_text()
