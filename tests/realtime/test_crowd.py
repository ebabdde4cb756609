"""Many who listen to one event: what a telling costs does not grow with them, and nobody is forgotten."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import trio
from trio.testing import MockClock

from storage.schema.ids import UserId
from tests.domain.inventory_stage import EVENT_ID, user_id
from tests.handlers.sale_stage import open_sale
from ticketd.realtime.connection import Connection, Listener
from ticketd.realtime.hub import TOLD_A_TURN, Hub

CROWD = 10_000


class Hearer:
    """One of the crowd: it takes what there is as soon as it is told of news."""

    def __init__(self, hub: Hub, number: int) -> None:
        self.heard: list[bytes] = []
        self.times_told = 0
        self.connection: Connection = hub.connect(Listener(UserId(user_id(number))), self)
        self.connection.subscribe(EVENT_ID)
        assert self.connection.next_text() is not None

    def has_news(self) -> None:
        self.times_told += 1
        while (text := self.connection.next_text()) is not None:
            self.heard.append(text)

    def recheck(self) -> int | None:
        raise AssertionError("no key has changed, and no token has ended")


async def test_ten_thousand_hear_of_one_seat_in_the_same_bytes(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_sale(tmp_path) as stage:
        hub = stage.daemon.services.hub
        crowd = [Hearer(hub, number) for number in range(CROWD)]
        others = 0

        async def somebody_else() -> None:
            nonlocal others
            while True:
                others += 1
                await trio.sleep(0)

        await stage.block("Floor/A/1", "Floor/A/2")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(somebody_else)
            # All are told in slices, between which others have their turn.
            while not all(hearer.times_told for hearer in crowd):  # noqa: ASYNC110  # it counts the turns
                await trio.sleep(0)
            nursery.cancel_scope.cancel()
        # A turn after each slice but the last; another is lost if it was not there yet at the first.
        assert others >= CROWD // TOLD_A_TURN - 2
        await trio.testing.wait_all_tasks_blocked()
        assert {hearer.times_told for hearer in crowd} == {1}
        texts = Counter(id(text) for hearer in crowd for text in hearer.heard)
        assert list(texts.values()) == [CROWD]
        assert json.loads(crowd[0].heard[0])["available_seats"] == 10
        for hearer in crowd:
            hearer.connection.close()
        assert hub.feed_count == hub.connection_count == 0


async def test_one_that_is_woken_often_is_told_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_sale(tmp_path) as stage:
        hearer = Hearer(stage.daemon.services.hub, 1)
        for _ in range(3):
            hearer.connection.wake()
        assert hearer.times_told == 0
        await trio.testing.wait_all_tasks_blocked()
        assert hearer.times_told == 1
        hearer.connection.wake()
        await trio.testing.wait_all_tasks_blocked()
        assert hearer.times_told == 2
