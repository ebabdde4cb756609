"""A running daemon with a gateway that fails on order, and buyers who pay: for tests of orders and cards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trio.testing

from config.settings import Settings
from storage.schema.ids import OrderId
from storage.schema.layout import EVENT_OF_ORDER, ORDERS, SYSTEM, event_partition
from storage.schema.records import OrderRecord
from tests.handlers.sale_stage import SaleStage, open_plan
from tests.ports.faulty_gateway import FaultyGateway, Pause
from tests.support.daemon import START_MS, Answer, Client, open_daemon
from ticketd.event_file.plan import EventPlan
from ticketd.ports.payments import PaymentGateway

BILLING = {
    "street": "123 Main St",
    "city": "New York",
    "state": "NY",
    "postal_code": "10001",
    "country": "US",
}
CHALLENGED = "tok_threeDSecure2Required"
DECLINED = "tok_chargeDeclinedInsufficientFunds"


class OrderStage(SaleStage):
    """What buyers do once they are let in. Buyers are numbers."""

    @property
    def gateway(self) -> FaultyGateway:
        gateway = self.daemon.services.gateway
        assert isinstance(gateway, FaultyGateway)
        return gateway

    async def add_card(self, buyer: Client, token: str = "tok_visa_4242") -> str:
        added = await buyer.post("/v1/payment-methods", {"type": "CARD", "card_token": token})
        assert added.status == 201, added.body
        return str(added.json["payment_method_id"])

    async def hold(self, buyer: Client, user: int, *names: str) -> str:
        held = await self.reserve(buyer, user, *names)
        assert held.status == 201, held.body
        return str(held.json["reservation_id"])

    async def wish_to_pay(
        self, buyer: Client, user: int, *names: str, token: str = "tok_visa_4242", **fields: object
    ) -> dict[str, object]:
        """The body of an order for seats that the buyer now holds."""
        body: dict[str, object] = {
            "reservation_id": await self.hold(buyer, user, *names),
            "payment_method_id": await self.add_card(buyer, token),
            "billing_address": BILLING,
            "delivery_method": "MOBILE",
        }
        return {**body, **fields}

    async def order(
        self, buyer: Client, user: int, *names: str, token: str = "tok_visa_4242"
    ) -> dict[str, Any]:
        """An order that was placed, as its 201 tells it; what follows at once has happened."""
        placed = await buyer.post("/v1/orders", await self.wish_to_pay(buyer, user, *names, token=token))
        assert placed.status == 201, placed.body
        await trio.testing.wait_all_tasks_blocked()
        found: dict[str, Any] = placed.json
        return found

    def record(self, order_id: OrderId) -> OrderRecord:
        engine = self.daemon.services.engine
        with engine.snapshot() as view:
            event_id = EVENT_OF_ORDER.get(view, SYSTEM, order_id)
            assert event_id is not None
            found = ORDERS.get(view, event_partition(event_id), order_id)
        assert found is not None
        return found

    async def pass_seconds(self, seconds: float) -> None:
        await trio.sleep(seconds)
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def open_shop(
    data: Path,
    plan: EventPlan | None = None,
    *,
    settings: Settings | None = None,
    start_ms: int = START_MS,
    pauses: Mapping[str, Callable[[Pause], None]] | None = None,
) -> AsyncIterator[OrderStage]:
    """A daemon with the event of ``plan``; over a folder that has one, another daemon after the first was killed.

    ``pauses`` are calls of the gateway that wait from the start on, each with who is to have its pause.
    """
    is_new = not (data / "sandbox.sqlite").exists()

    def wrap(sandbox: PaymentGateway) -> PaymentGateway:
        gateway = FaultyGateway(sandbox)
        for operation, give in (pauses or {}).items():
            give(gateway.pause(operation))
        return gateway

    async with open_daemon(data, settings, gateway=wrap, start_ms=start_ms) as daemon:
        stage = OrderStage(daemon)
        if is_new:
            await stage.put(plan or open_plan())
        yield stage


def details_of(answer: Answer) -> Any:
    return answer.json["error"]["details"]
