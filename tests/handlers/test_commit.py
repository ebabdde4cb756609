from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import trio
import trio.testing

from handlers.call import AnyCall, Call, Reply
from handlers.commit import Decision, commit
from handlers.endpoint import OWNING, Endpoint
from handlers.router import Router
from handlers.serve import Server
from handlers.services import Services
from storage.engine import Transaction
from storage.schema.ids import EventId, OrderId, UserId
from storage.schema.layout import BUYER_ORDERS, OUTCOMES, SYSTEM, buyer_partition
from tests.support.daemon import Answer, Client, Daemon, open_daemon
from tests.support.events import arena_file, put_plan, room
from tests.support.tokens import SOMEBODY, mint
from ticketd.credentials.api_keys import Scope
from ticketd.credentials.keyring import TokenKind
from ticketd.errors import ErrorCode, Refusal
from ticketd.rate_limits.classes import RateClass

CARDS = "/v1/payment-methods"
CARD = {"type": "CARD", "card_token": "tok_visa"}
KEY = {"idempotency-key": "the-first-key"}
DAY_SECONDS = 86_400
PATIENCE_SECONDS = 20  # Only ends a test that hangs.


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with open_daemon(tmp_path) as daemon:
        yield daemon


@pytest.fixture
async def buyer(daemon: Daemon) -> Client:
    return daemon.client().with_token(mint(daemon, TokenKind.USER, ttl_seconds=10 * DAY_SECONDS))


def told(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code if answer.status >= 400 else ""


def is_replay(answer: Answer, of: Answer) -> bool:
    """Whether this is the very same answer again, and says so."""
    same = ("location", "retry-after", "www-authenticate")
    return (
        (answer.status, answer.body) == (of.status, of.body)
        and answer.headers.get("idempotency-replayed") == "true"
        and all(answer.headers.get(name) == of.headers.get(name) for name in same)
        and answer.headers["x-request-id"] != of.headers["x-request-id"]
    )


async def cards_of(buyer: Client) -> int:
    return len((await buyer.get(CARDS)).json["payment_methods"])


async def test_a_repetition_answers_the_same_and_does_nothing(buyer: Client) -> None:
    first = await buyer.post(CARDS, CARD, headers=KEY)
    assert first.status == 201
    assert "idempotency-replayed" not in first.headers
    for _ in range(2):
        assert is_replay(await buyer.post(CARDS, CARD, headers=KEY), first)
    assert await cards_of(buyer) == 1
    assert (await buyer.post(CARDS, CARD, headers={"idempotency-key": "another-key"})).json != first.json
    assert (await buyer.post(CARDS, CARD)).status == 201
    assert await cards_of(buyer) == 3


async def test_a_deletion_is_repeated_too(buyer: Client) -> None:
    card = (await buyer.post(CARDS, CARD)).json["payment_method_id"]
    first = await buyer.delete(f"{CARDS}/{card}", headers=KEY)
    assert (first.status, first.body) == (204, b"")
    again = await buyer.delete(f"{CARDS}/{card}", headers=KEY)
    assert is_replay(again, first)
    assert told(await buyer.delete(f"{CARDS}/{card}")) == (404, "PAYMENT_METHOD_NOT_FOUND")


async def test_another_request_with_the_same_key_is_refused(buyer: Client) -> None:
    first = await buyer.post(CARDS, CARD, headers=KEY)
    other = await buyer.post(CARDS, {**CARD, "card_token": "tok_amex"}, headers=KEY)
    assert told(other) == (422, "IDEMPOTENCY_KEY_REUSED")
    # To the byte: what means the same is another body.
    spaced = await buyer.post(CARDS, raw=json.dumps(CARD, indent=1).encode(), headers=KEY)
    assert told(spaced) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert is_replay(await buyer.post(CARDS, CARD, headers=KEY), first)


async def test_another_path_of_the_same_route_is_another_request(buyer: Client) -> None:
    missing = f"{CARDS}/{uuid4()}"
    first = await buyer.delete(missing, headers=KEY)
    assert told(first) == (404, "PAYMENT_METHOD_NOT_FOUND")
    assert told(await buyer.delete(f"{CARDS}/{uuid4()}", headers=KEY)) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert is_replay(await buyer.delete(missing, headers=KEY), first)


async def test_a_key_counts_for_one_buyer_and_one_route(daemon: Daemon, buyer: Client) -> None:
    first = await buyer.post(CARDS, CARD, headers=KEY)
    other = daemon.client().with_token(mint(daemon, TokenKind.USER, user=uuid4()))
    theirs = await other.post(CARDS, CARD, headers=KEY)
    assert theirs.status == 201
    assert theirs.json != first.json
    assert told(await buyer.delete(f"{CARDS}/{uuid4()}", headers=KEY)) == (404, "PAYMENT_METHOD_NOT_FOUND")
    # Of the same buyer it counts whatever the token and the API key.
    public = daemon.client(Scope.PUBLIC).with_token(mint(daemon, TokenKind.ACCESS))
    assert is_replay(await public.post(CARDS, CARD, headers=KEY), first)


async def test_without_a_token_a_key_counts_for_one_api_key(daemon: Daemon) -> None:
    body = {"user_id": str(uuid4())}
    first = await daemon.client().post("/v1/sessions", body, headers=KEY)
    assert first.status == 201
    assert is_replay(await daemon.client().post("/v1/sessions", body, headers=KEY), first)
    made = await daemon.operator().post("/v1/operator/keys", {"scope": "storefront"})
    other = Client(daemon.server, made.json["key"])
    theirs = await other.post("/v1/sessions", body, headers=KEY)
    assert theirs.status == 201
    assert "idempotency-replayed" not in theirs.headers


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("x" * 8, 201),
        ("x" * 128, 201),
        ("a b;c=d~!", 201),
        ("x" * 7, 400),
        ("x" * 129, 400),
        ("é" * 8, 400),
        ("12345678\x00", 400),
        ("12345678\t", 400),
        ("12345678\x7f", 400),
    ],
)
async def test_a_key_is_8_to_128_printable_characters(buyer: Client, key: str, status: int) -> None:
    answer = await buyer.post(CARDS, CARD, headers={"idempotency-key": key})
    assert answer.status == status
    if status == 400:
        assert answer.json["error"]["details"]["header"] == "Idempotency-Key"
        assert await cards_of(buyer) == 0


