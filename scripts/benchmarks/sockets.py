"""What WebSockets cost the real daemon: 10,000 buyers listen to one event, and a seat is reserved.

The daemon is a process of its own; its CPU and its memory are the kernel's figures for it, and the crowd's own are not
counted. Each socket has a buyer and a token of its own. Run it as ``python -m scripts.benchmarks.sockets``.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import trio

from scripts.benchmarks.room import line
from tests.front.raw_websocket import RawSocket
from tests.support.listening import (
    SEATS,
    UNLIMITED,
    Crowd,
    make_tokens,
    open_sockets,
    prepare_event,
    raise_open_files,
    reserve_one,
)
from tests.support.process import DaemonProcess, serving

RUNS = 9
FIRST = 100
BATCH = 200
"""So many are opened before they are listened to: a ping wants its pong."""
PINGED = 2000
SPARE_FILES = 200
QUIET_SECONDS = 20
"""As long as the daemon leaves a WebSocket alone by default: each is pinged once, and answers."""


async def measure(folder: Path, count: int) -> None:
    """Opens so many sockets, reserves a seat a few times, and prints what it took; then what pings cost."""
    data = folder / "data"
    key = prepare_event(data)
    # How long a telling takes is the crowd's affair: the daemon's pings meanwhile are not counted with it.
    with serving(data, environ={**UNLIMITED, "TICKETD_REALTIME_PING_SECONDS": "3600"}) as daemon:
        async with _listening(daemon, await make_tokens(daemon, key, FIRST), Crowd()) as crowd:
            # The first few bring along what is made once for all.
            tokens = await make_tokens(daemon, key, count - FIRST)
            resident, cpu = _resident_bytes(daemon), _cpu_seconds(daemon)
            async with _listening(daemon, tokens, crowd):
                spent = (_cpu_seconds(daemon) - cpu) / len(tokens)
                line(f"opening one of {count:,} and subscribing", spent * 1e6, "us")
                line("memory for each", (_resident_bytes(daemon) - resident) / len(tokens) / 1024, "KiB")
                await _tell(daemon, key, crowd)
                line(
                    "memory for each, after it",
                    (_resident_bytes(daemon) - resident) / len(tokens) / 1024,
                    "KiB",
                )
    with serving(data, environ=UNLIMITED) as daemon:
        async with _listening(daemon, await make_tokens(daemon, key, PINGED), Crowd()) as crowd:
            await _keep_quiet(daemon, crowd)


@asynccontextmanager
async def _listening(daemon: DaemonProcess, tokens: Sequence[str], crowd: Crowd) -> AsyncIterator[Crowd]:
    """A socket for each token, all of which the crowd listens to."""
    sockets: list[RawSocket] = []
    async with trio.open_nursery() as nursery:
        for start in range(0, len(tokens), BATCH):
            more: list[RawSocket] = []
            await open_sockets(daemon, tokens[start : start + BATCH], more)
            for socket in more:
                nursery.start_soon(crowd.listen, socket)
            sockets += more
        yield crowd
        nursery.cancel_scope.cancel()
    for socket in sockets:
        socket.stream.socket.close()


async def _tell(daemon: DaemonProcess, key: str, crowd: Crowd) -> None:
    walls, cpus, systems = [], [], []
    async with httpx.AsyncClient(base_url=daemon.url, timeout=60, headers={"X-API-Key": key}) as client:
        for run in range(RUNS):
            cpu, system, began = _cpu_seconds(daemon), _system_seconds(daemon), time.perf_counter()
            crowd.expect(SEATS - 1 - run)
            await reserve_one(client)
            await crowd.wait_all_heard()
            walls.append((time.perf_counter() - began) * 1000)
            cpus.append((_cpu_seconds(daemon) - cpu) * 1000)
            systems.append((_system_seconds(daemon) - system) * 1000)
    line("from joining for a seat until all had heard", statistics.median(walls), "ms")
    line("  the daemon's CPU for it", statistics.median(cpus), "ms")
    line("  of that the kernel's, for sending", statistics.median(systems), "ms")


async def _keep_quiet(daemon: DaemonProcess, crowd: Crowd) -> None:
    cpu, pings = _cpu_seconds(daemon), crowd.pings
    await trio.sleep(QUIET_SECONDS)
    spent = _cpu_seconds(daemon) - cpu
    line(f"{PINGED:,} silent ones: the daemon's CPU in {QUIET_SECONDS} s", spent * 1000, "ms")
    line("  for each of its pings, with the pong", spent / (crowd.pings - pings) * 1e6, "us")


def _cpu_seconds(daemon: DaemonProcess) -> float:
    return sum(_times(daemon)) / os.sysconf("SC_CLK_TCK")


def _system_seconds(daemon: DaemonProcess) -> float:
    return _times(daemon)[1] / os.sysconf("SC_CLK_TCK")


def _times(daemon: DaemonProcess) -> tuple[int, int]:
    """Ticks of the processor: the program's own, and the kernel's on its behalf."""
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])


def _resident_bytes(daemon: DaemonProcess) -> int:
    return int(Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sockets", type=int, default=10_000, help=f"more than {FIRST}")
    count = parser.parse_args().sockets
    raise_open_files()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES
    if count > most:
        print(f"The limit of open files allows {most:,} sockets here: that many are opened.")
        count = most
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, Path(folder), count)


if __name__ == "__main__":
    main()
