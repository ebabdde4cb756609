"""Rung 7: whatever is sent, no fault of the daemon's is answered, none ends it, and nothing of it stays."""

from __future__ import annotations

from typing import Final

from tests.ladder.fuzz.fuzzing import climb
from tests.ladder.rung import Rung

RUNG: Final = Rung(
    name="fuzz",
    summary="requests, WebSockets, tokens, event files that are nearly right: no 5xx, no crash, no growth",
    share=2,
    climb=climb,
)
