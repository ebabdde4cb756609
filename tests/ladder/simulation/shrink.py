"""A script that fails, cut down to what it fails of: delta debugging over its actions, then over the visits' steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec.structs import replace

from tests.ladder.simulation.run import Outcome
from tests.ladder.simulation.script import Action, Script, Visit

_T = TypeVar("_T")

Play = Callable[[Script], Outcome]


def shrink(script: Script, invariant: str, play: Play, *, seconds: float) -> Script:
    """The smallest script found within ``seconds`` of wall time that still breaks ``invariant``; no single action of it
    can be left out, nor a single step, if there was time to see to that. ``play`` plays a script."""
    end = time.monotonic() + seconds

    def fails(candidate: Script) -> bool:
        return time.monotonic() < end and invariant in play(candidate).invariants

    def with_actions(actions: Sequence[Action]) -> Script:
        return replace(script, actions=tuple(actions))

    actions = cut(script.actions, lambda some: fails(with_actions(some)))
    for at, action in enumerate(actions):
        if isinstance(action, Visit):

            def with_steps(steps: Sequence[object], at: int = at, visit: Visit = action) -> Script:
                shorter = [*actions[:at], replace(visit, steps=tuple(steps)), *actions[at + 1 :]]
                return with_actions(shorter)

            steps = cut(action.steps, lambda some, make=with_steps: fails(make(some)))  # type: ignore[misc]  # bound in the loop
            actions[at] = replace(action, steps=tuple(steps))
    return with_actions(actions)


def cut(items: Sequence[_T], fails: Callable[[Sequence[_T]], bool]) -> list[_T]:
    """A part of ``items`` that fails, of which nothing single can be left out (ddmin, Zeller and Hildebrandt 2002).
    ``fails`` is asked about parts alone; that all of them fail is taken for granted."""
    kept = list(items)
    parts = 2
    while kept:
        size = -(-len(kept) // parts)
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            if fails(rest):
                kept, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(parts * 2, len(kept))
    return kept
