"""What a seat map costs: made for the first time, made anew after one change, and given from what is kept.

    .venv/bin/python -m scripts.benchmarks.seat_map [--seats 20000]

Prints the CPU time of this process in microseconds (the median of several runs) for plain bytes, gzip and zstd, over a
real store in a temporary folder.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

import trio

from config.settings import StorageSettings
from storage.clock import SystemClock
from storage.engine import Command, Engine
from storage.open import open_inline_engine
from storage.schema.events import EVENT_CODEC
from storage.schema.ids import EventId, RowKey, seat_number
from storage.schema.layout import event_partition
from ticketd.domain.events import PutEvent, event_command_partitions, put_event
from ticketd.domain.seats import BlockSeats, block_seats
from ticketd.event_file.plan import EventPlan, RoomPlan, RowPlan, SeatPlan, SectionPlan, TierPlan, VenuePlan
from ticketd.views.seat_maps import Coding, SeatMapRequest, SeatMaps

EVENT_ID: Final = EventId(UUID(int=0xE0))
ROW_SEATS: Final = 40
SECTION_ROWS: Final = 20
RUNS: Final = 9
KEPT_RUNS: Final = 10_000
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


def main() -> None:
    parser = argparse.ArgumentParser(description="What a seat map costs.")
    parser.add_argument("--seats", type=int, default=20_000)
    seats = parser.parse_args().seats
    with tempfile.TemporaryDirectory() as folder:
        settings = StorageSettings()
        with open_inline_engine(Path(folder) / "data", settings, SystemClock(), EVENT_CODEC) as engine:
            trio.run(measure, engine, seats)


if __name__ == "__main__":
    main()
