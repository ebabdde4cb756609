"""Requests that end a stock server: each is answered, and the next client is served."""

from __future__ import annotations

import base64

import pytest
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Response, request
from quart_trio import QuartTrio
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from tests.front.raw_http import BOTH_FRONTS, GET, App, answer, serving

pytestmark = BOTH_FRONTS

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n"
)
PRIOR_KNOWLEDGE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS_FRAME = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def headers_frame(block: bytes, *, ended: bool = True) -> bytes:
    flags = b"\x05" if ended else b"\x04"
    return len(block).to_bytes(3, "big") + b"\x01" + flags + (1).to_bytes(4, "big") + block


def literal(name: bytes, value: bytes) -> bytes:
    """One header in HPACK, neither indexed nor compressed (RFC 7541 section 6.2.2), under 127 bytes."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def http2(*frames: bytes) -> bytes:
    return PRIOR_KNOWLEDGE + SETTINGS_FRAME + b"".join(frames)


PSEUDO = literal(b":method", b"GET") + literal(b":scheme", b"http") + literal(b":authority", b"a")
PRIORITY_FRAME = b"\x00\x00\x05\x02\x00\x00\x00\x00\x01\x00\x00\x00\x00\x10"
DATA_FRAME = b"\x00\x00\x01\x00\x00\x00\x00\x00\x01x"

WEBSOCKET_UPGRADES = {
    "plain": UPGRADE + b"Connection: Upgrade\r\n\r\n",
    "several connection headers": UPGRADE + b"Connection: keep-alive\r\nConnection: x, upgrade\r\n\r\n",
    "non-ASCII protocol": UPGRADE + b"Connection: Upgrade\r\nSec-WebSocket-Protocol: caf\xe9\r\n\r\n",
    "non-ASCII extensions": UPGRADE + b"Connection: Upgrade\r\nSec-WebSocket-Extensions: \xff\r\n\r\n",
    "non-ASCII connection": UPGRADE + b"Connection: Upgrade, \xe9\r\n\r\n",
    "deflate": UPGRADE + b"Connection: Upgrade\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    "no key": b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "a byte after it": UPGRADE + b"Connection: Upgrade\r\n\r\nx",
    "a frame after it": UPGRADE + b"Connection: Upgrade\r\n\r\n\x81\x85\x00\x00\x00\x00hello",
    "a body": UPGRADE + b"Connection: Upgrade\r\nContent-Length: 5\r\n\r\nhello",
    "a bad body": UPGRADE + b"Connection: Upgrade\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "another request after it": UPGRADE + b"Connection: Upgrade\r\n\r\n" + GET,
}

PRIOR_KNOWLEDGE_REQUESTS = {
    "only the preface": PRIOR_KNOWLEDGE,
    "only its first line": b"PRI * HTTP/2.0\r\n\r\n",
    "CONNECT without a path": http2(
        headers_frame(literal(b":method", b"CONNECT") + literal(b":authority", b"a"))
    ),
    "non-ASCII path": http2(headers_frame(PSEUDO + literal(b":path", b"/\xe9"))),
    "non-ASCII method": http2(
        headers_frame(literal(b":method", b"G\xe9T") + literal(b":scheme", b"http") + literal(b":path", b"/"))
    ),
    "non-ASCII WebSocket protocol": http2(
        headers_frame(
            literal(b":method", b"CONNECT")
            + literal(b":protocol", b"websocket")
            + literal(b":scheme", b"http")
            + literal(b":path", b"/")
            + literal(b":authority", b"a")
            + literal(b"sec-websocket-protocol", b"\xe9")
        )
    ),
    "1,100 PRIORITY frames": http2(PRIORITY_FRAME * 1100),
    "body after the answer": http2(
        headers_frame(PSEUDO + literal(b":path", b"/"), ended=False), DATA_FRAME * 100
    ),
}

UNREADABLE = {
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "binary": bytes(range(256)) + b"\r\n\r\n",
    "no request line": b"\r\n\r\n",
    "non-ASCII target": b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "non-ASCII header name": b"GET / HTTP/1.1\r\nHost: a\r\nX-\xe9: 1\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "CONNECT": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT to a path": b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "no slash": b"GET ?a=b HTTP/1.1\r\nHost: a\r\n\r\n",
    "empty authority": b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
    "query without a path": b"GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/3.0": b"GET / HTTP/3.0\r\nHost: a\r\n\r\n",
    "lengths that differ": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "length that is no number": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \xb2\r\n\r\n",
    "length of 5,000 digits": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "bad chunk": b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "huge chunk size": b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"f" * 5000
    + b"\r\n",
}


def quart_app() -> ASGIFramework:
    app = QuartTrio(__name__)

    @app.route("/")
    async def hello() -> str:
        return "hello"

    @app.route("/echo", methods=["POST"])
    async def echo() -> Response:
        return Response(await request.get_data())

    return app


@pytest.fixture(params=["bare", "quart"])
def app(request: pytest.FixtureRequest) -> ASGIFramework:
    return App() if request.param == "bare" else quart_app()


@pytest.mark.parametrize("sent", WEBSOCKET_UPGRADES.values(), ids=WEBSOCKET_UPGRADES.keys())
async def test_websocket_upgrade_ends_in_plain_404(app: ASGIFramework, sent: bytes) -> None:
    with capture_logs() as logs:
        async with serving(app) as served:
            client = await served.connect()
            found = await client.ask(sent)
            assert (found.status, found.error_code) == (404, "NOT_FOUND")
            assert await client.read_rest() == b""
            await served.assert_alive()
    assert not [entry for entry in logs if entry["log_level"] == "error"]


@pytest.mark.parametrize(
    "settings", [b"A", b"AAMAAABkAAQAAP__", b"", b"\xe9"], ids=["A", "good", "empty", "non-ASCII"]
)
async def test_upgrade_to_http2_is_ignored(app: ASGIFramework, settings: bytes) -> None:
    asked = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    asked += b"HTTP2-Settings: " + settings + b"\r\n\r\n"
    with capture_logs() as logs:
        async with serving(app) as served:
            client = await served.connect()
            found = await client.ask(asked)
            assert (found.status, found.body) == (200, b"hello")
            found = await client.ask()
            assert (found.status, found.body) == (200, b"hello")
            await served.assert_alive()
    assert not [entry for entry in logs if entry["log_level"] == "error"]


@pytest.mark.parametrize("sent", PRIOR_KNOWLEDGE_REQUESTS.values(), ids=PRIOR_KNOWLEDGE_REQUESTS.keys())
async def test_http2_by_prior_knowledge_is_refused(app: ASGIFramework, sent: bytes) -> None:
    with capture_logs() as logs:
        async with serving(app) as served:
            client = await served.connect()
            found = await client.ask(sent)
            assert (found.status, found.error_code) == (400, "INVALID_REQUEST")
            assert await client.read_rest() == b""
            await served.assert_alive()
    assert not [entry for entry in logs if entry["log_level"] == "error"]


@pytest.mark.parametrize("sent", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_what_is_no_request_is_answered_400_and_closed(app: ASGIFramework, sent: bytes) -> None:
    with capture_logs() as logs:
        async with serving(app) as served:
            client = await served.connect()
            found = await client.ask(sent)
            assert (found.status, found.error_code) == (400, "INVALID_REQUEST")
            assert found.headers["connection"] == "close"
            assert await client.read_rest() == b""
            await served.assert_alive()
    assert not [entry for entry in logs if entry["log_level"] == "error"]


async def test_refusal_within_a_body_arrives_whatever_is_still_sent() -> None:
    async with serving(App()) as served:
        client = await served.connect()
        found = await client.ask(UNREADABLE["bad chunk"] + bytes(200_000))
        assert found.status == 400
        # An end of input, not a reset, which could have overtaken the answer.
        assert await client.stream.receive_some() == b""
        await client.close()


class Eager(App):
    """Answers at the first piece of the body."""

    async def _answer(
        self, path: str, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        await receive()
        await answer(send, b"eager")


async def test_refusal_within_a_body_and_the_answer_of_the_app_never_both_come() -> None:
    async with serving(Eager()) as served:
        for _ in range(30):
            client = await served.connect()
            head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            await client.send(head + b"1\r\na\r\nzz\r\n")
            assert (await client.read_rest()).count(b"HTTP/1.1 ") == 1


class Slow(App):
    """Answers a part, and the rest when it may."""

    async def _answer(
        self, path: str, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"7")]})
        await send({"type": "http.response.body", "body": b"no ", "more_body": True})
        self.entered.set()
        await self.gate.wait()
        await send({"type": "http.response.body", "body": b"good", "more_body": False})


@pytest.mark.parametrize("more", [b"zz\r\n", b"zz\r\n" + bytes(60_000)], ids=["a bad chunk", "and much more"])
async def test_a_body_that_goes_wrong_does_not_cost_an_answer_that_has_begun(more: bytes) -> None:
    app = Slow()
    async with serving(app) as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await app.entered.wait()
        await client.send(more)
        await wait_all_tasks_blocked(0.01)
        app.gate.set()
        found = await client.read_answer()
        assert (found.status, found.body) == (401, b"no good")
        assert await client.read_rest() == b""


async def test_refusal_of_a_head_request_has_no_body() -> None:
    async with serving(App()) as served:
        client = await served.connect()
        found = await client.ask(b"HEAD * HTTP/1.1\r\nHost: a\r\n\r\n")
        assert found.status == 400
        assert await client.read_rest() == b""


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/scope?a=b", "/scope", "a=b"),
        (b"http://a/scope?a=b", "/scope", "a=b"),
        (b"HTTPS://a/scope", "/scope", ""),
    ],
)
async def test_targets_in_origin_and_absolute_form(target: bytes, path: str, query: str) -> None:
    async with serving(App()) as served:
        client = await served.connect()
        found = await client.ask(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert found.status == 200
        assert f'"path": "{path}", "query": "{query}"'.encode() in found.body


async def test_absolute_form_without_a_path_is_the_root() -> None:
    async with serving(App()) as served:
        client = await served.connect()
        assert (await client.ask(b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n")).body == b"hello"


async def test_websocket_header_on_another_method_is_ignored() -> None:
    async with serving(App()) as served:
        client = await served.connect()
        sent = UPGRADE.replace(b"GET", b"POST") + b"Connection: Upgrade\r\nContent-Length: 0\r\n\r\n"
        assert (await client.ask(sent)).body == b"hello"


async def test_http10_is_answered_and_closed() -> None:
    async with serving(App()) as served:
        client = await served.connect()
        assert (await client.ask(b"GET / HTTP/1.0\r\n\r\n")).body == b"hello"
        assert await client.read_rest() == b""


async def test_continue_is_sent_to_a_client_that_waits_for_it() -> None:
    async with serving(App()) as served:
        client = await served.connect()
        head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        assert (await client.ask(head)).status == 100
        assert (await client.ask(b"hello")).body == b"hello"


async def test_server_does_not_name_its_software() -> None:
    async with serving(App()) as served:
        client = await served.connect()
        found = await client.ask()
        assert "server" not in found.headers
        assert "date" in found.headers
