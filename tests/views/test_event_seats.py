from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.change_log import trim_changes
from storage.engine import Command
from storage.schema.events import RoomChanged, SeatsMoved
from storage.schema.ids import SeatNumber
from storage.schema.states import SeatState
from tests.domain.inventory_stage import EVENT_ID, Stage, inventory, make_plan, tier_id
from tests.views.seat_map_reading import read, refused, states, stored_states
from ticketd.domain.events import DeleteEvent, delete_event, event_command_partitions
from ticketd.domain.seats import seat_states
from ticketd.errors import ErrorCode, Refusal
from ticketd.event_file.plan import TierPlan
from ticketd.views import seat_maps
from ticketd.views.kept_maps import OLDEST_MS
from ticketd.views.seat_maps import SeatMapRequest, SeatMaps


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with inventory(tmp_path) as stage:
        yield stage


# --- versions -------------------------------------------------------------------------------------------------------


async def test_since_gives_the_changes_alone(stage: Stage) -> None:
    await stage.put(make_plan())
    maps = SeatMaps(stage.engine, stage.clock)
    first = read(maps)["version"]
    await stage.block(*stage.seats("Floor/B/2", "Floor/A/1"))
    second = read(maps, since=first)
    assert states(second) == {"Floor/A/1": "BLOCKED", "Floor/B/2": "BLOCKED"}
    assert second["complete"] is False
    await stage.unblock(stage.seat("Floor/A/1"))
    third = read(maps, since=second["version"])
    assert states(third) == {"Floor/A/1": "AVAILABLE"}
    assert states(read(maps, since=first)) == {"Floor/A/1": "AVAILABLE", "Floor/B/2": "BLOCKED"}
    assert read(maps, since=third["version"])["sections"] == []


async def test_what_moves_no_seat_leaves_the_version(stage: Stage) -> None:
    await stage.put(make_plan())
    maps = SeatMaps(stage.engine, stage.clock)
    await stage.block(stage.seat("Floor/A/1"))
    before = maps.read(SeatMapRequest(event_id=EVENT_ID))
    await stage.run(lambda tx: tx.emit(stage.partition, RoomChanged(event_id=EVENT_ID)))
    stage.clock.at_ms += 10 * OLDEST_MS
    assert maps.read(SeatMapRequest(event_id=EVENT_ID)) is before
    # A version that only other changes have reached is reached all the same; one beyond is not.
    newer = read(maps)["version"] + 1
    assert read(maps, since=newer)["sections"] == []
    refusal = refused(maps, since=newer + 1)
    assert refusal.code is ErrorCode.INVALID_REQUEST
    assert refusal.details["version"] == newer


async def test_a_version_from_before_the_map_was_made_is_found_in_the_log(stage: Stage) -> None:
    await stage.put(make_plan())
    await stage.block(stage.seat("Floor/A/1"))
    await stage.block(stage.seat("Floor/A/2"))
    await stage.run(lambda tx: tx.emit(stage.partition, RoomChanged(event_id=EVENT_ID)))
    maps = SeatMaps(stage.engine, stage.clock)
    assert states(read(maps, since=2)) == {"Floor/A/2": "BLOCKED"}
    assert states(read(maps, since=1)) == {"Floor/A/1": "BLOCKED", "Floor/A/2": "BLOCKED"}
    assert states(read(maps, since=2)) == {"Floor/A/2": "BLOCKED"}
    # The plan itself came with version 1: whoever knows less needs all of it.
    whole = read(maps, since=0)
    assert whole["complete"] is True
    assert states(whole) == stored_states(stage)


async def test_what_was_learnt_from_the_log_is_kept(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seat_maps, "_CHANGES_AT_ONCE", 1)
    await stage.put(make_plan())
    await stage.block(stage.seat("Floor/A/1"))
    maps = SeatMaps(stage.engine, stage.clock)
    read(maps)
    await stage.unblock(stage.seat("Floor/A/1"))
    for _ in range(2):
        assert states(read(maps, since=1)) == {"Floor/A/1": "AVAILABLE"}
        # An older move of the same seat, learnt of later, does not hide the newer one.
        assert states(read(maps, since=2)) == {"Floor/A/1": "AVAILABLE"}
        assert read(maps, since=3)["sections"] == []
        await stage.engine.submit(trim_changes(stage.partition, stage.clock.at_ms + 1, 10))


async def test_a_trimmed_log_means_the_whole_map(stage: Stage) -> None:
    await stage.put(make_plan())
    await stage.block(stage.seat("Floor/A/1"))
    stage.clock.at_ms += 1000
    await stage.block(stage.seat("Floor/A/2"))
    await stage.engine.submit(trim_changes(stage.partition, stage.clock.at_ms, 10))
    maps = SeatMaps(stage.engine, stage.clock)
    assert read(maps, since=1)["complete"] is True
    assert states(read(maps, since=2)) == {"Floor/A/2": "BLOCKED"}
    assert read(maps, since=3)["sections"] == []


@pytest.mark.parametrize(("most", "complete"), [(3, False), (2, True)])
async def test_a_version_too_far_back_means_the_whole_map(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, most: int, complete: bool
) -> None:
    monkeypatch.setattr(seat_maps, "MAX_CHANGES_READ", most)
    monkeypatch.setattr(seat_maps, "_CHANGES_AT_ONCE", 2)
    await stage.put(make_plan())
    for name in ("Floor/A/1", "Floor/A/2", "Floor/A/3"):
        await stage.block(stage.seat(name))
    maps = SeatMaps(stage.engine, stage.clock)
    assert read(maps, since=1)["complete"] is complete
    assert len(states(read(maps, since=1))) == (16 if complete else 3)
    assert len(states(read(maps, since=2))) == 2


