"""An operator on the daemon's Unix socket, and what tests of the operator's endpoints ask."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from storage.schema.ids import EventId
from tests.support.daemon import Answer, Client, Daemon, open_daemon
from tests.support.events import arena_file
from tests.support.shopping import enter

EVENT = UUID("0f0e0d0c-0b0a-4009-8807-060504030201")


@dataclass
class OperatorStage:
    """A daemon without events, and its operator."""

    daemon: Daemon
    operator: Client

    async def put(self, document: dict[str, Any] | None = None, event_id: object = EVENT) -> Answer:
        """Puts an event file: by default that of the arena, 50 seats."""
        raw = json.dumps(arena_file() if document is None else document).encode()
        return await self.operator.call("PUT", f"/v1/operator/events/{event_id}", raw=raw)

    async def seat_ids(self, section: int = 0) -> list[str]:
        """The ids of a section's seats, in order."""
        answer = await self.daemon.client().get(f"/v1/events/{EVENT}/seats")
        rows = answer.json["sections"][section]["rows"]
        return [seat["seat_id"] for row in rows for seat in row["seats"]]

    async def seats_by_state(self) -> dict[str, int]:
        """How many seats the operator's list says are in each state."""
        (event,) = (await self.operator.get("/v1/operator/events")).json["events"]
        counts: dict[str, int] = event["seats"]
        return counts

    async def hold(self, *seats: str) -> tuple[Client, dict[str, Any]]:
        """Somebody who holds these seats, and the reservation."""
        buyer, user = await enter(self.daemon, EventId(EVENT))
        wish = {"event_id": str(EVENT), "user_id": str(user), "seat_ids": list(seats)}
        held = await buyer.post("/v1/seats/reserve", wish)
        assert held.status == 201, held.body
        return buyer, held.json

    async def order(self, *seats: str) -> dict[str, Any]:
        """An order for these seats that was just placed."""
        buyer, held = await self.hold(*seats)
        card = await buyer.post("/v1/payment-methods", {"type": "CARD", "card_token": "tok_visa"})
        address = {"street": "1 Main St", "city": "Berlin", "postal_code": "10115", "country": "DE"}
        placed = await buyer.post(
            "/v1/orders",
            {
                "reservation_id": held["reservation_id"],
                "payment_method_id": card.json["payment_method_id"],
                "billing_address": address,
            },
        )
        assert placed.status == 201, placed.body
        order: dict[str, Any] = placed.json
        return order

    async def audit(self) -> list[tuple[str, str, str, Any]]:
        """What the audit trail says, oldest first: actor, action, subject, detail."""
        listed = await self.operator.get("/v1/operator/audit?per_page=100")
        assert listed.status == 200, listed.body
        return [
            (deed["actor"], deed["action"], deed["subject"], deed["detail"])
            for deed in reversed(listed.json["audit"])
        ]


@asynccontextmanager
async def open_stage(data: Path) -> AsyncIterator[OperatorStage]:
    """The daemon over the folder ``data``."""
    async with open_daemon(data) as daemon:
        yield OperatorStage(daemon, daemon.operator())
