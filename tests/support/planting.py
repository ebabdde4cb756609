"""Bugs that are planted in a copy of the tree, where something must find them: the proof of what is to prove.

A plant names the text that it changes, who must find it (a test, or a rung of the ladder in its short form), and what
the finder says of it, so that a copy that fails for another reason is not taken for one in which the bug was found.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final

import msgspec

ROOT: Final = Path(__file__).resolve().parent.parent.parent
FOLDERS: Final = ("config", "handlers", "scripts", "storage", "tests", "ticketd")
FILES: Final = ("pyproject.toml", "README.md")
PATIENCE_SECONDS: Final = 600
_IN_THE_MAKING: Final = shutil.ignore_patterns("*.pyc.*")
"""What another process is just writing, and will have renamed before it is copied."""


class Plant(msgspec.Struct, frozen=True, kw_only=True):
    """In ``file`` the text ``right``, which is there once, becomes ``wrong``.

    Either ``test``, by its id from the root of the tree, must fail, once, or ``rung`` must find something in so many
    ``seconds`` with this ``seed``. ``told`` is a part of what either says then. ``sample``: cheap enough (a few
    seconds) to be planted in every run of the tests.
    """

    file: str
    right: str
    wrong: str
    told: str
    test: str | None = None
    rung: str | None = None
    seconds: float = 10
    seed: int = 1
    sample: bool = False


class Missed(AssertionError):
    """A planted bug was not found, or something else was found in its place."""


def assert_plantable(plant: Plant) -> None:
    """Raises AssertionError if what is to be changed does not stand once in its file, or nobody is to find it."""
    assert (ROOT / plant.file).read_text().count(plant.right) == 1, f"{plant.file} has changed: plant it anew"
    assert plant.right != plant.wrong
    assert plant.told, "what the finder says"
    assert (plant.test is None) != (plant.rung is None), "a test or a rung must find it"
    if plant.test is not None:
        assert (ROOT / plant.test.partition("::")[0]).is_file(), f"{plant.test} is not there"


def assert_found(plant: Plant, copy: Path) -> None:
    """Plants the bug in ``copy``, a folder that is not there yet, and has it found.

    Raises Missed, with all that the finder said, if it was not found; AssertionError if it cannot be planted.
    """
    assert_plantable(plant)
    plant_in_copy(plant, copy)
    if plant.test is not None:
        _have_test_fail(plant, plant.test, copy)
    elif plant.rung is not None:
        _have_rung_find(plant, plant.rung, copy)


def plant_in_copy(plant: Plant, copy: Path) -> None:
    """Copies the tree to ``copy``, with the bug in it.

    What was compiled is copied along, and stays valid since files keep their times; that of the changed file is not.
    """
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=_IN_THE_MAKING)
    for file in FILES:
        shutil.copy(ROOT / file, copy / file)
    planted = copy / plant.file
    planted.write_text(planted.read_text().replace(plant.right, plant.wrong))
    for compiled in Path(cache_from_source(str(planted))).parent.glob(f"{planted.stem}.*"):
        compiled.unlink()


def _have_test_fail(plant: Plant, test: str, copy: Path) -> None:
    run = _run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", test)
    said = run.stdout + run.stderr
    if run.returncode != 1 or "1 failed" not in run.stdout or plant.told not in run.stdout:
        raise Missed(f"{test} had to fail once and tell of {plant.told!r}\n{said}")


def _have_rung_find(plant: Plant, rung: str, copy: Path) -> None:
    """The rung says that it has found something by its exit status, and what by its verdict."""
    verdicts = copy / "verdicts.json"
    run = _run(
        copy,
        *("-m", "tests.ladder", "--rung", rung, "--seed", str(plant.seed)),
        *("--minutes", str(plant.seconds / 60), "--json", str(verdicts)),
    )
    said = run.stdout + run.stderr
    findings = verdicts.read_text() if verdicts.exists() else ""
    if run.returncode != 1 or plant.told not in _findings(findings):
        raise Missed(f"{rung} had to find something and tell of {plant.told!r}\n{said}")


def _findings(verdicts: str) -> str:
    """What was found, a line each, of the JSON that ``scripts/ladder --json`` writes."""
    if not verdicts:
        return ""
    read = msgspec.json.decode(verdicts, type=dict[str, dict[str, msgspec.Raw]])
    found = [
        msgspec.json.decode(verdict["findings"], type=list[dict[str, str]])
        for verdict in read.values()
        if "findings" in verdict
    ]
    return "\n".join(finding["what"] for several in found for finding in several)


def _run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