async def test_a_refusal_is_an_outcome_too(daemon: Daemon, buyer: Client) -> None:
    """A refusal that was decided, and one that was found before anything was decided."""
    sender = {"card_token": "tok_unknown", "type": "CARD"}
    first = await buyer.post(CARDS, sender, headers=KEY)
    assert told(first) == (400, "INVALID_PAYMENT_METHOD")
    assert is_replay(await buyer.post(CARDS, sender, headers=KEY), first)
    body = {"event_id": str(uuid4()), "user_id": str(SOMEBODY), "device_fingerprint": "d"}
    unknown = await daemon.client().post("/v1/queue/join", body, headers=KEY)
    assert told(unknown) == (400, "INVALID_EVENT_ID")
    assert is_replay(await daemon.client().post("/v1/queue/join", body, headers=KEY), unknown)


async def test_what_does_not_fit_is_an_outcome_too(buyer: Client) -> None:
    first = await buyer.post(CARDS, {"type": "CARD"}, headers=KEY)
    assert told(first) == (400, "INVALID_REQUEST")
    assert is_replay(await buyer.post(CARDS, {"type": "CARD"}, headers=KEY), first)
    assert told(await buyer.post(CARDS, CARD, headers=KEY)) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_who_may_not_call_uses_up_no_key(daemon: Daemon, buyer: Client) -> None:
    assert told(await buyer.post(CARDS, CARD, headers={**KEY, "x-api-key": "x"})) == (401, "API_KEY_INVALID")
    queue = buyer.with_token(mint(daemon, TokenKind.QUEUE))
    assert told(await queue.post(CARDS, CARD, headers=KEY)) == (403, "QUEUE_ACCESS_ONLY")
    assert told(await buyer.post(CARDS, raw=b" " * 65_537, headers=KEY)) == (413, "BODY_TOO_LARGE")
    assert (await buyer.post(CARDS, CARD, headers=KEY)).status == 201


