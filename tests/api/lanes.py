"""The ways of serving: the same daemon behind the direct lane, the ASGI app on the fast front, and on Hypercorn's."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote

import msgspec
import trio
import zstandard

from handlers.call import Answerer, ListenerKind
from handlers.direct import HotEndpoints
from handlers.quart_app import build_app
from handlers.routes import ENDPOINTS
from handlers.serve import Server
from tests.api.world import World
from tests.front.raw_http import LIMITS, Answer, RawClient
from tests.support.daemon import Client
from ticketd.front import BoundAddress, ListenerName, Served, open_tcp_listener, serve_listeners
from ticketd.front.serve import FrontKind

BODY_LIMIT: Final = 65_536
OPERATOR_BODY_LIMIT: Final = 16 * 1024 * 1024
LANES: Final[Mapping[str, FrontKind]] = {"direct": "fast", "app": "fast", "hypercorn": "hypercorn"}

_MASKS: Final = (
    (re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"), b"<uuid>"),
    (re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"), b"<time>"),
    (re.compile(rb"[A-Za-z0-9+/=]{100,}"), b"<picture>"),
    (re.compile(rb"[A-Za-z0-9_.=-]{20,}"), b"<token>"),
    (re.compile(rb"\b\d{10,13}\b"), b"<number>"),
    (re.compile(rb'(?<="kid":")[^"]+|(?<="subject":")[^"]+|(?<="key_id":")[^"]+'), b"<key>"),
    (re.compile(rb'(?<="commit_seconds_sum":)[0-9.e-]+'), b"<seconds>"),
)
_CHANGING: Final = frozenset({"date", "content-length"})


class AllEndpoints(HotEndpoints):
    """Every endpoint of a door as if it were hot: what holds for the direct lane has to hold for each of them."""

    def __init__(self, server: Server, listener: ListenerKind) -> None:
        super().__init__(server)
        self.listener = listener
        self._answer = server.begin

    def find(self, method: str, path: str) -> Answerer:
        return super().find(method, path) or self._answer


class Wire:
    """A served world. Requests of one door go out on one connection for as long as it is kept alive."""

    def __init__(self, world: World, addresses: Mapping[ListenerKind, BoundAddress]) -> None:
        self.world = world
        self.addresses = addresses
        self._clients: dict[ListenerKind, RawClient] = {}

    async def ask(self, sent: bytes, listener: ListenerKind = ListenerKind.PUBLIC) -> Answer:
        """The final answer to one request."""
        client = self._clients.pop(listener, None) or await RawClient.connect(self.addresses[listener])
        found = await client.ask(sent)
        if found.status == 100:
            found = await client.read_answer()
        if found.headers.get("connection") == "close":
            await client.close()
        else:
            self._clients[listener] = client
        return found

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()


@asynccontextmanager
async def serving_world(world: World, lane: str) -> AsyncIterator[Wire]:
    """The world behind one of ``LANES``, its public door and the operator's on TCP."""
    server, stop = world.daemon.server, trio.Event()
    addresses: dict[ListenerKind, BoundAddress] = {}
    async with trio.open_nursery() as nursery:
        for kind, name, limit in (
            (ListenerKind.PUBLIC, ListenerName.PUBLIC, BODY_LIMIT),
            (ListenerKind.OPERATOR_TCP, ListenerName.OPERATOR, OPERATOR_BODY_LIMIT),
        ):
            served = Served(
                app=build_app(server, ENDPOINTS, kind, limit),
                limits=LIMITS,
                kind=LANES[lane],
                direct=AllEndpoints(server, kind) if lane == "direct" else None,
            )
            listener = await open_tcp_listener("127.0.0.1:0", name)

            async def serve(
                served: Served = served,
                listener: object = listener,
                *,
                task_status: trio.TaskStatus[list[BoundAddress]] = trio.TASK_STATUS_IGNORED,
            ) -> None:
                await serve_listeners(served, [listener], stop=stop, task_status=task_status)  # type: ignore[list-item]  # all of a listener that serving uses

            (addresses[kind],) = await nursery.start(serve)
        wire = Wire(world, addresses)
        try:
            yield wire
        finally:
            await wire.close()
            stop.set()


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request before it is written down: ``headers`` in their order, names as they are written."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    version: str = "1.1"
    is_chunked: bool = False

    @property
    def bytes(self) -> bytes:
        """As it goes on the wire."""
        lines, body = list(self.headers), self.body
        if self.is_chunked:
            lines.append(("Transfer-Encoding", "chunked"))
            body = chunked(body, 1000)
        elif body:
            lines.append(("Content-Length", str(len(body))))
        text = "".join(f"{name}: {value}\r\n" for name, value in lines)
        head = f"{self.method} {self.target} HTTP/{self.version}\r\nHost: tickets.test\r\n{text}\r\n"
        return head.encode("latin-1") + body

    def having(self, *headers: tuple[str, str]) -> Asked:
        """With further headers."""
        return msgspec.structs.replace(self, headers=self.headers + headers)

    def lacking(self, name: str) -> Asked:
        """Without a header."""
        kept = tuple(line for line in self.headers if line[0].lower() != name.lower())
        return msgspec.structs.replace(self, headers=kept)


def chunked(body: bytes, size: int) -> bytes:
    """In chunks of at most so many bytes."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


def asked_by(
    client: Client, method: str, target: str, body: object, raw: bytes | None, more: Mapping[str, str] | None
) -> Asked:
    """What ``client.call`` asks, as a request."""
    headers = {"X-API-Key": client.api_key, "X-Device-ID": client.device}
    headers["Authorization"] = None if client.token is None else f"Bearer {client.token}"
    data = raw if raw is not None else (b"" if body is None else json.dumps(body).encode())
    if data and not (more and "content-type" in more):
        headers["Content-Type"] = "application/json"
    headers.update(more or {})
    lines = tuple((name, value) for name, value in headers.items() if value)
    return Asked(method=method, target=quote(target, safe="/?&=%"), headers=lines, body=data)


def masked(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """What has to be the same of an answer, whoever serves it."""
    headers = {
        name: mask(value.encode("latin-1")).decode("latin-1")
        for name, value in answer.headers.items()
        if name not in _CHANGING
    }
    body = answer.body
    match answer.headers.get("content-encoding"):
        case "gzip":
            body = gzip.decompress(body)
        case "zstd":
            body = zstandard.ZstdDecompressor().decompress(body, max_output_size=1 << 24)
        case _:
            pass
    return answer.status, headers, b"%PDF" if body.startswith(b"%PDF") else mask(body)


def mask(data: bytes) -> bytes:
    """Ids, times and tokens are each world's own."""
    for pattern, name in _MASKS:
        data = pattern.sub(name, data)
    return data
