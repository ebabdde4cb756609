"""Those who call the daemon: buyers with whatever they remember, and the steps that they can take.

A step that has nothing to work on asks for something that cannot be, or does nothing; none of them knows whether the
daemon is alive. A request under a key is made again, as it was, when no answer came.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from uuid import UUID

import trio

from storage.schema.ids import EntryId, EventId
from storage.verify import Problem
from tests.ladder.simulation.listening import listen
from tests.ladder.simulation.script import Crash, Step, Visit
from tests.ladder.simulation.world import Request, World
from tests.support.daemon import Answer
from ticketd.tickets.code import TicketCodeInvalid, TicketKeyId, verify_ticket_code

_CARDS: Final = (
    "tok_visa",
    "tok_mastercard",
    "tok_visa_4242",
    "tok_threeDSecure2Required",
    "tok_chargeDeclined",
    "tok_visa",
    "tok_chargeDeclinedInsufficientFunds",
    "tok_unheard_of",
)
DEADLY: Final = 101
"""Of so many steps, one is the daemon's death."""
_ADDRESS: Final = {
    "street": "1 Quay",
    "city": "New York",
    "state": "NY",
    "postal_code": "10001",
    "country": "US",
}
_FORM: Final = {"content-type": "application/x-www-form-urlencoded"}


class Town:
    """What everybody can know: the halls and their seats, and what others have, for those who try to take it."""

    def __init__(self, world: World, events: tuple[UUID, ...]) -> None:
        self.world = world
        self.events = events
        self.orders: list[tuple[str, str, int]] = []
        """Order, buyer and hall."""
        self.holds: list[str] = []
        self.offers: list[str] = []
        self._people: dict[int, Buyer] = {}

    def buyer(self, number: int) -> Buyer:
        """The same one each time."""
        if number not in self._people:
            self._people[number] = Buyer(self, number)
        return self._people[number]

    async def seat_ids(self, hall: int, who: str) -> list[tuple[str, str]]:
        """All seats of a hall with their states."""
        event = self.events[hall]
        answer = await self.world.ask(
            Request(method="GET", target=f"/v1/events/{event}/seats", caller=who, address=who)
        )
        if answer is None or answer.status != 200:
            return []
        sections = answer.json["sections"]
        return [
            (seat["seat_id"], seat["status"])
            for section in sections
            for row in section["rows"]
            for seat in row["seats"]
        ]


class Buyer:
    """Somebody with a device, and with what they were told."""

    def __init__(self, town: Town, number: int) -> None:
        self.town = town
        self.number = number
        self.user = UUID(int=0xB0_0000_0000 + number, version=4)
        self.device = f"device-{number}"
        self.address = f"10.0.{number >> 8}.{number & 255}"
        self.queue: dict[int, str] = {}
        self.entries: dict[int, EntryId] = {}
        self.access: dict[int, str] = {}
        self.cards: list[str] = []
        self.holds: list[tuple[str, int]] = []
        self.orders: list[tuple[str, int]] = []
        self.transfers: list[str] = []
        self.challenge = ""
        self.token = ""
        self.last: Request | None = None

    @property
    def caller(self) -> str:
        return f"user:{self.user}"

    async def visit(self, visit: Visit, name: str) -> None:
        """Takes the steps of a visit one after the other. ``name`` is no other visit's."""
        async with trio.open_nursery() as nursery:
            for number, step in enumerate(visit.steps):
                await trio.sleep((step.x % 23) / 7)
                call = Turn(self, nursery, visit.hall, step, f"{name}-{number}")
                await STEPS[step.do](call)
            nursery.cancel_scope.cancel()

    async def ask(self, call: Request) -> Answer | None:
        """Asks; without an answer once more, if that is safe."""
        if call.key is not None:
            self.last = call
        answer = await self.town.world.ask(call)
        if answer is None and call.key is not None:
            answer = await self.town.world.ask(call)
        return answer

    async def user_token(self) -> str:
        """A user token, got once."""
        if not self.token:
            got = await self.ask(
                Request(
                    method="POST",
                    target="/v1/sessions",
                    caller="key:storefront",
                    body={"user_id": str(self.user), "ttl_seconds": 86_400},
                    address=self.address,
                )
            )
            self.token = got.json["token"] if got is not None and got.status == 201 else ""
        return self.token


