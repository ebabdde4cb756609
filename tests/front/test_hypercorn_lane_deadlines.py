"""How long each part of a request may take. The clock stands still but for what a test lets pass."""

from __future__ import annotations

import msgspec
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.front.raw_http import BOTH_FRONTS, GET, LARGE, LIMITS, App, read_body, serving

pytestmark = BOTH_FRONTS

HEADER_SECONDS, BODY_SECONDS, IDLE_SECONDS, SEND_SECONDS = 1.0, 2.0, 3.0, 4.0
TIMED = msgspec.structs.replace(
    LIMITS,
    header_timeout_seconds=HEADER_SECONDS,
    body_timeout_seconds=BODY_SECONDS,
    idle_timeout_seconds=IDLE_SECONDS,
    send_timeout_seconds=SEND_SECONDS,
)
JUST_BEFORE, JUST_AFTER = 0.99, 1.01
BEGUN_POST = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe"


async def pass_time(clock: MockClock, seconds: float) -> None:
    """Lets ``seconds`` go by once everything sent so far has been dealt with."""
    await wait_all_tasks_blocked()
    clock.jump(seconds)
    await wait_all_tasks_blocked()


class TestDeadlines:
    async def test_silent_client_is_closed_without_an_answer(self, mock_clock: MockClock) -> None:
        async with serving(App(), TIMED) as served:
            client = await served.connect()
            await pass_time(mock_clock, HEADER_SECONDS * JUST_AFTER)
            assert await client.read_rest() == b""
            await served.assert_alive()

    async def test_slow_head_is_answered_408(self, mock_clock: MockClock) -> None:
        async with serving(App(), TIMED) as served:
            client = await served.connect()
            await client.send(b"GET / HT")
            await pass_time(mock_clock, HEADER_SECONDS * JUST_AFTER)
            found = await client.read_answer()
            assert (found.status, found.error_code) == (408, "INVALID_REQUEST")
            assert await client.read_rest() == b""
            await served.assert_alive()

    async def test_each_byte_does_not_buy_more_time_for_the_head(self, mock_clock: MockClock) -> None:
        async with serving(App(), TIMED) as served:
            client = await served.connect()
            await pass_time(mock_clock, HEADER_SECONDS / 2)
            await client.send(b"G")
            await pass_time(mock_clock, HEADER_SECONDS / 4)
            await client.send(b"E")
            await pass_time(mock_clock, HEADER_SECONDS / 4 * JUST_AFTER)
            assert (await client.read_answer()).status == 408

    async def test_head_just_in_time_is_answered(self, mock_clock: MockClock) -> None:
        async with serving(App(), TIMED) as served:
            client = await served.connect()
            await client.send(GET[:5])
            await pass_time(mock_clock, HEADER_SECONDS * JUST_BEFORE)
            assert (await client.ask(GET[5:])).body == b"hello"

    async def test_head_of_a_later_request_has_its_time_from_its_first_byte(
        self, mock_clock: MockClock
    ) -> None:
        async with serving(App(), TIMED) as served:
            client = await served.connect()
            await client.ask()
            await pass_time(mock_clock, IDLE_SECONDS * JUST_BEFORE)
            await client.send(GET[:5])
            await pass_time(mock_clock, HEADER_SECONDS * JUST_BEFORE)
            assert (await client.ask(GET[5:])).body == b"hello"
            await client.send(GET[:5])
            await pass_time(mock_clock, HEADER_SECONDS * JUST_AFTER)
            assert (await client.read_answer()).status == 408

    async def test_slow_body_is_answered_408_closed_and_the_app_is_told(self, mock_clock: MockClock) -> None:
        app = App()
        async with serving(app, TIMED) as served:
            client = await served.connect()
            await client.send(BEGUN_POST)
            await pass_time(mock_clock, BODY_SECONDS / 2)
            await client.send(b"l")
            await pass_time(mock_clock, BODY_SECONDS / 2 * JUST_AFTER)
            assert (await client.read_answer()).status == 408
            assert await client.read_rest() == b""
            await app.left.wait()
            await served.assert_alive()

    async def test_slow_body_under_an_answer_that_has_begun_just_ends_it(self, mock_clock: MockClock) -> None:
        class Begins(App):
            async def _answer(
                self, path: str, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
            ) -> None:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"begun", "more_body": True})
                await read_body(receive)

        async with serving(Begins(), TIMED) as served:
            client = await served.connect()
            await client.send(BEGUN_POST)
            await pass_time(mock_clock, BODY_SECONDS * JUST_AFTER)
            assert (await client.read_rest()).endswith(b"\r\n\r\n5\r\nbegun\r\n")

    async def test_body_just_in_time_is_answered(self, mock_clock: MockClock) -> None:
        async with serving(App(), TIMED) as served:
            client = await served.connect()
            await client.send(BEGUN_POST)
            await pass_time(mock_clock, BODY_SECONDS * JUST_BEFORE)
            assert (await client.ask(b"llo")).body == b"hello"

    async def test_idle_connection_is_closed(self, mock_clock: MockClock) -> None:
        async with serving(App(), TIMED) as served:
            client = await served.connect()
            await client.ask()
            await pass_time(mock_clock, IDLE_SECONDS * JUST_BEFORE)
            await client.ask()
            await pass_time(mock_clock, IDLE_SECONDS * JUST_AFTER)
            assert await client.read_rest() == b""
            await served.assert_alive()

    async def test_app_may_take_longer_than_any_deadline(self, mock_clock: MockClock) -> None:
        app = App()
        async with serving(app, TIMED) as served:
            client = await served.connect()
            await client.send(b"GET /gate HTTP/1.1\r\nHost: a\r\n\r\n")
            await app.entered.wait()
            await pass_time(mock_clock, BODY_SECONDS + IDLE_SECONDS + SEND_SECONDS)
            app.gate.set()
            assert (await client.read_answer()).body == b"open"

    async def test_client_that_stops_reading_is_dropped(self, mock_clock: MockClock) -> None:
        app = App()
        async with serving(app, TIMED) as served:
            client = await served.connect()
            await client.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            await app.entered.wait()
            await pass_time(mock_clock, SEND_SECONDS * JUST_BEFORE)
            assert not app.left.is_set()
            await served.assert_alive()
            await pass_time(mock_clock, SEND_SECONDS * JUST_AFTER)
            await app.left.wait()
            assert app.outcomes == ["done", "PeerGone"]
            await served.assert_alive()

    async def test_client_that_reads_slowly_but_steadily_gets_all(self, mock_clock: MockClock) -> None:
        async with serving(App(), TIMED) as served:
            client = await served.connect()
            await client.send(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            got = 0
            while data := await client.stream.receive_some(4_000_000):
                got += len(data)
                mock_clock.jump(SEND_SECONDS / 100)
            assert got > LARGE
            await client.close()
