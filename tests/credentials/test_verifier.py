from __future__ import annotations

from uuid import UUID

import jwt
import pytest

from storage.schema.ids import EntryId, EventId, UserId
from ticketd.credentials.claims import Claims, TokenExpired, TokenInvalid
from ticketd.credentials.devices import hash_device
from ticketd.credentials.external import ExternalAlgorithm, ExternalIssuer, ExternalKey
from ticketd.credentials.keyring import Keyring, SigningKey, TokenKind
from ticketd.credentials.tokens import PlaceGrant, mint_access, mint_queue, mint_user, verify_own
from ticketd.credentials.verifier import TokenVerifier

NOW_MS = 1_767_866_400_000
USER = UserId(UUID("11111111-1111-4111-8111-111111111111"))
SECRET = b"s" * 32

RING = Keyring(
    SigningKey(kid=f"{kind.value}-1", kind=kind, secret=kind.value.encode().ljust(32), created_at_ms=0)
    for kind in TokenKind
)
EXTERNAL = ExternalIssuer(
    "https://id.example",
    "ticketd",
    [ExternalAlgorithm.HS256],
    [ExternalKey(None, ExternalAlgorithm.HS256, SECRET)],
)


def own(number: int = 0, ttl_seconds: int = 60) -> str:
    return mint_user(RING, USER, UUID(int=number), NOW_MS, ttl_seconds).token


