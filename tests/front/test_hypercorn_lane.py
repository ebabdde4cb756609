"""One connection: its largest head, clients that leave, bodies that are not read, pipelines."""

from __future__ import annotations

import contextlib

import pytest
import trio
from hypercorn.events import Event, RawData
from quart import Response, request
from quart_trio import QuartTrio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.front.raw_http import BOTH_FRONTS, GET, LIMITS, App, RawClient, serving
from ticketd.front import ListenerName, hypercorn_lane, open_tcp_listener
from ticketd.front.connections import LINGER_SECONDS, Connection
from ticketd.front.doors import Door
from ticketd.front.http11 import PlainHttp11
from ticketd.front.hypercorn_lane import HypercornLane

pytestmark = BOTH_FRONTS

BEGUN_POST = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe"


def padded_get(size: int) -> bytes:
    return GET[:-2] + b"X: " + b"a" * (size - len(GET) - 5) + b"\r\n\r\n"


async def test_connection_that_is_draining_before_its_lane_begins_is_closed(mock_clock: MockClock) -> None:
    async def lane(connection: Connection) -> None:
        connection.drain()
        await HypercornLane(App(), LIMITS)(connection)

    listener = await open_tcp_listener("127.0.0.1:0", ListenerName.PUBLIC)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Door(listener, lane, LIMITS).run_accepting, nursery)
        client = await RawClient.connect(listener.address)
        assert await client.read_rest() == b""
        nursery.cancel_scope.cancel()
    listener.close()


class TestLargestHead:
    @pytest.mark.parametrize(
        ("size", "status"),
        [
            (LIMITS.max_header_bytes - 1, 200),
            (LIMITS.max_header_bytes, 200),
            (LIMITS.max_header_bytes + 1, 431),
            (20_000, 431),
            (200_000, 431),
        ],
    )
    async def test_in_one_write(self, size: int, status: int) -> None:
        async with serving(App()) as served:
            client = await served.connect()
            assert len(padded_get(size)) == size
            found = await client.ask(padded_get(size))
            assert found.status == status
            if status == 431:
                assert found.error_code == "INVALID_REQUEST"
                assert await client.read_rest() == b""
            await served.assert_alive()

    @pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 431)])
    async def test_of_the_second_request_in_one_write(self, over: int, status: int) -> None:
        async with serving(App()) as served:
            client = await served.connect()
            assert (await client.ask(GET + padded_get(LIMITS.max_header_bytes + over))).status == 200
            assert (await client.read_answer()).status == status

    async def test_body_in_the_same_write_does_not_count(self) -> None:
        body = b"b" * 50_000
        head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\nX: "
        head += b"a" * (LIMITS.max_header_bytes - len(head) - 4) + b"\r\n\r\n"
        async with serving(App()) as served:
            client = await served.connect()
            assert (await client.ask(head + body)).body == body

    async def test_without_an_end(self) -> None:
        async with serving(App()) as served:
            client = await served.connect()
            assert (await client.ask(b"GET /" + b"a" * LIMITS.max_header_bytes)).status == 431

    async def test_of_white_space(self) -> None:
        async with serving(App()) as served:
            client = await served.connect()
            sent = GET[:-2] + b"X:" + b" " * LIMITS.max_header_bytes + b"a\r\n\r\n"
            assert (await client.ask(sent)).status == 431


class TestClientsThatLeave:
    @pytest.mark.parametrize(
        "sent", [b"", GET[:5], BEGUN_POST, GET], ids=["silent", "head", "body", "request"]
    )
    async def test_by_closing(self, sent: bytes) -> None:
        with capture_logs() as logs:
            async with serving(App()) as served:
                client = await served.connect()
                await client.send(sent)
                await client.close()
                await served.assert_alive()
        assert not [entry for entry in logs if entry["log_level"] == "error"]

    @pytest.mark.parametrize(
        "sent", [b"", GET[:5], BEGUN_POST, GET], ids=["silent", "head", "body", "request"]
    )
    async def test_by_a_reset(self, sent: bytes) -> None:
        with capture_logs() as logs:
            async with serving(App()) as served:
                client = await served.connect()
                await client.send(sent)
                client.reset()
                await served.assert_alive()
        assert not [entry for entry in logs if entry["log_level"] == "error"]

    async def test_reset_while_the_app_works_is_told_to_the_app(self) -> None:
        app = App()
        async with serving(app) as served:
            client = await served.connect()
            await client.send(b"GET /until-told HTTP/1.1\r\nHost: a\r\n\r\n")
            await app.entered.wait()
            client.reset()
            await app.left.wait()
            await served.assert_alive()

    async def test_close_before_the_answer_lets_the_app_finish(self) -> None:
        app = App()
        async with serving(app) as served:
            client = await served.connect()
            await client.send(b"GET /gate HTTP/1.1\r\nHost: a\r\n\r\n")
            await app.entered.wait()
            await client.close()
            await wait_all_tasks_blocked()
            assert not app.left.is_set()
            app.gate.set()
            await app.left.wait()
            assert app.outcomes in (["done"], ["PeerGone"])
            await served.assert_alive()

    async def test_close_while_an_answer_streams_ends_the_app(self) -> None:
        app = App()
        async with serving(app) as served:
            client = await served.connect()
            await client.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.stream.receive_some()
            await client.close()
            await app.left.wait()
            assert app.outcomes == ["PeerGone"]
            await served.assert_alive()

    @pytest.mark.parametrize("count", [1, 3])
    async def test_half_close_after_requests_still_gets_the_answers(self, count: int) -> None:
        async with serving(App()) as served:
            client = await served.connect()
            await client.send(GET * count)
            await client.stream.send_eof()
            for _ in range(count):
                assert (await client.read_answer()).body == b"hello"
            assert await client.read_rest() == b""
            await served.assert_alive()

    async def test_half_close_while_the_app_works_still_gets_the_answer(self) -> None:
        app = App()
        async with serving(app) as served:
            client = await served.connect()
            await client.send(b"GET /gate HTTP/1.1\r\nHost: a\r\n\r\n")
            await app.entered.wait()
            await client.stream.send_eof()
            await wait_all_tasks_blocked()
            app.gate.set()
            assert (await client.read_answer()).body == b"open"
            assert await client.read_rest() == b""

    async def test_reset_after_a_half_close_is_no_fault(self) -> None:
        app = App()
        with capture_logs() as logs:
            async with serving(app) as served:
                client = await served.connect()
                await client.send(b"GET /gate HTTP/1.1\r\nHost: a\r\n\r\n")
                await app.entered.wait()
                await client.stream.send_eof()
                await wait_all_tasks_blocked()
                client.reset()
                app.gate.set()
                await app.left.wait()
                assert app.outcomes == ["PeerGone"]
                await served.assert_alive()
        assert not [entry for entry in logs if entry["log_level"] == "error"]

    @pytest.mark.parametrize("sent", [GET[:5], BEGUN_POST], ids=["head", "body"])
    async def test_half_close_within_a_request_is_answered_400(self, sent: bytes) -> None:
        async with serving(App()) as served:
            client = await served.connect()
            await client.send(sent)
            await client.stream.send_eof()
            assert (await client.read_answer()).status == 400
            assert await client.read_rest() == b""
            await served.assert_alive()

    async def test_half_close_without_a_request_is_closed(self) -> None:
        async with serving(App()) as served:
            client = await served.connect()
            await client.stream.send_eof()
            assert await client.read_rest() == b""

    async def test_reset_cancels_a_quart_handler(self) -> None:
        app = QuartTrio(__name__)
        entered, cancelled = trio.Event(), trio.Event()

        @app.route("/")
        async def wait() -> str:
            entered.set()
            try:
                await trio.Event().wait()
            except trio.Cancelled:
                cancelled.set()
                raise
            return ""

        with capture_logs() as logs:
            async with serving(app) as served:
                client = await served.connect()
                await client.send(GET)
                await entered.wait()
                client.reset()
                await cancelled.wait()
        assert not [entry for entry in logs if entry["log_level"] == "error"]


