"""The payments task: places orders with the gateway, and sees every order's money through to its end.

Two things live in one nursery. *Jobs* are what a request waits for: they go on when the client is gone, since a charge
cannot be taken back by hanging up. The *resolver* resumes whatever is unfinished: at start, when an order changes, and
when one falls due. What comes next follows from the order's states alone (``settlement.next_move``), each outcome is
committed before the next call, and each call carries a key derived from the order, so that nothing is done twice.
No gateway is ever called within a transaction.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

import structlog
import trio

from config.settings import Settings
from storage.clock import Clock
from storage.engine import Command, Engine, Partition, Reader, Transaction
from storage.schema.events import OrderMoved
from storage.schema.ids import EventId, OrderId, TicketId
from storage.schema.layout import (
    DUE_ORDERS,
    EVENT_OF_ORDER,
    ORDERS,
    RESERVATIONS,
    SYSTEM,
    buyer_partition,
    event_partition,
)
from storage.schema.records import OrderRecord, OutcomeRecord
from storage.schema.states import OrderState
from ticketd.domain.checkout import (
    BeginCheckout,
    OrderStep,
    RecordAction,
    RecordAuthorised,
    RecordRefused,
    begin_checkout,
    end_unpaid,
    record_action,
    record_authorised,
    record_refused,
    record_unreachable,
)
from ticketd.domain.outcomes import keep_outcome
from ticketd.domain.settlement import (
    ConfirmOrder,
    Move,
    PutOff,
    confirm_order,
    next_move,
    put_off,
    record_capture_refused,
    record_found,
    record_nothing_lost,
    record_refunded,
    record_voided,
    wake_order,
)
from ticketd.errors import ErrorCode, Refusal
from ticketd.ids import new_id
from ticketd.ports.payments import (
    ActionRequired,
    Authorised,
    AuthoriseOutcome,
    Captured,
    CaptureRefused,
    Charge,
    Declined,
    GatewayState,
    GatewayUnavailable,
    PaymentGateway,
    PaymentSnapshot,
    Refunded,
    Voided,
)
from ticketd.tasks.deadlines import DueWork, run_due_work

T = TypeVar("T")

CALLS_AT_ONCE: Final = 32
"""Calls of the gateway that are under way at most."""
WORKERS_AT_MOST: Final = 128
"""Orders that are resumed at the same time at most."""
LONGEST_DELAY_MS: Final = 600_000
RESUME_MARGIN_MS: Final = 5_000
FREE_REF: Final = "free"
"""Stands for the payment of an order over nothing: no gateway is asked."""

RenderCreated = Callable[[Reader, EventId, OrderRecord], bytes]
"""The body of the 201 that answers a placed order. Pure: it is run within the transaction that places it."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskParts:
    """What the desk works with. ``ticket_kid`` names the key that signs new tickets' codes."""

    engine: Engine
    clock: Clock
    gateway: PaymentGateway
    settings: Settings
    ticket_kid: Callable[[], str]
    render_created: RenderCreated


class _Job(Generic[T]):
    """Work that goes on although the one who asked for it may be gone."""

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self._done = trio.Event()
        self._result: T | None = None
        self._failure: Exception | None = None

    async def run(self) -> None:
        try:
            self._result = await self._work()
        except Exception as failure:
            # It belongs to the one who waits; an order that it left unfinished is the resolver's.
            self._failure = failure
        finally:
            self._done.set()

    async def wait_result(self) -> T:
        await self._done.wait()
        if self._failure is not None:
            raise self._failure
        return self._result  # type: ignore[return-value]  # set: the work ended without a failure


