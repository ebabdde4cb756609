"""How long the daemon takes to start on a store of 100 events with 20,000 seats each, and how much memory it has then.

The store is made once, in a folder of its own, through the same transitions as an import; a tenth of the seats is sold.
Then the real daemon is started on it, three times, and its first answer to ``/readyz`` is waited for. Run it as
``python -m scripts.benchmarks.start``.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from functools import partial
from pathlib import Path
from uuid import UUID

import msgspec
import trio

from config import load_settings
from scripts.benchmarks.reserve import hall
from storage.clock import SystemClock
from storage.engine import Command
from storage.open import open_inline_engine
from storage.schema.events import EVENT_CODEC
from storage.schema.ids import EventId, RowKey, seat_number
from storage.schema.layout import event_partition
from ticketd.domain.events import PutEvent, event_command_partitions, put_event
from ticketd.domain.seats import BlockSeats, block_seats

EVENTS = 100
BLOCKED_ROWS = 50
MIB = 1024 * 1024


async def fill(data: Path) -> int:
    """Makes the store; answers its size in bytes."""
    settings = load_settings().settings.storage
    with open_inline_engine(data, settings, SystemClock(), EVENT_CODEC, synced=False) as engine:
        for number in range(EVENTS):
            event_id = EventId(
                UUID(int=(0x0190 << 112) + (0x7 << 76) + (0x2 << 62) + (number << 80) + number)
            )
            put = PutEvent(plan=msgspec.structs.replace(hall(), event_id=event_id, name=f"Event {number}"))
            await engine.submit(
                Command("put_event", event_command_partitions(event_id), partial(put_event, command=put))
            )
            seats = tuple(
                seat_number(RowKey(row), position)
                for row in range(1, BLOCKED_ROWS + 1)
                for position in range(40)
            )
            block = BlockSeats(event_id, seats)
            await engine.submit(
                Command("block_seats", (event_partition(event_id),), partial(block_seats, command=block))
            )
        return engine.used_bytes()


def start(data: Path) -> tuple[float, float, subprocess.Popen[str]]:
    """Starts the daemon; seconds until it is ready, its resident memory in MiB, and the process."""
    began = time.perf_counter()
    daemon = subprocess.Popen(
        [sys.executable, "-m", "ticketd", "serve", "--data", str(data), "--bind", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert daemon.stdout is not None
    line = daemon.stdout.readline()
    found = re.search(r"http://[^ ]+", line)
    if found is None:
        raise SystemExit(f"the daemon did not start: {line!r}")
    with urllib.request.urlopen(found[0] + "/readyz", timeout=10) as answer:
        assert answer.status == 200
    seconds = time.perf_counter() - began
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    resident = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert resident is not None
    return seconds, int(resident[1]) / 1024, daemon


def main() -> None:
    """Prints the median of the starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        used = trio.run(fill, data)
        starts: list[float] = []
        resident: list[float] = []
        for _ in range(runs):
            seconds, mib, daemon = start(data)
            starts.append(seconds)
            resident.append(mib)
            daemon.terminate()
            daemon.wait(timeout=15)
    print(f"{'store':28}{EVENTS} events x 20,000 seats, {used / MIB:.0f} MiB")
    print(f"{'start until ready':28}{statistics.median(starts):.2f} s (target: under 3 s)")
    print(f"{'resident memory then':28}{statistics.median(resident):.0f} MiB (target: under 200 MiB)")


if __name__ == "__main__":
    main()