def foreign(kid: str | None = None) -> str:
    payload = {
        "iss": "https://id.example",
        "aud": "ticketd",
        "sub": str(USER),
        "jti": "j",
        "iat": NOW_MS // 1000,
        "exp": NOW_MS // 1000 + 60,
    }
    return jwt.encode(payload, SECRET, "HS256", headers={"kid": kid} if kid else None)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signature was truly checked."""
    seen: list[str] = []

    def counting(token: str, keyring: Keyring, now_ms: int, leeway_seconds: int) -> Claims:
        seen.append(token)
        return verify_own(token, keyring, now_ms, leeway_seconds)

    monkeypatch.setattr("ticketd.credentials.verifier.verify_own", counting)
    return seen


def test_every_kind_is_returned_as_what_it_is() -> None:
    grant = PlaceGrant(
        user_id=USER,
        event_id=EventId(UUID(int=1)),
        entry_id=EntryId(UUID(int=2)),
        device_hash=hash_device("d"),
        jti=UUID(int=3),
        issued_at_ms=NOW_MS,
        ttl_seconds=60,
    )
    verifier = TokenVerifier(RING)
    assert verifier.verify(own(), NOW_MS).kind is TokenKind.USER
    assert verifier.verify(mint_queue(RING, grant).token, NOW_MS).kind is TokenKind.QUEUE
    assert verifier.verify(mint_access(RING, grant, "access-1").token, NOW_MS).kind is TokenKind.ACCESS


def test_a_token_is_checked_once(checks: list[str]) -> None:
    verifier = TokenVerifier(RING)
    assert verifier.verify(own(), NOW_MS) == verifier.verify(own(), NOW_MS + 1)
    assert checks == [own()]


def test_a_cached_token_expires_and_is_dropped(checks: list[str]) -> None:
    verifier = TokenVerifier(RING)
    verifier.verify(own(), NOW_MS + 59_999)
    assert verifier.cached == 1
    with pytest.raises(TokenExpired):
        verifier.verify(own(), NOW_MS + 60_000)
    assert verifier.cached == 0
    assert len(checks) == 1


def test_a_cached_token_is_not_valid_before_its_time() -> None:
    verifier = TokenVerifier(RING)
    verifier.verify(own(), NOW_MS)
    assert verifier.verify(own(), NOW_MS - 5000).user_id == USER
    with pytest.raises(TokenInvalid):
        verifier.verify(own(), NOW_MS - 5001)


def test_the_cache_is_bounded_and_forgets_what_was_used_longest_ago(checks: list[str]) -> None:
    verifier = TokenVerifier(RING, cache_entries=2)
    for number in (1, 2, 1, 3):
        verifier.verify(own(number), NOW_MS)
    assert verifier.cached == 2
    del checks[:]
    verifier.verify(own(1), NOW_MS)
    verifier.verify(own(3), NOW_MS)
    assert checks == []
    verifier.verify(own(2), NOW_MS)
    assert checks == [own(2)]


def test_refused_tokens_are_not_cached() -> None:
    verifier = TokenVerifier(RING)
    for token in ("", "a.b.c", own()[:-2] + "AA", foreign()):
        with pytest.raises(TokenInvalid):
            verifier.verify(token, NOW_MS)
    with pytest.raises(TokenExpired):
        verifier.verify(own(ttl_seconds=1), NOW_MS + 1000)
    assert verifier.cached == 0


def test_removing_a_key_ends_its_tokens_at_once() -> None:
    verifier = TokenVerifier(RING, EXTERNAL)
    verifier.verify(own(), NOW_MS)
    verifier.verify(foreign(), NOW_MS)
    verifier.use_keyring(Keyring([]))
    assert verifier.cached == 0
    assert verifier.verify(foreign(), NOW_MS).user_id == USER
    with pytest.raises(TokenInvalid):
        verifier.verify(own(), NOW_MS)
    verifier.use_keyring(RING)
    verifier.verify(foreign(), NOW_MS)
    verifier.use_external(None)
    assert verifier.cached == 0
    assert verifier.verify(own(), NOW_MS).user_id == USER
    with pytest.raises(TokenInvalid):
        verifier.verify(foreign(), NOW_MS)


@pytest.mark.parametrize("kid", [None, "theirs"])
def test_tokens_of_the_outside_issuer_verify_beside_our_own(kid: str | None) -> None:
    verifier = TokenVerifier(RING, EXTERNAL)
    assert verifier.verify(own(), NOW_MS).issuer is None
    assert verifier.verify(foreign(kid), NOW_MS).issuer == "https://id.example"
    assert verifier.verify(foreign(kid), NOW_MS).kind is TokenKind.USER


def test_an_outside_key_never_signs_for_one_of_ours() -> None:
    verifier = TokenVerifier(RING, EXTERNAL)
    with pytest.raises(TokenInvalid, match="signature"):
        verifier.verify(foreign("user-1"), NOW_MS)


@pytest.mark.parametrize("ahead_ms", [0, 3_600_000])
def test_an_outside_issuers_tokens_are_judged_by_the_time_outside(ahead_ms: int) -> None:
    outside_ms = NOW_MS
    verifier = TokenVerifier(RING, EXTERNAL, outside_ms=lambda: outside_ms)
    for _ in ("anew", "from the cache"):
        assert verifier.verify(foreign(), NOW_MS + ahead_ms).user_id == USER
    outside_ms += 66_000
    with pytest.raises(TokenExpired):
        verifier.verify(foreign(), NOW_MS)
    assert verifier.verify(own(), NOW_MS).user_id == USER  # ours by ours


def test_the_leeway_forgives_the_outside_issuer_alone() -> None:
    verifier = TokenVerifier(RING, EXTERNAL, leeway_seconds=7)
    assert verifier.verify(foreign(), NOW_MS + 66_999).user_id == USER
    for _ in ("anew", "from the cache"):
        with pytest.raises(TokenExpired):
            verifier.verify(own(), NOW_MS + 60_000)
    with pytest.raises(TokenExpired):
        verifier.verify(foreign(), NOW_MS + 67_000)


@pytest.mark.parametrize(("leeway_seconds", "cache_entries"), [(-1, 1), (0, 0)])
def test_bounds_of_a_verifier(leeway_seconds: int, cache_entries: int) -> None:
    assert TokenVerifier(RING, None, 0, 1).verify(own(), NOW_MS).user_id == USER
    with pytest.raises(ValueError, match="0 seconds or more"):
        TokenVerifier(RING, None, leeway_seconds, cache_entries)
