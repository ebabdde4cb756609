"""The table of the ladder's rungs, in the order in which they are climbed, and how each is come by.

A rung is the module or package ``tests.ladder.<name>`` with its ``RUNG``; the bugs that it must find are the
``PLANTS`` of ``tests.ladder.planted.<name>``. Only those that are asked for are imported, so that what one rung needs
stands in no other's way.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Final

from tests.ladder.rung import Rung
from tests.support.planting import Plant

NAMES: Final[tuple[str, ...]] = (
    # One line a rung.
    "simulation",
    "model",
    "history",
    "power_cuts",
    "system_calls",
    "kills",
    "fuzz",
    "soak",
)


def rung_named(name: str) -> Rung:
    """The rung of this name, which is one of ``NAMES``."""
    rung: Rung = import_module(f"tests.ladder.{name}").RUNG
    return rung


def plants_of(name: str) -> dict[str, Plant]:
    """The bugs that the rung of this name must find, each by its own name."""
    plants: dict[str, Plant] = import_module(f"tests.ladder.planted.{name}").PLANTS
    return plants


def split_seconds(rungs: Iterable[Rung], seconds: float) -> dict[str, float]:
    """What each of the rungs has of so many seconds, by its share; none has less than one."""
    rungs = list(rungs)
    shares = sum(rung.share for rung in rungs)
    return {rung.name: max(seconds * rung.share / shares, 1) for rung in rungs}
