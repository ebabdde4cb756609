"""Webhooks of Stripe over the API: whose orders they wake, how often, and what is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import trio.testing

from config.settings import PaymentSettings, Settings, StorageSettings
from storage.schema.layout import DUE_HOOKS, SEEN_HOOKS, SYSTEM
from tests.handlers.operator_stage import OperatorStage
from tests.stripe_judge.webhooks import signature
from tests.support.daemon import NO_RATE_LIMITS, Answer, Client, Daemon, open_daemon
from ticketd.domain.webhooks import KEEP_MS
from ticketd.ports.sandbox_payments import ActionOutcome

SECRET = "whsec_test"
STORAGE = StorageSettings(map_size_bytes=256 * 1024 * 1024)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[OperatorStage]:
    payments = PaymentSettings(stripe_webhook_secret=SECRET)
    settings = Settings(storage=STORAGE, rate_limits=NO_RATE_LIMITS, payments=payments)
    async with open_daemon(tmp_path, settings) as daemon:
        stage = OperatorStage(daemon, daemon.operator())
        await stage.put()
        yield stage


def event(name: str = "evt_1", kind: str = "payment_intent.succeeded", **about: object) -> bytes:
    return json.dumps({"id": name, "type": kind, "data": {"object": {"id": "x_1", **about}}}).encode()


async def send(
    daemon: Daemon, raw: bytes, *, secret: str = SECRET, header: str | None = None, off_seconds: int = 0
) -> Answer:
    seconds = daemon.services.clock.now_ms() // 1000 + off_seconds
    signed = signature(secret, seconds, raw) if header is None else header
    client = Client(daemon.client().server, api_key=None, device=None)
    headers = {"stripe-signature": signed, "content-type": "application/json; charset=utf-8"}
    return await client.call("POST", "/v1/webhooks/stripe", raw=raw, headers=headers)


def seen(daemon: Daemon) -> int:
    with daemon.services.engine.snapshot(SYSTEM) as view:
        found = list(SEEN_HOOKS.scan(view, SYSTEM))
        assert len(list(DUE_HOOKS.scan(view, SYSTEM))) == len(found)
        return len(found)


async def challenged(stage: OperatorStage) -> tuple[str, str]:
    """An order that waits for its buyer, who has acted; its id and its payment."""
    buyer, held = await stage.hold((await stage.seat_ids())[0])
    card = await buyer.post(
        "/v1/payment-methods", {"type": "CARD", "card_token": "tok_threeDSecure2Required"}
    )
    address = {"street": "1 Main St", "city": "Berlin", "postal_code": "10115", "country": "DE"}
    wish = {
        "reservation_id": held["reservation_id"],
        "payment_method_id": card.json["payment_method_id"],
        "billing_address": address,
    }
    order_id = (await buyer.post("/v1/orders", wish)).json["order_id"]
    sandbox = stage.daemon.services.sandbox
    assert sandbox is not None
    order = (await stage.operator.get(f"/v1/operator/orders/{order_id}")).json
    assert order["payment_status"] == "REQUIRES_ACTION"
    await sandbox.complete_action(order["payment_ref"], ActionOutcome.COMPLETE)
    return order_id, order["payment_ref"]


async def status_of(stage: OperatorStage, order_id: str) -> str:
    await trio.testing.wait_all_tasks_blocked()
    return str((await stage.operator.get(f"/v1/operator/orders/{order_id}")).json["status"])


@pytest.mark.parametrize(
    "kind", ["payment_intent.succeeded", "payment_intent.amount_capturable_updated", "charge.refunded"]
)
async def test_it_has_its_order_looked_at_at_once(stage: OperatorStage, kind: str) -> None:
    order_id, _ = await challenged(stage)
    taken = await send(stage.daemon, event(kind=kind, metadata={"order_id": order_id}))
    assert (taken.status, taken.json) == (200, {"received": True})
    assert await status_of(stage, order_id) == "CONFIRMED"


async def test_it_is_believed_in_nothing(stage: OperatorStage) -> None:
    order = await stage.order((await stage.seat_ids())[0])
    await trio.testing.wait_all_tasks_blocked()
    raw = event(kind="payment_intent.canceled", status="canceled", metadata={"order_id": order["order_id"]})
    assert (await send(stage.daemon, raw)).status == 200
    assert await status_of(stage, order["order_id"]) == "CONFIRMED"


async def test_the_same_event_is_heeded_once(stage: OperatorStage) -> None:
    raw = event(metadata={"order_id": str(uuid4())})
    for _ in range(3):
        assert (await send(stage.daemon, raw)).status == 200
    assert seen(stage.daemon) == 1
    assert (await send(stage.daemon, event("evt_2"))).status == 200
    assert seen(stage.daemon) == 2


async def test_names_are_forgotten(stage: OperatorStage, autojump_clock: trio.testing.MockClock) -> None:
    for number in range(30):
        assert (await send(stage.daemon, event(f"evt_{number}"))).status == 200
    await trio.sleep(KEEP_MS / 1000 + 1)
    await send(stage.daemon, event("evt_new"))
    assert seen(stage.daemon) == 11, "twenty at once"
    await send(stage.daemon, event("evt_newer"))
    assert seen(stage.daemon) == 2


@pytest.mark.parametrize(
    "raw",
    [
        event(kind="customer.created"),
        event(kind="charge.dispute.created", payment_intent="pi_1", metadata={}),
        event(metadata=None),
        event(metadata={"order_id": "x"}),
        event(metadata={"order_id": str(uuid4())}),
    ],
)
async def test_what_says_nothing_to_us_is_taken(stage: OperatorStage, raw: bytes) -> None:
    assert (await send(stage.daemon, raw)).status == 200


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff\xfe", b"{}", b'{"id": 1}', b"[" * 60_000])
async def test_what_cannot_be_read_is_refused(stage: OperatorStage, raw: bytes) -> None:
    answer = await send(stage.daemon, raw)
    assert (answer.status, answer.json["error"]["code"]) == (400, "INVALID_REQUEST")
    assert seen(stage.daemon) == 0


async def test_what_is_not_signed_is_refused(stage: OperatorStage) -> None:
    raw = event()
    for answer in (
        await send(stage.daemon, raw, secret="whsec_other"),
        await send(stage.daemon, raw, header=""),
        await send(stage.daemon, raw, header="t=1,v1=\u00e9"),
        await send(stage.daemon, raw, off_seconds=-301),
        await send(stage.daemon, raw, off_seconds=302),
    ):
        assert (answer.status, answer.json["error"]["code"]) == (400, "INVALID_REQUEST")
    assert seen(stage.daemon) == 0


@pytest.mark.parametrize(("size", "status"), [(65_535, 200), (65_536, 200), (65_537, 413)])
async def test_the_bounds_of_its_size(stage: OperatorStage, size: int, status: int) -> None:
    raw = event()
    raw += b" " * (size - len(raw))
    assert (await send(stage.daemon, raw)).status == status


async def test_without_a_secret_there_is_nothing(tmp_path: Path) -> None:
    async with open_daemon(tmp_path) as daemon:
        answer = await send(daemon, event(), secret="")
        assert (answer.status, answer.json["error"]["code"]) == (404, "NOT_FOUND")
