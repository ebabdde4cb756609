"""The short form of the simulation, and that it can be relied on: it repeats exactly, and cuts down what fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.ladder.rung import Budget
from tests.ladder.simulation.run import Outcome, play
from tests.ladder.simulation.rung import RUNG
from tests.ladder.simulation.script import (
    Crash,
    Operate,
    Script,
    Step,
    Visit,
    decode_script,
    encode_script,
    write_script,
)
from tests.ladder.simulation.shrink import cut, shrink

ROOT = Path(__file__).resolve().parents[2]


def test_climb(tmp_path: Path) -> None:
    verdict = RUNG.climb(Budget(seconds=15, seed=1, folder=tmp_path))
    print(verdict.figures)
    assert verdict.passed, verdict
    assert min(int(verdict.figures[name]) for name in ("crashes", "restarts", "heard", "verified")) > 0


def test_a_script_repeats_exactly_in_another_process_too(tmp_path: Path) -> None:
    script = write_script(7, minutes=12)
    file = tmp_path / "script.json"
    file.write_bytes(encode_script(script))
    assert decode_script(file.read_bytes()) == script
    here = play(script)
    assert here.problems == ()
    for hash_seed in ("0", "4711"):
        there = subprocess.run(
            [sys.executable, "-m", "tests.ladder.simulation", str(file)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert there.returncode == 0, there.stdout + there.stderr
        assert there.stdout.splitlines()[0] == f"trace {here.trace}"


def test_another_seed_is_another_history() -> None:
    assert play(write_script(8, minutes=3)).trace != play(write_script(9, minutes=3)).trace


def test_a_script_that_fails_is_cut_down_to_what_it_fails_of() -> None:
    script = write_script(1, minutes=30)
    crash = next(action for action in script.actions if isinstance(action, Crash))
    visit = next(
        action
        for action in script.actions
        if isinstance(action, Visit) and Step("pay") in [Step(step.do) for step in action.steps]
    )

    def fails_of_a_payment_and_a_crash(played: Script) -> Outcome:
        steps = [
            step.do
            for action in played.actions
            if action == visit or isinstance(action, Visit)
            for step in action.steps
        ]
        broken = crash in played.actions and "pay" in steps
        return Outcome(
            trace="",
            problems=("x",) if broken else (),
            invariants=("x",) if broken else (),
            figures={},
            sale_seconds=0,
            cpu_seconds=0,
        )

    small = shrink(script, "x", fails_of_a_payment_and_a_crash, seconds=60)
    (kept,) = [action for action in small.actions if isinstance(action, Visit)]
    assert [step.do for step in kept.steps] == ["pay"]
    assert [action for action in small.actions if not isinstance(action, Visit)] == [crash]
    assert not any(isinstance(action, Operate) for action in small.actions)


@pytest.mark.parametrize("wanted", [[], [0], [7], [3, 60], [1, 2, 98, 99], list(range(0, 100, 9))])
def test_what_is_left_is_what_fails(wanted: list[int]) -> None:
    def fails(part: Sequence[int]) -> bool:
        return set(wanted) <= set(part)

    assert cut(range(100), fails) == wanted
