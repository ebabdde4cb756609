from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from msgspec.structs import replace

from storage.engine import Transaction
from storage.schema.ids import EntryId, EventId
from storage.schema.layout import SALE
from storage.schema.states import EntryState, IllegalMove
from tests.domain.room_stage import (
    DATE_MS,
    OPENS_MS,
    SALE_RECORD,
    Stage,
    refused,
    staged,
    with_room,
)
from ticketd.domain.rooms import GIVEN_ON_AT_ONCE, SetRoom, find_entry, require_shopping, set_room
from ticketd.errors import ErrorCode, Refusal

NOBODY = EntryId(UUID(int=404))


def read_entry(stage: Stage, entry_id: EntryId) -> EntryState:
    with stage.engine.snapshot(stage.partition) as snapshot:
        return find_entry(snapshot, stage.event_id, entry_id, snapshot.now_ms).state


def read_shopping(stage: Stage, entry_id: EntryId) -> EntryState:
    with stage.engine.snapshot(stage.partition) as snapshot:
        return require_shopping(snapshot, stage.event_id, entry_id, snapshot.now_ms).state


# --- claiming --------------------------------------------------------------------------------------------------------


async def test_claiming_starts_the_window_and_asking_again_changes_nothing(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(SALE_RECORD)
        joined = await stage.join(1)
        clock.at_ms += 5000
        entry = await stage.claim(joined.entry.entry_id, "k1")
        assert entry.state is EntryState.SHOPPING
        assert entry.due_at_ms == clock.at_ms + 600_000
        assert (entry.access_kid, entry.access_issued_at_ms) == ("k1", clock.at_ms)
        clock.at_ms += 5000
        assert await stage.claim(joined.entry.entry_id, "k2") == entry
        assert stage.entry(joined.entry.entry_id) == entry
        stage.recount()


async def test_one_who_waits_claims_nothing(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(max_active=1))
        joined = (await stage.join_many(range(2)))[1]
        assert await stage.claim(joined.entry.entry_id) == joined.entry


async def test_a_claim_at_the_last_moment_counts_and_one_later_does_not(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(SALE_RECORD)
        prompt, late = await stage.join_many(range(2))
        clock.at_ms += 120_000 - 1
        assert (await stage.claim(prompt.entry.entry_id)).state is EntryState.SHOPPING
        clock.at_ms += 1
        refusal = await refused(ErrorCode.QUEUE_ENTRY_EXPIRED, stage.claim(late.entry.entry_id))
        assert refusal.details == {"status": "EXPIRED"}
        await stage.advance()
        assert stage.state(late) is EntryState.EXPIRED
        stage.recount()


async def test_shopping_lasts_until_the_window_ends_and_not_longer(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(SALE_RECORD)
        joined = await stage.join(1)
        entry_id = joined.entry.entry_id
        with pytest.raises(Refusal) as caught:
            read_shopping(stage, entry_id)  # READY is not SHOPPING yet
        assert caught.value.code is ErrorCode.ACCESS_EXPIRED
        await stage.claim(entry_id)
        clock.at_ms += 600_000 - 1
        assert read_shopping(stage, entry_id) is EntryState.SHOPPING
        assert read_entry(stage, entry_id) is EntryState.SHOPPING
        clock.at_ms += 1
        for read in (read_shopping, read_entry):
            with pytest.raises(Refusal):
                read(stage, entry_id)


async def test_an_entry_that_does_not_exist_has_expired(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        elsewhere = Stage(stage.engine, event_id=EventId(UUID(int=5)))
        await stage.set_sale(SALE_RECORD)
        for place in (stage, elsewhere):
            for attempt in (place.claim(NOBODY), place.leave(NOBODY)):
                refusal = await refused(ErrorCode.QUEUE_ENTRY_EXPIRED, attempt)
                assert refusal.details == {"status": "EXPIRED"}
            with pytest.raises(Refusal) as caught:
                read_shopping(place, NOBODY)
            assert caught.value.code is ErrorCode.ACCESS_EXPIRED
            await place.finish(NOBODY)


# --- leaving and being done ------------------------------------------------------------------------------------------


async def test_a_place_that_is_left_goes_to_the_next_in_the_same_commit(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(max_active=1))
        first, second, third = await stage.join_many(range(3))
        stage.moves.clear()
        await stage.leave(first.entry.entry_id)
        assert [(move.entry_id, move.after) for move in stage.moves] == [
            (first.entry.entry_id, EntryState.LEFT),
            (second.entry.entry_id, EntryState.READY),
        ]
        assert stage.state(third) is EntryState.QUEUED
        refusal = await refused(ErrorCode.QUEUE_ENTRY_EXPIRED, stage.leave(first.entry.entry_id))
        assert refusal.details == {"status": "LEFT"}
        stage.recount()


async def test_one_who_leaves_the_line_or_the_lobby_is_gone_from_the_count(tmp_path: Path) -> None:
    with staged(tmp_path, OPENS_MS - 1000) as (stage, clock):
        await stage.set_sale(with_room(max_active=1, lobby_opens_ms=OPENS_MS - 1000))
        joined = await stage.join_many(range(4))
        await stage.leave(joined[1].entry.entry_id)
        assert stage.room().lobby == 3
        clock.at_ms = OPENS_MS
        await stage.advance_all()
        waiting = [one for one in joined if stage.state(one) is EntryState.LOBBY]
        await stage.leave(waiting[1].entry.entry_id)
        assert (stage.room().lobby, stage.room().waiting, stage.room().active) == (1, 0, 1)
        assert (await stage.join(8)).position == 2
        stage.recount()


async def test_an_order_ends_the_entry_and_gives_its_place_on(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(max_active=1))
        first, second = await stage.join_many(range(2))
        await stage.claim(first.entry.entry_id)
        await stage.finish(first.entry.entry_id)
        assert stage.state(first) is EntryState.DONE
        assert stage.state(second) is EntryState.READY
        with pytest.raises(Refusal) as caught:
            read_entry(stage, first.entry.entry_id)
        assert caught.value.details == {"status": "DONE"}
        with pytest.raises(Refusal):
            read_shopping(stage, first.entry.entry_id)
        await stage.finish(first.entry.entry_id)  # the second hold of the same buyer is paid
        assert (await stage.join(0)).position == 1
        stage.recount()


@pytest.mark.parametrize("ended", [EntryState.EXPIRED, EntryState.LEFT])
async def test_a_hold_that_outlived_its_entry_is_paid_without_a_place_falling_free(
    tmp_path: Path, ended: EntryState
) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room(max_active=1))
        first, second = await stage.join_many(range(2))
        await stage.claim(first.entry.entry_id)
        if ended is EntryState.LEFT:
            await stage.leave(first.entry.entry_id)
        else:
            clock.at_ms += 600_000
            await stage.advance()
        anew = await stage.join(0)
        assert stage.state(first) is ended
        await stage.finish(first.entry.entry_id)
        assert stage.state(first) is EntryState.DONE
        assert stage.state(anew) is EntryState.QUEUED
        assert stage.state(second) is EntryState.READY
        await refused(ErrorCode.ALREADY_IN_QUEUE, stage.join(0))
        stage.recount()


async def test_one_who_waits_cannot_be_done(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(max_active=1))
        joined = (await stage.join_many(range(2)))[1]
        with pytest.raises(IllegalMove):
            await stage.finish(joined.entry.entry_id)
        stage.recount()


async def test_those_who_wait_have_expired_as_soon_as_the_sale_is_over(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(max_active=1))
        shopping, waiting = await stage.join_many(range(2))
        await stage.set_sale(replace(with_room(max_active=1), cancelled=True))
        assert read_entry(stage, shopping.entry.entry_id) is EntryState.READY
        with pytest.raises(Refusal) as caught:
            read_entry(stage, waiting.entry.entry_id)
        assert caught.value.details == {"status": "EXPIRED"}


# --- an operator's changes -------------------------------------------------------------------------------------------


async def test_set_room_changes_what_is_given_and_nothing_else(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(SALE_RECORD)

        def settings() -> tuple[int, int, int, bool]:
            with stage.engine.snapshot(stage.partition) as snapshot:
                sale = SALE.get(snapshot, stage.partition)
            assert sale is not None
            planned = None if sale.room == SALE_RECORD.room else SALE_RECORD.room
            assert replace(sale, room=SALE_RECORD.room) == replace(SALE_RECORD, room_as_planned=planned)
            room = sale.room
            return room.max_active, room.admit_per_minute, room.capacity, stage.room().paused

        await stage.set(max_active=7)
        assert settings() == (7, 100, 1000, False)
        await stage.set(admit_per_minute=8, paused=True)
        assert settings() == (7, 8, 1000, True)
        await stage.set(capacity=9)
        assert settings() == (7, 8, 9, True)
        await stage.set(paused=False)
        assert settings() == (7, 8, 9, False)
        await stage.set(max_active=2, admit_per_minute=100, capacity=1000)
        assert settings() == (2, 100, 1000, False)


@pytest.mark.parametrize("waiting", [GIVEN_ON_AT_ONCE, GIVEN_ON_AT_ONCE + 2])
async def test_a_room_that_is_resumed_or_widened_lets_the_first_in_at_once(
    tmp_path: Path, waiting: int
) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(max_active=100))
        await stage.set(paused=True)
        joined = await stage.join_many(range(waiting))
        await stage.set(max_active=1)
        assert stage.room().active == 0, "paused"
        await stage.set(paused=False)
        assert [stage.state(one) for one in joined[:2]] == [EntryState.READY, EntryState.QUEUED]
        await stage.set(max_active=1 + GIVEN_ON_AT_ONCE)
        assert stage.room().active == min(waiting, 1 + GIVEN_ON_AT_ONCE)
        stage.recount()


async def test_set_room_of_an_unknown_event_is_refused(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):

        def run(tx: Transaction) -> None:
            set_room(tx, SetRoom(event_id=stage.event_id, paused=True))

        await refused(ErrorCode.EVENT_NOT_FOUND, stage.run(run))


@pytest.mark.parametrize("enabled", [True, False])
async def test_a_paused_room_lets_nobody_in(tmp_path: Path, enabled: bool) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(enabled=enabled))
        first = await stage.join(1)
        await stage.set(paused=True)
        second = await stage.join(2)
        assert (second.entry.state, second.position) == (EntryState.QUEUED, 1)
        await stage.leave(first.entry.entry_id)
        assert await stage.advance() == DATE_MS  # nothing until the sale ends
        assert stage.state(second) is EntryState.QUEUED
        await stage.set(paused=False)
        assert stage.state(second) is EntryState.READY
        stage.recount()


async def test_fewer_places_send_nobody_away(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(max_active=3, capacity=5))
        joined = await stage.join_many(range(5))
        await stage.set(max_active=1, capacity=1)
        await stage.advance()
        assert (stage.room().active, stage.room().waiting) == (3, 2)
        await refused(ErrorCode.QUEUE_FULL, stage.join(9))
        for one in joined[:2]:
            await stage.leave(one.entry.entry_id)
        assert (stage.room().active, stage.room().waiting) == (1, 2)
        await stage.leave(joined[2].entry.entry_id)
        assert (stage.room().active, stage.room().waiting) == (1, 1)
        stage.recount()


async def test_a_restart_changes_no_place(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room(max_active=1))
        joined = await stage.join_many(range(4))
        await stage.leave(joined[1].entry.entry_id)
        before = [stage.entry(one.entry.entry_id) for one in joined]
    with staged(tmp_path, clock.at_ms + 1000) as (stage, _):
        assert [stage.entry(one.entry.entry_id) for one in joined] == before
        assert (await stage.join(9)).position == 3
        await stage.leave(joined[0].entry.entry_id)
        assert stage.state(joined[2]) is EntryState.READY
        stage.recount()
