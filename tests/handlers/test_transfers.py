from __future__ import annotations

from collections.abc import AsyncIterator
from email import message_from_bytes
from pathlib import Path
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock

from storage.schema.ids import EventId
from storage.schema.layout import TRANSFERS, event_partition
from tests.domain.inventory_stage import EVENT_ID
from tests.handlers.sale_stage import SaleStage, open_plan, open_sale, unknown_id
from tests.handlers.ticket_box import (
    FRIEND,
    accept,
    as_user,
    buy,
    claim_token,
    offer,
    tickets_of,
    verify_at_gate,
)
from tests.support.daemon import START_MS, Answer, Client

SENDER, STRANGER, RECIPIENT = 1, 2, 3
SECOND_EVENT = EventId(UUID(int=0xEE << 96 | 7 << 76 | 2 << 62))
WEEK_SECONDS = 7 * 86_400


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[SaleStage]:
    async with open_sale(tmp_path) as stage:
        yield stage


@pytest.fixture
async def sender(stage: SaleStage) -> Client:
    return await stage.buyer(SENDER)


async def one_ticket(stage: SaleStage, sender: Client, seat: str = "Floor/A/1") -> str:
    """A ticket that the sender has bought."""
    order = await buy(stage, sender, SENDER, seat)
    return str(order["tickets"][0]["ticket_id"])


async def status_of(client: Client, transfer_id: str) -> str:
    listed = (await client.get("/v1/transfers")).json["transfers"]
    return str(next(one["status"] for one in listed if one["transfer_id"] == transfer_id))


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code


# --- offering -------------------------------------------------------------------------------------------------------


async def test_an_offer_in_its_documented_form(
    autojump_clock: MockClock, stage: SaleStage, sender: Client
) -> None:
    ticket_id = await one_ticket(stage, sender)
    answer = await sender.post(f"/v1/tickets/{ticket_id}/transfer", FRIEND)
    assert answer.status == 200
    offered = dict(answer.json)
    assert UUID(offered.pop("transfer_id")).version == 7
    created, expires = offered.pop("created_at"), offered.pop("expires_at")
    assert created[:7] == "2026-07"
    assert expires[:10] == f"2026-07-{int(created[8:10]) + 7}"
    assert offered == {"ticket_id": ticket_id, "event_id": str(EVENT_ID), "status": "PENDING", **FRIEND}


async def test_an_offer_ends_when_the_event_starts(
    autojump_clock: MockClock, stage: SaleStage, sender: Client
) -> None:
    ticket_id = await one_ticket(stage, sender)
    await stage.put(open_plan(date_ms=START_MS + 3_600_000))
    assert (await offer(sender, ticket_id))["expires_at"] == "2026-07-14T04:33:20Z"


async def test_only_the_holder_may_offer(autojump_clock: MockClock, stage: SaleStage, sender: Client) -> None:
    ticket_id = await one_ticket(stage, sender)
    stranger = await as_user(stage, STRANGER)
    for which in (ticket_id, unknown_id(), "x"):
        assert said(await stranger.post(f"/v1/tickets/{which}/transfer", FRIEND)) == (404, "TICKET_NOT_FOUND")


async def test_a_second_offer_is_refused(autojump_clock: MockClock, stage: SaleStage, sender: Client) -> None:
    ticket_id = await one_ticket(stage, sender)
    transfer = await offer(sender, ticket_id)
    again = await sender.post(f"/v1/tickets/{ticket_id}/transfer", FRIEND)
    assert said(again) == (409, "TRANSFER_PENDING")
    assert again.json["error"]["details"] == {"transfer_id": transfer["transfer_id"]}


async def test_a_void_ticket_cannot_be_offered(
    autojump_clock: MockClock, stage: SaleStage, sender: Client
) -> None:
    order = await buy(stage, sender, SENDER, "Floor/A/1")
    await sender.post(f"/v1/orders/{order['order_id']}/cancel")
    answer = await sender.post(f"/v1/tickets/{order['tickets'][0]['ticket_id']}/transfer", FRIEND)
    assert said(answer) == (400, "TICKET_NOT_TRANSFERABLE")
    assert answer.json["error"]["details"] == {"reason": "TICKET_VOID"}


