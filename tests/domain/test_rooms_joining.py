from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from storage.schema.layout import PRESALE_JOINS
from storage.schema.states import EntryState
from tests.domain.room_stage import (
    DATE_MS,
    MINUTE_MS,
    OPENS_MS,
    PRESALE_CODES,
    SALE_RECORD,
    refused,
    staged,
    with_room,
)
from ticketd.errors import ErrorCode

# --- joining: when ---------------------------------------------------------------------------------------------------


async def test_join_of_an_unknown_event_is_refused(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await refused(ErrorCode.INVALID_EVENT_ID, stage.join(1))


@pytest.mark.parametrize(
    ("sale", "free", "held", "at_ms", "reason"),
    [
        (replace(SALE_RECORD, cancelled=True), 100, 0, OPENS_MS, "CANCELLED"),
        (SALE_RECORD, 100, 0, DATE_MS, "ENDED"),
        (replace(SALE_RECORD, sale_end_ms=OPENS_MS + 9), 100, 0, OPENS_MS + 9, "ENDED"),
        (SALE_RECORD, 0, 0, OPENS_MS, "SOLD_OUT"),
    ],
)
async def test_join_of_a_sale_that_is_over_is_refused_with_the_reason(
    tmp_path: Path, sale: object, free: int, held: int, at_ms: int, reason: str
) -> None:
    assert isinstance(sale, type(SALE_RECORD))
    with staged(tmp_path, at_ms) as (stage, _):
        await stage.set_sale(sale, free, held)
        refusal = await refused(ErrorCode.SALE_ENDED, stage.join(1))
        assert refusal.details == {"reason": reason}
        stage.recount()


async def test_join_just_before_the_sale_ends_and_with_only_held_seats_left_is_taken(tmp_path: Path) -> None:
    with staged(tmp_path, DATE_MS - 1) as (stage, _):
        await stage.set_sale(SALE_RECORD, free=0, held=1)
        assert (await stage.join(1)).entry.state is EntryState.READY


@pytest.mark.parametrize(
    ("presale_start_ms", "lobby_opens_ms", "opens_at_ms", "opens_at"),
    [
        (None, None, OPENS_MS, "2027-01-15T08:00:00Z"),
        (OPENS_MS - 60_000, None, OPENS_MS - 60_000, "2027-01-15T07:59:00Z"),
        (OPENS_MS - 60_000, OPENS_MS - 90_500, OPENS_MS - 90_500, "2027-01-15T07:58:29.500Z"),
        (None, OPENS_MS - 1000, OPENS_MS - 1000, "2027-01-15T07:59:59Z"),
    ],
)
async def test_joining_opens_at_its_time_and_not_before(
    tmp_path: Path, presale_start_ms: int | None, lobby_opens_ms: int | None, opens_at_ms: int, opens_at: str
) -> None:
    sale = replace(
        with_room(lobby_opens_ms=lobby_opens_ms),
        presale_start_ms=presale_start_ms,
        presale_codes=PRESALE_CODES,
    )
    with staged(tmp_path, opens_at_ms - 1) as (stage, clock):
        await stage.set_sale(sale)
        refusal = await refused(ErrorCode.SALE_NOT_OPEN, stage.join(1, code="FAN"))
        assert refusal.details == {"opens_at": opens_at}
        clock.at_ms = opens_at_ms
        await stage.join(1, code="FAN")
        stage.recount()


async def test_a_room_that_is_disabled_has_no_lobby(tmp_path: Path) -> None:
    sale = with_room(enabled=False, lobby_opens_ms=OPENS_MS - 1000)
    with staged(tmp_path, OPENS_MS - 500) as (stage, _):
        await stage.set_sale(sale)
        refusal = await refused(ErrorCode.SALE_NOT_OPEN, stage.join(1))
        assert refusal.details == {"opens_at": "2027-01-15T08:00:00Z"}


# --- joining: the presale's codes ------------------------------------------------------------------------------------

PRESALE = replace(SALE_RECORD, presale_start_ms=OPENS_MS - MINUTE_MS, presale_codes=PRESALE_CODES)


@pytest.mark.parametrize(("code", "reason"), [(None, "MISSING"), ("", "UNKNOWN"), ("fan", "UNKNOWN")])
async def test_the_presale_needs_a_code_that_it_knows(tmp_path: Path, code: str | None, reason: str) -> None:
    with staged(tmp_path, OPENS_MS - MINUTE_MS) as (stage, _):
        await stage.set_sale(PRESALE)
        refusal = await refused(ErrorCode.PRESALE_CODE_REQUIRED, stage.join(1, code=code))
        assert refusal.details == {"reason": reason}


async def test_a_presale_code_is_good_for_so_many_joins_and_no_more(tmp_path: Path) -> None:
    with staged(tmp_path, OPENS_MS - 1) as (stage, clock):
        await stage.set_sale(PRESALE)
        first = await stage.join(1, code="FAN")
        await stage.join(2, code="FAN")
        await stage.leave(first.entry.entry_id)
        refusal = await refused(ErrorCode.PRESALE_CODE_REQUIRED, stage.join(3, code="FAN"))
        assert refusal.details == {"reason": "USED_UP"}
        await stage.join(3, code="CLUB")
        clock.at_ms = OPENS_MS
        await stage.join(4)  # the general sale needs no code
        await stage.join(5, code="FAN")  # and counts none
        with stage.engine.snapshot(stage.partition) as snapshot:
            assert PRESALE_JOINS.get(snapshot, stage.partition, "FAN") == 2
            assert PRESALE_JOINS.get(snapshot, stage.partition, "CLUB") == 1


async def test_a_refused_join_uses_no_presale_code_up(tmp_path: Path) -> None:
    with staged(tmp_path, OPENS_MS - 1) as (stage, _):
        await stage.set_sale(PRESALE)
        await stage.join(1, code="FAN")
        await refused(ErrorCode.ALREADY_IN_QUEUE, stage.join(1, code="FAN"))
        await stage.join(2, code="FAN")


# --- joining: who ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [EntryState.QUEUED, EntryState.READY, EntryState.SHOPPING])
async def test_a_user_has_one_live_place_in_an_event(tmp_path: Path, state: EntryState) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(max_active=1))
        if state is EntryState.QUEUED:
            await stage.join(9)
        joined = await stage.join(1)
        if state is EntryState.SHOPPING:
            await stage.claim(joined.entry.entry_id)
        assert stage.state(joined) is state
        await refused(ErrorCode.ALREADY_IN_QUEUE, stage.join(1, device=77))
        await stage.leave(joined.entry.entry_id)
        assert (await stage.join(1)).entry.entry_id != joined.entry.entry_id
        stage.recount()


