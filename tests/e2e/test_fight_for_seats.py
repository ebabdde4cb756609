"""The real daemon over real sockets: many clients want the same seats, and the process is killed in the middle."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import httpx
import trio

from tests.support.events import arena_file
from tests.support.process import DaemonProcess, serving, ticketd

CLIENTS = 64
SEATS = 50


async def test_sixty_four_clients_get_exactly_fifty_seats_and_kill_loses_none(tmp_path: Path) -> None:
    data = tmp_path / "data"
    event_id, key = _prepare(data)
    with serving(data) as daemon:
        buyers = await _enter_all(daemon, key, event_id)
        won = await _fight(daemon, key, event_id, buyers, kill_after=SEATS // 2)
    assert len(won) >= SEATS // 2

    # What was acknowledged before the kill holds; the rest of the seats is sold once, not twice.
    with serving(data) as daemon:
        async with httpx.AsyncClient(base_url=daemon.url) as client:
            for seat, (reservation, token, device) in won.items():
                answer = await client.get(
                    f"/v1/reservations/{reservation}", headers=_headers(key, token, device)
                )
                assert answer.status_code == 200, answer.text
                assert answer.json()["seat_ids"] == [seat]
        second = await _fight(daemon, key, event_id, buyers)
        assert not set(second) & set(won)
        taken = await _taken(daemon, key, event_id)
        assert len(taken) == SEATS
        assert set(won) | set(second) <= taken
        assert daemon.stop() == 0
    verified = ticketd(data, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def _prepare(data: Path) -> tuple[str, str]:
    file = data.parent / "event.json"
    plan = arena_file(rows=[{"row": "A", "first": 1, "last": SEATS}], purchase_limit=1)
    file.write_text(json.dumps({**plan, "event_id": "0f0e0d0c-0b0a-4009-8807-060504030201"}))
    imported = ticketd(data, "import", str(file))
    assert imported.returncode == 0, imported.stderr
    created = ticketd(data, "keys", "create", "--scope", "storefront")
    assert created.returncode == 0, created.stderr
    return "0f0e0d0c-0b0a-4009-8807-060504030201", created.stdout.strip()


def _headers(key: str, token: str | None = None, device: str | None = None) -> dict[str, str]:
    headers = {"X-API-Key": key}
    if token is not None and device is not None:
        headers |= {"Authorization": f"Bearer {token}", "X-Device-ID": device}
    return headers


async def _enter_all(daemon: DaemonProcess, key: str, event_id: str) -> list[tuple[str, str, str]]:
    """Lets all clients in: (user, access token, device) of each."""
    entered: list[tuple[str, str, str]] = []

    async def enter(client: httpx.AsyncClient) -> None:
        user, device = str(uuid4()), str(uuid4())
        joined = await client.post(
            "/v1/queue/join",
            json={"event_id": event_id, "user_id": user, "device_fingerprint": device},
            headers=_headers(key),
        )
        assert joined.status_code == 200, joined.text
        status = await client.get(
            "/v1/queue/status", headers=_headers(key, joined.json()["queue_token"], device)
        )
        assert status.json()["status"] == "READY"
        entered.append((user, status.json()["access_token"], device))

    async with httpx.AsyncClient(base_url=daemon.url, timeout=30) as client, trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(enter, client)
    return entered


async def _fight(
    daemon: DaemonProcess,
    key: str,
    event_id: str,
    buyers: list[tuple[str, str, str]],
    kill_after: int | None = None,
) -> dict[str, tuple[str, str, str]]:
    """All buyers want one seat each at the same time: seat -> (reservation, token, device) of what was acknowledged.

    With ``kill_after`` the daemon is killed as soon as so many were.
    """
    won: dict[str, tuple[str, str, str]] = {}

    async def want(client: httpx.AsyncClient, user: str, token: str, device: str) -> None:
        body = {"event_id": event_id, "user_id": user, "quantity": 1}
        try:
            answer = await client.post("/v1/seats/reserve", json=body, headers=_headers(key, token, device))
        except httpx.HTTPError:
            assert kill_after is not None
            return
        if answer.status_code == 201:
            (seat,) = answer.json()["seat_ids"]
            assert seat not in won
            won[seat] = (answer.json()["reservation_id"], token, device)
            if len(won) == kill_after:
                daemon.kill()
        else:
            assert answer.json()["error"]["code"] in {"SEATS_UNAVAILABLE", "PURCHASE_LIMIT_EXCEEDED"}

    async with httpx.AsyncClient(base_url=daemon.url, timeout=30) as client, trio.open_nursery() as nursery:
        for buyer in buyers:
            nursery.start_soon(want, client, *buyer)
    return won


async def _taken(daemon: DaemonProcess, key: str, event_id: str) -> set[str]:
    async with httpx.AsyncClient(base_url=daemon.url) as client:
        answer = await client.get(f"/v1/events/{event_id}/seats", headers=_headers(key))
    return {
        seat["seat_id"]
        for section in answer.json()["sections"]
        for row in section["rows"]
        for seat in row["seats"]
        if seat["status"] == "RESERVED"
    }
