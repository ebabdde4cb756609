"""The real daemon among clients that mean harm: it lives, others are served, nothing is left of them, and it ends when
it is asked to. ``scripts/hostile-clients`` is the long form, which measures."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest
import trio

from tests.support.hostile import (
    EVENT_ID,
    QUICK,
    SLOW,
    Target,
    open_descriptors,
    prepare_hall,
    resident_bytes,
)
from tests.support.listening import UNLIMITED, raise_open_files
from tests.support.process import DaemonProcess, serving

MIB: Final = 1024 * 1024
END_SECONDS: Final = 10
COUNTS: Final = {"opened and dropped": 2000, "half closed": 200, "large heads": 60, "requests that kill": 0}
SLOW_CLIENTS: Final = 20
HASTY: Final = {
    **UNLIMITED,
    "TICKETD_SERVER_HEADER_TIMEOUT_SECONDS": "1",
    "TICKETD_SERVER_BODY_TIMEOUT_SECONDS": "1",
    "TICKETD_SERVER_IDLE_TIMEOUT_SECONDS": "1",
    "TICKETD_SERVER_SEND_TIMEOUT_SECONDS": "1",
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store with the hall, and a key to it."""
    raise_open_files()
    data = tmp_path_factory.mktemp("hall") / "data"
    return data, prepare_hall(data)


@pytest.fixture(scope="module")
def hall(stored: tuple[Path, str]) -> Iterator[tuple[DaemonProcess, Target]]:
    data, key = stored
    copy = data.with_name("served")
    shutil.copytree(data, copy)
    with serving(copy, environ=HASTY) as daemon:
        target = Target.of(daemon, key, 1)
        ask_as_anybody(daemon, target)
        yield daemon, target
        assert "Traceback" not in daemon.log.read_text()
        assert '"level": "error"' not in daemon.log.read_text()


def ask_as_anybody(daemon: DaemonProcess, target: Target) -> None:
    """Another client's request is answered."""
    for path in (f"/v1/events/{EVENT_ID}", f"/v1/events/{EVENT_ID}/seats"):
        found = httpx.get(f"{daemon.url}{path}", headers={"X-API-Key": target.key})
        assert found.status_code == 200, found.text


def await_descriptors(daemon: DaemonProcess, most: int) -> None:
    """Waits until the daemon has closed what its clients have left."""
    end = time.monotonic() + END_SECONDS
    while (found := open_descriptors(daemon)) > most:
        assert time.monotonic() < end, f"{found} descriptors are open, {most} were"
        time.sleep(0.05)  # a poll of another process, with an end


@pytest.mark.parametrize("name", QUICK)
def test_quick_attacks_are_borne(hall: tuple[DaemonProcess, Target], name: str) -> None:
    daemon, target = hall
    descriptors, memory = open_descriptors(daemon), resident_bytes(daemon)
    trio.run(QUICK[name], target, COUNTS[name])
    ask_as_anybody(daemon, target)
    await_descriptors(daemon, descriptors)
    assert resident_bytes(daemon) - memory < 20 * MIB


def test_slow_attacks_all_at_once_are_borne(hall: tuple[DaemonProcess, Target]) -> None:
    daemon, target = hall
    descriptors, memory = open_descriptors(daemon), resident_bytes(daemon)

    async def attack() -> None:
        async with trio.open_nursery() as nursery:
            for each in SLOW.values():
                nursery.start_soon(each, target, SLOW_CLIENTS)
            await trio.to_thread.run_sync(ask_as_anybody, daemon, target)

    trio.run(attack)
    ask_as_anybody(daemon, target)
    await_descriptors(daemon, descriptors)
    assert resident_bytes(daemon) - memory < 20 * MIB


def test_it_ends_when_it_is_asked_to_whatever_they_do(stored: tuple[Path, str]) -> None:
    data, key = stored
    with serving(data, environ={**UNLIMITED, "TICKETD_SERVER_SHUTDOWN_SECONDS": "4"}) as daemon:
        target = Target.of(daemon, key, 1)

        async def attack() -> None:
            async with trio.open_nursery() as nursery:
                streams = [await target.connect() for _ in range(40)]
                for number, stream in enumerate(streams):
                    sent = (b"", target.event[:20], target.event[:-2], target.seat_map * 20)[number % 4]
                    await stream.send_all(sent)
                for stream in streams[3::4]:  # The daemon is at work for all of them, then.
                    await stream.receive_some(1)
                daemon.process.terminate()
                nursery.start_soon(drip, streams[1::4])
                assert await trio.to_thread.run_sync(daemon.process.wait, END_SECONDS) == 0
                nursery.cancel_scope.cancel()
            for stream in streams:
                stream.socket.close()

        async def drip(streams: list[trio.SocketStream]) -> None:
            while True:
                await trio.sleep(0.5)
                for stream in streams:
                    try:
                        await stream.send_all(b"x")
                    except trio.BrokenResourceError:
                        return

        trio.run(attack)
