"""What a change costs that many are told of: CPU until it has reached all who listen to one event, without sockets.

Each connection's messages are taken as soon as it has news, as by a front whose sockets have room. A seat is held
back: every listener is told the new count of its section. The first in line leaves: everybody else's place has moved,
and each is told their own. Time is simulated, so that the pauses between messages cost nothing. Run it as
``python -m scripts.benchmarks.realtime``.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from uuid import UUID

import structlog
import trio
import trio.testing

from scripts.benchmarks.room import line
from storage.engine import Command, Transaction
from storage.schema.ids import EntryId, EventId, RowKey, UserId, seat_number
from storage.schema.layout import event_partition
from tests.support.daemon import START_MS, Daemon, open_daemon
from ticketd.domain.events import PutEvent, event_command_partitions, put_event
from ticketd.domain.rooms import JoinRoom, LeaveRoom, join_room, leave_room
from ticketd.domain.seats import BlockSeats, block_seats
from ticketd.event_file.plan import EventPlan, RoomPlan, RowPlan, SeatPlan, SectionPlan, TierPlan, VenuePlan
from ticketd.ids import new_id
from ticketd.realtime.connection import Listener

EVENT_ID = EventId(UUID("0190a0b0-0000-7000-8000-0000000000c0"))
PARTITION = event_partition(EVENT_ID)
RUNS = 5


class Hearer:
    """Takes whatever there is for one connection."""

    def __init__(self, crowd: Crowd, listener: Listener) -> None:
        self._crowd = crowd
        self._connection = crowd.daemon.services.hub.connect(listener, self)
        self._connection.subscribe(EVENT_ID)
        self.has_news()

    def has_news(self) -> None:
        while self._connection.next_text() is not None:
            self._crowd.count_one()

    def recheck(self) -> int | None:
        return None

    def close(self) -> None:
        self._connection.close()


class Crowd:
    """Connections to one event; ``told`` counts the messages that were taken."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.told = 0
        self.wanted = 0
        self.all_told = trio.Event()

    def count_one(self) -> None:
        self.told += 1
        if self.told == self.wanted:
            self.all_told.set()

    async def time_until(self, count: int, change: Callable[[], Awaitable[object]]) -> float:
        """Milliseconds of CPU from the change until so many more messages were taken."""
        await trio.testing.wait_all_tasks_blocked()
        self.told, self.wanted, self.all_told = 0, count, trio.Event()
        began = time.process_time()
        await change()
        await self.all_told.wait()
        return (time.process_time() - began) * 1000


def plan() -> EventPlan:
    """An event that is on sale, whose room lets nobody in but the first."""
    row = RowPlan("A", tuple(SeatPlan(str(number), 0) for number in range(100)))
    return EventPlan(
        event_id=EVENT_ID,
        name="Benchmark",
        venue=VenuePlan(venue_id=UUID(int=1), name="Hall", city="Berlin", country="DE", timezone="UTC"),
        date_ms=START_MS + 86_400_000,
        general_sale_start_ms=START_MS - 1,
        currency="USD",
        tiers=(TierPlan(tier_id=UUID(int=2), name="Floor", price_minor=50_000),),
        sections=(SectionPlan(section_id=UUID(int=10), name="Floor", rows=(row,)),),
        room=RoomPlan(max_active=1, admit_per_minute=1, claim_seconds=36_000),
    )


async def measure(folder: Path, listeners: int) -> None:
    """Runs both changes for so many listeners, and prints the medians."""
    async with open_daemon(folder) as daemon:
        put = PutEvent(plan())
        await daemon.services.engine.submit(
            Command("put", event_command_partitions(EVENT_ID), lambda tx: put_event(tx, put))
        )
        crowd = Crowd(daemon)
        hearers = [Hearer(crowd, Listener(UserId(UUID(int=number)))) for number in range(listeners)]
        took = [await crowd.time_until(listeners, partial(_block, daemon, run)) for run in range(RUNS)]
        _print(f"{listeners:,} told of a section's seats", took, listeners)
        for hearer in hearers:
            hearer.close()
        entries = await _join(daemon, listeners + RUNS + 1)
        for number, entry_id in enumerate(entries[RUNS + 1 :]):
            Hearer(crowd, Listener(UserId(UUID(int=number)), EVENT_ID, entry_id))
        took = [
            await crowd.time_until(listeners, partial(_leave, daemon, entries[1 + run]))
            for run in range(RUNS)
        ]
        _print(f"{listeners:,} told of their own place", took, listeners)


def _print(what: str, took: list[float], listeners: int) -> None:
    milliseconds = statistics.median(took)
    line(what, milliseconds, "ms")
    line("  for each", milliseconds / listeners * 1000, "us")


async def _block(daemon: Daemon, seat: int) -> None:
    command = BlockSeats(EVENT_ID, (seat_number(RowKey(0), seat),))
    await daemon.services.engine.submit(Command("block", (PARTITION,), lambda tx: block_seats(tx, command)))


async def _leave(daemon: Daemon, entry_id: EntryId) -> None:
    command = LeaveRoom(EVENT_ID, entry_id)
    await daemon.services.engine.submit(Command("leave", (PARTITION,), lambda tx: leave_room(tx, command)))


async def _join(daemon: Daemon, count: int) -> list[EntryId]:
    def run(tx: Transaction) -> list[EntryId]:
        joins = [
            JoinRoom(
                event_id=EVENT_ID,
                user_id=UserId(UUID(int=number)),
                device_hash=number.to_bytes(32, "big"),
                entry_id=EntryId(new_id()),
            )
            for number in range(count)
        ]
        return [join_room(tx, one).entry.entry_id for one in joins]

    return (await daemon.services.engine.submit(Command("join", (PARTITION,), run))).result


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--listeners", type=int, nargs="*", default=[2000, 10_000])
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    for listeners in parser.parse_args().listeners:
        with tempfile.TemporaryDirectory() as folder:
            clock = trio.testing.MockClock(autojump_threshold=0)
            trio.run(measure, Path(folder), listeners, clock=clock)


if __name__ == "__main__":
    main()
