"""Clients that mean harm to a daemon that runs as a process of its own, and what it cost the daemon to bear them.

Every attack is a function of a ``Target``; it returns when all of its clients are gone, and raises AssertionError where
one was answered as it must not be. A listener with TLS, or one for HTTP/2, is a ``Target`` with its own ``connect``.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import trio

from tests.front.hostile_requests import (
    BODIES,
    HEADS,
    PRIOR_KNOWLEDGE_REQUESTS,
    UNREADABLE,
    WEBSOCKET_UPGRADES,
)
from tests.support.events import arena_file
from tests.support.process import DaemonProcess, ticketd

EVENT_ID: Final = "0f0e0d0c-0b0a-4009-8807-060504030202"
SEATS: Final = 20_000
ROW_SEATS: Final = 100
MAX_HEADER_BYTES: Final = 16 * 1024
_AT_ONCE: Final = 100
_SOURCES: Final = 20
"""From how many addresses of loopback the connections come, so that no address runs out of ports."""
_PATIENCE_SECONDS: Final = 120


def prepare_hall(data: Path) -> str:
    """Puts an event of 20,000 seats into a store that no daemon has open; a storefront's key to it."""
    rows: list[dict[str, object]] = [
        {"row": f"R{number}", "first": 1, "last": ROW_SEATS} for number in range(SEATS // ROW_SEATS)
    ]
    file = data.parent / "hall.json"
    file.write_text(json.dumps({**arena_file(rows=rows), "event_id": EVENT_ID}))
    imported = ticketd(data, "import", str(file))
    assert imported.returncode == 0, imported.stderr
    created = ticketd(data, "keys", "create", "--scope", "storefront")
    assert created.returncode == 0, created.stderr
    return created.stdout.strip()


@dataclass
class Target:
    """A listener to attack, and a key that it knows."""

    host: str
    port: int
    key: str
    send_timeout_seconds: int
    _sources: Iterator[int] = field(default_factory=lambda: itertools.cycle(range(_SOURCES)))

    @classmethod
    def of(cls, daemon: DaemonProcess, key: str, send_timeout_seconds: int) -> Target:
        """The public listener of a daemon with this limit."""
        url = urlsplit(daemon.url)
        assert url.hostname is not None
        assert url.port is not None
        return cls(url.hostname, url.port, key, send_timeout_seconds)

    async def connect(self) -> trio.SocketStream:
        """A new connection, from one of several addresses."""
        sock = trio.socket.socket()
        await sock.bind((f"127.0.1.{next(self._sources) + 1}", 0))
        await sock.connect((self.host, self.port))
        return trio.SocketStream(sock)

    def request(self, path: str, *lines: str, method: str = "GET") -> bytes:
        """A request with the key."""
        head = "\r\n".join((f"{method} {path} HTTP/1.1", "Host: a", f"X-API-Key: {self.key}", *lines))
        return f"{head}\r\n\r\n".encode("ascii")

    @property
    def seat_map(self) -> bytes:
        """Asks for the map of all seats, not compressed."""
        return self.request(f"/v1/events/{EVENT_ID}/seats")

    @property
    def event(self) -> bytes:
        """Asks for the event."""
        return self.request(f"/v1/events/{EVENT_ID}")


Attack = Callable[[Target, int], Awaitable[None]]


async def crowd(count: int, each: Callable[[int], Awaitable[None]]) -> None:
    """``each`` of so many numbers, a hundred at once."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await each(number)

    async with trio.open_nursery() as nursery:
        for _ in range(min(_AT_ONCE, count)):
            nursery.start_soon(work)


async def everybody(count: int, each: Callable[[int], Awaitable[None]]) -> None:
    """``each`` of so many numbers, all at once."""
    with trio.fail_after(_PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(each, number)


async def read_to_the_end(stream: trio.SocketStream) -> bytes:
    """All that comes until the daemon closes, in whatever way; then this end is closed, too."""
    found = bytearray()
    with trio.fail_after(_PATIENCE_SECONDS), contextlib.suppress(trio.BrokenResourceError):
        while data := await stream.receive_some(65_536):
            found += data
    await stream.aclose()
    return bytes(found)


def reset(stream: trio.SocketStream) -> None:
    """Closes so that the daemon is told by a reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


async def requests_that_kill(target: Target, count: int) -> None:
    """Every request that ends a stock server, that is none, or that two readers read in two ways."""
    sent = [
        *WEBSOCKET_UPGRADES.values(),
        *PRIOR_KNOWLEDGE_REQUESTS.values(),
        *UNREADABLE.values(),
        *HEADS.values(),
        *BODIES.values(),
    ]

    async def send(number: int) -> None:
        stream = await target.connect()
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(sent[number % len(sent)])
            await stream.send_eof()
        found = await read_to_the_end(stream)
        assert [status[:1] for status in _STATUS.findall(found)] == [b"4"], (sent[number % len(sent)], found)

    await crowd(max(count, len(sent)), send)


async def opened_and_dropped(target: Target, count: int) -> None:
    """Connections that are dropped at once, with nothing or something said, by a reset or in peace."""
    sent = (
        b"",
        target.event,
        target.event[:20],
        target.request("/x", "Content-Length: 5", method="POST") + b"x",
    )

    async def drop(number: int) -> None:
        stream = await target.connect()
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(sent[number % len(sent)])
        if number % 10 == 0:
            await stream.aclose()
        else:
            reset(stream)

    await crowd(count, drop)


async def half_closed(target: Target, count: int) -> None:
    """Clients that stop sending in each phase of a request, and wait."""
    body = target.request(
        "/v1/queue/join", "Content-Length: 5", "Content-Type: application/json", method="POST"
    )
    sent = {b"": b"", target.event: b"200", target.event[:20]: b"400", body + b"{": b"400"}

    async def close_half(number: int) -> None:
        said, status = list(sent.items())[number % len(sent)]
        stream = await target.connect()
        await stream.send_all(said)
        await stream.send_eof()
        assert (await read_to_the_end(stream))[9:12] == status

    await crowd(count, close_half)


async def large_heads(target: Target, count: int) -> None:
    """Heads at the limit, a byte above it, and far above it, also as one that never ends."""
    sizes = {MAX_HEADER_BYTES: b"200", MAX_HEADER_BYTES + 1: b"431", 1 << 20: b"431"}

    async def send(number: int) -> None:
        size, status = list(sizes.items())[number % len(sizes)]
        event = target.request(f"/v1/events/{EVENT_ID}", "Connection: close", "X: ")[:-4]
        stream = await target.connect()
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(event + b"x" * (size - len(event) - 4) + b"\r\n\r\n")
        assert (await read_to_the_end(stream))[9:12] in {status, b""}

    await crowd(count, send)


def slowly(
    first: Callable[[Target], bytes], drop: bytes, seconds: float, statuses: frozenset[bytes]
) -> Attack:
    """An attack of clients that send ``drop`` again and again, so many seconds apart."""

    async def attack(target: Target, count: int) -> None:
        async def drip(number: int) -> None:
            stream = await target.connect()
            await stream.send_all(first(target))
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def _() -> None:
                    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                        while True:
                            await trio.sleep(seconds)
                            await stream.send_all(drop)

                assert (await read_to_the_end(stream))[9:12] in statuses
                nursery.cancel_scope.cancel()

        await everybody(count, drip)

    return attack


def _begun_post(target: Target, line: str) -> bytes:
    return target.request("/v1/queue/join", line, "Content-Type: application/json", method="POST")


async def slow_readers(target: Target, count: int) -> None:
    """Readers that stop in the middle of a map of 20,000 seats, for longer than the daemon may bear it."""

    async def stop(number: int) -> None:
        stream = await target.connect()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await stream.send_all(target.seat_map)
        found = await stream.receive_some(1000)
        assert found.startswith(b"HTTP/1.1 200 ")
        await trio.sleep(target.send_timeout_seconds * 2 + 1)
        # What the kernel had taken still comes; the daemon had let go of the rest.
        rest = await read_to_the_end(stream)
        announced = _LENGTH.search(found)
        assert announced is not None
        assert len(rest) < int(announced[1]) - 100_000

    await everybody(count, stop)


_LENGTH: Final = re.compile(rb"content-length: (\d{7,})\r\n")
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")
TOO_SLOW: Final = frozenset({b"408", b""})

SLOW: Final[dict[str, Attack]] = {
    "a byte of a head each second": slowly(lambda target: target.event[:20], b"x", 1, TOO_SLOW),
    "headers without an end": slowly(lambda t: t.event[:-2], b"X: 1\r\n" * 20, 0.05, TOO_SLOW | {b"431"}),
    "a byte of a body each second": slowly(
        lambda target: _begun_post(target, "Content-Length: 5000"), b" ", 1, TOO_SLOW
    ),
    "a byte of a chunk each second": slowly(
        lambda target: _begun_post(target, "Transfer-Encoding: chunked") + b"1000\r\n", b" ", 1, TOO_SLOW
    ),
    "a chunk each second": slowly(
        lambda target: _begun_post(target, "Transfer-Encoding: chunked"), b"1\r\n \r\n", 1, TOO_SLOW
    ),
    "a size without an end": slowly(
        lambda target: _begun_post(target, "Transfer-Encoding: chunked") + b"1;", b"x", 1, TOO_SLOW
    ),
    "silence": slowly(lambda _: b"", b"", 1, TOO_SLOW),
    "readers that stop": slow_readers,
}
QUICK: Final[dict[str, Attack]] = {
    "requests that kill": requests_that_kill,
    "opened and dropped": opened_and_dropped,
    "half closed": half_closed,
    "large heads": large_heads,
}


def resident_bytes(daemon: DaemonProcess) -> int:
    """What the daemon has of memory."""
    return int(Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_descriptors(daemon: DaemonProcess) -> int:
    """How many descriptors the daemon has open."""
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
