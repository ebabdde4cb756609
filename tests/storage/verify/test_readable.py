"""Faults planted in the form of keys and records."""

from __future__ import annotations

from uuid import UUID

import pytest

from storage.engine import Key
from storage.keys import pack_key, partition_prefix
from storage.partitions import partitions
from storage.schema import layout
from storage.schema.layout import (
    BUYER_PREFIX,
    DUE_ORDERS,
    ENTRIES,
    EVENT_IDS,
    LINE,
    ORDERS,
    PAYMENT_METHODS,
    ROOM,
    SYSTEM,
)
from storage.schema.states import EntryState, OrderState
from storage.schema.tables import Index, Table
from storage.verify.readable import BUYER_TABLES, EVENT_TABLES, SYSTEM_TABLES
from tests.storage.verify.good_store import Damage

UNKNOWN = UUID(int=0xBAD)


def test_every_table_of_the_layout_is_known() -> None:
    laid_out = {(kept.number, kept.name) for kept in vars(layout).values() if isinstance(kept, Table | Index)}
    known = (*EVENT_TABLES.values(), *BUYER_TABLES.values(), *SYSTEM_TABLES.values())
    assert {(stored.number, stored.name) for stored in known} == laid_out


def test_the_good_store_has_something_in_nearly_every_table(damage: Damage) -> None:
    numbers = set()
    for partition in partitions(damage.tx):
        prefix = partition_prefix(partition)
        for key, _ in damage.tx.scan(Key(prefix), Key(prefix + b"\xff")):
            at = len(prefix) + 1
            numbers.add(int.from_bytes(key[at : at + 8], "big"))
    empty = {*EVENT_TABLES, *BUYER_TABLES, *SYSTEM_TABLES} - numbers
    drawn = {layout.DRAWN_ORDER.number, layout.DRAWN_RANKS.number, layout.DRAWN_LEFT.number}
    refunded = {layout.REFUNDS.number, layout.ASKED_REFUNDS.number}
    told = {layout.SEEN_HOOKS.number, layout.DUE_HOOKS.number, layout.RECEIPTS.number}
    ended = {layout.DISPUTES.number, layout.CANCELLATION.number}
    assert empty == {layout.PRESALE_JOINS.number, layout.HEARTBEAT.number, *drawn, *refunded, *told, *ended}


@pytest.mark.parametrize("number", [999, PAYMENT_METHODS.number, 1001])
def test_a_number_that_no_table_of_an_event_has(damage: Damage, number: int) -> None:
    damage.tx.put(pack_key(damage.event, number, UNKNOWN), b"\x01")
    assert damage.found() == ["table-known"]


def test_a_key_that_begins_with_no_number(damage: Damage) -> None:
    damage.tx.put(pack_key(SYSTEM, "events"), b"\x01")
    assert damage.found() == ["table-known"]


def test_a_table_of_events_among_a_buyers_things(damage: Damage) -> None:
    partition = next(partitions(damage.tx, BUYER_PREFIX))
    DUE_ORDERS.add(damage.tx, partition, 1, UNKNOWN)
    assert damage.found() == ["table-known"]


@pytest.mark.parametrize("key", [pack_key(SYSTEM, 1)[:-1], Key(partition_prefix(SYSTEM) + b"\x77")])
def test_a_key_that_is_none(damage: Damage, key: Key) -> None:
    damage.tx.put(key, b"\x01")
    assert damage.found() == ["key-form"]


@pytest.mark.parametrize("parts", [(), ("one",), (UNKNOWN, UNKNOWN)])
def test_a_key_with_other_parts_than_its_table_has(damage: Damage, parts: tuple[str | UUID, ...]) -> None:
    damage.tx.put(pack_key(SYSTEM, EVENT_IDS.number, *parts), b"\x01")
    assert damage.found() == ["key-form"]


@pytest.mark.parametrize("value", [b"", b"\x02\x80", b"\x01", b"\x01\x90", b"\xff" * 40])
def test_a_record_that_cannot_be_read(damage: Damage, value: bytes) -> None:
    damage.tx.put(ROOM.key(damage.event), value)
    assert damage.found() == ["record-readable"]


def test_a_record_in_a_state_that_is_none(damage: Damage) -> None:
    order = damage.find(ORDERS, state=OrderState.CONFIRMED)
    key = ORDERS.key(damage.event, order.order_id)
    stored = damage.tx.get(key)
    assert stored is not None
    damage.tx.put(key, stored.replace(b"CONFIRMED", b"CONFIRMES"))
    assert damage.found() == ["record-readable"]


def test_a_tuple_with_a_value(damage: Damage) -> None:
    damage.tx.put(EVENT_IDS.key(SYSTEM, damage.event_id), b"\x02")
    assert damage.found() == ["record-readable"]


def test_a_record_under_the_key_of_another(damage: Damage) -> None:
    order = damage.find(ORDERS, state=OrderState.CONFIRMED)
    ORDERS.put(damage.tx, order, damage.event, UNKNOWN)
    assert damage.found() == ["key-names-record"]


def test_a_buyer_whose_event_cannot_be_read_is_told_of_once(damage: Damage) -> None:
    order = damage.find(ORDERS, state=OrderState.CONFIRMED)
    damage.tx.put(ORDERS.key(damage.event, order.order_id), b"\x01\x80")
    assert damage.found() == ["record-readable"]


def test_an_event_with_a_record_that_cannot_be_read_is_not_looked_at_further(damage: Damage) -> None:
    queued = damage.find(ENTRIES, state=EntryState.QUEUED)
    LINE.delete(damage.tx, damage.event, queued.seq)
    before = damage.found()
    damage.tx.put(ROOM.key(damage.event), b"\x01\x90")
    assert (before, damage.found()) == (["line"], ["record-readable"])
