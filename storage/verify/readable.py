"""Invariants of form: every key and record of a partition is one that its table knows.

True of a partition in which nothing is found here: each key belongs to a table that may stand there, has the parts that
the table says, and names its record; each record can be read by this release. Every other invariant relies on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from storage.engine import Key, Partition, Reader
from storage.keys import Part, partition_prefix, unpack_parts
from storage.schema.layout import (
    ADMISSIONS,
    API_KEYS,
    ASKED_REFUNDS,
    AUDIT,
    BARCODES,
    BUYER_ORDERS,
    BUYER_TICKETS,
    BUYER_TRANSFERS,
    CANCELLATION,
    COUNTS,
    CUSTOMERS,
    DISPUTES,
    DRAW,
    DRAWN_LEFT,
    DRAWN_ORDER,
    DRAWN_RANKS,
    DUE_ENTRIES,
    DUE_HOOKS,
    DUE_MAILS,
    DUE_ORDERS,
    DUE_OUTCOMES,
    DUE_RESERVATIONS,
    DUE_TRANSFERS,
    ENTRIES,
    EVENT,
    EVENT_IDS,
    EVENT_OF_ORDER,
    EVENT_OF_TRANSFER,
    HEARTBEAT,
    LAPSES,
    LAPSES_DUE,
    LEDGER_SINCE,
    LINE,
    LIVE_BY_ADDRESS,
    LIVE_BY_DEVICE,
    LIVE_BY_USER,
    LOBBY,
    MAILS,
    MOVEMENT_SUMS,
    MOVEMENT_TIMES,
    MOVEMENTS,
    OPENINGS,
    ORDERS,
    OUTCOMES,
    PAYMENT_METHODS,
    PRESALE_JOINS,
    PURCHASES,
    RECEIPTS,
    REFUNDS,
    RESERVATIONS,
    ROOM,
    ROW_PLANS,
    ROWS,
    SALE,
    SECTIONS,
    SEEN_HOOKS,
    SIGNING_KEYS,
    TICKETS,
    TOTAL,
    TRANSFERS,
)
from storage.schema.tables import Index, RecordUnreadable, Table
from storage.verify.contents import told
from storage.verify.problem import Problem

R = TypeVar("R")

CHANGE_LOG: Final = 0
"""The number under which the engine keeps its change log, in every partition."""

_PRESENT: Final = b"\x01"


@dataclass(frozen=True, slots=True)
class Stored:
    """What the keys and the values of one table look like. ``read`` refuses an unreadable value (RecordUnreadable) and
    answers the key that a record says it has, None where it says none."""

    number: int
    name: str
    parts: tuple[type, ...]
    read: Callable[[bytes], tuple[Part, ...] | None]


def records(table: Table[R], *parts: type, named: Callable[[R], tuple[Part, ...]] | None = None) -> Stored:
    """A table's form: the types of its key's parts, and the key that a record says it has."""

    def read(value: bytes) -> tuple[Part, ...] | None:
        if not value:
            raise RecordUnreadable(f"{table.name}: the value is empty")
        record = table.decode(value)
        return None if named is None else named(record)

    return Stored(table.number, table.name, parts, read)


def tuples(index: Index, *parts: type) -> Stored:
    """An index's form: the types of its parts."""

    def read(value: bytes) -> None:
        if value != _PRESENT:
            raise RecordUnreadable(f"{index.name}: a tuple has a value")

    return Stored(index.number, index.name, parts, read)


_OUTCOMES: Final = (records(OUTCOMES, bytes), tuples(DUE_OUTCOMES, int, bytes))

