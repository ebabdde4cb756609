"""The refunds that an operator asks for, as they are stored. What may be refunded, and how much, is the domain's."""

from __future__ import annotations

from storage.schema.ids import OrderId, RefundId, SeatNumber, TicketId
from storage.schema.records import Record
from storage.schema.states import RefundState


class RefundRecord(Record, frozen=True, kw_only=True):
    """Money that goes back for some tickets of an order. ``seats`` are those whose money it is, ``ticket_ids`` the
    tickets that died with it.

    ``closes``: no ticket is left to the order, which is CANCELLED with it; the gateway gives back what is left then.
    ``problem`` is why the gateway refused it, ``refund_ref`` the gateway's name for it once it was made.
    """

    refund_id: RefundId
    order_id: OrderId
    state: RefundState
    seats: tuple[SeatNumber, ...]
    ticket_ids: tuple[TicketId, ...]
    amount_minor: int
    with_fees: bool
    closes: bool
    reason: str = ""
    problem: str = ""
    refund_ref: str = ""
    asked_at_ms: int
    ended_at_ms: int | None = None
