from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
import trio
import trio.testing

from config.settings import AuthSettings, Settings, StorageSettings
from storage.engine import Key
from tests.handlers.test_queue import JOIN, LEAVE, STATUS, Room, open_room, told
from tests.support.daemon import Answer, Client, Daemon, open_daemon
from tests.support.events import NO_EVENT, arena_file, put_plan, room
from ticketd.credentials.api_keys import Scope
from ticketd.credentials.keyring import TokenKind

RESUME = "/v1/queue/resume"


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with open_daemon(tmp_path) as daemon:
        yield daemon


@pytest.fixture
async def narrow(daemon: Daemon) -> Room:
    """A room in which one may shop at a time."""
    return await open_room(daemon, max_active=1)


async def resume(room: Room, number: int, client: Client | None = None, **changes: object) -> Answer:
    return await (client or room.daemon.client()).post(RESUME, room.body(number, **changes))


def with_auth(**auth: str) -> Settings:
    storage = StorageSettings(map_size_bytes=256 * 1024 * 1024)
    return Settings(storage=storage, auth=AuthSettings(**auth))  # type: ignore[arg-type]  # the tests name real values


def stored(daemon: Daemon) -> list[tuple[Key, bytes]]:
    with daemon.services.engine.snapshot() as view:
        return list(view.scan(Key(b"\x00"), Key(b"\xff")))


async def test_the_place_is_the_same_and_the_token_fresh(
    narrow: Room, autojump_clock: trio.testing.MockClock
) -> None:
    await narrow.join(1)
    joined = [(await narrow.ask(number)).json for number in (2, 3)]
    await trio.sleep(60)
    before = stored(narrow.daemon)
    again = (await resume(narrow, 3)).json
    assert stored(narrow.daemon) == before
    clock, tokens = narrow.daemon.services.clock, narrow.daemon.services.keys.tokens
    first = tokens.verify(joined[1]["queue_token"], clock.now_ms())
    fresh = tokens.verify(again["queue_token"], clock.now_ms())
    assert (fresh.kind, fresh.user_id, fresh.event_id) == (TokenKind.QUEUE, UUID(int=3), narrow.event_id)
    assert fresh.entry_id == first.entry_id
    assert again["queue_token"] != joined[1]["queue_token"]
    shown = {name: again[name] for name in ("entry_id", "status", "queue_position", "queue_size")}
    assert shown == {
        "entry_id": joined[1]["entry_id"],
        "status": "QUEUED",
        "queue_position": 2,
        "queue_size": 2,
    }
    assert set(again) == set(joined[1])
    buyer = narrow.daemon.client().with_token(again["queue_token"], "device of 3")
    assert (await buyer.get(STATUS)).json["queue_position"] == 2


async def test_a_fresh_token_lives_longer_than_the_first(tmp_path: Path, autojump_clock: object) -> None:
    async with open_daemon(tmp_path) as daemon:
        narrow = await open_room(daemon)
        await daemon.operator().post(f"/v1/operator/rooms/{narrow.event_id}", {"pause": True})
        first = await narrow.join(2)
        await trio.sleep(86_000)
        again = (await resume(narrow, 2)).json
        await trio.sleep(399)
        assert (await first.get(STATUS)).json["status"] == "QUEUED"
        await trio.sleep(10)
        assert told(await first.get(STATUS)) == (401, "TOKEN_EXPIRED")
        later = daemon.client().with_token(again["queue_token"], "device of 2")
        assert (await later.get(STATUS)).json["queue_position"] == 1


async def test_whoever_was_let_in_is_ready_and_gets_the_access_token_by_status(narrow: Room) -> None:
    await narrow.join(1)
    for _ in range(2):
        # READY at first, SHOPPING after the status was asked.
        again = (await resume(narrow, 1)).json
        assert (again["status"], again["queue_position"], again["estimated_wait_minutes"]) == ("READY", 0, 0)
        buyer = narrow.daemon.client().with_token(again["queue_token"], "device of 1")
        assert (await buyer.get(STATUS)).json["access_granted"] is True


async def test_in_the_lobby(daemon: Daemon) -> None:
    waiting = room(lobby_opens="2026-07-14T00:00:00Z")
    document = arena_file(sale={"general_sale_start": "2026-07-20T10:00:00Z"}, waiting_room=waiting)
    lobby = Room(daemon, await put_plan(daemon, document))
    joined = (await lobby.ask(1)).json
    again = (await resume(lobby, 1)).json
    assert {**again, "queue_token": ""} == {**joined, "queue_token": ""}


async def test_another_device_is_refused(narrow: Room) -> None:
    await narrow.join(1)
    answer = await resume(narrow, 1, device_fingerprint="another")
    assert told(answer) == (403, "DEVICE_MISMATCH")


@pytest.mark.parametrize(("binding", "status"), [("strict", 403), ("present", 403), ("off", 200)])
async def test_the_device_counts_unless_binding_is_off(tmp_path: Path, binding: str, status: int) -> None:
    async with open_daemon(tmp_path, with_auth(device_binding=binding)) as daemon:
        narrow = await open_room(daemon)
        await narrow.join(1)
        assert (await resume(narrow, 1, device_fingerprint="another")).status == status


@pytest.mark.parametrize("event_id", ["", "x", NO_EVENT, NO_EVENT.replace("-", "")])
async def test_an_event_that_is_none(narrow: Room, event_id: str) -> None:
    assert told(await resume(narrow, 1, event_id=event_id)) == (400, "INVALID_EVENT_ID")


async def test_without_a_live_place(narrow: Room, autojump_clock: trio.testing.MockClock) -> None:
    async def refused() -> None:
        answer = await resume(narrow, 1)
        assert told(answer) == (410, "QUEUE_ENTRY_EXPIRED")
        assert answer.json["error"]["details"] == {"status": "EXPIRED"}

    await refused()
    await (await narrow.join(1)).delete(LEAVE)
    await refused()
    await narrow.join(1)
    await trio.sleep(121)
    await refused()


@pytest.mark.parametrize("user_tokens", ["required", "optional"])
async def test_somebody_has_to_vouch_for_the_buyer(tmp_path: Path, user_tokens: str) -> None:
    async with open_daemon(tmp_path, with_auth(user_tokens=user_tokens)) as daemon:
        narrow = await open_room(daemon)
        await narrow.join(1)
        public = daemon.client(Scope.PUBLIC)
        assert told(await resume(narrow, 1, public)) == (401, "TOKEN_MISSING")
        owner = public.with_token((await daemon.user(UUID(int=1))).token)
        assert (await resume(narrow, 1, owner)).status == 200
        stranger = public.with_token((await daemon.user(UUID(int=2))).token)
        assert told(await resume(narrow, 1, stranger)) == (403, "USER_MISMATCH")


async def test_repeated_under_its_key_it_is_the_same_answer(narrow: Room) -> None:
    await narrow.join(1)
    headers = {"idempotency-key": "the-first-key"}
    first, second = [
        await narrow.daemon.client().post(RESUME, narrow.body(1), headers=headers) for _ in range(2)
    ]
    assert (first.status, second.body) == (200, first.body)
    assert second.headers["idempotency-replayed"] == "true"


async def test_a_presale_code_is_allowed_and_not_looked_at(narrow: Room) -> None:
    await narrow.join(1)
    assert (await resume(narrow, 1, presale_code="whatever")).status == 200
    assert told(await narrow.daemon.client().post(JOIN, narrow.body(1))) == (409, "ALREADY_IN_QUEUE")
