"""How many of something, as commands say it."""

from __future__ import annotations

import pytest

from ticketd.cli.counts import counted


@pytest.mark.parametrize(("number", "said"), [(0, "0 tickets"), (1, "1 ticket"), (2, "2 tickets")])
def test_one_is_no_plural(number: int, said: str) -> None:
    assert counted(number, "ticket") == said
