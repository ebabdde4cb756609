from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio
import trio.testing

from storage.engine import Command
from storage.schema.ids import EventId
from storage.schema.layout import DRAW, event_partition
from tests.support.daemon import START_MS, Answer, Daemon, open_daemon
from tests.support.events import arena_file, put_plan
from tests.support.hand_draw import hand_draw
from ticketd.domain.times import rfc3339

HOUR_MS = 3_600_000
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with open_daemon(tmp_path) as daemon:
        yield daemon


async def put_lobby(daemon: Daemon, opens_ms: int = START_MS, **changes: Any) -> EventId:
    """An event whose lobby opens at this time, and its sale in an hour."""
    return await put_plan(
        daemon,
        arena_file(
            sale={"general_sale_start": rfc3339(START_MS + HOUR_MS)},
            waiting_room={"lobby_opens": rfc3339(opens_ms), "max_active": 1, **changes},
        ),
    )


async def join(daemon: Daemon, event_id: EventId) -> dict[str, Any]:
    device = str(uuid4())
    wish = {"event_id": str(event_id), "user_id": str(uuid4()), "device_fingerprint": device}
    joined = await daemon.client().with_token(None, device).post("/v1/queue/join", wish)
    assert joined.status == 200, joined.body
    told: dict[str, Any] = {**joined.json, "device": device}
    return told


async def ask(daemon: Daemon, event_id: object, more: str = "") -> Answer:
    return await daemon.client().get(f"/v1/queue/draw?event_id={event_id}{more}")


async def draw(daemon: Daemon) -> None:
    """Waits until the sale is open and the lobby drawn."""
    await daemon.services.clock.wait_until_ms(START_MS + HOUR_MS)
    await trio.testing.wait_all_tasks_blocked()


async def test_before_the_draw_only_the_commitment_is_told(
    autojump_clock: trio.testing.MockClock, daemon: Daemon
) -> None:
    event_id = await put_lobby(daemon)
    told = await ask(daemon, event_id)
    for number in range(3):
        told = await ask(daemon, event_id, "&full=true")
        assert (told.status, set(told.json)) == (
            200,
            {"event_id", "status", "algorithm", "commitment", "entry_count"},
        )
        assert told.json["entry_count"] == number
        await join(daemon, event_id)
    with daemon.services.engine.snapshot(event_partition(event_id)) as view:
        stored = DRAW.get(view, event_partition(event_id))
    assert stored is not None
    assert told.json["status"] == "COMMITTED"
    assert told.json["algorithm"] == "ticketd-draw-1"
    assert told.json["commitment"] == hashlib.sha256(stored.seed).hexdigest()
    assert stored.seed.hex().encode() not in told.body


@pytest.mark.parametrize("count", [1, 7])
async def test_a_second_implementation_comes_to_the_same_order(
    autojump_clock: trio.testing.MockClock, daemon: Daemon, count: int
) -> None:
    event_id = await put_lobby(daemon)
    commitment = (await ask(daemon, event_id)).json["commitment"]
    joined = [await join(daemon, event_id) for _ in range(count)]
    await draw(daemon)
    short = (await ask(daemon, event_id)).json
    assert set(short) == {"event_id", "status", "algorithm", "commitment", "entry_count", "seed"}
    told = (await ask(daemon, event_id, "&full=true")).json
    assert (told["status"], told["entry_count"], told["commitment"]) == ("DRAWN", count, commitment)
    assert hashlib.sha256(bytes.fromhex(told["seed"])).hexdigest() == commitment
    assert told["entries"] == [one["entry_id"] for one in joined]
    order = hand_draw(bytes.fromhex(told["seed"]), [UUID(one) for one in told["entries"]])
    assert told["order"] == [str(one) for one in order]
    by_id = {one["entry_id"]: one for one in joined}
    for position, entry_id in enumerate(told["order"]):
        one = by_id[entry_id]
        buyer = daemon.client().with_token(one["queue_token"], one["device"])
        status = (await buyer.get("/v1/queue/status")).json
        assert status["queue_position"] == position
        assert status["status"] == ("QUEUED" if position else "READY")


