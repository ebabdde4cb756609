"""Events that a payment gateway tells of: each is heeded once, however often it comes, and believed in nothing.

What an event does is to wake its order; what is true of the money the gateway is asked. Its name is kept for some days,
which is longer than a gateway goes on telling it.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from storage.engine import Partition, Transaction
from storage.schema.ids import EventId, OrderId
from storage.schema.layout import DUE_HOOKS, SEEN_HOOKS, SYSTEM, event_partition
from ticketd.domain.checkout import OrderStep
from ticketd.domain.settlement import wake_order

KEEP_MS: Final = 7 * 86_400_000
FORGOTTEN_AT_ONCE: Final = 20
"""Names that are forgotten with each new one, at most: more than come, so that none is kept for good."""


class HeedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of this name has come. ``event_id`` and ``order_id`` say whose money it is about, if that is known."""

    gateway: str
    name: str
    event_id: EventId | None = None
    order_id: OrderId | None = None

    @property
    def digest(self) -> bytes:
        """What stands for the event's name."""
        return hashlib.sha256(f"{self.gateway}\x00{self.name}".encode()).digest()


def event_partitions(command: HeedEvent) -> tuple[Partition, ...]:
    """What the command touches."""
    return (SYSTEM,) if command.event_id is None else (SYSTEM, event_partition(command.event_id))


def heed_event(tx: Transaction, command: HeedEvent) -> bool:
    """Wakes the order, unless this event was heeded before; whether it was new."""
    digest = command.digest
    if SEEN_HOOKS.get(tx, SYSTEM, digest) is not None:
        return False
    _forget(tx)
    SEEN_HOOKS.put(tx, tx.now_ms + KEEP_MS, SYSTEM, digest)
    DUE_HOOKS.add(tx, SYSTEM, tx.now_ms + KEEP_MS, digest)
    if command.event_id is not None and command.order_id is not None:
        wake_order(tx, OrderStep(event_id=command.event_id, order_id=command.order_id))
    return True


def _forget(tx: Transaction) -> None:
    for parts in list(DUE_HOOKS.until(tx, SYSTEM, tx.now_ms, FORGOTTEN_AT_ONCE)):
        SEEN_HOOKS.delete(tx, SYSTEM, *parts[1:])
        DUE_HOOKS.remove(tx, SYSTEM, *parts)
