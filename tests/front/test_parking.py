"""Tasks that wait for bytes behind one file descriptor: who is served, who is woken, and who is left alone."""

from __future__ import annotations

import gc
import socket
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ticketd.front import parking as parking_module
from ticketd.front.parking import Parking
from ticketd.front.sockets import read_nowait

MOST_SEEN, MOST_PUT_OFF, MOST_WOKEN = 20, 8, 3
"""The bounds of a turn, small enough for a crowd of few descriptors."""


class Pair:
    """A socket to be parked at, and its peer."""

    def __init__(self) -> None:
        self.ours, self.peer = socket.socketpair()
        self.ours.setblocking(False)
        self.read: list[bytes] = []
        self.stays = True
        self.fault: Exception | None = None

    def come(self) -> bool:
        data = read_nowait(self.ours, 100)
        assert data is not None
        self.read.append(data)
        if self.fault is not None:
            raise self.fault
        return self.stays and data != b""

    def close(self) -> None:
        self.ours.close()
        self.peer.close()


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    made = [Pair() for _ in range(3)]
    yield made
    for pair in made:
        pair.close()


@asynccontextmanager
async def running() -> AsyncIterator[Parking]:
    parking = Parking()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(parking.run)
        yield parking
        nursery.cancel_scope.cancel()


async def test_what_comes_is_shown_and_the_task_sleeps_on(pairs: list[Pair]) -> None:
    woken: list[int] = []

    async def park(parking: Parking, number: int) -> None:
        await parking.wait(pairs[number].ours, pairs[number].come)
        woken.append(number)

    async with running() as parking, trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(park, parking, number)
        await wait_all_tasks_blocked()
        for text in (b"one", b"two"):
            pairs[1].peer.send(text)
            await wait_all_tasks_blocked()
        assert ([pair.read for pair in pairs], woken) == ([[], [b"one", b"two"], []], [])
        pairs[2].stays = False
        pairs[2].peer.send(b"three")
        pairs[0].peer.close()
        await wait_all_tasks_blocked()
        assert sorted(woken) == [0, 2]
        assert pairs[0].read == [b""]
        assert len(parking) == 1
        nursery.cancel_scope.cancel()
    assert len(parking) == 0


async def test_a_fault_is_the_own_tasks_alone(pairs: list[Pair]) -> None:
    caught: list[Exception] = []

    async def park(parking: Parking, pair: Pair) -> None:
        try:
            await parking.wait(pair.ours, pair.come)
        except ValueError as fault:
            caught.append(fault)

    pairs[0].fault = ValueError("bad")
    async with running() as parking, trio.open_nursery() as nursery:
        for pair in pairs:
            nursery.start_soon(park, parking, pair)
        await wait_all_tasks_blocked()
        for pair in pairs:
            pair.peer.send(b"x")
        await wait_all_tasks_blocked()
        assert caught == [pairs[0].fault]
        assert [pair.read for pair in pairs] == [[b"x"]] * 3
        assert len(parking) == 2
        nursery.cancel_scope.cancel()


