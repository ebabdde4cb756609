"""How many connections one address may have, and what is said when all places are taken."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from tests.front.raw_http import LIMITS, PATIENCE_SECONDS, RawClient
from ticketd.front import BoundAddress, ListenerName, connections, open_tcp_listener
from ticketd.front.connections import Connection
from ticketd.front.doors import Door
from ticketd.rate_limits.addresses import TrustedProxies

PER_ADDRESS, ALL = 3, 8
NARROW = msgspec.structs.replace(LIMITS, max_connections=ALL, max_connections_per_address=PER_ADDRESS)


async def greet_and_stay(connection: Connection) -> None:
    await connection.send(b"hello")
    while await connection.receive():
        pass


class Entrance:
    """A door, behind which everybody is greeted and may stay."""

    def __init__(self, address: BoundAddress, door: Door) -> None:
        self.address = address
        self.door = door
        self.inside: list[RawClient] = []

    async def is_let_in(self) -> bool:
        """Whether one more client is; then it stays."""
        client = await RawClient.connect(self.address)
        said = await client.stream.receive_some()
        if said == b"hello":
            self.inside.append(client)
            return True
        assert said.startswith(b"HTTP/1.1 503 ")
        await client.close()
        return False

    async def let_one_leave(self) -> None:
        await self.inside.pop().close()
        await wait_all_tasks_blocked()


@contextlib.asynccontextmanager
async def entrance(proxies: TrustedProxies | None = None) -> AsyncIterator[Entrance]:
    listener = await open_tcp_listener("127.0.0.1:0", ListenerName.PUBLIC)
    door = Door(listener, greet_and_stay, NARROW, proxies)
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(door.run_accepting, nursery)
            found = Entrance(listener.address, door)
            try:
                yield found
            finally:
                for client in found.inside:
                    client.stream.socket.close()
                nursery.cancel_scope.cancel()
                listener.close()


@pytest.fixture
def callers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where the next clients come from; the last one stands for all that follow."""
    addresses: list[str] = []

    def endpoint(_: object) -> tuple[str, int]:
        # Asked for both ends of each connection, the client's first.
        asked.append(None)
        is_client = len(asked) % 2 == 1
        return (addresses.pop(0) if is_client and len(addresses) > 1 else addresses[0]), 1

    asked: list[None] = []
    monkeypatch.setattr(connections, "_ip_endpoint", endpoint)
    return addresses


class TestOneAddress:
    async def test_it_has_as_many_as_it_may_and_no_more(self) -> None:
        async with entrance() as door:
            assert [await door.is_let_in() for _ in range(PER_ADDRESS + 2)] == [True] * PER_ADDRESS + [
                False
            ] * 2
            assert door.door.live_count == PER_ADDRESS

    async def test_who_leaves_makes_room_for_one(self) -> None:
        async with entrance() as door:
            for _ in range(PER_ADDRESS):
                assert await door.is_let_in()
            for _ in range(3):
                assert not await door.is_let_in()
                await door.let_one_leave()
                assert await door.is_let_in()
            assert not await door.is_let_in()

    async def test_when_all_have_left_nothing_is_kept_of_it(self) -> None:
        async with entrance() as door:
            for _ in range(PER_ADDRESS):
                assert await door.is_let_in()
            while door.inside:
                await door.let_one_leave()
            assert door.door._by_address == {}

    async def test_another_one_is_let_in(self, callers: list[str]) -> None:
        callers += ["192.0.2.1"] * (PER_ADDRESS + 1) + ["192.0.2.2"]
        async with entrance() as door:
            outcomes = [await door.is_let_in() for _ in range(PER_ADDRESS + 2)]
            assert outcomes == [True] * PER_ADDRESS + [False, True]

    async def test_a_network_of_64_bits_is_one(self, callers: list[str]) -> None:
        callers += [f"2001:db8:0:1::{number}" for number in range(PER_ADDRESS)]
        callers += ["2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:2::1"]
        async with entrance() as door:
            outcomes = [await door.is_let_in() for _ in range(PER_ADDRESS + 2)]
            assert outcomes == [True] * PER_ADDRESS + [False, True]

    async def test_a_trusted_proxy_brings_as_many_as_there_is_room_for(self) -> None:
        async with entrance(TrustedProxies(["127.0.0.0/8"])) as door:
            assert [await door.is_let_in() for _ in range(ALL + 1)] == [True] * ALL + [False]
            assert door.door._by_address == {}

    async def test_a_proxy_that_is_not_trusted_is_anybody(self) -> None:
        async with entrance(TrustedProxies(["192.0.2.0/24"])) as door:
            assert [await door.is_let_in() for _ in range(PER_ADDRESS + 1)] == [True] * PER_ADDRESS + [False]


def fulls(logs: Sequence[Mapping[str, object]]) -> list[object]:
    return [entry["open"] for entry in logs if entry["event"] == "front.full"]


class TestAFullHouse:
    async def test_it_is_said_once_until_there_was_room_again(self) -> None:
        with capture_logs() as logs:
            async with entrance(TrustedProxies(["127.0.0.1"])) as door:
                for _ in range(ALL):
                    assert await door.is_let_in()
                assert fulls(logs) == []
                for _ in range(3):
                    assert not await door.is_let_in()
                assert fulls(logs) == [ALL]
                await door.let_one_leave()
                assert await door.is_let_in()
                assert not await door.is_let_in()
        assert fulls(logs) == [ALL, ALL]

    async def test_one_address_that_has_too_many_is_not_worth_a_warning(self) -> None:
        with capture_logs() as logs:
            async with entrance() as door:
                for _ in range(PER_ADDRESS + 3):
                    await door.is_let_in()
        assert fulls(logs) == []
