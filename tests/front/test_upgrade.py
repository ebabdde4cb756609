"""Requests for a WebSocket: which are taken, which are refused and how, and what surrounds them."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from handlers.websocket import UpgradeRequest
from tests.front.raw_http import GET, App, serving
from tests.front.raw_websocket import (
    CLOSE,
    KEY,
    TEXT,
    close_payload,
    frame,
    serving_sockets,
    upgrade,
)
from ticketd.front.upgrade import UpgradeHead, read_upgrade

GOOD = upgrade()
KEY_LINE = b"Sec-WebSocket-Key: " + KEY
VERSION_LINE = b"Sec-WebSocket-Version: 13"


def without(line: bytes) -> bytes:
    return GOOD.replace(line + b"\r\n", b"")


BAD = {
    "no key": (without(KEY_LINE), 400),
    "two keys": (upgrade("/ws", KEY_LINE), 400),
    "a short key": (GOOD.replace(KEY, b"AAAAAAAAAAAAAAAAAAAA"), 400),
    "a key that is no base64": (GOOD.replace(KEY, b"A" * 22 + b"!="), 400),
    "two versions": (upgrade("/ws", VERSION_LINE), 400),
    "no version": (without(VERSION_LINE), 426),
    "version 8": (GOOD.replace(b"Version: 13", b"Version: 8"), 426),
    "versions in a list": (GOOD.replace(b"Version: 13", b"Version: 13, 8"), 426),
    "a body": (upgrade("/ws", b"Content-Length: 5") + b"hello", 400),
    "a body in chunks": (upgrade("/ws", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    "a bad body": (upgrade("/ws", b"Transfer-Encoding: chunked") + b"zz\r\n", 400),
    "a non-ASCII protocol": (upgrade("/ws", b"Sec-WebSocket-Protocol: caf\xe9"), 400),
    "non-ASCII extensions": (upgrade("/ws", b"Sec-WebSocket-Extensions: \xff"), 400),
    "a non-ASCII connection": (upgrade("/ws", b"Connection: \xe9"), 400),
    "a non-ASCII header of any name": (upgrade("/ws", b"X-A: \xe9"), 400),
    "a non-ASCII host": (GOOD.replace(b"Host: a", b"Host: \xe9"), 400),
}


@pytest.mark.parametrize(("sent", "status"), BAD.values(), ids=BAD.keys())
async def test_bad_request_is_refused_in_the_form_of_the_api(sent: bytes, status: int) -> None:
    with capture_logs() as logs:
        async with serving_sockets() as sockets:
            answer, rest = await sockets.ask(sent)
            assert (answer.status, answer.error_code, rest) == (status, "INVALID_REQUEST", b"")
            assert answer.headers.get("sec-websocket-version") == ("13" if status == 426 else None)
            assert sockets.app.requests == []
            await sockets.served.assert_alive()
    assert not [entry for entry in logs if entry["log_level"] == "error"]


@pytest.mark.parametrize(
    "sent",
    [
        GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"),
        GOOD.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"),
        without(b"Upgrade: websocket"),
        without(b"Connection: Upgrade"),
        GOOD.replace(b"Upgrade: websocket", b"Upgrade: websockets"),
    ],
    ids=["HTTP/1.0", "POST", "no upgrade", "no connection", "another protocol"],
)
async def test_what_asks_for_no_websocket_goes_to_the_app(sent: bytes) -> None:
    async with serving_sockets() as sockets:
        client = await sockets.served.connect()
        assert (await client.ask(sent)).body == b"hello"
        assert sockets.app.requests == []


async def test_without_an_application_it_is_404() -> None:
    async with serving(App()) as served:
        client = await served.connect()
        answer = await client.ask(GOOD)
        assert (answer.status, answer.error_code) == (404, "NOT_FOUND")
        assert await client.read_rest() == b""


async def test_answer_of_rfc_6455() -> None:
    sent = GOOD.replace(KEY, b"dGhlIHNhbXBsZSBub25jZQ==")
    async with serving_sockets() as sockets:
        client = await sockets.served.connect()
        answer = await client.ask(sent)
        assert answer.status == 101
        assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert answer.headers["upgrade"] == "websocket"
        assert answer.headers["connection"] == "Upgrade"
        assert answer.headers["x-request-id"] == "r"
        assert "sec-websocket-protocol" not in answer.headers


async def test_subprotocol_that_the_application_chose() -> None:
    async with serving_sockets() as sockets:
        client = await sockets.served.connect()
        offer = (b"Sec-WebSocket-Protocol: bearer.abc,ticketd.v1", b"Sec-WebSocket-Protocol: x")
        answer = await client.ask(upgrade("/ws", *offer))
        assert answer.headers["sec-websocket-protocol"] == "ticketd.v1"
        assert sockets.app.requests[0].subprotocols == ("bearer.abc", "ticketd.v1", "x")


async def test_no_extension_is_agreed_to() -> None:
    async with serving_sockets() as sockets:
        client = await sockets.served.connect()
        offer = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
        assert "sec-websocket-extensions" not in (await client.ask(upgrade("/ws", offer))).headers


async def test_what_the_application_is_told() -> None:
    async with serving_sockets() as sockets:
        more = (b"Connection: keep-alive", b"Origin: https://shop.example", b"Content-Length: 0")
        await sockets.open(upgrade("/w%C3%A9?token=a%20b&c", *more))
        (request,) = sockets.app.requests
        assert (request.path, request.query, request.client) == ("/wé", "token=a%20b&c", "127.0.0.1")
        assert request.headers["origin"] == "https://shop.example"
        assert request.headers["connection"] == "Upgrade, keep-alive"
        assert request.subprotocols == ()


def test_client_of_a_unix_socket_has_no_address() -> None:
    head = UpgradeHead(b"/", [(b"sec-websocket-version", b"13"), (b"sec-websocket-key", KEY)])
    request = read_upgrade(head, "")
    assert isinstance(request, UpgradeRequest)
    assert request.client == ""


async def test_refusal_of_the_application_is_the_last_answer() -> None:
    async with serving_sockets() as sockets:
        answer, rest = await sockets.ask(upgrade("/refuse"))
        assert (answer.status, answer.body, rest) == (401, b"no token", b"")
        assert (answer.headers["x-request-id"], answer.headers["connection"]) == ("r", "close")
        assert "date" in answer.headers


async def test_application_that_fails_is_answered_for_and_its_words_are_not_logged() -> None:
    with capture_logs() as logs:
        async with serving_sockets() as sockets:
            answer, rest = await sockets.ask(upgrade("/raise"))
            assert (answer.status, answer.error_code, rest) == (500, "INTERNAL_ERROR", b"")
            await sockets.served.assert_alive()
    assert "front.app_failed" in [entry["event"] for entry in logs]
    assert "secret" not in repr(logs)


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("pipelined", [True, False])
async def test_after_requests_of_the_same_connection(before: int, *, pipelined: bool) -> None:
    async with serving_sockets() as sockets:
        client = await sockets.connect()
        if pipelined:
            await client.send(GET * before + GOOD + frame(TEXT, b"early"))
        for _ in range(before):
            assert (await client.read_answer() if pipelined else await client.ask()).body == b"hello"
        if not pipelined:
            await client.send(GOOD + frame(TEXT, b"early"))
        assert (await client.read_answer()).status == 101
        assert await client.hear() == (TEXT, b"early")
        await client.echo(b"late")


async def test_frames_behind_the_head_are_kept_however_much_came_in_one_write() -> None:
    texts = [b"%d" % number * 500 for number in range(60)]
    async with serving_sockets() as sockets:
        client = await sockets.open(GOOD, b"".join(frame(TEXT, text) for text in texts))
        for text in texts:
            assert await client.hear() == (TEXT, text)


async def test_byte_by_byte() -> None:
    async with serving_sockets() as sockets:
        client = await sockets.connect()
        for byte in GOOD + frame(TEXT, b"hello") + frame(CLOSE, close_payload(1000)):
            await client.send(bytes([byte]))
        assert (await client.read_answer()).status == 101
        assert await client.expect_close(1000) == [b"hello"]
        assert sockets.app.session.received == ["hello"]


async def test_another_request_behind_it_is_a_protocol_error() -> None:
    async with serving_sockets() as sockets:
        client = await sockets.open(GOOD, GET)
        await client.expect_close(1002)
        await sockets.served.assert_alive()


async def test_client_that_leaves_while_it_is_judged() -> None:
    with capture_logs() as logs:
        async with serving_sockets() as sockets:
            client = await sockets.connect()
            await client.send(GOOD)
            client.reset()
            await sockets.served.assert_alive()
    assert not [entry for entry in logs if entry["log_level"] == "error"]
