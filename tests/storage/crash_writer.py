"""A process that commits for as long as it lives and tells on stdout what was acknowledged; run by ``test_crash``.

Arguments: the store's file and how many tasks submit. Each task counts in a key of its own, and every command also adds
one to a common counter, so that a torn commit would show. Lines are ``TASK NUMBER`` after the acknowledgement.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import trio

from storage.clock import SystemClock
from storage.engine import Command, EventCodec, OutcomeUnknown, Partition, StorageError, Transaction
from storage.keys import pack_key
from storage.lmdb_engine import open_lmdb
from storage.writer import ThreadedEngine, WriterLimits

CODEC = EventCodec(msgspec.msgpack.encode, msgspec.msgpack.decode)
HALL = Partition(b"hall")
TOTAL = pack_key(HALL, 2, 0)
MAP_BYTES = 64 * 1024 * 1024


def step(task: int, number: int) -> Command[None]:
    """Writes ``number`` for the task, adds one to the total, and emits both."""

    def run(tx: Transaction) -> None:
        tx.put(pack_key(HALL, 1, task), str(number).encode())
        tx.put(TOTAL, str(int(tx.get(TOTAL) or b"0") + 1).encode())
        tx.emit(HALL, [task, number])

    return Command("step", (HALL,), run)


async def main(path: Path, tasks: int) -> None:
    """Commits until it is killed or a commit fails; then it prints ``unknown`` or the error, and ends with 1."""
    backend = open_lmdb(path, MAP_BYTES)
    engine = ThreadedEngine(backend, SystemClock(), CODEC, WriterLimits(batch_max=64, queue_max=1000))

    async def submit(task: int) -> None:
        number = 0
        while True:
            number += 1
            try:
                await engine.submit(step(task, number))
            except OutcomeUnknown:
                print("unknown", flush=True)
                await trio.sleep_forever()
            print(task, number, flush=True)

    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        for task in range(tasks):
            nursery.start_soon(submit, task)


if __name__ == "__main__":
    try:
        trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
    except* StorageError as group:
        print(group.exceptions[0])
        sys.exit(1)
