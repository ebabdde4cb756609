"""The real daemon with 2,000 WebSockets that listen to one event: each hears of a seat, and of the end."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Final
from uuid import uuid4

import httpx
import pytest
import trio

from tests.front.raw_websocket import CLOSE, TEXT, RawSocket, close_payload, upgrade
from tests.support.events import arena_file
from tests.support.process import DaemonProcess, serving, ticketd

SOCKETS: Final = 2000
AT_ONCE: Final = 100
EVENT_ID: Final = "0f0e0d0c-0b0a-4009-8807-060504030202"
SEATS: Final = 10


@pytest.fixture(autouse=True)
def _descriptors() -> None:
    """This process holds the other ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def test_each_hears_of_a_reservation_and_of_the_end(tmp_path: Path) -> None:
    data = tmp_path / "data"
    key = _prepare(data)
    sockets: list[RawSocket] = []
    try:
        with serving(data, environ={"TICKETD_RATE_LIMITS_ENABLED": "false"}) as daemon:
            async with httpx.AsyncClient(
                base_url=daemon.url, timeout=30, headers={"X-API-Key": key}
            ) as client:
                token = (await client.post("/v1/sessions", json={"user_id": str(uuid4())})).json()["token"]
                await _open_all(daemon, token, sockets)
                await _reserve(client)
                for socket in sockets:
                    assert await _free_seats(socket) == SEATS - 1
            daemon.process.terminate()
            for socket in sockets:
                while (heard := await socket.hear())[0] == TEXT:
                    pass
                assert (heard[0], heard[1][:2]) == (CLOSE, close_payload(1001))
                await socket.say(CLOSE, heard[1])
            assert daemon.process.wait(15) == 0
    finally:
        for socket in sockets:
            socket.stream.socket.close()


def _prepare(data: Path) -> str:
    file = data.parent / "event.json"
    plan = arena_file(rows=[{"row": "A", "first": 1, "last": SEATS}])
    file.write_text(json.dumps({**plan, "event_id": EVENT_ID}))
    imported = ticketd(data, "import", str(file))
    assert imported.returncode == 0, imported.stderr
    created = ticketd(data, "keys", "create", "--scope", "storefront")
    assert created.returncode == 0, created.stderr
    return created.stdout.strip()


async def _open_all(daemon: DaemonProcess, token: str, sockets: list[RawSocket]) -> None:
    url = httpx.URL(daemon.url)
    subscribe = json.dumps({"type": "subscribe", "event_id": EVENT_ID}).encode()

    async def open_some() -> None:
        for _ in range(SOCKETS // AT_ONCE):
            socket = RawSocket(await trio.open_tcp_stream(url.host, url.port or 80))
            sockets.append(socket)
            assert (await socket.ask(upgrade(f"/v1/realtime?token={token}"))).status == 101
            await socket.say(TEXT, subscribe)
            subscribed = json.loads((await socket.hear())[1])
            assert (subscribed["type"], subscribed["seq"]) == ("subscribed", 1)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(open_some)
    assert len(sockets) == SOCKETS


async def _reserve(client: httpx.AsyncClient) -> None:
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


async def _free_seats(socket: RawSocket) -> int:
    while True:
        opcode, payload = await socket.hear()
        if opcode == TEXT and (message := json.loads(payload))["type"] == "availability_update":
            assert message["seq"] == 2
            return int(message["available_seats"])
