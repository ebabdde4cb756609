"""Event files for tests, and putting them into a daemon."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from storage.engine import Command
from storage.schema.ids import EventId
from tests.support.daemon import Daemon
from ticketd.domain.events import PutEvent, event_command_partitions, put_event
from ticketd.event_file.parse import parse_event_file

NO_EVENT: Final = "3c495378-ccec-447c-9476-c1df9216f1ac"
"""The id of no event."""


def arena_file(*, rows: Sequence[dict[str, object]] | None = None, **changes: Any) -> dict[str, Any]:
    """A concert with a floor at 500.00 (fees 75.00) and a balcony at 50.00, 9 % tax, on sale since long ago."""
    plan: dict[str, Any] = {
        "name": "The Lantern Tour",
        "artist": {"name": "Marlow Vance"},
        "category": "Concert",
        "venue": {
            "name": "Harbour Point Arena",
            "city": "New York",
            "state": "NY",
            "country": "US",
            "timezone": "America/New_York",
        },
        "date": "2027-08-15T19:00:00Z",
        "doors_open": "2027-08-15T18:00:00Z",
        "sale": {"general_sale_start": "2026-01-05T10:00:00Z"},
        "currency": "USD",
        "tax_rate": "0.09",
        "tiers": [
            {"name": "Floor", "price": "500.00", "fees": "75.00"},
            {"name": "Balcony", "price": "50.00", "fees": "5.00"},
        ],
        "sections": [
            {
                "name": "Floor",
                "tier": "Floor",
                "rows": list(rows or ({"row": row, "first": 1, "last": 10} for row in "ABC")),
            }
        ],
    }
    if rows is None:
        plan["sections"].append(
            {"name": "Balcony", "tier": "Balcony", "rows": [{"row": "A", "first": 1, "last": 20}]}
        )
    plan.update(changes)
    return plan


async def put_plan(daemon: Daemon, document: dict[str, Any]) -> EventId:
    """Puts an event file into the daemon's store; answers the event's id."""
    plan = parse_event_file(json.dumps(document).encode())
    command = PutEvent(plan=plan)
    event_id = EventId(plan.event_id)
    await daemon.services.engine.submit(
        Command("put_event", event_command_partitions(event_id), lambda tx: put_event(tx, command))
    )
    return event_id


def room(**changes: object) -> dict[str, object]:
    """A waiting room for an event file."""
    settings: dict[str, object] = {"enabled": True, "max_active": 500, "admit_per_minute": 600}
    return {**settings, **changes}
