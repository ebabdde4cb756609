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
from ticketd.realtime.lines import SLICE

CROWD = 10_000


async def test_ten_thousand_hear_of_one_seat_in_the_same_bytes(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_sale(tmp_path) as stage:
        hub = stage.daemon.services.hub
        crowd: list[Connection] = []
        for number in range(CROWD):
            connection = hub.connect(Listener(UserId(user_id(number))), lambda: None)
            connection.subscribe(EVENT_ID)
            assert connection.next_text_nowait() is not None
            connection._news = trio.Event()
            crowd.append(connection)
        others = 0

        async def somebody_else() -> None:
            nonlocal others
            while True:
                others += 1
                await trio.sleep(0)

        await stage.block("Floor/A/1", "Floor/A/2")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(somebody_else)
            # All are woken in slices, between which others have their turn.
            while not all(one._news.is_set() for one in crowd):  # noqa: ASYNC110  # it counts the turns
                await trio.sleep(0)
            nursery.cancel_scope.cancel()
        # A turn after each slice but the last; another is lost if it was not there yet at the first.
        assert others >= CROWD // SLICE - 2
        texts = Counter(id(connection.next_text_nowait()) for connection in crowd)
        assert len(texts) == 1
        text = hub._feeds[EVENT_ID].sections.text_after(0)
        assert text is not None
        assert json.loads(text[1])["available_seats"] == 10
        assert all(connection.next_text_nowait() is None for connection in crowd)
        for connection in crowd:
            connection.close()
        assert hub.feed_count == hub.connection_count == 0
