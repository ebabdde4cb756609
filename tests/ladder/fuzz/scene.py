"""What the fuzz begins from: a daemon with a sale in it, tokens of every kind, and requests that are right.

Every request here is answered below 400 as it stands; what is made of it is the parts' business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID, uuid4

import msgspec
import trio

from tests.front.raw_http import RawClient
from tests.front.raw_websocket import upgrade
from tests.handlers.ticket_box import ADDRESS
from tests.ladder.caller import Caller
from tests.ladder.house import House
from ticketd.credentials.keyring import TokenKind
from ticketd.places import SOCKET_FILE


class Exchange(msgspec.Struct, frozen=True):
    """A request that is right, as bytes, and whether it goes to the operator's door."""

    name: str
    request: bytes
    operators: bool = False


@dataclass
class Scene:
    """The daemon and what there is in it."""

    house: House
    user_id: str
    device: str
    tokens: dict[TokenKind, str] = field(default_factory=dict)
    exchanges: list[Exchange] = field(default_factory=list)

    async def connect(self, *, operators: bool = False) -> trio.SocketStream:
        """A new connection to one of the doors."""
        if operators:
            return await trio.open_unix_socket(str(self.house.data / SOCKET_FILE))
        return (await RawClient.connect(self.house.address)).stream


async def set_scene(house: House) -> Scene:
    """Makes a buyer who has a place, a card, a hold and an order, and asks for all there is to ask."""
    scene = Scene(house, str(UUID(int=0xE0000)), "device-fuzz")
    caller = Caller(house, scene.device)
    try:
        await _make_tokens(scene, caller)
        await _add_buyers_exchanges(scene, caller)
    finally:
        await caller.close()
    _add_operators_exchanges(scene)
    return scene


async def _asked(caller: Caller, method: str, target: str, body: object = None) -> dict[str, str]:
    status, answer = await caller.json(method, target, body)
    assert status < 400, answer
    found: dict[str, str] = answer
    return found


async def _make_tokens(scene: Scene, caller: Caller) -> None:
    place = _place(scene, scene.user_id)
    scene.tokens[TokenKind.USER] = (await _asked(caller, "POST", "/v1/sessions", {"user_id": scene.user_id}))[
        "token"
    ]
    scene.tokens[TokenKind.QUEUE] = (await _asked(caller, "POST", "/v1/queue/join", place))["queue_token"]
    caller.token = scene.tokens[TokenKind.QUEUE]
    scene.tokens[TokenKind.ACCESS] = (await _asked(caller, "GET", "/v1/queue/status"))["access_token"]


def _place(scene: Scene, user_id: str) -> dict[str, str]:
    return {"event_id": scene.house.event_id, "user_id": user_id, "device_fingerprint": scene.device}


async def _add_buyers_exchanges(scene: Scene, caller: Caller) -> None:
    event = f"/v1/events/{scene.house.event_id}"
    caller.token = scene.tokens[TokenKind.ACCESS]
    card = await _asked(caller, "POST", "/v1/payment-methods", {"type": "CARD", "card_token": "tok_visa"})
    wish = {"event_id": scene.house.event_id, "user_id": scene.user_id, "quantity": 2}
    hold = await _asked(caller, "POST", "/v1/seats/reserve", wish)
    order = {
        "reservation_id": hold["reservation_id"],
        "payment_method_id": card["payment_method_id"],
        "billing_address": ADDRESS,
        "delivery_method": "MOBILE",
    }

    def add(kind: TokenKind | None, method: str, target: str, body: object = None) -> None:
        caller.token = "" if kind is None else scene.tokens[kind]
        data = b"" if body is None else msgspec.json.encode(body)
        more = (f"Idempotency-Key: {uuid4()}",) if method in {"POST", "DELETE"} else ()
        request = caller.request(method, target, data, *more)
        scene.exchanges.append(Exchange(f"{method} {target}", request))

    add(None, "GET", "/healthz")
    add(None, "GET", "/v1/openapi.json")
    add(None, "GET", "/v1/events/search?query=lantern&page=1&per_page=5&date_from=2026-01-01")
    add(None, "GET", event)
    add(None, "GET", f"{event}/seats?since=1")
    add(None, "POST", "/v1/sessions", {"user_id": scene.user_id, "ttl_seconds": 600})
    add(None, "POST", "/v1/queue/resume", _place(scene, scene.user_id))
    add(TokenKind.QUEUE, "GET", "/v1/queue/status")
    add(TokenKind.USER, "GET", "/v1/orders?page=1&per_page=3")
    add(TokenKind.USER, "GET", "/v1/payment-methods")
    add(TokenKind.USER, "GET", "/v1/tickets")
    add(TokenKind.USER, "POST", "/v1/payment-methods", {"type": "CARD", "card_token": "tok_visa"})
    add(TokenKind.ACCESS, "GET", f"/v1/reservations/{hold['reservation_id']}")
    add(TokenKind.ACCESS, "POST", "/v1/seats/reserve", wish)
    add(TokenKind.ACCESS, "POST", "/v1/orders", order)
    socket = upgrade(f"/v1/realtime?token={scene.tokens[TokenKind.USER]}")
    scene.exchanges.append(Exchange("GET /v1/realtime", socket))


def _add_operators_exchanges(scene: Scene) -> None:
    caller = Caller(scene.house)
    event = scene.house.event_id
    for method, target, body in (
        ("GET", "/metrics", None),
        ("GET", "/v1/operator/events", None),
        ("GET", "/v1/operator/stats", None),
        ("GET", "/v1/operator/orders?page=1", None),
        ("GET", "/v1/operator/audit", None),
        ("GET", "/v1/operator/keys", None),
        ("POST", f"/v1/operator/rooms/{event}", {"max_active": 500}),
        ("GET", f"/v1/operator/events/{event}", None),
    ):
        data = b"" if body is None else msgspec.json.encode(body)
        exchange = Exchange(f"{method} {target}", caller.request(method, target, data), operators=True)
        scene.exchanges.append(exchange)