class Turn:
    """One step of one visit: who takes it, where, and how."""

    def __init__(self, buyer: Buyer, nursery: trio.Nursery, hall: int, step: Step, name: str) -> None:
        self.buyer, self.nursery, self.hall, self.x, self.name = buyer, nursery, hall, step.x, name
        self.town = buyer.town
        self.event = str(self.town.events[hall])

    @property
    def key(self) -> str | None:
        """An Idempotency-Key, for half of all steps."""
        return f"key-of-{self.name}" if self.x & 1 else None

    async def ask(
        self, method: str, target: str, body: object = None, *, token: str = "", device: str = "", **more: Any
    ) -> Answer | None:
        """Asks as the buyer, with an access token of this hall unless another one is given."""
        buyer = self.buyer
        used = token or buyer.access.get(self.hall) or buyer.token
        if self.x % DEADLY == 0:
            # The daemon dies within this very request, or within whatever follows from it.
            buyer.town.world.plan_crash(
                Crash(at_ms=0, commits=1 + self.x % 3, after=self.x % 7 > 2, down_ms=900)
            )
        return await buyer.ask(
            Request(
                method=method,
                target=target,
                caller=more.pop("caller", buyer.caller),
                body=body,
                token=used or None,
                device=device or buyer.device,
                address=buyer.address,
                event=self.event,
                **more,
            )
        )

    def wish(self, **more: object) -> dict[str, object]:
        """A body that names the event and the buyer."""
        return {"event_id": self.event, "user_id": str(self.buyer.user), **more}


# --- the room -------------------------------------------------------------------------------------------------------


async def _join(turn: Turn, *, other: bool = False, resume: bool = False) -> None:
    buyer = turn.buyer
    device = f"device-{turn.x % 3}" if other else buyer.device
    user = UUID(int=0xC0_0000_0000 + turn.x, version=4) if other else buyer.user
    body = {"event_id": turn.event, "user_id": str(user), "device_fingerprint": device}
    if turn.x % 5 == 0:
        body["presale_code"] = "FAN"
    answer = await buyer.ask(
        Request(
            method="POST",
            target="/v1/queue/resume" if resume else "/v1/queue/join",
            caller="key:storefront",
            body=body,
            device=device,
            address=buyer.address,
            key=turn.key,
            event=turn.event,
        )
    )
    if answer is not None and answer.status == 200 and not other:
        buyer.queue[turn.hall] = answer.json["queue_token"]
        buyer.entries[turn.hall] = EntryId(UUID(answer.json["entry_id"]))


async def _join_as_other(turn: Turn) -> None:
    await _join(turn, other=True)


async def _resume(turn: Turn) -> None:
    await _join(turn, resume=True)


async def _status(turn: Turn) -> None:
    token = turn.buyer.queue.get(turn.hall)
    if token is None:
        return
    entry = turn.buyer.entries[turn.hall]
    answer = await turn.ask("GET", "/v1/queue/status", token=token)
    if answer is None or answer.status != 200:
        return
    told = answer.json
    if "access_token" in told:
        turn.buyer.access[turn.hall] = told["access_token"]
    elif told["status"] == "QUEUED":
        event_id = EventId(turn.town.events[turn.hall])
        turn.town.world.watch.check_position(event_id, entry, told["queue_position"])


async def _enter(turn: Turn) -> None:
    """Polls until the turn has come, or patience ends."""
    for _ in range(4 + turn.x % 12):
        before = turn.buyer.access.get(turn.hall)
        await _status(turn)
        if turn.buyer.access.get(turn.hall) != before or turn.hall not in turn.buyer.queue:
            return
        await trio.sleep((4, 8, 30)[turn.x % 3])


async def _leave(turn: Turn) -> None:
    token = turn.buyer.queue.get(turn.hall)
    if token is not None:
        await turn.ask("DELETE", "/v1/queue/leave", token=token, key=turn.key)


async def _listen(turn: Turn) -> None:
    """Opens a WebSocket that is listened to until the visit ends."""
    buyer = turn.buyer
    token = buyer.access.get(turn.hall) or buyer.queue.get(turn.hall)
    if token is not None:
        await turn.nursery.start(listen, turn.town.world, turn.event, token, buyer.address)


