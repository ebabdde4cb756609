"""Admission that slows down by itself while the gateway takes no payments, on virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock

from config.settings import RoomSettings, Settings, StorageSettings
from storage.schema.ids import EventId
from tests.ports.faulty_gateway import FaultyGateway
from tests.support.daemon import Client, Daemon, open_daemon
from tests.support.events import arena_file, put_plan, room
from tests.support.shopping import enter
from ticketd.ports.payments import PaymentGateway

ADDRESS = {"street": "1 Pier Road", "city": "New York", "postal_code": "10001", "country": "US"}
RATE = 160


class Paced:
    """A daemon with an event whose buyers pay by a gateway that fails on order."""

    def __init__(self, daemon: Daemon, gateway: FaultyGateway, event_id: EventId) -> None:
        self.daemon = daemon
        self.gateway = gateway
        self.event_id = event_id

    async def shopper(self) -> tuple[Client, dict[str, Any]]:
        """A buyer, and what pays the seat that they hold."""
        client, user_id = await enter(self.daemon, self.event_id)
        wish = {"event_id": str(self.event_id), "user_id": str(user_id), "quantity": 1}
        held = await client.post("/v1/seats/reserve", wish)
        card = await client.post("/v1/payment-methods", {"type": "CARD", "card_token": "tok_visa"})
        assert (held.status, card.status) == (201, 201)
        return client, {
            "reservation_id": held.json["reservation_id"],
            "payment_method_id": card.json["payment_method_id"],
            "billing_address": ADDRESS,
            "delivery_method": "MOBILE",
        }

    async def slowed(self) -> int | None:
        """The room's rate as the operator is told it."""
        stats = (await self.daemon.operator().get("/v1/operator/stats")).json
        (event,) = stats["events"]
        found: int | None = event["room"]["slowed_to_per_minute"]
        gauge = 0.0 if found is None else 1.0
        metrics = (await self.daemon.operator().get("/metrics")).body.decode()
        assert f"ticketd_room_slowed {gauge}" in metrics
        return found

    async def fails(self, client: Client, order: dict[str, Any]) -> None:
        self.gateway.fail("authorise")
        answer = await client.post("/v1/orders", order)
        assert (answer.status, answer.code) == (503, "PAYMENT_UNAVAILABLE")
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def paced(
    data: Path, *, enabled: bool = True, event_id: EventId | None = None, start_ms: int | None = None
) -> AsyncIterator[Paced]:
    gateways: list[FaultyGateway] = []

    def wrap(inner: PaymentGateway) -> PaymentGateway:
        gateways.append(FaultyGateway(inner))
        return gateways[-1]

    settings = Settings(
        storage=StorageSettings(map_size_bytes=256 * 1024 * 1024),
        rooms=RoomSettings(slow_on_payment_trouble=enabled),
    )
    more = {} if start_ms is None else {"start_ms": start_ms}
    async with open_daemon(data, settings, gateway=wrap, **more) as daemon:
        found = event_id or await put_plan(
            daemon, arena_file(waiting_room=room(admit_per_minute=RATE, access_seconds=3600))
        )
        yield Paced(daemon, gateways[0], found)


async def test_the_first_failure_halves_the_rate_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with paced(tmp_path) as stage:
        client, order = await stage.shopper()
        assert await stage.slowed() is None
        await stage.fails(client, order)
        assert await stage.slowed() == RATE // 2


async def test_it_goes_on_while_checkouts_fail_and_stops_at_a_sixteenth(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with paced(tmp_path) as stage:
        client, order = await stage.shopper()
        seen = []
        for _ in range(6):
            await stage.fails(client, order)
            await stage.fails(client, order)  # once or twice within ten seconds is the same
            seen.append(await stage.slowed())
            await trio.sleep(10.001)
        assert seen == [80, 40, 20, 10, 10, 10]


async def test_it_recovers_by_itself_when_it_has_been_quiet(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with paced(tmp_path) as stage:
        client, order = await stage.shopper()
        await stage.fails(client, order)
        for _ in range(2):
            await trio.sleep(9)
            await stage.fails(client, order)
            await trio.sleep(1.001)
        assert await stage.slowed() == 20
        seen = []
        for _ in range(6):
            await trio.sleep(10.001)
            seen.append(await stage.slowed())
        assert seen == [20, 20, 40, 80, None, None]


async def test_it_recovers_sooner_when_somebody_pays(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with paced(tmp_path) as stage:
        client, order = await stage.shopper()
        await stage.fails(client, order)
        assert await stage.slowed() == 80
        assert (await client.post("/v1/orders", order)).status == 201
        assert await stage.slowed() == 80
        await trio.sleep(10.001)
        assert await stage.slowed() is None


async def test_a_decline_is_no_trouble(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with paced(tmp_path) as stage:
        client, order = await stage.shopper()
        card = await client.post("/v1/payment-methods", {"type": "CARD", "card_token": "tok_chargeDeclined"})
        declined = await client.post(
            "/v1/orders", {**order, "payment_method_id": card.json["payment_method_id"]}
        )
        assert declined.status == 402
        await trio.sleep(60)
        assert await stage.slowed() is None


async def test_a_gateway_that_does_not_answer_in_time_counts(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with paced(tmp_path) as stage:
        client, order = await stage.shopper()
        pause = stage.gateway.pause("authorise")
        answer = await client.post("/v1/orders", order)
        assert answer.status == 503
        pause.resume.set()
        await trio.testing.wait_all_tasks_blocked()
        assert await stage.slowed() == 80


async def test_a_restart_keeps_the_rate_and_goes_on_from_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with paced(tmp_path) as stage:
        client, order = await stage.shopper()
        await stage.fails(client, order)
        await trio.sleep(9)
        await stage.fails(client, order)
        await trio.sleep(1.001)
        assert await stage.slowed() == 40
        event_id, start_ms = stage.event_id, stage.daemon.services.clock.now_ms()
    async with paced(tmp_path, event_id=event_id, start_ms=start_ms) as stage:
        seen = [await stage.slowed()]
        for _ in range(4):
            await trio.sleep(10.001)
            seen.append(await stage.slowed())
        assert seen == [40, 40, 40, 80, None]


async def test_turned_off_it_slows_nothing_and_frees_what_was_slowed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with paced(tmp_path) as stage:
        client, order = await stage.shopper()
        await stage.fails(client, order)
        assert await stage.slowed() == 80
        event_id, start_ms = stage.event_id, stage.daemon.services.clock.now_ms()
    async with paced(tmp_path, enabled=False, event_id=event_id, start_ms=start_ms) as stage:
        assert await stage.slowed() is None
        again = stage.daemon.client().with_token(client.token, client.device)
        await stage.fails(again, order)
        await trio.sleep(20)
        assert await stage.slowed() is None
