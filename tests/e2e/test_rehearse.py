"""``ticketd rehearse`` as an operator runs it: a crowd on the real daemon, and the report that comes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.events import arena_file
from tests.support.process import serving, ticketd

PATIENCE_SECONDS = 120
QUICK = ("--arrive-seconds", "1", "--think-seconds", "0.1", "--seed", "5")


def rehearse(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ticketd", "rehearse", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_forty_buyers_on_a_daemon_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    own = ("--seats", "60", "--hold-seconds", "3", "--max-active", "10", "--data", str(folder))
    done = rehearse("--buyers", "40", "--shares", "realtime=50", "--json", *own, *QUICK)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["ok"]
    assert report["store_checked"]
    assert not any(report["faults"].values())
    assert (report["buyers"], report["joined"], report["capacity"]) == (40, 40, 60)
    assert sum(report["outcomes"].values()) == 40
    assert 0 < report["seats_sold"] <= 60
    assert report["seats_sold"] + report["available_after"] <= 60
    assert sum(window["let_in"] for window in report["windows"]) == report["let_in"] > 0
    assert report["bearable"]["by_processor_per_minute"] > 0
    assert sum(latency["count"] for latency in report["latencies"]) <= report["requests"] + report["buyers"]
    assert "WS /v1/realtime" in {latency["endpoint"] for latency in report["latencies"]}
    assert not [sentence for sentence in report["odd"] if "WebSocket" in sentence]
    assert {"data", "daemon.log", "event.json", "ticketd.toml"} <= {file.name for file in folder.iterdir()}
    verified = ticketd(folder / "data", "verify")
    assert verified.returncode == 0, verified.stdout


def test_a_lobby_is_let_in_at_the_opening() -> None:
    done = rehearse("--buyers", "10", "--lobby", "--hold-seconds", "3", "--json", *QUICK)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["let_in"] > 0
    assert report["orders"] > 0


def test_somebodys_daemon_is_rehearsed_by_url(tmp_path: Path) -> None:
    data = tmp_path / "data"
    file = tmp_path / "event.json"
    file.write_text(json.dumps(arena_file()))
    imported = json.loads(ticketd(data, "import", "--json", str(file)).stdout)
    key = tmp_path / "key"
    key.write_text(ticketd(data, "keys", "create").stdout)
    with serving(data) as daemon:
        done = rehearse(
            "--buyers", "8", "--url", daemon.url, "--key", str(key), "--event", imported["event_id"], *QUICK
        )
        assert daemon.stop() == 0
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All is as it must be." in done.stdout
    assert "8 joined" in done.stdout
    assert "what they buy stays sold" in done.stderr


def test_ctrl_c_gives_the_report_so_far() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ticketd", "rehearse", "--arrive-seconds", "600", "--buyers", "50"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "joined" in line:
            break
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert "It was ended by a signal (SIGINT)" in out
    assert "unfinished" in out


def test_a_daemon_that_dies_is_in_the_report() -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "ticketd",
            "rehearse",
            "--arrive-seconds",
            "5",
            "--buyers",
            "50",
            "--time-limit",
            "20",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "joined" in line:
            break
    (daemon,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(daemon), signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert f"the daemon ended with status {-signal.SIGKILL}" in out
    assert "the rehearsal showed what must not be" in err