# --- holds ----------------------------------------------------------------------------------------------------------


async def _reserve(turn: Turn) -> None:
    await _take(turn, turn.wish(quantity=1 + turn.x % 5))


async def _pick(turn: Turn) -> None:
    """Takes seats by name: free ones mostly, sometimes others', once in a while one of another hall."""
    hall = (turn.hall + 1) % len(turn.town.events) if turn.x % 17 == 0 else turn.hall
    seats = await turn.town.seat_ids(hall, turn.buyer.address)
    free = [seat for seat, status in seats if status == "AVAILABLE" or turn.x % 7 == 0]
    if free:
        at, count = turn.x % len(free), 1 + turn.x % 4
        await _take(turn, turn.wish(seat_ids=free[at : at + count]))


async def _take(turn: Turn, body: Mapping[str, object]) -> None:
    answer = await turn.ask("POST", "/v1/seats/reserve", dict(body), key=turn.key)
    if answer is None or answer.status != 201:
        return
    told = answer.json
    turn.buyer.holds.append((told["reservation_id"], turn.hall))
    turn.town.holds.append(told["reservation_id"])


async def _reserve_again(turn: Turn) -> None:
    """The very seats once more, which is the same hold; or a part of them, which is none."""
    if not turn.buyer.holds:
        return
    shown = await turn.ask("GET", f"/v1/reservations/{turn.buyer.holds[-1][0]}")
    if shown is not None and shown.status == 200:
        seats = [seat["seat_id"] for seat in shown.json["seats"]]
        await _take(turn, turn.wish(seat_ids=seats[turn.x % 2 :] or seats))


async def _release(turn: Turn) -> None:
    if turn.buyer.holds:
        await turn.ask("DELETE", f"/v1/reservations/{turn.buyer.holds[-1][0]}", key=turn.key)


async def _hold(turn: Turn) -> None:
    if turn.buyer.holds:
        await turn.ask("GET", f"/v1/reservations/{turn.buyer.holds[-1][0]}")


# --- orders ---------------------------------------------------------------------------------------------------------


async def _card(turn: Turn) -> None:
    body = {"type": "CARD", "card_token": _CARDS[turn.x % len(_CARDS)], "billing_address": _ADDRESS}
    answer = await turn.ask(
        "POST", "/v1/payment-methods", body, token=await turn.buyer.user_token(), key=turn.key
    )
    if answer is not None and answer.status == 201:
        turn.buyer.cards.append(answer.json["payment_method_id"])


async def _forget_card(turn: Turn) -> None:
    if turn.buyer.cards:
        await turn.ask(
            "DELETE", f"/v1/payment-methods/{turn.buyer.cards.pop()}", token=await turn.buyer.user_token()
        )


async def _pay(turn: Turn) -> None:
    buyer = turn.buyer
    if not buyer.holds or not buyer.cards:
        return
    hold, hall = buyer.holds[-1 - turn.x % min(2, len(buyer.holds))]
    body = {
        "reservation_id": hold,
        "payment_method_id": buyer.cards[-1],
        "billing_address": _ADDRESS,
        "delivery_method": "MOBILE",
    }
    token = buyer.access.get(hall, "")
    if turn.x % 6 == 1:
        # From another tab, while the gateway is asked.
        turn.nursery.start_soon(_give_up_soon, turn, hold)
    answer = await turn.ask("POST", "/v1/orders", body, token=token, key=turn.key)
    if answer is not None and answer.status == 201:
        told = answer.json
        buyer.orders.append((told["order_id"], hall))
        turn.town.orders.append((told["order_id"], str(buyer.user), hall))
        if "next_action" in told:
            buyer.challenge = told["next_action"]["redirect_url"].partition("://")[2].partition("/")[2]


async def _give_up_soon(turn: Turn, hold: str) -> None:
    await trio.sleep(0.06)
    await turn.ask("DELETE", f"/v1/reservations/{hold}")


async def _act(turn: Turn) -> None:
    """Does what the bank's page asks for."""
    if turn.buyer.challenge:
        outcome = b"outcome=fail" if turn.x % 5 == 0 else b"outcome=complete"
        await turn.ask("POST", f"/{turn.buyer.challenge}", raw=outcome, headers=_FORM)


