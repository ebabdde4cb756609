from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.domain.inventory_stage import user_id
from tests.handlers.order_stage import BILLING, OrderStage, open_shop
from tests.handlers.sale_stage import unknown_id
from tests.ports.faulty_gateway import When
from tests.support.daemon import Client

PATH = "/v1/payment-methods"
VISA = {"type": "CARD", "card_token": "tok_visa_4242"}
KEY = {"idempotency-key": "the-first-try"}


async def owner(stage: OrderStage, user: int = 1) -> Client:
    return await stage.daemon.user(user_id(user))


async def shown(caller: Client, query: str = "") -> list[tuple[str, bool]]:
    cards = (await caller.get(f"{PATH}{query}")).json["payment_methods"]
    return [(card["card_brand"], card["is_default"]) for card in cards]


async def test_the_answer_to_a_card_that_was_added(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        caller = await owner(stage)
        added = await caller.post(PATH, {**VISA, "billing_address": BILLING})
        assert added.status == 201
        assert added.json == {
            "payment_method_id": added.json["payment_method_id"],
            "type": "CARD",
            "card_last_four": "4242",
            "card_brand": "Visa",
            "expiry": "12/2029",
            "is_default": True,
        }
        listed = (await caller.get(PATH)).json
        assert listed["payment_methods"] == [added.json], "no address and no token is shown"
        assert listed["pagination"] == {"page": 1, "per_page": 20, "total": 1}


@pytest.mark.parametrize(
    ("token", "brand", "last_four"),
    [
        ("tok_visa", "Visa", "4242"),
        ("tok_mastercard", "Mastercard", "4444"),
        ("tok_amex", "American Express", "0005"),
        ("tok_chargeDeclined", "Visa", "0002"),
    ],
)
async def test_each_kind_of_card(tmp_path: Path, token: str, brand: str, last_four: str) -> None:
    async with open_shop(tmp_path) as stage:
        added = await (await owner(stage)).post(PATH, {"type": "CARD", "card_token": token})
        assert (added.json["card_brand"], added.json["card_last_four"]) == (brand, last_four)


async def test_cards_in_order_in_pages_and_by_access_token_too(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        caller = await owner(stage)
        for token in ("tok_visa", "tok_mastercard", "tok_amex"):
            await stage.add_card(caller, token)
        cards = [("Visa", True), ("Mastercard", False), ("American Express", False)]
        assert await shown(caller) == cards
        assert await shown(caller, "?page=2&per_page=2") == cards[2:]
        assert await shown(await stage.buyer(1)) == cards
        assert (await caller.get(f"{PATH}?per_page=0")).code == "INVALID_REQUEST"


@pytest.mark.parametrize("token", ["tok_unknown", "4242424242424242", "x" * 255])
async def test_a_token_that_the_gateway_does_not_take(tmp_path: Path, token: str) -> None:
    async with open_shop(tmp_path) as stage:
        caller = await owner(stage)
        answer = await caller.post(PATH, {"type": "CARD", "card_token": token})
        assert (answer.status, answer.code) == (400, "INVALID_PAYMENT_METHOD")
        assert token.encode() not in answer.body
        assert await shown(caller) == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": "CARD"},
        {"card_token": "tok_visa"},
        {"type": "IBAN", "card_token": "tok_visa"},
        {"type": "card", "card_token": "tok_visa"},
        {"type": "CARD", "card_token": ""},
        {"type": "CARD", "card_token": "x" * 256},
        {"type": "CARD", "card_token": "tok visa"},
        {"type": "CARD", "card_token": "tok_visa\n"},
        {"type": "CARD", "card_token": "tök"},
        {"type": "CARD", "card_token": 4242},
        {"type": "CARD", "card_token": "tok_visa", "number": "4242"},
        {"type": "CARD", "card_token": "tok_visa", "billing_address": {"city": "New York"}},
    ],
)
async def test_a_body_that_is_no_card(tmp_path: Path, body: dict[str, object]) -> None:
    async with open_shop(tmp_path) as stage:
        answer = await (await owner(stage)).post(PATH, body)
        assert (answer.status, answer.code) == (400, "INVALID_REQUEST")
        assert stage.gateway.keys_of("describe_method") == []


@pytest.mark.parametrize("when", When)
async def test_a_gateway_that_is_away(tmp_path: Path, when: When) -> None:
    async with open_shop(tmp_path) as stage:
        caller = await owner(stage)
        stage.gateway.fail("describe_method", when)
        answer = await caller.post(PATH, VISA, headers=KEY)
        assert (answer.status, answer.code) == (503, "PAYMENT_UNAVAILABLE")
        assert await shown(caller) == []
        again = await caller.post(PATH, VISA, headers=KEY)
        assert again.status == 201
        keys = stage.gateway.keys_of("describe_method")
        assert keys[0] == keys[1], "asked again, the gateway knows that it is the same"
        assert await shown(caller) == [("Visa", True)]


