"""What the writer alone can do: small commands of many tasks, durable, with nothing of the domain in them.

Each command reads ten values of 100 bytes, writes ten and emits one event. ``sale`` touches keys as a sale does: three
seats side by side, running numbers, some random ids, things of the buyer's own. ``uniform`` touches ten keys anywhere
among 100,000, which is the worst that a disk can be asked. Run it as ``python -m scripts.benchmarks.writer``;
``--data`` names a folder on the disk that is to be measured.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import trio

from storage.clock import SystemClock
from storage.engine import Command, EventCodec, Key, Partition, Transaction
from storage.keys import pack_key
from storage.lmdb_engine import open_lmdb
from storage.writer import ThreadedEngine, WriterLimits

TASKS = 200
COMMANDS_EACH = 100
SEATS = 20_000
VALUE = b"v" * 100
HALL = Partition(b"hall")
CODEC = EventCodec(msgspec.msgpack.encode, msgspec.msgpack.decode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one run showed. Seconds are of the wall clock; ``commit_share`` is the part of it spent in commits."""

    per_second: float
    median_seconds: float
    slowest_percent_seconds: float
    batch: float
    commit_seconds: float
    commit_share: float
    cpu_seconds: float


def uniform_keys(draw: random.Random, number: int) -> list[Key]:
    """Ten keys anywhere."""
    return [pack_key(HALL, 1 + table % 5, draw.randrange(SEATS)) for table in range(10)]


def sale_keys(draw: random.Random, number: int) -> list[Key]:
    """Ten keys as a reservation touches them; ``number`` counts the reservations."""
    seat, buyer = draw.randrange(SEATS - 2), draw.randrange(SEATS)
    return [
        *(pack_key(HALL, 1, seat + beside) for beside in range(3)),
        pack_key(HALL, 2, seat // 500),
        pack_key(HALL, 3, draw.randbytes(16)),
        pack_key(HALL, 4, number, draw.randbytes(16)),
        pack_key(HALL, 5, buyer),
        pack_key(HALL, 6, number),
        pack_key(_own(buyer), 1, draw.randbytes(16)),
        pack_key(_own(buyer), 2, draw.randbytes(16)),
    ]


def _own(buyer: int) -> Partition:
    return Partition(b"b" + buyer.to_bytes(16, "big"))


def _command(keys: Sequence[Key]) -> Command[None]:
    def run(tx: Transaction) -> None:
        for key in keys:
            tx.get(key)
        for key in keys:
            tx.put(key, VALUE)
        tx.emit(HALL, ("reserved", 1, 2, 3))

    partitions = {Partition(key[1 : 1 + key[0]]) for key in keys} | {HALL}
    return Command("benchmark", tuple(partitions), run)


async def measure(folder: Path, keys: Callable[[random.Random, int], list[Key]]) -> Figures:
    """Runs ``TASKS`` tasks of ``COMMANDS_EACH`` commands against a new store in ``folder``."""
    draw = random.Random(1)
    commands = [_command(keys(draw, number)) for number in range(TASKS * COMMANDS_EACH)]
    backend = open_lmdb(folder / "store.lmdb", 1024**3)
    backend.apply([(pack_key(HALL, 1, seat), VALUE) for seat in range(SEATS)], [])
    limits = WriterLimits(batch_max=512, queue_max=20_000)
    engine = ThreadedEngine(backend, SystemClock(), CODEC, limits)
    waits: list[float] = []

    async def task(number: int) -> None:
        for command in commands[number::TASKS]:
            began = time.perf_counter()
            await engine.submit(command)
            waits.append(time.perf_counter() - began)

    async with trio.open_nursery() as writer:
        await writer.start(engine.run)
        began, cpu_began = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as tasks:
            for number in range(TASKS):
                tasks.start_soon(task, number)
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
        writer.cancel_scope.cancel()
    backend.close()
    waits.sort()
    counters = engine.counters
    return Figures(
        per_second=len(waits) / seconds,
        median_seconds=waits[len(waits) // 2],
        slowest_percent_seconds=waits[len(waits) * 99 // 100],
        batch=counters.committed / counters.batches,
        commit_seconds=counters.commit_seconds_sum / counters.batches,
        commit_share=counters.commit_seconds_sum / seconds,
        cpu_seconds=cpu_seconds / len(waits),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=None, help="a folder on the disk to measure")
    data = parser.parse_args().data
    print(f"{TASKS} tasks, ten reads and ten writes of {len(VALUE)} bytes each, every commit synced")
    print(f"{'':10}{'a second':>10}{'median':>10}{'99 %':>10}{'a commit':>10}{'of':>7}{'busy':>7}{'CPU':>10}")
    for name, keys in (("sale", sale_keys), ("uniform", uniform_keys)):
        with tempfile.TemporaryDirectory(dir=data) as folder:
            found = trio.run(partial(measure, Path(folder), keys))
        print(
            f"{name:10}{found.per_second:>10,.0f}{found.median_seconds * 1e3:>7.1f} ms"
            f"{found.slowest_percent_seconds * 1e3:>7.1f} ms{found.commit_seconds * 1e3:>7.1f} ms"
            f"{found.batch:>7.0f}{found.commit_share:>7.0%}{found.cpu_seconds * 1e6:>7.0f} us"
        )


if __name__ == "__main__":
    main()