async def _order(turn: Turn) -> None:
    if turn.buyer.orders:
        await turn.ask("GET", f"/v1/orders/{turn.buyer.orders[-1][0]}", token=await turn.buyer.user_token())


async def _cancel(turn: Turn) -> None:
    if turn.buyer.orders:
        order = turn.buyer.orders[-1][0]
        token = await turn.buyer.user_token()
        await turn.ask("POST", f"/v1/orders/{order}/cancel", token=token, key=turn.key)


async def _repeat(turn: Turn) -> None:
    """The last request that had a key, once more; sometimes with another body under the same key."""
    last = turn.buyer.last
    if last is None:
        return
    if turn.x % 5 == 0 and isinstance(last.body, dict):
        last = Request(**{**vars(last), "body": {**last.body, "delivery_method": "PRINT"}})
    await turn.town.world.ask(last)


# --- tickets --------------------------------------------------------------------------------------------------------


async def _tickets(turn: Turn) -> list[dict[str, Any]]:
    answer = await turn.ask("GET", "/v1/tickets", token=await turn.buyer.user_token())
    return [] if answer is None or answer.status != 200 else answer.json["tickets"]


async def _offer(turn: Turn) -> None:
    tickets = await _tickets(turn)
    if not tickets:
        return
    ticket = tickets[turn.x % len(tickets)]["ticket_id"]
    body = {"recipient_email": "friend@example.org", "recipient_name": "A Friend"}
    token = await turn.buyer.user_token()
    answer = await turn.ask("POST", f"/v1/tickets/{ticket}/transfer", body, token=token, key=turn.key)
    if answer is not None and answer.status == 200:
        turn.buyer.transfers.append(answer.json["transfer_id"])
        turn.town.offers.append(answer.json["transfer_id"])


async def _accept(turn: Turn, what: str = "accept") -> None:
    """Takes an offer up, with the claim that came by mail, if it has come; sometimes with a forged one."""
    if not turn.town.offers:
        return
    transfer = turn.town.offers[-1 - turn.x % min(3, len(turn.town.offers))]
    claim = "forged" if turn.x % 11 == 0 else turn.town.world.mail.claims.get(transfer, "not yet")
    other = turn.town.buyer(turn.x % 60)
    await other.ask(
        Request(
            method="POST",
            target=f"/v1/transfers/{transfer}/{what}",
            caller=other.caller,
            body={"claim_token": claim},
            token=await other.user_token() or None,
            device=other.device,
            address=other.address,
            key=turn.key,
        )
    )


async def _decline(turn: Turn) -> None:
    await _accept(turn, "decline")


async def _take_back(turn: Turn) -> None:
    if turn.buyer.transfers:
        token = await turn.buyer.user_token()
        await turn.ask("DELETE", f"/v1/transfers/{turn.buyer.transfers[-1]}", token=token, key=turn.key)


async def _gate(turn: Turn) -> None:
    """A gate without network reads a ticket's code: it is genuine, and for this ticket and event."""
    world = turn.town.world
    told = await world.ask(Request(method="GET", target="/v1/ticket-keys", caller="gate", address="gate"))
    if told is None or told.status != 200 or not turn.town.orders:
        return
    order, _, hall = turn.town.orders[turn.x % len(turn.town.orders)]
    keys = {TicketKeyId(key["kid"]): _unbase64(key["x"]) for key in told.json["keys"]}
    for ticket_id, code in world.codes(order):
        try:
            read = verify_ticket_code(code, keys).code
        except TicketCodeInvalid as fault:
            world.watch.report([_genuine(f"the code of {ticket_id} is refused: {fault}")])
            continue
        if (str(read.event_id), str(read.ticket_id)) != (str(turn.town.events[hall]), ticket_id):
            world.watch.report([_genuine(f"the code of {ticket_id} is for {read.ticket_id}")])


def _genuine(text: str) -> Problem:
    return Problem(invariant="tickets-are-genuine", where="gate", text=text)


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# --- looking around, and trespassing ----------------------------------------------------------------------------------


async def _look(turn: Turn) -> None:
    await turn.town.seat_ids(turn.hall, turn.buyer.address)


async def _search(turn: Turn) -> None:
    await turn.ask("GET", f"/v1/events/search?query=lan&page={turn.x % 3}")


