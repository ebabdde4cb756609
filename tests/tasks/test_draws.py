"""The draw as the task works it out: at the bounds of a chunk, killed at any point, in slices, over restarts."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from storage.engine import MAX_VALUE_BYTES, Command, Committed, EngineOverloaded, Transaction
from storage.schema.draws import CHUNK_NUMBERS
from storage.schema.ids import EntryId
from storage.schema.layout import DRAW, DRAWN_ORDER, DRAWN_RANKS, LOBBY
from storage.schema.states import EntryState
from storage.writer import InlineEngine
from tests.domain.room_stage import MINUTE_MS, OPENS_MS, HandClock, Stage, open_store, staged, with_room
from tests.support.hand_draw import hand_draw
from ticketd.domain.rooms import JoinedRoom
from ticketd.tasks import rooms as rooms_module
from ticketd.tasks.draws import draw_lobby
from ticketd.tasks.rooms import run_rooms

R = TypeVar("R")

CHUNK = 8
LOBBY_OPENS_MS = OPENS_MS - 1000
SALE = with_room(max_active=1, lobby_opens_ms=LOBBY_OPENS_MS)


class Killed(Exception):
    """The process ends here."""


class MortalEngine(InlineEngine):
    """A real engine whose process is killed before, or after, its so-manieth commit of a draw."""

    left: int | None = None
    error: Exception = Killed()
    after_commit = False

    async def submit(self, command: Command[R], *, deadline_seconds: float | None = None) -> Committed[R]:
        if self.left is None or command.name not in {"keep_drawn_chunk", "finish_draw"}:
            return await super().submit(command, deadline_seconds=deadline_seconds)
        self.left -= 1
        if self.left >= 0:
            return await super().submit(command, deadline_seconds=deadline_seconds)
        if self.after_commit:
            await super().submit(command, deadline_seconds=deadline_seconds)
        self.left = None
        raise self.error


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ticketd.tasks.draws", "ticketd.domain.draws", "ticketd.views.positions"):
        monkeypatch.setattr(f"{module}.CHUNK_NUMBERS", CHUNK)
    monkeypatch.setattr("ticketd.tasks.draws.READ_AT_ONCE", 5)


def order_of(stage: Stage) -> list[EntryId]:
    """The order of the draw, by the second implementation."""
    with stage.engine.snapshot(stage.partition) as view:
        draw = DRAW.get(view, stage.partition)
        listed = [entry_id for _, entry_id in LOBBY.scan(view, stage.partition)]
    assert draw is not None
    return [EntryId(one) for one in hand_draw(draw.seed, listed)]


def is_drawn(stage: Stage) -> bool:
    with stage.engine.snapshot(stage.partition) as view:
        draw = DRAW.get(view, stage.partition)
    return draw is not None and draw.drawn_at_ms is not None


def chunks(stage: Stage) -> list[int]:
    with stage.engine.snapshot(stage.partition) as view:
        return [len(list(table.scan(view, stage.partition))) for table in (DRAWN_ORDER, DRAWN_RANKS)]


def check_order(stage: Stage, joined: list[JoinedRoom]) -> None:
    """Every place, told by the views as they are and by fresh ones, is that of the second implementation."""
    by_id = {one.entry.entry_id: one for one in joined}
    waiting = [by_id[one] for one in order_of(stage) if stage.state(by_id[one]) is EntryState.LOBBY]
    for place, one in enumerate(waiting, start=1):
        assert stage.place(one) == place
    again = Stage(stage.engine, stage.clock)
    for place, one in enumerate(waiting, start=1):
        assert again.place(one) == place
    assert again.positions.waiting(stage.event_id) == stage.room().waiting + stage.room().lobby


async def close_list(stage: Stage, clock: HandClock, count: int, gaps: bool = False) -> list[JoinedRoom]:
    """A lobby of so many at its opening; with gaps, every other one has left before."""
    await stage.set_sale(SALE)
    joined = await stage.join_many(range(2 * count if gaps else count))
    if gaps:
        for one in joined[::2]:
            await stage.leave(one.entry.entry_id)
        joined = joined[1::2]
    clock.at_ms = OPENS_MS
    await stage.advance()
    return joined


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("count", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
async def test_the_order_is_kept_chunk_by_chunk(tmp_path: Path, count: int, gaps: bool) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        joined = await close_list(stage, clock, count, gaps)
        await draw_lobby(stage.engine, stage.event_id)
        span = 2 * count - 1 if gaps else count
        assert chunks(stage) == [-(-count // CHUNK), -(-span // CHUNK)]
        check_order(stage, joined)
        await stage.set(max_active=count)
        await stage.advance_all()
        admitted = [move.entry_id for move in stage.moves if move.after is EntryState.READY]
        assert admitted == order_of(stage)
        stage.recount()


async def test_no_lobby_is_drawn_where_none_is_to_be(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, _):
        await draw_lobby(stage.engine, stage.event_id)
        await stage.set_sale(SALE)
        await draw_lobby(stage.engine, stage.event_id)
        await stage.join_many(range(3))
        await draw_lobby(stage.engine, stage.event_id)
        assert chunks(stage) == [0, 0]
        assert not is_drawn(stage)


def test_a_full_chunk_fits_into_a_record() -> None:
    for table in (DRAWN_ORDER, DRAWN_RANKS):
        assert len(table.encode(bytes(4 * CHUNK_NUMBERS))) <= MAX_VALUE_BYTES


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize("commits", range(4))
async def test_killed_at_any_commit_it_comes_to_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: int, after_commit: bool
) -> None:
    monkeypatch.setattr("tests.domain.room_stage.InlineEngine", MortalEngine)
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        joined = await close_list(stage, clock, 3 * CHUNK)
        order = order_of(stage)
        assert isinstance(stage.engine, MortalEngine)
        stage.engine.left, stage.engine.after_commit = commits, after_commit
        with pytest.raises(Killed):
            await draw_lobby(stage.engine, stage.event_id)
        assert is_drawn(stage) is (after_commit and commits == 3)
        late = await stage.join(1000)
        assert (late.position, stage.place(late)) == (3 * CHUNK + 1, 3 * CHUNK + 1)
    with staged(tmp_path, OPENS_MS) as (stage, _):
        assert stage.place(late) == 3 * CHUNK + 1
        await draw_lobby(stage.engine, stage.event_id)
        assert order_of(stage) == order
        check_order(stage, joined)
        assert stage.place(late) == 3 * CHUNK + 1
        stage.recount()


@pytest.mark.usefixtures("small_chunks")
async def test_the_loop_goes_on_and_buyers_leave_and_join_meanwhile(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        joined = await close_list(stage, clock, 3 * CHUNK)
        late: list[JoinedRoom] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(draw_lobby, stage.engine, stage.event_id)
            for user in range(4):
                await trio.sleep(0)
                assert not is_drawn(stage)
                await stage.leave(joined[user].entry.entry_id)
                late.append(await stage.join(1000 + user))
        assert is_drawn(stage)
        check_order(stage, joined)
        assert [stage.place(one) for one in late] == [3 * CHUNK - 3 + number for number in range(4)]
        stage.recount()


@pytest.mark.usefixtures("small_chunks")
async def test_a_list_that_is_opened_again_meanwhile_is_left(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ticketd.tasks.draws.READ_AT_ONCE", 1)
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        joined = await close_list(stage, clock, 3 * CHUNK)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(draw_lobby, stage.engine, stage.event_id)
            await trio.sleep(0)
            await stage.set_sale(replace(SALE, general_sale_start_ms=OPENS_MS + MINUTE_MS))
            await stage.advance()
            await stage.leave(joined[-1].entry.entry_id)  # the list is shorter than it was
        assert not is_drawn(stage)
        assert chunks(stage) == [0, 0]
        stage.recount()


async def test_a_damaged_list_ends_the_task(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        await close_list(stage, clock, 5)

        def damage(tx: Transaction) -> None:
            LOBBY.delete(tx, stage.partition, 3)

        await stage.run(damage)
        with pytest.raises(LookupError, match="4 of 5"):
            await draw_lobby(stage.engine, stage.event_id)


async def test_an_overloaded_store_makes_the_draw_rest_and_begin_again(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.domain.room_stage.InlineEngine", MortalEngine)
    start_ms = OPENS_MS - MINUTE_MS
    with open_store(tmp_path, clock := HandClock(start_ms)) as engine:
        assert isinstance(engine, MortalEngine)
        stage = Stage(engine, clock)
        await stage.set_sale(with_room(max_active=1, lobby_opens_ms=start_ms))
        joined = await stage.join_many(range(5))
        clock.at_ms = OPENS_MS
        engine.left, engine.error = 1, EngineOverloaded("too many commands are waiting for the store")
        async with trio.open_nursery() as nursery:
            await nursery.start(run_rooms, engine, _AwakeClock(clock))
            await trio.sleep(rooms_module.RETRY_SECONDS / 2)
            assert not is_drawn(stage)
            await trio.sleep(rooms_module.RETRY_SECONDS)
            assert is_drawn(stage)
            nursery.cancel_scope.cancel()
        check_order(stage, joined)


class _AwakeClock(HandClock):
    """The hand's time, for a task that waits by it: for ever, since the hand does not move."""

    def __init__(self, hand: HandClock) -> None:
        super().__init__(hand.at_ms)

    async def wait_until_ms(self, at_ms: int) -> None:
        await trio.sleep_forever()
