"""When a peer counts as stalled, and that frames stay whole, with a socket whose other end the test reads."""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from ticketd.front.faults import PeerGone
from ticketd.front.outflow import Outflow

FRAME = b"x" * 8_000_000
STALLED_SECONDS = 6.0
PATIENCE_SECONDS = 20


@contextlib.asynccontextmanager
async def outflow_to() -> AsyncIterator[tuple[Outflow, trio.SocketStream]]:
    """The sending side under test, and the stream at which it ends."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener:
        client = await trio.open_tcp_stream(*listener.socket.getsockname())
        server = await listener.accept()
        with socket.socket(fileno=server.socket.detach()) as sock:
            async with client:
                with trio.fail_after(PATIENCE_SECONDS):
                    yield Outflow(sock, STALLED_SECONDS), client


def looks_until_stalled(outflow: Outflow) -> Iterator[float]:
    """The times of the looks, the last of which finds the peer stalled."""
    while True:
        now = outflow.look_at
        yield now
        if not outflow.look(now):
            return


class TestWatching:
    async def test_peer_that_takes_nothing_is_stalled_after_six_looks(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Of a real one the kernel may take a last bit after the watch has begun.
        monkeypatch.setattr("ticketd.front.outflow.untaken_bytes", lambda sock: 9)
        async with outflow_to() as (outflow, _client):
            assert outflow.look_at == math.inf
            outflow.send(FRAME)
            assert not outflow.has_room()
            outflow.watch(100.0)
            assert list(looks_until_stalled(outflow)) == [101.0, 102.0, 103.0, 104.0, 105.0, 106.0]

    async def test_peer_that_takes_some_without_making_room_is_not_stalled(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Each look compares two: what was there after the one before, and what is there now.
        untaken = iter([9, *[9, 9] * 4, 8, *[8] * 100])
        monkeypatch.setattr("ticketd.front.outflow.untaken_bytes", lambda sock: next(untaken))
        async with outflow_to() as (outflow, _client):
            outflow.watch(100.0)
            # Five looks, the last of which sees that something was taken; from there on six more.
            assert list(looks_until_stalled(outflow))[-1] == 100.0 + 5 + 6

    async def test_who_wants_room_again_and_again_gains_the_peer_no_time(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ticketd.front.outflow.untaken_bytes", lambda sock: 9)
        async with outflow_to() as (outflow, _client):
            outflow.send(FRAME)
            outflow.watch(100.0)
            for now in looks_until_stalled(outflow):
                assert not outflow.has_room()
                outflow.watch(now)
            assert now == 106.0

    async def test_room_ends_the_watch(self) -> None:
        async with outflow_to() as (outflow, _client):
            outflow.watch(100.0)
            assert outflow.look_at == 101.0
            assert outflow.has_room()
            assert outflow.look_at == math.inf


class TestSending:
    async def test_what_the_socket_does_not_take_is_kept_and_goes_first(self) -> None:
        async with outflow_to() as (outflow, client):
            outflow.send(FRAME)
            outflow.send(b"second")
            assert outflow.begun
            assert not outflow.has_room()
            got = bytearray()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(outflow.finish)
                while len(got) < len(FRAME) + 6:
                    got += await client.receive_some()
            assert got == FRAME + b"second"
            assert outflow.has_room()

    async def test_asking_for_room_sends_what_is_kept(self) -> None:
        async with outflow_to() as (outflow, client):
            outflow.send(FRAME)
            got = 0
            while outflow.begun:
                outflow.has_room()
                got += len(await client.receive_some())
            while got < len(FRAME):
                got += len(await client.receive_some())
            assert got == len(FRAME)

    async def test_finishing_can_be_broken_off_and_begun_again(self) -> None:
        async with outflow_to() as (outflow, client):
            outflow.send(FRAME)
            with trio.move_on_after(0):
                await outflow.finish()
            assert outflow.begun
            got = bytearray()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(outflow.finish)
                while len(got) < len(FRAME):
                    got += await client.receive_some()
            assert got == FRAME

    async def test_peer_that_is_gone(self) -> None:
        async with outflow_to() as (outflow, client):
            outflow.send(FRAME)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
            client.socket.close()
            with pytest.raises(PeerGone):
                await outflow.finish()
            with pytest.raises(PeerGone):
                outflow.has_room()

    async def test_socket_that_is_closed_here(self) -> None:
        with socket.socket() as sock:
            outflow = Outflow(sock, STALLED_SECONDS)
        with pytest.raises(PeerGone):
            outflow.send(FRAME)
