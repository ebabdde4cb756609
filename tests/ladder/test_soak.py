"""What the soak makes of its measurements, and a short soak of the real daemon."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.ladder.house import Vitals
from tests.ladder.rung import Budget
from tests.ladder.soak import RUNG
from tests.ladder.soak.load import FEWEST_VISITS, Round
from tests.ladder.soak.soaking import FEWEST_ROUNDS, MIB, Sample, judge

AT_REST = Vitals(
    own_memory_bytes=80 * MIB,
    descriptors=18,
    tasks=32,
    reader_slots=1,
    file_bytes=4 * MIB,
    free_bytes=MIB,
    websockets=0,
    commands=100,
    processor_seconds=1.0,
)


def samples(count: int = 24, latency_ms: float = 5.0, busy: float = 0.5, **growth: int) -> list[Sample]:
    """So many rounds, of which ``growth`` names what of the daemon grows, and by how much in each."""
    return [
        Sample(
            at_s=10.0 * number,
            round=Round(latencies_ms=[latency_ms], answers=Counter({200: 100}), visits=3, tickets=2),
            vitals=replace(
                AT_REST, **{name: getattr(AT_REST, name) + number * more for name, more in growth.items()}
            ),
            busy_seconds=busy,
        )
        for number in range(count)
    ]


def test_a_daemon_of_which_nothing_grows_passes() -> None:
    verdict = judge(samples(), [], "again")
    assert verdict.passed
    assert verdict.figures["requests"] == 2400
    assert verdict.figures["tasks"] == "32, grew +0 (+0 to +0)"


@pytest.mark.parametrize(
    ("grows", "told"),
    [
        ({"own_memory_bytes": 2 * MIB}, "own_memory_mib grows: by 34 "),
        ({"descriptors": 1}, "descriptors grows"),
        ({"tasks": 1}, "tasks grows"),
        ({"reader_slots": 1}, "reader_slots grows"),
        ({"free_bytes": MIB}, "free_file_mib grows"),
    ],
    ids=str,
)
def test_what_grows_is_found(grows: dict[str, int], told: str) -> None:
    (finding,) = judge(samples(**grows), [], "again").findings
    assert finding.what.startswith(told)
    assert finding.repeat == "again"


def test_memory_that_caches_may_take_is_growth_once_they_are_full() -> None:
    growing = samples(own_memory_bytes=MIB)
    assert judge(growing, [], "again").passed
    later = [replace(sample, at_s=sample.at_s + 600) for sample in growing]
    (finding,) = judge(later, [], "again").findings
    assert finding.what.startswith("own_memory_mib grows: by 17 ")


def test_what_grew_before_the_daemon_was_warm_is_not() -> None:
    grown = [replace(sample, at_s=sample.at_s + 60) for sample in samples()]
    warming = [replace(sample, at_s=sample.at_s - 10) for sample in samples(6, own_memory_bytes=-9 * MIB)]
    assert judge(warming + grown, [], "again").passed


def test_answers_that_take_longer_and_longer_are_found() -> None:
    slower = [
        sample
        for number in range(24)
        for sample in samples(1, latency_ms=5.0 + 3 * number, busy=0.5 + number / 20)
    ]
    timed = [replace(sample, at_s=10.0 * number) for number, sample in enumerate(slower)]
    found = [finding.what.split()[0] for finding in judge(timed, [], "again").findings]
    assert found == ["latency_ms", "processor_ms_a_request"]


def test_too_few_rounds_prove_nothing() -> None:
    verdict = judge(samples(6), [], "again")
    assert not verdict.findings
    assert verdict.void is not None
    assert "too short" in verdict.void
    assert judge([], [], "again").void == "nobody bought anything"


def test_an_answer_that_should_not_be_and_a_bad_end_are_found() -> None:
    played = samples()
    played[3].round.unlike.append("GET /v1/orders: 500 b''")
    findings = judge(played, ["the daemon ended with status 1"], "again").findings
    assert [finding.what for finding in findings] == [
        "GET /v1/orders: 500 b''",
        "the daemon ended with status 1",
    ]


def test_a_short_soak_of_the_real_daemon_finds_nothing(tmp_path: Path) -> None:
    verdict = RUNG.climb(Budget(seconds=7, seed=1, folder=tmp_path))
    assert not verdict.findings
    assert int(verdict.figures["rounds"]) >= FEWEST_ROUNDS
    assert int(verdict.figures["visits"]) >= FEWEST_ROUNDS * FEWEST_VISITS
    assert int(verdict.figures["tickets"]) > 0
