"""The disputes of an order's payment, as they are stored. What a dispute does to its order is the domain's."""

from __future__ import annotations

from storage.schema.ids import OrderId, TicketId
from storage.schema.records import Record
from storage.schema.states import DisputeState


class DisputeRecord(Record, frozen=True, kw_only=True):
    """A dispute by the buyer's bank, as the gateway told it last; ``dispute_ref`` and ``reason`` are the gateway's
    words.

    ``amount_minor``, in the order's currency, may be more than was paid where the bank counts in another currency; from
    the moment at which the bank has taken it, it stays what was taken.
    ``voided`` are the tickets that are dead because of it, by another dispute perhaps, too; they live again once all of
    these are won.
    """

    order_id: OrderId
    dispute_ref: str
    state: DisputeState
    amount_minor: int
    reason: str = ""
    voided: tuple[TicketId, ...] = ()
    seen_at_ms: int
    ended_at_ms: int | None = None
