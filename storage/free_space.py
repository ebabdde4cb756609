"""How much is free on the disk that a file lies on, looked at often by asking the system rarely."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

LOOK_SECONDS: Final = 1.0
"""For so long an answer of the system's is taken for true."""


def free_bytes(path: Path) -> int:
    """What somebody without privileges may still write to the disk of ``path``. Raises OSError."""
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


class FreeSpace:
    """The free space of the disk of ``path``, at most a second old. ``now`` counts seconds and never goes back.

    Making one asks the system and may raise OSError; where it does not answer later, what it said last is kept.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._now = now
        self._looked_at = now()
        self._bytes = free_bytes(path)

    def bytes(self) -> int:
        """The free space; asks the system once a second at most."""
        now = self._now()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            with suppress(OSError):
                self._bytes = free_bytes(self._path)
        return self._bytes
