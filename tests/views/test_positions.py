from __future__ import annotations

import random
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.engine import Change
from storage.schema.events import EntryMoved, EventDeleted
from storage.schema.ids import EntryId, EventId, UserId
from storage.schema.layout import LINE, event_partition
from storage.schema.states import EntryState
from tests.domain.room_stage import EVENT, OPENS_MS, Stage, staged, with_room
from ticketd.views.positions import SMALLEST_LINE, Line, Positions

SEQS = st.integers(0, 700)


def same(line: Line, naive: set[int]) -> None:
    """The line counts as a plain set does, at every number of interest."""
    assert len(line) == len(naive)
    for seq in {0, *naive, *(seq + 1 for seq in naive), 10_000}:
        assert line.before(seq) == sum(1 for one in naive if one < seq)


@given(st.lists(SEQS, max_size=150), st.lists(SEQS, max_size=60))
def test_a_line_counts_as_a_plain_set_does(toggled: list[int], at_first: list[int]) -> None:
    naive = set(at_first)
    line = Line(sorted(naive))
    same(line, naive)
    for seq in toggled:
        if seq in naive:
            naive.remove(seq)
            line.remove(seq)
        else:
            naive.add(seq)
            line.add(seq)
        assert line.before(seq) == sum(1 for one in naive if one < seq)
    same(line, naive)


@pytest.mark.parametrize("count", [1, SMALLEST_LINE - 1, SMALLEST_LINE, SMALLEST_LINE + 1, 1000])
def test_a_line_made_at_once_is_the_line_made_one_by_one(count: int) -> None:
    seqs = range(5, 5 + 3 * count, 3)
    one_by_one = Line()
    for seq in seqs:
        one_by_one.add(seq)
    at_once = Line(seqs)
    for seq in range(3 * count + 20):
        assert at_once.before(seq) == one_by_one.before(seq) == sum(1 for one in seqs if one < seq)


