"""The bounds of the bounds."""

from __future__ import annotations

import math

import msgspec
import pytest

from tests.front.raw_http import LIMITS
from ticketd.front import FrontLimits


@pytest.mark.parametrize("name", FrontLimits.__struct_fields__)
@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan])
def test_each_is_above_zero_and_finite(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is .*above 0"):
        FrontLimits(**(msgspec.structs.asdict(LIMITS) | {name: value}))


def test_smallest() -> None:
    least = dict.fromkeys(FrontLimits.__struct_fields__, 1)
    assert FrontLimits(**least).max_connections == 1
