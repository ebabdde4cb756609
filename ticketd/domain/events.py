"""Events as an operator makes them: put, deleted, and told again as their plan.

True here: an event is put whole or not at all; a seat that is held or sold never goes away; the counts are exact after
each change, since they are made anew from the rows. What a plan may say is the event file's; how an event is cancelled
is in ``event_cancellation``.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from storage.engine import MAX_VALUE_BYTES, Key, Partition, Reader, Transaction
from storage.keys import key_range
from storage.schema.events import EventDeleted, EventPut
from storage.schema.ids import EventId, RowKey, SeatNumber, seat_number
from storage.schema.layout import (
    COUNTS,
    EVENT,
    EVENT_IDS,
    EVENT_OF_ORDER,
    OPENINGS,
    ORDERS,
    ROW_PLANS,
    ROWS,
    SALE,
    SECTIONS,
    SYSTEM,
    TOTAL,
    event_partition,
)
from storage.schema.records import CountRecord, OrderRecord, RowPlanRecord, RowRecord
from storage.schema.states import OrderState, PaymentState, SeatState
from ticketd.domain.best_seats import openings_of, pack_openings
from ticketd.domain.draws import has_lobby, prepare_draw
from ticketd.domain.event_records import StoredEvent, load_event, plan_of, records_of
from ticketd.domain.sales import load_sale, load_total
from ticketd.domain.seat_rows import MAX_TIERS, RowShape, SeatRow
from ticketd.domain.seats import public_ids
from ticketd.errors import ErrorCode, Refusal
from ticketd.event_file.plan import EventPlan
from ticketd.ids import new_seed

MAX_SEATS_TOLD: Final = 100
"""So many seats are named in a refusal; all of them are counted."""

_TABLES: Final = (1,), (1001,)  # all tables of a partition; below them lies the engine's own

_SETTLED: Final = frozenset({PaymentState.VOIDED, PaymentState.REFUNDED, PaymentState.FAILED})

_OWNED_SEAT_BYTES: Final = 24
_ROW_RECORD_BYTES: Final = 64


class PutEvent(msgspec.Struct, frozen=True):
    """An operator puts an event: a new one, or another plan for one that there is. ``draw_seed`` is for a lobby whose
    draw was never prepared."""

    plan: EventPlan
    draw_seed: bytes = msgspec.field(default_factory=new_seed)


class DeleteEvent(msgspec.Struct, frozen=True):
    """An operator deletes an event with everything in it."""

    event_id: EventId


class PutOutcome(StrEnum):
    """What putting an event did."""

    CREATED = "created"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"


class PutEventResult(msgspec.Struct, frozen=True, kw_only=True):
    """What putting an event did; ``seats`` counts those it has now."""

    event_id: EventId
    outcome: PutOutcome
    seats: int
    seats_added: int
    seats_removed: int


class Recount(NamedTuple):
    """What is counted of an event's seats: by (section_key, tier), over all, and the openings by section_key."""

    counts: dict[tuple[int, int], CountRecord]
    total: CountRecord
    openings: dict[int, bytes]


def event_command_partitions(event_id: EventId) -> tuple[Partition, ...]:
    """The partitions of a command that puts or deletes an event."""
    return event_partition(event_id), SYSTEM


def put_event(tx: Transaction, command: PutEvent) -> PutEventResult:
    """Makes the event what the plan says; a plan that says what is stored already changes nothing and tells nobody.

    Seats that stay keep their ids, states and owners, also if their tier changes; a hold keeps the prices at which it
    was made. Refuses, in this order: INVALID_REQUEST with ``problem`` if the plan is too large to be stored;
    SEATS_TAKEN if the currency would change while seats are held or sold; SEATS_TAKEN if seats that are held or sold
    would go away, with ``count`` and the first 100 as ``seat_ids`` and ``seats`` ("Section/Row/Number").
    """
    event_id = EventId(command.plan.event_id)
    old = load_event(tx, event_id)
    new = records_of(command.plan, old)
    seats = command.plan.seat_count
    if old == new:
        return PutEventResult(
            event_id=event_id, outcome=PutOutcome.UNCHANGED, seats=seats, seats_added=0, seats_removed=0
        )
    _require_storable(new)
    states = _row_records(tx, event_id)
    removed: dict[RowKey, set[int]] = {}
    if old is not None:
        _require_same_money(tx, old, new)
        removed = _removed_positions(old, new)
        _require_unsold(old, removed, states)

    _write_plan(tx, old, new)
    _forget_seats(tx, event_id, new, removed, states)
    _write_counts(tx, event_id, recount(tx, event_id, new))
    if has_lobby(new.sale):
        prepare_draw(tx, event_id, command.draw_seed)
    EVENT_IDS.add(tx, SYSTEM, event_id)
    tx.emit(event_partition(event_id), EventPut(event_id=event_id))
    seats_removed = sum(map(len, removed.values()))
    seats_before = 0 if old is None else sum(len(row.seats) for row in old.rows.values())
    return PutEventResult(
        event_id=event_id,
        outcome=PutOutcome.CREATED if old is None else PutOutcome.REPLACED,
        seats=seats,
        seats_added=seats - (seats_before - seats_removed),
        seats_removed=seats_removed,
    )


