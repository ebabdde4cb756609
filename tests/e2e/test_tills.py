"""The real daemon where only tills sell: it is killed in the middle, and no sale that it acknowledged is lost or made
twice."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import trio

from tests.support.events import arena_file
from tests.support.process import DaemonProcess, serving, ticketd

TILLS = 8
SEATS = 40
EVENT_ID = "0f0e0d0c-0b0a-4009-8807-060504030202"
ONLY_TILLS = {"TICKETD_PAYMENTS_GATEWAY": "box_office"}


async def test_kill_loses_no_sale_and_its_repetition_makes_none_twice(tmp_path: Path) -> None:
    data = tmp_path / "data"
    key = _prepare(data)
    with serving(data, environ=ONLY_TILLS) as daemon:
        told = await _sell(daemon, key, kill_after=SEATS // 2)
    assert len(told) >= SEATS // 2

    with serving(data, environ=ONLY_TILLS) as daemon:
        again = await _sell(daemon, key)
        assert daemon.stop() == 0
    assert {name: again[name] for name in told} == told
    sold = [json.loads(body)["tickets"][0]["seat_id"] for body in again.values()]
    assert len(sold) == len(set(sold)) == SEATS

    verified = ticketd(data, "verify", environ=ONLY_TILLS)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    held_against = ticketd(data, "reconcile", environ=ONLY_TILLS)
    assert held_against.returncode == 0, held_against.stdout + held_against.stderr
    assert f"{SEATS} orders were paid at tills" in held_against.stdout
    lines = ticketd(data, "ledger", "export", "--all", environ=ONLY_TILLS).stdout.splitlines()[1:]
    assert len(lines) == SEATS
    assert all(",CAPTURED," in line and ",CASH:R-" in line for line in lines)


def _prepare(data: Path) -> str:
    file = data.parent / "event.json"
    plan = arena_file(rows=[{"row": "A", "first": 1, "last": SEATS}])
    file.write_text(json.dumps({**plan, "event_id": EVENT_ID}))
    imported = ticketd(data, "import", str(file))
    assert imported.returncode == 0, imported.stderr
    created = ticketd(data, "keys", "create", "--scope", "box_office")
    assert created.returncode == 0, created.stderr
    return created.stdout.strip()


async def _sell(daemon: DaemonProcess, key: str, kill_after: int | None = None) -> dict[str, bytes]:
    """Sells each seat once, by several tills at a time: the answers that came, by the sale's Idempotency-Key. Kills the
    daemon as soon as so many came."""
    told: dict[str, bytes] = {}

    async def till(client: httpx.AsyncClient, first: int) -> None:
        for number in range(first, SEATS, TILLS):
            name = f"sale-number-{number}"
            payment = {"method": "CASH", "receipt": f"R-{number}"}
            answer = await client.post(
                "/v1/box-office/sales",
                json={"event_id": EVENT_ID, "quantity": 1, "payment": payment},
                headers={"X-API-Key": key, "Idempotency-Key": name},
            )
            assert answer.status_code == 201, answer.text
            told[name] = answer.content
            if len(told) == kill_after:
                daemon.kill()

    async def try_till(client: httpx.AsyncClient, first: int) -> None:
        try:
            await till(client, first)
        except httpx.TransportError:
            if kill_after is None:
                raise

    async with httpx.AsyncClient(base_url=daemon.url, timeout=30) as client, trio.open_nursery() as nursery:
        for first in range(TILLS):
            nursery.start_soon(try_till, client, first)
    return told
