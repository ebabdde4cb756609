"""What an ASGI app may do, and what goes on the wire for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import pytest
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.front.raw_http import GET, LIMITS, App, answer, read_body, serving

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
WAITING = POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
BAD_CHUNK = POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"zz\r\n0\r\n\r\n"

Headers = list[tuple[bytes, bytes]]
Behaviour = Callable[[ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]


class Doing(App):
    """Does one thing for every request, but for those of ``assert_alive``."""

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__()
        self._behaviour = behaviour
        self.scopes: list[Scope] = []

    async def _answer(
        self, path: str, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        self.scopes.append(scope)
        await self._behaviour(receive, send)


async def say(
    send: ASGISendCallable, *parts: bytes, status: int = 200, headers: Headers | None = None
) -> None:
    """An answer in as many events as there are parts."""
    await send({"type": "http.response.start", "status": status, "headers": headers or []})
    for number, part in enumerate(parts, 1):
        await send({"type": "http.response.body", "body": part, "more_body": number < len(parts)})


def saying(*parts: bytes, status: int = 200, headers: Headers | None = None) -> Doing:
    async def behave(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await say(send, *parts, status=status, headers=headers)

    return Doing(behave)


async def whole_exchange(app: App, sent: bytes) -> bytes:
    """Everything that comes for ``sent``, after which nothing more is sent. The date is left out."""
    async with serving(app) as served:
        client = await served.connect()
        await client.send(sent)
        await client.stream.send_eof()
        lines = (await client.read_rest()).split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.startswith(b"date: "))


class TestForms:
    async def test_one_event_has_its_length(self) -> None:
        found = await whole_exchange(saying(b"hello"), GET)
        assert found == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"

    async def test_several_events_are_chunked(self) -> None:
        found = await whole_exchange(saying(b"he", b"", b"llo", b""), GET * 2)
        one = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
        assert found == one * 2

    async def test_several_events_of_a_length_that_was_said_are_not(self) -> None:
        found = await whole_exchange(saying(b"he", b"llo", headers=[(b"Content-Length", b"5")]), GET)
        assert found == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"

    async def test_http_1_0_is_given_no_chunks_but_an_end(self) -> None:
        found = await whole_exchange(saying(b"he", b"llo"), b"GET / HTTP/1.0\r\n\r\n" + GET)
        assert found == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello"

    async def test_http_1_0_is_closed_after_a_length(self) -> None:
        found = await whole_exchange(saying(b"hello"), b"GET / HTTP/1.0\r\nHost: a\r\n\r\n" + GET)
        assert found == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"

    @pytest.mark.parametrize("headers", [[], [(b"content-length", b"5")]], ids=["no length", "a length"])
    @pytest.mark.parametrize("parts", [[b"hello"], [b"he", b"llo"]], ids=["one event", "two"])
    async def test_head_has_no_body_and_the_next_request_is_answered(
        self, parts: list[bytes], headers: Headers
    ) -> None:
        app = saying(*parts, headers=headers)
        found = await whole_exchange(app, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        assert found.count(b"HTTP/1.1 200 OK\r\n") == 2
        assert b"hello" not in found
        assert b"llo" not in found
        assert found.endswith(b"\r\n\r\n")
        assert b"0\r\n\r\n" not in found

    @pytest.mark.parametrize("status", [204, 304])
    @pytest.mark.parametrize("parts", [[b""], [b"he", b"llo"]], ids=["nothing", "something"])
    async def test_statuses_without_a_body_have_none(self, status: int, parts: list[bytes]) -> None:
        found = await whole_exchange(saying(*parts, status=status), GET * 2)
        assert found.count(b"HTTP/1.1 ") == 2
        assert b"llo" not in found
        assert b"transfer-encoding" not in found
        assert b"content-length" not in found

    async def test_an_app_that_says_no_more_is_not_listened_to(self) -> None:
        async def behave(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await say(send, b"hello")
            await say(send, b"again")
            assert (await receive())["type"] == "http.disconnect"

        found = await whole_exchange(Doing(behave), GET)
        assert found == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


class TestPromisesThatAreNotKept:
    async def test_more_than_the_length_is_cut(self) -> None:
        found = await whole_exchange(saying(b"hel", b"lo!", headers=[(b"content-length", b"5")]), GET * 2)
        assert found == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello" * 2

    async def test_less_than_the_length_ends_the_connection(self) -> None:
        with capture_logs() as logs:
            found = await whole_exchange(saying(b"hell", headers=[(b"content-length", b"5")]), GET * 2)
        assert found == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell"
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["front.app_failed"]

    async def test_an_end_that_was_not_said_ends_the_connection(self) -> None:
        async def behave(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"he", "more_body": True})

        found = await whole_exchange(Doing(behave), GET * 2)
        assert found == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n"

    @pytest.mark.parametrize(
        "headers",
        [[(b"x", b"1\r\nY: 2")], [(b"content-length", b"five")]],
        ids=["a header of two lines", "a length that is none"],
    )
    async def test_what_cannot_be_sent_is_a_500_once(self, headers: Headers) -> None:
        with capture_logs() as logs:
            found = await whole_exchange(saying(b"hello", headers=headers), GET * 2)
        assert found.startswith(b"HTTP/1.1 500 ")
        assert found.count(b"HTTP/1.1 ") == 1
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["front.app_failed"]

    @pytest.mark.parametrize("sent", [GET, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"], ids=["GET", "HEAD"])
    async def test_an_app_that_only_begins_is_answered_for(self, sent: bytes) -> None:
        async def behave(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})

        found = await whole_exchange(Doing(behave), sent * 2)
        assert found.startswith(b"HTTP/1.1 500 ")
        assert found.count(b"HTTP/1.1 ") == 1
        assert found.endswith(b"\r\n\r\n") is sent.startswith(b"HEAD")


class TestBodies:
    @pytest.mark.parametrize(
        "sent",
        [
            POST + b"Content-Length: 5\r\n\r\nhello",
            POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nX: 1\r\n\r\n",
        ],
        ids=["length", "chunked"],
    )
    @pytest.mark.parametrize("reads", [True, False], ids=["read", "not read"])
    async def test_what_follows_a_body_is_the_next_request(self, sent: bytes, reads: bool) -> None:
        bodies: list[bytes | None] = []

        async def behave(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            if reads:
                bodies.append(await read_body(receive))
            await answer(send, b"ok")

        found = await whole_exchange(Doing(behave), sent * 3 + GET)
        assert found == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" * 4
        assert bodies == ([b"hello"] * 3 + [b""] if reads else [])

    async def test_a_body_read_in_part_is_skipped_to_its_end(self) -> None:
        async def behave(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await receive()
            await answer(send, b"ok")

        async with serving(Doing(behave)) as served:
            client = await served.connect()
            await client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n")
            await wait_all_tasks_blocked()
            found = await client.read_answer()
            assert (found.body, found.headers["connection"]) == (b"ok", "close")
            assert await client.read_rest() == b""

    @pytest.mark.parametrize("bad", [BAD_CHUNK, BAD_CHUNK + GET], ids=["alone", "a request behind it"])
    async def test_behind_a_bad_body_nothing_is_read_even_if_the_app_answers(self, bad: bytes) -> None:
        async def behave(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            assert await read_body(receive) is None
            assert (await receive())["type"] == "http.disconnect"
            await answer(send, b"all the same")

        app = Doing(behave)
        found = await whole_exchange(app, bad)
        assert found.count(b"HTTP/1.1 ") == 1
        assert b"connection: close\r\n" in found
        assert len(app.scopes) == 1

    async def test_a_bad_body_that_ends_the_app_before_its_answer_is_refused(self) -> None:
        async def behave(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            assert await read_body(receive) is None
            # What a framework does whose other task was told that the client is gone.
            with trio.CancelScope() as scope:
                scope.cancel()
                await answer(send, b"too late")

        found = await whole_exchange(Doing(behave), BAD_CHUNK + GET)
        assert found.startswith(b"HTTP/1.1 400 ")
        assert found.count(b"HTTP/1.1 ") == 1

    async def test_a_length_that_is_not_kept_is_told_to_the_app_again_and_again(self) -> None:
        async def behave(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            for _ in range(3):
                while (await receive())["type"] != "http.disconnect":
                    pass

        found = await whole_exchange(Doing(behave), POST + b"Content-Length: 5\r\n\r\nhell")
        assert found.startswith(b"HTTP/1.1 400 ")
        assert found.count(b"HTTP/1.1 ") == 1

    async def test_an_app_that_waits_for_the_end_of_its_client_is_told(self) -> None:
        async def behave(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            app.entered.set()
            assert (await receive())["type"] == "http.request"
            assert (await receive())["type"] == "http.disconnect"

        app = Doing(behave)
        async with serving(app) as served:
            client = await served.connect()
            await client.send(GET)
            await app.entered.wait()
            client.reset()
            await app.left.wait()
        assert app.outcomes == ["done"]

    async def test_what_comes_while_the_app_works_is_bounded_and_answered_after_it(self) -> None:
        async def behave(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait_for_the_end, receive)
                app.entered.set()
                await app.gate.wait()
                nursery.cancel_scope.cancel()
            await answer(send, b"ok")

        async def wait_for_the_end(receive: ASGIReceiveCallable) -> None:
            while True:
                await receive()

        app = Doing(behave)
        async with serving(app) as served:
            client = await served.connect()
            await client.send(GET)
            await app.entered.wait()
            await client.send(GET[:9])
            await wait_all_tasks_blocked()
            await client.send(GET[9:] + GET)
            await wait_all_tasks_blocked()
            app.gate.set()
            for _ in range(3):
                assert (await client.read_answer()).body == b"ok"


class TestContinue:
    async def test_it_is_said_when_the_body_is_wanted_and_once(self) -> None:
        async def behave(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await answer(send, await read_body(receive) or b"nothing")

        async with serving(Doing(behave)) as served:
            client = await served.connect()
            for _ in range(2):
                assert (await client.ask(WAITING)).status == 100
                await client.send(b"hel")
                await wait_all_tasks_blocked()
                assert (await client.ask(b"lo")).body == b"hello"

    async def test_it_is_not_said_if_the_body_is_not_read(self) -> None:
        async with serving(saying(b"no")) as served:
            client = await served.connect()
            found = await client.ask(WAITING)
            assert (found.status, found.headers["connection"]) == (200, "close")
            assert await client.read_rest() == b""

    async def test_it_is_not_said_if_the_body_is_here(self) -> None:
        async def behave(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await answer(send, await read_body(receive) or b"nothing")

        found = await whole_exchange(Doing(behave), (WAITING + b"hello") * 2)
        assert found == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello" * 2

    async def test_it_is_never_said_within_an_answer(self) -> None:
        async def behave(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            body = await read_body(receive)
            await send({"type": "http.response.body", "body": body or b"none", "more_body": False})

        async with serving(Doing(behave)) as served:
            client = await served.connect()
            await client.send(WAITING)
            await wait_all_tasks_blocked()
            await client.send(b"hello")
            assert (await client.read_answer()).body == b"firsthello"
            assert await client.read_rest() == b""

    async def test_http_1_0_knows_nothing_of_it(self) -> None:
        async def behave(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await answer(send, await read_body(receive) or b"nothing")

        async with serving(Doing(behave)) as served:
            client = await served.connect()
            await client.send(WAITING.replace(b"1.1", b"1.0"))
            await wait_all_tasks_blocked()
            assert (await client.ask(b"hello")).status == 200


class TestScopes:
    async def test_what_the_app_is_told(self) -> None:
        app = saying(b"")
        target = b"/a%20b%2Fc?d=%20e"
        await whole_exchange(app, b"BREW " + target + b" HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a: 2\r\n\r\n")
        (scope,) = app.scopes
        assert scope["type"] == "http"
        assert (scope["method"], scope["http_version"], scope["scheme"]) == ("BREW", "1.1", "http")
        assert (scope["path"], scope["raw_path"]) == ("/a b/c", b"/a%20b%2Fc")
        assert scope["query_string"] == b"d=%20e"
        assert scope["headers"] == [(b"host", b"a"), (b"x-a", b"1"), (b"x-a", b"2")]


class TestSlowReaders:
    async def test_one_that_stops_within_an_answer_is_dropped(self, mock_clock: MockClock) -> None:
        limits = msgspec.structs.replace(LIMITS, send_timeout_seconds=1.0)
        app = saying(bytes(16_000_000))
        async with serving(app, limits) as served:
            client = await served.connect()
            await client.send(GET)
            await wait_all_tasks_blocked()
            assert app.outcomes == []
            mock_clock.jump(1.01)
            await app.left.wait()
            assert app.outcomes == ["PeerGone"]
