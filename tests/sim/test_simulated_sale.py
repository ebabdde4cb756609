"""The short form of the simulated sale; ``scripts/simulate-sale`` runs the long one."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio.testing

from tests.sim.crowd import Crowd
from tests.sim.sale import simulate


@pytest.mark.parametrize(("joiners", "seed"), [(3000, 1), (40, 2)])
async def test_a_sale_agrees_with_the_reference_from_the_lobby_to_the_last_buyer(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, joiners: int, seed: int
) -> None:
    print(f"to repeat: scripts/simulate-sale --joiners {joiners} --seed {seed}")
    figures = await simulate(tmp_path, Crowd(joiners, seed), print)
    assert figures.joined == joiners
    assert {"LEFT", "DONE", "EXPIRED", "SHOPPING"} <= figures.moves.keys()
    assert figures.looked > joiners
    assert figures.asked > joiners // 40
