"""The ledger's records: each movement of an order's money, as the gateway confirmed it.

A movement is written once, in the commit that changes its order, and never changed or deleted. How they are read, and
what they add up to, is in ``ticketd.domain.ledger``.
"""

from __future__ import annotations

import enum
from typing import Final

from storage.schema.ids import OrderId
from storage.schema.records import Record

BOX_OFFICE: Final = "box_office"
"""The gateway of what was paid at a till: money is taken there without having been set aside, and nobody is asked."""


class MovementKind(enum.StrEnum):
    """What happened to the money."""

    AUTHORISED = "AUTHORISED"
    """Set aside on the buyer's card."""
    CAPTURED = "CAPTURED"
    """Taken, from what was set aside. What is left of that is free again."""
    VOIDED = "VOIDED"
    """Nothing is set aside any more, and nothing was taken: freed, or run out, at the gateway."""
    REFUNDED = "REFUNDED"
    """Given back, wholly or in part, from what was taken."""
    DISPUTED = "DISPUTED"
    """Taken back by the buyer's bank for as long as it decides."""
    DISPUTE_WON = "DISPUTE_WON"
    """Given to the seller again: the bank decided against the buyer."""
    DISPUTE_LOST = "DISPUTE_LOST"
    """What was disputed stays with the buyer; nothing moves any more."""


class MovementRecord(Record, frozen=True, kw_only=True):
    """One movement of an order's money. ``number`` counts an order's own, from 1.

    ``gateway`` is who moved it, empty for an order of a release that did not note it; ``payment_ref`` its name for the
    payment, ``movement_ref`` for this movement, where it has one (a refund, a dispute, a receipt).
    """

    order_id: OrderId
    number: int
    at_ms: int
    kind: MovementKind
    amount_minor: int
    currency: str
    gateway: str
    payment_ref: str
    movement_ref: str = ""