async def test_a_device_has_as_many_live_places_as_the_room_allows(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(max_entries_per_device=3))
        joined = [await stage.join(user, device=1) for user in range(3)]
        await refused(ErrorCode.DEVICE_ALREADY_IN_QUEUE, stage.join(3, device=1))
        await stage.join(3, device=2)
        await stage.leave(joined[2].entry.entry_id)
        await stage.join(4, device=1)
        await refused(ErrorCode.DEVICE_ALREADY_IN_QUEUE, stage.join(5, device=1))
        stage.recount()


async def test_the_user_is_judged_before_the_device_and_the_device_before_the_capacity(
    tmp_path: Path,
) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(max_active=1, capacity=1))
        await stage.join_many(range(2))
        await refused(ErrorCode.ALREADY_IN_QUEUE, stage.join(1))
        await refused(ErrorCode.DEVICE_ALREADY_IN_QUEUE, stage.join(2, device=1))
        await refused(ErrorCode.QUEUE_FULL, stage.join(2))


async def test_an_entry_whose_time_is_over_bars_neither_its_user_nor_its_device(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room(max_active=1))
        absent = await stage.join(1)
        waiting = await stage.join(2)
        clock.at_ms += 120_000 - 1
        await refused(ErrorCode.ALREADY_IN_QUEUE, stage.join(1))
        clock.at_ms += 1  # the room's task has not come by yet
        anew = await stage.join(1)
        assert stage.state(absent) is EntryState.EXPIRED
        assert stage.state(waiting) is EntryState.READY
        assert (anew.entry.state, anew.position) == (EntryState.QUEUED, 1)
        stage.recount()


