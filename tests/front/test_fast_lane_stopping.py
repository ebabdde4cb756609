"""The daemon's end in each phase of a hot request: what is answered still, what is not waited for, what is cut off."""

from __future__ import annotations

import os
import socket

import msgspec
import pytest
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.front.hot_stage import HOT_GET, REPLIES, TIMED, Stage, connections, get, pass_time
from tests.front.raw_http import LARGE, LIMITS, RawClient, RunningFront, serving
from ticketd.front.connections import LINGER_SECONDS, Connection
from ticketd.front.parking import Finish, OnReadable, Parking


class TestStopping:
    """The daemon's end in each phase of a hot request."""

    async def test_an_answer_that_is_on_its_way_arrives_though_more_was_asked_for(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What comes in unread when the socket is closed would have the kernel throw away what is not taken yet."""
        async with serving(stage.app, direct=stage.hot) as served:
            slow = await served.connect()
            slow.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            await slow.send(get("/hot/page"))
            await wait_all_tasks_blocked()
            # It comes in the very moment after the daemon has looked.
            monkeypatch.setattr(Parking, "_take_turn", lambda self: None)
            monkeypatch.setattr(Connection, "has_come", property(lambda self: not served.stop.is_set()))
            await slow.send(HOT_GET)
            served.stop.set()
            assert (await slow.read_answer()).body == REPLIES["/hot/page"].body
            await slow.read_rest()
            await served.ended.wait()

    async def test_a_request_that_was_not_looked_at_yet_is_answered(self, stage: Stage) -> None:
        async with serving(stage.app, direct=stage.hot) as served:
            client = await served.connect()
            await client.ask(HOT_GET)
            await wait_all_tasks_blocked()
            os.write(client.stream.socket.fileno(), HOT_GET)
            for connection in connections():
                connection.drain()
            assert (await client.read_answer()).body == b"hot"
            assert await client.read_rest() == b""

    async def test_a_connection_that_was_answered_is_not_waited_for(self, stage: Stage) -> None:
        async with serving(stage.app, direct=stage.hot) as served:
            client = await served.connect()
            await client.ask(HOT_GET)
            served.stop.set()
            await wait_all_tasks_blocked()
            assert served.ended.is_set()

    async def begin(self, served: RunningFront, sent: bytes) -> RawClient:
        client = await served.connect()
        await client.send(sent)
        await wait_all_tasks_blocked()
        return client

    async def test_a_request_in_flight_gets_its_answer_as_the_last_one(self, stage: Stage) -> None:
        async with serving(stage.app, direct=stage.hot) as served:
            client = await self.begin(served, get("/hot/gate") + HOT_GET)
            served.stop.set()
            await wait_all_tasks_blocked()
            assert not served.ended.is_set()
            stage.hot.gate.set()
            found = await client.read_answer()
            assert (found.body, found.headers["connection"]) == (b"hot", "close")
            assert await client.read_rest() == b""
            await served.ended.wait()

    async def test_an_answer_that_is_still_to_be_sent_is_the_last_one(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was made before the end, and leaves at the end of the same turn."""

        async def stop_and_wait(
            self: Parking, sock: socket.socket, on_readable: OnReadable, finish: Finish | None = None
        ) -> None:
            if finish is not None:
                for connection in connections():
                    connection.drain()
            await wait(self, sock, on_readable, finish)

        wait = Parking.wait
        monkeypatch.setattr(Parking, "wait", stop_and_wait)
        async with serving(stage.app, direct=stage.hot) as served:
            client = await self.begin(served, get("/hot/gate"))
            stage.hot.gate.set()
            assert (await client.read_answer()).body == b"hot"
            assert await client.read_rest() == b""

    async def test_a_body_half_sent_may_still_be_sent(self, stage: Stage) -> None:
        async with serving(stage.app, direct=stage.hot) as served:
            client = await self.begin(served, get("/hot/echo", "Content-Length: 5", method="POST") + b"he")
            served.stop.set()
            await wait_all_tasks_blocked()
            found = await client.ask(b"llo")
            assert (found.body, found.headers["connection"]) == (b"hello", "close")
            await client.close()
            await served.ended.wait()

    async def test_an_answer_half_sent_is_sent_to_its_end(self, stage: Stage) -> None:
        async with serving(stage.app, direct=stage.hot) as served:
            client = await self.begin(served, get("/hot/large"))
            served.stop.set()
            await wait_all_tasks_blocked()
            assert len((await client.read_answer()).body) == LARGE
            await client.close()
            await served.ended.wait()

    @pytest.mark.parametrize(
        "sent",
        [
            HOT_GET[:5],
            get("/hot/echo", "Content-Length: 5", method="POST"),
            get("/hot/gate"),
            get("/hot/large"),
        ],
        ids=["head", "body", "answer", "sending"],
    )
    async def test_what_takes_longer_is_cut_off(
        self, stage: Stage, sent: bytes, mock_clock: MockClock
    ) -> None:
        limits = msgspec.structs.replace(LIMITS, shutdown_seconds=TIMED.shutdown_seconds)
        async with serving(stage.app, limits, direct=stage.hot) as served:
            client = await self.begin(served, sent)
            served.stop.set()
            await pass_time(mock_clock, limits.shutdown_seconds * 0.99)
            assert not served.ended.is_set()
            await pass_time(mock_clock, limits.shutdown_seconds * 0.02)
            await served.ended.wait()
            assert b"HTTP/1.1 4" not in await client.read_rest()

    async def test_a_refusal_is_not_cut_short(self, stage: Stage, mock_clock: MockClock) -> None:
        """Its client may still be sending: closing at once would take the answer with it."""
        async with serving(stage.app, direct=stage.hot) as served:
            client = await self.begin(served, b"GET / HTTP/1.1\r\n\r\n")
            served.stop.set()
            await wait_all_tasks_blocked()
            assert not served.ended.is_set()
            assert (await client.read_answer()).status == 400
            await pass_time(mock_clock, LINGER_SECONDS * 1.01)
            await served.ended.wait()

    async def test_the_end_of_one_that_lingers_is_nobodys_fault(self, stage: Stage) -> None:
        """Its socket is closed in the midst of its own end."""
        with capture_logs() as logs:
            async with serving(stage.app, direct=stage.hot) as served:
                client = await served.connect()
                await client.ask(HOT_GET)
                os.write(client.stream.socket.fileno(), HOT_GET[:5])
                await wait_all_tasks_blocked()
                await client.stream.send_eof()
                await wait_all_tasks_blocked()
                for connection in connections():
                    connection.drain()
                    assert not connection.has_come
                await wait_all_tasks_blocked()
                assert all(connection.is_settled for connection in connections() if connection.broken)
        assert [entry for entry in logs if entry["log_level"] == "error"] == []

    async def test_a_connection_that_lingers_is_not_waited_for_any_longer(
        self, stage: Stage, mock_clock: MockClock
    ) -> None:
        async with serving(stage.app, direct=stage.hot) as served:
            client = await self.begin(served, get("/hot", "Connection: close"))
            assert (await client.read_answer()).body == b"hot"
            served.stop.set()
            await pass_time(mock_clock, LINGER_SECONDS * 1.01)
            await served.ended.wait()
