"""What a buyer is told of their own holds and orders, and nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
import trio.testing
from msgspec.structs import replace
from trio.testing import MockClock

from storage.engine import Command, Transaction
from storage.schema.ids import EventId, ReservationId
from storage.schema.layout import DUE_RESERVATIONS, RESERVATIONS, event_partition
from tests.domain.inventory_stage import EVENT_ID, user_id
from tests.handlers.order_stage import CHALLENGED, DECLINED, open_shop
from tests.handlers.sale_stage import SaleStage, open_plan, open_sale
from tests.handlers.socket_stage import Socket, open_socket
from tests.support.tokens import mint
from ticketd.credentials.keyring import TokenKind

OWN = {"reservation_expiring", "reservation_expired", "order_update"}
OTHER_EVENT = EventId(UUID("0190a0b0-0000-7000-8000-0000000000ff"))


async def listen(stage: SaleStage, user: int = 1, event_id: EventId = EVENT_ID) -> Socket:
    socket = await open_socket(stage.daemon, mint(stage.daemon, TokenKind.USER, user=user_id(user)))
    assert (await socket.subscribe(event_id))["type"] == "subscribed"
    return socket


async def own(socket: Socket) -> list[dict[str, Any]]:
    """The messages of one's own things that can be had now, without their numbers."""
    return [
        {name: value for name, value in message.items() if name != "seq"}
        for message in await socket.take_all()
        if message["type"] in OWN
    ]


def expiring(reservation_id: str, seconds: int, at: str) -> dict[str, Any]:
    return {
        "type": "reservation_expiring",
        "event_id": str(EVENT_ID),
        "reservation_id": reservation_id,
        "expires_in_seconds": seconds,
        "expires_at": at,
    }


def expired(reservation_id: str, at: str) -> dict[str, Any]:
    return {
        "type": "reservation_expired",
        "event_id": str(EVENT_ID),
        "reservation_id": reservation_id,
        "timestamp": at,
    }


# --- holds ----------------------------------------------------------------------------------------------------------


