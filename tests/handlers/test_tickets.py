from __future__ import annotations

import base64
import gc
import io
from collections.abc import AsyncIterator
from math import inf
from pathlib import Path
from uuid import UUID

import pypdf
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from handlers.ticket_art import MAX_WAITING_PAGES, link_of
from storage.engine import Command
from storage.schema.ids import EventId
from storage.schema.layout import SIGNING_KEYS, SYSTEM, TICKETS, event_partition
from storage.schema.states import TicketState
from tests.domain.inventory_stage import EVENT_ID
from tests.handlers.sale_stage import SaleStage, open_plan, open_sale, unknown_id
from tests.handlers.ticket_box import (
    accept,
    as_user,
    buy,
    offer,
    tickets_of,
    verify_at_gate,
)
from tests.support.daemon import PUBLIC_URL, Client
from ticketd.credentials.api_keys import Scope
from ticketd.tickets.barcode import is_valid_barcode

BUYER, OTHER, RECIPIENT = 1, 2, 3
SECOND_EVENT = EventId(UUID(int=0xEE << 96 | 7 << 76 | 2 << 62))


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[SaleStage]:
    async with open_sale(tmp_path) as stage:
        yield stage


@pytest.fixture
async def buyer(stage: SaleStage) -> Client:
    return await stage.buyer(BUYER)


def pdf_path(url: str) -> str:
    assert url.startswith(f"{PUBLIC_URL}/tickets/")
    return url.removeprefix(PUBLIC_URL)


def let_threads_work(clock: MockClock) -> None:
    """A thread takes real time, in which a clock that jumps would run far ahead."""
    clock.autojump_threshold = inf
    # What earlier tests left to the collector may belong to this thread: it is not to end in another.
    gc.collect()


async def plant_state(stage: SaleStage, ticket_id: str, state: TicketState) -> None:
    """Writes a ticket's state as only a gate could leave it."""
    partition, key = event_partition(EVENT_ID), UUID(ticket_id)
    with stage.daemon.services.engine.snapshot(partition) as view:
        ticket = TICKETS.get(view, partition, key)
    assert ticket is not None
    changed = replace(ticket, state=state)
    command = Command("plant", (partition,), lambda tx: TICKETS.put(tx, changed, partition, key))
    await stage.daemon.services.engine.submit(command)


# --- one's tickets --------------------------------------------------------------------------------------------------


async def test_a_ticket_in_its_documented_form(
    autojump_clock: MockClock, stage: SaleStage, buyer: Client
) -> None:
    order = await buy(stage, buyer, BUYER, "Floor/A/2", "Floor/A/1")
    answer = await buyer.get(f"/v1/tickets?order_id={order['order_id']}")
    assert answer.status == 200
    assert answer.json["pagination"] == {"page": 1, "per_page": 20, "total": 2}
    ticket = dict(answer.json["tickets"][0])
    gate = await verify_at_gate(stage, ticket.pop("qr_code"))
    assert is_valid_barcode(ticket.pop("barcode"))
    assert ticket.pop("download_url").startswith(f"{PUBLIC_URL}/tickets/{ticket['ticket_id']}.pdf?link=")
    assert ticket == {
        "ticket_id": order["tickets"][0]["ticket_id"],
        "order_id": order["order_id"],
        "event_id": str(EVENT_ID),
        "event_name": "A Night of Tests",
        "event_date": "2026-10-12T03:33:20Z",
        "venue": "The Hall",
        "section": "Floor",
        "row": "A",
        "seat": "2",
        "status": "ACTIVE",
        "transferable": True,
    }
    assert (gate.code.ticket_id, gate.code.issue) == (UUID(ticket["ticket_id"]), 1)
    assert (gate.code.event_id, gate.code.seat_number) == (EVENT_ID, stage.numbers()["Floor/A/2"])
    assert answer.json["tickets"][1]["seat"] == "1"
    assert answer.json["tickets"][0]["qr_code"] == order["tickets"][0]["qr_code"]
    assert answer.json["tickets"][0]["download_url"] == order["tickets"][0]["download_url"]


