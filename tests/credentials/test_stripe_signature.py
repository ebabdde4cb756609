"""Signatures of webhooks: what is taken, and each way in which one is not."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from ticketd.credentials.stripe_signature import MAX_HEADER_CHARACTERS, is_signed

SECRET = "whsec_test"
BODY = b'{"id": "evt_1"}'
NOW_MS = 1_800_000_000_500
SECONDS = NOW_MS // 1000


def mac(seconds: int = SECONDS, body: bytes = BODY, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    "header",
    [
        f"t={SECONDS},v1={mac()}",
        f"t={SECONDS}, v1={mac()}",
        f"v1={mac()},t={SECONDS}",
        f"t={SECONDS},v1={'0' * 64},v1={mac()}",
        f"t={SECONDS},v1={mac()},v0=anything",
    ],
)
def test_what_is_signed(header: str) -> None:
    assert is_signed(SECRET, header, BODY, NOW_MS)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=",
        mac(),
        f"v1={mac()}",
        f"t={SECONDS}",
        f"t={SECONDS},v0={mac()}",
        f"t={SECONDS},v1={mac()[:-1]}",
        f"t={SECONDS},v1={mac().upper()}",
        f"t={SECONDS},v1={mac(body=b'{}')}",
        f"t={SECONDS},v1={mac(secret='whsec_other')}",
        f"t={SECONDS + 1},v1={mac()}",
        f"t={SECONDS},t={SECONDS},v1={mac()}",
        f"t=-{SECONDS},v1={mac()}",
        f"t={'9' * 4000},v1={mac()}",
        f"t={SECONDS}\u00e9,v1={mac()}",
        f"t={SECONDS},v1=\u00e9",
        f"t={SECONDS},v1={mac()}," + "x" * MAX_HEADER_CHARACTERS,
    ],
)
def test_what_is_not(header: str) -> None:
    assert not is_signed(SECRET, header, BODY, NOW_MS)


@pytest.mark.parametrize(
    ("off_ms", "is_taken"),
    [
        (-300_001, False),
        (-300_000, True),
        (-299_999, True),
        (299_999, True),
        (300_000, True),
        (300_001, False),
    ],
)
def test_the_bounds_of_its_time(off_ms: int, is_taken: bool) -> None:
    header = f"t={SECONDS},v1={mac()}"
    assert is_signed(SECRET, header, BODY, SECONDS * 1000 + off_ms) is is_taken
