"""All rate limits of a daemon: which rules count a call, and what its caller is to be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from config.settings import RateLimitSettings
from ticketd.errors import ErrorCode, Refusal
from ticketd.rate_limits.callers import Callers
from ticketd.rate_limits.classes import RateClass
from ticketd.rate_limits.counting import HOUR_MS, MINUTE_MS, Rule, Window, pace_per_minute


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who is counted: ``credential`` names one caller and no other, in few bytes, since it is kept as it is.
    ``is_buyer``: by a user or an access token."""

    credential: bytes
    is_buyer: bool = False


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What the tightest of the limits says of a call, and what its caller is told."""

    rate: RateClass
    is_allowed: bool
    limit: int
    remaining: int
    reset_at_ms: int
    retry_after_seconds: int
    """How long a caller who keeps still has to wait for the next call to pass: 1 or more if this one is refused."""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """X-RateLimit-Limit, -Remaining and -Reset (Unix seconds, rounded up)."""
        return (
            ("X-RateLimit-Limit", str(self.limit)),
            ("X-RateLimit-Remaining", str(self.remaining)),
            ("X-RateLimit-Reset", str(_seconds_up(self.reset_at_ms))),
        )


def rules_of(settings: RateLimitSettings) -> dict[RateClass, Rule]:
    """The rule of every class but UNLIMITED."""
    per_minute = {
        RateClass.SEARCH: settings.search_per_minute,
        RateClass.EVENT_DETAILS: settings.event_details_per_minute,
        RateClass.SEAT_MAP: settings.seat_map_per_minute,
        RateClass.RESERVE: settings.reserve_per_minute,
        RateClass.JOIN: settings.join_per_minute,
        RateClass.SESSIONS: settings.sessions_per_minute,
        RateClass.ORDERS: settings.orders_per_minute,
        RateClass.TICKETS: settings.tickets_per_minute,
        RateClass.TRANSFERS: settings.transfers_per_minute,
        RateClass.REALTIME: settings.realtime_per_minute,
        RateClass.BOX_OFFICE: settings.box_office_per_minute,
        RateClass.WEBHOOKS: settings.webhooks_per_minute,
        RateClass.OPERATOR: settings.operator_per_minute,
        RateClass.OTHER: settings.other_per_minute,
    }
    rules: dict[RateClass, Rule] = {rate: Window(count, MINUTE_MS) for rate, count in per_minute.items()}
    rules[RateClass.QUEUE_STATUS] = pace_per_minute(
        settings.queue_status_per_minute, settings.queue_status_burst
    )
    rules[RateClass.TOKEN] = Window(settings.token_per_hour, HOUR_MS)
    return rules


class RateLimits:
    """Counts calls. ``on_refused`` is told the class that each refused call is refused for."""

    def __init__(self, settings: RateLimitSettings, on_refused: Callable[[RateClass], None]) -> None:
        self._is_enabled = settings.enabled
        self._rules: Mapping[RateClass, tuple[Rule, bytes]] = {
            rate: (rule, bytes((number,))) for number, (rate, rule) in enumerate(rules_of(settings).items())
        }
        self._callers = Callers(settings.max_callers)
        self._on_refused = on_refused

    @property
    def known_callers(self) -> int:
        """How many counts are kept: one for each caller and class."""
        return len(self._callers)

    def take(self, rate: RateClass, caller: Caller, now_ms: int) -> Verdict | None:
        """Counts one call in every limit that applies, also in those beside one that refuses it.

        The verdict is that of the tightest: one that refuses before one that does not, then the fewest remaining, then
        the latest reset. None where nothing is counted: UNLIMITED, or limits turned off.
        """
        if not self._is_enabled or rate is RateClass.UNLIMITED:
            return None
        verdict = self._take_one(rate, caller, now_ms)
        if not caller.is_buyer:
            return verdict
        over_all = self._take_one(RateClass.TOKEN, caller, now_ms)
        tightest, other = verdict, over_all
        if _tightness(other) < _tightness(tightest):
            tightest, other = other, tightest
        if other.retry_after_seconds <= tightest.retry_after_seconds:
            return tightest
        # A caller who comes again must be let through by both.
        return msgspec.structs.replace(tightest, retry_after_seconds=other.retry_after_seconds)

    def refusal(self, verdict: Verdict) -> Refusal:
        """RATE_LIMITED for a call that a verdict does not allow, which is counted as refused."""
        self._on_refused(verdict.rate)
        return Refusal(
            ErrorCode.RATE_LIMITED,
            details={
                "class": verdict.rate.value,
                "limit": verdict.limit,
                "retry_after_seconds": verdict.retry_after_seconds,
            },
            retry_after_seconds=verdict.retry_after_seconds,
        )

    def _take_one(self, rate: RateClass, caller: Caller, now_ms: int) -> Verdict:
        rule, number = self._rules[rate]
        key = number + caller.credential
        taken = rule.take(self._callers.find(key), now_ms)
        self._callers.keep(key, taken.state, now_ms)
        wait_ms = taken.retry_at_ms - now_ms
        return Verdict(
            rate,
            taken.is_allowed,
            rule.limit,
            taken.remaining,
            taken.reset_at_ms,
            _seconds_up(wait_ms) if wait_ms else 0,
        )


def _tightness(verdict: Verdict) -> tuple[bool, int, int]:
    return verdict.is_allowed, verdict.remaining, -verdict.reset_at_ms


def _seconds_up(milliseconds: int) -> int:
    return -(-milliseconds // 1000)
