"""Buyers who play a sale, each by chances of their own: they wait, hold seats, click twice, pay, give up, come again.

They know the API alone, and judge nothing; every call is recorded. Whoever plays decides when it is over.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import trio

from tests.ladder.sale.recording import Operation, Recorder
from tests.ladder.sale.stage import EVENT_ID

ADDRESS: Final = {
    "street": "1 Quay Street",
    "city": "Bristol",
    "state": "BS",
    "postal_code": "BS1 6EA",
    "country": "GB",
}
GOOD_CARD: Final = "tok_visa_4242"
BAD_CARD: Final = "tok_chargeDeclined"
_BETWEEN_POLLS_SECONDS: Final = 0.06
_MOST_POLLS: Final = 20


@dataclass
class Buyer:
    """One buyer and what they have. ``seats`` are all seats' ids; ``hot`` of them are what everybody wants."""

    recorder: Recorder
    chances: random.Random
    seats: list[str]
    user: str = ""
    visit: int = 0
    queue_token: str = ""
    access_token: str = ""
    holds: list[str] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)
    cards: dict[str, str] = field(default_factory=dict)
    last: Operation | None = None
    under_way: list[Operation] = field(default_factory=list)
    """Calls that have not been answered yet, or never will be."""
    keys: int = 0

    def __post_init__(self) -> None:
        self.user = str(UUID(int=self.chances.getrandbits(128), version=4))

    @property
    def device(self) -> str:
        """The device that they buy with: one a buyer."""
        return f"device-{self.user}"

    # --- calls ------------------------------------------------------------------------------------------------------

    async def enter(self) -> Operation:
        """Takes a place in line."""
        self.visit += 1
        body = {"event_id": str(EVENT_ID), "user_id": self.user, "device_fingerprint": self.device}
        # The key is of this visit: if the answer was lost, the same place is answered again.
        key = f"join-{self.user}-{self.visit}"
        found = await self._call("join", ("POST", "/v1/queue/join", body), key=key)
        self._learn(found)
        return found

    async def join(self) -> bool:
        """Takes a place in line; whether they have one now."""
        return (await self.enter()).status == 200

    async def poll(self) -> Operation:
        """Asks how far it is; keeps the access token once it comes."""
        found = await self._call("status", ("GET", "/v1/queue/status", None), token=self.queue_token)
        self._learn(found)
        return found

    async def leave(self) -> Operation:
        return await self._call(
            "leave", ("DELETE", "/v1/queue/leave", None), token=self.queue_token, key=self._new_key()
        )

    async def reserve(self, seats: list[str]) -> Operation:
        """Wants these very seats."""
        body = {"event_id": str(EVENT_ID), "user_id": self.user, "seat_ids": seats}
        return await self._shop("reserve", "POST", "/v1/seats/reserve", body)

    async def reserve_best(self, quantity: int) -> Operation:
        body = {"event_id": str(EVENT_ID), "user_id": self.user, "quantity": quantity}
        return await self._shop("reserve_best", "POST", "/v1/seats/reserve", body)

    async def release(self, hold: str) -> Operation:
        return await self._shop("release", "DELETE", f"/v1/reservations/{hold}", None)

    async def look_at_hold(self, hold: str) -> Operation:
        return await self._call(
            "look_at_hold", ("GET", f"/v1/reservations/{hold}", None), token=self.access_token
        )

    async def add_card(self, card: str) -> str:
        """A payment method's id; the empty string if it was not to be had."""
        if card not in self.cards:
            body = {"type": "CARD", "card_token": card}
            found = await self._shop("card", "POST", "/v1/payment-methods", body)
            if found.status != 201:
                return ""
            self.cards[card] = found.json["payment_method_id"]
        return self.cards[card]

    async def pay(self, hold: str, card: str) -> Operation | None:
        """Orders a hold; None without a card to pay with."""
        method = await self.add_card(card)
        if not method:
            return None
        body = {"reservation_id": hold, "payment_method_id": method, "billing_address": ADDRESS}
        return await self._shop("pay", "POST", "/v1/orders", body)

    async def look_at_order(self, order: str) -> Operation:
        return await self._call(
            "look_at_order", ("GET", f"/v1/orders/{order}", None), token=self.access_token
        )

    async def cancel(self, order: str) -> Operation:
        return await self._shop("cancel", "POST", f"/v1/orders/{order}/cancel", None)

    async def look_at_seats(self) -> Operation:
        return await self._call("seats", ("GET", f"/v1/events/{EVENT_ID}/seats", None))

    async def click_again(self) -> Operation | None:
        """The last thing that was asked for, asked for once more under its key."""
        if self.last is None:
            return None
        return await self._repeat(self.last)

    async def come_back(self) -> None:
        """To another daemon on the same folder: asks again what was not answered, and looks at all there should be."""
        lost, self.under_way = self.under_way, []
        for key in dict.fromkeys(operation.key for operation in lost if operation.key is not None):
            await self._repeat(next(operation for operation in lost if operation.key == key))
        if self.queue_token:
            await self.poll()
        if self.access_token:
            for hold in tuple(self.holds):
                await self.look_at_hold(hold)
            for order in tuple(self.orders):
                await self.look_at_order(order)

    # --- a life -----------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Visits after visit, until cancelled; one that was begun before goes on."""
        if self.access_token:
            await self._shop_around()
        while True:
            if await self.join() and await self._wait_for_turn():
                await self._shop_around()
            await trio.sleep(_BETWEEN_POLLS_SECONDS * self.chances.random())

    async def _wait_for_turn(self) -> bool:
        for _ in range(_MOST_POLLS):
            found = await self.poll()
            if self.access_token:
                return True
            if found.status != 200:
                return False
            if self.chances.random() < 0.01:
                break
            await trio.sleep(_BETWEEN_POLLS_SECONDS * (0.5 + self.chances.random()))
        await self.leave()
        return False

    async def _shop_around(self) -> None:
        for _ in range(self.chances.randint(2, 8)):
            await self._do_something()
        if self.chances.random() < 0.9:
            await self.leave()

    async def _do_something(self) -> None:
        chances = self.chances
        what = chances.random()
        if what < 0.3 or not (self.holds or self.orders):
            await self.reserve(chances.sample(self.seats, chances.choice((1, 1, 2, 3))))
        elif what < 0.4:
            await self.reserve_best(chances.choice((1, 2, 4, 7)))
        elif what < 0.45:
            await self.look_at_seats()
        elif what < 0.53 and self.holds:
            await self.release(chances.choice(self.holds))
        elif what < 0.6 and self.holds:
            await self.look_at_hold(chances.choice(self.holds))
        elif what < 0.75 and self.holds:
            await self.pay(chances.choice(self.holds), GOOD_CARD)
        elif what < 0.8 and self.holds:
            await self.pay(chances.choice(self.holds), BAD_CARD)
        elif what < 0.87 and self.orders:
            await self.look_at_order(chances.choice(self.orders))
        elif what < 0.92 and self.orders:
            await self.cancel(chances.choice(self.orders))
        elif what < 0.96:
            await self._click_twice(chances.sample(self.seats, 1))
        else:
            await self.click_again()

    async def _click_twice(self, seats: list[str]) -> None:
        """Two requests under one key at the same time."""
        body = {"event_id": str(EVENT_ID), "user_id": self.user, "seat_ids": seats}
        key = self._new_key()

        async def click() -> None:
            request = ("POST", "/v1/seats/reserve", body)
            self._learn(await self._call("reserve", request, token=self.access_token, key=key))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(click)
            nursery.start_soon(click)

    # --- the wire ---------------------------------------------------------------------------------------------------

    def _learn(self, found: Operation) -> None:
        """Keeps what an answer says that they have."""
        match found.kind, found.status:
            case "join", 200:
                self.queue_token, self.access_token = found.json["queue_token"], ""
            case "status", 200 if found.json["status"] == "READY":
                self.access_token = found.json["access_token"]
            case (("reserve" | "reserve_best"), 201) if found.json["reservation_id"] not in self.holds:
                self.holds.append(found.json["reservation_id"])
            case "release", 204:
                self._give_up(found.target.rpartition("/")[2])
            case "pay", 201 if found.json["order_id"] not in self.orders:
                self.orders.append(found.json["order_id"])
                self._give_up(found.json["reservation_id"])

    def _give_up(self, hold: str) -> None:
        if hold in self.holds:
            self.holds.remove(hold)

    def _new_key(self) -> str:
        self.keys += 1
        return f"key-{self.user}-{self.keys}"

    async def _shop(self, kind: str, method: str, target: str, body: dict[str, Any] | None) -> Operation:
        found = await self._call(kind, (method, target, body), token=self.access_token, key=self._new_key())
        self.last = found
        self._learn(found)
        return found

    async def _repeat(self, before: Operation) -> Operation:
        request = (before.method, before.target, before.body)
        token = self.queue_token if before.kind == "leave" else self.access_token
        found = await self._call(before.kind, request, token=token, key=before.key)
        self._learn(found)
        return found

    async def _call(
        self,
        kind: str,
        request: tuple[str, str, dict[str, Any] | None],
        *,
        token: str = "",
        key: str | None = None,
    ) -> Operation:
        headers = {"X-Device-ID": self.device}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if kind == "join":
            headers = {}
        if self.recorder.is_over:
            await trio.sleep_forever()
        operation = self.recorder.begin(kind, self.user, request, key)
        self.under_way.append(operation)
        await self.recorder.carry_out(operation, headers)
        if operation.status is not None:
            self.under_way.remove(operation)
        return operation
