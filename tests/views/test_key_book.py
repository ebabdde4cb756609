"""The book of keys: what is remembered of good API keys, and that a key that is revoked is forgotten at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.engine import Command
from storage.schema.layout import SYSTEM
from tests.domain.inventory_stage import Stage, inventory
from tests.support.daemon import add_key
from ticketd.credentials.api_keys import API_KEY_RANDOM_BYTES, Scope, parse_api_key
from ticketd.domain.keys import RevokeApiKey, revoke_api_key
from ticketd.views.key_book import KeyBook


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with inventory(tmp_path) as stage:
        yield stage


async def add(stage: Stage, number: int, scope: Scope = Scope.PUBLIC) -> str:
    return await add_key(stage.engine, scope, 0, bytes([number]) * API_KEY_RANDOM_BYTES)


async def test_a_key_is_found_again_until_it_is_revoked(stage: Stage) -> None:
    kept, revoked = await add(stage, 1), await add(stage, 2)
    book = KeyBook(stage.engine, None, 5)
    for _ in range(2):
        assert book.find_api_key(kept) is not None
        assert book.find_api_key(revoked) is not None
    command = RevokeApiKey(parse_api_key(revoked).key_id)
    await stage.engine.submit(Command("revoke", (SYSTEM,), lambda tx: revoke_api_key(tx, command)))
    for _ in range(2):
        assert book.find_api_key(kept) is not None
        assert book.find_api_key(revoked) is None


async def test_only_the_texts_of_good_keys_are_remembered_one_for_each(stage: Stage) -> None:
    texts = [await add(stage, number) for number in range(1, 5)]
    book = KeyBook(stage.engine, None, 5)
    wrong = [f"{text[:-2]}{'AB' if text[-2:] != 'AB' else 'CD'}" for text in texts]
    for text in [*texts, *wrong, *texts, "", "tk_", "x" * 5000]:
        assert (book.find_api_key(text) is not None) is (text in texts)
    assert book.remembered == len(texts)
    await add(stage, 9)
    assert book.remembered == 0
