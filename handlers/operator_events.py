"""The operator's events: put from an event file, listed, told again, cancelled, deleted; seats off and back on sale."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final
from uuid import UUID

import trio

from handlers.answers import answer, encode_json, no_content, time_text
from handlers.call import AnyCall, Call, Reply
from handlers.commit import Decision, commit
from handlers.operator_deeds import NOTHING_TOLD, audited
from handlers.services import Services
from handlers.wire.common import PageQuery, page_of
from handlers.wire.operator import (
    EventCancelledAnswer,
    EventPutAnswer,
    OperatorEvent,
    OperatorEventList,
    SeatCounts,
    SeatsAnswer,
    SeatsBody,
)
from storage.engine import Reader, Snapshot, Transaction
from storage.schema.ids import EventId, SeatNumber, seat_number_of
from storage.schema.layout import EVENT, SALE, event_partition, list_events
from storage.schema.records import CountRecord, EventRecord, SaleRecord
from ticketd.domain.event_cancellation import CancelEvent, EventCancelled, cancel_event
from ticketd.domain.events import (
    DeleteEvent,
    PutEvent,
    PutEventResult,
    PutOutcome,
    delete_event,
    event_command_partitions,
    event_plan,
    put_event,
)
from ticketd.domain.sales import load_total, sale_phase
from ticketd.domain.seats import BlockSeats, block_seats, unblock_seats
from ticketd.errors import ErrorCode, Refusal
from ticketd.event_file.document import plan_to_document
from ticketd.event_file.faults import EventFileInvalid
from ticketd.event_file.parse import parse_event_file
from ticketd.event_file.plan import EventPlan

_LONG_FILE_BYTES: Final = 4 * 1024
"""Above this, reading or writing an event file takes long enough for others to notice: a thread does it. A row of a
thousand seats takes 40 bytes."""
_LONG_FILE_SEATS: Final = 2_000


async def put_operator_event(services: Services, call: AnyCall) -> Reply:
    """201 for a new event, 200 for one that was replaced or is as it was. Refuses INVALID_REQUEST with ``faults``."""
    event_id = call.path_id("event_id", ErrorCode.EVENT_NOT_FOUND)
    return await _put(services, call, await _read_file(call.raw, event_id))


async def import_event(services: Services, call: AnyCall) -> Reply:
    """The same for a file that names its event itself, or leaves its id to be derived."""
    return await _put(services, call, await _read_file(call.raw, None))


async def get_operator_event(services: Services, call: AnyCall) -> Reply:
    """200 with the event file of an event as it was imported last."""
    event_id = EventId(call.path_id("event_id", ErrorCode.EVENT_NOT_FOUND))
    with services.engine.snapshot(event_partition(event_id)) as view:
        plan = event_plan(view, event_id)
    if plan.seat_count <= _LONG_FILE_SEATS:
        return Reply(status=200, body=_write_file(plan))
    return Reply(status=200, body=await trio.to_thread.run_sync(_write_file, plan))


async def list_operator_events(services: Services, call: AnyCall) -> Reply:
    """200 with all events, by date."""
    query = call.query_as(PageQuery)
    with services.engine.snapshot() as view:
        found = sorted(stored_events(view), key=lambda pair: (pair[1].date_ms, pair[0].name))
        shown, pagination = page_of(found, query)
        events = [_listed(view, event, sale) for event, sale in shown]
    return answer(OperatorEventList(events=events, pagination=pagination))


async def cancel_operator_event(services: Services, call: AnyCall) -> Reply:
    """200: the event's sale has ended for good, also if it had before. Refuses EVENT_NOT_FOUND.

    Nobody can join its room or reserve its seats any more; its orders and holds are ended one after another from now
    on. Asked again, the answer tells how far that has come.
    """
    event_id = EventId(call.path_id("event_id", ErrorCode.EVENT_NOT_FOUND))
    decide = audited(
        call,
        ("event.cancel", str(event_id)),
        partial(cancel_event, command=CancelEvent(event_id)),
        lambda cancelled: NOTHING_TOLD if cancelled.changed else None,
    )
    partitions = event_command_partitions(event_id)

    def render(cancelled: EventCancelled) -> Reply:
        progress = cancelled.progress
        return answer(
            EventCancelledAnswer(
                event_id=event_id,
                availability="CANCELLED",
                orders_ended=progress.orders_ended,
                orders_at_tills=progress.orders_at_tills,
                holds_ended=progress.holds_ended,
                done=progress.done_at_ms is not None,
            )
        )

    decision = Decision("cancel_event", partitions, decide, render, may_use_reserve=True)
    return await commit(services, call, decision)


async def delete_operator_event(services: Services, call: AnyCall) -> Reply:
    """204. Refuses EVENT_NOT_FOUND, ORDER_EXISTS, SEATS_TAKEN."""
    event_id = EventId(call.path_id("event_id", ErrorCode.EVENT_NOT_FOUND))
    command = DeleteEvent(event_id)
    decide = audited(
        call,
        ("event.delete", str(event_id)),
        partial(delete_event, command=command),
        lambda _: NOTHING_TOLD,
    )
    partitions = event_command_partitions(event_id)
    decision = Decision("delete_event", partitions, decide, lambda _: no_content(), may_use_reserve=True)
    return await commit(services, call, decision)


async def block_event_seats(services: Services, call: Call[SeatsBody]) -> Reply:
    """200 with how many seats were taken off the sale. Refuses what ``block_seats`` refuses."""
    return await _move_seats(services, call, "seats.block", block_seats)


async def unblock_event_seats(services: Services, call: Call[SeatsBody]) -> Reply:
    """200 with how many seats are on sale again. Refuses what ``unblock_seats`` refuses."""
    return await _move_seats(services, call, "seats.unblock", unblock_seats)


def stored_events(view: Reader) -> list[tuple[EventRecord, SaleRecord]]:
    """All events that there are, in the order of their ids."""
    found: list[tuple[EventRecord, SaleRecord]] = []
    for event_id in list_events(view):
        partition = event_partition(event_id)
        event, sale = EVENT.get(view, partition), SALE.get(view, partition)
        if event is not None and sale is not None:
            found.append((event, sale))
    return found


def seat_counts(total: CountRecord) -> SeatCounts:
    """Counts as they are told."""
    return SeatCounts(available=total.free, reserved=total.held, sold=total.sold, blocked=total.blocked)


def _listed(view: Snapshot, event: EventRecord, sale: SaleRecord) -> OperatorEvent:
    total = load_total(view, event.event_id)
    return OperatorEvent(
        event_id=event.event_id,
        name=event.name,
        venue=event.venue.name,
        city=event.venue.city,
        date=time_text(sale.date_ms),
        status=sale_phase(sale, total, view.now_ms).value,
        seats=seat_counts(total),
    )


async def _read_file(raw: bytes, event_id: UUID | None) -> EventPlan:
    read = partial(parse_event_file, raw, event_id=event_id)
    try:
        if len(raw) <= _LONG_FILE_BYTES:
            return read()
        return await trio.to_thread.run_sync(read)
    except EventFileInvalid as invalid:
        faults = [{"where": fault.where, "message": fault.message} for fault in invalid.faults]
        raise Refusal(
            ErrorCode.INVALID_REQUEST,
            "The event file has faults.",
            details={"faults": faults, "more": invalid.more},
        ) from None


def _write_file(plan: EventPlan) -> bytes:
    return encode_json(plan_to_document(plan))


async def _put(services: Services, call: AnyCall, plan: EventPlan) -> Reply:
    event_id = EventId(plan.event_id)
    decide = audited(
        call,
        ("event.put", str(event_id)),
        partial(put_event, command=PutEvent(plan)),
        lambda put: (
            None
            if put.outcome is PutOutcome.UNCHANGED
            else {
                "outcome": put.outcome.value,
                "name": plan.name,
                "seats_added": put.seats_added,
                "seats_removed": put.seats_removed,
            }
        ),
    )
    partitions = event_command_partitions(event_id)
    return await commit(services, call, Decision("put_event", partitions, decide, _put_reply))


def _put_reply(put: PutEventResult) -> Reply:
    body = EventPutAnswer(
        event_id=put.event_id,
        outcome=put.outcome.value,
        seats=put.seats,
        seats_added=put.seats_added,
        seats_removed=put.seats_removed,
    )
    if put.outcome is not PutOutcome.CREATED:
        return answer(body)
    return answer(body, status=201, headers=(("Location", f"/v1/operator/events/{put.event_id}"),))


async def _move_seats(
    services: Services,
    call: Call[SeatsBody],
    action: str,
    move: Callable[[Transaction, BlockSeats], int],
) -> Reply:
    event_id = EventId(call.path_id("event_id", ErrorCode.EVENT_NOT_FOUND))
    with services.engine.snapshot(event_partition(event_id)) as view:
        if EVENT.get(view, event_partition(event_id)) is None:
            raise Refusal(ErrorCode.EVENT_NOT_FOUND, details={"event_id": str(event_id)})
    seats = _seat_numbers(event_id, call.body.seat_ids)
    named = [str(seat) for seat in call.body.seat_ids[:_SEATS_TOLD]]
    decide = audited(
        call,
        (action, str(event_id)),
        lambda tx: move(tx, BlockSeats(event_id, seats)),
        lambda changed: {"changed": changed, "seat_ids": named} if changed else None,
    )
    partitions = event_command_partitions(event_id)

    def render(changed: int) -> Reply:
        return answer(SeatsAnswer(event_id=event_id, changed=changed))

    return await commit(services, call, Decision(action, partitions, decide, render))


_SEATS_TOLD: Final = 100
"""So many seats are named in an audit record."""


def _seat_numbers(event_id: EventId, seat_ids: list[UUID]) -> tuple[SeatNumber, ...]:
    if len(set(seat_ids)) != len(seat_ids):
        problem = "a seat is named more than once"
        raise Refusal(ErrorCode.INVALID_REQUEST, details={"field": "seat_ids", "problem": problem})
    numbers = [(seat, seat_number_of(event_id, seat)) for seat in seat_ids]
    unknown = [str(seat) for seat, number in numbers if number is None]
    if unknown:
        raise Refusal(ErrorCode.SEAT_NOT_FOUND, details={"seat_ids": unknown})
    return tuple(number for _, number in numbers if number is not None)
