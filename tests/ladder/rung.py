"""What a rung of the ladder is: one way of trying to break the product, with a budget, a seed, and a verdict.

A rung lives in a file or a folder of its own beside this one; the table of them is ``tests.ladder.rungs``. Each has a
short form among the ordinary tests (``test_<rung>.py`` here) and a long form behind ``scripts/ladder``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

Figure = int | float | str


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What a rung may use up.

    ``seconds``: of wall time, 1 or more; a rung ends soon after. ``seed``: all that is random follows from it.
    ``folder``: an empty folder of the rung's own, for stores and recordings.
    """

    seconds: float
    seed: int
    folder: Path


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that should not be: what, and the command that shows it again."""

    what: str
    repeat: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a rung ended: its figures by name (with the unit in the name), and what it found.

    ``void`` is the reason why nothing was proved (too few operations, a tool that is missing); such a run has not
    passed.
    """

    figures: dict[str, Figure]
    findings: tuple[Finding, ...] = ()
    void: str | None = None

    @property
    def passed(self) -> bool:
        """Whether something was proved and nothing was found."""
        return self.void is None and not self.findings


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """One rung. ``share`` is its part of a whole climb's time, in proportion to the others'."""

    name: str
    summary: str
    share: float
    climb: Callable[[Budget], Verdict]