class TestTheEndOfATurn:
    async def come_together(
        self, pairs: list[Pair], told: list[str], **finishes: Callable[[], bool]
    ) -> list[str]:
        """Parks at three sockets, to which something then comes in one turn; what became of the tasks. ``finishes``,
        by ``first``, ``second`` and ``third``, are put off to the end of the turn."""
        became: list[str] = []

        def look(name: str, pair: Pair) -> bool | Callable[[], bool]:
            pair.come()
            told.append(f"look {name}")
            return finishes[name]

        async def park(parking: Parking, name: str, pair: Pair) -> None:
            try:
                await parking.wait(pair.ours, lambda: look(name, pair))
                became.append(f"{name} goes on")
            except ValueError as fault:
                became.append(f"{name}: {fault}")

        async with running() as parking, trio.open_nursery() as nursery:
            for name, pair in zip(("first", "second", "third"), pairs, strict=True):
                nursery.start_soon(park, parking, name, pair)
            await wait_all_tasks_blocked()
            for pair in pairs:
                pair.peer.send(b"x")
            await wait_all_tasks_blocked()
            became.append(f"{len(parking)} parked")
            nursery.cancel_scope.cancel()
        return became

    async def test_what_is_put_off_follows_all_that_came(self, pairs: list[Pair]) -> None:
        told: list[str] = []

        def finish(name: str, *, stays: bool) -> bool:
            told.append(f"finish {name}")
            return stays

        became = await self.come_together(
            pairs,
            told,
            first=lambda: finish("first", stays=True),
            second=lambda: finish("second", stays=False),
            third=lambda: finish("third", stays=True),
        )
        assert sorted(told[:3]) == ["look first", "look second", "look third"]
        assert sorted(told[3:]) == ["finish first", "finish second", "finish third"]
        assert sorted(became) == ["2 parked", "second goes on"]

    async def test_a_fault_at_it_is_the_own_tasks_alone(self, pairs: list[Pair]) -> None:
        def fail() -> bool:
            raise ValueError("bad")

        became = await self.come_together(pairs, [], first=lambda: True, second=fail, third=lambda: True)
        assert sorted(became) == ["2 parked", "second: bad"]

    async def test_who_is_cancelled_before_it_is_left_alone(self, pairs: list[Pair]) -> None:
        finished: list[str] = []

        def finish(name: str) -> bool:
            finished.append(name)
            scopes["second" if name == "first" else "first"].cancel()
            return True

        scopes: dict[str, trio.CancelScope] = {}

        async def park(parking: Parking, name: str, pair: Pair) -> None:
            def look() -> Callable[[], bool]:
                pair.come()
                return lambda: finish(name)

            with trio.CancelScope() as scopes[name]:
                await parking.wait(pair.ours, look)

        async with running() as parking, trio.open_nursery() as nursery:
            for name, pair in zip(("first", "second"), pairs, strict=False):
                nursery.start_soon(park, parking, name, pair)
            await wait_all_tasks_blocked()
            for pair in pairs[:2]:
                pair.peer.send(b"x")
            await wait_all_tasks_blocked()
            assert len(finished) == 1
            assert len(parking) == 1
            nursery.cancel_scope.cancel()


class TestWhatTasksPutOff:
    """What a task that parks puts off to the end of the turn that it parks in."""

    async def test_it_follows_all_who_could_run(self, pairs: list[Pair]) -> None:
        told: list[str] = []
        woken: list[int] = []

        def finish(number: int) -> bool:
            told.append("finish")
            return number != 1

        async def park(parking: Parking, number: int) -> None:
            told.append("run")
            await parking.wait(pairs[number].ours, pairs[number].come, lambda: finish(number))
            woken.append(number)

        async with running() as parking:
            await wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(park, parking, number)
                await wait_all_tasks_blocked()
                assert told == ["run"] * 3 + ["finish"] * 3
                assert (woken, len(parking)) == ([1], 2)
                nursery.cancel_scope.cancel()

    async def test_it_comes_before_what_has_come_meanwhile(self, pairs: list[Pair]) -> None:
        told: list[str] = []

        def finish() -> bool:
            assert pairs[0].read == []
            told.append("finish")
            return True

        parking = Parking()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parking.wait, pairs[0].ours, pairs[0].come, finish)
            await wait_all_tasks_blocked()
            pairs[0].peer.send(b"x")
            parking._unseen.append(pairs[0].ours.fileno())
            parking._take_turn()
            assert (told, pairs[0].read) == (["finish"], [b"x"])
            nursery.cancel_scope.cancel()

    async def test_it_is_forgotten_with_a_task_that_is_cancelled(self, pairs: list[Pair]) -> None:
        def finish() -> bool:
            raise AssertionError("its task is gone")

        parking = Parking()
        with trio.move_on_after(0):
            await parking.wait(pairs[0].ours, pairs[0].come, finish)
        parking._end_turn()
        assert len(parking) == 0


async def test_who_is_cancelled_is_not_served(pairs: list[Pair]) -> None:
    async with running() as parking:
        with trio.move_on_after(0) as scope:
            pairs[0].peer.send(b"x")
            await parking.wait(pairs[0].ours, pairs[0].come)
        assert scope.cancelled_caught
        assert len(parking) == 0
        await wait_all_tasks_blocked()
        assert pairs[0].read == []
        # The same socket may be parked at again, and finds what it has left.
        pairs[0].stays = False
        await parking.wait(pairs[0].ours, pairs[0].come)
        assert pairs[0].read == [b"x"]


