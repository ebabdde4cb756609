"""What a room of a million costs: to join, to be drawn, to be told one's place, to start a daemon over, and in memory.

The store is made once, in a folder of its own: everybody joins the lobby through the same transition as a request does,
500 in a commit, unsynced. Then the lobby is opened and drawn by the room's own task while the longest step of the event
loop is watched, and the real daemon is started over the store. Microseconds are of this process's CPU. Run it as
``python -m scripts.benchmarks.room``; ``--waiting`` makes a smaller room.
"""

from __future__ import annotations

import argparse
import random
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

import trio

from config.settings import StorageSettings
from scripts.benchmarks.start import start
from storage.clock import SystemClock
from storage.engine import Change, Command, Engine, Transaction
from storage.open import open_inline_engine
from storage.schema.events import EVENT_CODEC, LobbyDrawn
from storage.schema.ids import EntryId, EventId, UserId
from storage.schema.layout import event_partition
from storage.writer import InlineEngine
from ticketd.domain.events import PutEvent, event_command_partitions, put_event
from ticketd.domain.rooms import JoinRoom, join_room
from ticketd.event_file.plan import EventPlan, RoomPlan, RowPlan, SeatPlan, SectionPlan, TierPlan, VenuePlan
from ticketd.first_start import prepare_store
from ticketd.ids import new_id
from ticketd.tasks.rooms import run_rooms
from ticketd.views.places import find_standing
from ticketd.views.positions import Positions

EVENT_ID = EventId(UUID("0190a0b0-0000-7000-8000-0000000000bf"))
PARTITION = event_partition(EVENT_ID)
HOUR_MS = 3_600_000
COMMIT = 500
LOOKS = 20_000
SHOWN = 1000
"""Every so manieth entry is asked for; their sequence numbers are kept."""


class EarlierClock(SystemClock):
    """The machine's clock, so much behind."""

    def __init__(self, behind_ms: int) -> None:
        super().__init__()
        self._behind_ms = behind_ms

    def now_ms(self) -> int:
        return super().now_ms() - self._behind_ms


