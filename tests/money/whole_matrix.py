"""The long form of the matrix of faults: every call, every fault, once, three times in a row, and told to be final.

It is not collected with the other tests: ``scripts/money-matrix`` runs it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.money.faults import CALLS, KINDS, cells, hold_together
from tests.money.shop import open_shop


@pytest.mark.parametrize("endpoint", CALLS)
def test_whatever_befalls_a_call_its_order_comes_to_rest(tmp_path: Path, endpoint: str) -> None:
    with open_shop(tmp_path, timeout_seconds=2, capture_retry_seconds=4) as shop:
        shop.start()
        hold_together(shop, (cell for cell in cells(KINDS, whole=True) if cell.endpoint == endpoint))