async def test_an_access_token_offers_its_events_tickets_alone(
    autojump_clock: MockClock, stage: SaleStage, sender: Client
) -> None:
    ticket_id = await one_ticket(stage, sender)
    await stage.put(open_plan(event_id=SECOND_EVENT))
    elsewhere = await stage.buyer(SENDER, SECOND_EVENT)
    assert said(await elsewhere.post(f"/v1/tickets/{ticket_id}/transfer", FRIEND)) == (403, "EVENT_MISMATCH")
    transfer = await offer(sender, ticket_id)
    path = f"/v1/transfers/{transfer['transfer_id']}"
    assert said(await elsewhere.delete(path)) == (403, "EVENT_MISMATCH")
    assert (await elsewhere.get("/v1/transfers")).json["transfers"] == []
    assert len((await (await as_user(stage, SENDER)).get("/v1/transfers")).json["transfers"]) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"recipient_email": "nobody"},
        {"recipient_email": "a b@example.com"},
        {"recipient_email": "a@example..com"},
        {"recipient_email": "a@b@example.com"},
        {"recipient_email": "a,b@example.com"},
        {"recipient_email": "a@example.com\r\nBcc: b@example.com"},
        {"recipient_email": "a" * 251 + "@b.c"},
        {"recipient_email": 1},
        {"recipient_email": None},
        {"recipient_name": ""},
        {"recipient_name": "x" * 101},
        {"recipient_name": "John\nDoe"},
        {"recipient_name": "John\u0085Doe"},
        {"recipient_name": "John\u2028Doe"},
        {"recipient_name": None},
        {"more": 1},
    ],
)
async def test_a_recipient_whom_no_mail_reaches(stage: SaleStage, change: dict[str, object]) -> None:
    sender = await as_user(stage, SENDER)
    answer = await sender.post(f"/v1/tickets/{unknown_id()}/transfer", {**FRIEND, **change})
    assert said(answer) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "friend",
    [
        {"recipient_email": "jürgen@exämple.com", "recipient_name": "Jürgen Groß"},
        {"recipient_email": "a@b", "recipient_name": "x" * 100},
    ],
)
async def test_people_of_any_name_get_their_mail(
    autojump_clock: MockClock, stage: SaleStage, sender: Client, friend: dict[str, str]
) -> None:
    ticket_id = await one_ticket(stage, sender)
    answer = await sender.post(f"/v1/tickets/{ticket_id}/transfer", friend)
    assert answer.json["recipient_email"] == friend["recipient_email"]
    await trio.sleep(1)
    (path,) = (stage.daemon.data / "outbox").glob("*.eml")
    body = message_from_bytes(path.read_bytes()).get_payload(decode=True)
    assert isinstance(body, bytes)
    assert f"Hello {friend['recipient_name']}," in body.decode()


async def test_an_offer_repeated_under_its_key_is_one_offer_and_one_mail(
    autojump_clock: MockClock, stage: SaleStage, sender: Client
) -> None:
    ticket_id = await one_ticket(stage, sender)
    key = {"idempotency-key": "offer-number-one"}
    first = await sender.post(f"/v1/tickets/{ticket_id}/transfer", FRIEND, headers=key)
    again = await sender.post(f"/v1/tickets/{ticket_id}/transfer", FRIEND, headers=key)
    assert (first.status, first.body) == (again.status, again.body)
    assert again.headers["idempotency-replayed"] == "true"
    await trio.sleep(60)
    assert len(list((stage.daemon.data / "outbox").glob("*.eml"))) == 1


async def test_the_claim_token_is_kept_as_its_hash_alone(
    autojump_clock: MockClock, stage: SaleStage, sender: Client
) -> None:
    transfer = await offer(sender, await one_ticket(stage, sender))
    token = await claim_token(stage, transfer["transfer_id"])
    await trio.sleep(1)
    with stage.daemon.services.engine.snapshot() as view:
        partition = event_partition(EVENT_ID)
        lo, hi = bytes((17,)) + partition, bytes((17,)) + partition + b"\xff"
        everything = b"".join(value for _, value in view.scan(lo, hi))  # type: ignore[arg-type]  # keys, by hand
        assert TRANSFERS.get(view, partition, UUID(transfer["transfer_id"])) is not None
    assert token.encode() not in everything
    assert token not in (await sender.get("/v1/transfers")).body.decode()


# --- accepting, declining, taking back ------------------------------------------------------------------------------


