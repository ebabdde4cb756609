from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import trio.testing

from storage.schema.ids import EventId
from tests.handlers.operator_stage import EVENT, OperatorStage, open_stage
from tests.support.daemon import Answer
from tests.support.events import NO_EVENT
from tests.support.shopping import enter

ROOM = {
    "event_id": str(EVENT),
    "enabled": True,
    "paused": False,
    "max_active": 500,
    "admit_per_minute": 600,
    "capacity": 100_000,
    "lobby": 0,
    "waiting": 0,
    "active": 0,
    "admitted": 0,
    "slowed_to_per_minute": None,
}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[OperatorStage]:
    async with open_stage(tmp_path) as stage:
        await stage.put()
        yield stage


async def set_room(stage: OperatorStage, **change: object) -> Answer:
    return await stage.operator.post(f"/v1/operator/rooms/{EVENT}", change)


async def test_a_room_is_paused_and_resumed(stage: OperatorStage) -> None:
    assert (await set_room(stage, pause=True)).json == {**ROOM, "paused": True}
    joined = await stage.daemon.client().post(
        "/v1/queue/join",
        {"event_id": str(EVENT), "user_id": str(uuid4()), "device_fingerprint": "device-1"},
    )
    assert (joined.json["status"], joined.json["queue_position"]) == ("QUEUED", 1)
    assert (await set_room(stage, resume=True)).json["paused"] is False
    await trio.testing.wait_all_tasks_blocked()
    queued = stage.daemon.client().with_token(joined.json["queue_token"])
    assert (await queued.get("/v1/queue/status")).json["status"] == "READY"


async def test_limits_are_set_one_by_one_and_together(stage: OperatorStage) -> None:
    assert (await set_room(stage, max_active=1)).json == {**ROOM, "max_active": 1}
    changed = await set_room(stage, admit_per_minute=2, capacity=3, pause=True)
    assert changed.json == {
        **ROOM,
        "max_active": 1,
        "admit_per_minute": 2,
        "capacity": 3,
        "paused": True,
    }
    assert [deed[1:] for deed in await stage.audit()][1:] == [
        ("room.set", str(EVENT), {"max_active": 1}),
        ("room.set", str(EVENT), {"paused": True, "admit_per_minute": 2, "capacity": 3}),
    ]


async def test_who_is_in_the_room_is_told(stage: OperatorStage) -> None:
    await enter(stage.daemon, EventId(EVENT))
    told = (await set_room(stage, resume=True)).json
    assert (told["active"], told["admitted"]) == (1, 1)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"pause": False},
        {"pause": True, "resume": True},
        {"max_active": 0},
        {"max_active": 1_000_001},
        {"admit_per_minute": 0},
        {"admit_per_minute": 1_000_001},
        {"capacity": 0},
        {"capacity": 10_000_001},
        {"capacity": None},
        {"capacity": "5"},
        {"capacity": 1.5},
        {"paused": True},
        {"pause": 1},
    ],
)
async def test_what_cannot_be_read_changes_nothing(stage: OperatorStage, change: dict[str, object]) -> None:
    refused = await stage.operator.post(f"/v1/operator/rooms/{EVENT}", change)
    assert (refused.status, refused.code) == (400, "INVALID_REQUEST")
    assert len(await stage.audit()) == 1


@pytest.mark.parametrize("limit", ["max_active", "admit_per_minute", "capacity"])
async def test_the_bounds_themselves_are_allowed(stage: OperatorStage, limit: str) -> None:
    most = 10_000_000 if limit == "capacity" else 1_000_000
    for value in (1, most):
        assert (await set_room(stage, **{limit: value})).json[limit] == value


@pytest.mark.parametrize("event_id", ["nine", NO_EVENT])
async def test_an_unknown_room(stage: OperatorStage, event_id: str) -> None:
    refused = await stage.operator.post(f"/v1/operator/rooms/{event_id}", {"pause": True})
    assert (refused.status, refused.code) == (404, "EVENT_NOT_FOUND")
    assert len(await stage.audit()) == 1