async def _event(turn: Turn) -> None:
    await turn.ask("GET", f"/v1/events/{turn.event}")


async def _lists(turn: Turn) -> None:
    path = ("orders", "tickets", "transfers", "payment-methods")[turn.x % 4]
    await turn.ask("GET", f"/v1/{path}", token=await turn.buyer.user_token())


async def _draw(turn: Turn) -> None:
    await turn.ask("GET", f"/v1/queue/draw?event_id={turn.event}&full=true")


async def _foreign_hold(turn: Turn) -> None:
    """Another's hold is no hold."""
    holds = [hold for hold in turn.town.holds if hold not in dict(turn.buyer.holds)]
    if holds:
        hold = holds[turn.x % len(holds)]
        await _refused(turn, "GET", f"/v1/reservations/{hold}", None)
        await _refused(turn, "DELETE", f"/v1/reservations/{hold}", None)


async def _foreign_event(turn: Turn) -> None:
    """An access token opens its own event alone."""
    other = str(turn.town.events[(turn.hall + 1) % len(turn.town.events)])
    if turn.hall in turn.buyer.access and other != turn.event:
        await _refused(turn, "POST", "/v1/seats/reserve", {**turn.wish(quantity=1), "event_id": other})


async def _foreign_order(turn: Turn) -> None:
    orders = [order for order, buyer, _ in turn.town.orders if buyer != str(turn.buyer.user)]
    if orders:
        order, token = orders[turn.x % len(orders)], await turn.buyer.user_token()
        await _refused(turn, "GET", f"/v1/orders/{order}", None, token=token)
        await _refused(turn, "POST", f"/v1/orders/{order}/cancel", None, token=token)


async def _wrong_device(turn: Turn) -> None:
    if turn.hall in turn.buyer.access:
        await _refused(turn, "POST", "/v1/seats/reserve", turn.wish(quantity=1), device="device-of-a-thief")


async def _queue_token_shops(turn: Turn) -> None:
    if token := turn.buyer.queue.get(turn.hall):
        await _refused(turn, "POST", "/v1/seats/reserve", turn.wish(quantity=1), token=token)


async def _bad_bodies(turn: Turn) -> None:
    raw = (b"{", b"[]", b'{"event_id":1}', b'{"quantity":1e999}', b"\xff", b'{"seat_ids":[]}')[turn.x % 6]
    await _refused(turn, "POST", "/v1/seats/reserve", None, raw=raw)


async def _refused(turn: Turn, method: str, target: str, body: object, **more: Any) -> None:
    """Whatever the answer: it must not be that it was done."""
    answer = await turn.ask(method, target, body, **more)
    if answer is not None and answer.status < 400:
        text = f"{turn.buyer.caller} was answered {answer.status} {answer.body[:120]!r}"
        problem = Problem(invariant="only-ones-own", where=f"{method} {target}", text=text)
        turn.town.world.watch.report([problem])


async def _wait(turn: Turn) -> None:
    await trio.sleep(turn.x % 40)


async def _wait_long(turn: Turn) -> None:
    await trio.sleep(60 + turn.x % 500)


STEPS: Final[dict[str, Callable[[Turn], Awaitable[None]]]] = {
    "join": _join,
    "join_as_other": _join_as_other,
    "resume": _resume,
    "status": _status,
    "enter": _enter,
    "leave": _leave,
    "listen": _listen,
    "reserve": _reserve,
    "pick": _pick,
    "reserve_again": _reserve_again,
    "release": _release,
    "hold": _hold,
    "card": _card,
    "forget_card": _forget_card,
    "pay": _pay,
    "act": _act,
    "order": _order,
    "cancel": _cancel,
    "repeat": _repeat,
    "offer": _offer,
    "accept": _accept,
    "decline": _decline,
    "take_back": _take_back,
    "gate": _gate,
    "look": _look,
    "search": _search,
    "event": _event,
    "lists": _lists,
    "draw": _draw,
    "foreign_hold": _foreign_hold,
    "foreign_event": _foreign_event,
    "foreign_order": _foreign_order,
    "wrong_device": _wrong_device,
    "queue_token_shops": _queue_token_shops,
    "bad_bodies": _bad_bodies,
    "wait": _wait,
    "wait_long": _wait_long,
}
"""Every step by its name."""
