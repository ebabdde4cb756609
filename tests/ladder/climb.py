"""A climb: the rungs one after another, each with its part of the time and a folder of its own, and its verdict.

A rung that fails by itself has found something too: that is said with its traceback, and the climb goes on.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.ladder.rung import Budget, Finding, Rung, Verdict
from tests.ladder.rungs import plants_of, rung_named, split_seconds
from tests.support.planting import assert_found

PASSED: Final = 0
FOUND: Final = 1
PROVED_NOTHING: Final = 3
"""2 is a wrong command line."""


def climb(names: Sequence[str], seconds: float, seed: int) -> dict[str, Verdict]:
    """Climbs the rungs of these names in so many seconds of wall time together; prints how each ended."""
    rungs = [rung_named(name) for name in names]
    seconds_of = split_seconds(rungs, seconds)
    verdicts = {}
    for rung in rungs:
        print(f"== {rung.name}: {rung.summary} ({seconds_of[rung.name]:.0f} s, seed {seed})", flush=True)
        began = time.monotonic()
        verdicts[rung.name] = _climb_one(rung, seconds_of[rung.name], seed)
        print(_told(verdicts[rung.name], time.monotonic() - began), flush=True)
    return verdicts


def _climb_one(rung: Rung, seconds: float, seed: int) -> Verdict:
    """What a rung leaves in its folder is kept if it has found something."""
    folder = Path(tempfile.mkdtemp(prefix=f"ladder-{rung.name}-"))
    try:
        verdict = rung.climb(Budget(seconds=seconds, seed=seed, folder=folder))
    except Exception:  # whatever it is, the other rungs are still to be climbed
        what = f"the rung itself failed\n{_shortened(traceback.format_exc())}"
        verdict = Verdict(figures={}, findings=(Finding(what=what, repeat=repeat(rung.name, seconds, seed)),))
    if verdict.findings:
        print(f"   what it left behind is in {folder}")
    else:
        shutil.rmtree(folder)
    return verdict


def _shortened(trace: str) -> str:
    """Both ends of a traceback: that of a group of errors repeats itself."""
    lines = trace.splitlines()
    return "\n".join(lines if len(lines) <= 60 else [*lines[:40], "...", *lines[-20:]])


def repeat(name: str, seconds: float, seed: int) -> str:
    """The command that climbs one rung in the same way again."""
    return f"scripts/ladder --rung {name} --seed {seed} --minutes {seconds / 60:.3g}"


def _told(verdict: Verdict, took_seconds: float) -> str:
    width = max((len(name) for name in verdict.figures), default=0)
    lines = [f"   {name:{width}}  {_figure(value)}" for name, value in verdict.figures.items()]
    for finding in verdict.findings:
        what = finding.what.replace("\n", "\n     ")
        lines += [f"   FOUND: {what}", f"     repeat: {finding.repeat}"]
    if verdict.void is not None:
        lines.append(f"   VOID: it proved nothing: {verdict.void}")
    return "\n".join([*lines, f"   {outcome(verdict)} in {took_seconds:.0f} s"])


def _figure(value: float | str) -> str:
    """Large numbers with their thousands apart, fractions with four digits that count."""
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    return value if isinstance(value, str) else f"{value:,.0f}"


def outcome(verdict: Verdict) -> str:
    """How it ended, in a word or two."""
    if verdict.findings:
        return f"{len(verdict.findings)} found"
    return "passed" if verdict.void is None else "VOID"


def tell(verdicts: dict[str, Verdict]) -> int:
    """Prints all rungs on a line each; the exit status of the climb."""
    width = max((len(name) for name in verdicts), default=0)
    print("\nthe climb:")
    for name, verdict in verdicts.items():
        figures = ", ".join(f"{key} {_figure(value)}" for key, value in verdict.figures.items())
        print(f"  {name:{width}}  {outcome(verdict):8}  {figures}")
    void = [name for name, verdict in verdicts.items() if verdict.void is not None]
    if void:
        print(f"\nPROVED NOTHING: {', '.join(void)}: see above for what is missing")
    if any(verdict.findings for verdict in verdicts.values()):
        return FOUND
    return PROVED_NOTHING if void else PASSED


def write_verdicts(verdicts: dict[str, Verdict], file: Path) -> None:
    """Writes the verdicts as JSON, by the rungs' names."""
    file.write_bytes(msgspec.json.format(msgspec.json.encode(verdicts)) + b"\n")


def plant_all(names: Sequence[str]) -> int:
    """Plants every bug of these rungs, each in a copy of its own; the exit status, by whether all were found."""
    missed = []
    for name in names:
        for bug, plant in plants_of(name).items():
            print(f"== {name}: {bug}", flush=True)
            began = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="ladder-planted-") as folder:
                try:
                    assert_found(plant, Path(folder) / "tree")
                except AssertionError as error:
                    missed.append(f"{name}: {bug}")
                    print(f"   MISSED: {error}", flush=True)
                    continue
            print(f"   found in {time.monotonic() - began:.0f} s", flush=True)
    if missed:
        print("\nMISSED:", *missed, sep="\n  ")
        return FOUND
    print("\nevery planted bug was found")
    return PASSED
