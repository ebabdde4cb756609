"""One good store for all tests of verification, and damage laid over it anew for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.verify.good_store import Damage, open_damage, play_good_store


@pytest.fixture(scope="session")
def good_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store in which a sale was played."""
    data = tmp_path_factory.mktemp("good-store")
    play_good_store(data)
    return data


@pytest.fixture
def damage(good_store: Path) -> Iterator[Damage]:
    """The good store, to be damaged by one test."""
    with open_damage(good_store) as damage:
        yield damage
