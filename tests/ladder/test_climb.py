"""The frame of the ladder: how time is split, and that nothing that a rung finds, or fails to prove, goes unsaid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.ladder import climb as climbing
from tests.ladder.__main__ import main
from tests.ladder.rung import Budget, Finding, Rung, Verdict
from tests.ladder.rungs import NAMES, rung_named, split_seconds

BUDGETS: dict[str, Budget] = {}


def _passes(budget: Budget) -> Verdict:
    BUDGETS["passes"] = budget
    assert list(budget.folder.iterdir()) == []
    return Verdict(figures={"operations": 12_345, "seconds_a_turn": 0.25})


def _finds(budget: Budget) -> Verdict:
    finding = Finding(
        what="a seat was sold\ntwice", repeat=f"scripts/ladder --rung finds --seed {budget.seed}"
    )
    return Verdict(figures={}, findings=(finding,))


def _proves_nothing(_: Budget) -> Verdict:
    return Verdict(figures={"operations": 3}, void="too few operations: 3 of 100")


def _fails(_: Budget) -> Verdict:
    raise RuntimeError("there is no strace here")


RUNGS = {
    name: Rung(name=name, summary=f"it {name}", share=share, climb=climb)
    for name, share, climb in (
        ("passes", 3, _passes),
        ("finds", 1, _finds),
        ("voids", 1, _proves_nothing),
        ("fails", 1, _fails),
    )
}


@pytest.fixture(autouse=True)
def folders_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(climbing, "rung_named", RUNGS.__getitem__)


def test_every_rung_of_the_table_is_there_under_its_name() -> None:
    rungs = [rung_named(name) for name in NAMES]
    assert tuple(rung.name for rung in rungs) == NAMES
    assert all(rung.share > 0 and rung.summary for rung in rungs)


def test_time_is_split_by_shares() -> None:
    assert split_seconds([RUNGS["passes"], RUNGS["finds"]], 60) == {"passes": 45, "finds": 15}
    assert split_seconds([RUNGS["passes"], RUNGS["finds"]], 2) == {"passes": 1.5, "finds": 1}


def test_a_rung_that_passes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    verdicts = climbing.climb(["passes"], 60, 7)
    assert (BUDGETS["passes"].seconds, BUDGETS["passes"].seed) == (60, 7)
    assert list(tmp_path.iterdir()) == []
    assert climbing.tell(verdicts) == climbing.PASSED
    said = capsys.readouterr().out
    assert "12,345" in said
    assert "0.25" in said


def test_what_was_found_is_told_with_the_command_that_repeats_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert climbing.tell(climbing.climb(["voids", "finds"], 60, 7)) == climbing.FOUND
    said = capsys.readouterr().out
    assert "FOUND: a seat was sold\n     twice\n     repeat: scripts/ladder --rung finds --seed 7" in said
    assert "1 found" in said


def test_a_rung_that_proved_nothing_has_not_passed(capsys: pytest.CaptureFixture[str]) -> None:
    assert climbing.tell(climbing.climb(["passes", "voids"], 60, 7)) == climbing.PROVED_NOTHING
    said = capsys.readouterr().out
    assert "VOID: it proved nothing: too few operations: 3 of 100" in said
    assert "PROVED NOTHING: voids" in said


def test_a_rung_that_fails_by_itself_is_a_finding_and_the_next_one_is_climbed(tmp_path: Path) -> None:
    verdicts = climbing.climb(["fails", "passes"], 60, 7)
    (finding,) = verdicts["fails"].findings
    assert "there is no strace here" in finding.what
    assert finding.repeat == "scripts/ladder --rung fails --seed 7 --minutes 0.25"
    assert verdicts["passes"].passed
    assert climbing.tell(verdicts) == climbing.FOUND
    assert [folder.name.startswith("ladder-fails-") for folder in tmp_path.iterdir()] == [True]


def test_verdicts_are_written_as_json(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.json"
    climbing.write_verdicts(climbing.climb(["passes", "voids"], 60, 7), file)
    written = json.loads(file.read_bytes())
    assert written["passes"] == {
        "figures": {"operations": 12_345, "seconds_a_turn": 0.25},
        "findings": [],
        "void": None,
    }
    assert written["voids"]["void"] == "too few operations: 3 of 100"


def test_the_command_climbs_writes_and_ends_with_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(RUNGS, NAMES[0], replace(RUNGS["finds"], name=NAMES[0]))
    file = tmp_path / "verdicts.json"
    arguments = ["--rung", NAMES[0], "--minutes", "0.5", "--seed", "7", "--json", str(file)]
    assert main(arguments) == climbing.FOUND
    assert "(30 s, seed 7)" in capsys.readouterr().out
    assert list(json.loads(file.read_bytes())) == [NAMES[0]]


def test_the_command_lists_all_rungs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == climbing.PASSED
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(NAMES)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--minutes", "soon"], "type one such as 60, or 0.5"),
        (["--minutes", "0"], "type one such as 60, or 0.5"),
        (["--minutes", "nan"], "type one such as 60, or 0.5"),
        (["--seed", "-1"], "type a whole number"),
        (["--seed", "x"], "type a whole number"),
        (["--json", "/nowhere/x.json"], "type a file in a folder that is there"),
        (["--json", "/"], "type a file in a folder that is there"),
        (["--rung", "rope"], "invalid choice"),
        (["--plant"], "unrecognized arguments"),
    ],
)
def test_a_wrong_command_line_tells_what_to_type(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert told in said
    assert "usage: scripts/ladder" in said