class PaymentDesk:
    """Places orders and settles them. ``run`` must be running before anything is asked of it."""

    def __init__(self, parts: DeskParts) -> None:
        self._engine = parts.engine
        self._clock = parts.clock
        self._gateway = parts.gateway
        self._settings = parts.settings.payments
        self._keep_ms = parts.settings.idempotency.retention_seconds * 1000
        self._ticket_kid = parts.ticket_kid
        self._render_created = parts.render_created
        self._nursery: trio.Nursery | None = None
        self._in_hand: set[OrderId] = set()
        self._calls = trio.CapacityLimiter(CALLS_AT_ONCE)
        self._workers = trio.Semaphore(WORKERS_AT_MOST)

    @property
    def resume_ms(self) -> int:
        """After how long an order whose outcome nobody recorded is looked at again."""
        return self._settings.timeout_seconds * 1000 + RESUME_MARGIN_MS

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs jobs and the resolver until it is cancelled; ready once every event's orders were looked at."""
        work = DueWork(name="payments", peek=self._peek, step=self._step, concerns=_concerned)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await nursery.start(partial(run_due_work, self._engine, self._clock, work))
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def see_through(self, work: Callable[[], Awaitable[T]]) -> T:
        """Runs ``work`` to its end, even if the caller is cancelled while it waits. Raises what the work raises.

        Refuses OVERLOADED while the daemon is ending.
        """
        if self._nursery is None:
            raise Refusal(ErrorCode.OVERLOADED)
        job = _Job(work)
        self._nursery.start_soon(job.run)
        return await job.wait_result()

    async def call_gateway(self, call: Callable[[], Awaitable[T]]) -> T:
        """One call of the gateway, within its time and the number of calls at once. Raises GatewayUnavailable."""
        async with self._calls:
            try:
                with trio.fail_after(self._settings.timeout_seconds):
                    return await call()
            except trio.TooSlowError:
                raise GatewayUnavailable("no answer in time", effect_possible=True) from None

    async def forget_method(self, method_ref: str) -> None:
        """Asks the gateway to forget a card; if it cannot be asked now, the card is merely never used again."""
        try:
            await self.call_gateway(lambda: self._gateway.forget_method(method_ref))
        except GatewayUnavailable as trouble:
            _log.warning("card not forgotten by the gateway", problem=str(trouble))

    async def place_order(self, begin: BeginCheckout) -> bytes:
        """Pays a hold and answers with the body of its 201. Refuses what ``begin_checkout`` does, then PAYMENT_DECLINED
        with ``decline_code``, PAYMENT_UNAVAILABLE, or RESERVATION_EXPIRED if the hold ended before the gateway's answer.
        """
        return await self.see_through(partial(self._place, begin))

    async def wake(self, order_id: OrderId) -> None:
        """Has an order looked at again at once, since something has happened at the gateway; unknown ones are let be."""
        with self._engine.snapshot(SYSTEM) as view:
            event_id = EVENT_OF_ORDER.get(view, SYSTEM, order_id)
        if event_id is not None:
            step = OrderStep(event_id=event_id, order_id=order_id)
            await self._commit("wake_order", event_id, (), lambda tx: wake_order(tx, step))

    # --- placing --------------------------------------------------------------------------------------------------

    async def _place(self, begin: BeginCheckout) -> bytes:
        order_id = begin.order_id
        self._in_hand.add(order_id)
        try:
            buyer = buyer_partition(begin.user_id)
            order = await self._commit(
                "begin_checkout", begin.event_id, (buyer,), lambda tx: begin_checkout(tx, begin)
            )
            try:
                outcome = await self._authorise(order)
            except GatewayUnavailable as trouble:
                _log.warning("gateway unreachable", order_id=str(order_id), problem=str(trouble))
                await self._give_up(begin.event_id, order_id, trouble.effect_possible)
                raise Refusal(ErrorCode.PAYMENT_UNAVAILABLE) from None
            return await self._record_placed(begin.event_id, order, outcome)
        finally:
            self._in_hand.discard(order_id)

    async def _authorise(self, order: OrderRecord) -> AuthoriseOutcome:
        """Asks for the money, under a key that is the order's own: asked again, the same outcome."""
        if order.total_minor == 0:
            return Authorised(FREE_REF)
        charge = Charge(
            order_id=order.order_id,
            amount_minor=order.total_minor,
            currency=order.currency,
            method_ref=order.method_ref,
            description=f"order {order.order_id}",
            return_url=order.return_url,
        )
        return await self.call_gateway(lambda: self._gateway.authorise(charge, f"{order.order_id}:authorise"))

    async def _record_placed(self, event_id: EventId, order: OrderRecord, outcome: AuthoriseOutcome) -> bytes:
        placed, body = await self._record_answer(event_id, order, outcome)
        if isinstance(outcome, Declined):
            raise Refusal(ErrorCode.PAYMENT_DECLINED, details={"decline_code": outcome.decline_code})
        if placed.state is OrderState.FAILED:
            raise Refusal(ErrorCode.RESERVATION_EXPIRED)
        return body

    async def _record_answer(
        self, event_id: EventId, order: OrderRecord, outcome: AuthoriseOutcome
    ) -> tuple[OrderRecord, bytes]:
        """Commits what the gateway said to an authorisation, with the 201 that it makes, if it makes one."""
        buyer = buyer_partition(order.user_id)

        def record(tx: Transaction) -> tuple[OrderRecord, bytes]:
            after = _record_outcome(tx, event_id, order.order_id, outcome)
            if after.state is not OrderState.PENDING:
                return after, b""
            body = self._render_created(tx, event_id, after)
            if after.reply is not None:
                kept = OutcomeRecord(
                    fingerprint=after.reply.fingerprint,
                    status=201,
                    content_type="application/json",
                    body=body,
                    forget_at_ms=tx.now_ms + self._keep_ms,
                )
                keep_outcome(tx, buyer, after.reply.digest, kept)
            return after, body

        return await self._commit("record_authorisation", event_id, (buyer, SYSTEM), record)

    async def _give_up(self, event_id: EventId, order_id: OrderId, effect_possible: bool) -> None:
        step = OrderStep(event_id=event_id, order_id=order_id)
        recheck_ms = RESUME_MARGIN_MS if effect_possible else None
        await self._commit(
            "record_unreachable", event_id, (), lambda tx: record_unreachable(tx, step, recheck_ms)
        )

    # --- the resolver ---------------------------------------------------------------------------------------------

    def _peek(self, reader: Reader, event_id: EventId) -> int | None:
        for due_at_ms, order_id in DUE_ORDERS.scan(
            reader, event_partition(event_id), limit=len(self._in_hand) + 1
        ):
            if order_id not in self._in_hand:
                return int(due_at_ms)  # type: ignore[call-overload,no-any-return]  # the index's first part
        return None

    async def _step(self, event_id: EventId) -> None:
        """Starts a worker for each order of the event that is due; waits while there are too many."""
        partition = event_partition(event_id)
        with self._engine.snapshot(partition) as view:
            due = [
                OrderId(parts[1])  # type: ignore[arg-type]  # the index's second part
                for parts in DUE_ORDERS.until(view, partition, view.now_ms, WORKERS_AT_MOST)
            ]
        for order_id in due:
            if order_id in self._in_hand or self._nursery is None:
                continue
            await self._workers.acquire()
            self._in_hand.add(order_id)
            self._nursery.start_soon(self._resume, event_id, order_id)

    async def _resume(self, event_id: EventId, order_id: OrderId) -> None:
        """Makes an order's next move, and puts it off if the gateway cannot be reached."""
        try:
            partition = event_partition(event_id)
            with self._engine.snapshot(partition) as view:
                order = ORDERS.get(view, partition, order_id)
            if order is None:
                return
            move = next_move(order)
            try:
                await self._make_move(move, OrderStep(event_id=event_id, order_id=order_id), order)
            except GatewayUnavailable as trouble:
                await self._put_off(event_id, order, move, str(trouble))
        finally:
            self._in_hand.discard(order_id)
            self._workers.release()

    async def _make_move(self, move: Move, step: OrderStep, order: OrderRecord) -> None:
        match move:
            case Move.AUTHORISE:
                await self._record_answer(step.event_id, order, await self._authorise(order))
            case Move.AWAIT_BUYER:
                await self._look_for_buyer(step, order)
            case Move.CAPTURE:
                await self._capture(step, order)
            case Move.FIND_LOST:
                await self._find_lost(step, order)
            case Move.VOID:
                await self._void(step, order)
            case Move.REFUND:
                await self._refund(step, order)
            case Move.NOTHING:
                pass

    async def _look_for_buyer(self, step: OrderStep, order: OrderRecord) -> None:
        payment = await self._fetch(order)
        match payment.state if payment is not None else GatewayState.FAILED:
            case GatewayState.AUTHORISED | GatewayState.CAPTURED:
                await self._record_answer(step.event_id, order, Authorised(_ref(order)))
            case GatewayState.FAILED | GatewayState.VOIDED:
                code = payment.decline_code if payment is not None else None
                await self._record_answer(
                    step.event_id, order, Declined(code or "authentication_failed", order.payment_ref)
                )
            case GatewayState.REQUIRES_ACTION:
                await self._commit("await_buyer", step.event_id, (), lambda tx: _await_buyer(tx, step))

    async def _capture(self, step: OrderStep, order: OrderRecord) -> None:
        outcome: object = Captured(0)
        if order.payment_ref != FREE_REF:
            outcome = await self.call_gateway(
                lambda: self._gateway.capture(_ref(order), order.total_minor, f"{order.order_id}:capture")
            )
        if isinstance(outcome, CaptureRefused):
            payment = await self._fetch(order)
            if payment is None or payment.state in {GatewayState.VOIDED, GatewayState.FAILED}:
                _log.error("capture refused", order_id=str(order.order_id), reason=outcome.reason.value)
                await self._commit(
                    "record_capture_refused", step.event_id, (), lambda tx: record_capture_refused(tx, step)
                )
                return
            if payment.state is not GatewayState.CAPTURED:
                await self._put_off(step.event_id, order, Move.CAPTURE, outcome.reason.value)
                return
        await self._confirm(step, order)

    async def _confirm(self, step: OrderStep, order: OrderRecord) -> None:
        command = ConfirmOrder(
            event_id=step.event_id,
            order_id=step.order_id,
            ticket_ids=tuple(TicketId(new_id()) for _ in order.seats),
            seed=os.urandom(32),
            kid=self._ticket_kid(),
        )
        buyer = buyer_partition(order.user_id)
        await self._commit("confirm_order", step.event_id, (buyer,), lambda tx: confirm_order(tx, command))

    async def _find_lost(self, step: OrderStep, order: OrderRecord) -> None:
        """Asks again under the same key: that alone settles whether money was set aside; then it is voided."""
        outcome = await self._authorise(order)
        if isinstance(outcome, Declined):
            await self._commit(
                "record_nothing_lost", step.event_id, (), lambda tx: record_nothing_lost(tx, step)
            )
            return
        ref = outcome.payment_ref
        await self._commit("record_found", step.event_id, (), lambda tx: record_found(tx, step, ref))

    async def _void(self, step: OrderStep, order: OrderRecord) -> None:
        if order.payment_ref != FREE_REF:
            outcome = await self.call_gateway(
                lambda: self._gateway.void(_ref(order), f"{order.order_id}:void")
            )
            if not isinstance(outcome, Voided):
                payment = await self._fetch(order)
                if payment is not None and payment.state is GatewayState.CAPTURED:
                    await self._put_off(step.event_id, order, Move.VOID, outcome.reason.value)
                    return
        await self._commit("record_voided", step.event_id, (), lambda tx: record_voided(tx, step))

    async def _refund(self, step: OrderStep, order: OrderRecord) -> None:
        """Gives back what is due: by a void while nothing was taken and all is due, else by a refund."""
        payment = None if order.payment_ref == FREE_REF else await self._fetch(order)
        if payment is None or payment.state in {GatewayState.VOIDED, GatewayState.FAILED}:
            await self._commit("record_voided", step.event_id, (), lambda tx: record_voided(tx, step))
            return
        if payment.state is not GatewayState.CAPTURED:
            if order.refund_minor == order.total_minor:
                await self._void(step, order)
                return
            # The seller keeps a part: that part can only be kept of what was taken.
            await self.call_gateway(
                lambda: self._gateway.capture(_ref(order), order.total_minor, f"{order.order_id}:capture")
            )
        if payment.refunded_minor < order.refund_minor:
            outcome = await self.call_gateway(
                lambda: self._gateway.refund(_ref(order), order.refund_minor, f"{order.order_id}:refund")
            )
            if not isinstance(outcome, Refunded):
                _log.error("refund refused", order_id=str(order.order_id), reason=outcome.reason.value)
                await self._put_off(step.event_id, order, Move.REFUND, outcome.reason.value)
                return
        await self._commit("record_refunded", step.event_id, (), lambda tx: record_refunded(tx, step))

    async def _fetch(self, order: OrderRecord) -> PaymentSnapshot | None:
        return await self.call_gateway(lambda: self._gateway.fetch(_ref(order)))

    async def _put_off(self, event_id: EventId, order: OrderRecord, move: Move, problem: str) -> None:
        delay_ms = min(self._settings.capture_retry_seconds * 1000 << min(order.tries, 20), LONGEST_DELAY_MS)
        _log.warning(
            "payment put off",
            order_id=str(order.order_id),
            move=move.value,
            tries=order.tries + 1,
            delay_seconds=delay_ms // 1000,
            problem=problem,
        )
        command = PutOff(event_id=event_id, order_id=order.order_id, delay_ms=delay_ms)
        await self._commit("put_off_order", event_id, (), lambda tx: put_off(tx, command))

    async def _commit(
        self, name: str, event_id: EventId, further: tuple[Partition, ...], run: Callable[[Transaction], T]
    ) -> T:
        command = Command(name, (event_partition(event_id), *further), run)
        return (await self._engine.submit(command)).result


def _record_outcome(
    tx: Transaction, event_id: EventId, order_id: OrderId, outcome: AuthoriseOutcome
) -> OrderRecord:
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
                ),
            )


def _await_buyer(tx: Transaction, step: OrderStep) -> OrderRecord:
    """The buyer has not acted yet: to be looked at again at the hold's end, or given up if that has come."""
    partition = event_partition(step.event_id)
    order = ORDERS.get(tx, partition, step.order_id)
    hold = None if order is None else RESERVATIONS.get(tx, partition, order.reservation_id)
    if hold is None or hold.expires_at_ms <= tx.now_ms:
        return end_unpaid(tx, step)
    return wake_order(tx, step, hold.expires_at_ms)


def _concerned(event: object) -> EventId | None:
    if isinstance(event, OrderMoved) and event.due_at_ms is not None:
        return event.event_id
    return None


def _ref(order: OrderRecord) -> str:
    if order.payment_ref is None:
        raise LookupError(f"order {order.order_id} has no payment at the gateway")
    return order.payment_ref
