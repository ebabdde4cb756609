"""A running daemon with one event in it, and buyers who are let in: for tests of the endpoints around a sale."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from storage.engine import Command
from storage.schema.ids import EventId, SeatNumber, seat_id
from storage.schema.layout import event_partition
from tests.domain.inventory_recount import seats_by_name
from tests.domain.inventory_stage import EVENT_ID, make_plan, user_id
from tests.support.daemon import START_MS, Answer, Client, Daemon, open_daemon
from ticketd.domain.events import PutEvent, event_command_partitions, put_event
from ticketd.domain.seats import BlockSeats, block_seats
from ticketd.event_file.plan import EventPlan

DAY_MS = 86_400_000
EVENT_DATE_MS = START_MS + 90 * DAY_MS


def open_plan(*hall: object, **changes: object) -> EventPlan:
    """An event that is on sale when the daemon of a test begins."""
    fields: dict[str, object] = {"date_ms": EVENT_DATE_MS, "general_sale_start_ms": START_MS - DAY_MS}
    return make_plan(*hall, **{**fields, **changes})  # type: ignore[arg-type]  # the tests name real fields


class SaleStage:
    """A daemon, and what tests do in it."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.browser = daemon.client()
        self._joined = 0

    async def put(self, plan: EventPlan) -> None:
        partitions = event_command_partitions(EventId(plan.event_id))
        await self.daemon.services.engine.submit(
            Command("put", partitions, lambda tx: put_event(tx, PutEvent(plan)))
        )

    async def buyer(self, user: int, event_id: EventId = EVENT_ID) -> Client:
        """A buyer with an access token, on a device of their own."""
        self._joined += 1
        device = f"device-of-{self._joined}"
        client = self.daemon.client().with_token(None, device)
        joined = await client.post(
            "/v1/queue/join",
            {"event_id": str(event_id), "user_id": str(user_id(user)), "device_fingerprint": device},
        )
        assert joined.status == 200, joined.body
        status = await client.get(f"/v1/queue/status?queue_token={joined.json['queue_token']}")
        assert status.status == 200, status.body
        return client.with_token(status.json["access_token"], device)

    async def reserve(self, buyer: Client, user: int, *names: str) -> Answer:
        """Asks for the seats called "Section/Row/Number"."""
        return await buyer.post("/v1/seats/reserve", self.wish(user, seat_ids=self.seat_ids(*names)))

    def wish(self, user: int, **fields: object) -> dict[str, object]:
        """The body of a reservation."""
        return {"event_id": str(EVENT_ID), "user_id": str(user_id(user)), **fields}

    def numbers(self) -> dict[str, SeatNumber]:
        with self.daemon.services.engine.snapshot(event_partition(EVENT_ID)) as view:
            return seats_by_name(view, EVENT_ID)

    def seat_ids(self, *names: str) -> list[str]:
        numbers = self.numbers()
        return [str(seat_id(EVENT_ID, numbers[name])) for name in names]

    async def block(self, *names: str) -> None:
        numbers = self.numbers()
        command = BlockSeats(EVENT_ID, tuple(numbers[name] for name in names))
        await self.daemon.services.engine.submit(
            Command("block", (event_partition(EVENT_ID),), lambda tx: block_seats(tx, command))
        )


def unknown_id() -> str:
    """An id that nothing has."""
    return str(UUID(int=0xDEAD))


@asynccontextmanager
async def open_sale(data: Path, plan: EventPlan | None = None) -> AsyncIterator[SaleStage]:
    """A daemon over a new folder in which the event of ``plan`` (a small one that is on sale) has been put."""
    async with open_daemon(data) as daemon:
        stage = SaleStage(daemon)
        await stage.put(plan or open_plan())
        yield stage
