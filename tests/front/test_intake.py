"""What comes in on one connection, read by read: heads, bodies, their ends, and how much is held."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httptools
import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from handlers.call import BodyLost
from tests.front.raw_http import GET, LIMITS, PATIENCE_SECONDS
from ticketd.front import ListenerName
from ticketd.front.connections import Connection
from ticketd.front.faults import PeerGone
from ticketd.front.heads import Head, read_head
from ticketd.front.intake import Intake
from ticketd.front.refusals import FrontRefusal
from ticketd.front.sockets import READ_BYTES

IDLE_SECONDS = 30.0
SMALL = msgspec.structs.replace(
    LIMITS, max_header_bytes=1024, header_timeout_seconds=1, body_timeout_seconds=2
)
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
LENGTH = POST + b"Content-Length: 5\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Stage:
    """An intake, and the other end of its connection."""

    def __init__(self) -> None:
        ours, self.peer = socket.socketpair()
        ours.setblocking(False)
        self.peer.setblocking(False)
        self.connection = Connection(ours, ListenerName.PUBLIC, SMALL)
        self.intake = Intake(self.connection)

    async def next_head(self) -> bytes | FrontRefusal | None:
        if not self.intake.held and not self.intake.is_over:
            data = await self.connection.receive()
            lone = self.intake.take_in(data)
            if lone is not None:
                return lone
        return await self.intake.next_head()

    async def begin(self, head: bytes) -> None:
        """The head comes in and is read."""
        self.peer.send(head)
        found = await self.next_head()
        assert isinstance(found, bytes)
        read = read_head(found)
        assert isinstance(read, Head)
        self.intake.begin_body(read)

    async def read_body(self) -> bytes:
        body = b""
        while piece := await self.intake.next_piece():
            body += piece
        return body


@asynccontextmanager
async def opened() -> AsyncIterator[Stage]:
    stage = Stage()
    try:
        with trio.fail_after(PATIENCE_SECONDS):
            yield stage
    finally:
        stage.peer.close()
        await stage.connection.close(linger=False)


class TestHeads:
    async def test_one_that_comes_in_many_reads(self) -> None:
        async with opened() as stage:
            found: list[object] = []

            async def wait() -> None:
                found.append(await stage.next_head())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                for byte in GET:
                    stage.peer.send(bytes([byte]))
                    await wait_all_tasks_blocked()
            assert found == [GET]
            assert stage.intake.held == b""

    async def test_what_was_looked_at_is_not_looked_at_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Else a byte a packet would cost as much as the whole head, each time."""
        fed: list[int] = []

        class Counting:
            def __init__(self, listener: object) -> None:
                self._parser = real(listener)

            def feed_data(self, data: bytes) -> None:
                fed.append(len(data))
                self._parser.feed_data(data)

        real = httptools.HttpRequestParser
        monkeypatch.setattr("ticketd.front.heads.httptools.HttpRequestParser", Counting)
        for head in (GET[:-2] + b"a:\r\n" * 50 + b"\r\n", GET.replace(b"GET", b"BREW" * 20)):
            fed.clear()
            async with opened() as stage, trio.open_nursery() as nursery:
                nursery.start_soon(stage.next_head)
                for byte in head:
                    stage.peer.send(bytes([byte]))
                    await wait_all_tasks_blocked()
            assert sum(fed) <= len(head)

    async def test_several_in_one_read(self) -> None:
        async with opened() as stage:
            stage.peer.send(GET + LENGTH + b"hello" + GET[:5])
            assert await stage.next_head() == GET
            assert await stage.next_head() == LENGTH
            assert stage.intake.held == b"hello" + GET[:5]

    @pytest.mark.parametrize(("over", "is_read"), [(-1, True), (0, True), (1, False), (READ_BYTES, False)])
    @pytest.mark.parametrize("follows", [b"", b"x" * 2000])
    async def test_the_largest(self, over: int, is_read: bool, follows: bytes) -> None:
        async with opened() as stage:
            head = GET[:-2] + b"X: "
            head += b"x" * (SMALL.max_header_bytes + over - len(head) - 4) + b"\r\n\r\n"
            stage.peer.send(head + follows)
            found = await stage.next_head()
            assert found == (head if is_read else FrontRefusal.HEADERS_TOO_LARGE)

    async def test_one_without_an_end_is_given_up_at_the_limit(self) -> None:
        async with opened() as stage:
            stage.peer.send(GET[:-2] + b"X: " + b"x" * SMALL.max_header_bytes)
            assert await stage.next_head() is FrontRefusal.HEADERS_TOO_LARGE

    async def test_what_is_no_head_is_not_waited_for(self) -> None:
        async with opened() as stage:
            stage.peer.send(b"\x16\x03\x01")
            assert await stage.next_head() is FrontRefusal.NOT_HTTP

    @pytest.mark.parametrize(
        ("sent", "found"), [(b"", None), (GET[:5], FrontRefusal.NOT_HTTP)], ids=["nothing", "a part"]
    )
    async def test_the_end_of_the_input(self, sent: bytes, found: FrontRefusal | None) -> None:
        async with opened() as stage:
            stage.peer.send(GET + sent)
            stage.peer.shutdown(socket.SHUT_WR)
            assert await stage.next_head() == GET
            assert await stage.next_head() is found

    async def test_the_end_of_the_connection(self) -> None:
        async with opened() as stage:
            await stage.connection.close(linger=False)
            with pytest.raises(PeerGone):
                await stage.next_head()

    @pytest.mark.parametrize(("seconds", "found"), [(0.99, GET), (1.01, FrontRefusal.TOO_SLOW)])
    @pytest.mark.parametrize("is_later", [False, True], ids=["the first", "a later one"])
    async def test_the_rest_has_its_time(
        self, seconds: float, found: object, is_later: bool, mock_clock: MockClock
    ) -> None:
        async with opened() as stage:
            if is_later:
                stage.peer.send(GET)
                await stage.next_head()
                mock_clock.jump(10)
            results: list[object] = []

            async def wait() -> None:
                results.append(await stage.next_head())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                for part in (GET[:3], GET[3:6]):
                    stage.peer.send(part)
                    await wait_all_tasks_blocked()
                mock_clock.jump(seconds)
                await wait_all_tasks_blocked()
                stage.peer.send(GET[6:])
            assert results == [found]


