"""Refusals on account of hoarding, as they are counted for the operator; and which address a joiner is counted by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from handlers.call import Principal
from storage.schema.ids import EventId
from ticketd.credentials.addresses import hash_address
from ticketd.credentials.api_keys import Scope
from ticketd.domain.hoarding import REASONS
from ticketd.errors import ErrorCode, Refusal
from ticketd.metrics import Metrics


class HoardingRefusals:
    """How many were refused since the start, by event and reason. Only events that exist refuse, so it stays small."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._by_event: dict[EventId, Counter[str]] = {}

    @contextmanager
    def counting(self, event_id: EventId) -> Iterator[None]:
        """Counts the refusal on account of hoarding that leaves the block, if one does."""
        try:
            yield
        except Refusal as refusal:
            reason = refusal.details.get("reason")
            if refusal.code is ErrorCode.RATE_LIMITED and isinstance(reason, str) and reason in REASONS:
                self._by_event.setdefault(event_id, Counter())[reason] += 1
                self._metrics.hoarding_refused(reason)
            raise

    def of_event(self, event_id: EventId) -> dict[str, int]:
        """How many were refused by each reason."""
        counted = self._by_event.get(event_id, Counter())
        return {reason: counted[reason] for reason in REASONS}


def counted_address(principal: Principal, client: str, secret: bytes) -> bytes | None:
    """The hash of the address by which a joiner is counted, None if by none.

    A storefront's server joins for many buyers from one address, which is none of theirs, and vouches for them; what
    comes with its key is never counted by address.
    """
    if principal.api_key is None or principal.api_key.scope == Scope.STOREFRONT.value:
        return None
    return hash_address(secret, client)
