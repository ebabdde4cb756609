"""The short form of the rung of kills, and how credits of time are judged."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.ladder.kills import FEWEST_KILLS, RUNG
from tests.ladder.kills.credit import check_credit
from tests.ladder.rung import Budget
from tests.ladder.sale.recording import Operation

SEED = 1
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
LIVES = [0.0, 10.0, 20.0]
DOWN = 700


def test_killed_again_and_again_the_daemon_loses_nothing_that_it_told(tmp_path: Path) -> None:
    verdict = RUNG.climb(Budget(seconds=5, seed=SEED, folder=tmp_path))
    assert verdict.findings == ()
    assert verdict.void is None
    assert int(verdict.figures["kills"]) >= FEWEST_KILLS


def looked_at(number: int, at: float, end_seconds: int, *, replayed: bool = False) -> Operation:
    """A hold that was looked at, and then ended so many seconds after noon."""
    end = (NOON + timedelta(seconds=end_seconds)).isoformat().replace("+00:00", "Z")
    return Operation(
        number=number,
        kind="look_at_hold",
        buyer="buyer",
        method="GET",
        target="/",
        body=None,
        key=None,
        invoked=at,
        completed=at + 0.1,
        status=200,
        answer=json.dumps({"reservation_id": "hold", "expires_at": end}).encode(),
        replayed=replayed,
    )


@pytest.mark.parametrize(
    ("at", "end_seconds", "fine"),
    [
        (5.0, 0, True),
        (5.0, 5, False),
        (12.0, 0, False),
        (12.0, DOWN - 5, False),
        (12.0, DOWN, True),
        (12.0, DOWN + 10, True),
        (12.0, DOWN + 30, False),
        (25.0, DOWN, False),
        (25.0, 2 * DOWN + 1, True),
    ],
)
def test_an_end_moves_by_the_time_that_nobody_lived(at: float, end_seconds: int, fine: bool) -> None:
    operations = [looked_at(1, 1.0, 0), looked_at(2, at, end_seconds)]
    assert (list(check_credit(operations, LIVES, DOWN)) == []) is fine


def test_an_answer_that_is_repeated_tells_of_its_first_time() -> None:
    operations = [looked_at(1, 1.0, 0), looked_at(2, 12.0, 0, replayed=True), looked_at(3, 13.0, DOWN)]
    assert list(check_credit(operations, LIVES, DOWN)) == []
