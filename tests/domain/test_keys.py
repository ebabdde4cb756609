"""API keys and signing keys: made, revoked, rotated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from msgspec.structs import replace

from config.settings import StorageSettings
from storage.clock import SystemClock
from storage.engine import Command, Transaction
from storage.open import open_inline_engine
from storage.schema.events import EVENT_CODEC, KeysChanged
from storage.schema.layout import SIGNING_KEYS, SYSTEM
from storage.schema.records import SigningKeyRecord
from storage.writer import InlineEngine
from ticketd.credentials.api_keys import API_KEY_RANDOM_BYTES, Scope, parse_api_key
from ticketd.credentials.keyring import KEY_RANDOM_BYTES
from ticketd.domain.keys import (
    SIGNING_KEY_KINDS,
    RevokeApiKey,
    add_api_key,
    add_missing_signing_keys,
    fresh_api_key,
    fresh_signing_key,
    list_api_keys,
    revoke_api_key,
    rotate_signing_key,
)
from ticketd.errors import ErrorCode, Refusal

R = TypeVar("R")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[InlineEngine]:
    settings = StorageSettings(map_size_bytes=128 * 1024 * 1024)
    with open_inline_engine(tmp_path / "data", settings, SystemClock(), EVENT_CODEC, synced=False) as engine:
        yield engine


def do(engine: InlineEngine, run: Callable[[Transaction], R]) -> R:
    return trio.run(engine.submit, Command("test", (SYSTEM,), run)).result


def changes(engine: InlineEngine) -> list[object]:
    return [change.event for change in engine.changes(SYSTEM, 0) or []]


def signing_keys(engine: InlineEngine) -> list[SigningKeyRecord]:
    with engine.snapshot(SYSTEM) as view:
        return [record for _, record in SIGNING_KEYS.scan(view, SYSTEM)]


def candidate(kind: str, number: int) -> SigningKeyRecord:
    return fresh_signing_key(kind, bytes([number]) * KEY_RANDOM_BYTES, number)


def test_a_fresh_api_key_keeps_a_hash_of_its_secret_alone() -> None:
    text, record = fresh_api_key(bytes(range(API_KEY_RANDOM_BYTES)), Scope.GATE, "north door", 5)
    presented = parse_api_key(text)
    assert (record.key_id, record.secret_hash) == (presented.key_id, presented.secret_sha256)
    assert (record.scope, record.name, record.created_at_ms) == ("gate", "north door", 5)
    assert text.split("_", 2)[2] not in repr(record)


def test_keys_are_listed_oldest_first_and_revoked_once(engine: InlineEngine) -> None:
    records = [
        fresh_api_key(bytes([number]) * API_KEY_RANDOM_BYTES, Scope.PUBLIC, "", 10 - number)[1]
        for number in range(3)
    ]
    for record in records:
        do(engine, lambda tx, record=record: add_api_key(tx, record))  # type: ignore[misc]  # bound in the loop
    with engine.snapshot(SYSTEM) as view:
        assert list_api_keys(view) == records[::-1]
    first = do(engine, lambda tx: revoke_api_key(tx, RevokeApiKey(records[0].key_id)))
    assert first.revoked_at_ms is not None
    assert do(engine, lambda tx: revoke_api_key(tx, RevokeApiKey(records[0].key_id))) == first
    assert changes(engine) == [KeysChanged()] * 4


def test_an_unknown_key_is_not_revoked(engine: InlineEngine) -> None:
    with pytest.raises(Refusal) as caught:
        do(engine, lambda tx: revoke_api_key(tx, RevokeApiKey("nosuchkey")))
    assert caught.value.code is ErrorCode.NOT_FOUND
    assert changes(engine) == []


@pytest.mark.parametrize("kind", SIGNING_KEY_KINDS)
def test_a_fresh_signing_key_is_made_of_what_came_in(kind: str) -> None:
    one, again, other = candidate(kind, 1), candidate(kind, 1), candidate(kind, 2)
    assert one == again
    assert (one.kind, one.secret, one.created_at_ms) == (kind, b"\x01" * 32, 1)
    assert one.kid != other.kid


@pytest.mark.parametrize("number", [0, KEY_RANDOM_BYTES - 1, KEY_RANDOM_BYTES + 1])
def test_a_signing_key_takes_so_many_random_bytes(number: int) -> None:
    with pytest.raises(ValueError, match=str(KEY_RANDOM_BYTES)):
        fresh_signing_key("user", b"x" * number, 0)


def test_there_is_no_other_kind() -> None:
    with pytest.raises(ValueError, match="door"):
        fresh_signing_key("door", b"x" * KEY_RANDOM_BYTES, 0)


def test_only_missing_kinds_are_added(engine: InlineEngine) -> None:
    first = tuple(candidate(kind, 1) for kind in SIGNING_KEY_KINDS)
    second = tuple(candidate(kind, 2) for kind in SIGNING_KEY_KINDS)
    assert do(engine, lambda tx: add_missing_signing_keys(tx, first[:2])) == 2
    assert do(engine, lambda tx: add_missing_signing_keys(tx, second)) == len(SIGNING_KEY_KINDS) - 2
    assert do(engine, lambda tx: add_missing_signing_keys(tx, first)) == 0
    expected = {*first[:2], *second[2:]}
    assert {(key.kind, key.kid) for key in signing_keys(engine)} == {(key.kind, key.kid) for key in expected}
    assert changes(engine) == [KeysChanged()] * 2


def test_a_rotation_retires_the_others_of_its_kind_alone(engine: InlineEngine) -> None:
    long_retired = replace(candidate("user", 9), retired_at_ms=7)
    do(engine, lambda tx: SIGNING_KEYS.put(tx, long_retired, SYSTEM, "user", long_retired.kid))
    do(engine, lambda tx: add_missing_signing_keys(tx, (candidate("user", 1), candidate("queue", 1))))
    for number in (2, 3):
        fresh = candidate("user", number)
        do(engine, lambda tx, fresh=fresh: rotate_signing_key(tx, fresh))  # type: ignore[misc]  # bound in the loop
    stored = signing_keys(engine)
    assert long_retired in stored
    stored.remove(long_retired)
    in_force = {(key.kind, key.kid): key.retired_at_ms is None for key in stored}
    assert in_force == {
        ("user", candidate("user", 1).kid): False,
        ("user", candidate("user", 2).kid): False,
        ("user", candidate("user", 3).kid): True,
        ("queue", candidate("queue", 1).kid): True,
    }
