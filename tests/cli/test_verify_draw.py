"""``ticketd verify-draw``: on a right answer, on each way of it being wrong, and on what is no such answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.cli.conftest import Run
from tests.support.hand_draw import hand_draw

SEED = bytes(range(32))
ENTRIES = [UUID(int=number) for number in range(1, 8)]
ORDER = hand_draw(SEED, ENTRIES)


def saved(tmp_path: Path, **changes: Any) -> Path:
    """The full answer; None leaves a field out."""
    answer = {
        "event_id": str(UUID(int=99)),
        "status": "DRAWN",
        "algorithm": "ticketd-draw-1",
        "commitment": hashlib.sha256(SEED).hexdigest(),
        "entry_count": len(ENTRIES),
        "seed": SEED.hex(),
        "entries": [str(one) for one in ENTRIES],
        "order": [str(one) for one in ORDER],
    }
    answer.update(changes)
    file = tmp_path / "draw.json"
    file.write_text(json.dumps({name: value for name, value in answer.items() if value is not None}))
    return file


def test_a_right_draw(run: Run, tmp_path: Path) -> None:
    told = run("verify-draw", saved(tmp_path))
    assert (told.status, told.err) == (0, "")
    assert hashlib.sha256(SEED).hexdigest() in told.out
    assert "7 entries" in told.out


def test_where_an_entry_was_drawn(run: Run, tmp_path: Path) -> None:
    told = run("verify-draw", saved(tmp_path), "--entry", str(ORDER[2]), "--json")
    answer = json.loads(told.out)
    assert (answer["rank"], answer["joined"]) == (3, ENTRIES.index(ORDER[2]) + 1)
    assert "drawn as 3 of 7" in run("verify-draw", saved(tmp_path), "--entry", str(ORDER[2])).out


def test_an_empty_draw(run: Run, tmp_path: Path) -> None:
    assert run("verify-draw", saved(tmp_path, entry_count=0, entries=[], order=[])).status == 0


SWAPPED = [str(one) for one in [ORDER[0], ORDER[2], ORDER[1], *ORDER[3:]]]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"order": SWAPPED}, f"place 2 differs: {ORDER[2]} is told, {ORDER[1]} was drawn"),
        ({"seed": bytes(32).hex()}, "committed to"),
        ({"seed": SEED.hex()[:-2]}, "committed to"),
        ({"seed": "zz"}, "hex"),
        ({"seed": SEED.hex().upper()}, "hex"),
        ({"seed": SEED.hex()[:32] + " " + SEED.hex()[32:]}, "hex"),
        ({"entry_count": 8}, "entry_count is 8"),
        ({"order": [str(one) for one in ORDER[:-1]]}, "6 places"),
        ({"entries": [str(ENTRIES[0])] * 7}, "twice"),
        ({"algorithm": "ticketd-draw-2"}, "ticketd-draw-1"),
        ({"status": "COMMITTED", "seed": None}, "full=true"),
        ({"entries": None, "order": None}, "full=true"),
        ({"event_id": 7}, "full=true"),
    ],
)
def test_what_is_wrong_is_told(run: Run, tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    found = run("verify-draw", saved(tmp_path, **changes))
    assert (found.status, found.out) == (1, "")
    assert told in found.err


def write_nothing(file: Path) -> None:
    file.write_bytes(b"")


def write_bytes(file: Path) -> None:
    file.write_bytes(b'{"event_id": "\xff"}')


@pytest.mark.parametrize("write", [write_nothing, write_bytes])
def test_what_is_no_answer_at_all(run: Run, tmp_path: Path, write: Callable[[Path], None]) -> None:
    file = tmp_path / "draw.json"
    write(file)
    found = run("verify-draw", file)
    assert found.status == 1
    assert "is no saved draw" in found.err
    assert run("verify-draw", tmp_path / "missing.json").status == 1


def test_an_entry_that_was_not_drawn(run: Run, tmp_path: Path) -> None:
    found = run("verify-draw", saved(tmp_path), "--entry", str(UUID(int=5000)))
    assert (found.status, "was not in the draw" in found.err) == (1, True)
