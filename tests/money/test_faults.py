"""Every call that moves money, with every sort of fault, through the real daemon against the judge."""

from __future__ import annotations

from pathlib import Path

from tests.money.faults import SHORT, cells, hold_together
from tests.money.shop import open_shop


def test_whatever_befalls_a_call_its_order_comes_to_rest_and_the_books_agree(tmp_path: Path) -> None:
    with open_shop(tmp_path, timeout_seconds=2, capture_retry_seconds=4) as shop:
        shop.start()
        hold_together(shop, cells(SHORT, whole=False))
