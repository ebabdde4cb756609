from __future__ import annotations

from pathlib import Path

import pytest

from storage.schema.states import EntryState
from tests.domain.room_stage import OPENS_MS, Stage, staged, with_room
from ticketd.domain.rooms import JoinedRoom
from ticketd.errors import ErrorCode, Refusal
from ticketd.views.places import Standing, find_standing
from ticketd.views.positions import Positions


def standing(stage: Stage, positions: Positions, joined: JoinedRoom) -> Standing:
    with stage.engine.snapshot(stage.partition) as view:
        return find_standing(view, positions, stage.event_id, joined.entry.entry_id)


async def test_those_who_wait_are_told_their_exact_place(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        positions = Positions(stage.engine)
        await stage.set_sale(with_room(max_active=1))
        joined = await stage.join_many(range(4))
        await stage.leave(joined[1].entry.entry_id)
        told = [standing(stage, positions, one) for one in (joined[0], *joined[2:])]
        assert [(one.state, one.position, one.queue_size) for one in told] == [
            (EntryState.READY, 0, 2),
            (EntryState.QUEUED, 1, 2),
            (EntryState.QUEUED, 2, 2),
        ]
        assert told[0].wait_ms == 0 < told[1].wait_ms < told[2].wait_ms


async def test_the_lobby_has_no_places_but_waits(tmp_path: Path) -> None:
    with staged(tmp_path, OPENS_MS - 1000) as (stage, _):
        positions = Positions(stage.engine)
        await stage.set_sale(with_room(lobby_opens_ms=OPENS_MS - 1000))
        joined = await stage.join_many(range(3))
        told = standing(stage, positions, joined[1])
        assert (told.state, told.position, told.queue_size) == (EntryState.LOBBY, 0, 3)
        assert told.wait_ms > 1000


async def test_an_entry_that_has_ended_is_refused_as_it_ended(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        positions = Positions(stage.engine)
        await stage.set_sale(with_room(max_active=1))
        left, lapsed = await stage.join_many(range(2))
        await stage.leave(left.entry.entry_id)
        clock.at_ms += 120_000
        for joined, status in ((left, "LEFT"), (lapsed, "EXPIRED")):
            with pytest.raises(Refusal) as caught:
                standing(stage, positions, joined)
            assert caught.value.code is ErrorCode.QUEUE_ENTRY_EXPIRED
            assert caught.value.details == {"status": status}


async def test_what_is_told_follows_each_commit_and_each_millisecond(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, clock):
        positions = Positions(stage.engine)
        await stage.set_sale(with_room(max_active=1))
        joined = await stage.join_many(range(3))
        before = standing(stage, positions, joined[2])
        assert standing(stage, positions, joined[2]) == before
        # No time passes here, only commits do.
        await stage.join_many(range(10, 12))
        assert standing(stage, positions, joined[2]).queue_size == before.queue_size + 2
        await stage.set_sale(with_room(max_active=1, access_seconds=1))
        faster = standing(stage, positions, joined[2])
        assert faster.wait_ms < before.wait_ms
        # Nothing is committed here, only time passes.
        clock.at_ms += 60_000
        assert standing(stage, positions, joined[2]).wait_ms != faster.wait_ms
