"""How many seats a second are held, durably: buyers in one event through the threaded writer, without HTTP.

A hall of 20,000 seats is held two by two until it is full; then each of the buyers holds two seats and gives them up
again, over and over. Each commit is synced to the disk. Run it as ``python -m scripts.benchmarks.reserve``; ``--data``
names a folder on the disk that is to be measured.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import trio

from storage.clock import SystemClock
from storage.engine import Command, Transaction
from storage.lmdb_engine import LmdbBackend, open_lmdb
from storage.overlay import Overlay
from storage.schema.events import EVENT_CODEC
from storage.schema.ids import EntryId, EventId, ReservationId, RowKey, SeatNumber, UserId, seat_number
from storage.schema.layout import event_partition
from storage.writer import ThreadedEngine, WriterLimits
from ticketd.domain.events import PutEvent, event_command_partitions, put_event
from ticketd.domain.reservations import (
    ReleaseReservation,
    ReserveBest,
    ReserveSeats,
    release_reservation,
    reserve_best,
    reserve_seats,
)
from ticketd.domain.rooms import ClaimAccess, JoinRoom, claim_access, join_room
from ticketd.domain.seats import BlockSeats, block_seats
from ticketd.event_file.plan import EventPlan, RoomPlan, RowPlan, SeatPlan, SectionPlan, TierPlan, VenuePlan
from ticketd.ids import new_id

R = TypeVar("R")

SECTIONS, ROWS, SEATS = 20, 25, 40
SEATS_EACH = 2
PAIRS = SECTIONS * ROWS * SEATS // SEATS_EACH
EVENT_ID = EventId(UUID("0190a0b0-0000-7000-8000-0000000000be"))
PARTITION = event_partition(EVENT_ID)
MIB = 1024 * 1024


def hall() -> EventPlan:
    """An event of 20,000 seats that is on sale, without a waiting room."""
    now_ms = time.time_ns() // 1_000_000
    rows = tuple(
        RowPlan(str(row), tuple(SeatPlan(str(number), 0) for number in range(SEATS))) for row in range(ROWS)
    )
    return EventPlan(
        event_id=EVENT_ID,
        name="Benchmark",
        venue=VenuePlan(venue_id=UUID(int=1), name="Hall", city="Berlin", country="DE", timezone="UTC"),
        date_ms=now_ms + 86_400_000,
        general_sale_start_ms=now_ms - 1000,
        currency="USD",
        tax_rate_ppm=90_000,
        purchase_limit=1000,
        tiers=(TierPlan(tier_id=UUID(int=2), name="Floor", price_minor=50_000, fees_minor=7_500),),
        sections=tuple(
            SectionPlan(section_id=UUID(int=10 + section), name=f"Section {section}", rows=rows)
            for section in range(SECTIONS)
        ),
        room=RoomPlan(enabled=False, access_seconds=86_400),
    )


def seats_of(pair: int) -> tuple[SeatNumber, ...]:
    """The pair-th two seats of the hall that stand side by side; neighbouring numbers lie in different rows."""
    at, row = divmod(pair % PAIRS, SECTIONS * ROWS)
    return tuple(seat_number(RowKey(row), at * SEATS_EACH + n) for n in range(SEATS_EACH))


def reserve(buyer: int, entry_id: EntryId, pair: int) -> ReserveSeats:
    return ReserveSeats(
        event_id=EVENT_ID,
        user_id=UserId(UUID(int=buyer)),
        entry_id=entry_id,
        reservation_id=ReservationId(new_id()),
        seats=seats_of(pair),
    )


async def let_in(engine: ThreadedEngine, buyer: int) -> EntryId:
    """The place of a buyer whose window to shop is open."""
    entry_id = EntryId(new_id())
    join = JoinRoom(
        event_id=EVENT_ID,
        user_id=UserId(UUID(int=buyer)),
        device_hash=b"device %d" % buyer,
        entry_id=entry_id,
    )

    def run(tx: Transaction) -> None:
        join_room(tx, join)
        claim_access(tx, ClaimAccess(EVENT_ID, entry_id, "bench"))

    await submit(engine, run)
    return entry_id


async def submit(engine: ThreadedEngine, run: Callable[[Transaction], R]) -> R:
    return (await engine.submit(Command("bench", (PARTITION,), run))).result


@dataclass
class Run:
    """Buyers at work: how long each hold took until it was durable, in seconds, and which of them are still held."""

    engine: ThreadedEngine
    entries: list[EntryId]
    took: list[float] = field(default_factory=list)
    held: list[ReserveSeats] = field(default_factory=list)

    async def hold(self, buyer: int, pair: int) -> ReserveSeats:
        began = trio.current_time()
        wanted = reserve(buyer, self.entries[buyer], pair)
        await submit(self.engine, partial(reserve_seats, command=wanted))
        self.took.append(trio.current_time() - began)
        return wanted

    async def give_up(self, held: ReserveSeats) -> None:
        given_up = ReleaseReservation(EVENT_ID, held.user_id, held.reservation_id)
        await submit(self.engine, partial(release_reservation, command=given_up))

    async def fill(self, buyer: int) -> None:
        """A buyer who holds every seat that is theirs of a hall shared out among all buyers, and keeps them."""
        for pair in range(buyer, PAIRS, len(self.entries)):
            self.held.append(await self.hold(buyer, pair))

    async def cycle(self, buyer: int, until: float) -> None:
        """A buyer who holds two seats and gives them up, over and over."""
        while trio.current_time() < until:
            await self.give_up(await self.hold(buyer, buyer))

    async def empty(self) -> None:
        async with trio.open_nursery() as nursery:
            for held in self.held:
                nursery.start_soon(self.give_up, held)


async def measure(data: Path, buyers: int, seconds: float) -> None:
    """Runs the whole benchmark in the folder, and prints its table."""
    backend = open_lmdb(data / "bench.lmdb", 4096 * MIB)
    clock = SystemClock()
    engine = ThreadedEngine(backend, clock, EVENT_CODEC, WriterLimits(batch_max=512, queue_max=20_000))
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        plan = PutEvent(hall())
        began = time.perf_counter()
        put = Command("put", event_command_partitions(EVENT_ID), partial(put_event, command=plan))
        await engine.submit(put)
        line("put an event of 20,000 seats", (time.perf_counter() - began) * 1000, "ms")
        entries = [await let_in(engine, buyer) for buyer in range(buyers)]
        filling = Run(engine, entries)
        with measured(engine, filling, f"{buyers} buyers fill the hall"):
            async with trio.open_nursery() as shoppers:
                for buyer in range(buyers):
                    shoppers.start_soon(filling.fill, buyer)
        await filling.empty()
        cycling = Run(engine, entries)
        with measured(engine, cycling, f"{buyers} buyers hold and give up"):
            until = trio.current_time() + seconds
            async with trio.open_nursery() as shoppers:
                for buyer in range(buyers):
                    shoppers.start_soon(cycling.cycle, buyer, until)
        nursery.cancel_scope.cancel()
    time_transitions(backend, clock)
    backend.close()


@contextmanager
def measured(engine: ThreadedEngine, run: Run, what: str) -> Iterator[None]:
    """Prints what the buyers did meanwhile."""
    before = replace(engine.counters)
    began, cpu_began = time.perf_counter(), time.process_time()
    yield
    took, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    counters = engine.counters
    commands, batches = counters.committed - before.committed, counters.batches - before.batches
    commit_seconds = counters.commit_seconds_sum - before.commit_seconds_sum
    line(f"{what}: reservations", len(run.took) / took, "/s")
    line("  of the 3,000 a second that are the aim", len(run.took) / took / 3000, "x")
    line("  commands, releases among them", commands / took, "/s")
    line("  commands in a commit", commands / batches, "")
    line("  a commit, synced", commit_seconds / batches * 1000, "ms")
    line("  CPU time of a command", cpu / commands * 1e6, "us")
    line("  cores in use", cpu / took, "")
    cuts = statistics.quantiles(run.took, n=100)
    line("  until durable, median", cuts[49] * 1000, "ms")
    line("  until durable, 99 of 100", cuts[98] * 1000, "ms")


def time_transitions(backend: LmdbBackend, clock: SystemClock) -> None:
    """The Python of one transition over its overlay, without a commit."""
    view = backend.view()
    entry_id, buyer = EntryId(new_id()), UserId(UUID(int=10_000))
    batch = Overlay(view, clock.now_ms(), None)
    join_room(batch, JoinRoom(event_id=EVENT_ID, user_id=buyer, device_hash=b"alone", entry_id=entry_id))
    claim_access(batch, ClaimAccess(EVENT_ID, entry_id, "bench"))
    wanted = [reserve(10_000 + pair, entry_id, pair) for pair in range(2000)]
    line("reserve two seats", per_call(batch, [partial(reserve_seats, command=one) for one in wanted]), "us")
    given_up = [ReleaseReservation(EVENT_ID, one.user_id, one.reservation_id) for one in wanted]
    released = [partial(release_reservation, command=one) for one in given_up]
    reserved = Overlay(batch, clock.now_ms(), None)
    for one in wanted:
        reserve_seats(reserved, one)
    line("release two seats", per_call(reserved, released), "us")
    best = [
        ReserveBest(
            event_id=EVENT_ID,
            user_id=UserId(UUID(int=20_000 + at)),
            entry_id=entry_id,
            reservation_id=ReservationId(new_id()),
            quantity=2,
        )
        for at in range(200)
    ]
    calls = [partial(reserve_best, command=one) for one in best]
    line("the best two of 20,000 free seats", per_call(batch, calls), "us")
    scattered = Overlay(batch, clock.now_ms(), None)
    block_all_but_every_third(scattered)
    line("  of 6,500 free seats, each alone but the last", per_call(scattered, calls), "us")
    view.close()


def block_all_but_every_third(tx: Overlay) -> None:
    """Leaves no two seats together but in the last row."""
    numbers = [
        seat_number(RowKey(row), position)
        for row in range(SECTIONS * ROWS - 1)
        for position in range(SEATS)
        if position % 3
    ]
    block_seats(tx, BlockSeats(EVENT_ID, tuple(numbers)))


def per_call(batch: Overlay, calls: Sequence[Callable[[Overlay], object]]) -> float:
    """Microseconds for each call, every one in an overlay of its own that is dropped."""
    took: list[float] = []
    for call in calls:
        overlay = Overlay(batch, batch.now_ms, (PARTITION,))
        began = time.perf_counter()
        call(overlay)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e6


def line(what: str, figure: float, unit: str) -> None:
    print(f"{what:<48}{figure:>12,.2f} {unit}".rstrip())


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--buyers", type=int, default=200)
    arguments.add_argument("--seconds", type=float, default=5.0)
    arguments.add_argument(
        "--data", type=Path, help="a folder on the disk to be measured; default: the temporary one"
    )
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=given.data) as folder:
        trio.run(measure, Path(folder), given.buyers, given.seconds)


if __name__ == "__main__":
    main()
