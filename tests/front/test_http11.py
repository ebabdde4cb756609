"""Requests that end a stock server: each is answered, and the next client is served."""

from __future__ import annotations

import pytest
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Response, request
from quart_trio import QuartTrio
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from tests.front.hostile_requests import PRIOR_KNOWLEDGE_REQUESTS, UNREADABLE, UPGRADE, WEBSOCKET_UPGRADES
from tests.front.raw_http import BOTH_FRONTS, App, answer, serving

pytestmark = BOTH_FRONTS


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