async def test_a_503_is_no_outcome(daemon: Daemon) -> None:
    """A full room refuses; once there is room the same request joins."""
    plan = arena_file(waiting_room=room(max_active=1, capacity=1))
    event_id = await put_plan(daemon, plan)

    async def join(number: int, **headers: str) -> Answer:
        body = {"event_id": str(event_id), "user_id": str(uuid4()), "device_fingerprint": f"d{number}"}
        bodies.setdefault(number, body)
        return await daemon.client().post("/v1/queue/join", bodies[number], headers=headers)

    bodies: dict[int, dict[str, str]] = {}
    await join(1)
    second = await join(2)
    full = await join(3, **KEY)
    assert told(full) == (503, "QUEUE_FULL")
    assert int(full.headers["retry-after"]) > 0
    assert "idempotency-replayed" not in (await join(3, **KEY)).headers
    left = daemon.client().with_token(second.json["queue_token"], "d2")
    assert (await left.delete("/v1/queue/leave")).status == 204
    joined = await join(3, **KEY)
    assert joined.status == 200
    assert is_replay(await join(3, **KEY), joined)


async def test_a_location_is_repeated(daemon: Daemon) -> None:
    document = json.dumps(arena_file()).encode()
    first = await daemon.operator().post("/v1/operator/events", raw=document, headers=KEY)
    assert first.status == 201
    assert first.headers["location"].startswith("/v1/operator/events/")
    assert is_replay(await daemon.operator().post("/v1/operator/events", raw=document, headers=KEY), first)


async def test_leaving_one_event_is_not_leaving_another(daemon: Daemon) -> None:
    """One buyer waits for two events and leaves both with the same key: the second is another request."""
    user, queued = uuid4(), []
    for name in ("One", "Another"):
        event_id = await put_plan(daemon, arena_file(name=name))
        body = {"event_id": str(event_id), "user_id": str(user), "device_fingerprint": "device-1"}
        joined = await daemon.client().post("/v1/queue/join", body)
        queued.append(daemon.client().with_token(joined.json["queue_token"]))
    first = await queued[0].delete("/v1/queue/leave", headers=KEY)
    assert first.status == 204
    assert told(await queued[1].delete("/v1/queue/leave", headers=KEY)) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert is_replay(await queued[0].delete("/v1/queue/leave", headers=KEY), first)
    assert (await queued[1].get("/v1/queue/status")).status == 200


async def test_an_outcome_is_kept_for_a_day(
    daemon: Daemon, buyer: Client, autojump_clock: trio.testing.MockClock
) -> None:
    first = await buyer.post(CARDS, CARD, headers=KEY)
    await trio.sleep(DAY_SECONDS - 1)
    assert is_replay(await buyer.post(CARDS, CARD, headers=KEY), first)
    await trio.sleep(2)
    later = await buyer.post(CARDS, CARD, headers=KEY)
    assert later.status == 201
    assert later.json != first.json


async def test_an_outcome_outlives_the_daemon(tmp_path: Path) -> None:
    answers = []
    token = ""
    for _ in range(2):
        async with open_daemon(tmp_path) as daemon:
            token = token or mint(daemon, TokenKind.USER)
            answers.append(await daemon.client().with_token(token).post(CARDS, CARD, headers=KEY))
    assert is_replay(answers[1], answers[0])


# --- what one commit does -------------------------------------------------------------------------------------------


