from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
import trio.testing

from config.settings import RoomSettings
from handlers.queue import poll_interval_seconds
from storage.engine import Command
from storage.schema.ids import EventId
from storage.schema.layout import event_partition
from tests.support.daemon import Answer, Client, Daemon, open_daemon
from tests.support.events import NO_EVENT, arena_file, put_plan, room
from tests.support.shopping import wait_for_order
from ticketd.credentials.keyring import TokenKind
from ticketd.domain.event_cancellation import CancelEvent, cancel_event

JOIN, STATUS, LEAVE = "/v1/queue/join", "/v1/queue/status", "/v1/queue/leave"
KEY = {"idempotency-key": "the-first-key"}
CLAIM_SECONDS, ACCESS_SECONDS = 120, 600


def told(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code if answer.status >= 400 else ""


class Room:
    """A daemon with one event, and buyers who join it."""

    def __init__(self, daemon: Daemon, event_id: EventId) -> None:
        self.daemon = daemon
        self.event_id = event_id

    def body(self, number: int, **changes: object) -> dict[str, object]:
        return {
            "event_id": str(self.event_id),
            "user_id": str(UUID(int=number)),
            "device_fingerprint": f"device of {number}",
            **changes,
        }

    async def ask(self, number: int, **changes: Any) -> Answer:
        return await self.daemon.client().post(JOIN, self.body(number, **changes))

    async def join(self, number: int) -> Client:
        """The buyer with a queue token."""
        joined = await self.ask(number)
        assert joined.status == 200, joined.body
        return self.daemon.client().with_token(joined.json["queue_token"], f"device of {number}")

    async def shop(self, number: int) -> Client:
        """The buyer with an access token."""
        status = await (await self.join(number)).get(STATUS)
        return self.daemon.client().with_token(status.json["access_token"], f"device of {number}")


async def open_room(daemon: Daemon, **changes: object) -> Room:
    waiting = room(**{"claim_seconds": CLAIM_SECONDS, "access_seconds": ACCESS_SECONDS, **changes})
    return Room(daemon, await put_plan(daemon, arena_file(waiting_room=waiting)))


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with open_daemon(tmp_path) as daemon:
        yield daemon


@pytest.fixture
async def narrow(daemon: Daemon) -> Room:
    """A room in which one may shop at a time, and three may wait."""
    return await open_room(daemon, max_active=1, capacity=3)


# --- joining --------------------------------------------------------------------------------------------------------


async def test_who_is_let_in_at_once_is_ready_and_gets_the_access_token_by_status(narrow: Room) -> None:
    joined = await narrow.ask(1)
    assert joined.status == 200
    body = joined.json
    assert UUID(body.pop("entry_id")).version == 7
    claims = narrow.daemon.services.keys.tokens.verify(
        body.pop("queue_token"), narrow.daemon.services.clock.now_ms()
    )
    assert (claims.kind, claims.user_id, claims.event_id) == (TokenKind.QUEUE, UUID(int=1), narrow.event_id)
    assert body == {
        "queue_position": 0,
        "estimated_wait_minutes": 0,
        "queue_size": 0,
        "status": "READY",
        "poll_interval_seconds": 30,
    }


async def test_positions_are_exact(narrow: Room) -> None:
    await narrow.join(1)
    waiting = []
    for number in (2, 3, 4):
        joined = (await narrow.ask(number)).json
        assert (joined["status"], joined["queue_position"], joined["queue_size"]) == (
            "QUEUED",
            number - 1,
            number - 1,
        )
        waiting.append(narrow.daemon.client().with_token(joined["queue_token"], f"device of {number}"))
    await waiting[1].delete(LEAVE)
    shown = [await one.get(STATUS) for one in waiting]
    assert [told(one) for one in shown] == [(200, ""), (410, "QUEUE_ENTRY_EXPIRED"), (200, "")]
    assert [one.json["queue_position"] for one in (shown[0], shown[2])] == [1, 2]
    last = shown[2].json
    assert set(last) == {
        "queue_position",
        "status",
        "access_granted",
        "estimated_wait_minutes",
        "queue_size",
        "poll_interval_seconds",
    }
    assert (last["status"], last["access_granted"], last["queue_size"]) == ("QUEUED", False, 2)


async def test_the_lobby_has_no_positions(daemon: Daemon) -> None:
    waiting = room(lobby_opens="2026-07-14T00:00:00Z")
    document = arena_file(sale={"general_sale_start": "2026-07-20T10:00:00Z"}, waiting_room=waiting)
    lobby = Room(daemon, await put_plan(daemon, document))
    first = (await lobby.ask(1)).json
    assert (first["status"], first["queue_position"], first["queue_size"]) == ("LOBBY", 0, 1)
    buyer = await lobby.join(2)
    shown = (await buyer.get(STATUS)).json
    assert (shown["status"], shown["queue_position"], shown["queue_size"]) == ("LOBBY", 0, 2)
    assert shown["access_granted"] is False


@pytest.mark.parametrize(
    "event_id",
    ["", "x", "x" * 1000, "{}", NO_EVENT, NO_EVENT.replace("-", "")],
)
async def test_an_event_that_is_none(narrow: Room, event_id: str) -> None:
    assert told(await narrow.ask(1, event_id=event_id)) == (400, "INVALID_EVENT_ID")


@pytest.mark.parametrize("field", ["event_id", "user_id", "device_fingerprint"])
@pytest.mark.parametrize("value", [None, 1, [], {}, True])
async def test_a_field_of_another_type(narrow: Room, field: str, value: object) -> None:
    answer = await narrow.ask(1, **{field: value})
    assert told(answer) == (400, "INVALID_REQUEST")
    assert answer.json["error"]["details"]["field"] == field


@pytest.mark.parametrize(
    ("fingerprint", "status"),
    [
        ("x", 200),
        ("x" * 256, 200),
        ("a b", 200),
        ("", 400),
        ("x" * 257, 400),
        (" x", 400),
        ("x ", 400),
        ("é", 400),
        ("x\n", 400),
        ("x\x00", 400),
        ("x\x7f", 400),
    ],
)
async def test_a_fingerprint_is_what_a_header_can_carry(narrow: Room, fingerprint: str, status: int) -> None:
    answer = await narrow.ask(1, device_fingerprint=fingerprint)
    assert answer.status == status
    if status == 200:
        client = narrow.daemon.client().with_token(answer.json["queue_token"], fingerprint)
        assert (await client.get(STATUS)).status == 200


async def test_one_place_for_a_buyer_and_for_a_device(narrow: Room) -> None:
    await narrow.join(1)
    assert told(await narrow.ask(1, device_fingerprint="another")) == (409, "ALREADY_IN_QUEUE")
    assert told(await narrow.ask(2, device_fingerprint="device of 1")) == (409, "DEVICE_ALREADY_IN_QUEUE")


async def test_a_full_room(narrow: Room) -> None:
    for number in (1, 2, 3, 4):
        await narrow.join(number)
    answer = await narrow.ask(5)
    assert told(answer) == (503, "QUEUE_FULL")
    assert int(answer.headers["retry-after"]) > 0


async def test_a_sale_that_is_not_open_says_when_it_opens(daemon: Daemon) -> None:
    document = arena_file(sale={"general_sale_start": "2026-07-20T10:00:00Z"})
    early = Room(daemon, await put_plan(daemon, document))
    answer = await early.ask(1)
    assert told(answer) == (403, "SALE_NOT_OPEN")
    assert answer.json["error"]["details"] == {"opens_at": "2026-07-20T10:00:00Z"}


async def test_a_presale_asks_for_its_code(daemon: Daemon) -> None:
    sale = {
        "presale_start": "2026-07-01T10:00:00Z",
        "presale_codes": [{"code": "FAN", "max_joins": 1}],
        "general_sale_start": "2026-07-20T10:00:00Z",
    }
    presale = Room(daemon, await put_plan(daemon, arena_file(sale=sale)))
    for given, reason in ((None, "MISSING"), ("FANS", "UNKNOWN"), ("fan", "UNKNOWN")):
        answer = await presale.ask(1, presale_code=given)
        assert told(answer) == (403, "PRESALE_CODE_REQUIRED")
        assert answer.json["error"]["details"] == {"reason": reason}
    assert (await presale.ask(1, presale_code="FAN")).status == 200
    assert (await presale.ask(2, presale_code="FAN")).json["error"]["details"] == {"reason": "USED_UP"}


async def test_a_sale_that_is_over_says_why(daemon: Daemon, autojump_clock: trio.testing.MockClock) -> None:
    sale = {"general_sale_start": "2026-01-05T10:00:00Z", "sale_end": "2026-07-14T03:40:00Z"}
    over = Room(daemon, await put_plan(daemon, arena_file(sale=sale)))
    command = CancelEvent(over.event_id)
    partition = event_partition(over.event_id)
    assert (await over.ask(1)).status == 200
    await trio.sleep(400)
    ended = await over.ask(2)
    assert (told(ended), ended.json["error"]["details"]) == ((410, "SALE_ENDED"), {"reason": "ENDED"})
    await daemon.services.engine.submit(Command("cancel", (partition,), lambda tx: cancel_event(tx, command)))
    cancelled = await over.ask(2)
    assert (told(cancelled), cancelled.json["error"]["details"]) == (
        (410, "SALE_ENDED"),
        {"reason": "CANCELLED"},
    )


async def test_joining_is_repeated_byte_for_byte(narrow: Room) -> None:
    await narrow.join(1)
    first = await narrow.daemon.client().post(JOIN, narrow.body(2), headers=KEY)
    await narrow.join(3)
    again = await narrow.daemon.client().post(JOIN, narrow.body(2), headers=KEY)
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["idempotency-replayed"] == "true"


# --- status ---------------------------------------------------------------------------------------------------------


async def test_ready_is_the_same_token_and_the_same_end_again(
    narrow: Room, autojump_clock: trio.testing.MockClock
) -> None:
    buyer = await narrow.join(1)
    await trio.sleep(60)
    first = await buyer.get(STATUS)
    assert first.json["status"] == "READY"
    assert first.json["access_granted"] is True
    assert first.json["queue_position"] == 0
    assert first.json["expires_at"] == "2026-07-14T03:44:20Z"  # Joined at 03:33:20, seen 60 s later.
    assert set(first.json) == {"queue_position", "status", "access_granted", "access_token", "expires_at"}
    await trio.sleep(ACCESS_SECONDS - 1)
    assert (await buyer.get(STATUS)).body == first.body
    await trio.sleep(2)
    over = await buyer.get(STATUS)
    assert told(over) == (410, "QUEUE_ENTRY_EXPIRED")
    assert over.json["error"]["details"] == {"status": "EXPIRED"}


async def test_a_rotated_key_changes_no_token_that_was_given(narrow: Room) -> None:
    buyer = await narrow.join(1)
    first = await buyer.get(STATUS)
    rotated = await narrow.daemon.operator().post("/v1/operator/signing-keys/access/rotate")
    assert rotated.status == 201
    assert (await buyer.get(STATUS)).body == first.body


async def test_a_place_that_nobody_claims_goes_on(
    narrow: Room, autojump_clock: trio.testing.MockClock
) -> None:
    first, second = await narrow.join(1), await narrow.join(2)
    await trio.sleep(CLAIM_SECONDS + 1)
    gone = await first.get(STATUS)
    assert told(gone) == (410, "QUEUE_ENTRY_EXPIRED")
    assert gone.json["error"]["details"] == {"status": "EXPIRED"}
    assert (await second.get(STATUS)).json["status"] == "READY"
    assert (await narrow.ask(1)).json["queue_position"] == 1


async def test_the_token_comes_in_the_query_or_as_a_bearer(narrow: Room) -> None:
    buyer = await narrow.join(1)
    by_header = await buyer.get(STATUS)
    by_query = await buyer.with_token(None, buyer.device).get(f"{STATUS}?queue_token={buyer.token}")
    assert by_query.body == by_header.body
    without = await buyer.with_token(None, buyer.device).get(STATUS)
    assert told(without) == (401, "TOKEN_MISSING")


async def test_who_ordered_is_done_and_may_join_anew(
    daemon: Daemon, autojump_clock: trio.testing.MockClock
) -> None:
    wide = await open_room(daemon, max_active=1)
    queued = await wide.join(1)
    buyer = queued.with_token((await queued.get(STATUS)).json["access_token"], queued.device)
    wish = {"event_id": str(wide.event_id), "user_id": str(UUID(int=1)), "quantity": 1}
    held = await buyer.post("/v1/seats/reserve", wish)
    card = await buyer.post("/v1/payment-methods", {"type": "CARD", "card_token": "tok_visa"})
    placed = await buyer.post(
        "/v1/orders",
        {
            "reservation_id": held.json["reservation_id"],
            "payment_method_id": card.json["payment_method_id"],
            "billing_address": {"street": "1 Main St", "city": "Berlin", "country": "DE"},
        },
    )
    assert placed.status == 201, placed.body
    await wait_for_order(buyer, placed.json["order_id"], "CONFIRMED")
    for _ in range(2):
        done = await queued.get(STATUS)
        assert (told(done), done.json["error"]["details"]) == (
            (410, "QUEUE_ENTRY_EXPIRED"),
            {"status": "DONE"},
        )
    assert told(await queued.delete(LEAVE)) == (410, "QUEUE_ENTRY_EXPIRED")
    assert (await wide.ask(1)).json["status"] == "READY"


# --- leaving --------------------------------------------------------------------------------------------------------


async def test_a_place_that_is_left_goes_on_at_once(narrow: Room) -> None:
    first, second = await narrow.join(1), await narrow.join(2)
    left = await first.delete(LEAVE)
    assert (left.status, left.body) == (204, b"")
    assert "content-type" not in left.headers
    assert (await second.get(STATUS)).json["status"] == "READY"
    for again in (await first.get(STATUS), await first.delete(LEAVE)):
        assert told(again) == (410, "QUEUE_ENTRY_EXPIRED")
        assert again.json["error"]["details"] == {"status": "LEFT"}
    assert (await narrow.ask(1)).json["queue_position"] == 1


async def test_leaving_by_the_query(narrow: Room) -> None:
    buyer = await narrow.join(1)
    left = await buyer.with_token(None, buyer.device).delete(f"{LEAVE}?queue_token={buyer.token}")
    assert left.status == 204


async def test_leaving_is_repeated(narrow: Room) -> None:
    buyer = await narrow.join(1)
    assert (await buyer.delete(LEAVE, headers=KEY)).status == 204
    again = await buyer.delete(LEAVE, headers=KEY)
    assert (again.status, again.headers["idempotency-replayed"]) == (204, "true")
    # In a new place the same key is another request's.
    anew = await narrow.join(1)
    assert told(await anew.delete(LEAVE, headers=KEY)) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_leaving_needs_a_queue_token(narrow: Room) -> None:
    shopper = await narrow.shop(1)
    assert told(await shopper.delete(LEAVE)) == (403, "TOKEN_KIND_NOT_ALLOWED")
    assert told(await shopper.with_token(None).delete(LEAVE)) == (401, "TOKEN_MISSING")


# --- when to come again ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wait_ms", "seconds"),
    [(0, 30), (300_000, 30), (309_999, 30), (310_000, 31), (600_000, 60), (1_200_000, 120), (10**9, 120)],
)
def test_who_is_far_from_the_front_polls_less_often(wait_ms: int, seconds: int) -> None:
    assert poll_interval_seconds(RoomSettings(), wait_ms) == seconds


