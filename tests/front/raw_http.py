"""A client that sends exactly the bytes it is told to, an ASGI app, and a running front around it."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest
import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

from handlers.websocket import WebSocketApp
from ticketd.front import (
    BoundAddress,
    FrontLimits,
    ListenerName,
    NamedListener,
    Served,
    open_tcp_listener,
    serve_listeners,
)
from ticketd.front.certificates import Certificates
from ticketd.front.fast_lane import DirectApp
from ticketd.front.serve import FrontKind

# Far above what any test needs, so that it only ends a test that hangs.
PATIENCE_SECONDS = 20
SHORT_SECONDS = 0.05

LIMITS = FrontLimits(
    max_connections=64,
    max_connections_per_address=64,
    header_timeout_seconds=PATIENCE_SECONDS,
    body_timeout_seconds=PATIENCE_SECONDS,
    idle_timeout_seconds=PATIENCE_SECONDS,
    send_timeout_seconds=PATIENCE_SECONDS,
    shutdown_seconds=PATIENCE_SECONDS,
    max_header_bytes=16_384,
    max_message_bytes=4096,
    ping_seconds=PATIENCE_SECONDS,
    pong_timeout_seconds=PATIENCE_SECONDS,
    stalled_seconds=PATIENCE_SECONDS,
)

FRONT_KIND: FrontKind = "fast"
"""What ``serving`` starts; see ``conftest.py``."""
BOTH_FRONTS = pytest.mark.parametrize("front", ["fast", "hypercorn"], indirect=True)

# More than the kernel buffers of a loopback connection hold.
LARGE = 16_000_000
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Answer(msgspec.Struct, frozen=True):
    """One HTTP answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error_code(self) -> str:
        code = json.loads(self.body)["error"]["code"]
        assert isinstance(code, str)
        return code


class RawClient:
    """One connection to the front."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self.tls = stream if isinstance(stream, trio.SSLStream) else None
        self.stream = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        self._buffer = bytearray()

    @classmethod
    async def connect(cls, address: BoundAddress) -> RawClient:
        if address.path is not None:
            return cls(await trio.open_unix_socket(address.path))
        assert address.host is not None
        assert address.port is not None
        return cls(await trio.open_tcp_stream(address.host, address.port))

    async def send(self, data: bytes) -> None:
        await (self.tls or self.stream).send_all(data)

    async def ask(self, data: bytes = GET) -> Answer:
        await self.send(data)
        return await self.read_answer(bodiless=data.startswith(b"HEAD "))

    async def read_answer(self, *, bodiless: bool = False) -> Answer:
        head = await self._read_until(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(status_line.split(" ")[1])
        if bodiless or status < 200 or status in {204, 304}:
            return Answer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Answer(status, headers, await self._read_chunks())
        return Answer(status, headers, await self._read_exactly(int(headers["content-length"])))

    async def read_rest(self) -> bytes:
        """All that comes until the server closes, in whatever way; then this end is closed, too."""
        with contextlib.suppress(trio.BrokenResourceError):
            while await self._read_more():
                pass
        await self.close()
        return bytes(self._buffer)

    async def close(self) -> None:
        await self.stream.aclose()

    def reset(self) -> None:
        """Closes so that the other side is told by a reset, not by an end of input."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()

    async def _read_more(self) -> bool:
        data = await (self.tls or self.stream).receive_some()
        self._buffer += data
        return bool(data)

    async def _read_until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            assert await self._read_more(), f"closed after {bytes(self._buffer)!r}"
        found, _, rest = bytes(self._buffer).partition(end)
        self._buffer = bytearray(rest)
        return found

    async def _read_exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            assert await self._read_more(), f"closed after {bytes(self._buffer)!r}"
        found = bytes(self._buffer[:count])
        del self._buffer[:count]
        return found

    async def _read_chunks(self) -> bytes:
        body = b""
        while size := int(await self._read_until(b"\r\n"), 16):
            body += await self._read_exactly(size)
            await self._read_until(b"\r\n")
        await self._read_until(b"\r\n")
        return body


