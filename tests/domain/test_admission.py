from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from storage.schema.layout import ADMISSIONS
from storage.schema.states import EntryState
from tests.domain.room_stage import (
    DATE_MS,
    MINUTE_MS,
    OPENS_MS,
    PRESALE_CODES,
    SALE_RECORD,
    Stage,
    staged,
    with_room,
)
from ticketd.domain.admission import ADMISSIONS_KEPT_MS, next_room_step, room_is_empty
from ticketd.domain.rooms import JoinedRoom


def states(stage: Stage, joined: list[JoinedRoom]) -> list[EntryState]:
    return [stage.state(one) for one in joined]


def peek(stage: Stage) -> int | None:
    with stage.engine.snapshot(stage.partition) as snapshot:
        return next_room_step(snapshot, stage.event_id, snapshot.now_ms)


def admitted_seqs(stage: Stage) -> list[int]:
    return [move.seq for move in stage.moves if move.after is EntryState.READY]


async def test_a_room_of_no_event_has_nothing_to_do(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        assert await stage.advance() is None
        assert peek(stage) is None
        with stage.engine.snapshot(stage.partition) as snapshot:
            assert room_is_empty(snapshot, stage.event_id)


async def test_an_empty_room_has_nothing_to_do_and_writes_nothing(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(SALE_RECORD)
        joined = await stage.join(1)
        await stage.leave(joined.entry.entry_id)
        with stage.engine.snapshot(stage.partition) as snapshot:
            before = snapshot.version(stage.partition)
            assert room_is_empty(snapshot, stage.event_id)
        commits = stage.engine.counters.changes
        assert await stage.advance() is None
        with stage.engine.snapshot(stage.partition) as snapshot:
            assert snapshot.version(stage.partition) == before
        assert stage.engine.counters.changes == commits


# --- lapsing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("claimed", [False, True])
async def test_who_does_not_come_or_runs_out_of_time_makes_place_at_once(
    tmp_path: Path, claimed: bool
) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room(max_active=1))
        joined = await stage.join_many(range(3))
        if claimed:
            await stage.claim(joined[0].entry.entry_id)
        due_at_ms = clock.at_ms + (600_000 if claimed else 120_000)
        assert await stage.advance() == due_at_ms
        clock.at_ms = due_at_ms - 1
        assert await stage.advance() == due_at_ms
        assert states(stage, joined)[0] is (EntryState.SHOPPING if claimed else EntryState.READY)
        clock.at_ms = due_at_ms
        assert peek(stage) == due_at_ms
        assert await stage.advance() == due_at_ms + 120_000
        assert states(stage, joined) == [EntryState.EXPIRED, EntryState.READY, EntryState.QUEUED]
        stage.recount()


async def test_a_step_is_bounded_and_says_that_more_is_due(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room(max_active=10))
        joined = await stage.join_many(range(25))
        clock.at_ms += 120_000
        assert await stage.advance(limit=4) == clock.at_ms
        assert states(stage, joined).count(EntryState.EXPIRED) == 4
        assert (stage.room().active, stage.room().waiting) == (10, 11)
        assert await stage.advance(limit=4) == clock.at_ms
        assert await stage.advance(limit=4) == clock.at_ms + 120_000
        assert states(stage, joined).count(EntryState.EXPIRED) == 10
        assert (stage.room().active, stage.room().waiting) == (10, 5)
        stage.recount()


# --- the rate --------------------------------------------------------------------------------------------------------


async def test_no_60_seconds_see_more_admissions_than_the_rate(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room(max_active=100, admit_per_minute=3))
        start_ms = clock.at_ms
        for user in range(3):
            assert (await stage.join(user)).entry.state is EntryState.READY
            clock.at_ms += 10_000
        waiting = await stage.join_many(range(3, 8))
        assert [one.position for one in waiting] == [1, 2, 3, 4, 5]
        assert await stage.advance() == start_ms + MINUTE_MS
        clock.at_ms = start_ms + MINUTE_MS - 1
        await stage.advance()
        assert stage.room().admitted == 3
        clock.at_ms = start_ms + MINUTE_MS
        assert await stage.advance() == start_ms + MINUTE_MS + 10_000
        assert stage.room().admitted == 4
        clock.at_ms = start_ms + MINUTE_MS + 20_000
        await stage.advance()
        assert stage.room().admitted == 6
        assert await stage.advance() == start_ms + 2 * MINUTE_MS
        stage.recount()


async def test_a_joiner_waits_for_the_rate_though_places_are_free(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room(max_active=100, admit_per_minute=1))
        await stage.join(1)
        clock.at_ms += MINUTE_MS - 1
        assert (await stage.join(2)).entry.state is EntryState.QUEUED
        clock.at_ms += 1
        await stage.advance()
        assert stage.room().admitted == 2


async def test_a_changed_rate_counts_the_admissions_of_before(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room(max_active=100, admit_per_minute=10))
        await stage.join_many(range(10))
        await stage.join_many(range(10, 40))
        await stage.set(admit_per_minute=15)
        await stage.advance()
        assert stage.room().admitted == 15
        await stage.set(admit_per_minute=2)
        clock.at_ms += MINUTE_MS
        await stage.advance()
        assert stage.room().admitted == 17
        assert peek(stage) == clock.at_ms + MINUTE_MS


@pytest.mark.parametrize("straight_in", [True, False])
async def test_old_admissions_are_forgotten_and_those_that_count_are_not(
    tmp_path: Path, straight_in: bool
) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room(max_active=1000))
        for minute in range(40):
            await stage.set(paused=not straight_in)
            await stage.join_many(range(minute * 5, minute * 5 + 5))
            await stage.set(paused=False)
            await stage.advance_all()
            clock.at_ms += MINUTE_MS
        with stage.engine.snapshot(stage.partition) as snapshot:
            kept = [at_ms for _, at_ms in ADMISSIONS.scan(snapshot, stage.partition)]
        last_ms = clock.at_ms - MINUTE_MS
        assert sum(at_ms >= last_ms - ADMISSIONS_KEPT_MS for at_ms in kept) == 11 * 5
        assert len(kept) <= 12 * 5
        assert stage.room().admitted == 200
        stage.recount()


