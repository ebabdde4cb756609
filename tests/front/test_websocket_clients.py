"""Clients that others have written."""

from __future__ import annotations

from typing import NoReturn

import pytest
import trio
from trio_websocket import ConnectionClosed, open_websocket_url
from websockets.exceptions import ConnectionClosed as Closed
from websockets.sync.client import ClientConnection, connect

from tests.front.raw_websocket import ServedSockets, serving_sockets


def url(sockets: ServedSockets) -> str:
    return f"ws://{sockets.served.address}/ws"


class TestTrioWebsocket:
    async def test_talks_and_closes(self) -> None:
        offered = ["bearer.x", "ticketd.v1"]
        async with serving_sockets() as sockets:  # noqa: SIM117  # the address is known only within
            async with open_websocket_url(url(sockets), subprotocols=offered) as client:
                assert client.subprotocol == "ticketd.v1"
                await client.send_message("hello")
                assert await client.get_message() == "hello"
                await client.ping(b"there?")
                await client.aclose(4321, "enough")
                assert client.closed is not None
                assert client.closed.code == 4321

    async def test_hears_why_it_is_closed(self) -> None:
        async with serving_sockets() as sockets, open_websocket_url(url(sockets)) as client:
            await client.send_message("end")
            assert await client.get_message() == "last words"
            with pytest.raises(ConnectionClosed) as closed:
                await client.get_message()
            assert closed.value.reason is not None
            assert (closed.value.reason.code, closed.value.reason.reason) == (4000, "as asked")
            await client._close_stream()  # It leaves that to the server.

    async def test_hears_1001_at_the_end(self) -> None:
        async with serving_sockets() as sockets, open_websocket_url(url(sockets)) as client:
            await client.send_message("hello")
            assert await client.get_message() == "hello"
            sockets.served.stop.set()
            with pytest.raises(ConnectionClosed) as closed:
                await client.get_message()
            assert closed.value.reason is not None
            assert closed.value.reason.code == 1001
            await client._close_stream()


class TestWebsockets:
    async def test_talks_and_closes(self) -> None:
        async with serving_sockets() as sockets:
            await trio.to_thread.run_sync(talk, url(sockets))

    async def test_hears_why_it_is_closed(self) -> None:
        async with serving_sockets() as sockets:
            for message, code in (("end", 4000), (b"binary", 1003), ("x" * 4097, 1009)):
                assert await trio.to_thread.run_sync(code_after, url(sockets), message) == code


def talk(where: str) -> None:
    with connect(where, proxy=None, subprotocols=["ticketd.v1"]) as client:  # type: ignore[list-item]  # a str is a subprotocol
        assert client.subprotocol == "ticketd.v1"
        assert client.protocol.extensions == []
        client.send("hello")
        assert client.recv() == "hello"
        client.send(["in ", "", "fragments"])
        assert client.recv() == "in fragments"
        assert client.ping().wait(5)
        client.close(4321, "enough")
        assert client.close_code == 4321


def code_after(where: str, message: str | bytes) -> int:
    with connect(where, proxy=None) as client:
        client.send(message)
        return heard_code(client)


def read_for_ever(client: ClientConnection) -> NoReturn:
    while True:
        client.recv()


def heard_code(client: ClientConnection) -> int:
    with pytest.raises(Closed) as closed:
        read_for_ever(client)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code
