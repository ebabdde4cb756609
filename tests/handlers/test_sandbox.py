from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
import trio.testing
from trio.testing import MockClock

from handlers.router import Router
from handlers.routes import ENDPOINTS
from handlers.serve import Server
from storage.schema.ids import OrderId
from tests.handlers.order_stage import CHALLENGED, OrderStage, open_shop
from tests.support.daemon import PUBLIC_URL, Answer, Client

FORM = "application/x-www-form-urlencoded"


async def challenge(stage: OrderStage) -> tuple[Client, str, str]:
    """A buyer, the order that waits for them, and the path of the page where they are to act."""
    buyer = await stage.buyer(1)
    placed = await stage.order(buyer, 1, "Floor/A/1", token=CHALLENGED)
    return buyer, placed["order_id"], placed["next_action"]["redirect_url"].removeprefix(PUBLIC_URL)


def browser(stage: OrderStage) -> Client:
    """Whoever opens a page: no key, no token, no device."""
    return Client(stage.daemon.server, None, device=None)


async def submit(stage: OrderStage, path: str, form: bytes, media_type: str = FORM) -> Answer:
    return await browser(stage).call("POST", path, raw=form, headers={"content-type": media_type})


async def states(buyer: Client, order_id: str) -> tuple[str, str]:
    await trio.testing.wait_all_tasks_blocked()
    order = (await buyer.get(f"/v1/orders/{order_id}")).json
    return order["status"], order["payment_status"]


async def test_the_page_asks_and_changes_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer, order_id, path = await challenge(stage)
        shown = await browser(stage).get(path)
        assert shown.status == 200
        assert shown.headers["content-type"] == "text/html; charset=utf-8"
        policy = shown.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "form-action 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert shown.headers["cache-control"] == "no-store"
        assert shown.headers["referrer-policy"] == "no-referrer"
        text = shown.body.decode()
        assert "620.00 USD" in text
        assert order_id in text
        assert '<form method="post">' in text
        assert '<button name="outcome" value="complete">' in text
        assert '<button name="outcome" value="fail">' in text
        assert await states(buyer, order_id) == ("PENDING", "REQUIRES_ACTION")


@pytest.mark.parametrize(
    ("outcome", "ends", "said"),
    [
        ("complete", ("CONFIRMED", "CAPTURED"), "was confirmed"),
        ("fail", ("FAILED", "FAILED"), "was refused"),
    ],
)
async def test_what_the_buyer_chose_is_done_at_once_and_once(
    autojump_clock: MockClock, tmp_path: Path, outcome: str, ends: tuple[str, str], said: str
) -> None:
    async with open_shop(tmp_path) as stage:
        buyer, order_id, path = await challenge(stage)
        done = await submit(stage, path, f"outcome={outcome}".encode())
        assert done.status == 200
        assert said in done.body.decode()
        assert await states(buyer, order_id) == ends
        other = "fail" if outcome == "complete" else "complete"
        again = await submit(stage, path, f"outcome={other}".encode())
        assert (again.status, again.body) == (200, done.body), "it stays as it was chosen first"
        shown = await browser(stage).get(path)
        assert (shown.status, shown.body) == (200, done.body)
        assert b"<form" not in shown.body
        assert await states(buyer, order_id) == ends


async def test_the_page_of_a_payment_that_was_given_up(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer, order_id, path = await challenge(stage)
        await buyer.post(f"/v1/orders/{order_id}/cancel")
        assert await states(buyer, order_id) == ("CANCELLED", "VOIDED")
        for answer in (await browser(stage).get(path), await submit(stage, path, b"outcome=complete")):
            assert answer.status == 200
            assert "given up" in answer.body.decode()
        assert await states(buyer, order_id) == ("CANCELLED", "VOIDED")


@pytest.mark.parametrize(
    ("form", "media_type", "code"),
    [
        (b"", FORM, "INVALID_REQUEST"),
        (b"outcome=", FORM, "INVALID_REQUEST"),
        (b"outcome=COMPLETE", FORM, "INVALID_REQUEST"),
        (b"outcome=complete&outcome=fail", FORM, "INVALID_REQUEST"),
        (b"outcome=complete&more=1", FORM, "INVALID_REQUEST"),
        (b"outcome=%ff", FORM, "INVALID_REQUEST"),
        (b'{"outcome":"complete"}', FORM, "INVALID_REQUEST"),
        (b'{"outcome":"complete"}', "application/json", "UNSUPPORTED_MEDIA_TYPE"),
        (b"outcome=complete", "text/plain", "UNSUPPORTED_MEDIA_TYPE"),
    ],
)
async def test_a_form_that_was_not_shown(
    autojump_clock: MockClock, tmp_path: Path, form: bytes, media_type: str, code: str
) -> None:
    async with open_shop(tmp_path) as stage:
        buyer, order_id, path = await challenge(stage)
        answer = await submit(stage, path, form, media_type)
        assert answer.code == code
        assert await states(buyer, order_id) == ("PENDING", "REQUIRES_ACTION")


@pytest.mark.parametrize("name", ["pi_unknown", "%3Cscript%3E", "pi_" + "0" * 32, "ключ"])
async def test_a_payment_that_is_not_there(autojump_clock: MockClock, tmp_path: Path, name: str) -> None:
    async with open_shop(tmp_path) as stage:
        path = f"/sandbox/payments/{name}"
        for answer in (await browser(stage).get(path), await submit(stage, path, b"outcome=complete")):
            assert (answer.status, answer.code) == (404, "NOT_FOUND")


async def test_a_payment_that_never_asked_for_its_buyer(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        buyer = await stage.buyer(1)
        placed = await stage.order(buyer, 1, "Floor/A/1")
        payment = await stage.gateway.find_by_order(OrderId(UUID(placed["order_id"])))
        assert payment is not None
        answer = await browser(stage).get(f"/sandbox/payments/{payment.payment_ref}")
        assert (answer.status, answer.code) == (404, "NOT_FOUND")


async def test_there_is_no_such_page_with_a_real_gateway(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_shop(tmp_path) as stage:
        _, _, path = await challenge(stage)
        real = Server(replace(stage.daemon.services, sandbox=None), Router(ENDPOINTS))
        answer = await Client(real, None, device=None).get(path)
        assert (answer.status, answer.code) == (404, "NOT_FOUND")