async def test_a_ticket_changes_hands(autojump_clock: MockClock, stage: SaleStage, sender: Client) -> None:
    transfer = await offer(sender, await one_ticket(stage, sender))
    (before,) = await tickets_of(sender)
    answer = await accept(stage, RECIPIENT, transfer["transfer_id"])
    assert answer.status == 200
    accepted = dict(answer.json)
    new_id = accepted.pop("ticket_id")
    assert accepted == {
        "transfer_id": transfer["transfer_id"],
        "status": "ACCEPTED",
        "event_id": str(EVENT_ID),
    }
    (mine,) = await tickets_of(await as_user(stage, RECIPIENT))
    assert mine["ticket_id"] == new_id
    old, new = await verify_at_gate(stage, before["qr_code"]), await verify_at_gate(stage, mine["qr_code"])
    assert (old.code.issue, new.code.issue) == (1, 2)
    assert old.code.seat_number == new.code.seat_number
    assert await status_of(sender, transfer["transfer_id"]) == "ACCEPTED"
    kept = await sender.post(f"/v1/orders/{before['order_id']}/cancel")
    assert said(kept) == (400, "ORDER_NOT_CANCELLABLE")
    assert kept.json["error"]["details"] == {"reason": "TICKET_TRANSFERRED"}


async def test_accepting_under_a_key_is_answered_again(
    autojump_clock: MockClock, stage: SaleStage, sender: Client
) -> None:
    transfer = await offer(sender, await one_ticket(stage, sender))
    token = await claim_token(stage, transfer["transfer_id"])
    recipient, path = await as_user(stage, RECIPIENT), f"/v1/transfers/{transfer['transfer_id']}/accept"
    key = {"idempotency-key": "accept-once"}
    first = await recipient.post(path, {"claim_token": token}, headers=key)
    again = await recipient.post(path, {"claim_token": token}, headers=key)
    assert first.status == 200
    assert first.body == again.body
    assert len(await tickets_of(recipient)) == 1


@pytest.mark.parametrize("action", ["accept", "decline"])
async def test_what_does_not_open_an_offer(
    autojump_clock: MockClock, stage: SaleStage, sender: Client, action: str
) -> None:
    transfer = await offer(sender, await one_ticket(stage, sender))
    token = await claim_token(stage, transfer["transfer_id"])
    recipient = await as_user(stage, RECIPIENT)
    path = f"/v1/transfers/{transfer['transfer_id']}/{action}"
    assert said(await recipient.post(path, {"claim_token": token + "x"})) == (404, "TRANSFER_NOT_FOUND")
    for which in (unknown_id(), "x"):
        other = f"/v1/transfers/{which}/{action}"
        assert said(await recipient.post(other, {"claim_token": token})) == (404, "TRANSFER_NOT_FOUND")
    for body in (
        {},
        {"claim_token": ""},
        {"claim_token": "x" * 129},
        {"claim_token": "a b"},
        {"claim_token": 1},
    ):
        assert said(await recipient.post(path, body)) == (400, "INVALID_REQUEST")
    assert said(await sender.post(path, {"claim_token": token})) == (403, "TOKEN_KIND_NOT_ALLOWED")
    assert said(await stage.browser.post(path, {"claim_token": token})) == (401, "TOKEN_MISSING")
    assert await status_of(sender, transfer["transfer_id"]) == "PENDING"


async def test_a_declined_offer_leaves_the_ticket(
    autojump_clock: MockClock, stage: SaleStage, sender: Client
) -> None:
    transfer = await offer(sender, await one_ticket(stage, sender))
    token = await claim_token(stage, transfer["transfer_id"])
    recipient, path = await as_user(stage, RECIPIENT), f"/v1/transfers/{transfer['transfer_id']}"
    declined = await recipient.post(f"{path}/decline", {"claim_token": token})
    assert declined.status == 200
    assert declined.json == {"transfer_id": transfer["transfer_id"], "status": "DECLINED"}
    (ticket,) = await tickets_of(sender)
    assert (ticket["status"], ticket["transferable"]) == ("ACTIVE", True)
    assert "transfer_id" not in ticket
    over = await recipient.post(f"{path}/accept", {"claim_token": token})
    assert said(over) == (410, "TRANSFER_EXPIRED")
    assert over.json["error"]["details"] == {"status": "DECLINED"}


