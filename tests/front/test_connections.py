"""The accept loop and the supervision of connections, under lanes made to fail."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.front.raw_http import BOTH_FRONTS, GET, LARGE, LIMITS, PATIENCE_SECONDS, App, RawClient, serving
from ticketd.front import BoundAddress, ListenerName, NamedListener, open_tcp_listener, open_unix_listener
from ticketd.front.connections import LINGER_SECONDS, Connection, Lane
from ticketd.front.doors import ACCEPT_PAUSE_SECONDS, Door
from ticketd.front.faults import PeerGone

pytestmark = BOTH_FRONTS


@contextlib.asynccontextmanager
async def open_door(lane: Lane, bind: str = "127.0.0.1:0") -> AsyncIterator[BoundAddress]:
    """An accept loop with nothing behind it but ``lane``."""
    listener = await open_tcp_listener(bind, ListenerName.PUBLIC)
    async with run_door(listener, lane) as address:
        yield address


@contextlib.asynccontextmanager
async def run_door(listener: NamedListener, lane: Lane) -> AsyncIterator[BoundAddress]:
    try:
        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(Door(listener, lane, LIMITS).run_accepting, nursery)
                yield listener.address
                nursery.cancel_scope.cancel()
    finally:
        listener.close()


async def say_bye(connection: Connection) -> None:
    await connection.send(b"bye")


async def fail_alone(connection: Connection) -> None:
    raise ValueError("secret-token")


async def fail_in_a_group(connection: Connection) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail_alone, connection)
        nursery.start_soon(fail_alone, connection)


async def fail_with_a_cancelled_sibling(connection: Connection) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        raise UnicodeDecodeError("ascii", b"secret-token", 0, 1, "secret-token")


class TestFaults:
    @pytest.mark.parametrize("fail", [fail_alone, fail_in_a_group, fail_with_a_cancelled_sibling])
    async def test_a_lane_that_fails_ends_only_its_connection(self, fail: Lane) -> None:
        lanes = iter([fail, say_bye])

        async def lane(connection: Connection) -> None:
            await next(lanes)(connection)

        with capture_logs() as logs:
            async with open_door(lane) as address:
                assert await (await RawClient.connect(address)).read_rest() == b""
                assert await (await RawClient.connect(address)).read_rest() == b"bye"
        assert {entry["event"] for entry in logs} == {"front.connection_failed"}
        assert logs[0]["listener"] == "public"
        assert "secret" not in repr(logs)

    async def test_a_lane_that_fails_while_it_is_cancelled_is_logged_and_the_cancellation_goes_on(
        self,
    ) -> None:
        entered = trio.Event()

        async def lane(connection: Connection) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(fail_when_cancelled)
                entered.set()

        async def fail_when_cancelled() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("secret-token")

        with capture_logs() as logs:
            async with open_door(lane) as address:
                client = await RawClient.connect(address)
                await entered.wait()
            assert await client.read_rest() == b""
        assert [entry["error"] for entry in logs] == ["ValueError"]

    async def test_an_interrupt_is_not_held_back(self) -> None:
        async def lane(connection: Connection) -> None:
            raise KeyboardInterrupt

        with pytest.raises(BaseExceptionGroup) as raised:
            async with open_door(lane) as address:
                await (await RawClient.connect(address)).read_rest()
        assert raised.group_contains(KeyboardInterrupt)

    async def test_peer_that_left_is_no_fault(self) -> None:
        async def lane(connection: Connection) -> None:
            raise PeerGone

        with capture_logs() as logs:
            async with open_door(lane) as address:
                assert await (await RawClient.connect(address)).read_rest() == b""
        assert logs == []


class TestSending:
    async def test_a_send_cut_in_the_middle_breaks_the_connection(self) -> None:
        broken: list[bool] = []

        async def lane(connection: Connection) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.send, bytes(LARGE))
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            broken.append(connection.broken)
            with pytest.raises(PeerGone):
                await connection.send(b"more")

        async with open_door(lane) as address:
            client = await RawClient.connect(address)
            await wait_all_tasks_blocked()
            assert len(await client.read_rest()) < LARGE
        assert broken == [True]

    async def test_the_last_answer_survives_what_the_peer_still_sends(self) -> None:
        async def lane(connection: Connection) -> None:
            await connection.send(b"bye")
            await connection.close(linger=True)

        async with open_door(lane) as address:
            client = await RawClient.connect(address)
            await client.send(bytes(100_000))
            assert await client.stream.receive_some() == b"bye"
            assert await client.stream.receive_some() == b""
            await client.close()

    async def test_a_broken_connection_is_closed_without_lingering(self, mock_clock: MockClock) -> None:
        closed = trio.Event()

        async def lane(connection: Connection) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.send, bytes(LARGE))
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            await connection.close(linger=True)
            closed.set()

        async with open_door(lane) as address:
            client = await RawClient.connect(address)
            await closed.wait()
            await client.close()

    async def test_closing_during_a_send_does_not_wait_for_it(self) -> None:
        outcomes: list[str] = []

        async def lane(connection: Connection) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, connection)
                await wait_all_tasks_blocked()
                await connection.close(linger=True)
                outcomes.append("closed")

        async def send(connection: Connection) -> None:
            with pytest.raises(PeerGone):
                await connection.send(bytes(LARGE))
            outcomes.append("gone")

        with capture_logs() as logs:
            async with open_door(lane) as address:
                client = await RawClient.connect(address)
                while len(outcomes) < 2:
                    await wait_all_tasks_blocked()
                await client.close()
        assert sorted(outcomes) == ["closed", "gone"]
        assert logs == []

    async def test_sending_and_closing_at_once(self) -> None:
        async def lane(connection: Connection) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, connection)
                nursery.start_soon(lambda: connection.close(linger=True))

        async def send(connection: Connection) -> None:
            with contextlib.suppress(PeerGone):
                await connection.send(b"bye")

        with capture_logs() as logs:
            async with open_door(lane) as address:
                for _ in range(30):
                    assert await (await RawClient.connect(address)).read_rest() in (b"", b"bye")
        assert logs == []

    async def test_lingering_ends(self, mock_clock: MockClock) -> None:
        async def lane(connection: Connection) -> None:
            await connection.close(linger=True)
            await connection.close(linger=True)
            with pytest.raises(PeerGone):
                await connection.receive()
            with pytest.raises(PeerGone):
                await connection.send(b"more")
            done.set()

        done = trio.Event()
        async with open_door(lane) as address:
            client = await RawClient.connect(address)
            await wait_all_tasks_blocked()
            mock_clock.jump(LINGER_SECONDS * 0.99)
            await wait_all_tasks_blocked()
            assert not done.is_set()
            mock_clock.jump(LINGER_SECONDS)
            await done.wait()
            await client.close()


class TestWhoIsThere:
    async def test_tcp(self) -> None:
        seen: list[Connection] = []

        async def lane(connection: Connection) -> None:
            seen.append(connection)

        async with open_door(lane) as address:
            client = await RawClient.connect(address)
            own = client.stream.socket.getsockname()
            await client.read_rest()
        assert (seen[0].client, seen[0].server, seen[0].peer_uid) == (own, (address.host, address.port), None)

    async def test_ipv4_client_of_an_ipv6_listener_has_its_ipv4_address(self) -> None:
        seen: list[Connection] = []

        async def lane(connection: Connection) -> None:
            seen.append(connection)

        async with open_door(lane, "[::]:0") as address:
            client = await RawClient.connect(msgspec.structs.replace(address, host="127.0.0.1"))
            own = client.stream.socket.getsockname()
            await client.read_rest()
            client = await RawClient.connect(msgspec.structs.replace(address, host="::1"))
            own6 = client.stream.socket.getsockname()[:2]
            await client.read_rest()
        assert [connection.client for connection in seen] == [own, own6]

    async def test_unix(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        seen: list[Connection] = []

        async def lane(connection: Connection) -> None:
            seen.append(connection)

        path = tmp_path_factory.mktemp("s") / "s"
        async with run_door(open_unix_listener(path, ListenerName.OPERATOR), lane) as address:
            await (await RawClient.connect(address)).read_rest()
        assert (seen[0].client, seen[0].server, seen[0].peer_uid) == (None, None, os.getuid())
        assert seen[0].listener is ListenerName.OPERATOR


class TestTooMany:
    async def test_one_above_the_limit_is_answered_503_until_one_leaves(self) -> None:
        limits = msgspec.structs.replace(LIMITS, max_connections=2)
        async with serving(App(), limits) as served:
            first, second = await served.connect(), await served.connect()
            assert (await first.ask()).status == (await second.ask()).status == 200
            third = await served.connect()
            found = await third.ask()
            assert (found.status, found.error_code) == (503, "OVERLOADED")
            assert int(found.headers["retry-after"]) > 0
            assert await third.read_rest() == b""
            assert (await first.ask()).status == 200
            await first.close()
            await wait_all_tasks_blocked()
            await served.assert_alive()

    async def test_each_listener_has_its_own_count(self) -> None:
        limits = msgspec.structs.replace(LIMITS, max_connections=1)
        listeners = [await open_tcp_listener("127.0.0.1:0", name) for name in ListenerName]
        async with serving(App(), limits, listeners) as served:
            await (await served.connect()).ask()
            assert (await (await served.connect()).read_answer()).status == 503
            operator = await RawClient.connect(listeners[1].address)
            assert (await operator.ask()).status == 200
            await operator.close()

    async def test_refusals_at_once_are_bounded(self, mock_clock: MockClock) -> None:
        limits = msgspec.structs.replace(LIMITS, max_connections=1)
        async with serving(App(), limits) as served:
            first = await served.connect()
            await first.ask()
            for _ in range(64):
                assert (await (await served.connect()).read_answer()).status == 503
            assert await (await served.connect()).read_rest() == b""
            mock_clock.jump(LINGER_SECONDS * 1.01)
            await wait_all_tasks_blocked()
            assert (await (await served.connect()).read_answer()).status == 503
            assert (await first.ask()).status == 200


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Takes all file descriptors that this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    taken: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class TestCrowds:
    async def test_those_who_come_together_are_taken_in_together(self) -> None:
        """However busy the loop is: a connection for each of its turns would be far too slow."""
        rounds, begun = 0, list[int]()

        async def lane(connection: Connection) -> None:
            begun.append(rounds)
            await trio.sleep_forever()

        listener = await open_tcp_listener("127.0.0.1:0", ListenerName.PUBLIC)
        crowd = [await RawClient.connect(listener.address) for _ in range(50)]
        async with run_door(listener, lane):
            while len(begun) < len(crowd):
                await trio.lowlevel.checkpoint()
                rounds += 1
        assert max(begun) - min(begun) <= 5
        for client in crowd:
            await client.close()


class TestLackOfDescriptors:
    async def test_accepting_waits_and_goes_on(self, mock_clock: MockClock) -> None:
        with capture_logs() as logs:
            async with serving(App()) as served:
                sock = trio.socket.socket()
                with no_descriptor_left():
                    await sock.connect((served.address.host, served.address.port))
                    for _ in range(3):
                        # It waits for the clock, which stands still: a busy loop would never be blocked.
                        await wait_all_tasks_blocked()
                        mock_clock.jump(ACCEPT_PAUSE_SECONDS * 1.01)
                    await wait_all_tasks_blocked()
                mock_clock.jump(ACCEPT_PAUSE_SECONDS * 1.01)
                client = RawClient(trio.SocketStream(sock))
                assert (await client.ask(GET)).body == b"hello"
                await client.close()
        paused = [entry for entry in logs if entry["event"] == "front.accept_paused"]
        assert [entry["reason"] for entry in paused] == ["EMFILE"]

    async def test_a_listening_socket_that_fails_is_an_error(self) -> None:
        async def close_under_it() -> None:
            listener = await open_tcp_listener("127.0.0.1:0", ListenerName.PUBLIC)
            async with run_door(listener, say_bye):
                await wait_all_tasks_blocked()
                listener.close()
                await trio.sleep_forever()

        with pytest.raises(ExceptionGroup) as raised:
            await close_under_it()
        assert raised.group_contains(trio.ClosedResourceError)
