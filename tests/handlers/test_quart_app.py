"""The same bytes over a real socket: the front, the Quart application, and a client that sends what it is told to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from handlers.call import ListenerKind
from handlers.quart_app import build_app
from handlers.routes import ENDPOINTS
from tests.front.raw_http import LIMITS, Answer, RawClient
from tests.support.daemon import Daemon, open_daemon
from tests.support.events import arena_file, put_plan
from tests.support.tokens import mint
from ticketd.credentials.api_keys import Scope
from ticketd.credentials.keyring import TokenKind
from ticketd.front import BoundAddress, ListenerName, Served, open_tcp_listener, serve_listeners

LIMIT = 65_536
CARDS = "/v1/payment-methods"
CARD = json.dumps({"type": "CARD", "card_token": "tok_visa"}).encode()
CHANGING = {"date", "x-request-id"}


@dataclass
class Wire:
    """A daemon behind a socket."""

    daemon: Daemon
    address: BoundAddress
    buyer: dict[str, str]
    """What a buyer sends."""

    async def ask(self, head: str, body: bytes = b"", *, headers: dict[str, str] | None = None) -> Answer:
        """Sends a request on a connection of its own. ``head`` is method and target."""
        client = await RawClient.connect(self.address)
        try:
            return await client.ask(request(head, {**self.buyer, **(headers or {})}, body))
        finally:
            await client.close()


def request(head: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """The bytes of a request; an empty header is left out."""
    lines = {"Host": "tickets.test", **headers}
    if body and "Transfer-Encoding" not in headers:
        lines = {"Content-Length": str(len(body)), "Content-Type": "application/json", **lines}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"{head} HTTP/1.1\r\n{text}\r\n".encode("latin-1") + body


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


@asynccontextmanager
async def open_wire(data: Path, kind: ListenerKind = ListenerKind.PUBLIC) -> AsyncIterator[Wire]:
    async with open_daemon(data) as daemon:
        limit = LIMIT if kind is ListenerKind.PUBLIC else 1 << 24
        app = build_app(daemon.server, ENDPOINTS, kind, limit)
        listener = await open_tcp_listener("127.0.0.1:0", ListenerName.PUBLIC)
        stop = trio.Event()

        async def serve(
            *, task_status: trio.TaskStatus[list[BoundAddress]] = trio.TASK_STATUS_IGNORED
        ) -> None:
            await serve_listeners(
                Served(app=app, limits=LIMITS), [listener], stop=stop, task_status=task_status
            )

        async with trio.open_nursery() as nursery:
            (address,) = await nursery.start(serve)
            key = daemon.keys[Scope.STOREFRONT if kind is ListenerKind.PUBLIC else Scope.OPERATOR]
            headers = {"X-API-Key": key}
            if kind is ListenerKind.PUBLIC:
                headers["Authorization"] = f"Bearer {mint(daemon, TokenKind.USER)}"
            yield Wire(daemon, address, headers)
            stop.set()


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    async with open_wire(tmp_path) as wire:
        yield wire


async def test_the_same_call_gives_the_same_bytes(wire: Wire) -> None:
    event_id = await put_plan(wire.daemon, arena_file())
    direct = wire.daemon.client().with_token(mint(wire.daemon, TokenKind.USER))
    direct.extra = {"x-request-id": "0198c0de-0000-7000-8000-00000000abcd"}
    wire.buyer |= {"X-Request-ID": direct.extra["x-request-id"]}
    for head in (
        "GET /healthz",
        f"GET /v1/events/{event_id}",
        f"GET /v1/events/{event_id}/seats",
        f"GET /v1/events/{event_id}/seats?since=0",
        "GET /v1/events/search?query=lantern&per_page=1",
        "GET /v1/events/search?per_page=0",
        "GET /v1/events/search?a=1&a=2",
        "GET /v1/orders",
        "GET /v1/orders/x",
        "GET /v1/nothing",
        "GET /v1/orders/",
        "GET //v1/orders",
        "GET /v1/queue/status",
        "GET /docs",
        "GET /docs/..",
        "GET /metrics",
        "GET /v1/operator/stats",
        "DELETE /v1/orders",
        "OPTIONS /v1/orders",
        "OPTIONS /v1/nothing",
        "BREW /v1/orders",
    ):
        method, _, target = head.partition(" ")
        wanted, got = await direct.call(method, target), await wire.ask(head)
        assert (got.status, got.body) == (wanted.status, wanted.body), head
        same = {
            name: value for name, value in got.headers.items() if name not in CHANGING | {"content-length"}
        }
        assert same == {name: value for name, value in wanted.headers.items() if name not in CHANGING}, head
        assert got.headers["x-request-id"] == wanted.headers["x-request-id"], head
        assert got.headers.get("content-length") == (None if got.status == 204 else str(len(got.body))), head


async def test_a_buyer_adds_and_forgets_a_card(wire: Wire) -> None:
    added = await wire.ask(f"POST {CARDS}", CARD)
    assert (added.status, added.headers["content-type"]) == (201, "application/json")
    card = json.loads(added.body)["payment_method_id"]
    gone = await wire.ask(f"DELETE {CARDS}/{card}")
    assert (gone.status, gone.body) == (204, b"")
    assert not {"content-type", "content-length", "transfer-encoding"} & set(gone.headers)


@pytest.mark.parametrize("host", ["a" * 300, "a..b", ".", "[::1", "xn--a", "a:b:c", ""])
async def test_what_a_host_says_is_nobodys_concern(wire: Wire, host: str) -> None:
    client = await RawClient.connect(wire.address)
    lines = "".join(f"{name}: {value}\r\n" for name, value in wire.buyer.items())
    got = await client.ask(f"GET {CARDS} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode())
    assert (got.status, json.loads(got.body)["payment_methods"]) == (200, [])
    await client.close()


@pytest.mark.parametrize("path", [CARDS, "/healthz", "/v1/openapi.json", "/v1/nothing", "/docs"])
async def test_head_is_get_without_its_body(wire: Wire, path: str) -> None:
    got = await wire.ask(f"GET {path}")
    client = await RawClient.connect(wire.address)
    head = await client.ask(request(f"HEAD {path}", wire.buyer))
    assert head.status == got.status
    assert {**head.headers, "x-request-id": "", "date": ""} == {**got.headers, "x-request-id": "", "date": ""}
    # Nothing of a body comes before the next answer.
    after = await client.ask(request("GET /healthz", {}))
    assert (after.status, after.body) == (200, b'{"status":"ok"}')
    await client.close()


async def test_who_has_it_already_gets_nothing_more(wire: Wire) -> None:
    event_id = await put_plan(wire.daemon, arena_file())
    for path in (f"/v1/events/{event_id}", f"/v1/events/{event_id}/seats", "/v1/openapi.json"):
        client = await RawClient.connect(wire.address)
        got = await client.ask(request(f"GET {path}", wire.buyer))
        await client.send(request(f"GET {path}", {**wire.buyer, "If-None-Match": got.headers["etag"]}))
        again = await client.read_answer(bodiless=True)
        assert (again.status, again.headers["etag"]) == (304, got.headers["etag"])
        assert "content-type" not in again.headers
        assert (await client.ask(request("GET /healthz", {}))).body == b'{"status":"ok"}'
        await client.close()


@pytest.mark.parametrize("in_chunks", [False, True])
@pytest.mark.parametrize(
    ("size", "wanted"),
    [(LIMIT - 1, 201), (LIMIT, 201), (LIMIT + 1, 413), (LIMIT + 2, 413), (10 * LIMIT, 413)],
)
async def test_the_largest_body(wire: Wire, size: int, wanted: int, in_chunks: bool) -> None:
    body = CARD + b" " * (size - len(CARD))
    if in_chunks:
        headers = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
        answer = await wire.ask(f"POST {CARDS}", chunked(body, 10_000), headers=headers)
    else:
        answer = await wire.ask(f"POST {CARDS}", body)
    assert answer.status == wanted
    if wanted == 413:
        assert answer.error_code == "BODY_TOO_LARGE"
        assert json.loads(answer.body)["error"]["details"] == {"max_bytes": LIMIT}


async def test_a_body_that_nobody_may_send_is_not_waited_for(wire: Wire) -> None:
    """Who may not call is told so before the body has come."""
    client = await RawClient.connect(wire.address)
    headers = {"Content-Length": "1000", "Content-Type": "application/json"}
    answer = await client.ask(request(f"POST {CARDS}", headers) + b"{")
    assert (answer.status, answer.error_code) == (401, "API_KEY_INVALID")
    await client.close()


async def test_a_chunked_body_is_a_body(wire: Wire) -> None:
    headers = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
    for size in (1, 7, 1000):
        assert (await wire.ask(f"POST {CARDS}", chunked(CARD, size), headers=headers)).status == 201
    empty = await wire.ask(f"POST {CARDS}", chunked(b"", 1), headers=headers)
    assert (empty.status, empty.error_code) == (400, "INVALID_REQUEST")


async def test_one_connection_carries_good_and_bad_requests(wire: Wire) -> None:
    client = await RawClient.connect(wire.address)
    for _ in range(2):
        for head, body, wanted in (
            (f"POST {CARDS}", b"{", 400),
            ("GET /v1/nothing", b"", 404),
            (f"POST {CARDS}", CARD, 201),
            (f"PUT {CARDS}", CARD, 405),
            (f"GET {CARDS}", b"", 200),
        ):
            assert (await client.ask(request(head, wire.buyer, body))).status == wanted
    await client.close()


async def test_paths_are_decoded_once(wire: Wire) -> None:
    event_id = str(await put_plan(wire.daemon, arena_file()))
    escaped = event_id.replace("-", "%2D")
    assert (await wire.ask(f"GET /v1/events/{escaped}")).status == 200
    for path in (
        f"/v1/events/{event_id}%2Fseats%2F",
        f"/v1/events/{event_id.replace('-', '%252D')}",
        f"/v1/events/{event_id}%00",
        "/v1/events/%ff",
        "/v1/events/%C3%A9",
        f"/v1/events/{event_id}%0A",
        f"/v1/events/ {event_id}".replace(" ", "%20"),
        "/v1/../v1/orders",
        "/docs/%2e%2e/%2e%2e/etc/passwd",
    ):
        answer = await wire.ask(f"GET {path}")
        assert answer.status == 404, path
        assert answer.error_code in {"NOT_FOUND", "EVENT_NOT_FOUND"}


async def test_a_header_sent_twice_is_not_chosen_from(wire: Wire) -> None:
    raw = request("GET /v1/orders", wire.buyer)
    for name, code in (("X-API-Key", "API_KEY_INVALID"), ("Authorization", "TOKEN_INVALID")):
        client = await RawClient.connect(wire.address)
        line = f"{name}: {wire.buyer[name]}\r\n".encode()
        answer = await client.ask(raw.replace(line, line + line))
        assert (answer.status, answer.error_code) == (401, code)
        await client.close()


async def test_headers_of_any_bytes_are_answered(wire: Wire) -> None:
    for name in (
        "X-API-Key",
        "Authorization",
        "X-Device-ID",
        "X-Session-ID",
        "X-Request-ID",
        "Idempotency-Key",
    ):
        for value in ("\xff\xfe", "Bearer \xff", "\x80" * 200):
            answer = await wire.ask(f"POST {CARDS}", CARD, headers={name: value})
            assert answer.status < 500


async def test_compressed_over_the_wire(wire: Wire) -> None:
    plain = await wire.ask("GET /v1/openapi.json")
    packed = await wire.ask("GET /v1/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["content-length"] == str(len(packed.body))
    assert len(packed.body) < len(plain.body) // 2


async def test_behind_the_operators_listener(tmp_path: Path) -> None:
    async with open_wire(tmp_path, ListenerKind.OPERATOR_TCP) as wire:
        document = json.dumps(arena_file(description="x" * LIMIT)).encode()
        refused = await wire.ask("POST /v1/operator/events", document)
        assert (refused.status, refused.error_code) == (400, "INVALID_REQUEST")
        document = json.dumps(arena_file()).encode() + b" " * LIMIT
        assert (await wire.ask("POST /v1/operator/events", document)).status == 201
        assert (await wire.ask("GET /v1/operator/stats")).status == 200
        assert (await wire.ask("GET /v1/orders")).error_code == "NOT_FOUND"
        over = await wire.ask("POST /v1/operator/events", b" " * ((1 << 24) + 1))
        assert over.error_code == "BODY_TOO_LARGE"
        assert (await wire.ask("GET /metrics")).status == 200
        keyless = await wire.ask("GET /v1/operator/stats", headers={"X-API-Key": ""})
        assert keyless.error_code == "API_KEY_INVALID"