async def test_a_sender_takes_an_offer_back(
    autojump_clock: MockClock, stage: SaleStage, sender: Client
) -> None:
    transfer = await offer(sender, await one_ticket(stage, sender))
    token = await claim_token(stage, transfer["transfer_id"])
    path = f"/v1/transfers/{transfer['transfer_id']}"
    stranger = await as_user(stage, STRANGER)
    for which in (path, f"/v1/transfers/{unknown_id()}", "/v1/transfers/x"):
        assert said(await stranger.delete(which)) == (404, "TRANSFER_NOT_FOUND")
    gone = await sender.delete(path)
    assert (gone.status, gone.body) == (204, b"")
    assert said(await sender.delete(path)) == (410, "TRANSFER_EXPIRED")
    answer = await stranger.post(f"{path}/accept", {"claim_token": token})
    assert said(answer) == (410, "TRANSFER_EXPIRED")
    assert answer.json["error"]["details"] == {"status": "CANCELLED"}
    assert (await tickets_of(sender))[0]["status"] == "ACTIVE"


async def test_an_offer_runs_out(autojump_clock: MockClock, stage: SaleStage, sender: Client) -> None:
    transfer = await offer(sender, await one_ticket(stage, sender))
    token = await claim_token(stage, transfer["transfer_id"])
    await trio.sleep(WEEK_SECONDS)
    user, recipient = await as_user(stage, SENDER), await as_user(stage, RECIPIENT)
    answer = await recipient.post(f"/v1/transfers/{transfer['transfer_id']}/accept", {"claim_token": token})
    assert said(answer) == (410, "TRANSFER_EXPIRED")
    assert answer.json["error"]["details"] == {"status": "EXPIRED"}
    assert await status_of(user, transfer["transfer_id"]) == "EXPIRED"
    assert (await tickets_of(user))[0]["transferable"] is True


async def test_cancelling_the_order_ends_its_offers(
    autojump_clock: MockClock, stage: SaleStage, sender: Client
) -> None:
    transfer = await offer(sender, await one_ticket(stage, sender))
    (ticket,) = await tickets_of(sender)
    token = await claim_token(stage, transfer["transfer_id"])
    assert (await sender.post(f"/v1/orders/{ticket['order_id']}/cancel")).status == 200
    assert await status_of(sender, transfer["transfer_id"]) == "CANCELLED"
    answer = await (await as_user(stage, RECIPIENT)).post(
        f"/v1/transfers/{transfer['transfer_id']}/accept", {"claim_token": token}
    )
    assert said(answer) == (410, "TRANSFER_EXPIRED")


async def test_two_recipients_of_one_link_get_one_ticket(
    autojump_clock: MockClock, stage: SaleStage, sender: Client
) -> None:
    transfer = await offer(sender, await one_ticket(stage, sender))
    token = await claim_token(stage, transfer["transfer_id"])
    people = [await as_user(stage, user) for user in (RECIPIENT, STRANGER)]
    answers: list[int] = []

    async def claim(person: Client) -> None:
        answer = await person.post(f"/v1/transfers/{transfer['transfer_id']}/accept", {"claim_token": token})
        answers.append(answer.status)

    async with trio.open_nursery() as nursery:
        for person in people:
            nursery.start_soon(claim, person)
    assert sorted(answers) == [200, 410]
    assert sorted([len(await tickets_of(person)) for person in people]) == [0, 1]


async def test_the_list_of_ones_offers(autojump_clock: MockClock, stage: SaleStage, sender: Client) -> None:
    order = await buy(stage, sender, SENDER, "Floor/A/1", "Floor/A/2")
    first, second = [await offer(sender, ticket["ticket_id"]) for ticket in order["tickets"]]
    await sender.delete(f"/v1/transfers/{first['transfer_id']}")
    answer = await sender.get("/v1/transfers")
    assert answer.status == 200
    newest, oldest = answer.json["transfers"]
    assert newest == second
    assert oldest.pop("ended_at")
    assert oldest == {**first, "status": "CANCELLED"}
    paged = await sender.get("/v1/transfers?per_page=1&page=2")
    assert [one["transfer_id"] for one in paged.json["transfers"]] == [first["transfer_id"]]
    assert paged.json["pagination"] == {"page": 2, "per_page": 1, "total": 2}
    assert said(await sender.get("/v1/transfers?page=x")) == (400, "INVALID_REQUEST")
    assert (await (await as_user(stage, RECIPIENT)).get("/v1/transfers")).json["transfers"] == []