@pytest.mark.parametrize(
    "count",
    [0, 1, 2, 3, SMALLEST_LINE - 1, SMALLEST_LINE, SMALLEST_LINE + 1, 127, 128, 129, 1000, 1023, 1024, 1025],
)
def test_a_block_is_the_line_of_all_its_numbers(count: int) -> None:
    block, line = Line.block(7, count), Line(range(7, 7 + count))
    drawn = random.Random(count)
    left = list(range(7, 7 + count))
    for _ in range(min(count, 30) + 1):
        assert len(block) == len(line) == len(left)
        for seq in range(0, count + 200, 1 + count // 300):
            assert block.before(seq) == line.before(seq)
        if left:
            gone = left.pop(drawn.randrange(len(left)))
            block.remove(gone)
            line.remove(gone)


def test_a_line_that_moves_on_stays_small() -> None:
    waiting = 1000
    line = Line(range(waiting))
    for seq in range(waiting, 50 * waiting):
        line.add(seq)
        line.remove(seq - waiting)
        assert line.slots <= 4 * waiting  # of 4 bytes each: at most 16 bytes an entry
    assert line.before(49 * waiting + 10) == 10
    assert len(line) == waiting


def test_a_line_that_was_empty_begins_anew() -> None:
    line = Line([3])
    line.remove(3)
    assert (len(line), line.before(100)) == (0, 0)
    line.add(1_000_000)
    assert line.slots == SMALLEST_LINE
    assert (line.before(1_000_000), line.before(1_000_001)) == (0, 1)


def test_smaller_numbers_may_come_later() -> None:
    line = Line([5000])
    for seq in range(1000, 1100):
        line.add(seq)
    assert line.before(5000) == 100
    assert line.before(1050) == 50


async def test_positions_follow_the_commits_and_survive_a_restart(tmp_path: Path) -> None:
    drawn = random.Random(7)
    with staged(tmp_path) as (stage, clock):
        await stage.set_sale(with_room(max_active=3, claim_seconds=1))
        positions = Positions(stage.engine)
        live: list[EntryId] = []
        for user in range(300):
            live.append((await stage.join(user)).entry.entry_id)
            if drawn.random() < 0.3:
                try_id = live.pop(drawn.randrange(len(live)))
                if stage.entry(try_id).state is not EntryState.EXPIRED:
                    await stage.leave(try_id)
            if drawn.random() < 0.05:
                clock.at_ms += 1000
                await stage.advance_all()
        before = check_by_the_store(stage, positions)
    with staged(tmp_path, OPENS_MS + 10_000_000) as (stage, _):
        assert check_by_the_store(stage, Positions(stage.engine)) == before


def check_by_the_store(stage: Stage, positions: Positions) -> dict[int, int]:
    """Compares the positions with the line in the store; returns them by sequence number."""
    with stage.engine.snapshot(stage.partition) as snapshot:
        seqs = [seq for (seq,), _ in LINE.scan(snapshot, stage.partition) if isinstance(seq, int)]
    told = {seq: positions.position(stage.event_id, seq) for seq in seqs}
    assert told == {seq: place for place, seq in enumerate(seqs, start=1)}
    assert positions.waiting(stage.event_id) == len(seqs) > 0
    return told


async def test_the_line_of_each_event_is_its_own(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        other = Stage(stage.engine, event_id=EventId(UUID(int=2)))
        positions = Positions(stage.engine)
        for place in (stage, other):
            await place.set_sale(with_room(max_active=1))
            positions.load(place.event_id)
        await stage.join_many(range(4))
        await other.join_many(range(2))
        assert (positions.waiting(stage.event_id), positions.waiting(other.event_id)) == (3, 1)
        assert positions.waiting(EventId(UUID(int=3))) == 0


async def test_what_the_store_had_already_is_not_counted_twice(tmp_path: Path) -> None:
    """The line may be read after a commit and before its changes are published."""
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(max_active=1))
        partition = event_partition(EVENT)
        positions: list[Positions] = []

        def read_early(changes: object) -> None:
            if not positions:
                positions.append(Positions(stage.engine))
                positions[0].load(EVENT)
                positions[0]._notice(stage.engine.changes(partition, 0) or [])

        await stage.join_many(range(2))
        stage.engine.subscribe(read_early)
        await stage.join_many(range(2, 5))
        assert positions[0].waiting(EVENT) == 4


async def test_drawn_who_had_left_already_are_not_counted_twice(tmp_path: Path) -> None:
    """The drawn, too, may be read after a commit and before its changes are published."""
    with staged(tmp_path, OPENS_MS - 1000) as (stage, clock):
        await stage.set_sale(with_room(max_active=1, lobby_opens_ms=OPENS_MS - 1000))
        joined = await stage.join_many(range(6))
        clock.at_ms = OPENS_MS
        await stage.advance()
        await stage.draw()
        await stage.set(paused=True)
        await stage.leave(joined[2].entry.entry_id)
        positions = Positions(stage.engine)
        positions.load(EVENT)
        positions._notice(stage.engine.changes(stage.partition, 0) or [])
        assert positions.waiting(EVENT) == 5
        await stage.leave(joined[3].entry.entry_id)
        assert positions.waiting(EVENT) == 4


async def test_a_deleted_event_is_forgotten_and_a_closed_view_follows_no_longer(tmp_path: Path) -> None:
    with staged(tmp_path) as (stage, _):
        await stage.set_sale(with_room(max_active=1))
        await stage.join_many(range(3))
        positions = Positions(stage.engine)
        assert positions.waiting(EVENT) == 2
        partition = event_partition(EVENT)
        moved = EntryMoved(
            event_id=EVENT,
            entry_id=EntryId(UUID(int=1)),
            user_id=UserId(UUID(int=1)),
            seq=99,
            before=None,
            after=EntryState.QUEUED,
        )
        positions._notice([Change(partition=partition, version=1000, at_ms=0, event=moved)])
        assert positions.waiting(EVENT) == 3
        deleted = EventDeleted(event_id=EVENT)
        positions._notice([Change(partition=partition, version=1001, at_ms=0, event=deleted)])
        assert positions.waiting(EVENT) == 2  # read from the store again
        positions.close()
        await stage.join(9)
        assert positions._lines == {}
