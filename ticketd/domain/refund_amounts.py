"""How much of an order's money is whose ticket's, so that its tickets can be refunded one by one.

The taxes of an order were rounded once, over all its seats. Here they are shared out by price: with S the subtotal, T
the taxes, and c the sum of the prices up to and with a seat, in the order of the order's seats, the seats so far have
floor(T * c / S) of the taxes, and each seat what that grows by. So a seat's share is within one minor unit of T times
its price over S, depends on the order alone and not on what was refunded before, and all shares are T exactly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import msgspec

from storage.engine import Reader
from storage.schema.ids import EventId, SeatNumber
from storage.schema.layout import REFUNDS, RESERVATIONS, event_partition
from storage.schema.records import OrderRecord
from storage.schema.refunds import RefundRecord
from storage.schema.states import RefundState


class SeatMoney(msgspec.Struct, frozen=True, kw_only=True):
    """What of an order's money one seat stands for, in minor units."""

    price_minor: int
    fees_minor: int
    taxes_minor: int

    def refund_minor(self, *, with_fees: bool) -> int:
        """What goes back for it."""
        return self.price_minor + self.taxes_minor + (self.fees_minor if with_fees else 0)


def share_money(prices: Sequence[tuple[int, int]], taxes_minor: int) -> list[SeatMoney]:
    """The shares of seats with these (price_minor, fees_minor), in their order; ``taxes_minor`` are those of all."""
    subtotal = sum(price for price, _ in prices)
    shares: list[SeatMoney] = []
    so_far = given_out = 0
    for price, fees in prices:
        so_far += price
        until_here = taxes_minor * so_far // subtotal if subtotal else 0
        shares.append(SeatMoney(price_minor=price, fees_minor=fees, taxes_minor=until_here - given_out))
        given_out = until_here
    return shares


def list_refunds_asked(reader: Reader, event_id: EventId, order: OrderRecord) -> list[RefundRecord]:
    """The refunds that the operator asked for of an order, oldest first."""
    found = [refund for _, refund in REFUNDS.scan(reader, event_partition(event_id), order.order_id)]
    return sorted(found, key=lambda refund: refund.asked_at_ms)


def refunded_seats(refunds: Iterable[RefundRecord]) -> frozenset[SeatNumber]:
    """The seats whose money went back or is on its way: not those of which the gateway refused it."""
    return frozenset(
        seat for refund in refunds if refund.state is not RefundState.REFUSED for seat in refund.seats
    )


def seats_minor(
    reader: Reader, event_id: EventId, order: OrderRecord, seats: Collection[SeatNumber], *, with_fees: bool
) -> int:
    """What goes back for some of an order's seats."""
    hold = RESERVATIONS.get(reader, event_partition(event_id), order.reservation_id)
    if hold is None:
        raise LookupError(f"event {event_id}: order {order.order_id} has no reservation, and so no prices")
    shares = share_money(hold.prices, order.taxes_minor)
    return sum(
        share.refund_minor(with_fees=with_fees)
        for seat, share in zip(hold.seats, shares, strict=True)
        if seat in seats
    )


def rest_minor(reader: Reader, event_id: EventId, order: OrderRecord, *, with_fees: bool) -> int:
    """What goes back for all seats of an order whose money has not gone back yet."""
    refunded = refunded_seats(list_refunds_asked(reader, event_id, order))
    rest = frozenset(order.seats) - refunded
    return seats_minor(reader, event_id, order, rest, with_fees=with_fees)
