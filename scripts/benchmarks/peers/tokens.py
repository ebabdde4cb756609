"""Tokens and device hashes: what the endpoints mint, and the benchmark for the buyers it begins with."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

import jwt


@dataclass(frozen=True, slots=True)
class Place:
    """What a queue or an access token says."""

    user_id: str
    event_id: str
    entry_id: str


def hash_device(fingerprint: str) -> str:
    """The device as it stands in a token."""
    return hashlib.sha256(fingerprint.encode()).hexdigest()


def mint(secret: str, kind: str, place: Place, device_hash: str, ttl_seconds: int = 86_400) -> str:
    """A token of the kind ``queue`` or ``access``."""
    now = int(time.time())
    claims = {
        "aud": f"ticketd:{kind}",
        "sub": place.user_id,
        "jti": place.entry_id,
        "iat": now,
        "exp": now + ttl_seconds,
        "event_id": place.event_id,
        "entry_id": place.entry_id,
        "device": device_hash,
    }
    return jwt.encode(claims, secret, "HS256")
