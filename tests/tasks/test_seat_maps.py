"""Seat maps made ahead of the requests that ask for them, on virtual time.

A map of the hall here may be 50 ms old, and is made anew once it is 40 ms old. So what shows between the two was made
by the task: a request would give the old map still.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
import trio.testing

from config.settings import Settings, StorageSettings
from storage.clock import TrioClock
from storage.engine import Command
from storage.schema.ids import EventId, RowKey, SeatNumber, seat_number
from storage.schema.layout import event_partition
from storage.schema.records import RowPlanRecord, RowRecord
from tests.domain.inventory_stage import EVENT_ID, OPENS_MS, InventoryStage, make_plan, section_id
from tests.domain.room_stage import open_store
from tests.support.daemon import open_daemon
from tests.views.seat_map_reading import put, read, refused, states, stored_states
from ticketd.domain.events import DeleteEvent, PutEvent, delete_event, event_command_partitions, put_event
from ticketd.domain.seats import BlockSeats, block_seats
from ticketd.errors import ErrorCode
from ticketd.tasks.seat_maps import Texts, run_seat_maps
from ticketd.views.kept_maps import CROWD_ASKS, CROWD_MS, MIN_SEATS_AHEAD
from ticketd.views.seat_map_text import Coding, SeatMapText
from ticketd.views.seat_maps import KEPT_BYTES, ROWS_AT_ONCE, SeatMapRequest, SeatMaps
from ticketd.views.seat_text import SeatStyle

OLDEST_MS = 50
PERIOD_MS = 40
ROW_SEATS = 50
ROWS = MIN_SEATS_AHEAD // ROW_SEATS
HALL = {
    "Floor": {f"R{n}": ROW_SEATS for n in range(ROWS // 2)},
    "Roof": {f"S{n}": ROW_SEATS for n in range(ROWS // 2)},
}


class World:
    """A hall, its maps, the task that makes them ahead, and what was made."""

    def __init__(self, stage: InventoryStage[TrioClock], maps: SeatMaps) -> None:
        self.stage = stage
        self.maps = maps
        self.made: list[SeatMapText] = []
        self.made_at_ms: list[int] = []
        self.go_on = trio.Event()
        self.go_on.set()
        self._seats = count()

    async def in_thread(self, work: Callable[[], Texts]) -> Texts:
        """What would hold the loop up, done at once, or when the test lets it go on."""
        self.made_at_ms.append(self.now_ms)
        await self.go_on.wait()
        texts = work()
        self.made += [text for part in texts for text in part]
        return texts

    @property
    def now_ms(self) -> int:
        return self.stage.clock.now_ms() - OPENS_MS

    async def until_ms(self, at_ms: int) -> None:
        """Waits until the task has done what there is to do at this time."""
        await self.stage.clock.wait_until_ms(OPENS_MS + at_ms)
        await trio.testing.wait_all_tasks_blocked()

    async def block_next(self) -> None:
        """Blocks a seat, each time in another row."""
        number = next(self._seats)
        await self.stage.block(seat_number(RowKey(number % ROWS), number // ROWS))

    def crowd(self, asks: int = CROWD_ASKS + 1, **request: Any) -> SeatMapText:
        """Asks so often that a crowd is seen in it: the first one, which has the map made, is not counted."""
        asked = SeatMapRequest(event_id=EVENT_ID, **request)
        return [self.maps.read(asked) for _ in range(asks)][-1]

    def blocked(self) -> int:
        """How many seats the map shows as blocked."""
        return list(states(read(self.maps)).values()).count("BLOCKED")


@asynccontextmanager
async def world(path: Path, kept_bytes: int = KEPT_BYTES) -> AsyncIterator[World]:
    clock = TrioClock(OPENS_MS)
    with open_store(path, clock) as engine:
        stage = InventoryStage(engine, clock)
        await stage.put(make_plan(HALL))
        the = World(stage, SeatMaps(engine, clock, kept_bytes))
        async with trio.open_nursery() as nursery:
            await nursery.start(run_seat_maps, the.maps, clock, the.in_thread)
            yield the
            nursery.cancel_scope.cancel()


async def test_a_crowds_map_is_made_ahead(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as the:
        the.crowd()
        await the.until_ms(10)
        await the.block_next()
        await the.until_ms(PERIOD_MS - 1)
        assert the.blocked() == 0
        await the.until_ms(PERIOD_MS)
        assert the.blocked() == 1
        assert states(read(the.maps)) == stored_states(the.stage)


async def test_after_a_quiet_time_it_is_made_at_once(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as the:
        the.crowd()
        await the.until_ms(CROWD_MS - 1)
        await the.block_next()
        await trio.testing.wait_all_tasks_blocked()
        assert the.made_at_ms == [CROWD_MS - 1]
        assert the.crowd(1) is the.made[0]


@pytest.mark.parametrize("asks", [CROWD_ASKS, CROWD_ASKS + 1])
async def test_what_no_crowd_asks_for_is_left_alone(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, asks: int
) -> None:
    async with world(tmp_path) as the:
        the.crowd(asks)
        for at_ms in range(0, 3 * CROWD_MS, 100):
            await the.until_ms(at_ms)
            await the.block_next()
        if asks > CROWD_ASKS:
            assert the.made_at_ms[0] == PERIOD_MS
            assert CROWD_MS - 200 < the.made_at_ms[-1] < CROWD_MS
        else:
            assert the.made_at_ms == []


async def test_of_an_events_maps_those_of_the_crowd_alone_are_made(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """The whole map's crowd leaves at the beginning, one section's stays."""
    async with world(tmp_path) as the:
        the.crowd()
        made: list[int] = []
        for at_ms in range(0, 2 * CROWD_MS, 100):
            await the.until_ms(at_ms)
            the.crowd(section_id=section_id("Roof"))
            the.made.clear()
            await the.block_next()
            await the.until_ms(at_ms + 99)
            made.append(len(the.made))
        while_both_want = CROWD_MS // 100
        assert made[:while_both_want] == [2] * while_both_want
        assert made[while_both_want:] == [1] * while_both_want


async def test_small_maps_are_left_to_requests(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as the:
        await the.stage.put(make_plan(HALL | {"Roof": {f"S{n}": ROW_SEATS for n in range(ROWS // 2 - 1)}}))
        the.crowd()
        await the.block_next()
        await the.until_ms(CROWD_MS)
        assert the.made == []


async def test_in_a_burst_no_request_makes_a_map(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as the:
        changes_ms: list[int] = []
        the.crowd(coding="zstd")
        for at_ms in range(0, 400, 5):
            await the.until_ms(at_ms)
            text = the.crowd(1, coding="zstd")
            if at_ms >= PERIOD_MS:
                assert text in the.made
                old = [change_ms for change_ms in changes_ms if change_ms <= at_ms - OLDEST_MS]
                assert list(states(read(the.maps, coding="zstd")).values()).count("BLOCKED") >= len(old)
            await the.block_next()
            changes_ms.append(at_ms)
        assert the.made_at_ms == list(range(PERIOD_MS, 400, PERIOD_MS))


async def test_a_request_makes_it_where_the_task_is_late(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as the:
        the.crowd()
        await the.until_ms(10)
        await the.block_next()
        the.go_on = trio.Event()
        await the.until_ms(10 + OLDEST_MS - 1)
        assert the.made_at_ms == [PERIOD_MS]
        assert the.blocked() == 0, "what it lacks is not old yet"
        await the.until_ms(10 + OLDEST_MS)
        assert the.blocked() == 1
        # What comes late does not take the place of what is newer.
        await the.block_next()
        await the.until_ms(10 + 2 * OLDEST_MS)
        assert the.blocked() == 2
        newer = the.crowd(1)
        the.go_on.set()
        await trio.testing.wait_all_tasks_blocked()
        assert the.made
        assert the.crowd(1) is newer


@pytest.mark.parametrize("what", ["deleted", "another plan", "made room for others"])
async def test_what_is_made_of_an_event_that_is_gone_is_dropped(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, what: str
) -> None:
    async with world(tmp_path, kept_bytes=1 if what == "made room for others" else KEPT_BYTES) as the:
        the.crowd()
        await the.block_next()
        the.go_on = trio.Event()
        await the.until_ms(PERIOD_MS)
        if what == "deleted":
            partitions = event_command_partitions(EVENT_ID)
            await the.stage.engine.submit(
                Command("delete", partitions, lambda tx: delete_event(tx, DeleteEvent(EVENT_ID)))
            )
        elif what == "another plan":
            await the.stage.put(make_plan())
            read(the.maps)
        else:
            other = make_plan(event_id=UUID(int=0xE0))
            await put(the.stage, other)
            the.maps.read(SeatMapRequest(event_id=EventId(other.event_id)))
        size_bytes = the.maps.size_bytes
        the.go_on.set()
        await trio.testing.wait_all_tasks_blocked()
        assert the.made
        assert the.maps.size_bytes == size_bytes
        if what == "deleted":
            assert refused(the.maps).code is ErrorCode.EVENT_NOT_FOUND
        else:
            assert states(read(the.maps)) == stored_states(the.stage)
        await the.until_ms(CROWD_MS)
        assert len(the.made) == 1, "nothing is made of it again"


async def test_whoever_makes_it_it_is_the_same(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    codings: tuple[Coding | None, ...] = (None, "gzip", "zstd")
    wanted: list[dict[str, Any]] = [
        {"section_id": part, "coding": coding} for part in (None, section_id("Roof")) for coding in codings
    ]
    async with world(tmp_path) as the:
        for request in wanted:
            the.crowd(**request)
        await the.block_next()
        await the.until_ms(PERIOD_MS)
        ahead = [the.crowd(1, **request) for request in wanted]
        assert ahead == the.made
        anew = SeatMaps(the.stage.engine, the.stage.clock)
        assert [anew.read(SeatMapRequest(event_id=EVENT_ID, **request)) for request in wanted] == ahead
        assert len({text.etag for text in ahead}) == len(wanted)
        versions_of_a_row = 8 * ROW_SEATS
        assert the.maps.size_bytes == anew.size_bytes + versions_of_a_row


async def test_changes_are_never_held_back(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as the:
        the.crowd()
        version = read(the.maps)["version"]
        the.go_on = trio.Event()
        for blocked in range(1, 20):
            await the.until_ms(10 * blocked)
            await the.block_next()
            assert len(states(read(the.maps, since=version))) == blocked


async def test_rows_are_read_a_few_at_a_time(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as the:
        the.crowd()
        for _ in range(3 * ROWS_AT_ONCE + 1):
            await the.block_next()
        steps = StepsOfRows()
        steps.watch(monkeypatch)
        trio.lowlevel.add_instrument(steps)
        await the.until_ms(PERIOD_MS)
        trio.lowlevel.remove_instrument(steps)
        assert [rows for rows in steps.rows if rows] == [ROWS_AT_ONCE] * 3 + [1]
        assert the.blocked() == 3 * ROWS_AT_ONCE + 1


class StepsOfRows(trio.abc.Instrument):
    """Counts how many rows each step of a task reads."""

    def __init__(self) -> None:
        self.rows: list[int] = [0]

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        row_text = SeatStyle.row_text

        def counted(
            style: SeatStyle, row_key: RowKey, plan: RowPlanRecord, record: RowRecord | None
        ) -> bytes:
            self.rows[-1] += 1
            return row_text(style, row_key, plan, record)

        monkeypatch.setattr(SeatStyle, "row_text", counted)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.rows.append(0)


@pytest.mark.parametrize("last", [0, 1])
async def test_of_two_the_one_that_was_asked_for_last_comes_first(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, last: int
) -> None:
    async with world(tmp_path) as the:
        other = make_plan(HALL, event_id=UUID(int=0xE0))
        await put(the.stage, other)
        both = [EVENT_ID, EventId(other.event_id)]
        for event_id in both:
            for _ in range(CROWD_ASKS + 1):
                the.maps.read(SeatMapRequest(event_id=event_id))
        await the.until_ms(5)
        the.maps.read(SeatMapRequest(event_id=both[last]))
        for event_id in both:
            await the.stage.engine.submit(block_first(event_id))
        assert the.maps.next_due() == (OPENS_MS + PERIOD_MS, both[last])


def block_first(event_id: EventId) -> Command[None]:
    seat: SeatNumber = seat_number(RowKey(0), 0)

    def block(tx: Any) -> None:
        block_seats(tx, BlockSeats(event_id, (seat,)))

    return Command("block", (event_partition(event_id),), block)


async def test_in_the_tree_it_is_made_in_a_thread(mock_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """Time stands still but for one leap, so that no request has a reason to make the map."""
    settings = Settings(storage=StorageSettings(map_size_bytes=256 * 1024 * 1024))
    async with open_daemon(tmp_path, settings) as daemon:
        engine, maps = daemon.services.engine, daemon.services.seat_maps
        plan = make_plan(HALL)
        partitions = event_command_partitions(EVENT_ID)
        await engine.submit(Command("put", partitions, lambda tx: put_event(tx, PutEvent(plan))))
        for _ in range(CROWD_ASKS + 1):
            read(maps)
        await engine.submit(block_first(EVENT_ID))
        mock_clock.jump(PERIOD_MS / 1000)
        give_up_at = time.monotonic() + 30
        while "BLOCKED" not in states(read(maps)).values():
            assert time.monotonic() < give_up_at, "nobody made the map"
            await trio.sleep(0)
