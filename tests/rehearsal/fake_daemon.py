"""A daemon that is none: it answers each buyer as the API does, and shows on request the faults that a rehearsal must
find."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

import h11
import trio

from ticketd.rehearsal.client import Origin

Reply = tuple[int, dict[str, object]]
EVENT = "0f0e0d0c-0b0a-4009-8807-060504030201"


@asynccontextmanager
async def listening(handle: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[Origin]:
    """Serves raw connections on loopback until the block ends."""
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        yield Origin(host="127.0.0.1", port=port, tls=False)
        nursery.cancel_scope.cancel()


async def serve_http(
    reply: Callable[[str, str, dict[str, str], bytes], Reply], stream: trio.SocketStream
) -> None:
    """HTTP/1.1 with keep-alive on one connection."""
    http = h11.Connection(h11.SERVER)
    request, body = None, b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some()))
        elif isinstance(event, h11.Request):
            request, body = event, b""
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert request is not None
            headers = {name.decode(): value.decode() for name, value in request.headers}
            status, answer = reply(request.method.decode(), request.target.decode(), headers, body)
            text = b"" if status == 204 else json.dumps(answer).encode()
            head = [("Content-Type", "application/json")]
            if status != 204:
                head.append(("Content-Length", str(len(text))))
            if status in {429, 503}:
                head.append(("Retry-After", "1"))
            data = http.send(h11.Response(status_code=status, headers=head)) or b""
            data += http.send(h11.Data(data=text)) or b""
            await stream.send_all(data + (http.send(h11.EndOfMessage()) or b""))
            http.start_next_cycle()
        else:
            return


def refusal(status: int, code: str) -> Reply:
    return status, {"error": {"code": code, "message": code, "details": {}, "request_id": str(uuid4())}}


@dataclass(frozen=True)
class Ask:
    """What a request asks with."""

    path_id: str
    query: str
    token: str
    body: dict[str, object]


@dataclass
class FakeDaemon:
    """An event with ``capacity`` seats and nobody before anybody in line. ``waits`` are the positions that a buyer is
    told, one a poll, before being let in; ``replies`` takes an endpoint's answer away and gives another."""

    capacity: int = 100
    waits: tuple[int, ...] = ()
    sells_twice: bool = False
    repeats_barcodes: bool = False
    replies: dict[str, list[Reply]] = field(default_factory=dict)
    polls: dict[str, int] = field(default_factory=dict)
    held: dict[str, list[str]] = field(default_factory=dict)
    orders: dict[str, list[str]] = field(default_factory=dict)
    given: int = 0
    calls: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Origin]:
        async def serve(stream: trio.SocketStream) -> None:
            # A rehearsal that is ended leaves in the middle of a request.
            with contextlib.suppress(trio.BrokenResourceError):
                await serve_http(self.reply, stream)

        async with listening(serve) as origin:
            yield origin

    def reply(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        path, _, query = target.partition("?")
        parts = path.removeprefix("/v1/").split("/")
        name = f"{method} {'/'.join(part for part in parts if len(part) != 36)}"
        self.calls.append(name)
        if self.replies.get(name):
            return self.replies[name].pop(0)
        token = headers.get("authorization", "").removeprefix("Bearer ")
        return self._answer(name, Ask(parts[-1], query, token, json.loads(body) if body else {}))

    def _answer(self, name: str, ask: Ask) -> Reply:
        answers: dict[str, Callable[[Ask], Reply]] = {
            "GET events": lambda _: (200, self._event()),
            "POST sessions": lambda ask: (201, {"token": f"user-{ask.body['user_id']}"}),
            "POST queue/join": lambda _: (200, self._place(str(uuid4()), 0)),
            "GET queue/status": self._status,
            "DELETE queue/leave": lambda _: (204, {}),
            "GET events/seats": lambda _: (200, {"sections": []}),
            "POST seats/reserve": lambda ask: (201, self._hold(ask.body["quantity"])),
            "POST payment-methods": lambda ask: (201, {"payment_method_id": ask.body["card_token"]}),
            "POST orders": self._order,
            "GET orders": lambda ask: (200, self._confirmed(ask.path_id)),
            "GET tickets": self._tickets,
        }
        return answers[name](ask) if name in answers else refusal(404, "NOT_FOUND")

    def _status(self, ask: Ask) -> Reply:
        self.polls[ask.token] = self.polls.get(ask.token, 0) + 1
        return 200, self._place(ask.token, self.polls[ask.token])

    def _order(self, ask: Ask) -> Reply:
        if ask.body["payment_method_id"] != "tok_visa":
            return refusal(402, "PAYMENT_DECLINED")
        order = str(uuid4())
        self.orders[order] = self.held[str(ask.body["reservation_id"])]
        return 201, {"order_id": order, "status": "PENDING"}

    def _confirmed(self, order: str) -> dict[str, object]:
        seats = [{"seat_id": seat} for seat in self.orders[order]]
        return {"order_id": order, "status": "CONFIRMED", "seats": seats}

    def _tickets(self, ask: Ask) -> Reply:
        order = ask.query.partition("=")[2].partition("&")[0]
        code = "same" if self.repeats_barcodes else order
        return 200, {"tickets": [{"barcode": f"{code}-{at}"} for at, _ in enumerate(self.orders[order])]}

    def _event(self) -> dict[str, object]:
        return {
            "event_id": EVENT,
            "name": "Fake",
            "total_capacity": self.capacity,
            "available_seats": self.capacity,
            "sale_info": {"general_sale_start": "2026-01-05T10:00:00Z", "status": "ON_SALE"},
        }

    def _place(self, token: str, polls: int) -> dict[str, object]:
        place: dict[str, object] = {"queue_token": token, "poll_interval_seconds": 1}
        if polls < len(self.waits):
            return {**place, "status": "QUEUED", "queue_position": self.waits[polls]}
        return {**place, "status": "READY", "queue_position": 0, "access_token": token if polls else None}

    def _hold(self, quantity: object) -> dict[str, object]:
        assert isinstance(quantity, int)
        first = 0 if self.sells_twice else self.given
        self.given += quantity
        reservation = str(uuid4())
        self.held[reservation] = [f"seat-{first + number}" for number in range(quantity)]
        return {"reservation_id": reservation, "seat_ids": self.held[reservation]}
