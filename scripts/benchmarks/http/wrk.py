"""The load generator: wrk with one thread on its own core, replaying prepared requests (``replay.lua``).

What is asked, and of whom, does not belong here.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from scripts.benchmarks.http.cores import BenchmarkFailed, Cores, Server

_SCRIPT: Final = Path(__file__).with_name("replay.lua")
_GRACE_SECONDS: Final = 60


class WrkReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one run of wrk counted. ``unwanted``: answers of another status than the wanted one, where it looked;
    ``used_up``: 1 if requests that may be sent once alone ran out too early. ``active_us``: when they ran out, or 0."""

    requests: int
    duration_us: int
    bytes: int
    p50_us: int
    p99_us: int
    max_us: int
    connect_errors: int
    read_errors: int
    write_errors: int
    status_errors: int
    timeouts: int
    unwanted: int
    used_up: int
    active_us: int = 0

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.requests * 1e6 / (self.active_us or self.duration_us)

    def faults(self) -> list[str]:
        """Why this run is void; empty if it is not."""
        counts = {
            "connections refused": self.connect_errors,
            "read errors": self.read_errors,
            "write errors": self.write_errors,
            "answers of 4xx or 5xx": self.status_errors,
            "time-outs": self.timeouts,
            "answers of another status than wanted": self.unwanted,
        }
        found = [f"{count} {what}" for what, count in counts.items() if count]
        if self.used_up:
            found.append("the prepared requests ran out: --prepared asks for more")
        return found or ([] if self.requests else ["no answer at all"])


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What wrk is to send: ``requests`` is a file of ``write_requests``. ``once``: no request may be sent twice,
    and that they run out voids the run, unless it is to ``drain`` them.
    ``status``: looked at for every answer, 0 for wrk's own count of 4xx and 5xx. ``pause_ms`` before each request of a
    connection. ``record``: where each answer's reservation and first seat are written."""

    requests: Path
    connections: int
    seconds: int
    once: bool = False
    drain: bool = False
    status: int = 0
    pause_ms: int = 0
    record: Path | None = None


def find_wrk() -> str:
    """The command. Raises BenchmarkFailed with what to type where it is not installed."""
    found = shutil.which("wrk")
    if found is None:
        raise BenchmarkFailed("the load generator wrk is missing: apt-get install wrk")
    return found


def write_requests(file: Path, requests: Iterable[bytes]) -> None:
    """Writes requests in the form that ``replay.lua`` reads."""
    with file.open("wb") as output:
        for request in requests:
            output.write(b"%d\n%b" % (len(request), request))


def parse_report(output: str) -> WrkReport:
    """The report within what wrk printed. Raises BenchmarkFailed where there is none."""
    for line in output.splitlines():
        if line.startswith("{"):
            return msgspec.json.decode(line, type=WrkReport)
    raise BenchmarkFailed(f"wrk gave no report:\n{output[-2000:]}")


class RunningWrk:
    """A wrk that has been started; ``wait`` answers its report."""

    def __init__(self, load: Load, server: Server, cores: Cores) -> None:
        script_arguments = [
            str(load.requests),
            "drain" if load.drain else "stop" if load.once else "again",
            str(load.status),
            str(load.pause_ms),
            str(load.record or "-"),
        ]
        self._seconds = load.seconds
        self._process = subprocess.Popen(
            [
                *("taskset", "--cpu-list", str(cores.load), find_wrk()),
                *("-t", "1", "-c", str(load.connections), "-d", f"{load.seconds}s", "--timeout", "10s"),
                *("-s", str(_SCRIPT), server.url, "--", *script_arguments),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait(self) -> WrkReport:
        """The report, once it has ended. Raises BenchmarkFailed if it never does, or says nothing."""
        try:
            output, _ = self._process.communicate(timeout=self._seconds + _GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise BenchmarkFailed("wrk did not end in time") from None
        return parse_report(output)


def run_wrk(load: Load, server: Server, cores: Cores) -> WrkReport:
    """Sends the load, to its end."""
    return RunningWrk(load, server, cores).wait()
