"""The arithmetic of ``scripts/bench http``: what is read out of wrk and py-spy, what voids a run, and the ratios."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts.benchmarks.http.calls import WORKLOADS
from scripts.benchmarks.http.cores import BenchmarkFailed
from scripts.benchmarks.http.measure import LIMIT_WORKLOAD, MIXED, Measured, medians
from scripts.benchmarks.http.profile import count_shares
from scripts.benchmarks.http.tables import (
    AIMS,
    figure_table,
    index,
    mixed_line,
    ratio,
    ratio_table,
    void_lines,
)
from scripts.benchmarks.http.wrk import WrkReport, parse_report, write_requests

WRK_OUTPUT = """Running 2s test @ http://127.0.0.1:8080
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    12.25ms    3.10ms  39.25ms   71.00%
  4890 requests in 2.00s, 1.21MB read
{"requests":4890,"duration_us":2000000,"bytes":1268776,"p50_us":12250,"p99_us":39250,"max_us":41000,\
"connect_errors":0,"read_errors":0,"write_errors":0,"status_errors":0,"timeouts":0,"unwanted":0,"used_up":0,\
"active_us":0}
"""


def report(**changes: int) -> WrkReport:
    counts: dict[str, Any] = dict.fromkeys(WrkReport.__struct_fields__, 0)
    return WrkReport(**{**counts, "requests": 100, "duration_us": 2_000_000, **changes})


def measured(contender: str, workload: str, per_second: float, **changes: Any) -> Measured:
    made: dict[str, Any] = {
        "contender": contender,
        "workload": workload,
        "connections": 256,
        "per_second": per_second,
        "cpu_us": 50.0,
        "p50_ms": 5.0,
        "p99_ms": 15.0,
    }
    return Measured(**{**made, **changes})


def test_the_report_is_read_out_of_what_wrk_prints() -> None:
    found = parse_report(WRK_OUTPUT)
    assert (found.requests, found.per_second, found.p50_us, found.p99_us) == (4890, 2445, 12_250, 39_250)
    assert found.faults() == []


def test_an_output_without_a_report_is_refused_with_its_text() -> None:
    with pytest.raises(BenchmarkFailed, match="unable to connect"):
        parse_report("unable to connect to 127.0.0.1:8080 Connection refused\n")


@pytest.mark.parametrize(
    "field",
    ["connect_errors", "read_errors", "write_errors", "status_errors", "timeouts", "unwanted", "used_up"],
)
def test_a_single_error_voids_a_run(field: str) -> None:
    assert len(report(**{field: 1}).faults()) == 1


def test_a_run_without_an_answer_is_void() -> None:
    assert report(requests=0).faults() == ["no answer at all"]


def test_requests_that_ran_out_are_timed_until_then() -> None:
    assert report(active_us=500_000).per_second == 200


def test_requests_are_written_with_their_lengths(tmp_path: Path) -> None:
    file = tmp_path / "requests"
    write_requests(file, [b"GET / HTTP/1.1\r\n\r\n", b"\n7"])
    assert file.read_bytes() == b"18\nGET / HTTP/1.1\r\n\r\n2\n\n7"


def test_a_median_is_taken_of_each_figure_by_itself_and_every_fault_is_kept() -> None:
    runs = [
        measured("ticketd", "status", 10, p99_ms=3),
        measured("ticketd", "status", 30, p99_ms=1, faults=("1 time-outs",)),
        measured("ticketd", "status", 20, p99_ms=2),
        measured("stock", "status", 1),
    ]
    middle = {one.contender: one for one in medians(runs)}
    assert (middle["ticketd"].per_second, middle["ticketd"].p99_ms) == (20, 2)
    assert middle["ticketd"].faults == ("1 time-outs",)
    assert void_lines(list(middle.values())) == ["VOID: ticketd, status, 256 connections: 1 time-outs"]


def test_ratios_are_those_of_the_same_call_and_number_of_connections() -> None:
    figures = index(
        [
            measured("limit", LIMIT_WORKLOAD.name, 30_000),
            measured("limit", LIMIT_WORKLOAD.name, 1, connections=32),
            measured("ticketd", "reserve", 9_000),
            measured("postgres", "reserve", 1_500),
            measured("postgres", "status", 1),
        ]
    )
    assert ratio(figures, "reserve", 256, "limit") == pytest.approx(0.3)
    assert ratio(figures, "reserve", 256, "postgres") == pytest.approx(6)
    assert ratio(figures, "reserve", 256, "sqlite") is None


def test_a_void_measurement_has_no_ratio() -> None:
    own, void = measured("ticketd", "status", 9), measured("stock", "status", 1, faults=("1 time-outs",))
    assert ratio(index([own, void]), "status", 256, "stock") is None
    assert ratio(index([void, own]), "status", 256, "stock") is None


def test_the_table_says_which_aims_are_met() -> None:
    limit = measured("limit", LIMIT_WORKLOAD.name, 10_000, cpu_us=20.0)
    table = ratio_table(
        index([limit, measured("ticketd", "status", 5_000), measured("ticketd", "event", 3_999)])
    )
    head, rule, status, event = table.splitlines()
    assert head.count("|") == rule.count("|") == status.count("|") == event.count("|")
    assert "50% | 40%" in status
    assert "≥ 50% of the limit: met" in status
    assert "≥ 10 × stock: not measured" in status
    assert "≥ 40% of the limit: missed" in event


def test_every_contender_has_its_column_and_what_is_void_shows_no_figure() -> None:
    runs = [
        measured("limit", LIMIT_WORKLOAD.name, 30_000),
        measured("ticketd", "status", 15_000.4),
        measured("stock", "status", 700, faults=("1 time-outs",)),
    ]
    titles = {"limit": "bare", "ticketd": "ours", "stock": "Hypercorn"}
    head, _, limit, status = figure_table(runs, titles).splitlines()
    assert head.endswith("| bare | ours | Hypercorn |")
    assert limit == "| a fixed text | 256 | 30,000 · 50 µs · 15.0 ms |  |  |"
    assert status == "| queue status | 256 |  | 15,000 · 50 µs · 15.0 ms | void |"


def test_status_during_reserves_is_held_against_its_aim() -> None:
    def told(p99_ms: float, *faults: str) -> str:
        one = measured("ticketd", MIXED, 500, connections=32, p99_ms=p99_ms, faults=faults)
        return mixed_line(index([one]))

    assert "under 20 ms, met" in told(19.9)
    assert "under 20 ms, missed" in told(20)
    assert "under 20 ms, void" in told(1, "3 read errors")


def test_every_aim_is_of_a_call_that_is_measured() -> None:
    assert set(AIMS) == {workload.name for workload in WORKLOADS}


def test_samples_count_once_for_each_function_of_a_stack() -> None:
    shares = count_shares(
        [
            "main (a.py:1);walk (a.py:10);walk (a.py:12) 3",
            "main (a.py:2);encode (<frozen b>:7) 1",
        ]
    )
    assert shares.samples == 4
    assert shares.own == {"walk (a.py)": 0.75, "encode (<frozen b>)": 0.25}
    assert shares.total == {"main (a.py)": 1.0, "walk (a.py)": 0.75, "encode (<frozen b>)": 0.25}
