"""What is known of each caller, by a short key: bounded in number, so that no crowd fills the memory.

Two generations. Who calls is in the young one; when that is full, or has lasted longer than any count matters, it
becomes the old one and the old one is forgotten. So those are forgotten first who have not called for the longest, at
no cost to the others, and a caller who is pushed out begins anew.
"""

from __future__ import annotations

from typing import Final

GENERATION_MS: Final = 2 * 3_600_000
"""Longer than every window and every debt."""


class Callers:
    """States of at most ``most`` callers (2 or more, else ValueError)."""

    def __init__(self, most: int) -> None:
        if most < 2:
            raise ValueError("there must be room for two callers")
        self._half = most // 2
        self._young: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}
        self._young_since_ms = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def find(self, key: bytes) -> int | None:
        """The caller's state; None for one who is not known."""
        state = self._young.get(key)
        return state if state is not None else self._old.get(key)

    def keep(self, key: bytes, state: int, now_ms: int) -> None:
        """Remembers a caller's state."""
        if not 0 <= now_ms - self._young_since_ms < GENERATION_MS:
            self._turn(now_ms)
        if key not in self._young:
            if len(self._young) >= self._half:
                self._turn(now_ms)
            self._old.pop(key, None)
        self._young[key] = state

    def _turn(self, now_ms: int) -> None:
        self._old, self._young, self._young_since_ms = self._young, {}, now_ms
