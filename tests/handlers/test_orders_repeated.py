"""Requests for orders that come again: the same bytes, from the next daemon too."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.handlers.order_stage import CHALLENGED, DECLINED, open_shop
from tests.ports.faulty_gateway import Pause, When
from tests.support.daemon import START_MS, Answer

KEY = {"idempotency-key": "the-first-try"}


@pytest.mark.parametrize("token", ["tok_visa", DECLINED, CHALLENGED])
async def test_a_repeated_request_gets_the_same_bytes_also_from_the_next_daemon(
    autojump_clock: MockClock, tmp_path: Path, token: str
) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        body = await stage.wish_to_pay(buyer, 1, "Floor/A/1", token=token)
        first = await buyer.post("/v1/orders", body, headers=KEY)
        assert first.status == (402 if token == DECLINED else 201)
        assert "idempotency-replayed" not in first.headers
        if first.status == 402:
            assert first.json["error"]["request_id"] == first.headers["x-request-id"]
        await stage.pass_seconds(5)
        again = await buyer.post("/v1/orders", body, headers=KEY)
        assert_replayed(again, first)
        other = await buyer.post("/v1/orders", {**body, "delivery_method": "EMAIL"}, headers=KEY)
        assert (other.status, other.code) == (422, "IDEMPOTENCY_KEY_REUSED")
        made = len(stage.gateway.keys_of("authorise"))
        assert made == 1
    async with open_shop(tmp_path, start_ms=START_MS + 60_000) as stage:
        buyer.server = stage.daemon.server
        assert_replayed(await buyer.post("/v1/orders", body, headers=KEY), first)
        assert stage.gateway.keys_of("authorise") == []


@pytest.mark.parametrize("when", When)
async def test_a_request_whose_daemon_died_is_answered_by_the_next_one(
    autojump_clock: MockClock, tmp_path: Path, when: When
) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        body = await stage.wish_to_pay(buyer, 1, "Floor/A/1")
        pause = stage.gateway.pause("authorise", when)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: buyer.post("/v1/orders", body, headers=KEY))
            await pause.reached.wait()
            nursery.cancel_scope.cancel()
    async with open_shop(tmp_path, start_ms=START_MS + 10_000) as stage:
        buyer.server = stage.daemon.server
        # The order is resumed at the start, and its answer is stored though nobody waits for it.
        await trio.testing.wait_all_tasks_blocked()
        answer = await buyer.post("/v1/orders", body, headers=KEY)
        assert (answer.status, answer.json["status"]) == (201, "PENDING")
        assert answer.headers["idempotency-replayed"] == "true"
        order = (await buyer.get(f"/v1/orders/{answer.json['order_id']}")).json
        assert (order["status"], order["payment_status"]) == ("CONFIRMED", "CAPTURED")
        assert_replayed(await buyer.post("/v1/orders", body, headers=KEY), answer)


async def test_a_request_is_told_to_wait_while_the_next_daemon_still_asks(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        body = await stage.wish_to_pay(buyer, 1, "Floor/A/1")
        pause = stage.gateway.pause("authorise")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: buyer.post("/v1/orders", body, headers=KEY))
            await pause.reached.wait()
            nursery.cancel_scope.cancel()
    paused: list[Pause] = []
    later_ms = START_MS + 10_000
    async with open_shop(tmp_path, start_ms=later_ms, pauses={"authorise": paused.append}) as stage:
        buyer.server = stage.daemon.server
        pause = paused[0]
        await pause.reached.wait()
        for _ in range(2):
            waiting = await buyer.post("/v1/orders", body, headers=KEY)
            assert (waiting.status, waiting.code) == (409, "IDEMPOTENCY_KEY_IN_USE")
            assert "idempotency-replayed" not in waiting.headers, "that is no outcome to be kept"
        other = await buyer.post("/v1/orders", body, headers={"idempotency-key": "another-try"})
        assert (other.status, other.code) == (409, "ORDER_EXISTS")
        pause.resume.set()
        await trio.testing.wait_all_tasks_blocked()
        answer = await buyer.post("/v1/orders", body, headers=KEY)
        assert answer.status == 201


async def test_an_answer_that_was_settled_a_moment_ago_is_a_repeated_one(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try ends after this one was found to have no outcome, and before it is begun."""
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        body = await stage.wish_to_pay(buyer, 1, "Floor/A/1")
        first = await buyer.post("/v1/orders", body, headers=KEY)
        monkeypatch.setattr("handlers.serve.stored_reply", lambda *_: None)
        again = await buyer.post("/v1/orders", body, headers=KEY)
        assert_replayed(again, first)
        assert "location" not in again.headers
        other = await buyer.post("/v1/orders", {**body, "delivery_method": "EMAIL"}, headers=KEY)
        assert (other.status, other.code) == (422, "IDEMPOTENCY_KEY_REUSED")
        assert_replayed(await buyer.post("/v1/orders", body, headers=KEY), first)


async def test_a_cancellation_is_repeated_too(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        order = await stage.order(buyer, 1, "Floor/A/1")
        path = f"/v1/orders/{order['order_id']}/cancel"
        first = await buyer.post(path, headers=KEY)
        await stage.pass_seconds(5)
        assert_replayed(await buyer.post(path, headers=KEY), first)
        assert (await buyer.post(path)).code == "ORDER_ALREADY_CANCELLED"


def assert_replayed(again: Answer, first: Answer) -> None:
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["idempotency-replayed"] == "true"
