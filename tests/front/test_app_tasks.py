"""Apps that fail, answer nothing, or do not listen."""

from __future__ import annotations

import pytest
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from tests.front.raw_http import BOTH_FRONTS, App, answer, serving

pytestmark = BOTH_FRONTS


@pytest.mark.parametrize(("path", "logged"), [(b"/raise", ["ValueError"]), (b"/silent", [])])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_app_without_an_answer_is_answered_for(method: bytes, path: bytes, logged: list[str]) -> None:
    with capture_logs() as logs:
        async with serving(App()) as served:
            client = await served.connect()
            found = await client.ask(
                method + b" " + path + b"?token=secret-token HTTP/1.1\r\nHost: a\r\n\r\n"
            )
            assert (found.status, found.headers["connection"]) == (500, "close")
            assert b"secret" not in found.body
            if method == b"GET":
                assert found.error_code == "INTERNAL_ERROR"
            assert await client.read_rest() == b""
            await served.assert_alive()
    failures = [entry for entry in logs if entry["event"] == "front.app_failed"]
    assert [entry["error"] for entry in failures] == logged
    assert "secret" not in repr(logs)


async def test_app_that_fails_within_its_answer_is_cut() -> None:
    with capture_logs() as logs:
        async with serving(App()) as served:
            client = await served.connect()
            await client.send(b"GET /raise-late HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.read_rest()).endswith(b"\r\n\r\n1")
            await served.assert_alive()
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["front.app_failed"]


class GivesUp(App):
    """Is cancelled, by itself, in the middle of the last thing it sends."""

    async def _answer(
        self, path: str, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        with trio.CancelScope() as scope_of_the_end:
            scope_of_the_end.cancel()
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def test_connection_on_which_a_send_was_given_up_is_not_used_again() -> None:
    app = GivesUp()
    async with serving(app) as served:
        client = await served.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.read_rest()).endswith(b"5\r\nbegun\r\n")
        assert app.outcomes == ["done"]


async def test_body_that_filled_the_queue_unread_does_not_spoil_the_next_request() -> None:
    app = App()
    async with serving(app) as served:
        client = await served.connect()
        head = b"POST /gate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        await client.send(head + b"1\r\na\r\n" * 10 + b"0\r\n\r\n")
        await app.entered.wait()
        await wait_all_tasks_blocked()
        app.gate.set()
        assert (await client.read_answer()).body == b"open"
        assert (await client.ask()).body == b"hello"


class Listener(App):
    """Notes every message that it receives until the client is gone, then answers if asked to."""

    async def _answer(
        self, path: str, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if path == "/":
            await answer(send, b"hello")
            return
        self.entered.set()
        await self.gate.wait()
        while (event := await receive())["type"] != "http.disconnect":
            self.outcomes.append(event["type"])
        assert (await receive())["type"] == "http.disconnect"


async def test_app_is_told_of_the_end_after_what_came_before_it() -> None:
    app = Listener()
    async with serving(app) as served:
        client = await served.connect()
        await client.send(b"POST /listen HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
        await app.entered.wait()
        await client.close()
        app.gate.set()
        await app.left.wait()
        assert app.outcomes == ["http.request", "done"]


async def test_app_that_does_not_receive_holds_back_the_client_and_no_one_else() -> None:
    app = Listener()
    async with serving(app) as served:
        client = await served.connect()
        await client.send(b"POST /listen HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n")
        await app.entered.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, bytes(9_000_000))
            await wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            await served.assert_alive()
            app.gate.set()
        client.reset()
        await app.left.wait()
