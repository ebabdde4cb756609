"""How far the cancellation of an event has come, as it is stored. What it does is the domain's."""

from __future__ import annotations

from storage.schema.ids import OrderId, ReservationId
from storage.schema.records import Record


class CancellationRecord(Record, frozen=True, kw_only=True):
    """The cancellation of an event: its orders are ended one batch after another, then its holds.

    ``last_order`` and ``last_hold`` (its due time and its id) are where the last batch ended; ``done_at_ms`` is set
    with the last one. ``orders_ended`` counts the orders that were ended, ``orders_at_tills`` those whose money a till
    owes, ``holds_ended`` the holds that nobody had begun to pay.
    """

    asked_at_ms: int
    last_order: OrderId | None = None
    orders_looked_at: bool = False
    last_hold: tuple[int, ReservationId] | None = None
    orders_ended: int = 0
    orders_at_tills: int = 0
    holds_ended: int = 0
    done_at_ms: int | None = None
