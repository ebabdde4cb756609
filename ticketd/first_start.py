"""What a store needs before it can serve: signing keys of each kind, and a ledger that tells of every order.

The keys are made once, at the first start on a data folder. The ledger of a store from a release that kept none is
derived once, at the first start of this one; what was done of it when a start was broken off is not done again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

import structlog

from storage.engine import Command, Engine, Transaction
from storage.schema.ids import EventId, OrderId
from storage.schema.layout import LEDGER_SINCE, ORDERS, SYSTEM, event_partition, list_events
from ticketd.credentials.keyring import KEY_RANDOM_BYTES
from ticketd.domain.keys import SIGNING_KEY_KINDS, add_missing_signing_keys, fresh_signing_key
from ticketd.domain.ledger import derive_movements
from ticketd.domain.order_book import load_order

ORDERS_A_COMMIT: Final = 200
"""Orders whose movements are derived in one commit."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


async def prepare_store(engine: Engine, now_ms: int, gateway: str) -> None:
    """Adds what is missing. On a store that was served before it changes nothing. ``gateway`` is the one in use, which
    is taken to have moved the money of orders that do not say so."""
    candidates = tuple(
        fresh_signing_key(kind, os.urandom(KEY_RANDOM_BYTES), now_ms) for kind in SIGNING_KEY_KINDS
    )
    await engine.submit(
        Command("add_missing_signing_keys", (SYSTEM,), lambda tx: add_missing_signing_keys(tx, candidates))
    )
    with engine.snapshot(SYSTEM) as view:
        since_ms = LEDGER_SINCE.get(view, SYSTEM)
    if since_ms is None:
        await _derive_ledger(engine, now_ms, gateway)


async def _derive_ledger(engine: Engine, now_ms: int, gateway: str) -> None:
    """Derives the movements of all orders from before there was a ledger, some in each commit."""
    with engine.snapshot(SYSTEM) as view:
        event_ids = list_events(view)
    derived = 0
    for event_id in event_ids:
        partition = event_partition(event_id)
        with engine.snapshot(partition) as view:
            missing = [order.order_id for _, order in ORDERS.scan(view, partition) if order.movements is None]
        for start in range(0, len(missing), ORDERS_A_COMMIT):
            await _derive_some(engine, event_id, missing[start : start + ORDERS_A_COMMIT], gateway)
        derived += len(missing)
    await engine.submit(
        Command(
            "begin_ledger",
            (SYSTEM,),
            lambda tx: LEDGER_SINCE.put(tx, now_ms, SYSTEM),
            may_use_reserve=True,
        )
    )
    if derived:
        _log.info("ledger derived for the orders of an older release", orders=derived)


async def _derive_some(engine: Engine, event_id: EventId, order_ids: Sequence[OrderId], gateway: str) -> None:
    def derive(tx: Transaction) -> None:
        for order_id in order_ids:
            derive_movements(tx, event_id, load_order(tx, event_id, order_id), gateway)

    partitions = (event_partition(event_id),)
    await engine.submit(Command("derive_movements", partitions, derive, may_use_reserve=True))