class LongestStep(trio.abc.Instrument):
    """How much CPU time, in seconds, the longest step of one task took: so long, at least, the event loop was held."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.task = ""
        self._began = time.thread_time()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        seconds = time.thread_time() - self._began
        if seconds > self.seconds:
            self.seconds, self.task = seconds, task.name


def plan(opens_ms: int) -> EventPlan:
    """An event whose lobby has been open for an hour, and whose room lets in one a minute."""
    return EventPlan(
        event_id=EVENT_ID,
        name="Benchmark",
        venue=VenuePlan(venue_id=UUID(int=1), name="Hall", city="Berlin", country="DE", timezone="UTC"),
        date_ms=opens_ms + 30 * 24 * HOUR_MS,
        general_sale_start_ms=opens_ms,
        currency="USD",
        tiers=(TierPlan(tier_id=UUID(int=2), name="Floor", price_minor=50_000),),
        sections=(
            SectionPlan(section_id=UUID(int=10), name="Floor", rows=(RowPlan("A", (SeatPlan("1", 0),)),)),
        ),
        room=RoomPlan(
            capacity=10_000_000, max_active=1, admit_per_minute=1, lobby_opens_ms=opens_ms - 3 * HOUR_MS
        ),
    )


async def fill(engine: Engine, waiting: int, opens_ms: int) -> list[EntryId]:
    """Puts the event and fills its lobby; answers every ``SHOWN``-th entry."""
    await prepare_store(engine, opens_ms, "sandbox")
    put = PutEvent(plan(opens_ms))
    await engine.submit(Command("put", event_command_partitions(EVENT_ID), lambda tx: put_event(tx, put)))
    shown: list[EntryId] = []
    joining_seconds = 0.0
    began = time.process_time()
    for first in range(0, waiting, COMMIT):
        joins = [join(number) for number in range(first, min(first + COMMIT, waiting))]
        shown += [one.entry_id for number, one in enumerate(joins, first) if number % SHOWN == 0]

        def run(tx: Transaction, joins: Sequence[JoinRoom] = joins) -> float:
            began = time.process_time()
            for one in joins:
                join_room(tx, one)
            return time.process_time() - began

        joining_seconds += (await engine.submit(Command("join", (PARTITION,), run))).result
    line("join, the transition", joining_seconds / waiting * 1e6, "us")
    line(f"join, durable with {COMMIT - 1} others", (time.process_time() - began) / waiting * 1e6, "us")
    return shown


def join(number: int) -> JoinRoom:
    return JoinRoom(
        event_id=EVENT_ID,
        user_id=UserId(UUID(int=number)),
        device_hash=number.to_bytes(32, "big"),
        entry_id=EntryId(new_id()),
    )


async def draw(engine: InlineEngine, clock: SystemClock, shown: list[EntryId]) -> None:
    """Opens the lobby and waits until it is drawn; then places are looked at."""
    positions = Positions(engine)
    began = time.process_time()
    positions.load(EVENT_ID)
    drawn = trio.Event()
    took: list[float] = []

    def notice(changes: Sequence[Change]) -> None:
        if any(isinstance(change.event, LobbyDrawn) for change in changes):
            took.append(time.process_time() - began)
            drawn.set()

    unsubscribe = engine.subscribe(notice)
    longest = LongestStep()
    trio.lowlevel.add_instrument(longest)
    began = time.process_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(run_rooms, engine, clock)
        await drawn.wait()
        nursery.cancel_scope.cancel()
    trio.lowlevel.remove_instrument(longest)
    unsubscribe()
    line("draw of the lobby", took[0], "s")
    line("  longest step of the event loop meanwhile", longest.seconds * 1000, "ms", 20)
    print(f"  that was a step of: {longest.task}")
    positions.close()
    read_places(engine, shown)


def read_places(engine: InlineEngine, shown: list[EntryId]) -> None:
    """The CPU of reading the line, and of telling places of it."""
    positions = Positions(engine)
    began = time.process_time()
    positions.load(EVENT_ID)
    line("reading the line from the store", time.process_time() - began, "s", 5)
    asked = [random.Random(1).choice(shown[1:]) for _ in range(LOOKS)]

    def standing(entry_id: EntryId) -> None:
        with engine.snapshot(PARTITION) as view:
            find_standing(view, positions, EVENT_ID, entry_id)

    line("status in the domain, a snapshot of its own", per_call(standing, asked), "us", 50)
    with engine.snapshot(PARTITION) as view:
        seqs = {one: find_standing(view, positions, EVENT_ID, one).entry.seq for one in dict.fromkeys(asked)}
    wanted = [seqs[one] for one in asked]
    line("a drawn position, looked up", per_call(partial(positions.drawn_position, EVENT_ID), wanted), "us")
    positions.close()


def per_call(call: Callable[..., object], arguments: Sequence[object]) -> float:
    """Microseconds of CPU for each call."""
    began = time.process_time()
    for argument in arguments:
        call(argument)
    return (time.process_time() - began) / len(arguments) * 1e6


def start_over(data: Path, empty: Path, waiting: int) -> None:
    """Starts the daemon over an empty store and over the full one."""
    without = memory_after_start(empty)[1]
    seconds, resident = memory_after_start(data)
    line("start of the daemon until it listens", seconds, "s", 20)
    line("memory of its own for each entry", (resident - without) / waiting, "bytes", 600)
    line("memory of its own in all", resident / 1024**2, "MiB")


def memory_after_start(data: Path) -> tuple[float, float]:
    """Seconds until ready, and the bytes that are the daemon's own (what LMDB maps is the page cache's)."""
    seconds, _, daemon = start(data)
    try:
        found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{daemon.pid}/status").read_text())
        assert found is not None
        return seconds, int(found[1]) * 1024
    finally:
        daemon.terminate()
        daemon.wait(timeout=30)


def line(what: str, figure: float, unit: str, target: float | None = None) -> None:
    aim = "" if target is None else f"target {target:,} {unit}, {figure / target:.2f} of it"
    print(f"{what:<48}{figure:>12,.2f} {unit:<6} {aim}".rstrip(), flush=True)


async def measure(data: Path, waiting: int) -> None:
    """Makes the store, draws the lobby, reads places."""
    settings = StorageSettings()
    opens_ms = SystemClock().now_ms() - HOUR_MS
    with open_inline_engine(data, settings, EarlierClock(2 * HOUR_MS), EVENT_CODEC, synced=False) as engine:
        shown = await fill(engine, waiting, opens_ms)
        line("the store", engine.used_bytes() / 1024**2, "MiB")
        line("  for each entry", engine.used_bytes() / waiting, "bytes")
    clock = SystemClock()
    with open_inline_engine(data, settings, clock, EVENT_CODEC, synced=False) as engine:
        await draw(engine, clock, shown)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--waiting", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path, help="where the store is made; default: the temporary folder")
    given = parser.parse_args()
    print(f"{given.waiting:,} in the lobby of one room")
    with tempfile.TemporaryDirectory(dir=given.data) as folder:
        trio.run(measure, Path(folder) / "data", given.waiting)
        start_over(Path(folder) / "data", Path(folder) / "empty", given.waiting)


if __name__ == "__main__":
    main()