async def test_a_hold_is_told_of_a_minute_before_its_end_and_at_its_end(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_sale(tmp_path) as stage:
        buyer, stranger = await stage.buyer(1), await listen(stage, 2)
        by_access, by_user = await open_socket(stage.daemon, buyer), await listen(stage, 1)
        await by_access.subscribe(EVENT_ID)
        held = (await stage.reserve(buyer, 1, "Floor/A/1")).json["reservation_id"]
        await trio.sleep(539.999)
        assert await own(by_access) == []
        await trio.sleep(0.001)
        for socket in (by_access, by_user):
            assert await own(socket) == [expiring(held, 60, "2026-07-14T03:43:20Z")]
        await trio.sleep(59.999)
        assert await own(by_user) == []
        await trio.sleep(0.002)
        for socket in (by_access, by_user):
            assert await own(socket) == [expired(held, "2026-07-14T03:43:20Z")]
        await trio.sleep(1000)
        assert await own(by_user) == await own(stranger) == []


@pytest.mark.parametrize(("hold_seconds", "after_ms"), [(1, 0), (59, 0), (60, 0), (61, 1000)])
async def test_a_short_hold_is_told_of_at_once(
    autojump_clock: MockClock, tmp_path: Path, hold_seconds: int, after_ms: int
) -> None:
    async with open_sale(tmp_path, open_plan(hold_seconds=hold_seconds)) as stage:
        buyer, socket = await stage.buyer(1), await listen(stage)
        await stage.reserve(buyer, 1, "Floor/A/1")
        told = await own(socket)
        if after_ms:
            assert told == []
            await trio.sleep((after_ms - 1) / 1000)
            assert await own(socket) == []
            await trio.sleep(0.001)
            told = await own(socket)
        assert [one["expires_in_seconds"] for one in told] == [min(hold_seconds, 60)]


async def test_who_subscribes_late_is_told_of_the_holds_that_live(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_sale(tmp_path) as stage:
        buyer = await stage.buyer(1)
        held = (await stage.reserve(buyer, 1, "Floor/A/1")).json["reservation_id"]
        early = await listen(stage)
        await trio.sleep(570)
        assert [one["expires_in_seconds"] for one in await own(early)] == [30]
        late = await listen(stage)
        assert await own(late) == [expiring(held, 30, "2026-07-14T03:43:20Z")]
        # The first has been told; asking for a snapshot tells nobody again.
        await late.subscribe(EVENT_ID)
        assert await own(early) == await own(late) == []
        await trio.sleep(30.001)
        assert [one["type"] for one in await own(late)] == ["reservation_expired"]
        over = await listen(stage)
        assert await own(over) == []


async def test_what_is_in_line_of_an_event_goes_with_its_subscription(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_sale(tmp_path, open_plan(hold_seconds=30)) as stage:
        buyer, socket = await stage.buyer(1), await listen(stage)
        await stage.reserve(buyer, 1, "Floor/A/1")
        await trio.testing.wait_all_tasks_blocked()
        await socket.say(type="unsubscribe", event_id=str(EVENT_ID))
        assert [one["type"] for one in await socket.take_all()] == ["unsubscribed"]


async def test_a_slow_reader_is_told_how_long_is_left_when_it_reads(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_sale(tmp_path) as stage:
        buyer, socket = await stage.buyer(1), await listen(stage)
        await stage.reserve(buyer, 1, "Floor/A/1")
        await trio.sleep(559.5)
        assert [one["expires_in_seconds"] for one in await own(socket)] == [41]


async def test_a_hold_that_is_given_up_or_paid_says_nothing(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_shop(tmp_path, open_plan(hold_seconds=90)) as stage:
        buyer, socket = await stage.buyer(1), await listen(stage)
        released = await stage.hold(buyer, 1, "Floor/A/1")
        await stage.order(buyer, 1, "Floor/A/2")
        await buyer.delete(f"/v1/reservations/{released}")
        # One is given up while it stands in line that it ends soon.
        other, slow = await stage.buyer(2), await listen(stage, 2)
        ends_soon = await stage.hold(other, 2, "Floor/B/1")
        await trio.sleep(40)
        await other.delete(f"/v1/reservations/{ends_soon}")
        assert await own(slow) == []
        await trio.sleep(1000)
        assert {one["type"] for one in await own(socket)} == {"order_update"}
        assert await own(slow) == []


async def test_an_end_that_a_payment_moved_counts(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path, open_plan(hold_seconds=90)) as stage:
        buyer, socket = await stage.buyer(1), await listen(stage)
        body = await stage.wish_to_pay(buyer, 1, "Floor/A/1")
        await trio.sleep(20)
        stage.gateway.pause("authorise")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(buyer.post, "/v1/orders", body)
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(9)
            assert await own(socket) == []
            await trio.sleep(1)
            assert [one["expires_in_seconds"] for one in await own(socket)] == [60]
            nursery.cancel_scope.cancel()


async def test_an_end_that_is_later_than_was_known_counts(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_sale(tmp_path) as stage:
        buyer, socket = await stage.buyer(1), await listen(stage)
        held = ReservationId(UUID((await stage.reserve(buyer, 1, "Floor/A/1")).json["reservation_id"]))
        partition = event_partition(EVENT_ID)

        def put_off(tx: Transaction) -> None:
            hold = RESERVATIONS.get(tx, partition, held)
            assert hold is not None
            DUE_RESERVATIONS.remove(tx, partition, hold.due_at_ms, held)
            later = replace(hold, due_at_ms=hold.due_at_ms + 100_000)
            RESERVATIONS.put(tx, later, partition, held)
            DUE_RESERVATIONS.add(tx, partition, later.due_at_ms, held)

        await stage.daemon.services.engine.submit(Command("test", (partition,), put_off))
        await trio.sleep(639.999)
        assert await own(socket) == []
        await trio.sleep(0.001)
        assert [one["expires_in_seconds"] for one in await own(socket)] == [60]


async def test_two_buyers_never_see_each_others_messages(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        await stage.put(open_plan(event_id=OTHER_EVENT))
        first, second = await stage.buyer(1), await stage.buyer(2)
        sockets = {user: await listen(stage, user) for user in (1, 2)}
        elsewhere = await listen(stage, 1, OTHER_EVENT)
        holds = {
            user: await stage.hold(buyer, user, f"Floor/A/{user}")
            for user, buyer in ((1, first), (2, second))
        }
        orders = {
            user: (await stage.order(buyer, user, f"Floor/B/{user}"))["order_id"]
            for user, buyer in ((1, first), (2, second))
        }
        await trio.sleep(700)
        for user, socket in sockets.items():
            told = await own(socket)
            assert {one["reservation_id"] for one in told if "reservation_id" in one} == {holds[user]}
            assert {one["order_id"] for one in told if "order_id" in one} == {orders[user]}
        assert await own(elsewhere) == []


# --- orders ---------------------------------------------------------------------------------------------------------


def states(told: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["status"], one["payment_status"]) for one in told if one["type"] == "order_update"]


async def test_each_step_of_an_order_is_told_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer, socket = await stage.buyer(1), await listen(stage)
        placed = await stage.order(buyer, 1, "Floor/A/1")
        told = await own(socket)
        assert told[0] == {
            "type": "order_update",
            "event_id": str(EVENT_ID),
            "order_id": placed["order_id"],
            "status": "PENDING",
            "payment_status": "AUTHORIZED",
            "timestamp": "2026-07-14T03:33:20Z",
        }
        assert states(told) == [("PENDING", "AUTHORIZED"), ("CONFIRMED", "CAPTURED")]
        await trio.sleep(1)
        cancelled = await buyer.post(f"/v1/orders/{placed['order_id']}/cancel")
        assert cancelled.status == 200
        await trio.sleep(60)
        assert states(await own(socket)) == [("CANCELLED", "REFUND_PENDING"), ("CANCELLED", "REFUNDED")]


async def test_a_capture_that_is_put_off_tells_nothing_new(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer, socket = await stage.buyer(1), await listen(stage)
        stage.gateway.fail("capture", times=3)
        await stage.order(buyer, 1, "Floor/A/1")
        await trio.sleep(600)
        assert states(await own(socket)) == [("PENDING", "AUTHORIZED"), ("CONFIRMED", "CAPTURED")]


async def test_a_payment_that_came_to_nothing_was_never_an_order(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_shop(tmp_path) as stage:
        buyer, socket = await stage.buyer(1), await listen(stage)
        body = await stage.wish_to_pay(buyer, 1, "Floor/A/1", token=DECLINED)
        assert (await buyer.post("/v1/orders", body)).status == 402
        assert await own(socket) == []


async def test_an_order_that_needs_the_buyer(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer, socket = await stage.buyer(1), await listen(stage)
        placed = await stage.order(buyer, 1, "Floor/A/1", token=CHALLENGED)
        assert states(await own(socket)) == [("PENDING", "REQUIRES_ACTION")]
        late = await listen(stage)
        await trio.sleep(700)
        told = await own(socket)
        assert states(told) == [("FAILED", "REQUIRES_ACTION"), ("FAILED", "VOIDED")]
        # What the later one found it was not told again.
        assert states(await own(late)) == states(told)
        assert {one["order_id"] for one in told if "order_id" in one} == {placed["order_id"]}
