"""The commit that begins a shopping window, as long as it is not there: it fails, it waits, its buyer leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from handlers.websocket import SessionEnds
from storage.engine import EngineOverloaded, StorageFull
from storage.schema.ids import EventId
from storage.schema.records import EntryRecord
from tests.handlers.socket_stage import Socket, open_socket
from tests.realtime.test_queue import Room, open_room
from tests.support.daemon import Daemon, open_daemon
from ticketd.realtime.updates import AccessGrant


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with open_daemon(tmp_path) as daemon:
        yield daemon


class Failing:
    """The access desk, which fails as often as it is told to, and counts."""

    def __init__(
        self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, failure: Callable[[], Exception]
    ) -> None:
        self.calls = 0
        self.times = 1_000_000
        self._failure = failure
        self._grant = daemon.services.access.grant
        monkeypatch.setattr(daemon.services.access, "grant", self.grant)

    async def grant(self, event_id: EventId, entry: EntryRecord) -> AccessGrant:
        self.calls += 1
        await trio.sleep(0)
        if self.calls <= self.times:
            raise self._failure()
        return await self._grant(event_id, entry)


async def admitted(room: Room, number: int) -> Socket:
    """A connection of a buyer who is let in, which has asked for its snapshot."""
    socket = await open_socket(room.daemon, await room.join(number))
    await socket.say(type="subscribe", event_id=str(room.event_id))
    return socket


@pytest.mark.parametrize("failure", [lambda: EngineOverloaded("full"), lambda: StorageFull("full")])
async def test_a_turn_waits_while_the_store_is_full(
    autojump_clock: MockClock,
    daemon: Daemon,
    monkeypatch: pytest.MonkeyPatch,
    failure: Callable[[], Exception],
) -> None:
    room = await open_room(daemon)
    desk = Failing(daemon, monkeypatch, failure)
    desk.times = 3
    began = trio.current_time()
    told = await (await admitted(room, 1)).take()
    assert (told["type"], told["status"], desk.calls) == ("subscribed", "READY", 4)
    assert trio.current_time() - began == pytest.approx(3)


async def test_who_leaves_meanwhile_is_not_claimed_for(
    autojump_clock: MockClock, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await open_room(daemon)
    desk = Failing(daemon, monkeypatch, lambda: StorageFull("full"))
    socket = await admitted(room, 1)
    assert socket.session.next_message() is None
    await trio.sleep(1.5)
    calls = desk.calls
    assert calls >= 2
    socket.close()
    await trio.sleep(30)
    assert desk.calls == calls
    assert socket.session.last_message() is None


async def test_a_claim_is_made_once_however_often_is_asked(
    autojump_clock: MockClock, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await open_room(daemon)
    desk = Failing(daemon, monkeypatch, lambda: StorageFull("full"))
    socket = await admitted(room, 1)
    for _ in range(5):
        assert socket.session.next_message() is None
    await wait_all_tasks_blocked()
    assert desk.calls == 1


async def test_a_claim_that_fails_ends_its_session_alone(
    autojump_clock: MockClock, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await open_room(daemon, max_active=2)
    desk = Failing(daemon, monkeypatch, ZeroDivisionError)
    desk.times = 1
    with pytest.raises(SessionEnds) as ends:
        await (await admitted(room, 1)).take()
    assert ends.value.code == 1011
    assert (await (await admitted(room, 2)).take())["status"] == "READY"


async def test_answers_go_on_while_an_update_waits_for_its_claim(
    autojump_clock: MockClock, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await open_room(daemon)
    first, second = await room.join(1), await room.join(2)
    socket = await room.listen(second)
    desk = Failing(daemon, monkeypatch, lambda: StorageFull("full"))
    await first.delete("/v1/queue/leave")
    await wait_all_tasks_blocked()
    assert socket.session.next_message() is None
    await socket.say(type="ping")
    assert (await socket.take())["type"] == "pong"
    desk.times = 0
    assert (await socket.take())["status"] == "READY"