async def test_a_repeated_request_adds_no_second_card(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        caller = await owner(stage)
        first = await caller.post(PATH, VISA, headers=KEY)
        again = await caller.post(PATH, VISA, headers=KEY)
        assert (again.status, again.body) == (201, first.body)
        assert again.headers["idempotency-replayed"] == "true"
        other = await caller.post(PATH, {**VISA, "card_token": "tok_amex"}, headers=KEY)
        assert (other.status, other.code) == (422, "IDEMPOTENCY_KEY_REUSED")
        assert await shown(caller) == [("Visa", True)]
        await caller.post(PATH, VISA)
        assert len(await shown(caller)) == 2, "without a key it is another request"


async def test_another_request_under_a_key_whose_first_outcome_was_lost(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        caller = await owner(stage)
        stage.gateway.fail("describe_method", When.AFTER_EFFECT)
        assert (await caller.post(PATH, VISA, headers=KEY)).status == 503
        other = await caller.post(PATH, {**VISA, "card_token": "tok_amex"}, headers=KEY)
        assert (other.status, other.json["card_brand"]) == (201, "American Express")


async def test_a_caller_who_hangs_up_has_added_the_card_all_the_same(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        caller = await owner(stage)
        pause = stage.gateway.pause("describe_method")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: caller.post(PATH, VISA, headers=KEY))
            await pause.reached.wait()
            nursery.cancel_scope.cancel()
        pause.resume.set()
        await trio.testing.wait_all_tasks_blocked()
        assert await shown(caller) == [("Visa", True)]
        again = await caller.post(PATH, VISA, headers=KEY)
        assert (again.status, again.headers["idempotency-replayed"]) == (201, "true")
        assert await shown(caller) == [("Visa", True)]


async def test_a_card_that_is_taken_away(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        caller = await owner(stage)
        first = await stage.add_card(caller)
        await stage.add_card(caller, "tok_amex")
        removed = await caller.delete(f"{PATH}/{first}", headers=KEY)
        assert (removed.status, removed.body) == (204, b"")
        assert await shown(caller) == [("American Express", True)]
        await trio.testing.wait_all_tasks_blocked()
        assert len(stage.gateway.keys_of("forget_method")) == 1
        again = await caller.delete(f"{PATH}/{first}", headers=KEY)
        assert (again.status, again.headers["idempotency-replayed"]) == (204, "true")
        gone = await caller.delete(f"{PATH}/{first}")
        assert (gone.status, gone.code) == (404, "PAYMENT_METHOD_NOT_FOUND")
        await trio.testing.wait_all_tasks_blocked()
        assert len(stage.gateway.keys_of("forget_method")) == 1


async def test_a_card_is_taken_away_without_waiting_for_the_gateway(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_shop(tmp_path) as stage:
        caller = await owner(stage)
        cards = [await stage.add_card(caller) for _ in range(3)]
        stage.gateway.pause("forget_method")
        assert (await caller.delete(f"{PATH}/{cards[0]}")).status == 204
        stage.gateway.fail("forget_method")
        assert (await caller.delete(f"{PATH}/{cards[1]}")).status == 204
        await stage.pass_seconds(60)
        assert (await caller.delete(f"{PATH}/{cards[2]}")).status == 204, "nothing hangs on it"
        assert await shown(caller) == []


async def test_a_card_that_is_not_the_buyers(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        caller, other = await owner(stage), await owner(stage, 2)
        card = await stage.add_card(caller)
        for method in (card, unknown_id(), "no-uuid"):
            answer = await other.delete(f"{PATH}/{method}")
            assert (answer.status, answer.code) == (404, "PAYMENT_METHOD_NOT_FOUND")
        assert await shown(other) == []
        await trio.testing.wait_all_tasks_blocked()
        assert stage.gateway.keys_of("forget_method") == []
        assert await shown(caller) == [("Visa", True)]


async def test_a_forgotten_card_is_not_charged(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        body = await stage.wish_to_pay(buyer, 1, "Floor/A/1")
        await buyer.delete(f"{PATH}/{body['payment_method_id']}")
        answer = await buyer.post("/v1/orders", body)
        assert (answer.status, answer.code) == (400, "INVALID_PAYMENT_METHOD")
