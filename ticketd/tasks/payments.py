"""The payments task: places orders with the gateway, and sees every order's money through to its end.

Two things live in one nursery. *Jobs* are what a request waits for: they go on when the client is gone, since a charge
cannot be taken back by hanging up. The *resolver* resumes whatever is unfinished: at start, when an order changes, and
when one falls due. An order is in the hands of one of them at a time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import structlog
import trio

from config.settings import Settings
from storage.clock import Clock
from storage.engine import Command, Engine
from storage.schema.ids import EventId, OrderId
from storage.schema.layout import EVENT_OF_ORDER, SYSTEM, event_partition
from storage.schema.records import OrderRecord, ReplyPlace
from ticketd.domain.checkout import BeginCheckout, OrderStep, look_delay_ms
from ticketd.domain.settlement import Move, next_move, wake_order
from ticketd.errors import ErrorCode, Refusal
from ticketd.ports.payments import PaymentGateway
from ticketd.tasks.checkout_health import CheckoutHealth
from ticketd.tasks.disputes import DisputeWatch
from ticketd.tasks.gateway_calls import GatewayCalls
from ticketd.tasks.jobs import Job
from ticketd.tasks.placing import Answers, PlacedAnswer, Placing
from ticketd.tasks.resolver import Resolver
from ticketd.tasks.settling import Settling

T = TypeVar("T")

RESUME_MARGIN_MS: Final = 5_000
LOOK_REST_MS: Final = 2_000

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskParts:
    """What the desk works with. ``ticket_kid`` names the key that signs new tickets' codes."""

    engine: Engine
    clock: Clock
    gateway: PaymentGateway
    settings: Settings
    ticket_kid: Callable[[], str]
    answers: Answers


class PaymentDesk:
    """Places orders and settles them. ``run`` must be running before anything is asked of it."""

    def __init__(self, parts: DeskParts) -> None:
        payments = parts.settings.payments
        self.health = CheckoutHealth()
        """Whether checkouts find the gateway able to take them."""
        self._engine = parts.engine
        self._clock = parts.clock
        self._timeout_ms = payments.timeout_seconds * 1000
        self._calls = GatewayCalls(parts.gateway, payments.timeout_seconds, parts.clock.now_ms)
        keep_ms = parts.settings.idempotency.retention_seconds * 1000
        self._placing = Placing(parts.engine, self._calls, parts.answers, keep_ms, self.health)
        self.disputes = DisputeWatch(
            parts.engine, parts.clock, self._calls, voids_tickets=payments.void_on_dispute
        )
        """Looks for disputes; a task of its own, which may run or not."""
        self._settling = settling = Settling(
            parts.engine,
            self._calls,
            self._placing,
            self.disputes,
            first_delay_ms=payments.capture_retry_seconds * 1000,
            ticket_kid=parts.ticket_kid,
        )
        self._resolver = Resolver(parts.engine, parts.clock, settling.resume)
        self._nursery: trio.Nursery | None = None
        self._keys_in_use: set[bytes] = set()

    @property
    def resume_ms(self) -> int:
        """After how long an order whose outcome nobody recorded is looked at again: a call of it is over by then."""
        return 2 * self._timeout_ms + RESUME_MARGIN_MS

    @property
    def refunds_refused(self) -> int:
        """How many refunds of tickets the gateway refused for good since the start."""
        return self._settling.refunds_refused

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs jobs and the resolver until it is cancelled; ready once every unfinished order was found."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._resolver.run)
            self._nursery = nursery
            try:
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
        job = Job(work)
        self._nursery.start_soon(job.run)
        return await job.wait_result()

    async def call_gateway(self, call: Callable[[], Awaitable[T]]) -> T:
        """One call of the gateway, within its time and the number of calls at once. Raises GatewayUnavailable."""
        return await self._calls.call(call)

    def forget_method_soon(self, method_ref: str) -> None:
        """Has the gateway forget a card, without waiting for it; one that it still knows is merely never used again."""
        if self._nursery is not None:
            self._nursery.start_soon(self._forget_method, method_ref)

    async def place_order(self, begin: BeginCheckout) -> PlacedAnswer:
        """Pays a hold, as ``Placing.place``; the work goes on if the caller is cancelled.

        Refuses IDEMPOTENCY_KEY_IN_USE while the same request, or another one under its key, is under way.
        """
        return await self.see_through(partial(self._place, begin))

    async def wake(self, order_id: OrderId) -> None:
        """Has an order looked at again at once, since something has happened at the gateway. Unknown ones: nothing."""
        with self._engine.snapshot(SYSTEM) as view:
            event_id = EVENT_OF_ORDER.get(view, SYSTEM, order_id)
        if event_id is not None:
            step = OrderStep(event_id=event_id, order_id=order_id)
            partitions = (event_partition(event_id),)
            command = Command("wake_order", partitions, lambda tx: wake_order(tx, step), may_use_reserve=True)
            await self._engine.submit(command)

    def look_soon(self, event_id: EventId, order: OrderRecord) -> None:
        """Has it looked at once whether the buyer of an order has acted: somebody asks for it. One that does not wait
        for its buyer, or was looked at within ``LOOK_REST_MS``, stays as it is."""
        if next_move(order) is not Move.AWAIT_BUYER or order.due_at_ms is None:
            return
        looked_at_ms = order.due_at_ms - look_delay_ms(order.tries)
        if self._clock.now_ms() >= looked_at_ms + LOOK_REST_MS:
            self._resolver.hurry(event_id, order.order_id)

    async def _place(self, begin: BeginCheckout) -> PlacedAnswer:
        with self._only_try(begin.reply), self._resolver.in_hand(begin.event_id, begin.order_id):
            return await self._placing.place(begin)

    @contextmanager
    def _only_try(self, reply: ReplyPlace | None) -> Iterator[None]:
        """Keeps other tries of an idempotent request out while the block runs: its first caller may be gone already."""
        if reply is None:
            yield
            return
        if reply.digest in self._keys_in_use:
            raise Refusal(ErrorCode.IDEMPOTENCY_KEY_IN_USE)
        self._keys_in_use.add(reply.digest)
        try:
            yield
        finally:
            self._keys_in_use.discard(reply.digest)

    async def _forget_method(self, method_ref: str) -> None:
        try:
            await self._calls.forget_method(method_ref)
        except Exception as trouble:
            # Whatever it is: the card is gone from the buyer's, and nothing hangs on it.
            _log.warning("card not forgotten by the gateway", problem=str(trouble))
