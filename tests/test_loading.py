from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
import structlog.testing

from storage.schema.ids import EventId
from tests.domain.room_stage import Stage, staged, with_room
from ticketd.loading import load_rooms
from ticketd.views.positions import Positions


@pytest.mark.parametrize("waiting", [0, 1, 7])
async def test_each_line_is_read_before_anybody_asks(tmp_path: Path, waiting: int) -> None:
    with staged(tmp_path) as (stage, clock):
        other = Stage(stage.engine, clock, EventId(UUID(int=0xF)))
        for one in (stage, other):
            await one.set_sale(with_room(max_active=1))
        await stage.join(99)
        last = (await stage.join_many(range(waiting)))[-1:]
        positions = Positions(stage.engine)
        with structlog.testing.capture_logs() as lines:
            await load_rooms(stage.engine, positions)
        assert [line["event"] for line in lines] == ["loading rooms", "rooms loaded"]
        assert (lines[-1]["events"], lines[-1]["waiting"]) == (2, waiting)
        assert lines[-1]["seconds"] >= 0
        for joined in last:
            assert positions.position(stage.event_id, joined.entry.seq) == waiting
        assert set(positions._lines) == {stage.event_id, other.event_id}
