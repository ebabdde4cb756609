"""Placing an order: begin the payment, ask the gateway, commit what it said with the answer that the buyer gets.

What a request with an Idempotency-Key is answered is stored in the commit that settles it: the sale (201), the decline
(402), the hold that ended meanwhile (410). It is the same whether the buyer still waits or a task after a crash records
it. A gateway that gave no answer (503) settles nothing, and may be asked again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import structlog

from storage.engine import Command, Engine, Partition, Reader, Transaction
from storage.schema.ids import EventId, OrderId
from storage.schema.layout import SYSTEM, buyer_partition, event_partition
from storage.schema.records import OrderRecord, OutcomeRecord, ReplyPlace
from storage.schema.states import OrderState
from ticketd.domain.checkout import (
    BeginCheckout,
    OrderStep,
    RecordAction,
    RecordAuthorised,
    RecordRefused,
    begin_checkout,
    record_action,
    record_authorised,
    record_refused,
    record_unreachable,
)
from ticketd.domain.order_book import load_order
from ticketd.domain.outcomes import find_outcome, keep_outcome
from ticketd.errors import ErrorCode, Refusal
from ticketd.ports.payments import (
    ActionRequired,
    Authorised,
    AuthoriseOutcome,
    Declined,
    GatewayUnavailable,
)
from ticketd.tasks.checkout_health import CheckoutHealth
from ticketd.tasks.gateway_calls import GatewayCalls

T = TypeVar("T")

RECHECK_MS: Final = 5_000
"""After how long it is asked what became of a payment whose answer was lost."""

_JSON: Final = "application/json"

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answers:
    """How outcomes are told, as the bodies of answers. Both are pure: they are run within transactions."""

    created: Callable[[Reader, EventId, OrderRecord], bytes]
    """The 201 of a placed order."""
    refused: Callable[[Refusal, str, int], bytes]
    """A refusal, to the request of this id, at this time (milliseconds UTC)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedAnswer:
    """What a request to place an order is answered. ``is_repeated``: it was answered before, under the same key."""

    status: int
    body: bytes
    is_repeated: bool = False


