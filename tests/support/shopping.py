"""The way of a buyer through the API, as far as a test wants it."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import trio

from storage.schema.ids import EventId, UserId
from tests.support.daemon import Client, Daemon


async def enter(daemon: Daemon, event_id: EventId, user_id: UUID | None = None) -> tuple[Client, UserId]:
    """Joins the event's room and is let in: a caller with an access token. Each buyer has a device of their own."""
    user = user_id or uuid4()
    device = f"device-{user}"
    joined = await daemon.client().post(
        "/v1/queue/join",
        {"event_id": str(event_id), "user_id": str(user), "device_fingerprint": device},
    )
    assert joined.status == 200, joined.body
    queued = daemon.client().with_token(joined.json["queue_token"], device)
    while (status := await queued.get("/v1/queue/status")).json["status"] != "READY":
        assert status.status == 200, status.body
        await trio.sleep(status.json["poll_interval_seconds"])
    return daemon.client().with_token(status.json["access_token"], device), UserId(user)


async def wait_for_order(
    buyer: Client, order_id: str, status: str, *, payment: str | None = None, tries: int = 50
) -> Any:
    """The order, once it has the wanted states."""
    seen: list[str] = []
    for _ in range(tries):
        answer = await buyer.get(f"/v1/orders/{order_id}")
        assert answer.status == 200, answer.body
        order = answer.json
        if order["status"] == status and payment in {None, order["payment_status"]}:
            return order
        seen.append(f"{order['status']}/{order['payment_status']}")
        await trio.sleep(1)
    raise AssertionError(f"order {order_id} went {seen}")
