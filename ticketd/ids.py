"""New ids and seeds. They are made outside the transitions, which must be pure, and come in with each command."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

from storage.schema.draws import SEED_BYTES

_VERSION_7 = 0x7 << 76
_VARIANT_RFC = 0x2 << 62


def uuid7(at_ms: int, random: bytes) -> UUID:
    """A UUIDv7 (RFC 9562): 48 bits of ``at_ms``, then 74 bits of ``random`` (at least 10 bytes). Sorts by time."""
    noise = int.from_bytes(random[:10], "big")
    value = (at_ms & (2**48 - 1)) << 80 | (noise >> 68 & 0xFFF) << 64 | noise & (2**62 - 1)
    return UUID(int=value | _VERSION_7 | _VARIANT_RFC)


class IdSource:
    """Makes ids that sort in the order in which they were made, also within one millisecond and when the clock steps
    back. Not for two threads at once."""

    def __init__(
        self, now_ns: Callable[[], int] = time.time_ns, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._now_ns = now_ns
        self._random = random
        self._newest = 0

    def new_id(self) -> UUID:
        """A new UUIDv7, above all those before it."""
        fresh = uuid7(self._now_ns() // 1_000_000, self._random(10)).int
        self._newest = fresh if fresh > self._newest else self._newest + 1
        return UUID(int=self._newest)


new_id: Final = IdSource().new_id
"""A new UUIDv7 of now, above all those that this process made before."""


def new_seed() -> bytes:
    """A new secret of 32 random bytes, for a draw."""
    return os.urandom(SEED_BYTES)
