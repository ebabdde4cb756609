"""The whole store, partition by partition: which invariants are looked at where.

At most one event is in memory at a time. A partition with a record that cannot be read is not looked at any further.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from typing import Final
from uuid import UUID

from storage.change_log import read_high_water_ms
from storage.engine import Key, Partition, Reader
from storage.keys import MAX_INT, key_range
from storage.partitions import partitions, stray_keys
from storage.schema.ids import EventId, UserId
from storage.schema.layout import BUYER_PREFIX, SYSTEM, buyer_partition, event_of, event_partition
from storage.schema.tables import RecordUnreadable
from storage.verify import disputes, draws, hoarding, ledger, orders, plan, refunds, room, seats, tickets
from storage.verify.change_log import check_change_log
from storage.verify.contents import EventContents
from storage.verify.problem import Problem
from storage.verify.readable import (
    BUYER_TABLES,
    CHANGE_LOG,
    EVENT_TABLES,
    SYSTEM_TABLES,
    Stored,
    check_records,
)
from storage.verify.system import (
    check_buyer_finds,
    check_found_by_id,
    check_listed_events,
    check_outcomes,
    check_payment_methods,
    check_seen_events,
)

EventCheck = Callable[[EventContents], Iterator[Problem]]

EVENT_CHECKS: Final[tuple[EventCheck, ...]] = (
    plan.check_event_is_whole,
    plan.check_sections,
    plan.check_row_plans,
    plan.check_openings,
    seats.check_rows,
    seats.check_seat_owners,
    seats.check_holds_have_seats,
    seats.check_orders_have_seats,
    seats.check_counts,
    seats.check_holds,
    seats.check_due_holds,
    seats.check_purchases,
    seats.check_purchase_limit,
    room.check_entries,
    room.check_room_counters,
    room.check_line,
    draws.check_lobby,
    draws.check_draw,
    draws.check_order,
    room.check_live_places,
    room.check_due_entries,
    room.check_admissions,
    room.check_active,
    hoarding.check_live_by_address,
    hoarding.check_lapses,
    orders.check_order_money,
    orders.check_refunds,
    orders.check_order_states,
    orders.check_one_order_a_hold,
    orders.check_due_orders,
    orders.check_orders_are_found,
    ledger.check_movements,
    ledger.check_movement_sums,
    ledger.check_ledger_fits_orders,
    ledger.check_currency_sums,
    ledger.check_movement_times,
    refunds.check_refunds_of_orders,
    refunds.check_asked_refunds,
    refunds.check_refunds_in_ledger,
    disputes.check_disputes,
    disputes.check_cancellation,
    tickets.check_tickets_of_orders,
    tickets.check_ticket_lines,
    tickets.check_transfer_states,
    tickets.check_barcodes,
    tickets.check_due_transfers,
    tickets.check_due_mails,
    tickets.check_tickets_are_found,
)
"""All that must be true of an event whose records can be read."""

_BUYER_NAME_BYTES: Final = len(BUYER_PREFIX) + 16
_LONGEST_NAME_BYTES: Final = 64
_AFTER_ALL_KEYS: Final = b"\xff" * 512


def verify_store(reader: Reader) -> Iterator[Problem]:
    """Everything that is wrong in the whole store. ``reader`` is a snapshot that can read all partitions."""
    yield from _check_stray_keys(reader)
    for partition in partitions(reader):
        yield from _verify_partition(reader, partition)


def verify_event(reader: Reader, event_id: EventId) -> Iterator[Problem]:
    """Everything that is wrong with one event, also where its buyers and the system keep what leads to it."""
    partition = event_partition(event_id)
    readable = yield from _check_form(reader, partition, f"event {event_id}", EVENT_TABLES)
    if readable and _has_records(reader, partition):
        contents = EventContents(reader, event_id)
        for check in EVENT_CHECKS:
            yield from _as_far_as_readable(check(contents))


def verify_buyer(reader: Reader, user_id: UserId) -> Iterator[Problem]:
    """Everything that is wrong with what a buyer has outside the events."""
    readable = yield from _check_form(reader, buyer_partition(user_id), f"buyer {user_id}", BUYER_TABLES)
    if readable:
        yield from check_payment_methods(reader, user_id)
        yield from _as_far_as_readable(check_buyer_finds(reader, user_id))


def verify_system(reader: Reader) -> Iterator[Problem]:
    """Everything that is wrong with what belongs to no event and no buyer."""
    readable = yield from _check_form(reader, SYSTEM, "system", SYSTEM_TABLES)
    if readable:
        yield from _as_far_as_readable(check_listed_events(reader))
        yield from _as_far_as_readable(check_found_by_id(reader))
        yield from _as_far_as_readable(check_seen_events(reader))


def _verify_partition(reader: Reader, partition: Partition) -> Iterator[Problem]:
    event_id = event_of(partition)
    if event_id is not None:
        yield from verify_event(reader, event_id)
    elif partition == SYSTEM:
        yield from verify_system(reader)
    elif partition[:1] == BUYER_PREFIX and len(partition) == _BUYER_NAME_BYTES:
        yield from verify_buyer(reader, UserId(UUID(bytes=bytes(partition[1:]))))
    else:
        text = "it is neither an event's, nor a buyer's, nor the system's"
        yield Problem(invariant="partition-known", where=f"partition {partition.hex()}", text=text)


def _check_form(
    reader: Reader, partition: Partition, where: str, tables: Mapping[int, Stored]
) -> Generator[Problem, None, bool]:
    """What every partition has in common; answers whether all its records can be read."""
    readable = True
    for problem in check_records(reader, partition, where, tables):
        readable = False
        yield problem
    yield from check_change_log(reader, partition, where, read_high_water_ms(reader))
    if readable:
        yield from check_outcomes(reader, partition, where)
    return readable


def _as_far_as_readable(problems: Iterator[Problem]) -> Iterator[Problem]:
    """Problems up to where one of another partition's records cannot be read: that one is named where it lies."""
    with suppress(RecordUnreadable):
        yield from problems


def _has_records(reader: Reader, partition: Partition) -> bool:
    """Whether there is more than a change log, which is all that is left of an event that was deleted."""
    lo, hi = key_range(partition, (CHANGE_LOG + 1,), (MAX_INT,))
    return next(reader.scan(lo, hi, limit=1), None) is not None


def _check_stray_keys(reader: Reader) -> Iterator[Problem]:
    """Every key begins with the length of a partition's name."""
    for lo, hi in ((b"\x00", b"\x01"), (bytes((_LONGEST_NAME_BYTES + 1,)), _AFTER_ALL_KEYS)):
        for key, _ in reader.scan(Key(lo), Key(hi)):
            yield _no_partition(key, "it begins with no partition's name")
    for key in stray_keys(reader):
        yield _no_partition(key, "it is cut off in its partition's name, or lies behind that partition's end")


def _no_partition(key: Key, text: str) -> Problem:
    return Problem(invariant="key-has-partition", where=f"key {key.hex()}", text=text)
