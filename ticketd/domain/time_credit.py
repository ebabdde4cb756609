"""Time that nobody lived: while the daemon was down, or that the machine's clock skipped. It is credited to everybody.

What a buyer has for a while (to claim, to shop, to pay a hold, to act on a payment) ends by as much later; and what was
admitted lately counts by as much longer, so that the rate of admission is kept over time that was lived. Dates of the
sale, offers of tickets and whatever else runs for hours or days stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from storage.engine import Reader, Transaction
from storage.schema.events import TimeCredited
from storage.schema.ids import EventId
from storage.schema.layout import (
    ADMISSIONS,
    DUE_ENTRIES,
    DUE_RESERVATIONS,
    ENTRIES,
    HEARTBEAT,
    ORDERS,
    RESERVATIONS,
    SYSTEM,
    event_partition,
)
from storage.schema.records import HeartbeatRecord, ReservationRecord
from storage.schema.states import OrderState, PaymentState
from ticketd.domain.hold_book import credit_hold
from ticketd.domain.order_book import save_order
from ticketd.domain.room_book import RATE_WINDOW_MS, entry_id_of

LONGEST_DOWNTIME_CREDIT_MS: Final = 900_000
"""Of a downtime that is longer only so much is credited: after a quarter of an hour a buyer has gone away, and the
seats are worth more to those who wait."""


class CreditTime(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody lived the ``lost_ms`` that follow ``lived_until_ms``; windows get ``credit_ms`` of it, the rate of
    admission all. What had ended by then stays ended."""

    lived_until_ms: int
    lost_ms: int
    credit_ms: int


def credit_downtime(
    tx: Transaction, events: Sequence[EventId], lived_until_ms: int, *, begins: bool
) -> CreditTime | None:
    """Credits all events with the time since ``lived_until_ms``, at most 15 minutes of it; None if it is nobody's.

    ``begins``: the daemon is starting, so that the downtime is over. Else a command works on the store of a stopped
    daemon; what it credits counts towards the 15 minutes, since its commits hide when the downtime began.
    """
    beat = HEARTBEAT.get(tx, SYSTEM)
    spent_ms = 0 if beat is None else beat.credited_ms
    lost_ms = max(tx.now_ms - lived_until_ms, 0)
    credit = CreditTime(
        lived_until_ms=lived_until_ms,
        lost_ms=lost_ms,
        credit_ms=min(lost_ms, LONGEST_DOWNTIME_CREDIT_MS - spent_ms),
    )
    found = credit_events(tx, events, credit) if lost_ms else False
    if not begins and found:
        HEARTBEAT.put(
            tx, HeartbeatRecord(at_ms=lived_until_ms, credited_ms=spent_ms + credit.credit_ms), SYSTEM
        )
    if begins and spent_ms:
        HEARTBEAT.put(tx, HeartbeatRecord(at_ms=tx.now_ms), SYSTEM)
    return credit if found else None


def credit_events(tx: Transaction, events: Sequence[EventId], credit: CreditTime) -> bool:
    """Credits each of the events; whether there was anything in them to be credited."""
    found = [credit_event(tx, event_id, credit) for event_id in events]
    return any(found)


def credit_event(tx: Transaction, event_id: EventId, credit: CreditTime) -> bool:
    """Puts off what of an event's buyers ends after ``lived_until_ms``; whether there was anything to put off."""
    entries = _credit_entries(tx, event_id, credit)
    holds = _credit_holds(tx, event_id, credit)
    admissions = _credit_admissions(tx, event_id, credit)
    if entries or holds or admissions:
        tx.emit(event_partition(event_id), TimeCredited(event_id=event_id, credit_ms=credit.credit_ms))
    return bool(entries or holds or admissions)


def awaits_time(reader: Reader, event_id: EventId, now_ms: int) -> bool:
    """Whether anything of the event would have to be credited, should time be lost now."""
    partition = event_partition(event_id)
    if next(DUE_ENTRIES.scan(reader, partition, limit=1), None) is not None:
        return True
    if next(DUE_RESERVATIONS.scan(reader, partition, limit=1), None) is not None:
        return True
    newest = next(ADMISSIONS.scan(reader, partition, limit=1, reverse=True), None)
    return newest is not None and newest[1] > now_ms - RATE_WINDOW_MS


def _credit_entries(tx: Transaction, event_id: EventId, credit: CreditTime) -> int:
    """READY and SHOPPING. The counters and every other index stand as they are: only the end moves."""
    partition = event_partition(event_id)
    credited = 0
    for due_at_ms, part in list(DUE_ENTRIES.scan(tx, partition)):
        if not isinstance(due_at_ms, int) or due_at_ms <= credit.lived_until_ms:
            continue
        entry_id = entry_id_of(part)
        entry = ENTRIES.get(tx, partition, entry_id)
        if entry is None:
            raise LookupError(f"event {event_id}: the due index names {entry_id}, which is not there")
        later_ms = due_at_ms + credit.credit_ms
        ENTRIES.put(tx, replace(entry, due_at_ms=later_ms), partition, entry_id)
        DUE_ENTRIES.remove(tx, partition, due_at_ms, entry_id)
        DUE_ENTRIES.add(tx, partition, later_ms, entry_id)
        credited += 1
    return credited


def _credit_holds(tx: Transaction, event_id: EventId, credit: CreditTime) -> int:
    partition = event_partition(event_id)
    credited = 0
    for due_at_ms, reservation_id in list(DUE_RESERVATIONS.scan(tx, partition)):
        if not isinstance(due_at_ms, int) or due_at_ms <= credit.lived_until_ms:
            continue
        hold = RESERVATIONS.get(tx, partition, reservation_id)
        if hold is None:
            raise LookupError(f"event {event_id}: the due index names {reservation_id!r}, which is not there")
        credit_hold(tx, event_id, hold, credit.credit_ms)
        _credit_order(tx, event_id, hold, credit.credit_ms)
        credited += 1
    return credited


def _credit_order(tx: Transaction, event_id: EventId, hold: ReservationRecord, credit_ms: int) -> None:
    """An order that waits for its buyer until the hold's end; one that is to be looked at sooner, still is."""
    order = None if hold.order_id is None else ORDERS.get(tx, event_partition(event_id), hold.order_id)
    if (
        order is not None
        and (order.state, order.payment_state) == (OrderState.PENDING, PaymentState.REQUIRES_ACTION)
        and order.due_at_ms == hold.expires_at_ms
    ):
        later = replace(order, due_at_ms=hold.expires_at_ms + credit_ms)
        save_order(tx, event_id, order, later, None)


def _credit_admissions(tx: Transaction, event_id: EventId, credit: CreditTime) -> int:
    """Those that count towards the rate: older ones only tell how fast the line moves, and still do."""
    partition = event_partition(event_id)
    counted: list[tuple[int, int]] = []
    for (ordinal,), at_ms in ADMISSIONS.scan(tx, partition, reverse=True):
        if at_ms <= credit.lived_until_ms - RATE_WINDOW_MS:
            break
        if isinstance(ordinal, int):
            counted.append((ordinal, at_ms))
    for ordinal, at_ms in counted:
        ADMISSIONS.put(tx, at_ms + credit.lost_ms, partition, ordinal)
    return len(counted)
