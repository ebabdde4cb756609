"""Which core does what, and the processes that are measured: started pinned, counted by the kernel, ended by their id.

What the processes serve does not belong here.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

START_SECONDS: Final = 60
STOP_SECONDS: Final = 20
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class BenchmarkFailed(Exception):
    """It cannot be measured; the text says why, and what to type, for the person who runs it."""


@dataclass(frozen=True)
class Cores:
    """``server`` is the contender's core, ``load`` that of the load generator and of this process."""

    server: int
    load: int


def choose_cores() -> Cores:
    """The first two cores that this process may use. Raises BenchmarkFailed where there is one alone."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchmarkFailed("two cores are needed: one for the server, one for the load generator")
    return Cores(server=cores[0], load=cores[1])


def check_disk(folder: Path) -> None:
    """Raises BenchmarkFailed where a folder is in memory: there a sync costs nothing."""
    command = ["stat", "--file-system", "--format=%T", str(folder)]
    kind = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if kind in {"tmpfs", "ramfs"}:
        raise BenchmarkFailed(
            f"{folder} is a {kind}, where nothing is durable: name a folder of a disk with --data"
        )


@dataclass
class Server:
    """A contender that answers at ``host:port``. Its CPU time and memory are those of ``pids`` and their children."""

    host: str
    port: int
    pids: tuple[int, ...]

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def cpu_seconds(self) -> float:
        """User and system time of all its processes so far."""
        return sum(_cpu_ticks(pid) for pid in _family(self.pids)) / _TICKS


def free_port() -> int:
    """A port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def pinned(
    command: Sequence[str],
    core: int,
    log: Path,
    environ: Mapping[str, str] | None = None,
    user: str | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of one core, its output in ``log``; told to end at the end of the block, and killed if it does not."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", str(core), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environ or {})},
            user=user,
            # A Ctrl-C is for this process, which ends what it has started.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_SECONDS)


def wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Returns once something accepts at the port. Raises BenchmarkFailed with the log if the process ends before."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)  # a poll: no port tells when it opens
        else:
            return
    raise BenchmarkFailed(f"a server did not start:\n{log.read_text(errors='replace')[-3000:]}")


def resident_bytes(pid: int, *, without: str = "") -> int:
    """The resident memory of a process, in bytes, without the pages of files whose path holds ``without``."""
    total, is_counted = 0, True
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            is_counted = not without or without not in line
        elif is_counted and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


def _family(pids: Sequence[int]) -> list[int]:
    """These processes and all that descend from them and still live."""
    found: list[int] = []
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        try:
            tasks = list(Path(f"/proc/{pid}/task").iterdir())
            children = [child for task in tasks for child in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.append(pid)
        waiting += [int(child) for child in children]
    return found


def _cpu_ticks(pid: int) -> int:
    """User and system time of a process and of its children that have ended, in clock ticks (proc(5), stat)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(field) for field in fields[11:15])