@pytest.mark.parametrize(("user", "device"), [(1, 9), (9, 1)])
async def test_an_entry_whose_time_is_over_is_ended_when_its_user_or_its_device_joins_anew(
    tmp_path: Path, user: int, device: int
) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(SALE_RECORD)
        absent = await stage.join(1)
        clock.at_ms += 120_000
        await stage.join(user, device)
        assert stage.state(absent) is EntryState.EXPIRED
        stage.recount()


# --- joining: how many -----------------------------------------------------------------------------------------------


async def test_the_capacity_counts_those_who_wait(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(max_active=2, capacity=3))
        joined = await stage.join_many(range(2 + 3))
        assert [one.position for one in joined] == [0, 0, 1, 2, 3]
        assert [one.queue_size for one in joined] == [0, 0, 1, 2, 3]
        refusal = await refused(ErrorCode.QUEUE_FULL, stage.join(6))
        assert refusal.retry_after_seconds == 30
        await stage.leave(joined[3].entry.entry_id)
        assert (await stage.join(6)).position == 3
        await refused(ErrorCode.QUEUE_FULL, stage.join(7))
        stage.recount()


async def test_the_lobby_counts_towards_the_capacity(tmp_path: Path) -> None:
    with staged(tmp_path, OPENS_MS - 1000) as (stage, _):
        await stage.set_sale(with_room(lobby_opens_ms=OPENS_MS - 1000, capacity=2))
        await stage.join_many(range(2))
        await refused(ErrorCode.QUEUE_FULL, stage.join(2))


async def test_a_full_lobby_keeps_no_presale_buyer_out_who_need_not_wait(tmp_path: Path) -> None:
    start_ms = OPENS_MS - MINUTE_MS
    sale = replace(PRESALE, room=with_room(max_active=1, capacity=2, lobby_opens_ms=start_ms - 1000).room)
    with staged(tmp_path, start_ms - 1000) as (stage, clock):
        await stage.set_sale(sale)
        await stage.join_many(range(2))
        clock.at_ms = start_ms
        assert (await stage.join(10, code="CLUB")).entry.state is EntryState.READY
        await refused(ErrorCode.QUEUE_FULL, stage.join(11, code="CLUB"))


async def test_who_finds_nobody_waiting_and_a_place_free_is_ready_at_once(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(SALE_RECORD)
        joined = await stage.join(1)
        assert (joined.entry.state, joined.position, joined.queue_size) == (EntryState.READY, 0, 0)
        assert joined.wait_ms == 0
        assert joined.entry.due_at_ms == clock.at_ms + 120_000
        assert joined.entry.admitted_at_ms == clock.at_ms
        assert stage.entry(joined.entry.entry_id) == joined.entry
        third = (await stage.join_many(range(2, 4)))[-1]
        assert (third.entry.state, third.position, third.queue_size) == (EntryState.QUEUED, 1, 1)
        assert third.wait_ms > 0
        stage.recount()


async def test_nobody_goes_straight_in_past_one_who_waits(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(max_active=1))
        await stage.join_many(range(2))
        await stage.set_sale(with_room(max_active=5))  # four places are free, and nobody has been let in yet
        late = await stage.join(2)
        assert (late.entry.state, late.position) == (EntryState.QUEUED, 2)
        await stage.advance()
        assert stage.state(late) is EntryState.READY
        stage.recount()


async def test_a_room_that_is_disabled_lets_everybody_in_at_once(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(enabled=False, max_active=1, admit_per_minute=1, capacity=1))
        joined = await stage.join_many(range(20))
        assert {one.entry.state for one in joined} == {EntryState.READY}
        assert stage.room().active == 20
        stage.recount()


async def test_before_the_opening_one_waits_in_the_lobby_without_a_position(tmp_path: Path) -> None:
    with staged(tmp_path, OPENS_MS - 5 * MINUTE_MS) as (stage, _):
        await stage.set_sale(with_room(lobby_opens_ms=OPENS_MS - 5 * MINUTE_MS))
        joined = await stage.join_many(range(3))
        assert {one.entry.state for one in joined} == {EntryState.LOBBY}
        assert [one.position for one in joined] == [0, 0, 0]
        assert [one.queue_size for one in joined] == [1, 2, 3]
        assert all(one.wait_ms >= 5 * MINUTE_MS for one in joined)
        assert await stage.advance() == OPENS_MS
        assert stage.room().lobby == 3
        stage.recount()
