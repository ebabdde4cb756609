"""The real daemon with 2,000 WebSockets that listen to one event: each hears of a seat, and of the end."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from uuid import uuid4

import httpx
import pytest

from tests.front.raw_websocket import CLOSE, TEXT, RawSocket, close_payload
from tests.support.listening import (
    SEATS,
    UNLIMITED,
    hear_seats,
    open_sockets,
    prepare_event,
    raise_open_files,
    reserve_one,
)
from tests.support.process import serving

SOCKETS: Final = 2000


@pytest.fixture(autouse=True)
def _descriptors() -> None:
    raise_open_files()


async def test_each_hears_of_a_reservation_and_of_the_end(tmp_path: Path) -> None:
    data = tmp_path / "data"
    key = prepare_event(data)
    sockets: list[RawSocket] = []
    try:
        with serving(data, environ=UNLIMITED) as daemon:
            async with httpx.AsyncClient(
                base_url=daemon.url, timeout=30, headers={"X-API-Key": key}
            ) as client:
                token = (await client.post("/v1/sessions", json={"user_id": str(uuid4())})).json()["token"]
                await open_sockets(daemon, [token] * SOCKETS, sockets)
                await reserve_one(client)
                for socket in sockets:
                    message = await hear_seats(socket)
                    assert (message["available_seats"], message["seq"]) == (SEATS - 1, 2)
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