async def test_an_event_that_was_imported_again_keeps_its_commitment(
    autojump_clock: trio.testing.MockClock, daemon: Daemon
) -> None:
    event_id = await put_lobby(daemon)
    before = (await ask(daemon, event_id)).json["commitment"]
    assert await put_lobby(daemon, max_active=5) == event_id
    assert (await ask(daemon, event_id)).json["commitment"] == before


async def test_an_event_stored_without_a_draw_gets_one_when_it_is_asked_for(
    autojump_clock: trio.testing.MockClock, daemon: Daemon
) -> None:
    event_id = await put_lobby(daemon)
    partition = event_partition(event_id)
    await daemon.services.engine.submit(
        Command("forget", (partition,), lambda tx: DRAW.delete(tx, partition))
    )
    first = (await ask(daemon, event_id)).json
    assert first["entry_count"] == 0
    assert (await ask(daemon, event_id)).json == first


async def test_before_the_lobby_opens_nothing_is_told(
    autojump_clock: trio.testing.MockClock, daemon: Daemon
) -> None:
    event_id = await put_lobby(daemon, START_MS + 2000)
    refused = await ask(daemon, event_id)
    assert (refused.status, refused.code) == (403, "SALE_NOT_OPEN")
    assert refused.json["error"]["details"] == {"opens_at": rfc3339(START_MS + 2000)}
    await daemon.services.clock.wait_until_ms(START_MS + 2000)
    assert (await ask(daemon, event_id)).status == 200


async def test_an_event_without_a_lobby_has_no_draw(
    autojump_clock: trio.testing.MockClock, daemon: Daemon
) -> None:
    refused = await ask(daemon, await put_plan(daemon, arena_file()))
    assert (refused.status, refused.code) == (404, "NOT_FOUND")
    assert "no lobby" in refused.json["error"]["message"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?event_id=x", "INVALID_EVENT_ID"),
        (f"?event_id={NOBODY}", "INVALID_EVENT_ID"),
        ("", "INVALID_REQUEST"),
        (f"?event_id={NOBODY}&full=maybe", "INVALID_REQUEST"),
    ],
)
async def test_what_cannot_be_read_is_refused(
    autojump_clock: trio.testing.MockClock, daemon: Daemon, query: str, code: str
) -> None:
    refused = await daemon.client().get(f"/v1/queue/draw{query}")
    assert (refused.status, refused.code) == (400, code)


async def test_one_full_answer_is_written_at_a_time(
    autojump_clock: trio.testing.MockClock, daemon: Daemon
) -> None:
    event_id = await put_lobby(daemon)
    await join(daemon, event_id)
    await draw(daemon)
    answers: list[Answer] = []

    async def ask_once() -> None:
        answers.append(await ask(daemon, event_id, "&full=true"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_once)
        nursery.start_soon(ask_once)
    assert sorted(one.status for one in answers) == [200, 503]
    (refused,) = (one for one in answers if one.status == 503)
    assert (refused.code, refused.headers["retry-after"]) == ("OVERLOADED", "10")
    assert (await ask(daemon, event_id, "&full=true")).status == 200


@pytest.mark.parametrize(("over", "coding"), [(0, "gzip"), (1, None)])
async def test_a_long_body_is_not_compressed(
    autojump_clock: trio.testing.MockClock,
    daemon: Daemon,
    monkeypatch: pytest.MonkeyPatch,
    over: int,
    coding: str | None,
) -> None:
    event_id = await put_lobby(daemon)
    for _ in range(12):
        await join(daemon, event_id)
    await draw(daemon)
    plain = await ask(daemon, event_id, "&full=true")
    monkeypatch.setattr("handlers.coding.MAX_COMPRESSED_BYTES", len(plain.body) - over)
    told = await daemon.client().call(
        "GET", f"/v1/queue/draw?event_id={event_id}&full=true", headers={"accept-encoding": "gzip"}
    )
    assert told.headers.get("content-encoding") == coding
