"""What the operator reads: orders of all events, the audit trail, the daemon's figures."""

from __future__ import annotations

import os
from uuid import UUID

import msgspec
import trio

from handlers.answers import answer, money, optional_time, time_text
from handlers.call import AnyCall, Reply
from handlers.operator_events import seat_counts, stored_events
from handlers.operator_rooms import room_answer
from handlers.services import Services
from handlers.wire.common import PageQuery, Pagination
from handlers.wire.operator import (
    AuditEntry,
    AuditList,
    EventStats,
    HoardingStats,
    OperatorOrder,
    OperatorOrderList,
    OperatorOrdersQuery,
    StatsAnswer,
    StoreStats,
    WriterStats,
)
from storage.engine import Engine, Key, Partition, Reader
from storage.keys import prefix_range, unpack_parts
from storage.schema.ids import EventId, OrderId
from storage.schema.layout import AUDIT, EVENT_OF_ORDER, ORDERS, SYSTEM, event_partition
from storage.schema.records import AuditRecord, OrderRecord
from storage.schema.states import OrderState
from storage.writer import WritingEngine
from ticketd.domain.hoarding import count_cooldowns
from ticketd.domain.ledger import Balance, read_balance
from ticketd.domain.sales import load_sale, load_total, sale_phase
from ticketd.version import VERSION

_BATCH_KEYS = 5_000
"""So many keys are walked before others have their turn."""


async def list_operator_orders(services: Services, call: AnyCall) -> Reply:
    """200 with the orders of all events, or of one, newest first. Refuses EVENT_NOT_FOUND for an unknown one."""
    query = call.query_as(OperatorOrdersQuery)
    event_id = None if query.event_id is None else EventId(query.event_id)
    if event_id is None:
        partition, table = SYSTEM, EVENT_OF_ORDER.number
    else:
        partition, table = event_partition(event_id), ORDERS.number
        with services.engine.snapshot(partition) as view:
            load_sale(view, event_id)
    keys, pagination = await _newest_page(services.engine, partition, table, query)
    with services.engine.snapshot() as view:
        orders = [
            operator_order(found_in, order, read_balance(view, found_in, order.order_id))
            for key in keys
            for found_in, order in _find_order(view, OrderId(_last_id(key)), event_id)
        ]
    return answer(OperatorOrderList(orders=orders, pagination=pagination))


async def list_audit(services: Services, call: AnyCall) -> Reply:
    """200 with what operators did, newest first."""
    keys, pagination = await _newest_page(services.engine, SYSTEM, AUDIT.number, call.query_as(PageQuery))
    with services.engine.snapshot(SYSTEM) as view:
        records = [AUDIT.decode(value) for key in keys if (value := view.get(key)) is not None]
    return answer(AuditList(audit=[_entry(record) for record in records], pagination=pagination))


async def get_stats(services: Services, call: AnyCall) -> Reply:
    """200 with the daemon's figures and those of each event, by date."""
    engine = services.engine
    with engine.snapshot() as view:
        events = [
            EventStats(
                event_id=event.event_id,
                name=event.name,
                date=time_text(sale.date_ms),
                status=sale_phase(sale, total, view.now_ms).value,
                seats=seat_counts(total),
                room=room_answer(view, event.event_id),
                hoarding=HoardingStats(
                    cooldowns=count_cooldowns(view, event.event_id, view.now_ms),
                    refusals=services.hoarding.of_event(event.event_id),
                ),
            )
            for event, sale in sorted(stored_events(view), key=lambda pair: (pair[1].date_ms, pair[0].name))
            for total in (load_total(view, event.event_id),)
        ]
    store = writer = None
    if isinstance(engine, WritingEngine):
        store, writer = _store_stats(services, engine), _writer_stats(engine)
    return answer(StatsAnswer(version=VERSION, events=events, store=store, writer=writer))


def _store_stats(services: Services, engine: WritingEngine) -> StoreStats:
    disk = os.statvfs(services.data)
    return StoreStats(
        used_bytes=engine.used_bytes(),
        map_bytes=engine.map_bytes(),
        disk_free_bytes=disk.f_bavail * disk.f_frsize,
    )


def _writer_stats(engine: WritingEngine) -> WriterStats:
    counters = engine.counters
    return WriterStats(
        waiting=engine.queue_length(),
        batches=counters.batches,
        committed=counters.committed,
        rejected=counters.rejected,
        failed=counters.failed,
        changes=counters.changes,
        commit_seconds_sum=round(counters.commit_seconds_sum, 6),
    )


async def _newest_page(
    engine: Engine, partition: Partition, table: int, query: PageQuery
) -> tuple[list[Key], Pagination]:
    """The keys of one page of a table, from its end, and how many there are: walked in batches, so that a long table
    keeps nobody waiting. What is added meanwhile may be missing from the page."""
    lo, hi = prefix_range(partition, table)
    first = (query.page - 1) * query.per_page
    shown: list[Key] = []
    total = 0
    while True:
        with engine.snapshot(partition) as view:
            batch = [key for key, _ in view.scan(lo, hi, _BATCH_KEYS, reverse=True)]
        shown += batch[max(first - total, 0) : max(first + query.per_page - total, 0)]
        total += len(batch)
        if len(batch) < _BATCH_KEYS:
            return shown, Pagination(page=query.page, per_page=query.per_page, total=total)
        hi = batch[-1]
        await trio.sleep(0)


def _last_id(key: Key) -> UUID:
    part = unpack_parts(key)[-1]
    if not isinstance(part, UUID):
        raise TypeError(f"a key ends in {part!r}, where an id was looked for")
    return part


def _find_order(
    view: Reader, order_id: OrderId, event_id: EventId | None
) -> list[tuple[EventId, OrderRecord]]:
    found_in = event_id or EVENT_OF_ORDER.get(view, SYSTEM, order_id)
    order = None if found_in is None else ORDERS.get(view, event_partition(found_in), order_id)
    return [] if found_in is None or order is None else [(found_in, order)]


def operator_order(event_id: EventId, order: OrderRecord, balance: Balance) -> OperatorOrder:
    """An order as the operator sees it in a list; ``balance`` is what its movements add up to."""
    return OperatorOrder(
        order_id=order.order_id,
        event_id=event_id,
        user_id=order.user_id,
        status=order.state.value,
        payment_status=order.payment_state.value,
        payment_ref=order.payment_ref,
        seat_count=len(order.seats),
        currency=order.currency,
        total=money(order.total_minor, order.currency),
        refund_amount=money(balance.given_back_minor(order), order.currency),
        captured=money(balance.captured_minor, order.currency),
        refunded=money(balance.refunded_minor, order.currency),
        disputed=money(balance.disputed_minor, order.currency),
        dispute=None if order.dispute is None else order.dispute.value,
        owed_at_till=order.owed_at_till and order.state is OrderState.CONFIRMED,
        created_at=time_text(order.created_at_ms),
        confirmed_at=optional_time(order.confirmed_at_ms),
        cancelled_at=optional_time(order.cancelled_at_ms),
    )


def _entry(record: AuditRecord) -> AuditEntry:
    return AuditEntry(
        audit_id=record.audit_id,
        at=time_text(record.at_ms),
        actor=record.actor,
        action=record.action,
        subject=record.subject,
        detail=msgspec.Raw((record.detail or "{}").encode()),
    )
