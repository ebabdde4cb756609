"""The lobby from its opening to the end of its draw, in the store; the draw is made by the task's own function."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import pytest
from msgspec.structs import replace

from storage.schema.draws import commitment_of
from storage.schema.events import LobbyDrawn
from storage.schema.ids import EntryId
from storage.schema.layout import DRAW, DRAWN_ORDER, DRAWN_RANKS, LOBBY
from storage.schema.records import DrawRecord, SaleRecord
from storage.schema.states import EntryState
from tests.domain.room_stage import DATE_MS, MINUTE_MS, OPENS_MS, PRESALE_CODES, Stage, staged, with_room
from tests.support.hand_draw import hand_draw
from ticketd.domain.admission import advance_room, next_room_step, room_is_empty
from ticketd.domain.draws import FinishDraw, KeepChunk, finish_draw, keep_chunk, prepare_draw
from ticketd.domain.rooms import JoinedRoom

R = TypeVar("R")

LOBBY_OPENS_MS = OPENS_MS - 1000
SEED = bytes(range(32))


def draw_of(stage: Stage) -> DrawRecord:
    with stage.engine.snapshot(stage.partition) as view:
        draw = DRAW.get(view, stage.partition)
    assert draw is not None
    return draw


def listed(stage: Stage) -> list[EntryId]:
    """The list of the draw, in order of joining."""
    with stage.engine.snapshot(stage.partition) as view:
        return [entry_id for _, entry_id in LOBBY.scan(view, stage.partition)]


def as_drawn(stage: Stage, joined: list[JoinedRoom]) -> list[JoinedRoom]:
    """The lobby in the order in which it must have been drawn, by the second implementation."""
    by_id = {one.entry.entry_id: one for one in joined}
    order = hand_draw(draw_of(stage).seed, listed(stage))
    return [by_id[EntryId(entry_id)] for entry_id in order]


def places(stage: Stage, joined: list[JoinedRoom]) -> list[int]:
    return [stage.place(one) for one in joined]


def states(stage: Stage, joined: list[JoinedRoom]) -> list[EntryState]:
    return [stage.standing(one).state for one in joined]


def peek(stage: Stage) -> int | None:
    with stage.engine.snapshot(stage.partition) as snapshot:
        return next_room_step(snapshot, stage.event_id, snapshot.now_ms)


def chunks(stage: Stage) -> tuple[int, int]:
    with stage.engine.snapshot(stage.partition) as view:
        return (
            len(list(DRAWN_ORDER.scan(view, stage.partition))),
            len(list(DRAWN_RANKS.scan(view, stage.partition))),
        )


def sale(**changes: object) -> SaleRecord:
    return with_room(**{"max_active": 2, "lobby_opens_ms": LOBBY_OPENS_MS, **changes})


# --- prepared --------------------------------------------------------------------------------------------------------


async def test_the_seed_that_came_first_stays(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, _):
        await stage.set_sale(sale())
        await stage.run(lambda tx: prepare_draw(tx, stage.event_id, SEED))
        await stage.run(lambda tx: prepare_draw(tx, stage.event_id, bytes(32)))
        await stage.join_many(range(2))
        assert draw_of(stage) == DrawRecord(seed=SEED)


async def test_the_first_in_a_lobby_without_a_draw_brings_its_seed(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, _):
        await stage.set_sale(sale())
        await stage.join(1)
        first = draw_of(stage)
        assert len(first.seed) == 32
        await stage.join(2)
        assert draw_of(stage) == first


async def test_a_lobby_stored_without_a_draw_gets_its_seed_from_the_room(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        await stage.set_sale(sale())
        joined = await stage.join_many(range(3))
        await stage.run(lambda tx: DRAW.delete(tx, stage.partition))
        clock.at_ms = OPENS_MS
        await stage.run(lambda tx: advance_room(tx, stage.event_id, 100, SEED))
        assert draw_of(stage) == DrawRecord(seed=SEED, entry_count=3, first_joined_seq=1)
        await stage.draw()
        assert places(stage, as_drawn(stage, joined)) == [1, 2, 3]


# --- drawn -----------------------------------------------------------------------------------------------------------


async def test_the_lobby_comes_in_in_the_order_that_it_is_drawn(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        await stage.set_sale(sale())
        joined = await stage.join_many(range(12))
        assert peek(stage) == OPENS_MS
        clock.at_ms = OPENS_MS - 1
        assert await stage.advance_all() == OPENS_MS
        assert set(states(stage, joined)) == {EntryState.LOBBY}
        clock.at_ms = OPENS_MS
        await stage.advance_all()
        order = as_drawn(stage, joined)
        assert order != joined
        assert states(stage, order) == [EntryState.READY] * 2 + [EntryState.QUEUED] * 10
        assert places(stage, order) == [0, 0, *range(1, 11)]
        assert [stage.entry(one.entry.entry_id).state for one in order[2:]] == [EntryState.LOBBY] * 10
        stage.recount()
        await stage.set(max_active=100)
        await stage.advance_all()
        admitted = [move.entry_id for move in stage.moves if move.after is EntryState.READY]
        assert admitted == [one.entry.entry_id for one in order]
        assert (stage.room().lobby, stage.room().active) == (0, 12)
        stage.recount()


async def test_the_draw_is_told_once_and_shows_nothing_before(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        told: list[LobbyDrawn] = []
        stage.engine.subscribe(
            lambda changes: told.extend(one.event for one in changes if isinstance(one.event, LobbyDrawn))
        )
        await stage.set_sale(sale())
        await stage.join_many(range(3))
        clock.at_ms = OPENS_MS
        await stage.advance()
        assert (draw_of(stage).entry_count, draw_of(stage).drawn_at_ms, told) == (3, None, [])
        clock.at_ms += 5
        await stage.draw()
        await stage.draw()
        assert draw_of(stage).drawn_at_ms == OPENS_MS + 5
        assert told == [LobbyDrawn(event_id=stage.event_id, entry_count=3)]


async def test_an_empty_lobby_is_never_drawn(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        await stage.set_sale(sale())
        gone = await stage.join(1)
        await stage.leave(gone.entry.entry_id)
        clock.at_ms = OPENS_MS
        await stage.advance_all()
        assert (await stage.join(2)).entry.state is EntryState.READY
        assert draw_of(stage).entry_count is None
        assert stage.room().opening_seq is None
        stage.recount()


async def test_a_lobby_of_one_is_drawn(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        await stage.set_sale(sale())
        joined = await stage.join(1)
        clock.at_ms = OPENS_MS
        await stage.advance_all()
        assert stage.standing(joined).state is EntryState.READY
        assert draw_of(stage).entry_count == 1


# --- who joins, who leaves -------------------------------------------------------------------------------------------


async def test_who_joins_during_the_opening_stands_behind_all_of_the_lobby(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        await stage.set_sale(sale(max_active=3))
        lobby = await stage.join_many(range(10))
        clock.at_ms = OPENS_MS
        early = await stage.join(20)  # the room's task has not come by yet
        assert (early.entry.state, early.position, early.queue_size) == (EntryState.QUEUED, 11, 11)
        assert stage.draw_is_due()
        assert await stage.advance() == DATE_MS  # nothing but the draw is due
        late = await stage.join(21)
        assert (late.position, places(stage, [early, late])) == (12, [11, 12])
        assert states(stage, lobby) == [EntryState.LOBBY] * 10
        await stage.leave(lobby[8].entry.entry_id)
        assert places(stage, [early, late]) == [10, 11]
        await stage.draw()
        order = [one for one in as_drawn(stage, lobby) if one is not lobby[8]]
        assert places(stage, [*order, early, late]) == list(range(1, 12))
        await stage.advance_all()
        assert places(stage, [*order, early, late]) == [0, 0, 0, *range(1, 9)]
        await stage.set(max_active=100)
        await stage.advance_all()
        admitted = [move.entry_id for move in stage.moves if move.after is EntryState.READY]
        assert admitted == [one.entry.entry_id for one in [*order, early, late]]
        stage.recount()


async def test_nobody_behind_the_lobby_is_let_in_before_its_draw(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        await stage.set_sale(sale(max_active=5))
        lobby = await stage.join_many(range(2))
        clock.at_ms = OPENS_MS
        late = await stage.join(9)
        await stage.advance()
        await stage.set(max_active=6)
        assert (stage.room().active, stage.standing(late).position) == (0, 3)
        await stage.advance_all()
        assert states(stage, [*lobby, late]) == [EntryState.READY] * 3


async def test_leavers_before_within_and_after_the_draw_are_gone_at_once(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        await stage.set_sale(sale(max_active=1))
        lobby = await stage.join_many(range(12))
        await stage.leave(lobby[4].entry.entry_id)
        assert len(listed(stage)) == 11
        clock.at_ms = OPENS_MS
        await stage.advance()
        within = lobby[7]
        await stage.leave(within.entry.entry_id)
        assert (len(listed(stage)), stage.room().lobby) == (11, 10)
        await stage.draw()
        await stage.set(paused=True)
        order = [one for one in as_drawn(stage, lobby) if one is not within]
        assert lobby[4] not in order
        assert places(stage, order) == list(range(1, 11))
        after = order.pop(3)
        await stage.leave(after.entry.entry_id)
        assert places(stage, order) == list(range(1, 10))
        await stage.set(paused=False)
        await stage.advance_all()
        assert places(stage, order) == list(range(9))
        assert stage.standing(order[1]).queue_size == 8
        first = order.pop(0)
        await stage.leave(first.entry.entry_id)
        assert states(stage, order)[:2] == [EntryState.READY, EntryState.QUEUED]
        stage.recount()


async def test_all_of_the_lobby_may_leave_during_the_draw(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        await stage.set_sale(sale())
        lobby = await stage.join_many(range(5))
        clock.at_ms = OPENS_MS
        await stage.advance()
        for one in lobby:
            await stage.leave(one.entry.entry_id)
        assert stage.room().lobby == 0
        with stage.engine.snapshot(stage.partition) as view:
            assert not room_is_empty(view, stage.event_id)  # the draw is yet to be made
        assert (await stage.join(9)).entry.state is EntryState.READY
        await stage.draw()
        assert draw_of(stage).drawn_at_ms == OPENS_MS
        assert stage.positions.waiting(stage.event_id) == 0
        stage.recount()


async def test_many_leavers_are_skipped_in_bounded_steps(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        await stage.set_sale(sale(max_active=1))
        lobby = await stage.join_many(range(40))
        clock.at_ms = OPENS_MS
        await stage.advance()
        await stage.draw()
        await stage.set(paused=True)
        *leavers, last = as_drawn(stage, lobby)
        for one in leavers:
            await stage.leave(one.entry.entry_id)
        await stage.set(paused=False)  # lets in the first few by itself, and looks at 8
        for looked_at in (13, 18, 23):
            await stage.advance(limit=5)
            assert (stage.room().next_rank, stage.room().active) == (looked_at, 0)
        await stage.advance_all(limit=5)
        assert stage.state(last) is EntryState.READY
        stage.recount()


async def test_a_step_looks_at_so_many_ranks_and_no_more(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        await stage.set_sale(sale(max_active=100))
        await stage.join_many(range(10))
        clock.at_ms = OPENS_MS
        await stage.advance()
        await stage.draw()
        late = await stage.join(20)
        for active in (4, 8):
            assert await stage.advance(limit=4) == clock.at_ms
            assert (stage.room().active, stage.room().next_rank) == (active, active)
        await stage.advance(limit=4)
        assert (stage.room().active, stage.state(late)) == (11, EntryState.READY)


async def test_the_presale_stands_before_the_lobby(tmp_path: Path) -> None:
    start_ms = OPENS_MS - MINUTE_MS
    with_presale = replace(
        sale(lobby_opens_ms=start_ms - 1000), presale_start_ms=start_ms, presale_codes=PRESALE_CODES
    )
    with staged(tmp_path, start_ms - 1000) as (stage, clock):
        await stage.set_sale(with_presale)
        lobby = await stage.join_many(range(3))
        clock.at_ms = start_ms
        await stage.advance_all()
        assert set(states(stage, lobby)) == {EntryState.LOBBY}
        presale = [await stage.join(user, code="CLUB") for user in range(10, 15)]
        assert [one.position for one in presale] == [0, 0, 1, 2, 3]
        assert presale[-1].queue_size == 6
        clock.at_ms = OPENS_MS
        await stage.advance()
        await stage.leave(presale[0].entry.entry_id)
        assert (
            stage.state(presale[2]) is EntryState.READY
        )  # who stands before the lobby need not wait for its draw
        await stage.advance_all()
        late = await stage.join(20)
        assert late.position == 6
        assert places(stage, [*presale[3:], *as_drawn(stage, lobby), late]) == [1, 2, 3, 4, 5, 6]
        stage.recount()


# --- put off ---------------------------------------------------------------------------------------------------------


async def test_an_opening_put_off_before_the_draw_opens_the_list_again(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        await stage.set_sale(sale(max_active=1))
        first = await stage.join_many(range(4))
        clock.at_ms = OPENS_MS
        await stage.advance()
        late = await stage.join(9)
        await stage.leave(first[1].entry.entry_id)
        await keep_one_chunk(stage)
        seed = draw_of(stage).seed
        await stage.set_sale(replace(sale(max_active=1), general_sale_start_ms=OPENS_MS + MINUTE_MS))
        assert peek(stage) == clock.at_ms
        assert await stage.advance() == OPENS_MS + MINUTE_MS
        assert draw_of(stage) == DrawRecord(seed=seed, first_joined_seq=1, departed=1)
        assert (stage.room().opening_seq, chunks(stage)) == (None, (0, 0))
        stage.recount()
        second = await stage.join_many(range(10, 14))
        assert {one.entry.state for one in second} == {EntryState.LOBBY}
        await stage.leave(second[0].entry.entry_id)
        clock.at_ms = OPENS_MS + MINUTE_MS
        await stage.advance_all()
        assert draw_of(stage).entry_count == 7  # one of them had left while the list was closed
        lobby = [one for one in as_drawn(stage, [*first, *second]) if one is not first[1]]
        assert places(stage, [late, *lobby]) == list(range(7))
        stage.recount()


async def test_a_join_opens_the_list_again_by_itself(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        await stage.set_sale(sale())
        await stage.join_many(range(3))
        clock.at_ms = OPENS_MS
        await stage.advance()
        await stage.set_sale(replace(sale(), general_sale_start_ms=OPENS_MS + MINUTE_MS))
        assert not stage.draw_is_due()
        assert (await stage.join(7)).entry.state is EntryState.LOBBY
        assert draw_of(stage).entry_count is None
        stage.recount()


async def test_once_drawn_a_room_has_no_second_lobby(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        await stage.set_sale(sale(max_active=1))
        lobby = await stage.join_many(range(3))
        clock.at_ms = OPENS_MS
        await stage.advance_all()
        order = as_drawn(stage, lobby)
        await stage.leave(order[0].entry.entry_id)
        await stage.set_sale(replace(sale(max_active=9), general_sale_start_ms=OPENS_MS + MINUTE_MS))
        late = await stage.join(9)
        assert (late.entry.state, late.position) == (EntryState.QUEUED, 2)
        assert await stage.advance_all() == OPENS_MS + MINUTE_MS
        assert places(stage, [order[2], late]) == [1, 2]
        clock.at_ms = OPENS_MS + MINUTE_MS
        await stage.advance_all()
        assert states(stage, [order[2], late]) == [EntryState.READY] * 2
        stage.recount()


async def test_what_was_worked_out_for_another_list_is_not_kept(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        await stage.set_sale(sale())
        await stage.join_many(range(3))
        clock.at_ms = OPENS_MS
        await stage.advance()
        opening_seq = stage.room().opening_seq
        assert opening_seq is not None
        finish = FinishDraw(event_id=stage.event_id, opening_seq=opening_seq)
        await stage.set_sale(replace(sale(), general_sale_start_ms=OPENS_MS + MINUTE_MS))
        assert not await keep_one_chunk(stage)
        assert not await stage.run(lambda tx: finish_draw(tx, finish))
        await stage.advance()
        clock.at_ms = OPENS_MS + MINUTE_MS
        await stage.advance()
        assert stage.room().opening_seq != opening_seq
        assert not await stage.run(lambda tx: finish_draw(tx, finish))
        assert stage.draw_is_due()


async def keep_one_chunk(stage: Stage) -> bool:
    command = KeepChunk(
        event_id=stage.event_id,
        opening_seq=stage.room().opening_seq or 0,
        number=0,
        order=bytes(4),
        ranks=bytes(4),
    )
    return await stage.run(lambda tx: keep_chunk(tx, command))


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drawn", [False, True])
async def test_a_cancelled_sale_ends_its_drawn_lobby_in_bounded_steps(tmp_path: Path, drawn: bool) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        await stage.set_sale(sale(max_active=1))
        lobby = await stage.join_many(range(9))
        clock.at_ms = OPENS_MS
        await stage.advance()
        late = await stage.join(20)
        if drawn:
            await stage.draw()
        await stage.leave(lobby[3].entry.entry_id)
        await stage.set_sale(replace(sale(max_active=1), cancelled=True))
        assert await stage.advance(limit=4) == (clock.at_ms if drawn else None)
        assert stage.state(late) is EntryState.EXPIRED
        await stage.draw()
        await stage.advance_all(limit=4)
        assert (stage.room().lobby, stage.room().waiting) == (0, 0)
        assert draw_of(stage).drawn_at_ms == OPENS_MS
        stage.recount()


async def test_a_lobby_put_off_and_cancelled_ends_with_those_who_had_left(tmp_path: Path) -> None:
    with staged(tmp_path, LOBBY_OPENS_MS) as (stage, clock):
        await stage.set_sale(sale())
        lobby = await stage.join_many(range(5))
        clock.at_ms = OPENS_MS
        await stage.advance()
        await stage.leave(lobby[0].entry.entry_id)
        later = replace(sale(), general_sale_start_ms=OPENS_MS + MINUTE_MS, cancelled=True)
        await stage.set_sale(later)
        assert await stage.advance_all(limit=2) is None
        assert (stage.room().lobby, listed(stage), draw_of(stage).departed) == (0, [], 0)
        stage.recount()


def test_what_is_published_of_a_seed_is_its_hash() -> None:
    told = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"
    assert commitment_of(SEED).hex() == told
