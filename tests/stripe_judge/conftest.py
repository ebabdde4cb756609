"""The judge that its tests stand before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stripe_judge.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(tmp_path)
    yield opened
    opened.close()
