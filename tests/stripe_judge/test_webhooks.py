"""Webhooks: signed as Stripe's own library wants them, and delivered as was ordered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import httpx
import msgspec
import pytest
import stripe
import trio
from trio.testing import MockClock

from tests.stripe_judge.desk import Desk
from tests.stripe_judge.webhooks import run_deliveries

URL = "https://shop.example/hooks/stripe"
SECRET = "whsec_judge"
MADE = ["payment_intent.created", "charge.succeeded", "payment_intent.amount_capturable_updated"]


@dataclass
class Receiver:
    """What came, at which time; answered by ``statuses`` in turn, then by 200."""

    seen: list[tuple[str, float]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    async def take(self, request: httpx.Request) -> httpx.Response:
        event = msgspec.json.decode(request.content, type=dict[str, object])
        self.requests.append(request)
        self.seen.append((str(event["type"]), trio.current_time()))
        self.ids.append(str(event["id"]))
        return httpx.Response(self.statuses.pop(0) if self.statuses else 200)

    @property
    def types(self) -> list[str]:
        return [event_type for event_type, _ in self.seen]


@asynccontextmanager
async def receiving(folder: Path, **hooks: object) -> AsyncIterator[tuple[Desk, Receiver]]:
    """A judge that sends, under Trio's clock, and who receives it."""
    desk, receiver = Desk(folder), Receiver()
    desk.judge.wall = trio.current_time
    desk.ordered("POST", "webhook", {"url": URL, "secret": SECRET, **hooks})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_deliveries, desk.judge, httpx.MockTransport(receiver.take))
        yield desk, receiver
        nursery.cancel_scope.cancel()
    desk.close()


async def test_events_come_in_order_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with receiving(tmp_path) as (desk, receiver):
        await desk.intent()
        await trio.sleep(60)
        assert receiver.types == MADE
        deliveries = msgspec.json.decode(
            desk.order("GET", "webhook/deliveries").body, type=list[dict[str, object]]
        )
        assert [(each["tries"], each["status"], each["done"]) for each in deliveries] == [(1, 200, True)] * 3


async def test_only_the_wanted_types_come(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with receiving(tmp_path, types=["charge.*"]) as (desk, receiver):
        await desk.intent()
        await trio.sleep(60)
        assert receiver.types == ["charge.succeeded"]


async def test_events_come_twice(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with receiving(tmp_path, delivery="twice") as (desk, receiver):
        await desk.intent()
        await trio.sleep(60)
        assert sorted(receiver.types) == sorted(MADE * 2)
        assert len(set(receiver.ids)) == 3


async def test_events_come_late(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with receiving(tmp_path, delivery="late", late_seconds=20) as (desk, receiver):
        made_at = trio.current_time()
        await desk.intent()
        await trio.sleep(19)
        assert receiver.seen == []
        await trio.sleep(2)
        assert receiver.types == MADE
        assert all(at - made_at == pytest.approx(20, abs=0.1) for _, at in receiver.seen)


async def test_events_come_the_wrong_way_round(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with receiving(tmp_path, delivery="reversed", window_seconds=5) as (desk, receiver):
        intent = await desk.intent()
        await trio.sleep(1)
        await desk.done("POST", f"/v1/payment_intents/{intent}/capture")
        await trio.sleep(3)
        assert receiver.seen == []
        await trio.sleep(2)
        assert receiver.types == ["payment_intent.succeeded", "charge.captured", *MADE[::-1]]


async def test_events_never_come_but_on_order(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with receiving(tmp_path, delivery="never") as (desk, receiver):
        await desk.intent()
        await trio.sleep(1000)
        assert receiver.seen == []
        for order, types in (("made", MADE), ("reversed", MADE[::-1])):
            receiver.seen.clear()
            desk.order("POST", "webhook/deliver", {"order": order})
            await trio.sleep(1)
            assert receiver.types == types
        receiver.seen.clear()
        desk.order("POST", "webhook/deliver", {"events": [receiver.ids[2]] * 2})
        await trio.sleep(1)
        desk.order("POST", "webhook/deliver", {"order": "shuffled", "seed": 1})
        await trio.sleep(1)
        assert receiver.types[:2] == [MADE[2]] * 2
        assert sorted(receiver.types[2:]) == sorted(MADE)
        assert desk.order("POST", "webhook/deliver", {"events": ["evt_x"]}).status == 404


async def test_what_is_not_taken_is_sent_again_ever_more_slowly(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with receiving(tmp_path, types=["charge.*"], retry_seconds=1, most_tries=4) as (desk, receiver):
        receiver.statuses.extend([500, 301, 503])
        await desk.intent()
        await trio.sleep(60)
        times = [at for _, at in receiver.seen]
        waits = [round(later - sooner) for sooner, later in pairwise(times)]
        assert waits == [1, 2, 4]
        receiver.statuses.extend([500] * 9)
        await desk.intent()
        await trio.sleep(600)
        assert len(receiver.seen) == 4 + 4


async def test_the_signature_is_stripes(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with receiving(tmp_path, types=["charge.*"]) as (desk, receiver):
        desk.judge.wall = lambda: desk.wall
        await desk.intent()
        await trio.sleep(1)
        desk.ordered("POST", "webhook", {"skew_seconds": -400})
        await desk.intent()
        await trio.sleep(1)
        good, old = receiver.requests
        header = good.headers["stripe-signature"]
        now = int(desk.wall)
        assert stripe.WebhookSignature.verify_header(good.content.decode(), header, SECRET, tolerance=None)
        assert header.startswith(f"t={now},")
        assert old.headers["stripe-signature"].startswith(f"t={now - 400},")
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.WebhookSignature.verify_header(good.content.decode() + " ", header, SECRET, tolerance=None)
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.WebhookSignature.verify_header(
                good.content.decode(), header, "whsec_other", tolerance=None
            )


async def test_an_event_may_be_dated_wrongly(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with receiving(tmp_path, types=["charge.*"], created_skew_seconds=86_400) as (desk, receiver):
        await desk.intent()
        await trio.sleep(1)
        event = msgspec.json.decode(receiver.requests[0].content, type=dict[str, object])
        assert event["created"] == int(receiver.seen[0][1]) + 86_400


async def test_what_is_in_line_outlives_the_judge(autojump_clock: MockClock, tmp_path: Path) -> None:
    first = Desk(tmp_path)
    first.judge.wall = trio.current_time
    first.ordered("POST", "webhook", {"url": URL})
    await first.intent()
    first.close()
    async with receiving(tmp_path) as (_, receiver):
        await trio.sleep(1)
        assert receiver.types == MADE
