"""The client against a server that sends exactly the bytes it is told to."""

from __future__ import annotations

import gzip

import pytest
import trio
from trio.testing import MockClock

from tests.rehearsal.fake_daemon import Reply, listening, serve_http
from ticketd.rehearsal.client import Answer, HttpClient, Origin, Unanswered, parse_origin

KEPT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Script:
    """What the server sends for each request of each connection: for each connection a list, None to close."""

    def __init__(self, *connections: list[bytes | None]) -> None:
        self.connections = list(connections)
        self.requests: list[bytes] = []
        self.opened = 0

    async def handle(self, stream: trio.SocketStream) -> None:
        answers = self.connections[self.opened]
        self.opened += 1
        for answer in answers:
            if answer is None:
                return
            data = bytes(await stream.receive_some())
            if not data:
                return
            self.requests.append(data)
            await stream.send_all(answer)
        await trio.sleep_forever()


def client_of(origin: Origin, connections: int = 4) -> HttpClient:
    return HttpClient(origin, max_connections=connections, timeout_seconds=20)


async def ask(script: Script, *methods: str, headers: tuple[tuple[str, str], ...] = ()) -> list[Answer | str]:
    """Sends requests one after the other; the answer of each, or why there was none."""
    found: list[Answer | str] = []
    async with listening(script.handle) as origin:
        client = client_of(origin)
        for method in methods:
            try:
                found.append(await client.request(method, "/x", headers, b"{}" if method == "POST" else b""))
            except Unanswered as failure:
                found.append(failure.reason)
        await client.aclose()
    return found


async def test_a_connection_is_kept_and_used_again() -> None:
    script = Script([KEPT, KEPT, KEPT])
    answers = await ask(script, "GET", "POST", "GET")
    assert [answer.body for answer in answers if isinstance(answer, Answer)] == [b"ok"] * 3
    assert script.opened == 1
    assert script.requests[1].startswith(b"POST /x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert script.requests[1].endswith(b"\r\nContent-Length: 2\r\n\r\n{}")


async def test_connection_close_is_obeyed() -> None:
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    script = Script([closing], [KEPT])
    assert len(await ask(script, "GET", "GET")) == 2
    assert script.opened == 2


async def test_chunks_are_put_together() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    (answer, again) = await ask(Script([chunked, KEPT]), "GET", "GET")
    assert isinstance(answer, Answer)
    assert answer.body == b"abcde"
    assert isinstance(again, Answer)


async def test_gzip_is_unpacked_and_headers_are_lower_case() -> None:
    packed = gzip.compress(b"abc")
    head = f"HTTP/1.1 429 No\r\nContent-Encoding: gzip\r\nRetry-After: 3\r\nContent-Length: {len(packed)}\r\n\r\n"
    (answer,) = await ask(Script([head.encode() + packed]), "GET")
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (429, b"abc", "3")


async def test_no_content_and_information_before_the_answer() -> None:
    script = Script([b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 103 Early\r\n\r\n" + KEPT])
    (nothing, answer) = await ask(script, "DELETE", "GET")
    assert isinstance(nothing, Answer)
    assert isinstance(answer, Answer)
    assert (nothing.status, nothing.body, answer.body) == (204, b"", b"ok")


async def test_a_kept_connection_that_was_closed_is_replaced_where_that_is_harmless() -> None:
    assert len(await ask(script := Script([KEPT, None], [KEPT]), "GET", "GET")) == 2
    assert script.opened == 2
    keyed = (("Idempotency-Key", "k" * 8),)
    answers = await ask(Script([KEPT, None], [KEPT]), "POST", "POST", headers=keyed)
    assert all(isinstance(answer, Answer) for answer in answers)


async def test_a_post_is_not_sent_again() -> None:
    script = Script([KEPT, None], [KEPT])
    assert (await ask(script, "POST", "POST"))[1] == "CONNECTION_LOST"
    assert script.opened == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "CONNECTION_LOST"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "BAD_ANSWER"),
        (b"nonsense\r\n\r\n", "BAD_ANSWER"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nab", "BAD_ANSWER"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "BAD_ANSWER"),
    ],
)
async def test_what_is_no_answer_is_told(answer: bytes, reason: str) -> None:
    assert await ask(Script([answer, None]), "GET") == [reason]


async def test_nobody_listens() -> None:
    async with listening(Script([]).handle) as origin:
        pass
    with pytest.raises(Unanswered, match="CONNECTION_REFUSED"):
        await client_of(origin).request("GET", "/", ())


async def test_a_server_that_is_silent_or_drips_is_given_up(autojump_clock: MockClock) -> None:
    async def drip(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        while True:
            await trio.sleep(1)
            await stream.send_all(b"a")

    async with listening(drip) as origin:
        began = trio.current_time()
        with pytest.raises(Unanswered, match="TIMEOUT"):
            await client_of(origin).request("GET", "/", ())
        assert trio.current_time() - began == pytest.approx(20)


async def test_connections_unused_for_long_are_left(autojump_clock: MockClock) -> None:
    script = Script([KEPT, KEPT], [KEPT])
    async with listening(script.handle) as origin:
        client = client_of(origin)
        await client.request("GET", "/", ())
        await trio.sleep(20.1)
        await client.request("GET", "/", ())
        await client.aclose()
    assert script.opened == 2


async def test_no_more_connections_than_slots() -> None:
    open_now, most = 0, 0

    def reply(*_: object) -> Reply:
        return 200, {}

    async def count(stream: trio.SocketStream) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await serve_http(reply, stream)
        open_now -= 1

    async with listening(count) as origin:
        client = client_of(origin, connections=3)

        async def send() -> None:
            async with client.slots:
                await client.request("GET", "/", ())

        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(send)
        await client.aclose()
    assert most == 3


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "loopback"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1", 8080, False, True),
        ("http://localhost/", "localhost", 80, False, True),
        ("https://[::1]", "::1", 443, True, True),
        ("https://tickets.example", "tickets.example", 443, True, False),
        ("http://10.0.0.1:1", "10.0.0.1", 1, False, False),
        ("http://localhost.example", "localhost.example", 80, False, False),
    ],
)
def test_origins(url: str, host: str, port: int, tls: bool, loopback: bool) -> None:
    origin = parse_origin(url)
    assert origin == Origin(host=host, port=port, tls=tls)
    assert origin.is_loopback is loopback


@pytest.mark.parametrize(
    "url",
    ["ftp://a", "127.0.0.1:8080", "http://", "http://a/v1", "http://a?x", "http://u@a", "http://a:99999"],
)
def test_what_is_no_origin_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_origin(url)
