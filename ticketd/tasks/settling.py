"""Seeing an order's money through: the next call of the gateway, and the commit of what came of it.

Which call is next follows from the order alone (``settlement.next_move``); each outcome is committed before
the next call, so a task that dies anywhere is followed by one that goes on from there. No gateway is ever called within
a transaction. An order whose step fails is tried again later, and never given up: it is somebody's money.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from storage.engine import (
    Command,
    Engine,
    EngineOverloaded,
    EngineStopped,
    OutcomeUnknown,
    Partition,
    StorageError,
    StorageFull,
    Transaction,
)
from storage.schema.ids import EventId, OrderId, TicketId
from storage.schema.layout import buyer_partition, event_partition
from storage.schema.records import OrderRecord
from ticketd.domain.checkout import OrderStep, await_buyer, look_delay_ms
from ticketd.domain.ledger import FREE_REF, Balance, read_balance
from ticketd.domain.refunds import (
    RefundFailed,
    RefundMade,
    first_asked,
    record_refund_failed,
    record_refund_made,
)
from ticketd.domain.settlement import (
    ConfirmOrder,
    Move,
    PutOff,
    confirm_order,
    next_move,
    owe_refund,
    put_off,
    record_capture_refused,
    record_found,
    record_nothing_lost,
    record_refunded,
    record_taken,
    record_voided,
)
from ticketd.ids import new_id
from ticketd.ports.payments import (
    Authorised,
    CaptureRefused,
    Declined,
    GatewayState,
    GatewayUnavailable,
    OperationRefusal,
    PaymentSnapshot,
    Refunded,
    Voided,
)
from ticketd.tasks.disputes import DisputeWatch
from ticketd.tasks.gateway_calls import GatewayCalls
from ticketd.tasks.placing import Placing
from ticketd.tasks.resolver import read_order

T = TypeVar("T")

REST_MS: Final = 1_000
"""How long an order rests that a step left as it was."""
LONGEST_DELAY_MS: Final = 600_000
ALARMING_TRIES: Final = 6
"""From so many tries on that came to nothing, an error is logged for each."""

_OVER: Final = frozenset({GatewayState.VOIDED, GatewayState.FAILED})

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Settling:
    """Takes orders further, one step at a time. ``first_delay_ms`` is put between two tries, doubled each time."""

    def __init__(  # noqa: PLR0913  # what it asks, and what it tells
        self,
        engine: Engine,
        calls: GatewayCalls,
        placing: Placing,
        disputes: DisputeWatch,
        *,
        first_delay_ms: int,
        ticket_kid: Callable[[], str],
    ) -> None:
        self._engine = engine
        self._calls = calls
        self._placing = placing
        self._disputes = disputes
        self._first_delay_ms = first_delay_ms
        self._ticket_kid = ticket_kid
        self.refunds_refused = 0
        """Refunds of tickets that the gateway refused for good since the start."""

    async def resume(self, event_id: EventId, order_id: OrderId) -> int:
        """Makes an order's next move, or puts it off if the gateway cannot be asked; as ``resolver.Resume``.

        Raises only what says that the engine has ended.
        """
        order = read_order(self._engine, event_id, order_id)
        if order is None or order.due_at_ms is None:
            return 0
        step, move = OrderStep(event_id=event_id, order_id=order_id), next_move(order)
        try:
            try:
                await self._make_move(move, step, order)
            except GatewayUnavailable as trouble:
                await self._put_off(step, order, move, str(trouble))
        except (EngineOverloaded, StorageFull) as trouble:
            _log.warning("payment waits for the store", order_id=str(order_id), problem=str(trouble))
            return REST_MS
        except (EngineStopped, OutcomeUnknown, StorageError):
            raise
        except Exception:
            # One order that cannot be taken further must not keep all others from it.
            _log.exception("payment cannot be taken further", order_id=str(order_id), move=move.value)
            return LONGEST_DELAY_MS
        return 0 if read_order(self._engine, event_id, order_id) != order else REST_MS

    async def _make_move(self, move: Move, step: OrderStep, order: OrderRecord) -> None:
        match move:
            case Move.AUTHORISE:
                await self._placing.record(step.event_id, order, await self._calls.authorise_again(order))
            case Move.AWAIT_BUYER:
                await self._look_for_buyer(step, order)
            case Move.CAPTURE:
                await self._capture(step, order)
            case Move.FIND_LOST:
                await self._find_lost(step, order)
            case Move.VOID:
                await self._void(step, order)
            case Move.REFUND_TICKETS:
                await self._refund_tickets(step, order)
            case Move.REFUND:
                await self._refund(step, order)
            case Move.NOTHING:
                raise LookupError(f"order {order.order_id} is at rest, and yet due")

    async def _look_for_buyer(self, step: OrderStep, order: OrderRecord) -> None:
        payment = await self._calls.fetch(order)
        match payment.state if payment is not None else GatewayState.FAILED:
            case GatewayState.AUTHORISED | GatewayState.CAPTURED:
                await self._placing.record(step.event_id, order, Authorised(order.payment_ref or ""))
            case GatewayState.FAILED | GatewayState.VOIDED:
                code = payment.decline_code if payment is not None else None
                if payment is not None and payment.state is GatewayState.FAILED:
                    # The buyer's page may know how to try another card on it, which no order would be there for.
                    ended = await self._calls.void(order)
                    if not isinstance(ended, Voided):
                        await self._put_off(step, order, Move.AWAIT_BUYER, ended.reason.value)
                        return
                declined = Declined(code or "authentication_failed", order.payment_ref)
                await self._placing.record(step.event_id, order, declined)
            case GatewayState.REQUIRES_ACTION:
                await self._commit("await_buyer", step, lambda tx: await_buyer(tx, step))

    async def _capture(self, step: OrderStep, order: OrderRecord) -> None:
        """Takes the money and issues the tickets. Where the capture is refused, the gateway tells what is so."""
        captured_minor = 0
        if order.payment_ref != FREE_REF:
            outcome = await self._calls.capture(order)
            if not isinstance(outcome, CaptureRefused):
                captured_minor = outcome.amount_minor
            else:
                payment = await self._calls.fetch(order)
                if payment is None or payment.state in _OVER:
                    _log.error("capture refused", order_id=str(order.order_id), reason=outcome.reason.value)
                    await self._commit(
                        "record_capture_refused", step, lambda tx: record_capture_refused(tx, step)
                    )
                    return
                if payment.state is not GatewayState.CAPTURED:
                    await self._put_off(step, order, Move.CAPTURE, outcome.reason.value)
                    return
                captured_minor = payment.captured_minor
        command = ConfirmOrder(
            event_id=step.event_id,
            order_id=step.order_id,
            captured_minor=captured_minor,
            ticket_ids=tuple(TicketId(new_id()) for _ in order.seats),
            seed=os.urandom(32),
            kid=self._ticket_kid(),
        )
        buyer = buyer_partition(order.user_id)
        await self._commit("confirm_order", step, lambda tx: confirm_order(tx, command), buyer)

    async def _find_lost(self, step: OrderStep, order: OrderRecord) -> None:
        """Asks again under the same key: that alone settles whether money was set aside; then it is voided."""
        outcome = await self._calls.authorise_again(order)
        if isinstance(outcome, Declined):
            await self._commit("record_nothing_lost", step, lambda tx: record_nothing_lost(tx, step))
            return
        ref, set_aside = outcome.payment_ref, isinstance(outcome, Authorised)
        await self._commit("record_found", step, lambda tx: record_found(tx, step, ref, set_aside=set_aside))

    async def _void(self, step: OrderStep, order: OrderRecord) -> None:
        if order.payment_ref != FREE_REF:
            outcome = await self._calls.void(order)
            if not isinstance(outcome, Voided):
                payment = await self._calls.fetch(order)
                if payment is not None and payment.state is GatewayState.CAPTURED:
                    _log.error("taken although the order was over", order_id=str(order.order_id))
                    taken_minor = payment.captured_minor
                    await self._commit("owe_refund", step, lambda tx: owe_refund(tx, step, taken_minor))
                    return
                if payment is not None and payment.state not in _OVER:
                    await self._put_off(step, order, Move.VOID, outcome.reason.value)
                    return
        await self._commit("record_voided", step, lambda tx: record_voided(tx, step))

    async def _refund_tickets(self, step: OrderStep, order: OrderRecord) -> None:
        """Makes one of the refunds of single tickets that the operator asked for. What is refused is not asked again:
        the operator is told, and may ask anew."""
        with self._engine.snapshot(event_partition(step.event_id)) as view:
            refund = first_asked(view, step.event_id, step.order_id)
        if refund is None:
            raise LookupError(f"order {order.order_id} counts a refund that is not there")
        outcome = await self._calls.refund_tickets(order, refund)
        if isinstance(outcome, Refunded):
            made = RefundMade(
                event_id=step.event_id,
                order_id=step.order_id,
                refund_id=refund.refund_id,
                refund_ref=outcome.refund_ref,
                amount_minor=outcome.amount_minor,
            )
            await self._commit("record_refund_made", step, lambda tx: record_refund_made(tx, made))
            return
        failed = RefundFailed(
            event_id=step.event_id,
            order_id=step.order_id,
            refund_id=refund.refund_id,
            problem=outcome.reason.value,
        )
        await self._commit("record_refund_failed", step, lambda tx: record_refund_failed(tx, failed))
        if outcome.reason is OperationRefusal.DISPUTED:
            self._disputes.look_soon()
        self.refunds_refused += 1
        _log.error(
            "refund refused",
            order_id=str(order.order_id),
            refund_id=str(refund.refund_id),
            reason=outcome.reason.value,
        )

    async def _refund(self, step: OrderStep, order: OrderRecord) -> None:
        """Gives back what is due: by a void while nothing was taken and all is due, else by a refund."""
        payment = None if order.payment_ref == FREE_REF else await self._calls.fetch(order)
        if payment is None or payment.state in _OVER:
            if self._is_taken(step):
                await self._put_off(step, order, Move.REFUND, "the gateway does not know what it took")
                return
            await self._commit("record_voided", step, lambda tx: record_voided(tx, step))
        elif payment.state is GatewayState.CAPTURED:
            await self._refund_captured(step, order, payment, payment.captured_minor)
        elif order.refund_minor == order.total_minor:
            await self._void(step, order)
        else:
            # The seller keeps a part, and a part can only be kept of what was taken.
            taken = await self._calls.capture(order)
            if isinstance(taken, CaptureRefused):
                await self._put_off(step, order, Move.REFUND, taken.reason.value)
                return
            await self._refund_captured(step, order, payment, taken.amount_minor)

    async def _refund_captured(
        self, step: OrderStep, order: OrderRecord, payment: PaymentSnapshot, captured_minor: int
    ) -> None:
        if not self._is_taken(step):
            await self._commit("record_taken", step, lambda tx: record_taken(tx, step, captured_minor))
        made: tuple[Refunded, ...] = ()
        # What the buyer's bank keeps went back without anybody here.
        settled_minor = payment.refunded_minor + self._balance(step).lost_minor
        if settled_minor < order.refund_minor:
            outcome = await self._calls.refund(order, settled_minor)
            if not isinstance(outcome, Refunded):
                if outcome.reason is OperationRefusal.DISPUTED:
                    await self._note_disputes(order)
                await self._put_off(step, order, Move.REFUND, outcome.reason.value)
                return
            made = (outcome,)
        # What was given back by hand, or before a crash, is told by the gateway alone.
        seen = {} if payment.refunded_minor == 0 else dict(map(_named, await self._calls.list_refunds(order)))
        refunds = tuple((seen | dict(map(_named, made))).items())
        await self._commit("record_refunded", step, lambda tx: record_refunded(tx, step, refunds))

    async def _note_disputes(self, order: OrderRecord) -> None:
        """Learns of the disputes for which the gateway gives nothing back, so that the next try knows of them."""
        for dispute in await self._calls.disputes_of(order):
            await self._disputes.note(dispute)

    def _is_taken(self, step: OrderStep) -> bool:
        """Whether the ledger says that the order's money was taken."""
        return self._balance(step).captured_minor > 0

    def _balance(self, step: OrderStep) -> Balance:
        with self._engine.snapshot(event_partition(step.event_id)) as view:
            return read_balance(view, step.event_id, step.order_id)

    async def _put_off(self, step: OrderStep, order: OrderRecord, move: Move, problem: str) -> None:
        delay_ms = min(self._first_delay_ms << min(order.tries, 20), LONGEST_DELAY_MS)
        tries = order.tries + 1
        tell = _log.error if tries >= ALARMING_TRIES else _log.warning
        if move is Move.AWAIT_BUYER:
            # Looks at a buyer who does not act count as tries too, and come to nothing in the same way.
            delay_ms, tell = look_delay_ms(order.tries), _log.warning
        tell(
            "payment put off",
            order_id=str(order.order_id),
            move=move.value,
            tries=tries,
            delay_seconds=delay_ms // 1000,
            problem=problem,
        )
        command = PutOff(event_id=step.event_id, order_id=step.order_id, delay_ms=delay_ms)
        await self._commit("put_off_order", step, lambda tx: put_off(tx, command))

    async def _commit(
        self, name: str, step: OrderStep, run: Callable[[Transaction], T], *further: Partition
    ) -> T:
        # Money has moved, or is about to: recording it must go on where space is short.
        command = Command(name, (event_partition(step.event_id), *further), run, may_use_reserve=True)
        return (await self._engine.submit(command)).result


def _named(refund: Refunded) -> tuple[str, int]:
    return refund.refund_ref, refund.amount_minor