EVENT_TABLES: Final = {
    stored.number: stored
    for stored in (
        records(EVENT),
        records(SALE),
        records(SECTIONS, int),
        records(ROW_PLANS, int),
        records(ROWS, int),
        records(COUNTS, int, int),
        records(TOTAL),
        records(RESERVATIONS, UUID, named=lambda hold: (hold.reservation_id,)),
        tuples(DUE_RESERVATIONS, int, UUID),
        records(PURCHASES, UUID),
        records(OPENINGS, int),
        records(ROOM),
        records(ENTRIES, UUID, named=lambda entry: (entry.entry_id,)),
        records(LINE, int),
        records(LIVE_BY_USER, UUID),
        tuples(LIVE_BY_DEVICE, bytes, UUID),
        tuples(DUE_ENTRIES, int, UUID),
        records(ADMISSIONS, int),
        records(PRESALE_JOINS, str),
        records(LOBBY, int),
        records(DRAW),
        records(DRAWN_ORDER, int),
        records(DRAWN_RANKS, int),
        tuples(DRAWN_LEFT, int),
        records(LAPSES, bytes),
        tuples(LIVE_BY_ADDRESS, bytes, UUID),
        tuples(LAPSES_DUE, int, bytes),
        records(ORDERS, UUID, named=lambda order: (order.order_id,)),
        tuples(DUE_ORDERS, int, UUID),
        records(REFUNDS, UUID, UUID, named=lambda refund: (refund.order_id, refund.refund_id)),
        tuples(ASKED_REFUNDS, UUID, UUID),
        records(TICKETS, UUID, named=lambda ticket: (ticket.ticket_id,)),
        records(BARCODES, str),
        records(RECEIPTS, str, str, str),
        records(DISPUTES, UUID, str, named=lambda dispute: (dispute.order_id, dispute.dispute_ref)),
        records(CANCELLATION),
        records(TRANSFERS, UUID, named=lambda transfer: (transfer.transfer_id,)),
        tuples(DUE_TRANSFERS, int, UUID),
        records(MAILS, UUID, named=lambda mail: (mail.mail_id,)),
        tuples(DUE_MAILS, int, UUID),
        records(MOVEMENTS, UUID, int, named=lambda movement: (movement.order_id, movement.number)),
        tuples(MOVEMENT_TIMES, int, UUID, int),
        records(MOVEMENT_SUMS, str, str),
        *_OUTCOMES,
    )
}
BUYER_TABLES: Final = {
    stored.number: stored
    for stored in (
        records(PAYMENT_METHODS, UUID, named=lambda method: (method.payment_method_id,)),
        records(BUYER_ORDERS, UUID),
        records(BUYER_TICKETS, UUID),
        records(BUYER_TRANSFERS, UUID),
        records(CUSTOMERS, str),
        *_OUTCOMES,
    )
}
SYSTEM_TABLES: Final = {
    stored.number: stored
    for stored in (
        tuples(EVENT_IDS, UUID),
        records(API_KEYS, str, named=lambda key: (key.key_id,)),
        records(SIGNING_KEYS, str, str, named=lambda key: (key.kind, key.kid)),
        records(AUDIT, int, UUID, named=lambda deed: (deed.at_ms, deed.audit_id)),
        records(EVENT_OF_ORDER, UUID),
        records(EVENT_OF_TRANSFER, UUID),
        records(SEEN_HOOKS, bytes),
        tuples(DUE_HOOKS, int, bytes),
        records(HEARTBEAT),
        records(LEDGER_SINCE),
        *_OUTCOMES,
    )
}


def check_records(
    reader: Reader, partition: Partition, where: str, tables: Mapping[int, Stored]
) -> Iterator[Problem]:
    """Every key of a partition belongs to one of ``tables``, or to the change log, and every record can be read."""
    prefix = partition_prefix(partition)
    for key, value in reader.scan(Key(prefix), Key(prefix + b"\xff")):
        try:
            number, *parts = unpack_parts(key)
        except ValueError:
            yield Problem(invariant="key-form", where=f"{where}, key {key.hex()}", text="it is no key")
            continue
        if number == CHANGE_LOG and len(parts) == 1 and isinstance(parts[0], int):
            continue
        stored = tables.get(number) if isinstance(number, int) else None
        if stored is None:
            text = f"nothing with the number {told((number,))} belongs here"
            yield Problem(invariant="table-known", where=f"{where}, key {key.hex()}", text=text)
            continue
        yield from _check_record(stored, tuple(parts), value, where)


def _check_record(stored: Stored, parts: tuple[Part, ...], value: bytes, where: str) -> Iterator[Problem]:
    at = f"{where}, {stored.name} {told(parts)}"
    if tuple(map(type, parts)) != stored.parts:
        yield Problem(invariant="key-form", where=at, text="its key has other parts than those of its table")
        return
    try:
        named = stored.read(value)
    except RecordUnreadable as error:
        yield Problem(invariant="record-readable", where=at, text=str(error))
        return
    if named is not None and named != parts:
        yield Problem(
            invariant="key-names-record", where=at, text=f"the record says that it is {told(named)}"
        )
