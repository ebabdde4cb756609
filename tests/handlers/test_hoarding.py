"""Limits to hoarding through the API: what is refused, how it is told, and what the operator sees of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import trio
import trio.testing

from config.settings import HoardingSettings, Settings, StorageSettings
from handlers.call import Principal
from handlers.hoarding import counted_address
from storage.engine import Key
from storage.schema.layout import LIVE_BY_DEVICE, event_partition
from storage.schema.records import ApiKeyRecord
from tests.handlers.test_queue import JOIN, Room, open_room, told
from tests.support.daemon import Answer, Daemon, open_daemon
from ticketd.credentials.api_keys import Scope
from ticketd.credentials.devices import hash_device

RESERVE = "/v1/seats/reserve"
KEY = {"idempotency-key": "the-first-key"}


def with_limits(**limits: int) -> Settings:
    storage = StorageSettings(map_size_bytes=256 * 1024 * 1024)
    return Settings(storage=storage, hoarding=HoardingSettings(**limits))


async def join_in_person(room: Room, number: int, **headers: str) -> Answer:
    """A buyer joins from a browser: a public key, and a token of their own."""
    buyer = await room.daemon.user(UUID(int=number))
    client = room.daemon.client(Scope.PUBLIC).with_token(buyer.token)
    return await client.post(JOIN, room.body(number), headers=headers)


async def hoarding(daemon: Daemon) -> Any:
    stats = (await daemon.operator().get("/v1/operator/stats")).json
    return stats["events"][0]["hoarding"]


async def metric(daemon: Daemon, reason: str) -> float:
    text = (await daemon.operator().get("/metrics")).body.decode()
    line = f'ticketd_hoarding_refusals_total{{reason="{reason}"}} '
    return float(next((one[len(line) :] for one in text.splitlines() if one.startswith(line)), 0))


# --- places by address ----------------------------------------------------------------------------------------------


async def test_one_more_from_an_address_is_told_why_and_when(tmp_path: Path) -> None:
    async with open_daemon(tmp_path, with_limits(max_entries_per_address=3)) as daemon:
        room = await open_room(daemon)
        for number in (1, 2, 3):
            assert (await join_in_person(room, number)).status == 200
        refused = await join_in_person(room, 4)
        assert told(refused) == (429, "RATE_LIMITED")
        assert refused.headers["retry-after"] == "60"
        assert refused.json["error"]["details"] == {
            "reason": "ADDRESS_ENTRIES",
            "limit": 3,
            "retry_after_seconds": 60,
        }
        assert await hoarding(daemon) == {
            "cooldowns": 0,
            "refusals": {"ADDRESS_ENTRIES": 1, "LAPSED_HOLDS": 0},
        }
        assert (await metric(daemon, "ADDRESS_ENTRIES"), await metric(daemon, "LAPSED_HOLDS")) == (1, 0)


async def test_a_forged_forwarding_header_changes_nothing(tmp_path: Path) -> None:
    async with open_daemon(tmp_path, with_limits(max_entries_per_address=1)) as daemon:
        room = await open_room(daemon)
        assert (await join_in_person(room, 1)).status == 200
        for name in ("x-forwarded-for", "forwarded", "x-real-ip"):
            refused = await join_in_person(room, 2, **{name: "198.51.100.7"})
            assert told(refused) == (429, "RATE_LIMITED")


async def test_a_storefronts_own_address_is_nobodys(tmp_path: Path) -> None:
    async with open_daemon(tmp_path, with_limits(max_entries_per_address=1)) as daemon:
        room = await open_room(daemon)
        for number in range(5):
            assert (await room.ask(number)).status == 200
        assert (await join_in_person(room, 5)).status == 200


async def test_the_refusal_is_not_kept_for_the_repetition(tmp_path: Path) -> None:
    async with open_daemon(tmp_path, with_limits(max_entries_per_address=1)) as daemon:
        room = await open_room(daemon)
        await join_in_person(room, 1)
        assert told(await join_in_person(room, 2, **KEY)) == (429, "RATE_LIMITED")
        queued = (await daemon.client().post("/v1/queue/resume", room.body(1))).json["queue_token"]
        left = await daemon.client().with_token(queued, "device of 1").delete("/v1/queue/leave")
        assert left.status == 204
        assert (await join_in_person(room, 2, **KEY)).status == 200


def test_by_which_address_one_is_counted() -> None:
    def counted(scope: Scope | None, client: str) -> bytes | None:
        key = None
        if scope is not None:
            key = ApiKeyRecord(key_id="k", scope=scope.value, name="", secret_hash=b"", created_at_ms=0)
        return counted_address(Principal(api_key=key, claims=None), client, b"secret")

    assert counted(Scope.PUBLIC, "192.0.2.1") == counted(Scope.PUBLIC, "192.0.2.1") != None  # noqa: E711  # a chain
    assert counted(Scope.PUBLIC, "") is None
    assert counted(Scope.STOREFRONT, "192.0.2.1") is None
    assert counted(None, "192.0.2.1") is None


async def test_an_address_is_known_again_after_its_key_was_rotated(tmp_path: Path) -> None:
    async with open_daemon(tmp_path) as daemon:
        keys = daemon.services.keys
        before = (keys.address_secret, keys.link_secret)
        assert before[0] == before[1]
        rotated = await daemon.operator().post("/v1/operator/signing-keys/link/rotate")
        assert rotated.status in {200, 201}
        assert (keys.address_secret, keys.link_secret == before[1]) == (before[0], False)


# --- holds that ran out ---------------------------------------------------------------------------------------------


async def test_a_buyer_whose_holds_run_out_cools_down(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_daemon(tmp_path, with_limits(lapsed_holds=2, cooldown_seconds=900)) as daemon:
        room = await open_room(daemon, access_seconds=3600)
        buyer = await room.shop(1)
        wish = {"event_id": str(room.event_id), "user_id": str(UUID(int=1)), "quantity": 1}
        for _ in range(2):
            assert (await buyer.post(RESERVE, wish)).status == 201
            await trio.sleep(601)
        refused = await buyer.post(RESERVE, wish, headers=KEY)
        assert told(refused) == (429, "RATE_LIMITED")
        details = refused.json["error"]["details"]
        assert details["reason"] == "LAPSED_HOLDS"
        seconds = int(refused.headers["retry-after"])
        assert details["retry_after_seconds"] == seconds <= 900
        assert await hoarding(daemon) == {
            "cooldowns": 2,
            "refusals": {"ADDRESS_ENTRIES": 0, "LAPSED_HOLDS": 1},
        }
        assert await metric(daemon, "LAPSED_HOLDS") == 1
        await trio.sleep(seconds - 1.01)
        assert told(await buyer.post(RESERVE, wish)) == (429, "RATE_LIMITED")
        await trio.sleep(1.01)
        assert (await buyer.post(RESERVE, wish, headers=KEY)).status == 201
        assert (await hoarding(daemon))["cooldowns"] == 0


async def test_it_outlives_the_daemon_and_ends_with_its_window(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    limits = with_limits(lapsed_holds=1, lapse_window_seconds=900, cooldown_seconds=900)
    async with open_daemon(tmp_path, limits) as daemon:
        room = await open_room(daemon, access_seconds=7200)
        buyer = await room.shop(1)
        wish = {"event_id": str(room.event_id), "user_id": str(UUID(int=1)), "quantity": 1}
        assert (await buyer.post(RESERVE, wish)).status == 201
        await trio.sleep(601)
        start_ms = daemon.services.clock.now_ms()
    async with open_daemon(tmp_path, limits, start_ms=start_ms) as daemon:
        again = daemon.client().with_token(buyer.token, buyer.device)
        assert told(await again.post(RESERVE, wish)) == (429, "RATE_LIMITED")
        await trio.sleep(900)
        assert (await again.post(RESERVE, wish)).status == 201


# --- one device, ten thousand users ---------------------------------------------------------------------------------


async def test_ten_thousand_joins_from_one_device(tmp_path: Path) -> None:
    async with open_daemon(tmp_path) as daemon:
        room = await open_room(daemon, max_active=1, capacity=1000)
        await room.join(1)

        def size() -> int:
            with daemon.services.engine.snapshot() as view:
                return sum(len(key) + len(value) for key, value in view.scan(Key(b"\x00"), Key(b"\xff")))

        others = []
        before, alone = size(), 0
        for number in range(10_000):
            hoarder = await room.ask(100_000 + number, device_fingerprint="one device")
            assert told(hoarder) == ((200, "") if number == 0 else (409, "DEVICE_ALREADY_IN_QUEUE"))
            if number % 1000 == 0:
                alone = alone or size() - before
                others.append((await room.ask(2 + number)).json["queue_position"])
        assert others == list(range(2, 12))
        device = hash_device("one device")
        with daemon.services.engine.snapshot() as view:
            partition = event_partition(room.event_id)
            assert len(list(LIVE_BY_DEVICE.scan(view, partition, device))) == 1
        # What the device has taken up is its one place; the rest is what ten others have taken up.
        assert size() - before <= 12 * alone
