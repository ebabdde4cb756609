"""The kept outcomes of idempotent requests: found again, kept, forgotten when their time is over.

An outcome lies in the partition of its scope (a buyer, or the system for a caller that is known by its API key alone).
"""

from __future__ import annotations

import zlib
from typing import Final

from msgspec.structs import replace

from storage.engine import Partition, Reader, Transaction
from storage.schema.layout import DUE_OUTCOMES, OUTCOMES
from storage.schema.records import OutcomeRecord

_LONG_BODY_BYTES: Final = 16 * 1024
"""A longer body is kept packed: that of a thousand seats would be larger than a record may be."""


def find_outcome(reader: Reader, scope: Partition, digest: bytes, now_ms: int) -> OutcomeRecord | None:
    """The outcome kept under ``digest``, unless its time is over."""
    found = OUTCOMES.get(reader, scope, digest)
    if found is None or found.forget_at_ms <= now_ms:
        return None
    return replace(found, body=zlib.decompress(found.body), packed=False) if found.packed else found


def keep_outcome(tx: Transaction, scope: Partition, digest: bytes, outcome: OutcomeRecord) -> None:
    """Keeps an outcome until its ``forget_at_ms``, in place of an older one whose time is over."""
    old = OUTCOMES.get(tx, scope, digest)
    if old is not None:
        DUE_OUTCOMES.remove(tx, scope, old.forget_at_ms, digest)
    if len(outcome.body) > _LONG_BODY_BYTES:
        outcome = replace(outcome, body=zlib.compress(outcome.body), packed=True)
    OUTCOMES.put(tx, outcome, scope, digest)
    DUE_OUTCOMES.add(tx, scope, outcome.forget_at_ms, digest)


def forget_outcomes(tx: Transaction, scope: Partition, limit: int) -> int:
    """Removes at most ``limit`` outcomes whose time is over; answers how many."""
    due = list(DUE_OUTCOMES.until(tx, scope, tx.now_ms, limit))
    for parts in due:
        OUTCOMES.delete(tx, scope, *parts[1:])
        DUE_OUTCOMES.remove(tx, scope, *parts)
    return len(due)
