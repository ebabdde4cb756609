"""The script of one buyer: comes, joins, waits, chooses, pays, gets tickets; or does as the buyer's role says."""

from __future__ import annotations

import random
from typing import Final, NoReturn
from uuid import uuid4

import trio
from msgspec import Struct

from ticketd.rehearsal.answers import (
    Card,
    EventInfo,
    Held,
    Joined,
    MapRow,
    Order,
    Placed,
    SeatMap,
    Session,
    Tickets,
)
from ticketd.rehearsal.calls import Api, Call, Refused
from ticketd.rehearsal.crowd import Person, Role
from ticketd.rehearsal.measurements import Outcome, Purchase
from ticketd.rehearsal.waiting import Place, listen_until_ready, poll_until_ready

GOOD_CARD: Final = "tok_visa"
DECLINED_CARD: Final = "tok_chargeDeclined"
_ADDRESS: Final = {
    "street": "1 Rehearsal Road",
    "city": "New York",
    "state": "NY",
    "postal_code": "10001",
    "country": "US",
}
_CHOICES: Final = 8
"""So often a buyer chooses again when the seats are gone, before leaving without any."""
_GONE: Final = frozenset({"SEATS_TAKEN", "SEATS_UNAVAILABLE", "NO_ADJACENT_SEATS"})
_ORDER_LOOKS: Final = 60
_OUTCOMES: Final = {
    "SALE_ENDED": Outcome.SOLD_OUT,
    "QUEUE_ENTRY_EXPIRED": Outcome.PLACE_ENDED,
    "ACCESS_EXPIRED": Outcome.PLACE_ENDED,
    "RESERVATION_EXPIRED": Outcome.PLACE_ENDED,
}
"""What a refusal means for a visit; any other makes it FAILED."""


