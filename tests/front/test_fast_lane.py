"""Hot requests, answered without a framework between: what follows them, what is refused, and how they end."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Awaitable, Iterable

import msgspec
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from handlers.call import RawRequest, Reply
from tests.front.hot_stage import HOT_GET, MOST_BYTES, REPLIES, TIMED, Stage, connections, get, pass_time
from tests.front.raw_http import GET, LARGE, LIMITS, RawClient, RunningFront, serving
from ticketd.front.connections import Connection
from ticketd.front.idle import IdleWatch, Silence


class TestAnswers:
    async def test_what_the_endpoint_is_told(self, stage: Stage) -> None:
        await stage.exchange(get("/hot%20a%2fb?c=%20d", "X-A: 1", "x-a: 2", "Connection: close"))
        (asked,) = stage.hot.asked
        assert (asked.method, asked.path, asked.query) == ("GET", "/hot a/b", "c=%20d")
        assert (asked.headers["x-a"], asked.client, asked.listener) == (
            "1, 2",
            "127.0.0.1",
            stage.hot.listener,
        )

    @pytest.mark.parametrize("path", ["/hot", "/hot/gone", "/hot/same"])
    async def test_head_has_the_same_headers_and_no_body(self, stage: Stage, path: str) -> None:
        async with serving(stage.app, direct=stage.hot) as served:
            client = await served.connect()
            for _ in range(2):
                whole = await client.ask(get(path))
                head = await client.ask(get(path, method="HEAD"))
                # A second may have passed between the two.
                assert whole.headers.pop("date")
                assert head.headers.pop("date")
                assert (head.status, head.headers) == (whole.status, whole.headers)

    async def test_head_sends_nothing_behind_its_headers(self, stage: Stage) -> None:
        found = await stage.exchange(get("/hot", method="HEAD"), ends=True)
        assert found.startswith(b"HTTP/1.1 200 OK\r\n")
        assert found.endswith(b"\r\n\r\n")

    async def test_hot_and_other_requests_take_turns_on_one_connection(self, stage: Stage) -> None:
        found = await stage.exchange((HOT_GET + GET) * 20, ends=True)
        assert [body in found for body in (b"hot", b"hello")] == [True, True]
        parts = found.split(b"HTTP/1.1 200 OK\r\n")[1:]
        assert [part.rpartition(b"\r\n\r\n")[2] for part in parts] == [b"hot", b"hello"] * 20

    async def test_a_long_pipeline_lets_others_have_their_turn(self, stage: Stage) -> None:
        async with serving(stage.app, direct=stage.hot) as served:
            greedy, other = await served.connect(), await served.connect()
            await greedy.send(HOT_GET * 1000)
            await other.send(HOT_GET)
            assert (await other.read_answer()).body == b"hot"
            assert len(stage.hot.asked) < 900
            for _ in range(1000):
                assert (await greedy.read_answer()).body == b"hot"

    @pytest.mark.parametrize("path", ["/hot/raise", "/hot/unsafe"])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    async def test_a_fault_is_a_500_once_and_ends_the_connection(
        self, stage: Stage, path: str, method: str
    ) -> None:
        with capture_logs() as logs:
            found = await stage.exchange(get(path, method=method) + HOT_GET)
        assert found.startswith(b"HTTP/1.1 500 ")
        assert found.count(b"HTTP/1.1 ") == 1
        assert b"Set-Cookie" not in found
        assert found.endswith(b"\r\n\r\n") is (method == "HEAD")
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["front.app_failed"]
        assert "secret-token" not in repr(logs)


class TestWhatFollows:
    """That no byte is read as another request than its client meant."""

    @pytest.mark.parametrize(
        "bad",
        [
            b"GET / HTTP/1.1\nHost: a\r\n\r\n",
            get("/hot", "Content-Length: 1", "Transfer-Encoding: chunked"),
            get("/hot", "X : 1"),
            get("*"),
            get("/hot", "Upgrade: websocket", "Connection: upgrade"),
            get("/hot", "X: " + "x" * LIMITS.max_header_bytes),
        ],
    )
    async def test_behind_a_refused_request_nothing_is_read(self, stage: Stage, bad: bytes) -> None:
        found = await stage.exchange(HOT_GET + bad + HOT_GET + GET)
        assert found.count(b"HTTP/1.1 ") == 2
        assert found.startswith(b"HTTP/1.1 200 OK\r\n")
        assert len(stage.hot.asked) == 1
        assert stage.app.outcomes == ["done"]  # Of the client who asks whether all is well.

    @pytest.mark.parametrize("last", [get("/hot", "Connection: close"), get("/hot", version="1.0")])
    async def test_behind_the_last_request_nothing_is_read(self, stage: Stage, last: bytes) -> None:
        found = await stage.exchange(last + HOT_GET * 3 + GET)
        assert found.count(b"HTTP/1.1 ") == 1
        assert b"connection: close\r\n" in found
        assert len(stage.hot.asked) == 1

    @pytest.mark.parametrize(
        ("line", "body"),
        [("Content-Length: 99", HOT_GET), ("Transfer-Encoding: chunked", b"99\r\n" + HOT_GET)],
    )
    async def test_an_answer_before_the_body_has_come_is_the_last(
        self, stage: Stage, line: str, body: bytes
    ) -> None:
        found = await stage.exchange(get("/hot", line, method="POST") + body)
        assert found.count(b"HTTP/1.1 ") == 1
        assert b"connection: close\r\n" in found
        assert len(stage.hot.asked) == 1

    @pytest.mark.parametrize(
        ("line", "body"),
        [
            (f"Content-Length: {len(HOT_GET)}", HOT_GET),
            ("Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(HOT_GET), HOT_GET)),
        ],
    )
    @pytest.mark.parametrize("path", ["/hot", "/hot/echo"], ids=["not read", "read"])
    async def test_a_body_is_no_request(self, stage: Stage, line: str, body: bytes, path: str) -> None:
        found = await stage.exchange((get(path, line, method="POST") + body) * 3 + GET, ends=True)
        assert found.count(b"HTTP/1.1 200 OK\r\n") == 4
        assert len(stage.hot.asked) == 3

    @pytest.mark.parametrize("over", [-1, 0, 1])
    @pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
    async def test_a_body_around_its_bound(self, stage: Stage, over: int, is_chunked: bool) -> None:
        body = b"b" * (MOST_BYTES + over)
        line = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(body)}"
        sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if is_chunked else body
        found = await stage.exchange(get("/hot/echo", line, method="POST") + sent + HOT_GET, ends=True)
        first, second = found.split(b"HTTP/1.1 ")[1:]
        assert first.startswith(b"413 " if over > 0 else b"200 ")
        assert first.endswith(b"BODY_TOO_LARGE" if over > 0 else body)
        assert second.endswith(b"hot")

    async def test_a_body_too_large_is_not_waited_for(self, stage: Stage) -> None:
        async with serving(stage.app, direct=stage.hot) as served:
            client = await served.connect()
            found = await client.ask(get("/hot/echo", f"Content-Length: {MOST_BYTES + 1}", method="POST"))
            assert (found.status, found.headers["connection"]) == (413, "close")
            assert await client.read_rest() == b""

    async def test_a_bad_body_is_refused_and_nothing_behind_it_is_read(self, stage: Stage) -> None:
        bad = get("/hot/echo", "Transfer-Encoding: chunked", method="POST") + b"1\r\na\r\nzz\r\n0\r\n\r\n"
        found = await stage.exchange(bad + HOT_GET)
        assert found.startswith(b"HTTP/1.1 400 ")
        assert found.count(b"HTTP/1.1 ") == 1
        assert len(stage.hot.asked) == 1

    async def test_continue_is_said_once_the_body_is_wanted(self, stage: Stage) -> None:
        waiting = get("/hot/echo", "Content-Length: 5", "Expect: 100-continue", method="POST")
        async with serving(stage.app, direct=stage.hot) as served:
            client = await served.connect()
            for _ in range(2):
                assert (await client.ask(waiting)).status == 100
                assert (await client.ask(b"hello")).body == b"hello"
            refused = await client.ask(waiting.replace(b"/echo", b""))
            assert (refused.body, refused.headers["connection"]) == (b"hot", "close")
            assert await client.read_rest() == b""


class TestTurns:
    """Connections that are served in one turn."""

    def ask_at_once(self, clients: Iterable[RawClient], data: bytes) -> None:
        for client in clients:
            os.write(client.stream.socket.fileno(), data)

    async def connect_all(self, served: RunningFront, count: int) -> list[RawClient]:
        clients = [await served.connect() for _ in range(count)]
        for client in clients:
            await client.ask(HOT_GET)
        await wait_all_tasks_blocked()
        return clients

    async def test_their_answers_leave_together(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        told: list[str] = []
        begin, send_nowait = stage.hot.begin, Connection.send_nowait

        def note_begin(request: RawRequest) -> Reply | Awaitable[Reply]:
            told.append("asked")
            return begin(request)

        def note_send(self: Connection, data: bytes) -> int:
            told.append("sent")
            return send_nowait(self, data)

        async with serving(stage.app, direct=stage.hot) as served:
            clients = await self.connect_all(served, 3)
            monkeypatch.setattr(stage.hot, "begin", note_begin)
            monkeypatch.setattr(Connection, "send_nowait", note_send)
            self.ask_at_once(clients, HOT_GET)
            for client in clients:
                assert (await client.read_answer()).body == b"hot"
        assert told == ["asked"] * 3 + ["sent"] * 3

    async def test_nothing_of_an_answer_is_kept_after_it(self, stage: Stage) -> None:
        body = REPLIES["/hot/page"].body
        async with serving(stage.app, direct=stage.hot) as served:
            clients = await self.connect_all(served, 3)
            before = sys.getrefcount(body)
            for client, requests in zip(clients, (1, 2, 3), strict=True):
                await client.send(get("/hot/page") * requests)
                for _ in range(requests):
                    assert (await client.read_answer()).body == body
            await wait_all_tasks_blocked()
            assert sys.getrefcount(body) == before

    async def test_what_was_begun_for_a_crowd_ends_with_it(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The daemon is cut off when all are begun to be answered, and most of their tasks wait for their turn."""
        limits = msgspec.structs.replace(LIMITS, shutdown_seconds=0.0001)
        monkeypatch.setattr("ticketd.front.parking.MOST_WOKEN", 1)
        async with serving(stage.app, limits, direct=stage.hot) as served:
            clients = await self.connect_all(served, 60)
            stage.hot.asked.clear()
            self.ask_at_once(clients, get("/hot/gate"))
            await stage.hot.entered.wait()
            assert len(stage.hot.asked) < len(clients)
            served.stop.set()
            await served.ended.wait()
        assert len(stage.hot.asked) == len(clients)
        assert stage.hot.outcomes == ["Cancelled"] * len(clients)


