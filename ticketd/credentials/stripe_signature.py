"""The signature of a webhook, as Stripe makes it: HMAC-SHA256 over the time, a dot and the body.

Source: https://docs.stripe.com/webhooks#verify-manually. That an event was not seen before does not belong here.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

MAX_SKEW_MS: Final = 300_000
"""A signature whose time is further away than this, before or after, is not taken."""
MAX_HEADER_CHARACTERS: Final = 4_096

_SCHEME: Final = "v1"
_MAX_DIGITS: Final = 12


def is_signed(secret: str, header: str, body: bytes, now_ms: int) -> bool:
    """Whether ``header`` (``t=SECONDS,v1=HEX,…``, of which one ``v1`` must be right) signs ``body`` with ``secret``, at
    a time that is at most five minutes from ``now_ms``. Compares in constant time."""
    if not header.isascii() or len(header) > MAX_HEADER_CHARACTERS:
        return False
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    if len(times) != 1 or not times[0].isdecimal() or len(times[0]) > _MAX_DIGITS:
        return False
    if abs(int(times[0]) * 1000 - now_ms) > MAX_SKEW_MS:
        return False
    wanted = hmac.new(secret.encode(), f"{times[0]}.".encode() + body, hashlib.sha256).hexdigest()
    sent = [value for name, _, value in parts if name == _SCHEME]
    return any(hmac.compare_digest(wanted, value) for value in sent)
