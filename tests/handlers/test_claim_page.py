from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from trio.testing import MockClock

from tests.handlers.sale_stage import SaleStage, open_plan, open_sale, unknown_id
from tests.handlers.ticket_box import buy, claim_link, offer
from tests.support.daemon import PUBLIC_URL, Client

SENDER = 1


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[SaleStage]:
    async with open_sale(tmp_path) as stage:
        yield stage


@pytest.fixture
async def sender(stage: SaleStage) -> Client:
    return await stage.buyer(SENDER)


async def buy_one(stage: SaleStage, sender: Client) -> str:
    """A ticket that the sender has bought."""
    order = await buy(stage, sender, SENDER, "Floor/A/1")
    return str(order["tickets"][0]["ticket_id"])


async def test_the_claim_page_tells_of_the_offer(
    autojump_clock: MockClock, stage: SaleStage, sender: Client
) -> None:
    await stage.put(open_plan(name="<script>alert(1)</script> & 'Friends'"))
    transfer = await offer(sender, await buy_one(stage, sender))
    link = await claim_link(stage, transfer["transfer_id"])
    assert link.startswith(f"{PUBLIC_URL}/claim?transfer={transfer['transfer_id']}&token=")
    visitor = Client(stage.daemon.server, None, device=None)
    answer = await visitor.get(link.removeprefix(PUBLIC_URL))
    text = answer.body.decode()
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in text
    shown = html.unescape(text)
    for told in ("<script>alert(1)</script> & 'Friends'", "The Hall, Berlin", "Section Floor, row A, seat 1"):
        assert told in shown
    assert "friend@example.com" not in shown
    line = html.unescape(re.search(r"<pre>(.*?)</pre>", text, re.DOTALL)[1])  # type: ignore[index]  # it is there
    token = parse_qs(urlsplit(link).query)["token"][0]
    assert f"{PUBLIC_URL}/v1/transfers/{transfer['transfer_id']}/accept" in line
    assert f'{{"claim_token":"{token}"}}' in line


async def test_a_wrong_claim_link_shows_nothing(
    autojump_clock: MockClock, stage: SaleStage, sender: Client
) -> None:
    transfer = await offer(sender, await buy_one(stage, sender))
    link = (await claim_link(stage, transfer["transfer_id"])).removeprefix(PUBLIC_URL)
    token = link.partition("token=")[2]
    for path in (
        f"{link}x",
        f"/claim?transfer={unknown_id()}&token={token}",
        f"/claim?transfer=%3Cb%3E&token={token}",
        f"/claim?token={token}",
        f"/claim?transfer={transfer['transfer_id']}",
        f"/claim?transfer={transfer['transfer_id']}&token=%3Cscript%3E%C3%BC",
        "/claim",
    ):
        answer = await stage.browser.get(path)
        assert (answer.status, answer.headers["cache-control"]) == (404, "no-store"), path
        assert b"A Night of Tests" not in answer.body
        assert b"<b>" not in answer.body
        assert b"<script" not in answer.body


async def test_the_claim_page_of_an_offer_that_has_ended(
    autojump_clock: MockClock, stage: SaleStage, sender: Client
) -> None:
    transfer = await offer(sender, await buy_one(stage, sender))
    link = (await claim_link(stage, transfer["transfer_id"])).removeprefix(PUBLIC_URL)
    await sender.delete(f"/v1/transfers/{transfer['transfer_id']}")
    answer = await stage.browser.get(link)
    assert answer.status == 410
    assert b"A Night of Tests" not in answer.body
