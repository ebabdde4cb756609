"""When a peer counts as stalled, and that frames stay whole, with a socket whose other end the test reads."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.front.raw_http import LIMITS
from ticketd.front import ListenerName
from ticketd.front.connections import Connection
from ticketd.front.faults import PeerGone
from ticketd.front.outflow import Outflow, Stalled

FRAME = b"x" * 8_000_000
STALLED_SECONDS = 6.0


@contextlib.asynccontextmanager
async def outflow_to() -> AsyncIterator[tuple[Outflow, trio.SocketStream]]:
    """The sending side under test, and the stream at which it ends."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener:
        client = await trio.open_tcp_stream(*listener.socket.getsockname())
        server = await listener.accept()
        connection = Connection(socket.socket(fileno=server.socket.detach()), ListenerName.PUBLIC, LIMITS)
        async with client:
            try:
                yield Outflow(connection, STALLED_SECONDS), client
            finally:
                await connection.close(linger=False)


async def pass_looks(clock: MockClock, count: int) -> None:
    for _ in range(count):
        await wait_all_tasks_blocked(0.01)
        clock.jump(STALLED_SECONDS / 6 + 0.001)
    await wait_all_tasks_blocked(0.01)


async def test_peer_that_takes_some_without_making_room_is_not_stalled(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    untaken = iter([9, 9, 9, 9, 9, 9, 9, 9, 9, 8, *[8] * 100])
    monkeypatch.setattr(Outflow, "_untaken_bytes", lambda self: next(untaken))
    async with outflow_to() as (outflow, _client), trio.open_nursery() as nursery:
        ended = trio.Event()

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(Stalled):
                await outflow._watched(trio.sleep_forever)
            ended.set()

        # Five looks, the last of which sees that something was taken; from there on six more.
        await pass_looks(mock_clock, 10)
        assert not ended.is_set()
        await pass_looks(mock_clock, 1)
        assert ended.is_set()


async def test_frame_whose_sending_was_cancelled_is_sent_first(mock_clock: MockClock) -> None:
    async with outflow_to() as (outflow, client):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(outflow.send, FRAME)
                await wait_all_tasks_blocked(0.01)
                nursery.start_soon(outflow.send, b"second")
                await wait_all_tasks_blocked(0.01)
                scope.cancel()
        assert outflow.begun
        got = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outflow.send, b"third")
            while len(got) < len(FRAME) + 11:
                got += await client.receive_some()
        assert got == FRAME + b"secondthird"
        assert not outflow.begun


async def test_peer_that_is_gone(mock_clock: MockClock) -> None:
    async with outflow_to() as (outflow, client):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        client.socket.close()
        await wait_all_tasks_blocked(0.01)
        with pytest.raises(PeerGone):
            await outflow.send(FRAME)