class Placing:
    """Places orders. ``keep_ms`` is how long the outcome of a request with an Idempotency-Key is kept."""

    def __init__(
        self,
        engine: Engine,
        calls: GatewayCalls,
        answers: Answers,
        keep_ms: int,
        health: CheckoutHealth | None = None,
    ) -> None:
        self._engine = engine
        self._calls = calls
        self._answers = answers
        self._keep_ms = keep_ms
        self._health = health or CheckoutHealth()

    async def place(self, begin: BeginCheckout) -> PlacedAnswer:
        """Pays a hold. With ``begin.reply`` every outcome that is kept is an answer, and none is raised.

        Refuses as ``begin_checkout``; then PAYMENT_UNAVAILABLE; then, without ``begin.reply``, PAYMENT_DECLINED with
        ``decline_code``, and RESERVATION_EXPIRED if the hold had ended before the gateway's answer came.
        """
        buyer = buyer_partition(begin.user_id)
        begun = await self._commit("begin_checkout", begin.event_id, (buyer,), partial(_begin, begin))
        if isinstance(begun, PlacedAnswer):
            return begun
        try:
            outcome = await self._calls.authorise(begun)
        except GatewayUnavailable as trouble:
            self._health.note_failure()
            _log.warning("gateway unreachable", order_id=str(begin.order_id), problem=str(trouble))
            step = OrderStep(event_id=begin.event_id, order_id=begin.order_id)
            recheck_ms = RECHECK_MS if trouble.effect_possible else None
            await self._commit(
                "record_unreachable",
                begin.event_id,
                (),
                lambda tx: record_unreachable(tx, step, recheck_ms),
                may_use_reserve=True,
            )
            raise Refusal(ErrorCode.PAYMENT_UNAVAILABLE) from None
        if begun.total_minor:
            self._health.note_success()
        answer = await self.record(begin.event_id, begun, outcome)
        if isinstance(answer, Refusal):
            raise answer
        return answer

    async def record(
        self, event_id: EventId, order: OrderRecord, outcome: AuthoriseOutcome
    ) -> PlacedAnswer | Refusal:
        """Commits what the gateway said to an order's authorisation, and with it what its request is answered, if it
        was not answered yet."""
        partitions = (buyer_partition(order.user_id), SYSTEM)
        return await self._commit(
            "record_authorisation",
            event_id,
            partitions,
            lambda tx: self._record(tx, event_id, order.order_id, outcome),
            may_use_reserve=True,
        )

    def _record(
        self, tx: Transaction, event_id: EventId, order_id: OrderId, outcome: AuthoriseOutcome
    ) -> PlacedAnswer | Refusal:
        before = load_order(tx, event_id, order_id)
        after = _record_outcome(tx, OrderStep(event_id=event_id, order_id=order_id), outcome)
        # Only the first outcome answers: what becomes of a 3-D Secure challenge later changes no answer given.
        reply = before.reply if before.state is OrderState.INTENT else None
        refusal = _refusal_of(after)
        if refusal is None:
            answer = PlacedAnswer(status=201, body=self._answers.created(tx, event_id, after))
        elif reply is None:
            return refusal
        else:
            told = self._answers.refused(refusal, reply.request_id, tx.now_ms)
            answer = PlacedAnswer(status=refusal.code.status, body=told)
        if reply is not None:
            keep_outcome(
                tx, buyer_partition(before.user_id), reply.digest, self._kept(answer, reply, tx.now_ms)
            )
        return answer

    def _kept(self, answer: PlacedAnswer, reply: ReplyPlace, now_ms: int) -> OutcomeRecord:
        return OutcomeRecord(
            fingerprint=reply.fingerprint,
            status=answer.status,
            content_type=_JSON,
            body=answer.body,
            forget_at_ms=now_ms + self._keep_ms,
        )

    async def _commit(
        self,
        name: str,
        event_id: EventId,
        further: tuple[Partition, ...],
        run: Callable[[Transaction], T],
        *,
        may_use_reserve: bool = False,
    ) -> T:
        partitions = (event_partition(event_id), *further)
        command = Command(name, partitions, run, may_use_reserve=may_use_reserve)
        return (await self._engine.submit(command)).result


def _begin(begin: BeginCheckout, tx: Transaction) -> OrderRecord | PlacedAnswer:
    """Begins the payment, unless its request is answered already: the first try may have ended only just now."""
    if begin.reply is not None:
        kept = find_outcome(tx, buyer_partition(begin.user_id), begin.reply.digest, tx.now_ms)
        if kept is not None:
            if kept.fingerprint != begin.reply.fingerprint:
                raise Refusal(ErrorCode.IDEMPOTENCY_KEY_REUSED)
            return PlacedAnswer(status=kept.status, body=kept.body, is_repeated=True)
    return begin_checkout(tx, begin)


def _record_outcome(tx: Transaction, step: OrderStep, outcome: AuthoriseOutcome) -> OrderRecord:
    event_id, order_id = step.event_id, step.order_id
    match outcome:
        case Authorised(payment_ref):
            return record_authorised(
                tx, RecordAuthorised(event_id=event_id, order_id=order_id, payment_ref=payment_ref)
            )
        case Declined():
            return record_refused(
                tx,
                RecordRefused(
                    event_id=event_id,
                    order_id=order_id,
                    decline_code=outcome.decline_code,
                    payment_ref=outcome.payment_ref,
                ),
            )
        case ActionRequired():
            return record_action(
                tx,
                RecordAction(
                    event_id=event_id,
                    order_id=order_id,
                    payment_ref=outcome.payment_ref,
                    redirect_url=outcome.redirect_url,
                    client_secret=outcome.client_secret,
                ),
            )


def _refusal_of(order: OrderRecord) -> Refusal | None:
    """What the buyer is refused with, if no order came of the payment."""
    if order.state is not OrderState.FAILED:
        return None
    if order.decline_code is not None:
        return Refusal(ErrorCode.PAYMENT_DECLINED, details={"decline_code": order.decline_code})
    return Refusal(ErrorCode.RESERVATION_EXPIRED, details={"reservation_id": str(order.reservation_id)})
