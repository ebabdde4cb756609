"""Stripe's disputes, asked for and read as disputes of the port (https://docs.stripe.com/api/disputes/object)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import structlog

from storage.schema.states import DisputeState
from ticketd.ports.payments import DisputePage, DisputeSnapshot
from ticketd.ports.stripe_answers import DisputeList, StripeDispute, StripeIntent
from ticketd.ports.stripe_calls import Ask, StripeCalls
from ticketd.ports.stripe_faults import StripeRefusal
from ticketd.ports.stripe_intents import order_of

if TYPE_CHECKING:
    from stripe.params import DisputeListParams

PAGE_SIZE: Final = 100

_STATES: Final[Mapping[str, DisputeState]] = {
    "warning_needs_response": DisputeState.INQUIRY,
    "warning_under_review": DisputeState.INQUIRY,
    "warning_closed": DisputeState.CLOSED,
    # Settled between the banks by a refund before it came to a dispute.
    "prevented": DisputeState.CLOSED,
    "needs_response": DisputeState.OPEN,
    "under_review": DisputeState.OPEN,
    "won": DisputeState.WON,
    "lost": DisputeState.LOST,
}

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class StripeDisputes:
    """Looking at disputes. Each is asked for with its payment, which alone says whose order it is."""

    def __init__(self, calls: StripeCalls) -> None:
        self._calls = calls

    async def of_payment(self, payment_ref: str) -> tuple[DisputeSnapshot, ...]:
        """As PaymentGateway.disputes_of; a payment has few, and a page holds them all."""
        page = await self._list({"payment_intent": payment_ref})
        if isinstance(page, StripeRefusal):
            return ()
        return tuple(reversed(_snapshots(page)))

    async def since(self, since_ms: int, cursor: str | None) -> DisputePage:
        """As PaymentGateway.list_disputes: newest first."""
        params: DisputeListParams = {"created": {"gte": since_ms // 1000}}
        if cursor is not None:
            params["starting_after"] = cursor
        page = await self._list(params)
        if isinstance(page, StripeRefusal):
            raise ValueError(f"stripe lists no disputes: {page.code}")  # noqa: TRY004 - of its value
        return DisputePage(
            disputes=_snapshots(page),
            next_cursor=page.data[-1].id if page.has_more and page.data else None,
        )

    async def _list(self, params: DisputeListParams) -> DisputeList | StripeRefusal:
        whole: DisputeListParams = {**params, "limit": PAGE_SIZE, "expand": ["data.payment_intent"]}
        ask = Ask(
            endpoint="list disputes",
            send=lambda: self._calls.v1.disputes.list_async(whole),
            changes=False,
        )
        return await self._calls.ask(ask, DisputeList, self._calls.deadline())


def _snapshots(page: DisputeList) -> tuple[DisputeSnapshot, ...]:
    found = map(_snapshot, page.data)
    return tuple(dispute for dispute in found if dispute is not None)


def _snapshot(dispute: StripeDispute) -> DisputeSnapshot | None:
    """The dispute; None if its payment names no order, or its status is not known here."""
    intent = dispute.payment_intent
    order_id = order_of(intent) if isinstance(intent, StripeIntent) else None
    if not isinstance(intent, StripeIntent) or order_id is None:
        return None
    state = _STATES.get(dispute.status)
    if state is None:
        _log.error("a dispute of a status that is not known", dispute=dispute.id, status=dispute.status)
        return None
    return DisputeSnapshot(
        dispute_ref=dispute.id,
        payment_ref=intent.id,
        order_id=order_id,
        state=state,
        amount_minor=dispute.amount,
        currency=dispute.currency.upper(),
        reason=dispute.reason,
    )