async def test_another_plan_means_the_whole_map(stage: Stage) -> None:
    await stage.put(make_plan())
    maps = SeatMaps(stage.engine, stage.clock)
    version = read(maps)["version"]
    await stage.put(make_plan({"Floor": {"A": 7}, "Roof": {"Z": 2}}))
    answer = read(maps, since=version)
    assert answer["complete"] is True
    assert states(answer) == stored_states(stage)
    assert read(maps, since=answer["version"])["complete"] is False
    partitions = event_command_partitions(EVENT_ID)
    await stage.engine.submit(
        Command("delete", partitions, lambda tx: delete_event(tx, DeleteEvent(EVENT_ID)))
    )
    assert refused(maps).code is ErrorCode.EVENT_NOT_FOUND


async def test_a_plan_that_is_stored_but_not_told_yet(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a writer's thread, a map can be asked for between a commit and its publishing."""
    await stage.put(make_plan())
    maps = SeatMaps(stage.engine, stage.clock)
    version = read(maps)["version"]
    await stage.block(stage.seat("Floor/A/1"))
    with monkeypatch.context() as silent:
        silent.setattr(stage.engine, "_subscribers", [])
        await stage.put(make_plan({"Floor": {"A": [("1", 2), ("8", 1)]}}))
    assert states(read(maps)) == {"Floor/A/1": "BLOCKED", "Floor/A/8": "AVAILABLE"}
    assert read(maps, since=version)["complete"] is True


@pytest.mark.parametrize("tiers", [1, 3])
async def test_a_row_that_is_gone_before_it_was_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tiers: int
) -> None:
    plan = make_plan()
    await stage.put(plan)
    maps = SeatMaps(stage.engine, stage.clock)
    read(maps)
    await stage.block(stage.seat("Floor/B/1"))
    with monkeypatch.context() as silent:
        silent.setattr(stage.engine, "_subscribers", [])
        await stage.put(make_plan({"Floor": {"A": 1}}, tiers=plan.tiers[:tiers]))
    assert states(read(maps)) == {"Floor/A/1": "AVAILABLE"}


async def test_prices_that_are_stored_but_not_told_yet(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan({"Floor": {"A": 2, "B": 2}})
    await stage.put(plan)
    maps = SeatMaps(stage.engine, stage.clock)
    read(maps)
    await stage.block(stage.seat("Floor/A/1"))
    dearer = TierPlan(tier_id=tier_id(3), name="Dearer", price_minor=99_900)
    with monkeypatch.context() as silent:
        silent.setattr(stage.engine, "_subscribers", [])
        row = [("1", 3), ("2", 3)]
        await stage.put(make_plan({"Floor": {"A": row, "B": row}}, tiers=(*plan.tiers, dearer)))
    rows = read(maps)["sections"][0]["rows"]
    assert [seat["price"] for row in rows for seat in row["seats"]] == [999.0] * 4


async def test_a_move_that_was_shown_already_is_no_change(stage: Stage) -> None:
    await stage.put(make_plan())
    late: list[Any] = []
    maps = SeatMaps(stage.engine, stage.clock)
    stage.engine.subscribe(late.extend)
    await stage.block(stage.seat("Floor/A/1"))
    version = read(maps)["version"]
    # As when the map is read between a commit and its publishing.
    maps._notice(late)
    assert isinstance(late[0].event, SeatsMoved)
    assert read(maps)["version"] == version
    assert read(maps, since=version)["sections"] == []


# --- random moves ---------------------------------------------------------------------------------------------------

MOVES = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "release", "buy", "block", "unblock", "read", "poll", "wait", "forget"]),
        st.integers(0, 15),
        st.integers(0, 3),
    ),
    max_size=25,
)


async def walk(folder: Path, moves: list[tuple[str, int, int]]) -> None:
    with inventory(folder) as stage:
        await stage.put(make_plan(purchase_limit=100))
        maps = SeatMaps(stage.engine, stage.clock)
        first = read(maps)
        seen, version = states(first), first["version"]
        names = list(seen)
        order = 0
        for what, which, who in moves:
            seat = stage.seat(names[which])
            try:
                if what == "reserve":
                    await stage.reserve(who, seat, stage.seat(names[(which + 1) % len(names)]))
                elif what == "release":
                    await release_holder(stage, seat)
                elif what == "buy":
                    order += 1
                    await stage.buy(who, seat, order=order)
                elif what == "block":
                    await stage.block(seat)
                elif what == "unblock":
                    await stage.unblock(seat)
            except Refusal:
                pass
            if what == "wait":
                stage.clock.at_ms += 100 * which
            elif what == "forget":
                maps.close()
                maps = SeatMaps(stage.engine, stage.clock)
            elif what == "read":
                assert states(read(maps)) == stored_states(stage)
            elif what == "poll":
                answer = read(maps, since=version)
                assert answer["version"] >= version
                seen |= states(answer)
                version = answer["version"]
                assert seen == stored_states(stage)
        seen |= states(read(maps, since=version))
        assert seen == states(read(maps)) == stored_states(stage)


async def release_holder(stage: Stage, seat: SeatNumber) -> None:
    ((state, owner),) = stage.read(lambda reader: seat_states(reader, EVENT_ID, [seat]))
    if state is SeatState.RESERVED and owner is not None:
        for user in range(4):
            try:
                await stage.release(user, owner)  # type: ignore[arg-type]  # a held seat's owner is its hold
            except Refusal:
                continue


@settings(max_examples=40, deadline=None)
@given(MOVES)
def test_a_map_is_what_its_changes_add_up_to(moves: list[tuple[str, int, int]]) -> None:
    with TemporaryDirectory() as folder:
        trio.run(walk, Path(folder), moves)
