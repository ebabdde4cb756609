"""New ids and seeds. They are made outside the transitions, which must be pure, and come in with each command."""

from __future__ import annotations

import os
import random
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


class RandomPool:
    """Random bytes of the system's, fetched some hundred ids' worth at a time: asking for each costs a system call.

    Bytes are given out once. Not for two threads at once; a process must not be forked with bytes in it.
    """

    def __init__(self, fetch: Callable[[int], bytes] = os.urandom, pool_bytes: int = 4096) -> None:
        self._fetch = fetch
        self._pool_bytes = pool_bytes
        self._pool = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        """So many random bytes, at most ``pool_bytes``."""
        at, end = self._at, self._at + count
        if end > len(self._pool):
            self._pool = self._fetch(self._pool_bytes)
            at, end = 0, count
        self._at = end
        return self._pool[at:end]


class IdSource:
    """Makes ids that sort in the order in which they were made, also within one millisecond and when the clock steps
    back. Not for two threads at once."""

    def __init__(
        self, now_ns: Callable[[], int] = time.time_ns, fetch: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._now_ns = now_ns
        self._random = fetch
        self._newest = 0

    def new_id(self) -> UUID:
        """A new UUIDv7, above all those before it."""
        fresh = uuid7(self._now_ns() // 1_000_000, self._random(10)).int
        self._newest = fresh if fresh > self._newest else self._newest + 1
        return UUID(int=self._newest)


_random: Final = RandomPool()
_noise: Final = random.Random(os.urandom(32)).getrandbits  # noqa: S311 -- for what need not be secret

new_id: Final = IdSource(fetch=_random.take).new_id
"""A new UUIDv7 of now, above all those that this process made before."""


def new_id_text() -> str:
    """The text of a UUIDv7 of now, for what is only shown, such as a request's id: not above those before it, and not
    hard to guess."""
    at_ms, noise = time.time_ns() // 1_000_000, _noise(74)
    return (
        f"{at_ms >> 16:08x}-{at_ms & 0xFFFF:04x}-{0x7000 | noise >> 62:04x}"
        f"-{0x8000 | noise >> 48 & 0x3FFF:04x}-{noise & 0xFFFF_FFFF_FFFF:012x}"
    )


def new_seed() -> bytes:
    """A new secret of 32 random bytes, for a draw."""
    return os.urandom(SEED_BYTES)
