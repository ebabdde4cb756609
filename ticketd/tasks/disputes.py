"""Disputes, as the gateway is asked about them: at the start, by period, and at once where something tells of one.

True here: a webhook only brings the next look forward, and what it says is not believed; a dispute that no webhook
tells of is found by the next look. What a dispute does to its order is the domain's.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio

from storage.clock import Clock
from storage.engine import (
    Command,
    Engine,
    EngineOverloaded,
    EngineStopped,
    OutcomeUnknown,
    StorageError,
    StorageFull,
)
from storage.schema.ids import EventId
from storage.schema.layout import DISPUTES, EVENT_OF_ORDER, ORDERS, SYSTEM, event_partition
from storage.schema.states import DisputeState
from ticketd.domain.disputes import NoteDispute, is_news, note_dispute
from ticketd.ports.payments import DisputeSnapshot, GatewayUnavailable
from ticketd.tasks.alarm import Alarm
from ticketd.tasks.gateway_calls import GatewayCalls

LOOK_MS: Final = 3_600_000
"""How long nobody looks who was told nothing."""
RETRY_MS: Final = 60_000
"""How long after a look that failed, or found a dispute too early: twice as long each time that it found no other one
too early, up to ``LOOK_MS``."""
LOOK_BACK_MS: Final = 180 * 86_400_000
"""Disputes that began so long ago are looked at no more: banks decide within less."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class DisputeWatch:
    """Looks for disputes, and has them recorded. ``voids_tickets``: the tickets of a disputed order end."""

    def __init__(self, engine: Engine, clock: Clock, calls: GatewayCalls, *, voids_tickets: bool) -> None:
        self._engine = engine
        self._clock = clock
        self._calls = calls
        self._voids_tickets = voids_tickets
        self._alarm = Alarm(clock)
        self._early: set[str] = set()
        self._looks_in_vain = 0

    def look_soon(self) -> None:
        """Has it looked at once whether there are disputes, or they have moved."""
        self._alarm.ring()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Looks, until it is cancelled; ready at once, since a gateway may be away."""
        task_status.started()
        while True:
            self._alarm.reset()
            rest_ms = await self._look()
            await self._alarm.wait_until_ms(self._clock.now_ms() + rest_ms)

    async def note(self, dispute: DisputeSnapshot) -> bool:
        """Records where a dispute stands; whether there was nothing in the way. One of no order of this store, or of
        another payment than its order's, is left out."""
        if (event_id := self._event_with_news(dispute)) is None:
            return True
        command = NoteDispute(
            event_id=event_id,
            order_id=dispute.order_id,
            dispute_ref=dispute.dispute_ref,
            state=dispute.state,
            amount_minor=dispute.amount_minor,
            reason=dispute.reason,
            voids_tickets=self._voids_tickets,
        )
        committed = await self._engine.submit(
            Command(
                "note_dispute",
                (event_partition(event_id),),
                lambda tx: note_dispute(tx, command),
                may_use_reserve=True,
            )
        )
        if committed.result:
            _log.error(
                "a payment is disputed",
                order_id=str(dispute.order_id),
                dispute=dispute.dispute_ref,
                state=dispute.state.value,
                reason=dispute.reason,
            )
        return committed.result

    def _rest_ms(self, early: set[str]) -> int:
        """For how long to rest after a look that found these disputes too early, in milliseconds. One whose capture
        never comes must not have the whole list read every minute."""
        if not early <= self._early:
            self._looks_in_vain = 0
        self._early = early
        if not early:
            return LOOK_MS
        rest_ms = min(RETRY_MS << self._looks_in_vain, LOOK_MS)
        if rest_ms < LOOK_MS:
            self._looks_in_vain += 1
        return rest_ms

    async def _look(self) -> int:
        """Looks at all disputes once; for how long to rest then, in milliseconds."""
        since_ms, cursor, early = max(0, self._clock.now_ms() - LOOK_BACK_MS), None, set[str]()
        try:
            while True:
                page = await self._calls.list_disputes(since_ms, cursor)
                for dispute in page.disputes:
                    if not await self._note_alone(dispute):
                        early.add(dispute.dispute_ref)
                cursor = page.next_cursor
                if cursor is None:
                    return self._rest_ms(early)
        except (GatewayUnavailable, EngineOverloaded, StorageFull, ValueError) as trouble:
            _log.warning("disputes cannot be looked at", problem=str(trouble))
            return RETRY_MS

    async def _note_alone(self, dispute: DisputeSnapshot) -> bool:
        """As ``note``; a dispute that cannot be recorded must not keep all others from it."""
        try:
            return await self.note(dispute)
        except (EngineOverloaded, StorageFull, EngineStopped, OutcomeUnknown, StorageError):
            raise
        except Exception:
            _log.exception("a dispute cannot be recorded", dispute=dispute.dispute_ref)
            return True

    def _event_with_news(self, dispute: DisputeSnapshot) -> EventId | None:
        """The event of the order that the dispute is about, if it has not been recorded so yet."""
        with self._engine.snapshot() as view:
            event_id = EVENT_OF_ORDER.get(view, SYSTEM, dispute.order_id)
            if event_id is None:
                return None
            partition = event_partition(event_id)
            order = ORDERS.get(view, partition, dispute.order_id)
            before = DISPUTES.get(view, partition, dispute.order_id, dispute.dispute_ref)
        if order is None or order.payment_ref != dispute.payment_ref:
            return None
        if dispute.currency != order.currency and dispute.state is not DisputeState.CLOSED:
            _log.error(
                "a dispute is in another currency than its order",
                order_id=str(order.order_id),
                dispute=dispute.dispute_ref,
                currency=dispute.currency,
            )
            return None
        return event_id if is_news(before, dispute.state) else None
