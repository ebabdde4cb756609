"""A mixed load, the same in every round: buyers, people who look, listeners, and clients that behave badly.

Buyers are a fixed crowd that comes again and again, so that nothing that the daemon keeps for each of them is new after
the first rounds. All that is random follows from the round's own generator.
"""

from __future__ import annotations

import json
import random
import socket
from collections import Counter
from contextlib import suppress
from typing import Final
from uuid import UUID

import msgspec
import trio

from tests.front.raw_http import RawClient
from tests.front.raw_websocket import CLOSE, TEXT, RawSocket, frame_header, upgrade
from tests.handlers.ticket_box import ADDRESS
from tests.ladder.caller import NO_ANSWER, Caller, vanish
from tests.ladder.house import House

BUYERS: Final = 4
"""Who shop at the same time, each in the part of one of ``CROWD`` after another."""
CROWD: Final = 40
LISTENERS: Final = 4
DEAF: Final = 2
BAD: Final = 2
FEWEST_VISITS: Final = 2
LONGEST_ROUND_SECONDS: Final = 60.0
"""So long is waited for the last of them, beyond the round's own time."""
_TURNED_AWAY: Final = frozenset({402, 403, 404, 409, 410, 422})
"""What a buyer may hear when another one, or the buyer's own visit in the round before, was first."""


class Round(msgspec.Struct):
    """What a round came to."""

    latencies_ms: list[float] = []
    answers: Counter[int] = msgspec.field(default_factory=Counter)
    visits: int = 0
    tickets: int = 0
    unlike: list[str] = []
    """Answers that should not be."""


async def play_round(house: House, chance: random.Random, seconds: float) -> Round:
    """Plays the whole mix for so long, and on a slow machine longer, until there were some visits; at the end every
    client goes away in the middle of what it does."""
    told = Round()
    enough = trio.Event()
    async with trio.open_nursery() as nursery:
        for number in range(BUYERS):
            nursery.start_soon(_shop, house, told, random.Random(chance.random()), number, enough)
        nursery.start_soon(_look, house, told)
        for _ in range(LISTENERS):
            nursery.start_soon(_listen, house, random.Random(chance.random()))
        for _ in range(DEAF):
            nursery.start_soon(_be_deaf, house)
        for _ in range(BAD):
            nursery.start_soon(_behave_badly, house, random.Random(chance.random()))
        await trio.sleep(seconds)
        with trio.move_on_after(LONGEST_ROUND_SECONDS):
            await enough.wait()
        nursery.cancel_scope.cancel()
    return told


class _Visit:
    """One buyer's visit; ends early where the buyer is turned away."""

    def __init__(self, house: House, told: Round, chance: random.Random, number: int) -> None:
        self._house = house
        self._told = told
        self._chance = chance
        self.user_id = str(UUID(int=0xB0000 + number))
        self.caller = Caller(house, f"device-{number}")

    async def ask(self, method: str, target: str, body: object = None, *headers: str) -> dict[str, object]:
        """Raises _TurnedAway for a refusal that may be, and notes one that may not."""
        began = trio.current_time()
        try:
            answer = await self.caller.ask(method, target, body, *headers)
        except NO_ANSWER as end:
            self._told.unlike.append(f"{method} {target}: no answer: {end!r}"[:300])
            raise _TurnedAway from None
        self._told.latencies_ms.append((trio.current_time() - began) * 1000)
        self._told.answers[answer.status] += 1
        if answer.status >= 400:
            if answer.status not in _TURNED_AWAY:
                self._told.unlike.append(f"{method} {target}: {answer.status} {answer.body[:300]!r}")
            raise _TurnedAway
        if not answer.headers.get("content-type", "").startswith("application/json"):
            return {}
        found: dict[str, object] = json.loads(answer.body)
        return found

    async def play(self) -> None:
        place = {
            "event_id": self._house.event_id,
            "user_id": self.user_id,
            "device_fingerprint": self.caller.device,
        }
        try:
            joined = await self.ask("POST", "/v1/queue/join", place)
        except _TurnedAway:
            joined = await self.ask("POST", "/v1/queue/resume", place)
        self.caller.token = str(joined["queue_token"])
        ready = await self.ask("GET", "/v1/queue/status")
        while ready["status"] != "READY":
            ready = await self.ask("GET", "/v1/queue/status")
        queue_token, self.caller.token = self.caller.token, str(ready["access_token"])
        wish = {
            "event_id": self._house.event_id,
            "user_id": self.user_id,
            "quantity": self._chance.randint(1, 2),
        }
        held = await self.ask("POST", "/v1/seats/reserve", wish)
        match self._chance.randrange(4):
            case 0:
                await self.ask("DELETE", f"/v1/reservations/{held['reservation_id']}")
            case 1:
                pass  # the hold runs out
            case _:
                await self._buy(str(held["reservation_id"]))
                return
        self.caller.token = queue_token
        await self.ask("DELETE", "/v1/queue/leave")

    async def _buy(self, hold: str) -> None:
        """Buys, looks at the tickets, and has it all refunded, so that the next ones find seats."""
        card = await self.ask("POST", "/v1/payment-methods", {"type": "CARD", "card_token": "tok_visa"})
        wish = {
            "reservation_id": hold,
            "payment_method_id": card["payment_method_id"],
            "billing_address": ADDRESS,
            "delivery_method": "MOBILE",
        }
        key = f"Idempotency-Key: {self._chance.getrandbits(64):016x}"
        placed = await self.ask("POST", "/v1/orders", wish, key)
        assert (await self.ask("POST", "/v1/orders", wish, key)) == placed
        order_id = placed["order_id"]
        order = placed
        while order["status"] == "PENDING":
            order = await self.ask("GET", f"/v1/orders/{order_id}")
        tickets = await self.ask("GET", f"/v1/tickets?order_id={order_id}")
        assert isinstance(tickets["tickets"], list)
        self._told.tickets += len(tickets["tickets"])
        await self.ask("DELETE", f"/v1/payment-methods/{card['payment_method_id']}")
        await self.ask("POST", f"/v1/orders/{order_id}/cancel")