class Stand:
    """A server with one idempotent endpoint, POST /v1/stand, whose decision is the test's."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.entered = trio.Event()
        self.gate = trio.Event()
        self.gate.set()
        self.decided = 0
        self.refusal: Refusal | None = None
        self.seen_order = OrderId(uuid4())
        line = Endpoint(
            method="POST",
            path="/v1/stand",
            function=self._answer,
            part="orders",
            summary="",
            credential=OWNING,
            rate=RateClass.OTHER,
            idempotent=True,
        )
        server = Server(daemon.services, Router((line,)))
        self.client = Client(server, daemon.keys[Scope.STOREFRONT], mint(daemon, TokenKind.USER))

    async def _answer(self, services: Services, call: AnyCall) -> Reply:
        self.entered.set()
        await self.gate.wait()
        return await self._decide(services, call)

    async def _decide(self, services: Services, call: Call[None] | AnyCall) -> Reply:
        partition = buyer_partition(UserId(SOMEBODY))

        def decide(tx: Transaction) -> int:
            self.decided += 1
            BUYER_ORDERS.put(tx, EventId(uuid4()), partition, self.seen_order)
            if self.refusal is not None:
                raise self.refusal
            return self.decided

        decision = Decision("stand", (partition,), decide, lambda n: Reply(status=201, body=b"%d" % n))
        return await commit(services, call, decision)

    def has_written(self) -> bool:
        partition = buyer_partition(UserId(SOMEBODY))
        with self.daemon.services.engine.snapshot(partition) as view:
            return BUYER_ORDERS.get(view, partition, self.seen_order) is not None

    def outcomes(self) -> int:
        with self.daemon.services.engine.snapshot() as view:
            return sum(
                len(list(OUTCOMES.scan(view, partition)))
                for partition in (SYSTEM, buyer_partition(UserId(SOMEBODY)))
            )


async def test_a_key_whose_request_still_runs_is_in_use(daemon: Daemon) -> None:
    stand = Stand(daemon)
    stand.gate = trio.Event()
    answers: list[Answer] = []

    async def ask() -> None:
        answers.append(await stand.client.post("/v1/stand", headers=KEY))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await stand.entered.wait()
        for _ in range(2):
            with trio.fail_after(PATIENCE_SECONDS):
                in_use = await stand.client.post("/v1/stand", headers=KEY)
            assert told(in_use) == (409, "IDEMPOTENCY_KEY_IN_USE")
        stand.gate.set()
    assert (answers[0].status, answers[0].body) == (201, b"1")
    assert is_replay(await stand.client.post("/v1/stand", headers=KEY), answers[0])
    assert stand.decided == 1


async def test_a_caller_that_went_away_frees_its_key(daemon: Daemon) -> None:
    stand = Stand(daemon)
    stand.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: stand.client.post("/v1/stand", headers=KEY))
        await stand.entered.wait()
        nursery.cancel_scope.cancel()
    stand.gate.set()
    assert (await stand.client.post("/v1/stand", headers=KEY)).status == 201
    assert daemon.services.running_requests == set()


async def test_a_refused_decision_writes_its_outcome_and_nothing_else(daemon: Daemon) -> None:
    stand = Stand(daemon)
    stand.refusal = Refusal(ErrorCode.SEATS_TAKEN, details={"seat_ids": ["a"]})
    first = await stand.client.post("/v1/stand", headers=KEY)
    assert told(first) == (409, "SEATS_TAKEN")
    assert not stand.has_written()
    assert stand.outcomes() == 1
    stand.refusal = None
    assert is_replay(await stand.client.post("/v1/stand", headers=KEY), first)
    assert stand.decided == 1
    assert (await stand.client.post("/v1/stand")).status == 201
    assert stand.has_written()


async def test_a_decision_that_failed_for_the_time_being_keeps_nothing(daemon: Daemon) -> None:
    stand = Stand(daemon)
    stand.refusal = Refusal(ErrorCode.OVERLOADED)
    assert told(await stand.client.post("/v1/stand", headers=KEY)) == (503, "OVERLOADED")
    assert not stand.has_written()
    assert stand.outcomes() == 0
    stand.refusal = None
    assert (await stand.client.post("/v1/stand", headers=KEY)).status == 201


async def test_a_request_without_a_key_keeps_nothing(daemon: Daemon) -> None:
    stand = Stand(daemon)
    assert (await stand.client.post("/v1/stand")).body == b"1"
    assert (await stand.client.post("/v1/stand")).body == b"2"
    assert stand.outcomes() == 0