class TestEnds:
    """What the input's end means in each phase."""

    @pytest.mark.parametrize(
        ("sent", "statuses"),
        [
            (b"", []),
            (HOT_GET[:5], [400]),
            (HOT_GET, [200]),
            (HOT_GET * 3, [200] * 3),
            (HOT_GET + HOT_GET[:5], [200, 400]),
            (get("/hot/echo", "Content-Length: 5", method="POST") + b"hell", [400]),
            (get("/hot/echo", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhell", [400]),
            (get("/hot/echo", "Content-Length: 5", method="POST") + b"hello", [200]),
        ],
    )
    async def test_of_half_a_connection(self, stage: Stage, sent: bytes, statuses: list[int]) -> None:
        found = await stage.exchange(sent, ends=True)
        assert [int(part[:3]) for part in found.split(b"HTTP/1.1 ")[1:]] == statuses

    async def test_what_was_asked_before_it_is_answered(self, stage: Stage) -> None:
        """The end has come in already when the last request is begun."""
        async with serving(stage.app, direct=stage.hot) as served:
            client = await served.connect()
            await client.send(get("/watched"))
            await stage.app.entered.wait()
            await client.send(HOT_GET)
            await client.stream.send_eof()
            await wait_all_tasks_blocked()
            stage.app.gate.set()
            found = await client.read_rest()
        assert found.count(b"HTTP/1.1 200 OK") == 2
        assert found.endswith(b"hot")

    @pytest.mark.parametrize(
        "sent",
        [
            b"",
            HOT_GET[:5],
            get("/hot/gate"),
            get("/hot/large"),
            get("/hot/echo", "Content-Length: 5", method="POST") + b"hell",
        ],
        ids=["silent", "head", "answer", "sending", "body"],
    )
    async def test_by_a_reset_is_nobodys_fault(self, stage: Stage, sent: bytes) -> None:
        with capture_logs() as logs:
            async with serving(stage.app, direct=stage.hot) as served:
                client = await served.connect()
                await client.send(sent)
                await wait_all_tasks_blocked()
                client.reset()
                stage.hot.gate.set()
                await served.assert_alive()
        assert [entry for entry in logs if entry["log_level"] == "error"] == []

    async def test_a_slow_body_is_answered_408(self, stage: Stage, mock_clock: MockClock) -> None:
        async with serving(stage.app, TIMED, direct=stage.hot) as served:
            client = await served.connect()
            await client.send(get("/hot/echo", "Content-Length: 5", method="POST") + b"h")
            await pass_time(mock_clock, TIMED.body_timeout_seconds * 1.01)
            assert (await client.read_answer()).status == 408
            assert await client.read_rest() == b""

    async def test_one_that_stops_reading_is_dropped(self, stage: Stage, mock_clock: MockClock) -> None:
        async with serving(stage.app, TIMED, direct=stage.hot) as served:
            client = await served.connect()
            await client.send(get("/hot/large"))
            await pass_time(mock_clock, TIMED.send_timeout_seconds * 0.99)
            await served.assert_alive()
            await pass_time(mock_clock, TIMED.send_timeout_seconds * 0.02)
            assert len(await client.read_rest()) < LARGE

    async def test_sending_is_no_silence(self, stage: Stage, mock_clock: MockClock) -> None:
        async with serving(stage.app, TIMED, direct=stage.hot) as served:
            client = await served.connect()
            await client.ask(HOT_GET)
            await client.send(get("/hot/large"))
            await pass_time(mock_clock, (TIMED.idle_timeout_seconds + TIMED.send_timeout_seconds) / 2)
            assert len((await client.read_answer()).body) == LARGE

    async def test_one_that_reads_slowly_but_steadily_gets_all(
        self, stage: Stage, mock_clock: MockClock
    ) -> None:
        async with serving(stage.app, TIMED, direct=stage.hot) as served:
            client = await served.connect()
            await client.send(get("/hot/large", "Connection: close"))
            got = 0
            while data := await client.stream.receive_some(4_000_000):
                got += len(data)
                mock_clock.jump(TIMED.send_timeout_seconds / 100)
            assert got > LARGE

    @pytest.mark.parametrize("path", ["/hot", "/hot/echo", "/"])
    async def test_silence_is_the_idle_one_but_for_the_first_request(
        self, stage: Stage, path: str, mock_clock: MockClock
    ) -> None:
        first, idle = TIMED.header_timeout_seconds, TIMED.idle_timeout_seconds
        async with serving(stage.app, TIMED, direct=stage.hot) as served:
            silent, client = await served.connect(), await served.connect()
            await pass_time(mock_clock, first * 0.99)
            await client.ask(get(path))
            await pass_time(mock_clock, first * 0.02)
            assert await silent.read_rest() == b""
            for _ in range(2):
                await pass_time(mock_clock, idle * 0.99 - first)
                await client.ask(get(path))
                await pass_time(mock_clock, first)
            await pass_time(mock_clock, idle * 1.01 - first)
            assert await client.read_rest() == b""

    async def test_a_request_that_comes_as_the_silence_ends_is_answered(
        self, stage: Stage, mock_clock: MockClock
    ) -> None:
        """The daemon may have been kept from looking. What it looks at first, sockets or silences, is chance."""
        stage.hot.gate.set()
        for _ in range(30):
            async with serving(stage.app, TIMED, direct=stage.hot) as served:
                client = await served.connect()
                await client.ask(HOT_GET)
                await wait_all_tasks_blocked()
                os.write(client.stream.socket.fileno(), get("/hot/gate"))
                mock_clock.jump(TIMED.idle_timeout_seconds * 1.01)
                assert (await client.read_answer()).body == b"hot"
                # It may be silent for as long again, and no longer.
                await pass_time(mock_clock, TIMED.idle_timeout_seconds * 0.99)
                assert (await client.ask(HOT_GET)).body == b"hot"
                await pass_time(mock_clock, TIMED.idle_timeout_seconds * 1.01)
                assert await client.read_rest() == b""

    @pytest.mark.parametrize("asked", [b"", HOT_GET])
    async def test_a_reset_leaves_nothing_to_the_collector(self, stage: Stage, asked: bytes) -> None:
        """What waits for it keeps its connection, its task and all that these know."""
        async with serving(stage.app, direct=stage.hot) as served:
            await served.assert_alive()
            await wait_all_tasks_blocked()
            gc.collect()
            before = len(connections())
            gc.disable()
            try:
                for _ in range(5):
                    client = await served.connect()
                    if asked:
                        await client.ask(asked)
                    await wait_all_tasks_blocked()
                    client.reset()
                    await wait_all_tasks_blocked()
                stage.hot.asked.clear()
                assert len(connections()) - before == 0
            finally:
                gc.enable()


async def test_every_connection_is_forgotten_by_the_watch_over_silences(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[Silence] = []
    monkeypatch.setattr(IdleWatch, "forget", lambda _, silence: forgotten.append(silence))
    for sent in (b"", HOT_GET, HOT_GET[:5], get("/hot/raise")):
        with capture_logs():
            await stage.exchange(sent, ends=True)
    assert (
        len({id(silence) for silence in forgotten}) == 8
    )  # Each, and each client who asks whether all is well.


async def test_nothing_is_left_of_any_connection(stage: Stage) -> None:
    """Neither a task nor a descriptor."""
    kinds = [
        b"",
        HOT_GET,
        HOT_GET[:5],
        b"\0",
        get("/hot", "Connection: close"),
        get("/hot/raise"),
        get("/raise"),
        get("/hot/echo", "Content-Length: 5", method="POST") + b"hell",
        get("/echo", "Transfer-Encoding: chunked", method="POST") + b"zz\r\n",
        get("/hot/large"),
        get("/large"),
        get("/hot", "X: " + "x" * LIMITS.max_header_bytes),
    ]
    with capture_logs():
        async with serving(stage.app, direct=stage.hot) as served:
            await served.assert_alive()
            await wait_all_tasks_blocked()
            before = counted()
            for leaves in (RawClient.reset, None):
                for sent in kinds * 3:
                    client = await RawClient.connect(served.address)
                    await client.send(sent)
                    await wait_all_tasks_blocked()
                    if leaves is None:
                        await client.close()
                    else:
                        leaves(client)
            await wait_all_tasks_blocked()
            assert counted() == before


def counted() -> tuple[int, int]:
    """Open descriptors, and tasks."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), trio.lowlevel.current_statistics().tasks_living
