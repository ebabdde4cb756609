"""A crowd of WebSockets on the real daemon that all listen to one event, and a seat of it that is reserved."""

from __future__ import annotations

import json
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

import httpx
import trio

from tests.front.raw_http import RawClient
from tests.front.raw_websocket import PING, PONG, TEXT, RawSocket, upgrade
from tests.support.events import arena_file
from tests.support.process import DaemonProcess, ticketd

EVENT_ID: Final = "0f0e0d0c-0b0a-4009-8807-060504030202"
SEATS: Final = 10
UNLIMITED: Final = {
    "TICKETD_RATE_LIMITS_ENABLED": "false",
    "TICKETD_SERVER_MAX_CONNECTIONS": "20000",
    "TICKETD_SERVER_MAX_CONNECTIONS_PER_ADDRESS": "1000000",
}
"""The environment of the daemon: all sockets come from one address, and there may be more than by default."""
_AT_ONCE: Final = 100


def raise_open_files() -> None:
    """This process holds the other ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def prepare_event(data: Path) -> str:
    """Puts the event into a store that no daemon has open; a storefront's key to it."""
    file = data.parent / "event.json"
    plan = arena_file(rows=[{"row": "A", "first": 1, "last": SEATS}])
    file.write_text(json.dumps({**plan, "event_id": EVENT_ID}))
    imported = ticketd(data, "import", str(file))
    assert imported.returncode == 0, imported.stderr
    created = ticketd(data, "keys", "create", "--scope", "storefront")
    assert created.returncode == 0, created.stderr
    return created.stdout.strip()


async def make_tokens(daemon: DaemonProcess, key: str, count: int) -> list[str]:
    """User tokens of so many buyers."""
    url = httpx.URL(daemon.url)
    client = RawClient(await trio.open_tcp_stream(url.host, url.port or 80))
    tokens = []
    for _ in range(count):
        body = json.dumps({"user_id": str(uuid4())}).encode()
        head = (
            f"POST /v1/sessions HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
        )
        answer = await client.ask(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert answer.status == 201, answer.body
        tokens.append(json.loads(answer.body)["token"])
    await client.close()
    return tokens


async def open_sockets(daemon: DaemonProcess, tokens: Sequence[str], sockets: list[RawSocket]) -> None:
    """Opens one for each token and has it subscribe; all that were opened are in ``sockets``."""
    url = httpx.URL(daemon.url)
    subscribe = json.dumps({"type": "subscribe", "event_id": EVENT_ID}).encode()

    async def open_some(some: Sequence[str]) -> None:
        for token in some:
            socket = RawSocket(await trio.open_tcp_stream(url.host, url.port or 80))
            sockets.append(socket)
            assert (await socket.ask(upgrade(f"/v1/realtime?token={token}"))).status == 101
            await socket.say(TEXT, subscribe)
            subscribed = json.loads((await socket.hear())[1])
            assert (subscribed["type"], subscribed["seq"]) == ("subscribed", 1)

    async with trio.open_nursery() as nursery:
        for start in range(_AT_ONCE):
            nursery.start_soon(open_some, tokens[start::_AT_ONCE])
    assert len(sockets) == len(tokens)


async def reserve_one(client: httpx.AsyncClient) -> None:
    """Somebody joins, is let in, and reserves a seat."""
    device = str(uuid4())
    who = {"event_id": EVENT_ID, "user_id": str(uuid4()), "device_fingerprint": device}
    joined = (await client.post("/v1/queue/join", json=who)).json()
    headers = {"X-Device-ID": device, "Authorization": f"Bearer {joined['queue_token']}"}
    access = (await client.get("/v1/queue/status", headers=headers)).json()["access_token"]
    reserved = await client.post(
        "/v1/seats/reserve",
        json={"event_id": EVENT_ID, "user_id": who["user_id"], "quantity": 1},
        headers={"X-Device-ID": device, "Authorization": f"Bearer {access}"},
    )
    assert reserved.status_code == 201, reserved.text


class Crowd:
    """Sockets whose messages are taken by a task for each, which answers pings."""

    def __init__(self) -> None:
        self.count = 0
        self.pings = 0
        self._free = 0
        self._heard = 0
        self._all_heard = trio.Event()

    async def listen(self, socket: RawSocket) -> None:
        """Takes what comes until it is cancelled."""
        self.count += 1
        while True:
            opcode, payload = await socket.hear()
            if opcode == PING:
                self.pings += 1
                await socket.say(PONG, payload)
                continue
            assert opcode == TEXT, (opcode, payload)
            self._heard += json.loads(payload).get("available_seats") == self._free
            if self._heard == self.count:
                self._all_heard.set()

    def expect(self, free: int) -> None:
        """From now on it is counted who has heard that so many seats are free."""
        self._free, self._heard, self._all_heard = free, 0, trio.Event()

    async def wait_all_heard(self) -> None:
        """Waits until all have."""
        await self._all_heard.wait()


async def hear_seats(socket: RawSocket) -> dict[str, object]:
    """The next message that tells of seats."""
    while True:
        opcode, payload = await socket.hear()
        message: dict[str, object] = json.loads(payload) if opcode == TEXT else {}
        if message.get("type") == "availability_update":
            return message
