"""Expecting refusals."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest

from ticketd.errors import ErrorCode, Refusal


async def refused(wanted: ErrorCode, attempt: Awaitable[object]) -> Refusal:
    """The refusal of the attempt, which must have this code."""
    with pytest.raises(Refusal) as caught:
        await attempt
    assert caught.value.code is wanted
    return caught.value
