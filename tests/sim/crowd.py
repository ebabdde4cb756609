"""Who comes when, and what each of them does: drawn for each buyer from the seed and the buyer's number alone.

So the same seed gives the same crowd, however the room's own tasks run in between.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, NamedTuple

from tests.sim.reference import Rules

SECOND_MS: Final = 1000
MINUTE_MS: Final = 60_000

LOBBY_MS: Final = 0
PRESALE_MS: Final = 10 * MINUTE_MS
OPENS_MS: Final = 15 * MINUTE_MS
LAST_JOIN_MS: Final = 25 * MINUTE_MS
CLAIM_MS: Final = 30 * SECOND_MS
ACCESS_MS: Final = 90 * SECOND_MS
HOLD_MS: Final = 60 * SECOND_MS

OVER_THE_API: Final = 300
"""About so many buyers of any crowd speak through the whole way of a request."""


class Life(NamedTuple):
    """What one buyer does. Times of one's own are counted from the step before; None: never."""

    joins_ms: int
    gives_up_ms: int | None
    claims_ms: int | None
    ends_ms: int | None
    orders: bool
    reserves: bool
    releases: bool


@dataclass(frozen=True)
class Crowd:
    """So many buyers, by a seed."""

    joiners: int
    seed: int

    def rules(self, start_ms: int) -> Rules:
        """A room that this crowd fills: by turns its places, its rate and its capacity are what keeps people out."""
        return Rules(
            presale_ms=start_ms + PRESALE_MS,
            opens_ms=start_ms + OPENS_MS,
            capacity=max(self.joiners * 7 // 10, 10),
            max_active=max(self.joiners * 6 // 100, 5),
            admit_per_minute=max(self.joiners // 10, 10),
            claim_ms=CLAIM_MS,
            access_ms=ACCESS_MS,
        )

    def life(self, number: int) -> Life:
        """The life of a buyer, numbers from 0."""
        draw = random.Random(self.seed << 32 | number)
        kind = draw.random()
        if kind < 0.3:
            joins_ms = draw.randint(LOBBY_MS + 1, PRESALE_MS - 1)
        elif kind < 0.4:
            joins_ms = draw.randint(PRESALE_MS, OPENS_MS - 1)
        elif kind < 0.85:
            # Some at the very stroke, while the lobby is being opened.
            joins_ms = OPENS_MS + max(0, draw.randrange(-3 * SECOND_MS, MINUTE_MS))
        else:
            joins_ms = draw.randint(OPENS_MS + MINUTE_MS, LAST_JOIN_MS)
        return Life(
            joins_ms=joins_ms,
            gives_up_ms=self._patience_ms(draw, joins_ms),
            # A few come a moment too late.
            claims_ms=draw.randrange(CLAIM_MS + 500) if draw.random() < 0.92 else None,
            ends_ms=draw.randrange(ACCESS_MS + SECOND_MS) if draw.random() < 0.75 else None,
            orders=draw.random() < 0.7,
            reserves=draw.random() < 0.01,
            releases=draw.random() < 0.6,
        )

    @staticmethod
    def _patience_ms(draw: random.Random, joins_ms: int) -> int | None:
        dice = draw.random()
        if dice < 0.02 and joins_ms < OPENS_MS:
            return OPENS_MS - joins_ms
        return draw.randrange(10 * MINUTE_MS) if dice < 0.12 else None

    def speaks_over_the_api(self, number: int) -> bool:
        """Whether the buyer's requests take the whole way."""
        return number % max(self.joiners // OVER_THE_API, 7) == 0
