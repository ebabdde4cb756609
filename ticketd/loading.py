"""What is read from the store before the daemon serves: each event's line, so that no question has to wait for it."""

from __future__ import annotations

import time
from typing import Final

import structlog
import trio

from storage.engine import Engine
from storage.schema.layout import SYSTEM, list_events
from ticketd.views.positions import Positions

TELL_SECONDS: Final = 5.0
"""How often the log tells how far the reading is."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


async def load_rooms(engine: Engine, positions: Positions) -> None:
    """Reads the lines of all events, one event after the other, and tells the log how far it is."""
    began = told = time.monotonic()
    with engine.snapshot(SYSTEM) as view:
        events = list_events(view)
    waiting = 0
    _log.info("loading rooms", events=len(events))
    for number, event_id in enumerate(events, 1):
        positions.load(event_id)
        waiting += positions.waiting(event_id)
        if time.monotonic() - told >= TELL_SECONDS:
            told = time.monotonic()
            _log.info("loading rooms", events=len(events), loaded=number, waiting=waiting)
        await trio.sleep(0)
    seconds = round(time.monotonic() - began, 3)
    _log.info("rooms loaded", events=len(events), waiting=waiting, seconds=seconds)
