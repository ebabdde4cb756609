"""Refusals on account of hoarding, as they are counted for the operator; and which address a joiner is counted by."""

from __future__ import annotations

from collections import Counter
from types import TracebackType

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

    def counting(self, event_id: EventId) -> Counting:
        """Counts the refusal on account of hoarding that leaves the block, if one does."""
        return Counting(self, event_id)

    def count(self, event_id: EventId, refusal: Refusal) -> None:
        """Counts a refusal, if it is one on account of hoarding."""
        reason = refusal.details.get("reason")
        if refusal.code is ErrorCode.RATE_LIMITED and isinstance(reason, str) and reason in REASONS:
            self._by_event.setdefault(event_id, Counter())[reason] += 1
            self._metrics.hoarding_refused(reason)

    def of_event(self, event_id: EventId) -> dict[str, int]:
        """How many were refused by each reason."""
        counted = self._by_event.get(event_id, Counter())
        return {reason: counted[reason] for reason in REASONS}


class Counting:
    """The block of ``HoardingRefusals.counting``."""

    __slots__ = ("_event_id", "_refusals")

    def __init__(self, refusals: HoardingRefusals, event_id: EventId) -> None:
        self._refusals = refusals
        self._event_id = event_id

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Refusal):
            self._refusals.count(self._event_id, error)


def counted_address(principal: Principal, client: str, secret: bytes) -> bytes | None:
    """The hash of the address by which a joiner is counted, None if by none.

    A storefront's server joins for many buyers from one address, which is none of theirs, and vouches for them; what
    comes with its key is never counted by address.
    """
    if principal.api_key is None or principal.api_key.scope == Scope.STOREFRONT.value:
        return None
    return hash_address(secret, client)
