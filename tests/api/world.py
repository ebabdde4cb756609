"""A daemon in which every endpoint has something to work on: events, places, holds, orders, tickets, offers, cards."""

from __future__ import annotations

import hashlib
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import trio.testing
from msgspec.structs import replace

from handlers.call import ListenerKind
from storage.engine import Key
from storage.schema.ids import EventId, UserId
from tests.handlers.sale_stage import SaleStage
from tests.handlers.ticket_box import ADDRESS, FRIEND, claim_token
from tests.handlers.till_stage import SALES, till_settings
from tests.support.daemon import Client, Daemon, open_daemon
from tests.support.events import arena_file, put_plan, room
from tests.support.shopping import enter, wait_for_order
from tests.support.tokens import mint
from ticketd.credentials.api_keys import Scope
from ticketd.credentials.keyring import TokenKind

WEBHOOK_SECRET: Final = "whsec_of_the_world"
OWNER, SHOPPER, WAITER, STRANGER, FRIEND_ID, NEWCOMER = (UserId(UUID(int=0xA000 + n)) for n in range(6))


@dataclass
class World:
    """The daemon, who is in it, and the ids of what is theirs."""

    daemon: Daemon
    event_id: EventId
    """An event of which the owner has tickets and the shopper has holds."""
    other_event_id: EventId
    """An event for which the waiter waits, and of which nothing was sold."""
    owner: Client
    """With a user token."""
    owner_access: str
    shopper: Client
    """With an access token."""
    waiter: Client
    """With a queue token."""
    stranger: Client
    """With a user token, and nothing but a card."""
    stranger_access: Client
    friend: Client
    """With a user token; who holds the claim mails."""
    operator: Client
    """With an operator key, on TCP."""
    ids: dict[str, str]

    def digest(self) -> str:
        """Of everything in the store."""
        digest = hashlib.sha256()
        with self.daemon.services.engine.snapshot() as view:
            for key, value in view.scan(Key(b"\x00"), Key(b"\xff")):
                digest.update(len(key).to_bytes(4) + key + len(value).to_bytes(4) + value)
        return digest.hexdigest()


@asynccontextmanager
async def open_world(data: Path, clock: trio.testing.MockClock) -> AsyncIterator[World]:
    """Time passes while orders are confirmed and mails sent; then it stands still, so that nothing ends by itself."""
    settings = till_settings()
    payments = replace(settings.payments, stripe_webhook_secret=WEBHOOK_SECRET)
    async with open_daemon(data, replace(settings, payments=payments)) as daemon:
        clock.autojump_threshold = 0
        world = await _furnish(daemon)
        clock.autojump_threshold = math.inf
        yield world


async def _furnish(daemon: Daemon) -> World:
    event_id = await put_plan(daemon, arena_file())
    other = arena_file(name="Another night", waiting_room=room(max_active=1))
    other_event_id = await put_plan(daemon, other)
    ids = {"deletable_event": str(await put_plan(daemon, arena_file(name="A night that nobody wants")))}
    lobby = arena_file(
        name="A night with a lobby",
        sale={"general_sale_start": "2026-12-01T10:00:00Z"},
        waiting_room=room(lobby_opens="2026-01-05T10:00:00Z"),
    )
    ids["lobby_event"] = str(await put_plan(daemon, lobby))

    shopping, _ = await enter(daemon, event_id, OWNER)
    owner = daemon.client().with_token(mint(daemon, TokenKind.USER, user=OWNER, ttl_seconds=86_400))
    cards = [(await owner.post("/v1/payment-methods", _card())).json["payment_method_id"] for _ in range(2)]
    ids["card"], ids["spare_card"] = cards
    ids["order"] = await _buy(shopping, event_id, OWNER, ids["card"], 4)
    again, _ = await enter(daemon, event_id, OWNER)
    ids["cancellable"] = await _buy(again, event_id, OWNER, ids["card"], 1)
    once_more, _ = await enter(daemon, event_id, OWNER)
    ids["refundable"] = await _buy(once_more, event_id, OWNER, ids["card"], 1)
    await _offer_tickets(daemon, owner, event_id, ids)

    shopper, _ = await enter(daemon, event_id, SHOPPER)
    ids["shoppers_card"] = (await shopper.post("/v1/payment-methods", _card())).json["payment_method_id"]
    for name in ("hold", "payable"):
        ids[name] = await _hold(shopper, event_id, SHOPPER, 1)
    map_ = (await daemon.client().get(f"/v1/events/{event_id}/seats")).json
    free = [s["seat_id"] for s in map_["sections"][0]["rows"][2]["seats"] if s["status"] == "AVAILABLE"]
    ids["free_seat"], ids["blockable_seat"], ids["blocked_seat"] = free[-3:]
    operator = Client(
        daemon.server, daemon.keys[Scope.OPERATOR], device=None, listener=ListenerKind.OPERATOR_TCP
    )
    blocked = await operator.post(
        f"/v1/operator/events/{event_id}/block", {"seat_ids": [ids["blocked_seat"]]}
    )
    assert blocked.status == 200, blocked.body
    for name in ("till_sale", "refundable_till_sale"):
        sold = await daemon.client(Scope.BOX_OFFICE).post(SALES, till_body(event_id, name))
        assert sold.status == 201, sold.body
        ids[name] = sold.json["order_id"]
    ids["section"] = map_["sections"][0]["section_id"]
    made = await operator.post("/v1/operator/keys", {"scope": "gate"})
    ids["api_key"] = made.json["key_id"]
    ids["challenge"] = await _challenge(daemon, event_id)

    stranger = daemon.client().with_token(mint(daemon, TokenKind.USER, user=STRANGER, ttl_seconds=86_400))
    ids["strangers_card"] = (await stranger.post("/v1/payment-methods", _card())).json["payment_method_id"]
    stranger_access, _ = await enter(daemon, event_id, STRANGER)
    await enter(daemon, other_event_id, NEWCOMER)
    return World(
        daemon=daemon,
        event_id=event_id,
        other_event_id=other_event_id,
        owner=owner,
        owner_access=str(shopping.token),
        shopper=shopper,
        waiter=await _wait_in_line(daemon, other_event_id),
        stranger=stranger,
        stranger_access=stranger_access,
        friend=daemon.client().with_token(mint(daemon, TokenKind.USER, user=FRIEND_ID, ttl_seconds=86_400)),
        operator=operator,
        ids=ids,
    )