class TestBodies:
    async def test_none(self) -> None:
        async with opened() as stage:
            await stage.begin(GET)
            assert (stage.intake.body_is_here, stage.intake.body_is_read) == (True, True)
            assert await stage.intake.next_piece() == b""

    @pytest.mark.parametrize(
        ("head", "body"), [(LENGTH, b"hello"), (CHUNKED, b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")]
    )
    async def test_at_every_split_what_is_behind_belongs_to_the_next_request(
        self, head: bytes, body: bytes
    ) -> None:
        for at in range(len(body) + len(GET) + 1):
            async with opened() as stage:
                whole = body + GET
                await stage.begin(head + whole[:at])
                assert stage.intake.body_is_here is (at >= len(body))
                stage.peer.send(whole[at:])
                assert await stage.read_body() == b"hello"
                assert stage.intake.body_is_read
                assert await stage.next_head() == GET

    @pytest.mark.parametrize("head", [LENGTH + b"hello", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"])
    @pytest.mark.parametrize("looks_first", [True, False])
    async def test_one_that_is_skipped(self, head: bytes, looks_first: bool) -> None:
        async with opened() as stage:
            await stage.begin(head + GET)
            if not looks_first:
                assert await stage.intake.next_piece() == b"hello"
            assert stage.intake.body_is_here
            stage.intake.skip_body()
            assert stage.intake.body_is_read
            assert await stage.next_head() == GET

    async def test_what_was_looked_at_is_still_read(self) -> None:
        async with opened() as stage:
            await stage.begin(CHUNKED + b"2\r\nhe\r\n")
            assert not stage.intake.body_is_here
            assert not stage.intake.body_is_read
            stage.peer.send(b"3\r\nllo\r\n0\r\n\r\n" + GET)
            assert await stage.read_body() == b"hello"

    @pytest.mark.parametrize(
        ("sent", "loss"),
        [
            (CHUNKED + b"zz\r\n0\r\n\r\n" + GET, FrontRefusal.NOT_HTTP),
            (CHUNKED + b"5\r\nhello\n0\r\n\r\n" + GET, FrontRefusal.NOT_HTTP),
            (LENGTH + b"hell", FrontRefusal.NOT_HTTP),
            (CHUNKED + b"5\r\nhell", FrontRefusal.NOT_HTTP),
        ],
    )
    async def test_one_that_is_lost_stays_lost(self, sent: bytes, loss: FrontRefusal) -> None:
        async with opened() as stage:
            await stage.begin(sent)
            stage.peer.shutdown(socket.SHUT_WR)
            for _ in range(3):
                with pytest.raises(BodyLost):
                    await stage.read_body()
                assert stage.intake.loss is loss
                assert not stage.intake.body_is_here

    async def test_one_whose_peer_is_gone(self) -> None:
        async with opened() as stage:
            await stage.begin(LENGTH)
            await stage.connection.close(linger=False)
            with pytest.raises(BodyLost):
                await stage.read_body()
            assert stage.intake.loss is None

    async def test_one_that_is_too_slow(self, mock_clock: MockClock) -> None:
        async with opened() as stage:
            await stage.begin(LENGTH + b"h")

            async def read() -> None:
                with pytest.raises(BodyLost):
                    await stage.read_body()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await wait_all_tasks_blocked()
                mock_clock.jump(1.5)
                stage.peer.send(b"e")
                await wait_all_tasks_blocked()
                mock_clock.jump(0.51)
            assert stage.intake.loss is FrontRefusal.TOO_SLOW

    async def test_a_client_that_waits_to_be_told_is_told_once(self) -> None:
        async with opened() as stage:
            await stage.begin(LENGTH[:-2] + b"Expect: 100-continue\r\n\r\n")

            async def send_when_told() -> None:
                for byte in b"hello":
                    await wait_all_tasks_blocked()
                    stage.peer.send(bytes([byte]))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_when_told)
                assert await stage.read_body() == b"hello"
            assert stage.peer.recv(1000) == CONTINUE

    async def test_a_client_is_not_told_within_an_answer(self) -> None:
        async with opened() as stage:
            await stage.begin(LENGTH[:-2] + b"Expect: 100-continue\r\n\r\n")
            stage.intake.forgo_continue()
            stage.peer.send(b"hello")
            assert await stage.read_body() == b"hello"
            with pytest.raises(BlockingIOError):
                stage.peer.recv(1000)


class TestWaitingForTheEnd:
    async def test_what_comes_meanwhile_is_kept_for_the_next_request(self) -> None:
        async with opened() as stage:
            await stage.begin(GET)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stage.intake.wait_until_gone)
                stage.peer.send(GET)
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            assert await stage.next_head() == GET

    async def test_no_more_is_held_than_a_head_and_a_read(self) -> None:
        async with opened() as stage:
            await stage.begin(GET)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stage.intake.wait_until_gone)
                for _ in range(200):
                    try:
                        stage.peer.send(bytes(READ_BYTES))
                    except BlockingIOError:
                        break
                    await wait_all_tasks_blocked()
                assert len(stage.intake.held) < SMALL.max_header_bytes + READ_BYTES
                nursery.cancel_scope.cancel()

    async def test_it_returns_when_the_peer_is_gone_and_at_once_then(self) -> None:
        async with opened() as stage:
            await stage.begin(GET)
            await stage.connection.close(linger=False)
            await stage.intake.wait_until_gone()
            await stage.intake.wait_until_gone()

    async def test_a_peer_that_only_sends_no_more_is_not_gone(self) -> None:
        async with opened() as stage:
            await stage.begin(GET)
            stage.peer.shutdown(socket.SHUT_WR)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stage.intake.wait_until_gone)
                await wait_all_tasks_blocked()  # Which would never be if the end was read again and again.
                assert len(nursery.child_tasks) == 1
                nursery.cancel_scope.cancel()
            assert await stage.next_head() is None
