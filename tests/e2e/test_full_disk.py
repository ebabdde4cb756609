"""The disk of a running daemon fills up: growth is refused while there is still something left, and where nothing is
left the daemon answers those who wait, says why, and ends."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from storage.free_space import free_bytes
from tests.support.process import STOP_SECONDS, DaemonProcess, serving, ticketd

MIB = 1024 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB, to be the data folder."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(path)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False, text=True)
    except OSError as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def fill(disk: Path, left_bytes: int) -> Path:
    """Takes all but the last bytes of the disk, with a file."""
    filler = disk / "filler"
    filler.write_bytes(bytes(free_bytes(disk) - left_bytes))
    return filler


def await_readiness(daemon: DaemonProcess, status: int) -> None:
    end = time.monotonic() + STOP_SECONDS
    while (found := httpx.get(f"{daemon.url}/readyz").status_code) != status:
        assert time.monotonic() < end, f"/readyz goes on answering {found}"


def test_a_disk_that_fills_refuses_growth_until_there_is_room_again(disk: Path) -> None:
    data = disk
    with serving(data, environ={"TICKETD_STORAGE_MIN_FREE_BYTES": str(4 * MIB)}) as daemon:
        await_readiness(daemon, 200)
        filler = fill(disk, 3 * MIB)
        await_readiness(daemon, 503)
        refused = ticketd(data, "keys", "create")
        assert refused.returncode == 1
        assert httpx.get(f"{daemon.url}/healthz").status_code == 200
        filler.unlink()
        await_readiness(daemon, 200)
        created = ticketd(data, "keys", "create")
        assert created.returncode == 0, created.stderr
        assert daemon.stop() == 0
    assert ticketd(data, "verify").stdout == "nothing is wrong\n"


def test_where_nothing_is_left_the_answer_leaves_before_the_daemon_ends(disk: Path) -> None:
    data = disk
    with serving(data, environ={"TICKETD_STORAGE_MIN_FREE_BYTES": "0"}) as daemon:
        filler = fill(disk, 0)
        transport = httpx.HTTPTransport(uds=str(data / "operator.sock"))
        with httpx.Client(transport=transport, base_url="http://operator") as client:
            # The first ones may still find room in pages that are the store's already.
            key = {"scope": "storefront", "name": "x" * 100}
            while (answer := client.post("/v1/operator/keys", json=key)).status_code == 201:
                pass
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "STORAGE_UNAVAILABLE")
        assert daemon.process.wait(STOP_SECONDS) == 1
        told = [line for line in daemon.log.read_text().splitlines() if line.startswith("ticketd: ")]
        assert len(told) == 1
        assert told[0].startswith(f"ticketd: the store {data / 'ticketd.lmdb'} failed (")
        assert "Traceback" not in daemon.log.read_text()
    filler.unlink()
    assert ticketd(data, "verify").stdout == "nothing is wrong\n"