def delete_event(tx: Transaction, command: DeleteEvent) -> None:
    """Deletes an event of which nothing was ever sold, with its room, its ended holds and its payments that failed.

    Refuses, in this order: EVENT_NOT_FOUND; ORDER_EXISTS with ``order_id`` if it has an order that has not FAILED, or
    one that has while its buyer could see it, that moved money, or whose money is not settled yet; SEATS_TAKEN with
    ``held`` if seats are held.
    """
    event_id, partition = command.event_id, event_partition(command.event_id)
    load_sale(tx, event_id)
    for _, order in ORDERS.scan(tx, partition):
        if not _came_to_nothing(tx, order):
            told = {"order_id": str(order.order_id)}
            raise Refusal(ErrorCode.ORDER_EXISTS, "This event has orders.", details=told)
    held = load_total(tx, event_id).held
    if held:
        raise Refusal(ErrorCode.SEATS_TAKEN, details={"held": held})
    lo, hi = key_range(partition, *_TABLES)
    keys: list[Key] = [key for key, _ in tx.scan(lo, hi)]
    for key in keys:
        tx.delete(key)
    EVENT_IDS.remove(tx, SYSTEM, event_id)
    tx.emit(partition, EventDeleted(event_id=event_id))


def _came_to_nothing(tx: Transaction, order: OrderRecord) -> bool:
    """Whether an order is a payment that failed, that its buyer never saw as an order, and that never moved money."""
    seen = EVENT_OF_ORDER.get(tx, SYSTEM, order.order_id) is not None
    return (
        order.state is OrderState.FAILED
        and order.payment_state in _SETTLED
        and not seen
        and not order.movements
    )


def event_plan(reader: Reader, event_id: EventId) -> EventPlan:
    """The plan of an event as it was imported last. Refuses EVENT_NOT_FOUND."""
    stored = load_event(reader, event_id)
    if stored is None:
        raise Refusal(ErrorCode.EVENT_NOT_FOUND, details={"event_id": str(event_id)})
    return plan_of(stored)


def recount(reader: Reader, event_id: EventId, stored: StoredEvent) -> Recount:
    """Counts the seats of an event anew, from its plan and the states of its rows."""
    counted: dict[tuple[int, int], list[int]] = {}
    openings: dict[int, bytes] = {}
    states = _row_records(reader, event_id)
    for section_key, section in stored.sections.items():
        rows = [SeatRow(key, RowShape(stored.rows[key]), states.get(key)) for key in section.row_keys]
        for row in rows:
            for position in row.order:
                group = counted.setdefault((section_key, row.tiers[position]), [0] * len(SeatState))
                group[row.states[position]] += 1
        openings[section_key] = pack_openings(map(openings_of, rows))
    counts = {group: _count(in_state) for group, in_state in counted.items()}
    total = _count(
        [sum(in_state) for in_state in zip(*counted.values(), strict=True)] or [0] * len(SeatState)
    )
    return Recount(counts, total, openings)


def _count(in_state: list[int]) -> CountRecord:
    free, held, sold, blocked = in_state
    return CountRecord(free=free, held=held, sold=sold, blocked=blocked)


def _row_records(reader: Reader, event_id: EventId) -> dict[RowKey, RowRecord]:
    rows = ROWS.scan(reader, event_partition(event_id))
    return {RowKey(key): record for (key,), record in rows if isinstance(key, int)}


# --- what may not be put --------------------------------------------------------------------------------------------


def _require_storable(new: StoredEvent) -> None:
    """Refuses a plan of which a record would be larger than the store takes."""
    for problem in _too_large(new):
        raise Refusal(ErrorCode.INVALID_REQUEST, details={"problem": problem})


def _too_large(new: StoredEvent) -> Iterator[str]:
    if len(new.sale.tiers) > MAX_TIERS:
        yield f"an event has at most {MAX_TIERS} tiers"
    if len(EVENT.encode(new.event)) > MAX_VALUE_BYTES:
        yield "the texts of the event take more than 64 KiB together"
    if len(SALE.encode(new.sale)) > MAX_VALUE_BYTES:
        yield "the tiers and presale codes take more than 64 KiB together"
    for section in new.sections.values():
        if len(SECTIONS.encode(section)) > MAX_VALUE_BYTES:
            yield f"section {section.name} has too many rows: its record would be larger than 64 KiB"
        for row in map(new.rows.__getitem__, section.row_keys):
            owned_bytes = _ROW_RECORD_BYTES + row.slots + _OWNED_SEAT_BYTES * len(row.seats)
            if max(len(ROW_PLANS.encode(row)), owned_bytes) > MAX_VALUE_BYTES:
                yield (
                    f"section {section.name}, row {row.label} has, or has had, too many seats: "
                    "its record would be larger than 64 KiB"
                )


