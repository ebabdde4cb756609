"""The real daemon with the gateway that is Stripe, against the judge: paid, challenged, cancelled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import trio

from tests.stripe_judge.process import API_KEY, JudgeProcess, running_judge
from tests.support.events import arena_file
from tests.support.process import serving, ticketd

EVENT = "0f0e0d0c-0b0a-4009-8807-060504030201"
ADDRESS = {
    "street": "1 Main St",
    "city": "New York",
    "state": "NY",
    "postal_code": "10001",
    "country": "US",
}
PATIENCE_SECONDS = 30


def settings_of(judge: JudgeProcess) -> Mapping[str, str]:
    return {
        "TICKETD_PAYMENTS_GATEWAY": "stripe",
        "TICKETD_PAYMENTS_STRIPE_API_KEY": API_KEY,
        "TICKETD_PAYMENTS_STRIPE_API_BASE": judge.url,
    }


def prepare(data: Path) -> str:
    """Imports an event, and answers a storefront's key."""
    file = data.parent / "event.json"
    plan = arena_file(rows=[{"row": "A", "first": 1, "last": 10}], purchase_limit=4)
    file.write_text(json.dumps({**plan, "event_id": EVENT}))
    imported = ticketd(data, "import", str(file))
    assert imported.returncode == 0, imported.stderr
    created = ticketd(data, "keys", "create", "--scope", "storefront")
    assert created.returncode == 0, created.stderr
    return created.stdout.strip()


class Buyer:
    """One who was let in."""

    def __init__(self, client: httpx.AsyncClient, key: str) -> None:
        self.client = client
        self.headers = {"X-API-Key": key, "X-Device-ID": str(uuid4())}
        self.user = str(uuid4())

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        answer = await self.client.request(method, path, json=body, headers=self.headers)
        assert answer.status_code < 300, answer.text
        return answer.json()

    async def enter(self) -> None:
        joined = await self.ask(
            "POST",
            "/v1/queue/join",
            {
                "event_id": EVENT,
                "user_id": self.user,
                "device_fingerprint": self.headers["X-Device-ID"],
            },
        )
        self.headers["Authorization"] = f"Bearer {joined['queue_token']}"
        status = await self.ask("GET", "/v1/queue/status")
        assert status["status"] == "READY"
        self.headers["Authorization"] = f"Bearer {status['access_token']}"

    async def order(self, token: str) -> Any:
        held = await self.ask(
            "POST", "/v1/seats/reserve", {"event_id": EVENT, "user_id": self.user, "quantity": 2}
        )
        card = await self.ask("POST", "/v1/payment-methods", {"type": "CARD", "card_token": token})
        body = {
            "reservation_id": held["reservation_id"],
            "payment_method_id": card["payment_method_id"],
            "billing_address": ADDRESS,
        }
        return await self.ask("POST", "/v1/orders", body)

    async def wait(self, order_id: str, status: str, payment: str) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                order = await self.ask("GET", f"/v1/orders/{order_id}")
                if (order["status"], order["payment_status"]) == (status, payment):
                    return
                await trio.sleep(0.05)


async def test_the_daemon_takes_real_payments(tmp_path: Path) -> None:
    data = tmp_path / "data"
    key = prepare(data)
    with running_judge(tmp_path / "judge.sqlite") as judge:
        with serving(data, environ=settings_of(judge)) as daemon:
            async with httpx.AsyncClient(base_url=daemon.url, timeout=PATIENCE_SECONDS) as client:
                buyer, challenged = Buyer(client, key), Buyer(client, key)
                await buyer.enter()
                placed = await buyer.order("tok_visa")
                assert placed["payment_status"] == "AUTHORIZED"
                await buyer.wait(placed["order_id"], "CONFIRMED", "CAPTURED")
                await challenged.enter()
                asked = await challenged.order("tok_threeDSecure2Required")
                action = asked["next_action"]
                assert action["client_secret"].startswith("pi_")
                assert judge.finish_challenge(action["redirect_url"]) is not None
                await buyer.ask("POST", f"/v1/orders/{placed['order_id']}/cancel")
                await buyer.wait(placed["order_id"], "CANCELLED", "REFUNDED")
            assert daemon.stop() == 0
        lines = {line.metadata["order_id"]: line for line in judge.ledger()}
        paid, waiting = lines[placed["order_id"]], lines[asked["order_id"]]
        assert paid.captured == paid.refunded > 0
        assert (waiting.status, waiting.captured) == ("requires_capture", 0)
        assert paid.customer != waiting.customer
        log = daemon.log.read_text()
    assert "stripe takes the API key" in log
    for secret in (API_KEY, "tok_visa", "_secret_"):
        assert secret not in log
    verified = ticketd(data, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
