"""The two ways of counting calls. Each is a pure function of a caller's state, one integer, and the time.

An integer takes a fifth of the memory of an object with fields, and there may be a great many callers. A clock that
was set back never locks a caller out for longer than one that stood still would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS

_CALL_BITS: Final = 20
_CALL_MASK: Final = (1 << _CALL_BITS) - 1
MOST_CALLS: Final = 1_000_000
"""The largest limit of a window: it must fit into ``_CALL_BITS``."""


class Taken(msgspec.Struct, frozen=True, gc=False):
    """What became of one call.

    ``state`` is the caller's from now on. ``remaining``: how many calls would pass now. ``reset_at_ms``: when the whole
    limit is free again. ``retry_at_ms``: when the next call passes if the caller keeps still until then; now or earlier
    if there is no need to wait.
    """

    state: int
    is_allowed: bool
    remaining: int
    reset_at_ms: int
    retry_at_ms: int


class Rule(Protocol):
    """A limit."""

    @property
    def limit(self) -> int:
        """How many calls, as callers are told."""

    def take(self, state: int | None, now_ms: int) -> Taken:
        """Counts one call. ``state`` is what the one before left, None for a caller's first."""


@dataclass(frozen=True, slots=True)
class Window:
    """At most ``limit`` calls (1 to 1,000,000) in a window of ``length_ms`` that begins with the caller's first call.

    At its end nothing of it is left: the next call begins another one. A refused call changes nothing.
    """

    limit: int
    length_ms: int

    def __post_init__(self) -> None:
        if not (1 <= self.limit <= MOST_CALLS and self.length_ms >= 1):
            raise ValueError("a window takes 1 to 1,000,000 calls in 1 ms or more")

    def take(self, state: int | None, now_ms: int) -> Taken:
        began_ms, calls = now_ms, 0
        if state is not None and state >> _CALL_BITS <= now_ms < (state >> _CALL_BITS) + self.length_ms:
            began_ms, calls = state >> _CALL_BITS, state & _CALL_MASK
        ends_ms = began_ms + self.length_ms
        is_allowed = calls < self.limit
        calls += is_allowed
        remaining = self.limit - calls
        retry_at_ms = now_ms if remaining else ends_ms
        return Taken(began_ms << _CALL_BITS | calls, is_allowed, remaining, ends_ms, retry_at_ms)


@dataclass(frozen=True, slots=True)
class Pace:
    """One call every ``interval_ms`` for ever, and up to ``burst`` of them at once after a rest (GCRA).

    A caller owes an interval for each call and pays by time; a call passes while at most ``burst - 1`` intervals are
    owed. Refused calls cost too: the first one after a call that passed costs one interval more, the rest nothing. So
    who calls out of turn is slowed, and still no caller, however wild, waits longer than two intervals from one call
    that passes to the next.
    """

    limit: int
    interval_ms: int
    burst: int

    def __post_init__(self) -> None:
        if self.interval_ms < 1 or self.burst < 1:
            raise ValueError("a pace has an interval of 1 ms or more and a burst of 1 call or more")

    def take(self, state: int | None, now_ms: int) -> Taken:
        interval_ms, burst_ms = self.interval_ms, self.burst * self.interval_ms
        owed_ms, was_refused = 0, False
        if state is not None:
            owed_ms, was_refused = (state >> 1) - now_ms, bool(state & 1)
            if owed_ms < 0:
                owed_ms = 0
            elif owed_ms > burst_ms:
                # Nobody owes more than a whole burst and what a refusal costs, unless the clock was set back.
                owed_ms = min(owed_ms, burst_ms + was_refused * interval_ms)
        is_allowed = owed_ms < burst_ms - interval_ms + 1
        if is_allowed or not was_refused:
            owed_ms += interval_ms
        wait_ms = owed_ms + interval_ms - burst_ms
        return Taken(
            (now_ms + owed_ms) << 1 | (not is_allowed),
            is_allowed,
            (burst_ms - owed_ms) // interval_ms if owed_ms < burst_ms else 0,
            now_ms + owed_ms,
            now_ms + wait_ms if wait_ms > 0 else now_ms,
        )


def pace_per_minute(count: int, burst: int) -> Pace:
    """``count`` calls a minute, evenly: who keeps to that exactly is never refused."""
    return Pace(limit=count, interval_ms=MINUTE_MS // count, burst=burst)
