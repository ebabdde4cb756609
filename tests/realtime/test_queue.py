"""What a buyer in a waiting room is told, and when the shopping window begins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from storage.schema.ids import EventId
from tests.handlers.socket_stage import Socket, open_socket
from tests.support.daemon import Client, Daemon, open_daemon
from tests.support.events import arena_file, put_plan, room

STATUS, LEAVE = "/v1/queue/status", "/v1/queue/leave"


class Room:
    """A daemon with one event, and buyers who join it."""

    def __init__(self, daemon: Daemon, event_id: EventId) -> None:
        self.daemon = daemon
        self.event_id = event_id

    async def join(self, number: int) -> Client:
        joined = await self.daemon.client().post(
            "/v1/queue/join",
            {
                "event_id": str(self.event_id),
                "user_id": str(UUID(int=number)),
                "device_fingerprint": f"device of {number}",
            },
        )
        assert joined.status == 200, joined.body
        return self.daemon.client().with_token(joined.json["queue_token"], f"device of {number}")

    async def listen(self, buyer: Client) -> Socket:
        """A connection that has taken its snapshot."""
        socket = await open_socket(self.daemon, buyer)
        assert (await socket.subscribe(self.event_id))["type"] == "subscribed"
        return socket


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with open_daemon(tmp_path) as daemon:
        yield daemon


async def open_room(daemon: Daemon, **changes: object) -> Room:
    waiting = room(**{"max_active": 1, "claim_seconds": 120, "access_seconds": 600, **changes})
    return Room(daemon, await put_plan(daemon, arena_file(waiting_room=waiting)))


def places(messages: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(one["status"], one["queue_position"]) for one in messages if one["type"] == "queue_update"]


# --- positions ------------------------------------------------------------------------------------------------------


async def test_a_snapshot_tells_the_place(autojump_clock: MockClock, daemon: Daemon) -> None:
    line = await open_room(daemon)
    buyers = [await line.join(number) for number in range(1, 4)]
    socket = await open_socket(daemon, buyers[2])
    snapshot = await socket.subscribe(line.event_id)
    assert snapshot == {
        "seq": 1,
        "type": "subscribed",
        "event_id": str(line.event_id),
        "queue_position": 2,
        "status": "QUEUED",
        "estimated_wait": (await buyers[2].get(STATUS)).json["estimated_wait_minutes"],
    }


@pytest.mark.parametrize(("wait_ms", "is_told"), [(4999, False), (5000, True)])
async def test_another_position_is_told_every_five_seconds_at_most(
    autojump_clock: MockClock, daemon: Daemon, wait_ms: int, is_told: bool
) -> None:
    line = await open_room(daemon)
    buyers = [await line.join(number) for number in range(1, 7)]
    socket = await line.listen(buyers[5])
    await trio.sleep(6)
    await buyers[1].delete(LEAVE)
    update = (await socket.take_all())[0]
    assert update == {
        "seq": 2,
        "type": "queue_update",
        "event_id": str(line.event_id),
        "queue_position": 4,
        "status": "QUEUED",
        "estimated_wait": update["estimated_wait"],
        "timestamp": "2026-07-14T03:33:26Z",
    }
    await trio.sleep(1)
    await buyers[2].delete(LEAVE)
    await trio.sleep(1)
    await buyers[3].delete(LEAVE)
    await trio.sleep((wait_ms - 2000) / 1000)
    assert places(await socket.take_all()) == ([("QUEUED", 2)] if is_told else [])
    await trio.sleep(10)
    assert places(await socket.take_all()) == ([] if is_told else [("QUEUED", 2)])


async def test_who_joins_behind_or_leaves_behind_tells_nothing(
    autojump_clock: MockClock, daemon: Daemon
) -> None:
    line = await open_room(daemon)
    buyers = [await line.join(number) for number in range(1, 4)]
    socket = await line.listen(buyers[1])
    await trio.sleep(10)
    later = await line.join(9)
    await later.delete(LEAVE)
    await buyers[2].delete(LEAVE)
    await trio.sleep(10)
    assert await socket.take_all() == []


async def test_a_slow_reader_is_told_the_position_of_the_moment(
    autojump_clock: MockClock, daemon: Daemon
) -> None:
    line = await open_room(daemon)
    buyers = [await line.join(number) for number in range(1, 7)]
    socket = await line.listen(buyers[5])
    for number in (1, 2, 3):
        await trio.sleep(6)
        await buyers[number].delete(LEAVE)
    assert places(await socket.take_all()) == [("QUEUED", 2)]


# --- the turn -------------------------------------------------------------------------------------------------------


async def test_the_turn_is_told_at_once_with_the_token(autojump_clock: MockClock, daemon: Daemon) -> None:
    line = await open_room(daemon)
    first, second = await line.join(1), await line.join(2)
    socket = await line.listen(second)
    await trio.sleep(1)
    await first.delete(LEAVE)
    ready = await socket.take()
    assert (ready["status"], ready["queue_position"], ready["estimated_wait"]) == ("READY", 0, 0)
    status = (await second.get(STATUS)).json
    assert (ready["access_token"], ready["expires_at"]) == (status["access_token"], status["expires_at"])
    assert ready["expires_at"] == "2026-07-14T03:43:21Z"
    # Its place has moved once more, to shopping, by the token: that is nothing new.
    assert await socket.take_all() == []


async def test_a_window_begins_when_the_turn_is_taken_for_sending_and_not_before(
    autojump_clock: MockClock, daemon: Daemon
) -> None:
    line = await open_room(daemon)
    first, second = await line.join(1), await line.join(2)
    dead, slow = await line.listen(second), await line.listen(second)
    await first.delete(LEAVE)
    await trio.sleep(100)
    # What is sent before a close does not begin it either.
    assert dead.session.last_message() is None
    ready = await slow.take()
    assert ready["expires_at"] == "2026-07-14T03:45:00Z"  # 100 s, and the 600 s of the window.
    # Whoever comes later, by whatever way, hears the same.
    await trio.sleep(50)
    assert {name: (await dead.take())[name] for name in ("access_token",)} == {
        "access_token": ready["access_token"]
    }
    again = await open_socket(daemon, second)
    snapshot = await again.subscribe(line.event_id)
    assert (snapshot["status"], snapshot["access_token"], snapshot["expires_at"]) == (
        "READY",
        ready["access_token"],
        ready["expires_at"],
    )
    update = await again.take()
    assert (update["type"], update["access_token"]) == ("queue_update", ready["access_token"])
    assert await again.take_all() == await slow.take_all() == []


async def test_a_turn_that_nobody_takes_goes_on(autojump_clock: MockClock, daemon: Daemon) -> None:
    line = await open_room(daemon)
    first, second = await line.join(1), await line.join(2)
    dead = await line.listen(first)
    socket = await line.listen(second)
    assert dead.seqs == [1]
    # The snapshot of the first said READY and so began the window; the second waits for its end.
    await trio.sleep(601)
    assert places(await socket.take_all()) == [("READY", 0)]
    third = await line.listen(await line.join(3))
    unseen = await line.join(4)
    silent = await line.listen(unseen)
    await trio.sleep(601)
    assert places(await third.take_all()) == [("READY", 0)]
    await trio.sleep(601)
    # Let in 601 s ago or less, and 120 s to claim: it has lapsed while nothing was taken.
    await trio.sleep(121)
    assert places(await silent.take_all()) == [("EXPIRED", 0)]


async def test_after_the_end_nothing_more_is_told(autojump_clock: MockClock, daemon: Daemon) -> None:
    line = await open_room(daemon)
    buyers = [await line.join(number) for number in range(1, 4)]
    socket = await line.listen(buyers[1])
    await buyers[1].delete(LEAVE)
    assert places(await socket.take_all()) == [("LEFT", 0)]
    await buyers[0].delete(LEAVE)
    await trio.sleep(1000)
    assert await socket.take_all() == []
    assert (await socket.subscribe(line.event_id))["status"] == "LEFT"
    assert await socket.take_all() == []


async def test_a_window_that_runs_out_is_told(autojump_clock: MockClock, daemon: Daemon) -> None:
    line = await open_room(daemon)
    socket = await line.listen(await line.join(1))
    assert places(await socket.take_all()) == [("READY", 0)]
    await trio.sleep(599.999)
    assert await socket.take_all() == []
    await trio.sleep(0.002)
    assert places(await socket.take_all()) == [("EXPIRED", 0)]


async def test_the_lobby_then_a_place_in_the_line(autojump_clock: MockClock, daemon: Daemon) -> None:
    # The daemon begins at 03:33:20.
    plan = arena_file(
        sale={"general_sale_start": "2026-07-14T03:34:20Z"},
        waiting_room=room(max_active=1, lobby_opens="2026-07-14T03:00:00Z"),
    )
    line = Room(daemon, await put_plan(daemon, plan))
    sockets = []
    for number in range(1, 4):
        socket = await open_socket(daemon, await line.join(number))
        snapshot = await socket.subscribe(line.event_id)
        assert (snapshot["status"], snapshot["queue_position"]) == ("LOBBY", 0)
        sockets.append(socket)
    await trio.sleep(50)
    assert [await socket.take_all() for socket in sockets] == [[], [], []]
    await trio.sleep(20)
    told = [places(await socket.take_all()) for socket in sockets]
    assert sorted(one[-1] for one in told) == [("QUEUED", 1), ("QUEUED", 2), ("READY", 0)]


async def test_a_draw_is_told_also_while_nobody_is_let_in(autojump_clock: MockClock, daemon: Daemon) -> None:
    plan = arena_file(
        sale={"general_sale_start": "2026-07-14T03:34:20Z"},
        waiting_room=room(lobby_opens="2026-07-14T03:00:00Z"),
    )
    line = Room(daemon, await put_plan(daemon, plan))
    sockets = [await line.listen(await line.join(number)) for number in (1, 2)]
    paused = await daemon.operator().post(f"/v1/operator/rooms/{line.event_id}", {"pause": True})
    assert paused.status == 200, paused.body
    await trio.sleep(70)
    told = [places(await socket.take_all()) for socket in sockets]
    assert sorted(told) == [[("QUEUED", 1)], [("QUEUED", 2)]]


async def test_a_crowd_is_looked_at_and_everybody_is_told_their_own(
    autojump_clock: MockClock, daemon: Daemon
) -> None:
    line = await open_room(daemon)
    buyers = [await line.join(number) for number in range(1, 302)]
    sockets = [await line.listen(buyer) for buyer in buyers[1:]]
    await trio.sleep(10)
    await buyers[0].delete(LEAVE)
    await trio.sleep(1)
    told = [places(await socket.take_all())[-1] for socket in sockets]
    assert told == [("READY", 0), *(("QUEUED", position) for position in range(1, 300))]
