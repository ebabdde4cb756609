"""Which limits count a call, which of them speaks, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from config.settings import RateLimitSettings
from ticketd.errors import ErrorCode
from ticketd.rate_limits.classes import RateClass
from ticketd.rate_limits.limits import Caller, RateLimits, Verdict, rules_of

NOW = 1_784_000_000_500
SHOP = Caller(b"key at 198.51.100.1")
BUYER = Caller(b"buyer", is_buyer=True)


class Counted(RateLimits):
    """Limits, the classes of refusals that were counted, and a shorter way to ask."""

    def __init__(self, **settings: Any) -> None:
        self.refused: list[RateClass] = []
        super().__init__(RateLimitSettings(**settings), self.refused.append)

    def call(self, rate: RateClass, caller: Caller = SHOP, at_ms: int = 0) -> Verdict:
        verdict = self.take(rate, caller, NOW + at_ms)
        assert verdict is not None
        return verdict


def test_every_class_but_the_unlimited_has_its_rule() -> None:
    assert set(rules_of(RateLimitSettings())) == set(RateClass) - {RateClass.UNLIMITED}


def test_upgrades_and_messages_of_a_websocket_have_their_limits() -> None:
    settings = RateLimitSettings()
    assert rules_of(settings)[RateClass.REALTIME].limit == 20
    assert settings.realtime_messages_per_minute == 120


def test_every_setting_of_a_limit_is_in_force() -> None:
    counts = {name: n for n, name in enumerate(sorted(RateLimitSettings.__struct_fields__), 2000)}
    for name in ("enabled", "queue_status_burst", "max_callers", "realtime_messages_per_minute"):
        del counts[name]
    settings = RateLimitSettings(**counts)  # type: ignore[arg-type]  # all that are left are whole numbers
    limits = {rate.value: rule.limit for rate, rule in rules_of(settings).items()}
    assert limits == {name.partition("_per_")[0]: count for name, count in counts.items()}


def test_classes_and_callers_do_not_share_a_count() -> None:
    limits = Counted(search_per_minute=1, other_per_minute=1)
    assert limits.call(RateClass.SEARCH).is_allowed
    assert limits.call(RateClass.OTHER).is_allowed
    assert limits.call(RateClass.SEARCH, Caller(b"another")).is_allowed
    assert not limits.call(RateClass.SEARCH).is_allowed
    assert limits.known_callers == 3


def test_the_headers_round_the_end_of_the_window_up() -> None:
    limits = Counted(search_per_minute=2)
    verdict = limits.call(RateClass.SEARCH)
    assert verdict.headers == (
        ("X-RateLimit-Limit", "2"),
        ("X-RateLimit-Remaining", "1"),
        ("X-RateLimit-Reset", "1784000061"),
    )
    assert verdict.retry_after_seconds == 0
    limits.call(RateClass.SEARCH)
    waits = [limits.call(RateClass.SEARCH, at_ms=at).retry_after_seconds for at in (0, 1, 1000, 59_999)]
    assert waits == [60, 60, 59, 1]


def test_a_refusal_says_which_class_and_when_to_come_again() -> None:
    limits = Counted(reserve_per_minute=1)
    limits.call(RateClass.RESERVE)
    refusal = limits.refusal(limits.call(RateClass.RESERVE))
    assert refusal.code is ErrorCode.RATE_LIMITED
    assert refusal.retry_after_seconds == 60
    assert refusal.details == {"class": "reserve", "limit": 1, "retry_after_seconds": 60}
    assert limits.refused == [RateClass.RESERVE]


def test_the_fewest_remaining_speaks() -> None:
    limits = Counted(search_per_minute=5, token_per_hour=3)
    verdicts = [limits.call(RateClass.SEARCH, BUYER) for _ in range(4)]
    assert [(one.rate, one.remaining) for one in verdicts] == [
        (RateClass.TOKEN, 2),
        (RateClass.TOKEN, 1),
        (RateClass.TOKEN, 0),
        (RateClass.TOKEN, 0),
    ]
    limits = Counted(search_per_minute=3, token_per_hour=5)
    assert limits.call(RateClass.SEARCH, BUYER).rate is RateClass.SEARCH


def test_with_as_many_remaining_the_latest_reset_speaks() -> None:
    limits = Counted(search_per_minute=3, token_per_hour=3)
    verdict = limits.call(RateClass.SEARCH, BUYER)
    assert (verdict.rate, verdict.reset_at_ms) == (RateClass.TOKEN, NOW + 3_600_000)


def test_what_refuses_speaks_before_what_resets_later() -> None:
    limits = Counted(search_per_minute=1, token_per_hour=2)
    limits.call(RateClass.SEARCH, BUYER)
    verdict = limits.call(RateClass.SEARCH, BUYER)
    # Of the hour this was the last call, so that coming again after the minute would be in vain.
    assert (verdict.rate, verdict.is_allowed, verdict.retry_after_seconds) == (RateClass.SEARCH, False, 3600)


def test_a_call_refused_by_one_limit_counts_in_the_other() -> None:
    limits = Counted(search_per_minute=1, token_per_hour=3)
    assert [limits.call(RateClass.SEARCH, BUYER).is_allowed for _ in range(3)] == [True, False, False]
    verdict = limits.call(RateClass.OTHER, BUYER)
    assert (verdict.rate, verdict.is_allowed) == (RateClass.TOKEN, False)


def test_only_buyers_are_counted_over_all() -> None:
    limits = Counted(token_per_hour=1)
    assert all(limits.call(RateClass.OTHER).is_allowed for _ in range(5))


@pytest.mark.parametrize("caller", [SHOP, BUYER])
def test_turned_off_nothing_is_counted(caller: Caller) -> None:
    limits = Counted(enabled=False, search_per_minute=1)
    assert [limits.take(RateClass.SEARCH, caller, NOW) for _ in range(3)] == [None] * 3
    assert limits.known_callers == 0


def test_what_is_unlimited_is_not_counted() -> None:
    limits = Counted()
    assert limits.take(RateClass.UNLIMITED, BUYER, NOW) is None
    assert limits.known_callers == 0


def test_many_callers_stay_within_the_bound_and_who_is_pushed_out_begins_anew() -> None:
    limits = Counted(search_per_minute=1, max_callers=1000)
    assert limits.call(RateClass.SEARCH).is_allowed
    for number in range(5000):
        limits.call(RateClass.SEARCH, Caller(b"%d" % number))
        assert limits.known_callers <= 1000
    assert limits.call(RateClass.SEARCH).is_allowed