@pytest.mark.parametrize(
    ("quiet_ms", "seconds"),
    [(0, 30), (30_999, 30), (31_000, 31), (119_999, 119), (120_000, 120), (10**9, 120)],
)
def test_nobody_is_told_to_keep_still_beyond_their_turn(quiet_ms: int, seconds: int) -> None:
    assert poll_interval_seconds(RoomSettings(), 10**9, quiet_ms) == seconds


async def test_whom_the_draw_puts_first_is_told_to_ask_again_in_time(daemon: Daemon) -> None:
    waiting = room(lobby_opens="2026-07-14T00:00:00Z", max_active=1, admit_per_minute=1, claim_seconds=100)
    document = arena_file(sale={"general_sale_start": "2026-07-14T03:34:00Z"}, waiting_room=waiting)
    lobby = Room(daemon, await put_plan(daemon, document))
    # 40 s before the opening, and a wait that alone would let ask every two minutes.
    joined = [(await lobby.ask(number)).json for number in range(1, 40)]
    assert joined[-1]["status"] == "LOBBY"
    assert 40 < joined[-1]["poll_interval_seconds"] <= 40 + 50


def test_the_settings_bound_how_often() -> None:
    eager = RoomSettings(poll_interval_seconds=5, poll_interval_max_seconds=10)
    assert [poll_interval_seconds(eager, wait_ms) for wait_ms in (0, 70_000, 10**6)] == [5, 7, 10]