async def test_all_tickets_newest_first_and_in_pages(
    autojump_clock: MockClock, stage: SaleStage, buyer: Client
) -> None:
    await buy(stage, buyer, BUYER, "Floor/A/1", "Floor/A/2")
    await buy(stage, await stage.buyer(BUYER), BUYER, "Balcony/A/1")
    user = await as_user(stage, BUYER)
    everything = await tickets_of(user)
    assert [ticket["section"] for ticket in everything] == ["Balcony", "Floor", "Floor"]
    first = await user.get("/v1/tickets?per_page=2")
    second = await user.get("/v1/tickets?per_page=2&page=2")
    assert first.json["tickets"] + second.json["tickets"] == everything
    assert second.json["pagination"] == {"page": 2, "per_page": 2, "total": 3}
    assert await tickets_of(user, "?page=3&per_page=2") == []
    assert await tickets_of(await as_user(stage, OTHER)) == []


async def test_an_access_token_sees_its_events_tickets(
    autojump_clock: MockClock, stage: SaleStage, buyer: Client
) -> None:
    await stage.put(open_plan(event_id=SECOND_EVENT))
    order = await buy(stage, buyer, BUYER, "Floor/A/1")
    elsewhere = await stage.buyer(BUYER, SECOND_EVENT)
    assert await tickets_of(elsewhere) == []
    assert len(await tickets_of(buyer)) == 1
    assert len(await tickets_of(await as_user(stage, BUYER))) == 1
    answer = await elsewhere.get(f"/v1/tickets?order_id={order['order_id']}")
    assert (answer.status, answer.code) == (403, "EVENT_MISMATCH")


async def test_an_order_that_is_not_ones_own_has_no_tickets(
    autojump_clock: MockClock, stage: SaleStage, buyer: Client
) -> None:
    order = await buy(stage, buyer, BUYER, "Floor/A/1")
    other = await as_user(stage, OTHER)
    for order_id in (order["order_id"], unknown_id()):
        answer = await other.get(f"/v1/tickets?order_id={order_id}")
        assert (answer.status, answer.code) == (404, "ORDER_NOT_FOUND")


async def test_an_unpaid_order_has_no_tickets_yet(
    autojump_clock: MockClock, stage: SaleStage, buyer: Client
) -> None:
    held = await stage.reserve(buyer, BUYER, "Floor/A/1")
    card = await buyer.post(
        "/v1/payment-methods", {"type": "CARD", "card_token": "tok_threeDSecure2Required"}
    )
    ordered = await buyer.post(
        "/v1/orders",
        {
            "reservation_id": held.json["reservation_id"],
            "payment_method_id": card.json["payment_method_id"],
            "billing_address": {"street": "S", "city": "C", "country": "US"},
        },
    )
    assert ordered.json["payment_status"] == "REQUIRES_ACTION"
    assert await tickets_of(buyer, f"?order_id={ordered.json['order_id']}") == []


@pytest.mark.parametrize(
    "query", ["order_id=", "order_id=x", "page=0", "per_page=0", "per_page=101", "page=x", "page=1&page=2"]
)
async def test_a_query_that_cannot_be_read(stage: SaleStage, query: str) -> None:
    answer = await (await as_user(stage, BUYER)).get(f"/v1/tickets?{query}")
    assert (answer.status, answer.code) == (400, "INVALID_REQUEST")


async def test_tickets_need_a_buyers_token(stage: SaleStage) -> None:
    answer = await stage.browser.get("/v1/tickets")
    assert (answer.status, answer.code) == (401, "TOKEN_MISSING")


async def test_a_cancelled_orders_ticket_shows_no_code(
    autojump_clock: MockClock, stage: SaleStage, buyer: Client
) -> None:
    order = await buy(stage, buyer, BUYER, "Floor/A/1")
    (before,) = await tickets_of(buyer)
    assert (await buyer.post(f"/v1/orders/{order['order_id']}/cancel")).status == 200
    (ticket,) = await tickets_of(buyer)
    assert (ticket["status"], ticket["transferable"]) == ("VOID", False)
    assert (ticket["qr_code"], ticket["download_url"]) == ("", "")
    dead = await stage.browser.get(pdf_path(before["download_url"]))
    assert (dead.status, dead.code) == (404, "TICKET_NOT_FOUND")