class VisitEnded(Exception):
    """The visit is over."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome


class Sale(Struct, frozen=True, kw_only=True):
    """What all buyers want seats of; ``sold_out`` is set once there are none."""

    event_id: str
    sold_out: trio.Event
    seed: int


async def visit(person: Person, api: Api, sale: Sale) -> None:
    """Plays one buyer from arrival to the end, and notes how it ended."""
    buyer = _Buyer(person, api, sale)
    outcome = Outcome.UNFINISHED
    try:
        await trio.sleep(person.arrives_s)
        await buyer.play()
    except VisitEnded as end:
        outcome = end.outcome
    except Refused as refusal:
        outcome = _OUTCOMES.get(refusal.code, Outcome.FAILED)
    finally:
        buyer.forget()
        api.notes.note_outcome(outcome)


class _Buyer:
    """One buyer, with the tokens got so far."""

    def __init__(self, person: Person, api: Api, sale: Sale) -> None:
        self._person = person
        self._api = api
        self._sale = sale
        self._user_id = str(uuid4())
        self._device = f"rehearsal-{self._user_id}"
        self._chance = random.Random(f"{sale.seed}/{person.number}")  # noqa: S311 - which seats, not a secret
        self._access: str | None = None
        self._waits = False
        self._shops = False

    async def play(self) -> NoReturn:
        """The whole visit. Ends by VisitEnded or Refused."""
        session = await self._api.ask(
            Call(method="POST", path="/v1/sessions", body={"user_id": self._user_id}), Session
        )
        event = "/v1/events/{event_id}"
        target = f"/v1/events/{self._sale.event_id}"
        await self._api.ask(Call(method="GET", path=event, target=target, token=session.token), EventInfo)
        place = await self._join(session.token)
        if self._person.role is Role.NEVER_CLAIM:
            raise VisitEnded(Outcome.NEVER_CLAIMED)
        if self._person.role is Role.LEAVE and self._person.leaves_waiting and place.status != "READY":
            await trio.sleep(self._person.chooses_s)
            await self._leave(place, Outcome.LEFT)
        self._access = await self._wait(place)
        self._set(waits=False, shops=True)
        self._api.notes.note_let_in()
        if self._person.role is Role.LEAVE:
            await trio.sleep(self._person.chooses_s)
            await self._leave(place, Outcome.LEFT)
        held = await self._choose()
        if held is None:
            await self._leave(place, Outcome.SOLD_OUT)
        await trio.sleep(self._person.pays_s)
        if self._person.role is Role.LET_HOLD_LAPSE:
            raise VisitEnded(Outcome.LET_LAPSE)
        await self._pay(held)
        raise VisitEnded(Outcome.BOUGHT)

    def forget(self) -> None:
        """The buyer is gone from the counts of who waits and who shops."""
        self._set(waits=False, shops=False)

    def _set(self, *, waits: bool, shops: bool) -> None:
        self._api.notes.waiting += waits - self._waits
        self._api.notes.shopping += shops - self._shops
        self._waits, self._shops = waits, shops

    async def _join(self, user_token: str) -> Place:
        body = {
            "event_id": self._sale.event_id,
            "user_id": self._user_id,
            "device_fingerprint": self._device,
        }
        joined = await self._api.ask(
            Call(method="POST", path="/v1/queue/join", token=user_token, body=body), Joined
        )
        self._api.notes.joined += 1
        self._set(waits=True, shops=False)
        return Place(self._person.number, self._device, joined, self._api.notes)

    async def _wait(self, place: Place) -> str:
        """The access token, once it is the buyer's turn. Whoever waits leaves when all is sold."""
        found: str | None = None
        refused: Refused | None = None

        async def wait() -> None:
            nonlocal found, refused
            try:
                if self._person.realtime and place.status != "READY":
                    found = await listen_until_ready(self._api, place, self._sale.event_id)
                else:
                    found = await poll_until_ready(self._api, place)
            except Refused as refusal:
                refused = refusal
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await self._sale.sold_out.wait()
            nursery.cancel_scope.cancel()
        if refused is not None:
            raise refused
        if found is None:
            await self._leave(place, Outcome.SOLD_OUT)
        return found

    async def _leave(self, place: Place, outcome: Outcome) -> NoReturn:
        call = Call(method="DELETE", path="/v1/queue/leave", token=place.queue_token, device=self._device)
        await self._api.send(call)
        raise VisitEnded(outcome)

    async def _choose(self) -> Held | None:
        """Holds seats: those picked on the map, or the best that stand together; fewer, if there are no more."""
        await trio.sleep(self._person.chooses_s)
        wanted = self._person.seats_wanted
        for _ in range(_CHOICES):
            choice: dict[str, object] = {"quantity": wanted}
            if self._person.picks_seats:
                picked = _pick(await self._seat_map(), wanted, self._chance)
                choice = {"seat_ids": picked} if picked else choice
            body = {"event_id": self._sale.event_id, "user_id": self._user_id, **choice}
            try:
                return await self._api.ask(self._shopping("POST", "/v1/seats/reserve", body=body), Held)
            except Refused as refusal:
                if refusal.code not in _GONE:
                    raise
                if "quantity" in choice:
                    if wanted == 1:
                        return None
                    wanted -= 1
        return None

    async def _seat_map(self) -> SeatMap:
        target = f"/v1/events/{self._sale.event_id}/seats"
        return await self._api.ask(
            self._shopping("GET", "/v1/events/{event_id}/seats", target=target), SeatMap
        )

    async def _pay(self, held: Held) -> None:
        """Pays and waits for the tickets. A card that is to be declined is declined first."""
        if self._person.role is Role.DECLINE:
            try:
                await self._place_order(held, DECLINED_CARD)
            except Refused as refusal:
                if refusal.code != "PAYMENT_DECLINED":
                    raise
            else:
                self._api.notes.odd["a card that is to be declined was charged"] += 1
        placed = await self._place_order(held, GOOD_CARD)
        await self._await_tickets(placed.order_id)

    async def _place_order(self, held: Held, card_token: str) -> Placed:
        card = await self._api.ask(
            self._shopping("POST", "/v1/payment-methods", body={"type": "CARD", "card_token": card_token}),
            Card,
        )
        body = {
            "reservation_id": held.reservation_id,
            "payment_method_id": card.payment_method_id,
            "billing_address": _ADDRESS,
            "delivery_method": "MOBILE",
        }
        return await self._api.ask(self._shopping("POST", "/v1/orders", body=body, key=str(uuid4())), Placed)

    async def _await_tickets(self, order_id: str) -> None:
        """Notes the seats and tickets of an order, once it is CONFIRMED."""
        look = self._shopping("GET", "/v1/orders/{order_id}", target=f"/v1/orders/{order_id}")
        for _ in range(_ORDER_LOOKS):
            order = await self._api.ask(look, Order)
            if order.status != "PENDING":
                break
            await trio.sleep(1)
        else:
            self._api.notes.odd[f"an order was still PENDING after {_ORDER_LOOKS} s"] += 1
            raise VisitEnded(Outcome.FAILED)
        if order.status != "CONFIRMED":
            self._api.notes.odd[f"a paid order became {order.status}"] += 1
            raise VisitEnded(Outcome.FAILED)
        seat_ids = tuple(seat.seat_id for seat in order.seats)
        # Noted before the tickets are asked for: what is sold is sold, even if that call fails.
        self._api.notes.purchases.append(Purchase(order_id=order_id, seat_ids=seat_ids))
        tickets = await self._api.ask(
            self._shopping("GET", "/v1/tickets", target=f"/v1/tickets?order_id={order_id}&per_page=100"),
            Tickets,
        )
        self._api.notes.barcodes.update(ticket.barcode for ticket in tickets.tickets)
        if len(tickets.tickets) != len(seat_ids):
            self._api.notes.odd["an order has another number of tickets than seats"] += 1

    def _shopping(
        self,
        method: str,
        path: str,
        *,
        target: str | None = None,
        body: object = None,
        key: str | None = None,
    ) -> Call:
        """A call with the access token."""
        return Call(
            method=method,
            path=path,
            target=target,
            token=self._access,
            device=self._device,
            body=body,
            idempotency_key=key,
        )


def _pick(seat_map: SeatMap, wanted: int, chance: random.Random) -> list[str]:
    """``wanted`` free seats side by side in some row, anywhere in the hall; none if no row has them."""
    rows = [row for section in seat_map.sections for row in section.rows]
    for row in chance.sample(rows, len(rows)):
        starts = [start for start in range(len(row.seats) - wanted + 1) if _free(row, start, wanted)]
        if starts:
            start = chance.choice(starts)
            return [seat.seat_id for seat in row.seats[start : start + wanted]]
    return []


def _free(row: MapRow, start: int, wanted: int) -> bool:
    return all(seat.status == "AVAILABLE" for seat in row.seats[start : start + wanted])