class App:
    """An ASGI app whose paths do what a front must bear. It notes what happened to its requests."""

    def __init__(self) -> None:
        self.entered = trio.Event()
        self.gate = trio.Event()
        self.left = trio.Event()
        self.outcomes: list[str] = []

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        assert scope["type"] == "http"
        try:
            await self._answer(scope["path"], scope, receive, send)
        except trio.Cancelled:
            self.outcomes.append("cancelled")
            raise
        except BaseException as error:
            self.outcomes.append(type(error).__name__)
            raise
        else:
            self.outcomes.append("done")
        finally:
            self.left.set()

    async def _live(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(
        self, path: str, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        match path:
            case "/echo":
                body = await read_body(receive)
                if body is not None:
                    await answer(send, body)
            case "/scope":
                await answer(send, describe(scope))
            case "/gate":
                self.entered.set()
                await self.gate.wait()
                await answer(send, b"open")
            case "/watched":
                # As frameworks do: whether the client has gone away is watched beside.
                self.entered.set()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(watch, receive)
                    await self.gate.wait()
                    await answer(send, b"open")
                    nursery.cancel_scope.cancel()
            case "/until-told":
                self.entered.set()
                await watch(receive)
            case "/endless":
                self.entered.set()
                await answer_without_end(send)
            case "/large":
                await answer(send, bytes(LARGE))
            case "/raise":
                raise ValueError("secret-token in the text of an error")
            case "/raise-late":
                await answer(send, b"1", length=10)
            case "/silent":
                pass
            case _:
                await answer(send, b"hello")


async def watch(receive: ASGIReceiveCallable) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def describe(scope: Scope) -> bytes:
    assert scope["type"] == "http"
    seen = {"client": scope["client"], "path": scope["path"], "query": scope["query_string"].decode()}
    return json.dumps(seen | scope["extensions"]["ticketd"]).encode()


async def answer(send: ASGISendCallable, body: bytes, length: int | None = None) -> None:
    """Answers 200 with ``body``, saying that it is ``length`` bytes long."""
    said = str(len(body) if length is None else length).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", said)]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def answer_without_end(send: ASGISendCallable) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": bytes(65_536), "more_body": True})


async def read_body(receive: ASGIReceiveCallable) -> bytes | None:
    """The whole body, or None when the client left before its end."""
    body = b""
    while True:
        event = await receive()
        if event["type"] != "http.request":
            return None
        body += event["body"]
        if not event["more_body"]:
            return body


class RunningFront:
    """A running front, and how to reach and end it."""

    def __init__(self, address: BoundAddress, stop: trio.Event, ended: trio.Event) -> None:
        self.address = address
        self.stop = stop
        self.ended = ended
        self._clients: list[RawClient] = []

    async def connect(self) -> RawClient:
        """A new connection, closed at the latest when the test is over."""
        client = await RawClient.connect(self.address)
        self.close_at_the_end(client)
        return client

    def close_at_the_end(self, client: RawClient) -> None:
        """Closes a client that the test may have forgotten."""
        self._clients.append(client)

    def close_clients(self) -> None:
        for client in self._clients:
            client.stream.socket.close()

    async def assert_alive(self) -> None:
        """Another client gets its answer."""
        client = await self.connect()
        found = await client.ask()
        assert (found.status, found.body) == (200, b"hello")
        await client.close()


@contextlib.asynccontextmanager
async def serving(
    app: ASGIFramework,
    limits: FrontLimits = LIMITS,
    listeners: Sequence[NamedListener] = (),
    websocket_app: WebSocketApp | None = None,
    certificates: Certificates | None = None,
    direct: DirectApp | None = None,
) -> AsyncIterator[RunningFront]:
    """Serves ``app`` on loopback (or ``listeners``); at the end of the block it must stop by itself."""
    listeners = listeners or [await open_tcp_listener("127.0.0.1:0", ListenerName.PUBLIC)]
    stop, ended = trio.Event(), trio.Event()

    async def serve(task_status: trio.TaskStatus[list[BoundAddress]]) -> None:
        served = Served(
            app=app,
            limits=limits,
            kind=FRONT_KIND,
            direct=direct,
            websocket_app=websocket_app,
            certificates=certificates,
        )
        await serve_listeners(served, listeners, stop=stop, task_status=task_status)
        ended.set()

    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            addresses = await nursery.start(serve)
            served = RunningFront(addresses[0], stop, ended)
            try:
                yield served
            finally:
                served.close_clients()
                stop.set()