class _TurnedAway(Exception):
    """A visit ends before its time."""


async def _shop(house: House, told: Round, chance: random.Random, number: int, enough: trio.Event) -> None:
    """One visit after another, each of one of the crowd that no other task plays. Tells when there were ``enough``."""
    while True:
        visit = _Visit(house, told, chance, number + BUYERS * chance.randrange(CROWD // BUYERS))
        try:
            await visit.play()
            told.visits += 1
            if told.visits >= FEWEST_VISITS:
                enough.set()
            await visit.caller.close()
        except _TurnedAway:
            await visit.caller.close()
        finally:
            visit.caller.vanish()


async def _look(house: House, told: Round) -> None:
    """Somebody who reads all there is, and reads it again if it has changed."""
    visit = _Visit(house, told, random.Random(0), CROWD)
    etag = 'If-None-Match: "none"'
    event = f"/v1/events/{house.event_id}"
    try:
        while True:
            for target in ("/v1/events/search?query=lantern", event, "/healthz", f"{event}/none"):
                with suppress(_TurnedAway):
                    await visit.ask("GET", target)
            answer = await visit.caller.ask("GET", f"{event}/seats", None, etag, "Accept-Encoding: gzip")
            etag = f"If-None-Match: {answer.headers['etag']}"
            told.answers[answer.status] += 1
    finally:
        visit.caller.vanish()


async def _token(house: House) -> str:
    caller = Caller(house)
    try:
        status, made = await caller.json("POST", "/v1/sessions", {"user_id": str(UUID(int=0xC0000))})
        assert status == 201, made
        return str(made["token"])
    finally:
        caller.vanish()


async def _open_socket(house: House, *, small: bool = False) -> RawSocket:
    token = await _token(house)
    client = await _connect_small(house) if small else await RawClient.connect(house.address)
    opened = RawSocket(client.stream)
    try:
        await opened.ask(upgrade(f"/v1/realtime?token={token}"))
        subscribe = {"type": "subscribe", "event_id": house.event_id}
        await opened.say(TEXT, json.dumps(subscribe).encode())
    except BaseException:
        vanish(opened)
        raise
    return opened


async def _connect_small(house: House) -> RawClient:
    """A connection whose own end takes next to nothing."""
    address = house.address
    assert address.host is not None
    assert address.port is not None
    small = trio.socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    try:
        await small.connect((address.host, address.port))
    except BaseException:
        small.close()
        raise
    return RawClient(trio.SocketStream(small))


async def _listen(house: House, chance: random.Random) -> None:
    """Hears some messages, and then says goodbye or is gone."""
    while True:
        opened = await _open_socket(house)
        try:
            for _ in range(chance.randint(1, 20)):
                await opened.say(TEXT, b'{"type":"ping"}')
                await opened.hear()
            if chance.random() < 0.5:
                await opened.say(CLOSE, b"\x03\xe8")
                await opened.read_rest()
        finally:
            vanish(opened)


async def _be_deaf(house: House) -> None:
    """Listens to an event, and reads none of what it is told."""
    opened = await _open_socket(house, small=True)
    try:
        await trio.sleep_forever()
    finally:
        vanish(opened)


async def _behave_badly(house: House, chance: random.Random) -> None:
    """Begins what it does not end, in one way after another."""
    caller = Caller(house, "device-bad")
    body = json.dumps({"user_id": str(UUID(int=0xD0000))}).encode()
    whole = caller.request("POST", "/v1/sessions", body)
    while True:
        client = await _connect_small(house)
        try:
            await _misbehave(house, client, caller, whole, chance)
        except NO_ANSWER:
            pass  # it was shown the door
        finally:
            vanish(client)


async def _misbehave(
    house: House, client: RawClient, caller: Caller, whole: bytes, chance: random.Random
) -> None:
    match chance.randrange(7):
        case 0:
            await client.send(whole[: chance.randrange(1, len(whole))])
        case 1:
            # A map of 2,000 seats of which nothing is read, and a second one behind it.
            await client.send(2 * caller.request("GET", f"/v1/events/{house.event_id}/seats", b""))
            await trio.sleep(chance.random() / 10)
        case 2:
            await client.send(whole)
            await client.stream.send_eof()
            await client.read_rest()
        case 3:
            await client.send(whole)
        case 4:
            opened = RawSocket(client.stream)
            await opened.ask(upgrade(f"/v1/realtime?token={await _token(house)}"))
            await opened.send(frame_header(TEXT, 4000) + b"x")
        case 5:
            await client.ask(upgrade("/v1/realtime?token=none"))
        case _:
            await client.ask(b"NONSENSE\r\n\r\n")
