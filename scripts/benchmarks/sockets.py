"""What WebSockets cost the real daemon: 2,000 of them listen to one event, and a seat is reserved.

The daemon's CPU and memory are the kernel's figures for its process; the crowd's own are not counted. Run it as
``python -m scripts.benchmarks.sockets``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import httpx
import trio

from scripts.benchmarks.room import line
from tests.front.raw_websocket import RawSocket
from tests.support.listening import (
    SEATS,
    UNLIMITED,
    hear_seats,
    open_sockets,
    prepare_event,
    raise_open_files,
    reserve_one,
)
from tests.support.process import DaemonProcess, serving

RUNS = 3


async def measure(folder: Path, count: int) -> None:
    """Opens so many sockets, reserves a seat a few times, and prints what it took."""
    data = folder / "data"
    key = prepare_event(data)
    sockets: list[RawSocket] = []
    with serving(data, environ=UNLIMITED) as daemon:
        async with httpx.AsyncClient(base_url=daemon.url, timeout=60, headers={"X-API-Key": key}) as client:
            token = (await client.post("/v1/sessions", json={"user_id": str(uuid4())})).json()["token"]
            resident, cpu = _resident_bytes(daemon), _cpu_seconds(daemon)
            await open_sockets(daemon, token, count, sockets)
            line(
                f"opening and subscribing, each of {count:,}",
                (_cpu_seconds(daemon) - cpu) / count * 1e6,
                "us",
            )
            line("memory for each", (_resident_bytes(daemon) - resident) / count / 1024, "KiB")
            walls, cpus = [], []
            for run in range(RUNS):
                cpu, began = _cpu_seconds(daemon), time.perf_counter()
                await reserve_one(client)
                for socket in sockets:
                    assert (await hear_seats(socket))["available_seats"] == SEATS - 1 - run
                walls.append((time.perf_counter() - began) * 1000)
                cpus.append((_cpu_seconds(daemon) - cpu) * 1000)
            line("from joining for a seat until all had heard", statistics.median(walls), "ms")
            line("  the daemon's CPU for it", statistics.median(cpus), "ms")
        for socket in sockets:
            socket.stream.socket.close()


def _cpu_seconds(daemon: DaemonProcess) -> float:
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_bytes(daemon: DaemonProcess) -> int:
    return int(Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sockets", type=int, default=2000, help="a multiple of 100")
    count = parser.parse_args().sockets
    raise_open_files()
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, Path(folder), count)


if __name__ == "__main__":
    main()
