from __future__ import annotations

import pytest

from ticketd.credentials.keyring import (
    KEY_RANDOM_BYTES,
    Keyring,
    NoSigningKey,
    SigningKey,
    TokenKind,
    new_signing_key,
)


def key(
    kid: str, kind: TokenKind = TokenKind.USER, created_at_ms: int = 0, retired: bool = False
) -> SigningKey:
    return SigningKey(
        kid=kid,
        kind=kind,
        secret=kid.encode().ljust(32, b"."),
        created_at_ms=created_at_ms,
        retired_at_ms=created_at_ms + 1 if retired else None,
    )


def test_each_kind_has_its_own_audience() -> None:
    assert [kind.audience for kind in TokenKind] == ["ticketd:user", "ticketd:queue", "ticketd:access"]


def test_the_newest_key_in_force_signs() -> None:
    ring = Keyring(
        [key("b", created_at_ms=2), key("c", created_at_ms=3, retired=True), key("a", created_at_ms=1)]
    )
    assert ring.signing_key(TokenKind.USER).kid == "b"


def test_keys_of_the_same_millisecond_are_chosen_alike_in_any_order() -> None:
    keys = [key("a"), key("b")]
    assert Keyring(keys).signing_key(TokenKind.USER) == Keyring(keys[::-1]).signing_key(TokenKind.USER)


def test_a_retired_key_is_still_found() -> None:
    retired = key("old", retired=True)
    assert Keyring([retired]).find("old") == retired


def test_a_kind_without_a_key_in_force_cannot_sign() -> None:
    ring = Keyring([key("a", TokenKind.QUEUE), key("b", TokenKind.USER, retired=True)])
    for kind in (TokenKind.USER, TokenKind.ACCESS):
        with pytest.raises(NoSigningKey):
            ring.signing_key(kind)
    assert ring.signing_key(TokenKind.QUEUE).kid == "a"


def test_an_unknown_id_finds_nothing() -> None:
    assert Keyring([key("a")]).find("b") is None


def test_two_keys_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="two token keys"):
        Keyring([key("a"), key("a", TokenKind.QUEUE)])


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_secret_is_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey(kid="a", kind=TokenKind.USER, secret=bytes(length), created_at_ms=0)


@pytest.mark.parametrize("kid", ["", "a" * 65, "a b", "a\n", "é", 'a"'])
def test_a_key_id_is_plain_and_short(kid: str) -> None:
    with pytest.raises(ValueError, match="key id"):
        SigningKey(kid=kid, kind=TokenKind.USER, secret=bytes(32), created_at_ms=0)


@pytest.mark.parametrize("kid", ["a", "a" * 64, "user-00ff_.Z"])
def test_key_ids_at_the_bounds(kid: str) -> None:
    assert SigningKey(kid=kid, kind=TokenKind.USER, secret=bytes(32), created_at_ms=0).kid == kid


def test_a_fresh_key_is_made_of_the_random_bytes_alone() -> None:
    random = bytes(range(KEY_RANDOM_BYTES))
    made = new_signing_key(TokenKind.ACCESS, random, 7)
    assert made == SigningKey(
        kid="access-2021222324252627", kind=TokenKind.ACCESS, secret=bytes(range(32)), created_at_ms=7
    )


@pytest.mark.parametrize("length", [KEY_RANDOM_BYTES - 1, KEY_RANDOM_BYTES + 1])
def test_a_fresh_key_needs_40_random_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="40 random bytes"):
        new_signing_key(TokenKind.USER, bytes(length), 0)


def test_a_secret_is_not_shown() -> None:
    secret = b"S3CRET" * 5 + b"!!"
    shown = SigningKey(kid="k1", kind=TokenKind.USER, secret=secret, created_at_ms=0)
    for text in (repr(shown), str(shown), f"{[shown]}"):
        assert "k1" in text
        assert "S3CRET" not in text