def _require_same_money(tx: Transaction, old: StoredEvent, new: StoredEvent) -> None:
    total = load_total(tx, old.event.event_id)
    if old.sale.currency != new.sale.currency and total.held + total.sold:
        reason = "The currency cannot change while seats are held or sold"
        raise Refusal(
            ErrorCode.SEATS_TAKEN,
            f"{reason}.",
            details={"held": total.held, "sold": total.sold, "reason": reason},
        )


def _removed_positions(old: StoredEvent, new: StoredEvent) -> dict[RowKey, set[int]]:
    """The seats that are in the old plan alone, by row."""
    removed: dict[RowKey, set[int]] = {}
    for row_key, row in old.rows.items():
        stays = new.rows.get(row_key)
        gone = _positions(row) - (set() if stays is None else _positions(stays))
        if gone:
            removed[row_key] = gone
    return removed


def _positions(row: RowPlanRecord) -> set[int]:
    return {seat.position for seat in row.seats}


def _require_unsold(
    old: StoredEvent, removed: dict[RowKey, set[int]], states: dict[RowKey, RowRecord]
) -> None:
    kept: list[SeatNumber] = []
    names: list[str] = []
    for row_key, positions in removed.items():
        # A seat has an owner exactly while it is held or sold.
        owners = states[row_key].owners if row_key in states else {}
        row = old.rows[row_key]
        for seat in row.seats:
            if seat.position in positions and seat.position in owners:
                kept.append(seat_number(row_key, seat.position))
                names.append(f"{old.sections[row.section_key].name}/{row.label}/{seat.number}")
    if kept:
        raise Refusal(
            ErrorCode.SEATS_TAKEN,
            "Seats that are held or sold would go away.",
            details={
                "seat_ids": public_ids(old.event.event_id, kept[:MAX_SEATS_TOLD]),
                "seats": names[:MAX_SEATS_TOLD],
                "count": len(kept),
                "reason": "Held or sold",
            },
        )


# --- writing --------------------------------------------------------------------------------------------------------


def _write_plan(tx: Transaction, old: StoredEvent | None, new: StoredEvent) -> None:
    """Writes the records that differ, and removes those that the new plan does not have."""
    partition = event_partition(new.event.event_id)
    if old is None or old.event != new.event:
        EVENT.put(tx, new.event, partition)
    if old is None or old.sale != new.sale:
        SALE.put(tx, new.sale, partition)
    old_sections, old_rows = ({}, {}) if old is None else (old.sections, old.rows)
    for section_key, section in new.sections.items():
        if old_sections.get(section_key) != section:
            SECTIONS.put(tx, section, partition, section_key)
    for row_key, row in new.rows.items():
        if old_rows.get(row_key) != row:
            ROW_PLANS.put(tx, row, partition, row_key)
    for section_key in old_sections.keys() - new.sections.keys():
        SECTIONS.delete(tx, partition, section_key)
    for row_key in old_rows.keys() - new.rows.keys():
        ROW_PLANS.delete(tx, partition, row_key)


def _forget_seats(
    tx: Transaction,
    event_id: EventId,
    new: StoredEvent,
    removed: dict[RowKey, set[int]],
    states: dict[RowKey, RowRecord],
) -> None:
    """Takes the states of removed seats out of their rows: a position without a seat reads as AVAILABLE."""
    partition = event_partition(event_id)
    for row_key in removed.keys() & states.keys():
        if row_key not in new.rows:
            ROWS.delete(tx, partition, row_key)
            continue
        row = states[row_key]
        kept = bytearray(row.states)
        for position in removed[row_key]:
            if position < len(kept):
                kept[position] = SeatState.AVAILABLE
        ROWS.put(tx, RowRecord(states=bytes(kept), owners=row.owners), partition, row_key)


def _write_counts(tx: Transaction, event_id: EventId, made: Recount) -> None:
    """Writes what was counted, and removes the counts of what is no longer there."""
    partition = event_partition(event_id)
    counts_before = dict(COUNTS.scan(tx, partition))
    for group, count in made.counts.items():
        if counts_before.get(group) != count:
            COUNTS.put(tx, count, partition, *group)
    for parts in counts_before.keys() - made.counts.keys():
        COUNTS.delete(tx, partition, *parts)
    openings_before = dict(OPENINGS.scan(tx, partition))
    for section_key, packed in made.openings.items():
        if openings_before.get((section_key,)) != packed:
            OPENINGS.put(tx, packed, partition, section_key)
    for parts in openings_before.keys() - {(key,) for key in made.openings}:
        OPENINGS.delete(tx, partition, *parts)
    TOTAL.put(tx, made.total, partition)
