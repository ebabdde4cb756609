"""Rung 8: a mixed load for a long time, with slow and vanishing clients; what the daemon takes up must not grow."""

from __future__ import annotations

from typing import Final

from tests.ladder.rung import Rung
from tests.ladder.soak.soaking import climb

RUNG: Final = Rung(
    name="soak",
    summary="a mixed load with slow and vanishing clients: nothing that the daemon takes up grows",
    share=3,
    climb=climb,
)
