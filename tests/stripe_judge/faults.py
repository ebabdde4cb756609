"""What goes wrong on order: for the next call of an endpoint, or the n-th next one."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from tests.stripe_judge.behaviour import Seconds
from tests.stripe_judge.store import Store

ANY = "*"


class Fault(enum.StrEnum):
    """Before: nothing was done. After: all was done, and the answer kept under its key.

    A time-out holds the connection for ``seconds`` and ends it without an answer, a drop ends it at once. ERROR is a
    status of 500 that is kept under the key, so that it is answered for ever; UNAVAILABLE one of 503 from what stands
    before the API, which keeps nothing of its own. SLOW does all ``seconds`` later, also for a caller that has gone.
    """

    TIMEOUT_BEFORE = "timeout_before"
    TIMEOUT_AFTER = "timeout_after"
    DROP_BEFORE = "drop_before"
    DROP_AFTER = "drop_after"
    ERROR_BEFORE = "error_before"
    ERROR_AFTER = "error_after"
    UNAVAILABLE_BEFORE = "unavailable_before"
    UNAVAILABLE_AFTER = "unavailable_after"
    RATE_LIMIT = "rate_limit"
    LOCK_TIMEOUT = "lock_timeout"
    SLOW = "slow"


class FaultOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``endpoint`` is as in the table, such as ``POST /v1/payment_intents/{id}/capture``, or ``*`` for all.

    The fault befalls ``times`` calls from the ``nth`` next on. ``retry_after`` and ``should_retry`` are headers of an
    answer that is a fault.
    """

    endpoint: str
    kind: Fault
    nth: Annotated[int, msgspec.Meta(ge=1)] = 1
    times: Annotated[int, msgspec.Meta(ge=1)] = 1
    seconds: Seconds = 3600
    retry_after: int | None = None
    should_retry: bool | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What its answer carries."""
        headers: dict[str, str] = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if self.should_retry is not None:
            headers["Stripe-Should-Retry"] = "true" if self.should_retry else "false"
        return headers


def order_fault(store: Store, order: FaultOrder) -> None:
    store.sql.execute(
        "INSERT INTO faults (endpoint, body) VALUES (?, ?)", (order.endpoint, msgspec.json.encode(order))
    )


def faults_ordered(store: Store) -> list[FaultOrder]:
    """What is ordered and has not come yet."""
    rows = store.sql.execute("SELECT body FROM faults ORDER BY number").fetchall()
    return [msgspec.json.decode(row[0], type=FaultOrder) for row in rows]


def forget_faults(store: Store) -> None:
    store.sql.execute("DELETE FROM faults")


def take_fault(store: Store, endpoint: str) -> FaultOrder | None:
    """The fault that befalls this call, if one does. Every order counts the call; the oldest that is due has it."""
    rows = store.sql.execute(
        "SELECT number, body FROM faults WHERE endpoint IN (?, ?) ORDER BY number", (endpoint, ANY)
    ).fetchall()
    taken: FaultOrder | None = None
    for number, body in rows:
        order = msgspec.json.decode(body, type=FaultOrder)
        if order.nth > 1:
            left: FaultOrder | None = msgspec.structs.replace(order, nth=order.nth - 1)
        elif taken is None:
            taken = order
            left = msgspec.structs.replace(order, times=order.times - 1) if order.times > 1 else None
        else:
            continue
        if left is None:
            store.sql.execute("DELETE FROM faults WHERE number = ?", (number,))
        else:
            store.sql.execute(
                "UPDATE faults SET body = ? WHERE number = ?", (msgspec.json.encode(left), number)
            )
    return taken