async def test_a_used_ticket_keeps_its_code_and_is_nobody_elses(
    autojump_clock: MockClock, stage: SaleStage, buyer: Client
) -> None:
    await buy(stage, buyer, BUYER, "Floor/A/1")
    (before,) = await tickets_of(buyer)
    await plant_state(stage, before["ticket_id"], TicketState.USED)
    (ticket,) = await tickets_of(buyer)
    assert (ticket["status"], ticket["transferable"]) == ("USED", False)
    assert ticket["qr_code"] == before["qr_code"]


async def test_a_seat_that_is_handed_on_has_one_code_that_shows(
    autojump_clock: MockClock, stage: SaleStage, buyer: Client
) -> None:
    order = await buy(stage, buyer, BUYER, "Floor/A/1")
    (old,) = await tickets_of(buyer)
    transfer = await offer(buyer, old["ticket_id"])
    (pending,) = await tickets_of(buyer)
    assert (pending["status"], pending["transferable"]) == ("TRANSFER_PENDING", False)
    assert (pending["qr_code"], pending["transfer_id"]) == (old["qr_code"], transfer["transfer_id"])
    accepted = await accept(stage, RECIPIENT, transfer["transfer_id"])
    (gone,) = await tickets_of(buyer, f"?order_id={order['order_id']}")
    assert (gone["status"], gone["qr_code"], gone["download_url"]) == ("TRANSFERRED", "", "")
    (new,) = await tickets_of(await as_user(stage, RECIPIENT))
    assert new["ticket_id"] == accepted.json["ticket_id"]
    assert (new["status"], new["transferable"], new["seat"]) == ("ACTIVE", True, "1")
    gate = await verify_at_gate(stage, new["qr_code"])
    assert (str(gate.code.ticket_id), gate.code.issue) == (new["ticket_id"], 2)
    assert new["barcode"] != old["barcode"]
    hidden = await (await as_user(stage, RECIPIENT)).get(f"/v1/tickets?order_id={order['order_id']}")
    assert hidden.code == "ORDER_NOT_FOUND"