class TestBodiesThatAreNotRead:
    @pytest.mark.parametrize("size", [10, 1_000_000])
    async def test_the_answer_arrives(self, size: int) -> None:
        async with serving(App()) as served:
            client = await served.connect()
            head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode()
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def _() -> None:
                    with contextlib.suppress(trio.BrokenResourceError):
                        await client.send(head + bytes(size))

                assert (await client.read_answer()).body == b"hello"
            await served.assert_alive()

    @pytest.mark.parametrize("sent", [b"", b"four"], ids=["nothing of it", "all but a byte"])
    async def test_an_answer_that_ends_the_connection_says_so(self, sent: bytes) -> None:
        async with serving(App()) as served:
            client = await served.connect()
            found = await client.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n" + sent)
            assert (found.body, found.headers.get("connection")) == (b"hello", "close")
            assert await client.read_rest() == b""

    async def test_an_answer_to_all_of_a_body_does_not(self) -> None:
        async with serving(App()) as served:
            client = await served.connect()
            found = await client.ask(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfiver")
            assert (found.body, found.headers.get("connection")) == (b"fiver", None)
            assert (await client.ask(GET)).body == b"hello"

    async def test_body_without_an_end_is_closed(self, mock_clock: MockClock) -> None:
        async with serving(App()) as served:
            client = await served.connect()
            found = await client.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
            assert found.body == b"hello"
            await client.send(bytes(65_536))
            await wait_all_tasks_blocked()
            mock_clock.jump(LINGER_SECONDS * 1.01)
            await wait_all_tasks_blocked()
            with contextlib.suppress(trio.BrokenResourceError):
                while True:
                    await client.send(bytes(65_536))
            await served.assert_alive()

    async def test_quart_refuses_a_body_too_large(self) -> None:
        app = QuartTrio(__name__)
        app.config["MAX_CONTENT_LENGTH"] = 1000

        @app.route("/", methods=["GET", "POST"])
        async def read() -> Response:
            await request.get_data()
            return Response("hello")

        async with serving(app) as served:
            client = await served.connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n")
            assert (await client.read_answer()).status == 413
            await client.read_rest()
            await served.assert_alive()


class TestPipelines:
    async def test_requests_in_one_write_are_answered_in_order(self) -> None:
        async with serving(App()) as served:
            client = await served.connect()
            sent = [
                b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n%d" % digit for digit in range(9)
            ]
            await client.send(b"".join(sent))
            for digit in range(9):
                assert (await client.read_answer()).body == b"%d" % digit

    @pytest.mark.parametrize("after", [b"x", GET, bytes(200_000)], ids=["a byte", "a request", "much"])
    @pytest.mark.parametrize(
        "last", [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]
    )
    async def test_what_follows_a_last_request_does_not_cost_its_answer(
        self, last: bytes, after: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fed: list[int] = []

        class Noting(PlainHttp11):
            async def handle(self, event: Event) -> None:
                fed.append(len(event.data) if isinstance(event, RawData) else 0)
                await super().handle(event)

        monkeypatch.setattr(hypercorn_lane, "PlainHttp11", Noting)
        async with serving(App()) as served:
            client = await served.connect()
            await client.send(last + after)
            assert (await client.read_answer()).body == b"hello"
            assert await client.read_rest() == b""
            assert sum(fed) <= LIMITS.max_header_bytes
            await served.assert_alive()
