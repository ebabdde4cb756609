"""How the judge is set to behave; changed over ``/_judge/settings`` and ``/_judge/webhook``, and kept in its file."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

AUTHORISATION_SECONDS = 7 * 86_400
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``ahead_seconds`` sets the judge's clock. ``rate_per_second`` bounds the calls of each endpoint in each second of
    that clock; a test account of Stripe's has 25."""

    ahead_seconds: int = 0
    search_lag_seconds: Seconds = 60
    latency_seconds: Seconds = 0
    authorisation_seconds: int = AUTHORISATION_SECONDS
    rate_per_second: Annotated[int, msgspec.Meta(ge=1)] | None = None
    declines_on_attach: bool = True


class Delivery(enum.StrEnum):
    """How webhooks come. REVERSED gathers what happens within a window and then sends the newest first; NEVER sends
    what is ordered one by one."""

    NORMAL = "normal"
    TWICE = "twice"
    LATE = "late"
    REVERSED = "reversed"
    NEVER = "never"


class Webhooks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where events go. ``late_seconds`` is for LATE, ``window_seconds`` for REVERSED.

    ``skew_seconds`` moves the signature's time, ``created_skew_seconds`` the event's own. ``types`` are the events
    wanted, ``*`` for all.
    """

    url: str | None = None
    secret: str = "whsec_judge"
    delivery: Delivery = Delivery.NORMAL
    late_seconds: Seconds = 5
    window_seconds: Seconds = 1
    skew_seconds: int = 0
    created_skew_seconds: int = 0
    types: tuple[str, ...] = ("*",)
    most_tries: int = 16
    retry_seconds: Seconds = 0.5
