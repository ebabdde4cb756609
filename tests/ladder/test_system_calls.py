"""The short form of the rung of system calls, and how the end of a daemon is judged."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.ladder.rung import Budget
from tests.ladder.sale.strace import why_not
from tests.ladder.system_calls import FEWEST_CASES, RUNG, cases_of
from tests.ladder.system_calls.injected import check_end
from tests.ladder.system_calls.surroundings import SURROUNDINGS

SEED = 1
SENTENCE = "ticketd: the store /d/ticketd.lmdb failed (fdatasync: Input/output error)\n"


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_where_a_system_call_fails_the_daemon_is_whole_or_gone_and_nothing_told_is_lost(
    tmp_path: Path,
) -> None:
    verdict = RUNG.climb(Budget(seconds=5, seed=SEED, folder=tmp_path))
    assert verdict.findings == ()
    assert verdict.void is None
    assert int(verdict.figures["cases"]) >= FEWEST_CASES - 1  # one may not be allowed here


def test_every_call_meets_every_error_and_the_first_cases_are_of_all_kinds() -> None:
    counts = Counter(fdatasync=3, pwrite64=2)
    names = [name for name, _ in cases_of(counts, random.Random(SEED))]
    assert len(set(names)) == len(names) == 5 * (3 * 2 + 1) + len(SURROUNDINGS)
    assert [name.rpartition(": ")[2] for name in names[:3]] == ["SIGKILL", "EIO", "ENOSPC"]
    assert names[3] in SURROUNDINGS


@pytest.mark.parametrize(
    ("status", "log", "problems"),
    [
        (1, '{"event": "request"}\n' + SENTENCE, 0),
        (-9, "", 0),
        (0, SENTENCE, 1),
        (1, "", 1),
        (1, SENTENCE + SENTENCE, 1),
        (1, "Traceback (most recent call last):\n" + SENTENCE, 1),
        (1, "ticketd: an internal error ended this command: OSError\n", 1),
        (-11, "", 2),
    ],
)
def test_an_end_is_as_it_should_be_with_status_1_and_one_sentence(
    tmp_path: Path, status: int, log: str, problems: int
) -> None:
    file = tmp_path / "log"
    file.write_text(log)
    assert len(check_end(status, file)) == problems
