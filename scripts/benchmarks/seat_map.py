"""What a seat map costs: made for the first time, made anew after one change, and given from what is kept; and in a
burst, in which seats change and maps are read all the time.

    .venv/bin/python -m scripts.benchmarks.seat_map [--seats 20000] [--burst-seconds 5]

Prints CPU time in microseconds over a real store in a temporary folder: first of this process, the median of several
runs, for plain bytes, gzip and zstd. Then of a burst of one change every 5 ms and 200 reads a second, gzip and zstd in
turns, in two rounds each: where requests make the maps, and where a task makes them ahead. A read, the longest one and
the longest step of the event loop are counted by the loop's thread alone; "of all" is the whole process for each read,
changes and threads among it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final
from uuid import UUID

import trio

from config.settings import StorageSettings
from storage.clock import SystemClock
from storage.engine import Command, Engine, Transaction
from storage.open import open_engine, open_inline_engine
from storage.schema.events import EVENT_CODEC
from storage.schema.ids import EventId, RowKey, seat_number
from storage.schema.layout import event_partition
from storage.writer import WritingEngine
from ticketd.domain.events import PutEvent, event_command_partitions, put_event
from ticketd.domain.seats import BlockSeats, block_seats, unblock_seats
from ticketd.event_file.plan import EventPlan, RoomPlan, RowPlan, SeatPlan, SectionPlan, TierPlan, VenuePlan
from ticketd.tasks.seat_maps import run_seat_maps
from ticketd.views.seat_map_text import Coding
from ticketd.views.seat_maps import SeatMapRequest, SeatMaps

EVENT_ID: Final = EventId(UUID(int=0xE0))
ROW_SEATS: Final = 40
SECTION_ROWS: Final = 20
RUNS: Final = 9
KEPT_RUNS: Final = 10_000
SEATS_MOVED: Final = 20
"""Of each row, in a burst; its first seat is moved before."""
CHANGE_SECONDS: Final = 0.005
BURST_CODINGS: Final[tuple[Coding, ...]] = ("gzip", "zstd")
CODINGS: Final[tuple[Coding | None, ...]] = (None, "gzip", "zstd")


class LeapingClock:
    """A clock on which no map is ever young enough to be given again once a seat has moved."""

    def __init__(self) -> None:
        self._at_ms = SystemClock().now_ms()

    def now_ms(self) -> int:
        self._at_ms += 1000
        return self._at_ms

    async def wait_until_ms(self, at_ms: int) -> None:
        await trio.sleep(0)


def make_plan(seats: int) -> EventPlan:
    now_ms = SystemClock().now_ms()
    row = tuple(SeatPlan(str(number), 0) for number in range(1, ROW_SEATS + 1))
    rows = max(seats // ROW_SEATS, 1)
    sections = tuple(
        SectionPlan(
            section_id=UUID(int=0x500 + first),
            name=f"Section {first // SECTION_ROWS + 1}",
            rows=tuple(RowPlan(f"R{n}", row) for n in range(min(SECTION_ROWS, rows - first))),
        )
        for first in range(0, rows, SECTION_ROWS)
    )
    return EventPlan(
        event_id=EVENT_ID,
        name="A benchmark",
        venue=VenuePlan(venue_id=UUID(int=1), name="Hall", city="Berlin", country="DE", timezone="UTC"),
        date_ms=now_ms + 86_400_000,
        general_sale_start_ms=now_ms,
        currency="USD",
        tiers=(TierPlan(tier_id=UUID(int=0x700), name="Floor", price_minor=50_000, fees_minor=7_500),),
        sections=sections,
        room=RoomPlan(enabled=False),
    )


def microseconds(work: Callable[[], object]) -> float:
    started = time.process_time_ns()
    work()
    return (time.process_time_ns() - started) / 1000


def move(number: int, rows: int, tx: Transaction) -> None:
    """Moves a seat, each time in another row; once all were moved so often that none is left, moves them back."""
    turn, row = divmod(number, rows)
    change = block_seats if turn // SEATS_MOVED % 2 == 0 else unblock_seats
    change(tx, BlockSeats(EVENT_ID, (seat_number(RowKey(row), ROW_SEATS - 1 - turn % SEATS_MOVED),)))


async def block_one(engine: Engine, row: int) -> None:
    seat = seat_number(RowKey(row), 0)
    command = Command(
        "block", (event_partition(EVENT_ID),), lambda tx: block_seats(tx, BlockSeats(EVENT_ID, (seat,)))
    )
    await engine.submit(command)


async def measure(engine: Engine, seats: int) -> None:
    plan = make_plan(seats)
    await engine.submit(
        Command("put", event_command_partitions(EVENT_ID), lambda tx: put_event(tx, PutEvent(plan)))
    )
    print(f"{plan.seat_count} seats, CPU time in microseconds")
    print(f"{'coding':8}{'bytes':>10}{'first':>10}{'after one':>11}{'from kept':>11}")
    for number, coding in enumerate(CODINGS):
        request = SeatMapRequest(event_id=EVENT_ID, coding=coding)
        maps = SeatMaps(engine, LeapingClock())
        read = partial(maps.read, request)
        first = statistics.median(microseconds(partial(read_first, engine, request)) for _ in range(RUNS))
        size = len(read().body)
        anew: list[float] = []
        for run in range(RUNS):
            await block_one(engine, number * RUNS + run)
            anew.append(microseconds(read))
        kept = microseconds(partial(read_often, read)) / KEPT_RUNS
        maps.close()
        print(f"{coding or 'plain':8}{size:>10}{first:>10.0f}{statistics.median(anew):>11.0f}{kept:>11.1f}")


def read_first(engine: Engine, request: SeatMapRequest) -> None:
    maps = SeatMaps(engine, LeapingClock())
    maps.read(request)
    maps.close()


def read_often(read: Callable[[], object]) -> None:
    for _ in range(KEPT_RUNS):
        read()


class LongestStep(trio.abc.Instrument):
    """The CPU time of the longest step of any task."""

    def __init__(self) -> None:
        self.nanoseconds = 0
        self._started: int | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._started = time.thread_time_ns()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        # The step in which this was added has no beginning.
        if self._started is not None:
            self.nanoseconds = max(self.nanoseconds, time.thread_time_ns() - self._started)


class Burst:
    """Seats that change and maps that are read, at a fixed rate each, and what the reads took."""

    def __init__(self, engine: Engine, seats: int, numbers: Iterator[int]) -> None:
        self.engine = engine
        self.rows = max(seats // ROW_SEATS, 1)
        self.maps = SeatMaps(engine, SystemClock())
        self.reads_ns: list[int] = []
        self.step = LongestStep()
        self._numbers = numbers

    async def play(self, seconds: float, *, ahead: bool) -> None:
        """The burst, and a line about it."""
        for coding in BURST_CODINGS:
            self.maps.read(SeatMapRequest(event_id=EVENT_ID, coding=coding))
        async with trio.open_nursery() as nursery:
            if ahead:
                await nursery.start(run_seat_maps, self.maps, SystemClock())
            nursery.start_soon(self._read)
            trio.lowlevel.add_instrument(self.step)
            used_ns, started = time.process_time_ns(), trio.current_time()
            await self._change(started + seconds)
            used_ns = time.process_time_ns() - used_ns
            trio.lowlevel.remove_instrument(self.step)
            nursery.cancel_scope.cancel()
        self.maps.close()
        reads = sorted(self.reads_ns)
        print(
            f"{'task' if ahead else 'requests':10}{len(reads):>8}{sum(reads) / len(reads) / 1000:>10.1f}"
            f"{reads[-1] / 1000:>10.0f}{self.step.nanoseconds / 1000:>10.0f}{used_ns / len(reads) / 1000:>10.0f}"
        )

    async def _change(self, until: float) -> None:
        at = trio.current_time()
        async with trio.open_nursery() as changes:
            while at < until:
                change = partial(move, next(self._numbers), self.rows)
                changes.start_soon(self.engine.submit, Command("move", (event_partition(EVENT_ID),), change))
                at += CHANGE_SECONDS
                await trio.sleep_until(at)

    async def _read(self) -> None:
        at = trio.current_time() + CHANGE_SECONDS / 2
        while True:
            for coding in BURST_CODINGS:
                request = SeatMapRequest(event_id=EVENT_ID, coding=coding)
                started = time.thread_time_ns()
                self.maps.read(request)
                self.reads_ns.append(time.thread_time_ns() - started)
                at += CHANGE_SECONDS
                await trio.sleep_until(at)


async def measure_burst(engine: WritingEngine, seats: int, seconds: float) -> None:
    print(f"\na change every {CHANGE_SECONDS * 1000:.0f} ms, as many reads: CPU time in microseconds")
    print(f"{'made by':10}{'reads':>8}{'a read':>10}{'longest':>10}{'step':>10}{'of all':>10}")
    numbers = count()
    async with trio.open_nursery() as writer:
        await writer.start(engine.run)
        for ahead in (False, True) * 2:
            await Burst(engine, seats, numbers).play(seconds, ahead=ahead)
        writer.cancel_scope.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description="What a seat map costs.")
    parser.add_argument("--seats", type=int, default=20_000)
    parser.add_argument("--burst-seconds", type=float, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = StorageSettings()
        data, clock = Path(folder) / "data", SystemClock()
        with open_inline_engine(data, settings, clock, EVENT_CODEC) as engine:
            trio.run(measure, engine, options.seats)
        with open_engine(data, settings, clock, EVENT_CODEC) as writing:
            trio.run(measure_burst, writing, options.seats, options.burst_seconds)


if __name__ == "__main__":
    main()