# --- the order -------------------------------------------------------------------------------------------------------


async def test_all_are_let_in_in_the_order_of_joining(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room(max_active=2))
        joined = await stage.join_many(range(12))
        await stage.leave(joined[5].entry.entry_id)
        for _ in range(6):
            clock.at_ms += 120_000
            await stage.advance()
        assert admitted_seqs(stage) == [one.entry.seq for one in joined if one is not joined[5]]


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cancelled", [False, True])
async def test_those_who_wait_are_ended_with_the_sale_in_bounded_steps(
    tmp_path: Path, cancelled: bool
) -> None:
    sale = replace(with_room(max_active=1), sale_end_ms=OPENS_MS + MINUTE_MS)
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(sale)
        joined = await stage.join_many(range(8))
        assert await stage.advance() == OPENS_MS + MINUTE_MS
        if cancelled:
            await stage.set_sale(replace(sale, cancelled=True))
        else:
            clock.at_ms = OPENS_MS + MINUTE_MS - 1
            assert await stage.advance() == OPENS_MS + MINUTE_MS
            clock.at_ms = OPENS_MS + MINUTE_MS
        assert peek(stage) == clock.at_ms
        assert await stage.advance(limit=5) == clock.at_ms
        assert states(stage, joined).count(EntryState.EXPIRED) == 5
        assert await stage.advance(limit=5) == OPENS_MS + 120_000
        assert states(stage, joined) == [EntryState.READY] + [EntryState.EXPIRED] * 7
        clock.at_ms = OPENS_MS + 120_000
        assert await stage.advance() is None
        stage.recount()


async def test_a_cancelled_sale_ends_its_lobby_too(tmp_path: Path) -> None:
    sale = with_room(lobby_opens_ms=OPENS_MS - 1000)
    with staged(tmp_path, OPENS_MS - 1000) as (stage, _):
        await stage.set_sale(sale)
        await stage.join_many(range(5))
        await stage.set_sale(replace(sale, cancelled=True))
        assert await stage.advance(limit=3) == OPENS_MS - 1000
        assert await stage.advance(limit=3) is None
        assert stage.room().lobby == 0
        stage.recount()


async def test_the_end_is_bounded_over_the_line_and_the_lobby_together(tmp_path: Path) -> None:
    start_ms = OPENS_MS - MINUTE_MS
    sale = replace(
        with_room(max_active=1, lobby_opens_ms=start_ms - 1000),
        presale_start_ms=start_ms,
        presale_codes=PRESALE_CODES,
    )
    with staged(tmp_path, start_ms - 1000) as (stage, clock):
        await stage.set_sale(sale)
        await stage.join_many(range(3))
        clock.at_ms = start_ms
        for user in range(10, 14):
            await stage.join(user, code="CLUB")
        await stage.set_sale(replace(sale, cancelled=True))
        await stage.advance(limit=5)
        assert (stage.room().waiting, stage.room().lobby) == (0, 1)
        await stage.advance(limit=5)
        assert (stage.room().waiting, stage.room().lobby) == (0, 0)
        stage.recount()


async def test_a_sold_out_room_waits_for_seats_to_come_back(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room(max_active=1))
        first, second = await stage.join_many(range(2))
        await stage.set_sale(with_room(max_active=1), free=0, held=0)
        await stage.leave(first.entry.entry_id)
        assert await stage.advance() == DATE_MS
        assert stage.state(second) is EntryState.QUEUED
        await stage.set_sale(with_room(max_active=1), free=0, held=1)
        assert peek(stage) == clock.at_ms
        await stage.advance()
        assert stage.state(second) is EntryState.READY
        stage.recount()


async def test_a_lobby_opens_in_its_time_though_all_is_sold(tmp_path: Path) -> None:
    sale = replace(
        with_room(lobby_opens_ms=OPENS_MS - 3 * MINUTE_MS),
        presale_start_ms=OPENS_MS - MINUTE_MS,
        presale_codes=PRESALE_CODES,
    )
    with staged(tmp_path, OPENS_MS - 2 * MINUTE_MS) as (stage, clock):
        await stage.set_sale(sale)
        joined = await stage.join_many(range(3))
        await stage.set_sale(sale, free=0)
        clock.at_ms = OPENS_MS - MINUTE_MS
        assert await stage.advance() == OPENS_MS
        clock.at_ms = OPENS_MS
        assert await stage.advance_all() == DATE_MS
        assert {stage.standing(one).state for one in joined} == {EntryState.QUEUED}
        stage.recount()
