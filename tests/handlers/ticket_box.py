"""Buyers with tickets, for tests of the endpoints around them: bought, offered, claimed through the API."""

from __future__ import annotations

import base64
import email
import email.policy
import io
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trio
import zxingcpp
from PIL import Image

from tests.domain.inventory_stage import user_id
from tests.handlers.sale_stage import SaleStage
from tests.support.daemon import Answer, Client
from tests.support.shopping import wait_for_order
from ticketd.tickets.code import TicketKeyId, VerifiedTicketCode, verify_ticket_code

FRIEND = {"recipient_email": "friend@example.com", "recipient_name": "John Doe"}
ADDRESS = {
    "street": "123 Main St",
    "city": "New York",
    "state": "NY",
    "postal_code": "10001",
    "country": "US",
}


async def place_order(stage: SaleStage, buyer: Client, user: int, *names: str) -> dict[str, Any]:
    """The seats called "Section/Row/Number" ordered; the answer to the order."""
    held = await stage.reserve(buyer, user, *names)
    assert held.status == 201, held.body
    card = await buyer.post("/v1/payment-methods", {"type": "CARD", "card_token": "tok_visa"})
    assert card.status == 201, card.body
    ordered = await buyer.post(
        "/v1/orders",
        {
            "reservation_id": held.json["reservation_id"],
            "payment_method_id": card.json["payment_method_id"],
            "billing_address": ADDRESS,
            "delivery_method": "MOBILE",
        },
    )
    assert ordered.status == 201, ordered.body
    return dict(ordered.json)


async def buy(stage: SaleStage, buyer: Client, user: int, *names: str) -> dict[str, Any]:
    """The seats bought; the confirmed order."""
    ordered = await place_order(stage, buyer, user, *names)
    return dict(await wait_for_order(buyer, ordered["order_id"], "CONFIRMED"))


async def tickets_of(client: Client, query: str = "") -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/tickets{query}")
    assert answer.status == 200, answer.body
    return list(answer.json["tickets"])


async def as_user(stage: SaleStage, user: int) -> Client:
    """The buyer with a user token."""
    return await stage.daemon.user(user_id(user))


async def offer(client: Client, ticket_id: str) -> dict[str, Any]:
    offered = await client.post(f"/v1/tickets/{ticket_id}/transfer", FRIEND)
    assert offered.status == 200, offered.body
    return dict(offered.json)


async def claim_link(stage: SaleStage, transfer_id: str) -> str:
    """The claim link out of the mail to the recipient, once it has arrived."""
    for _ in range(100):
        for path in (stage.daemon.data / "outbox").glob(f"*{transfer_id}.eml"):
            mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            assert mail["To"] == "John Doe <friend@example.com>"
            found = re.search(r"http\S+", mail.get_content())
            assert found is not None
            return found[0]
        await trio.sleep(0.1)
    raise AssertionError("no mail came")


async def claim_token(stage: SaleStage, transfer_id: str) -> str:
    query = parse_qs(urlsplit(await claim_link(stage, transfer_id)).query)
    assert query["transfer"] == [transfer_id]
    return query["token"][0]


async def accept(stage: SaleStage, user: int, transfer_id: str) -> Answer:
    """The transfer accepted by the holder of the mail, signed in as the user."""
    token = await claim_token(stage, transfer_id)
    recipient = await as_user(stage, user)
    return await recipient.post(f"/v1/transfers/{transfer_id}/accept", {"claim_token": token})


def read_qr(png: str) -> str:
    """What a decoder that is not ours reads in a ``qr_code``."""
    (found,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(base64.b64decode(png))).convert("L"))
    return str(found.text)


async def verify_at_gate(stage: SaleStage, png: str) -> VerifiedTicketCode:
    """What a gate makes of a picture, knowing the published keys alone."""
    answer = await stage.browser.get("/v1/ticket-keys")
    assert answer.status == 200, answer.body
    keys = {TicketKeyId(key["kid"]): base64.urlsafe_b64decode(key["x"] + "=") for key in answer.json["keys"]}
    return verify_ticket_code(read_qr(png), keys)