async def test_one_that_leaves_for_another_is_not_served_by_it(pairs: list[Pair]) -> None:
    """Both have something in the same turn, and what is done for the first cancels the second."""
    first, second, _ = pairs
    scopes = [trio.CancelScope(), trio.CancelScope()]

    async def park(parking: Parking, number: int) -> None:
        def come() -> bool:
            scopes[1 - number].cancel()
            return pairs[number].come()

        with scopes[number]:
            await parking.wait(pairs[number].ours, come)

    async with running() as parking, trio.open_nursery() as nursery:
        for number in range(2):
            nursery.start_soon(park, parking, number)
        await wait_all_tasks_blocked()
        first.peer.send(b"1")
        second.peer.send(b"2")
        await wait_all_tasks_blocked()
        assert len(first.read) + len(second.read) >= 1
        assert len(parking) <= 1
        nursery.cancel_scope.cancel()


class Bad(Exception):
    """A fault that tells where it is looked for, as long as it is there."""

    def __init__(self, seen: list[weakref.ref[Bad]]) -> None:
        super().__init__()
        seen.append(weakref.ref(self))


@pytest.mark.parametrize("then", ["goes on", "fails", "puts something off"])
async def test_one_that_cancels_itself_is_woken_by_that_alone(pairs: list[Pair], then: str) -> None:
    scope = trio.CancelScope()
    finished: list[int] = []
    faults: list[weakref.ref[Bad]] = []

    def finish() -> bool:
        finished.append(1)
        return True

    def come() -> bool | Callable[[], bool]:
        scope.cancel()
        if then == "fails":
            raise Bad(faults)
        return finish if then == "puts something off" else False

    gc.disable()
    try:
        async with running() as parking:
            pairs[0].peer.send(b"x")
            with scope:
                await parking.wait(pairs[0].ours, come)
            assert scope.cancelled_caught
            assert len(parking) == 0
            await wait_all_tasks_blocked()
            assert finished == []
            assert [ref() for ref in faults] == [None] * (then == "fails")
    finally:
        gc.enable()


