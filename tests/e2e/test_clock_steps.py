"""The real daemon on a machine whose clock is set: libfaketime moves its wall clock, its monotonic clock goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.support.events import arena_file, room
from tests.support.machine import Machine
from tests.support.process import DaemonProcess, serving, ticketd

EVENT = "0f0e0d0c-0b0a-4009-8807-060504030202"
HOUR_SECONDS = 3600
CLAIM_SECONDS = 10
PATIENCE_SECONDS = 120


class Buyer:
    """Somebody with a place in the room."""

    def __init__(self, client: httpx.Client) -> None:
        self.user, self.device = str(uuid4()), str(uuid4())
        self._client = client
        body = {"event_id": EVENT, "user_id": self.user, "device_fingerprint": self.device}
        joined = client.post("/v1/queue/join", json=body)
        assert joined.status_code == 200, joined.text
        self._queue_token = joined.json()["queue_token"]

    def _headers(self, token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}", "X-Device-ID": self.device}

    def use(self, client: httpx.Client) -> None:
        """From now on speaks to another daemon."""
        self._client = client

    def status(self) -> Any:
        """What the room tells; fails if the place is lost."""
        answer = self._client.get("/v1/queue/status", headers=self._headers(self._queue_token))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def reserve(self) -> Any:
        body = {"event_id": EVENT, "user_id": self.user, "quantity": 2}
        answer = self._client.post(
            "/v1/seats/reserve", json=body, headers=self._headers(self.status()["access_token"])
        )
        assert answer.status_code == 201, answer.text
        return answer.json()

    def reservation(self, reservation_id: str) -> Any:
        answer = self._client.get(
            f"/v1/reservations/{reservation_id}", headers=self._headers(self.status()["access_token"])
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def leave(self) -> None:
        answer = self._client.delete("/v1/queue/leave", headers=self._headers(self._queue_token))
        assert answer.status_code == 204, answer.text


def prepare(data: Path) -> str:
    file = data.parent / "event.json"
    waiting = room(max_active=1, claim_seconds=CLAIM_SECONDS)
    file.write_text(json.dumps({**arena_file(), "event_id": EVENT, "waiting_room": waiting}))
    imported = ticketd(data, "import", str(file))
    assert imported.returncode == 0, imported.stderr
    created = ticketd(data, "keys", "create", "--scope", "storefront")
    assert created.returncode == 0, created.stderr
    return created.stdout.strip()


def wait_for(what: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)  # a poll of another process, with an end


def wait_for_log(daemon: DaemonProcess, text: str, times: int = 1) -> None:
    wait_for(lambda: daemon.log.read_text().count(text) >= times)


def client_of(daemon: DaemonProcess, key: str) -> httpx.Client:
    return httpx.Client(base_url=daemon.url, headers={"X-API-Key": key}, timeout=30)


def test_nothing_lapses_and_admission_goes_on_when_the_clock_is_set(tmp_path: Path) -> None:
    data, machine = tmp_path / "data", Machine(tmp_path)
    key = prepare(data)
    with serving(data, environ=machine.environ) as daemon, client_of(daemon, key) as client:
        first = Buyer(client)
        window = first.status()
        second, third = Buyer(client), Buyer(client)
        held = first.reserve()

        machine.set_clock(HOUR_SECONDS)
        wait_for_log(daemon, "set forwards")
        after = first.status()
        assert after["access_token"] == window["access_token"]
        assert later_by(window["expires_at"], after["expires_at"]) in range(3598, 3603)
        again = first.reservation(held["reservation_id"])
        assert later_by(held["expires_at"], again["expires_at"]) in range(3598, 3603)
        assert [one.status()["queue_position"] for one in (second, third)] == [1, 2]

        machine.set_clock(0)
        wait_for_log(daemon, "set back")
        assert first.status()["access_token"] == window["access_token"]
        assert first.reservation(held["reservation_id"]) == again
        first.leave()
        assert second.status()["status"] == "READY"
        second.leave()
        # Nobody claims the third's place, so it lapses by the daemon's own time and is given on.
        fourth = Buyer(client)
        wait_for(lambda: bool(fourth.status()["status"] == "READY"))
        assert daemon.stop() == 0
    verified = ticketd(data, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_clock_set_back_while_the_daemon_is_down_takes_and_gives_nothing(tmp_path: Path) -> None:
    data, machine = tmp_path / "data", Machine(tmp_path)
    key = prepare(data)
    machine.set_clock(HOUR_SECONDS)
    with serving(data, environ=machine.environ) as daemon, client_of(daemon, key) as client:
        first = Buyer(client)
        window, held = first.status(), first.reserve()
        second = Buyer(client)
        daemon.kill()
    machine.set_clock(0)
    with serving(data, environ=machine.environ) as daemon, client_of(daemon, key) as client:
        for buyer in (first, second):
            buyer.use(client)
        assert first.status() == window
        assert first.reservation(held["reservation_id"]) == held
        assert second.status()["queue_position"] == 1
        first.leave()
        assert second.status()["status"] == "READY"
        assert daemon.stop() == 0


def test_downtime_is_credited(tmp_path: Path) -> None:
    data, machine = tmp_path / "data", Machine(tmp_path)
    key = prepare(data)
    with serving(data, environ=machine.environ) as daemon, client_of(daemon, key) as client:
        first = Buyer(client)
        window, held = first.status(), first.reserve()
        second = Buyer(client)
        daemon.kill()
    machine.set_clock(800)
    # A command that works on the store meanwhile hides nothing of the downtime.
    assert ticketd(data, "keys", "create", environ=machine.environ).returncode == 0
    machine.set_clock(850)
    with serving(data, environ=machine.environ) as daemon, client_of(daemon, key) as client:
        for buyer in (first, second):
            buyer.use(client)
        after = first.status()
        assert after["access_token"] == window["access_token"]
        assert later_by(window["expires_at"], after["expires_at"]) in range(850, 850 + PATIENCE_SECONDS)
        again = first.reservation(held["reservation_id"])
        assert later_by(held["expires_at"], again["expires_at"]) in range(850, 850 + PATIENCE_SECONDS)
        assert second.status()["queue_position"] == 1
        assert "downtime credited" in daemon.log.read_text()
        assert "rooms loaded" in daemon.log.read_text()
        assert daemon.stop() == 0


def later_by(before: str, after: str) -> int:
    """How many seconds one time is after another."""
    first, second = (datetime.fromisoformat(text) for text in (before, after))
    return round((second - first).total_seconds())