def till_body(event_id: EventId, receipt: str) -> dict[str, Any]:
    """A sale of one seat at a till."""
    payment = {"method": "CASH", "receipt": receipt}
    return {"event_id": str(event_id), "quantity": 1, "payment": payment}


def _card(token: str = "tok_visa") -> dict[str, str]:
    return {"type": "CARD", "card_token": token}


def order_body(hold: str, card: str) -> dict[str, Any]:
    """What pays a hold."""
    return {
        "reservation_id": hold,
        "payment_method_id": card,
        "billing_address": ADDRESS,
        "delivery_method": "MOBILE",
    }


async def _hold(buyer: Client, event_id: EventId, user: UUID, quantity: int) -> str:
    wish = {"event_id": str(event_id), "user_id": str(user), "quantity": quantity}
    held = await buyer.post("/v1/seats/reserve", wish)
    assert held.status == 201, held.body
    return str(held.json["reservation_id"])


async def _buy(buyer: Client, event_id: EventId, user: UUID, card: str, quantity: int) -> str:
    hold = await _hold(buyer, event_id, user, quantity)
    placed = await buyer.post("/v1/orders", order_body(hold, card))
    assert placed.status == 201, placed.body
    order_id = str(placed.json["order_id"])
    await wait_for_order(buyer, order_id, "CONFIRMED")
    return order_id


async def _offer_tickets(daemon: Daemon, owner: Client, event_id: EventId, ids: dict[str, str]) -> None:
    tickets = (await owner.get(f"/v1/tickets?order_id={ids['order']}")).json["tickets"]
    ids["ticket"] = tickets[3]["ticket_id"]
    ids["ticket_link"] = urlsplit(tickets[3]["download_url"]).query
    stage = SaleStage(daemon)
    for name, ticket in zip(("accepted", "declined", "cancelled"), tickets, strict=False):
        offered = await owner.post(f"/v1/tickets/{ticket['ticket_id']}/transfer", FRIEND)
        assert offered.status == 200, offered.body
        ids[name] = offered.json["transfer_id"]
        ids[f"{name}_token"] = await claim_token(stage, ids[name])


async def _challenge(daemon: Daemon, event_id: EventId) -> str:
    """The name of a payment that waits for its buyer."""
    buyer, user = await enter(daemon, event_id)
    card = await buyer.post("/v1/payment-methods", _card("tok_threeDSecure2Required"))
    hold = await _hold(buyer, event_id, user, 1)
    placed = await buyer.post("/v1/orders", order_body(hold, card.json["payment_method_id"]))
    assert placed.status == 201, placed.body
    url: str = placed.json["next_action"]["redirect_url"]
    assert not parse_qs(urlsplit(url).query)
    return url.rpartition("/")[2]


async def _wait_in_line(daemon: Daemon, event_id: EventId) -> Client:
    body = {"event_id": str(event_id), "user_id": str(WAITER), "device_fingerprint": "device-of-waiter"}
    joined = await daemon.client().post("/v1/queue/join", body)
    assert joined.json["status"] == "QUEUED", joined.body
    return daemon.client().with_token(joined.json["queue_token"], "device-of-waiter")
