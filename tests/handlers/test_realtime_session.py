from __future__ import annotations

from pathlib import Path

from trio.testing import MockClock

from tests.domain.inventory_stage import EVENT_ID, section_id
from tests.handlers.sale_stage import open_sale
from tests.handlers.socket_stage import open_socket


async def test_a_snapshot_then_the_newest_counts(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_sale(tmp_path) as stage:
        buyer = await stage.buyer(1)
        socket = await open_socket(stage.daemon, buyer)
        assert await socket.subscribe(EVENT_ID) == {
            "seq": 1,
            "type": "subscribed",
            "event_id": str(EVENT_ID),
            "sections": [
                {"section_id": str(section_id("Floor")), "section": "Floor", "available_seats": 12},
                {"section_id": str(section_id("Balcony")), "section": "Balcony", "available_seats": 4},
            ],
        }
        held = await stage.reserve(buyer, 1, "Floor/A/1", "Floor/A/2")
        assert held.status == 201
        assert await socket.take_all() == [
            {
                "seq": 2,
                "type": "availability_update",
                "event_id": str(EVENT_ID),
                "section_id": str(section_id("Floor")),
                "section": "Floor",
                "available_seats": 10,
                "timestamp": "2026-07-14T03:33:20Z",
            }
        ]