class TestACrowd:
    """Whatever is done for each of a crowd, so many have it in a turn, and then everybody else has one."""

    @pytest.fixture(autouse=True)
    def small_turns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parking_module, "MOST_SEEN", MOST_SEEN)
        monkeypatch.setattr(parking_module, "MOST_PUT_OFF", MOST_PUT_OFF)
        monkeypatch.setattr(parking_module, "MOST_WOKEN", MOST_WOKEN)

    @pytest.fixture
    def crowd(self) -> Iterator[list[Pair]]:
        crowd = [Pair() for _ in range(5 * MOST_SEEN)]
        yield crowd
        for pair in crowd:
            pair.close()

    @pytest.mark.parametrize(
        ("most", "done"), [(MOST_SEEN, "look"), (MOST_PUT_OFF, "finish"), (MOST_WOKEN, "go on")]
    )
    @pytest.mark.parametrize("over", ["below", "at", "above", "far above"])
    async def test_it_leaves_turns_to_others(
        self, crowd: list[Pair], most: int, done: str, over: str
    ) -> None:
        count = {"below": most - 1, "at": most, "above": most + 1, "far above": 5 * most}[over]
        served: list[int] = []
        turns: list[int] = []

        def look(number: int) -> bool | Callable[[], bool]:
            crowd[number].come()
            if done == "look":
                served.append(number)
            if done == "finish":
                return lambda: finish(number)
            return done == "look"

        def finish(number: int) -> bool:
            served.append(number)
            return True

        async def park(parking: Parking, number: int) -> None:
            await parking.wait(crowd[number].ours, lambda: look(number))
            served.append(number)

        async with running() as parking, trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(park, parking, number)
            await wait_all_tasks_blocked()
            for pair in crowd[:count]:
                pair.peer.send(b"x")
            while len(served) < count:
                await trio.sleep(0)
                turns.append(len(served))
            assert len(parking) == (0 if done == "go on" else count)
            nursery.cancel_scope.cancel()
        assert sorted(served) == list(range(count))
        steps = [after - before for before, after in zip([0, *turns], turns, strict=False)]
        # Two tasks that are ready run in any order: one may have had its second turn before the other has its first.
        assert max(steps) <= 2 * most

    @pytest.mark.parametrize("count", [MOST_PUT_OFF, MOST_PUT_OFF + 1, 3 * MOST_PUT_OFF + 1])
    async def test_of_tasks_that_put_something_off_the_first_do_not_wait_for_the_last(
        self, crowd: list[Pair], count: int
    ) -> None:
        told: list[str] = []

        def finish() -> bool:
            told.append("finish")
            return True

        async def park(parking: Parking, pair: Pair) -> None:
            told.append("run")
            await parking.wait(pair.ours, pair.come, finish)

        async with running() as parking:
            await wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                for pair in crowd[:count]:
                    nursery.start_soon(park, parking, pair)
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        assert (told.count("run"), told.count("finish")) == (count, count)
        waiting = most = 0
        for what in told:
            waiting += 1 if what == "run" else -1
            most = max(most, waiting)
        assert most == min(count, MOST_PUT_OFF + 1)

    async def test_what_is_answered_at_once_does_not_wait_for_it(self, crowd: list[Pair]) -> None:
        *crowd, last = crowd
        gone_on: list[int] = []
        when_answered: list[int] = []

        async def park(parking: Parking, pair: Pair) -> None:
            await parking.wait(pair.ours, lambda: pair.come() and False)
            gone_on.append(1)

        def answer() -> bool:
            when_answered.append(len(gone_on))
            return last.come()

        async with running() as parking, trio.open_nursery() as nursery:
            for pair in crowd:
                nursery.start_soon(park, parking, pair)
            nursery.start_soon(parking.wait, last.ours, answer)
            await wait_all_tasks_blocked()
            for pair in crowd:
                pair.peer.send(b"x")
            while not gone_on:  # noqa: ASYNC110 -- it is the turns that are counted
                await trio.sleep(0)
            # All the others are there before it, and some are due already.
            last.peer.send(b"x")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert len(gone_on) == len(crowd)
        assert len(when_answered) == 1
        # The crowd is looked at in turns, too; what is looked at goes on a good deal later.
        assert when_answered[0] < len(crowd) // 2

    async def test_its_tasks_go_on_in_order(self, crowd: list[Pair]) -> None:
        seen: list[int] = []
        gone_on: list[int] = []

        def look(number: int) -> bool:
            crowd[number].come()
            seen.append(number)
            return False

        async def park(parking: Parking, number: int) -> None:
            await parking.wait(crowd[number].ours, lambda: look(number))
            gone_on.append(number)

        async with running() as parking, trio.open_nursery() as nursery:
            for number in range(len(crowd)):
                nursery.start_soon(park, parking, number)
            await wait_all_tasks_blocked()
            for pair in crowd:
                pair.peer.send(b"x")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        # Those who have the same turn go on in any order.
        turns = [seen.index(number) // MOST_WOKEN for number in gone_on]
        assert len(turns) == len(crowd)
        assert turns == sorted(turns)

    @pytest.mark.parametrize("ends", ["the tasks", "all"])
    async def test_one_that_is_due_goes_on_though_it_is_cancelled(self, crowd: list[Pair], ends: str) -> None:
        """What it looked at may have begun something, which only the task can end."""
        gone_on: list[int] = []

        async def park(parking: Parking, pair: Pair) -> None:
            await parking.wait(pair.ours, lambda: pair.come() and False)
            gone_on.append(1)
            await trio.sleep(0)
            raise AssertionError("it was cancelled")

        with trio.CancelScope() as everything:
            async with running() as parking, trio.open_nursery() as nursery:
                for pair in crowd[:MOST_SEEN]:
                    nursery.start_soon(park, parking, pair)
                await wait_all_tasks_blocked()
                for pair in crowd[:MOST_SEEN]:
                    pair.peer.send(b"x")
                while len(parking):  # noqa: ASYNC110 -- nobody tells when all are due
                    await trio.sleep(0)
                (everything if ends == "all" else nursery.cancel_scope).cancel()
        assert len(gone_on) == MOST_SEEN


async def test_a_closed_socket_cannot_be_waited_for(pairs: list[Pair]) -> None:
    async with running() as parking:
        pairs[0].ours.close()
        with pytest.raises((OSError, ValueError)):
            await parking.wait(pairs[0].ours, pairs[0].come)
        assert len(parking) == 0
