"""A running daemon at which tills sell, beside the sandbox or alone: for tests of the box office."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from config.settings import PaymentSettings, RateLimitSettings, Settings, StorageSettings
from storage.schema.ids import OrderId
from storage.schema.layout import ORDERS, event_partition
from storage.schema.movements import BOX_OFFICE
from storage.schema.records import OrderRecord
from storage.verify.store import verify_store
from tests.domain.inventory_stage import EVENT_ID
from tests.handlers.sale_stage import SaleStage, open_plan
from tests.support.daemon import NO_RATE_LIMITS, Answer, Client, Daemon, open_daemon
from ticketd.credentials.api_keys import Scope
from ticketd.domain.ledger import list_movements
from ticketd.event_file.plan import EventPlan
from ticketd.ports.box_office import BoxOfficeGateway
from ticketd.ports.payments import PaymentGateway

SALES = "/v1/box-office/sales"


class TillStage(SaleStage):
    """What a till does."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon)
        self.till: Client = daemon.client(Scope.BOX_OFFICE)
        self._receipts = count(1)

    def sale(self, *names: str, receipt: str | None = None, **fields: object) -> dict[str, object]:
        """The body of a sale: of these seats, unless ``fields`` say otherwise; against a new receipt unless one is
        named."""
        wish: dict[str, object] = {"seat_ids": self.seat_ids(*names)} if names else {}
        payment = {"method": "CASH", "receipt": receipt or f"N-{next(self._receipts)}"}
        return {"event_id": str(EVENT_ID), "payment": payment, **wish, **fields}

    async def sell(self, *names: str, **fields: object) -> dict[str, Any]:
        """A sale that succeeds, as its 201 tells it."""
        sold = await self.till.post(SALES, self.sale(*names, **fields))  # type: ignore[arg-type]  # a receipt is text
        assert sold.status == 201, sold.body
        told: dict[str, Any] = sold.json
        return told

    async def refund(self, order_id: str, receipt: str = "back-1", **more: Any) -> Answer:
        return await self.till.post(f"{SALES}/{order_id}/refund", {"receipt": receipt}, **more)

    def record(self, order_id: str) -> OrderRecord:
        partition = event_partition(EVENT_ID)
        with self.daemon.services.engine.snapshot(partition) as view:
            found = ORDERS.get(view, partition, OrderId(UUID(order_id)))
        assert found is not None
        return found

    def moved(self, order_id: str) -> list[tuple[str, int, str]]:
        """Kind, amount and reference of the order's movements."""
        with self.daemon.services.engine.snapshot(event_partition(EVENT_ID)) as view:
            movements = list_movements(view, EVENT_ID, OrderId(UUID(order_id)))
        assert {movement.gateway for movement in movements} <= {BOX_OFFICE}
        return [(each.kind.value, each.amount_minor, each.movement_ref) for each in movements]

    def check(self) -> None:
        """Nothing in the store is wrong."""
        with self.daemon.services.engine.snapshot() as view:
            assert list(verify_store(view)) == []


def till_settings(
    gateway: str = "sandbox", *, box_office: bool = True, limits: RateLimitSettings = NO_RATE_LIMITS
) -> Settings:
    """The settings of a daemon with tills."""
    return Settings(
        storage=StorageSettings(map_size_bytes=256 * 1024 * 1024),
        payments=PaymentSettings(gateway=gateway, box_office=box_office),  # type: ignore[arg-type]  # a real name
        rate_limits=limits,
    )


@asynccontextmanager
async def open_till(
    data: Path, plan: EventPlan | None = None, settings: Settings | None = None
) -> AsyncIterator[TillStage]:
    """A daemon over a new folder in which tills sell the event of ``plan`` (a small one that is on sale)."""
    settings = settings or till_settings()

    def gateway(sandbox: PaymentGateway) -> PaymentGateway:
        return BoxOfficeGateway() if settings.payments.gateway == BOX_OFFICE else sandbox

    async with open_daemon(data, settings, gateway=gateway) as daemon:
        stage = TillStage(daemon)
        await stage.put(plan or open_plan())
        yield stage
        stage.check()
