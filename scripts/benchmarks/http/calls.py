"""The calls that are measured, as the bytes that go over the wire, and what is wanted of their answers."""

from __future__ import annotations

import gzip
import http.client
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from handlers.wire.events import EventAnswer
from handlers.wire.inventory import ReservationAnswer, SeatMapAnswer
from handlers.wire.queue import JoinAnswer, StatusAnswer
from scripts.benchmarks.http.cores import BenchmarkFailed, Server
from scripts.benchmarks.http.scene import HALL_SEATS, Buyer, Scene

MANY: Final = (32, 256)
FULL: Final = (256,)


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is measured. ``connections``: with how many at once. ``once``: no request may be sent twice.
    ``watched``: the status of every answer is looked at, not of the first alone; that costs wrk something. ``fields``:
    what every contender's answer has, and nothing else."""

    name: str
    title: str
    status: int
    connections: tuple[int, ...] = MANY
    once: bool = False
    watched: bool = False
    fields: tuple[str, ...] = ()


STATUS: Final = Workload(
    name="status",
    title="queue status",
    status=200,
    fields=tuple(set(StatusAnswer.__struct_fields__) - {"access_token", "expires_at"}),
)
EVENT: Final = Workload(name="event", title="event details", status=200, fields=EventAnswer.__struct_fields__)
SEATS_UNCHANGED: Final = Workload(name="seats-304", title="seat map, unchanged", status=304)
SEATS: Final = Workload(
    name="seats", title="seat map, whole, gzip", status=200, fields=SeatMapAnswer.__struct_fields__
)
JOIN: Final = Workload(name="join", title="join", status=200, once=True, fields=JoinAnswer.__struct_fields__)
RESERVE: Final = Workload(
    name="reserve",
    title="reserve two seats, durable",
    status=201,
    connections=FULL,
    once=True,
    watched=True,
    fields=ReservationAnswer.__struct_fields__,
)
RELEASE: Final = Workload(
    name="release", title="release, durable", status=204, connections=FULL, once=True, watched=True
)

WORKLOADS: Final = (STATUS, EVENT, SEATS_UNCHANGED, SEATS, JOIN, RESERVE, RELEASE)
"""In the order in which they are measured: RELEASE gives up what RESERVE has made."""


class Calls:
    """The requests of a scene. ``prepared``: how many of those are made that can be sent once alone."""

    def __init__(self, scene: Scene, prepared: int) -> None:
        self._scene = scene
        self._prepared = prepared
        self._buyer_of: dict[str, Buyer] = {}

    def requests(self, workload: Workload, server: Server, record: Path) -> Iterator[bytes]:
        """The requests of a workload, for a server that has just been started; ``record``: of its reservations."""
        scene = self._scene
        hall = f"/v1/events/{scene.hall.event_id}"
        match workload.name:
            case "status":
                for buyer in scene.waiting:
                    yield self._get("/v1/queue/status", buyer)
            case "event":
                yield self._get(hall)
            case "seats":
                yield self._get(f"{hall}/seats", headers={"Accept-Encoding": "gzip"})
            case "seats-304":
                etag = _etag(server, self._get(f"{hall}/seats", headers={"Accept-Encoding": "gzip"}))
                yield self._get(f"{hall}/seats", headers={"Accept-Encoding": "gzip", "If-None-Match": etag})
            case "join":
                yield from self._joins()
            case "reserve":
                yield from self._reserves()
            case "release":
                yield from self._releases(record)
            case unknown:
                raise AssertionError(unknown)

    def seats_gone(self, server: Server) -> int:
        """How many seats of the sale are not free any more, by what the server tells of the event."""
        answer = _send(server, self._get(f"/v1/events/{self._scene.sale.event_id}"))
        details = json.loads(answer.read())
        return int(details["total_capacity"]) - int(details["available_seats"])

    def _joins(self) -> Iterator[bytes]:
        draw = random.Random()  # others in every run
        for _ in range(self._prepared):
            device = f"device-{draw.getrandbits(128):032x}"
            body = {
                "event_id": self._scene.queue.event_id,
                "user_id": str(UUID(int=draw.getrandbits(128), version=4)),
                "device_fingerprint": device,
            }
            yield self._request("POST", "/v1/queue/join", {"X-Device-ID": device}, body)

    def _reserves(self) -> Iterator[bytes]:
        """Each for two seats that stand together; those of a row are asked for at different times."""
        shoppers = self._scene.shoppers
        pairs = [row[at : at + 2] for row in self._scene.sale.seat_ids() for at in range(0, len(row) - 1, 2)]
        random.Random(1).shuffle(pairs)
        self._buyer_of = {pair[0]: shoppers[n % len(shoppers)] for n, pair in enumerate(pairs)}
        for pair in pairs:
            buyer = self._buyer_of[pair[0]]
            body = {"event_id": self._scene.sale.event_id, "user_id": buyer.user_id, "seat_ids": pair}
            yield self._request("POST", "/v1/seats/reserve", _token(buyer), body)

    def _releases(self, record: Path) -> Iterator[bytes]:
        """Of every reservation that the answers of RESERVE told of."""
        for line in record.read_text().splitlines():
            reservation_id, first_seat = line.split()
            buyer = self._buyer_of[first_seat]
            yield self._request("DELETE", f"/v1/reservations/{reservation_id}", _token(buyer), None)

    def _get(self, target: str, buyer: Buyer | None = None, headers: dict[str, str] | None = None) -> bytes:
        return self._request("GET", target, {**(_token(buyer) if buyer else {}), **(headers or {})}, None)

    def _request(self, method: str, target: str, headers: dict[str, str], body: object) -> bytes:
        data = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        lines = [f"{method} {target} HTTP/1.1", "Host: tickets.test", f"X-API-Key: {self._scene.api_key}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
        return "\r\n".join([*lines, "", ""]).encode() + data


def check_answer(server: Server, request: bytes, workload: Workload) -> None:
    """Sends one request, and raises BenchmarkFailed unless its answer is as every contender has to give it."""
    answer = _send(server, request)
    body = answer.read()
    if answer.status != workload.status:
        raise BenchmarkFailed(
            f"{workload.name}: wanted {workload.status}, got {answer.status}: {body[:500]!r}"
        )
    coding = answer.headers.get("Content-Encoding")
    if workload is SEATS and coding != "gzip":
        raise BenchmarkFailed("the seat map did not come compressed")
    if coding == "gzip":
        body = gzip.decompress(body)
    found = set(json.loads(body)) if body else set()
    if strange := found ^ set(workload.fields):
        raise BenchmarkFailed(f"{workload.name}: fields that are missing, or too many: {sorted(strange)}")
    if workload is SEATS and body.count(b'"seat_id"') != HALL_SEATS:
        raise BenchmarkFailed("the seat map is not whole")


def _token(buyer: Buyer) -> dict[str, str]:
    return {"Authorization": f"Bearer {buyer.token}", "X-Device-ID": buyer.device}


def _etag(server: Server, request: bytes) -> str:
    answer = _send(server, request)
    answer.read()
    etag = answer.headers.get("ETag")
    if etag is None:
        raise BenchmarkFailed("the seat map has no ETag")
    return etag


def _send(server: Server, request: bytes) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    connection.connect()
    connection.sock.sendall(request)
    answer = http.client.HTTPResponse(connection.sock)
    answer.begin()
    return answer
