"""New ids. They are made outside the transitions, which must be pure, and come in with each command."""

from __future__ import annotations

import os
import time
from uuid import UUID

_VERSION_7 = 0x7 << 76
_VARIANT_RFC = 0x2 << 62


def uuid7(at_ms: int, random: bytes) -> UUID:
    """A UUIDv7 (RFC 9562): 48 bits of ``at_ms``, then 74 bits of ``random`` (at least 10 bytes). Sorts by time."""
    noise = int.from_bytes(random[:10], "big")
    value = (at_ms & (2**48 - 1)) << 80 | (noise >> 68 & 0xFFF) << 64 | noise & (2**62 - 1)
    return UUID(int=value | _VERSION_7 | _VARIANT_RFC)


def new_id() -> UUID:
    """A new UUIDv7 of now."""
    return uuid7(time.time_ns() // 1_000_000, os.urandom(10))
