"""Waiting on the WebSocket: told of every step, let in by it, and polling where it fails."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio
from trio_websocket import WebSocketConnection, WebSocketRequest, serve_websocket, wrap_server_stream
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Request, TextMessage

from tests.rehearsal.fake_daemon import EVENT, FakeDaemon, listening, serve_http
from ticketd.rehearsal.answers import Joined
from ticketd.rehearsal.calls import Api
from ticketd.rehearsal.client import HttpClient, Origin
from ticketd.rehearsal.measurements import Measurements
from ticketd.rehearsal.waiting import SUBSCRIBING, Place, listen_until_ready

Script = Callable[[WebSocketConnection], Awaitable[None]]
JOINED = Joined(queue_token="queue-token", queue_position=3, status="QUEUED", poll_interval_seconds=1)


@asynccontextmanager
async def websockets(script: Script) -> AsyncIterator[Origin]:
    async def handle(request: WebSocketRequest) -> None:
        assert request.path == "/v1/realtime?token=queue-token&device_id=device"
        socket = await request.accept()
        assert json.loads(await socket.get_message()) == {"type": "subscribe", "event_id": EVENT}
        await script(socket)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, handle, "127.0.0.1", 0, ssl_context=None))
        yield Origin(host="127.0.0.1", port=server.port, tls=False)
        nursery.cancel_scope.cancel()


async def wait_at(origin: Origin) -> tuple[str, Measurements]:
    notes = Measurements(trio.current_time)
    client = HttpClient(origin, max_connections=2, timeout_seconds=10)
    api = Api(client, "key", notes, 100, lambda: None)
    with trio.fail_after(300):
        token = await listen_until_ready(api, Place(1, "device", JOINED, notes), EVENT)
    await client.aclose()
    return token, notes


def update(position: int, **more: object) -> str:
    return json.dumps(
        {"seq": 1, "type": "queue_update", "queue_position": position, "status": "QUEUED", **more}
    )


async def subscribed(socket: WebSocketConnection, position: int) -> None:
    told = {"seq": 0, "type": "subscribed", "event_id": EVENT, "queue_position": position, "status": "QUEUED"}
    await socket.send_message(json.dumps(told))


async def test_the_websocket_lets_in() -> None:
    async def script(socket: WebSocketConnection) -> None:
        await subscribed(socket, 2)
        await socket.send_message(json.dumps({"seq": 1, "type": "pong"}))
        await socket.send_message(update(1))
        await socket.send_message(update(0, status="READY", access_token="access"))

    async with websockets(script) as origin:
        token, notes = await wait_at(origin)
    assert token == "access"
    assert notes.messages == 4
    assert len(notes.latencies[SUBSCRIBING]) == 1
    assert notes.grown_count == 0
    assert not notes.odd


async def test_ready_at_once_is_told_by_the_subscription() -> None:
    async def script(socket: WebSocketConnection) -> None:
        told = {
            "seq": 0,
            "type": "subscribed",
            "queue_position": 0,
            "status": "READY",
            "access_token": "access",
        }
        await socket.send_message(json.dumps(told))

    async with websockets(script) as origin:
        assert (await wait_at(origin))[0] == "access"


async def test_a_position_that_grows_is_seen_there_too() -> None:
    async def script(socket: WebSocketConnection) -> None:
        await subscribed(socket, 2)
        await socket.send_message(update(5))
        await socket.send_message(update(0, status="READY", access_token="access"))

    async with websockets(script) as origin:
        _, notes = await wait_at(origin)
    assert notes.grown == ["buyer 1 stood at 2, and then at 5"]


async def test_where_there_is_no_websocket_the_buyer_polls(autojump_clock: object) -> None:
    daemon = FakeDaemon(waits=(3, 2, 1))
    async with daemon.serving() as origin:
        token, notes = await wait_at(origin)
    assert token == "queue-token"
    assert daemon.calls.count("GET queue/status") == 3
    ((sentence, count),) = notes.odd.items()
    assert count == 1
    assert "lost or refused" in sentence


async def test_a_websocket_that_closes_or_talks_nonsense_is_left_for_polling(autojump_clock: object) -> None:
    daemon = FakeDaemon(waits=(3,))

    async def close(socket: WebSocketConnection) -> None:
        await subscribed(socket, 2)
        await socket.aclose(1013)

    async def babble(socket: WebSocketConnection) -> None:
        await socket.send_message("{")

    for script in (close, babble):
        async with both(daemon, script) as origin:
            token, notes = await wait_at(origin)
        assert token == "queue-token"
        assert notes.odd.total() == 1


async def test_a_ping_that_meets_the_goodbye_costs_nothing() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        socket = WSConnection(ConnectionType.SERVER)
        while not any(isinstance(event, Request) for event in await _receive(socket, stream)):
            pass
        await stream.send_all(socket.send(AcceptConnection()))
        ready = update(0, status="READY", access_token="access")
        await stream.send_all(socket.send(TextMessage(data=ready)))
        while not any(isinstance(event, CloseConnection) for event in await _receive(socket, stream)):
            pass
        await stream.send_all(b"\x89\x00")
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        token, notes = await wait_at(
            Origin(host="127.0.0.1", port=listener.socket.getsockname()[1], tls=False)
        )
        nursery.cancel_scope.cancel()
    assert token == "access"
    assert not notes.odd


async def _receive(socket: WSConnection, stream: trio.SocketStream) -> list[Event]:
    socket.receive_data(await stream.receive_some())
    return list(socket.events())


async def test_a_websocket_that_falls_silent_is_left_for_polling(autojump_clock: object) -> None:
    async def silent(socket: WebSocketConnection) -> None:
        await subscribed(socket, 2)
        await trio.sleep_forever()

    async with both(FakeDaemon(waits=(3,)), silent) as origin:
        began = trio.current_time()
        token, notes = await wait_at(origin)
        assert trio.current_time() - began > 120
    assert token == "queue-token"
    assert list(notes.odd) == ["a WebSocket said nothing for long, and its buyer polled"]


@asynccontextmanager
async def both(daemon: FakeDaemon, script: Script) -> AsyncIterator[Origin]:
    """A WebSocket on the first connection, the daemon on those after it."""
    first = True

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal first
        if not first:
            await serve_http(daemon.reply, stream)
            return
        first = False
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            socket = await request.accept()
            await socket.get_message()
            await script(socket)
            nursery.cancel_scope.cancel()

    async with listening(serve) as origin:
        yield origin
