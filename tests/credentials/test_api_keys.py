from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticketd.credentials.api_keys import (
    API_KEY_RANDOM_BYTES,
    ApiKeyInvalid,
    Scope,
    is_secret_of,
    new_api_key,
    parse_api_key,
)

RANDOM = bytes(range(API_KEY_RANDOM_BYTES))
TEXT, FIELDS = new_api_key(RANDOM, Scope.STOREFRONT, "the shop", 5)


@given(st.binary(min_size=API_KEY_RANDOM_BYTES, max_size=API_KEY_RANDOM_BYTES))
def test_a_new_key_parses_and_matches_what_is_stored(random: bytes) -> None:
    text, fields = new_api_key(random, Scope.PUBLIC, "", 0)
    presented = parse_api_key(text)
    assert len(text) == 59
    assert presented.key_id == fields.key_id
    assert is_secret_of(presented, fields.secret_sha256)


def test_what_is_stored() -> None:
    assert FIELDS.scope is Scope.STOREFRONT
    assert (FIELDS.name, FIELDS.created_at_ms) == ("the shop", 5)
    assert f"tk_{FIELDS.key_id}_" == TEXT[:16]
    assert FIELDS.secret_sha256 == hashlib.sha256(TEXT[16:].encode()).digest()
    assert TEXT[16:] not in repr(FIELDS)
    assert TEXT[16:] not in repr(parse_api_key(TEXT))


def test_every_random_byte_of_the_secret_counts() -> None:
    texts = {
        new_api_key(bytes([*RANDOM[:i], 255, *RANDOM[i + 1 :]]), Scope.GATE, "", 0)[0] for i in range(40)
    }
    assert len({text[16:] for text in texts}) == 33  # 32 changed secrets, and the one that changed ids share


@pytest.mark.parametrize("position", [16, 40, 58])
def test_another_secret_does_not_match(position: int) -> None:
    other = TEXT[:position] + ("A" if TEXT[position] != "A" else "B") + TEXT[position + 1 :]
    assert not is_secret_of(parse_api_key(other), FIELDS.secret_sha256)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tk_",
        TEXT[:-1],
        TEXT + "A",
        TEXT + "\n",
        " " + TEXT,
        TEXT.upper(),
        "xk" + TEXT[2:],
        TEXT.replace("tk_", "tk-"),
        TEXT[:15] + "-" + TEXT[16:],
        TEXT[:3] + "1" + TEXT[4:],
        TEXT[:20] + "é" + TEXT[21:],
        TEXT[:20] + "\ud800" + TEXT[21:],
        TEXT[:20] + "٣" + TEXT[21:],
    ],
)
def test_other_texts_are_no_api_keys(text: str) -> None:
    with pytest.raises(ApiKeyInvalid):
        parse_api_key(text)


@given(st.text(max_size=80))
def test_any_text_is_a_key_or_refused(text: str) -> None:
    with contextlib.suppress(ApiKeyInvalid):
        parse_api_key(text)


@pytest.mark.parametrize("length", [39, 41])
def test_a_key_needs_40_random_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="40 random bytes"):
        new_api_key(bytes(length), Scope.PUBLIC, "", 0)


@pytest.mark.parametrize("name", ["n" * 101, "a\nb", "a\x1b[31m"])
def test_a_name_is_short_and_printable(name: str) -> None:
    with pytest.raises(ValueError, match="name of an API key"):
        new_api_key(RANDOM, Scope.PUBLIC, name, 0)


@pytest.mark.parametrize("name", ["", "n" * 100, "Tür 3"])
def test_names_at_the_bounds(name: str) -> None:
    assert new_api_key(RANDOM, Scope.PUBLIC, name, 0)[1].name == name


def test_the_scopes() -> None:
    assert [scope.value for scope in Scope] == ["public", "storefront", "operator", "gate", "box_office"]