# --- keys for gates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", Scope)
async def test_any_key_may_read_the_public_keys(stage: SaleStage, scope: Scope) -> None:
    answer = await stage.daemon.client(scope).get("/v1/ticket-keys")
    assert answer.status == 200
    (key,) = answer.json["keys"]
    assert key.keys() == {"kid", "x", "kty", "crv", "use", "alg"}
    public = stage.daemon.services.keys.ticket_key.public
    assert base64.urlsafe_b64decode(key["x"] + "=") == public
    again = await stage.browser.get("/v1/ticket-keys", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


async def test_no_private_key_is_in_any_answer(
    autojump_clock: MockClock, stage: SaleStage, buyer: Client
) -> None:
    with stage.daemon.services.engine.snapshot(SYSTEM) as view:
        secrets = [record.secret for _, record in SIGNING_KEYS.scan(view, SYSTEM)]
    await buy(stage, buyer, BUYER, "Floor/A/1")
    said = (await buyer.get("/v1/tickets")).body + (await buyer.get("/v1/ticket-keys")).body
    for secret in secrets:
        assert base64.urlsafe_b64encode(secret).rstrip(b"=") not in said
        assert secret.hex().encode() not in said


# --- the PDF behind its link ----------------------------------------------------------------------------------------


async def test_the_link_opens_the_pdf_without_any_key(
    autojump_clock: MockClock, stage: SaleStage, buyer: Client
) -> None:
    await buy(stage, buyer, BUYER, "Floor/A/1")
    (ticket,) = await tickets_of(buyer)
    let_threads_work(autojump_clock)
    stranger = Client(stage.daemon.server, None, device=None)
    answer = await stranger.get(pdf_path(ticket["download_url"]))
    assert (answer.status, answer.headers["content-disposition"]) == (
        200,
        f'inline; filename="ticket-{ticket["ticket_id"]}.pdf"',
    )
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    text = pypdf.PdfReader(io.BytesIO(answer.body)).pages[0].extract_text()
    assert "A Night of Tests" in text
    assert ticket["ticket_id"] in text
    assert (await stranger.get(pdf_path(ticket["download_url"]))).body == answer.body


async def test_a_wrong_link_opens_nothing(autojump_clock: MockClock, stage: SaleStage, buyer: Client) -> None:
    await buy(stage, buyer, BUYER, "Floor/A/1", "Floor/A/2")
    one, two = await tickets_of(buyer)
    link = one["download_url"].partition("link=")[2]
    raw = base64.urlsafe_b64decode(link)
    flipped = base64.urlsafe_b64encode(raw[:-1] + bytes([raw[-1] ^ 1])).decode()
    elsewhere = base64.urlsafe_b64encode(bytes(16) + raw[16:]).decode()
    wrong = [
        f"/tickets/{two['ticket_id']}.pdf?link={link}",
        f"/tickets/{unknown_id()}.pdf?link={link}",
        f"/tickets/x.pdf?link={link}",
        *(
            f"/tickets/{one['ticket_id']}.pdf?link={bad}"
            for bad in ("", "x", "%C3%BC", "%F0%9F%98%80", link[:-4], link + "AAAA", flipped, elsewhere)
        ),
        f"/tickets/{one['ticket_id']}.pdf",
    ]
    for path in wrong:
        answer = await stage.browser.get(path)
        assert (answer.status, answer.code) == (404, "TICKET_NOT_FOUND"), path


async def test_a_link_dies_with_its_issue(autojump_clock: MockClock, stage: SaleStage, buyer: Client) -> None:
    await buy(stage, buyer, BUYER, "Floor/A/1")
    (old,) = await tickets_of(buyer)
    transfer = await offer(buyer, old["ticket_id"])
    await accept(stage, RECIPIENT, transfer["transfer_id"])
    answer = await stage.browser.get(pdf_path(old["download_url"]))
    assert (answer.status, answer.code) == (404, "TICKET_NOT_FOUND")
    link = old["download_url"].partition("link=")[2]
    (new,) = await tickets_of(await as_user(stage, RECIPIENT))
    answer = await stage.browser.get(f"/tickets/{new['ticket_id']}.pdf?link={link}")
    assert answer.code == "TICKET_NOT_FOUND"


async def test_a_link_is_for_one_issue_and_needs_a_secret(
    autojump_clock: MockClock, stage: SaleStage, buyer: Client
) -> None:
    await buy(stage, buyer, BUYER, "Floor/A/1")
    partition = event_partition(EVENT_ID)
    with stage.daemon.services.engine.snapshot(partition) as view:
        ((_, ticket),) = TICKETS.scan(view, partition)
    links = {link_of(secret, replace(ticket, issue=issue)) for secret in (b"a", b"b") for issue in (1, 2)}
    assert len(links) == 4
    with pytest.raises(LookupError, match="no key"):
        link_of(b"", ticket)


async def test_only_so_many_wait_for_their_page(
    autojump_clock: MockClock, stage: SaleStage, buyer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await buy(stage, buyer, BUYER, "Floor/A/1")
    (ticket,) = await tickets_of(buyer)
    turn = trio.CapacityLimiter(1)
    monkeypatch.setattr("handlers.ticket_art._page_turn", turn)
    answers: list[int] = []

    async def ask() -> None:
        answers.append((await stage.browser.get(pdf_path(ticket["download_url"]))).status)

    turn.acquire_on_behalf_of_nowait("the page that is being made")
    async with trio.open_nursery() as nursery:
        for _ in range(MAX_WAITING_PAGES):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        assert answers == []
        with trio.fail_after(1):
            late = await stage.browser.get(pdf_path(ticket["download_url"]))
        assert (late.status, late.code) == (503, "OVERLOADED")
        let_threads_work(autojump_clock)
        turn.release_on_behalf_of("the page that is being made")
    assert answers == [200] * MAX_WAITING_PAGES
