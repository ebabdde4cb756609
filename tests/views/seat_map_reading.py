"""Reading seat maps in tests, as a client would, and the same from the store itself."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import zstandard

from storage.engine import Command
from storage.schema.ids import EventId
from tests.domain.inventory_recount import seats_by_name
from tests.domain.inventory_stage import EVENT_ID, C, InventoryStage, section_id
from ticketd.domain.events import PutEvent, event_command_partitions, put_event
from ticketd.domain.seats import seat_states
from ticketd.errors import Refusal
from ticketd.event_file.plan import EventPlan
from ticketd.views.seat_map_text import Coding
from ticketd.views.seat_maps import SeatMapRequest, SeatMaps


def read(
    maps: SeatMaps, section: str | None = None, since: int | None = None, coding: Coding | None = None
) -> dict[str, Any]:
    text = maps.read(
        SeatMapRequest(
            event_id=EVENT_ID,
            section_id=None if section is None else section_id(section),
            since=since,
            coding=coding,
        )
    )
    body = text.body
    if text.coding == "gzip":
        body = gzip.decompress(body)
    elif text.coding == "zstd":
        body = zstandard.ZstdDecompressor().decompress(body)
    answer: dict[str, Any] = json.loads(body)
    return answer


def states(answer: dict[str, Any]) -> dict[str, str]:
    """The status of each seat of an answer, by "Section/Row/Number"."""
    return {
        f"{section['name']}/{row['row']}/{seat['number']}": seat["status"]
        for section in answer["sections"]
        for row in section["rows"]
        for seat in row["seats"]
    }


def stored_states(stage: InventoryStage[C]) -> dict[str, str]:
    """The same, from the store itself."""
    by_name = stage.read(lambda reader: seats_by_name(reader, EVENT_ID))
    found = stage.read(lambda reader: seat_states(reader, EVENT_ID, by_name.values()))
    return {name: state.name for name, (state, _) in zip(by_name, found, strict=True)}


async def put(stage: InventoryStage[C], plan: EventPlan) -> None:
    """Puts an event that is not the stage's own."""
    partitions = event_command_partitions(EventId(plan.event_id))
    await stage.engine.submit(Command("put", partitions, lambda tx: put_event(tx, PutEvent(plan))))


def refused(maps: SeatMaps, **request: Any) -> Refusal:
    with pytest.raises(Refusal) as refusal:
        maps.read(SeatMapRequest(**{"event_id": EVENT_ID, **request}))
    return refusal.value
