"""Faults planted outside the events: with the buyers, in the system's partition, among the kept outcomes."""

from __future__ import annotations

from uuid import UUID

import msgspec
import pytest

from storage.engine import Partition
from storage.partitions import partitions
from storage.schema.ids import EventId, UserId
from storage.schema.layout import (
    BUYER_ORDERS,
    BUYER_PREFIX,
    BUYER_TICKETS,
    BUYER_TRANSFERS,
    DUE_HOOKS,
    DUE_OUTCOMES,
    EVENT_IDS,
    EVENT_OF_ORDER,
    EVENT_OF_TRANSFER,
    ORDERS,
    OUTCOMES,
    PAYMENT_METHODS,
    SEEN_HOOKS,
    SYSTEM,
    buyer_partition,
)
from storage.schema.records import OutcomeRecord, PaymentMethodRecord
from storage.schema.states import OrderState
from storage.schema.tables import Table
from tests.storage.verify.good_store import Damage

UNKNOWN = UUID(int=0xBAD)


def an_outcome(damage: Damage) -> tuple[Partition, bytes, OutcomeRecord]:
    for partition in partitions(damage.tx, BUYER_PREFIX):
        for (digest,), outcome in OUTCOMES.scan(damage.tx, partition):
            assert isinstance(digest, bytes)
            return partition, digest, outcome
    raise LookupError("no outcome was kept")


def methods(damage: Damage) -> tuple[Partition, list[PaymentMethodRecord]]:
    order = damage.find(ORDERS, state=OrderState.CONFIRMED)
    partition = buyer_partition(order.user_id)
    return partition, [method for _, method in PAYMENT_METHODS.scan(damage.tx, partition)]


def test_an_outcome_that_is_never_forgotten(damage: Damage) -> None:
    partition, digest, outcome = an_outcome(damage)
    DUE_OUTCOMES.remove(damage.tx, partition, outcome.forget_at_ms, digest)
    assert damage.found() == ["due-outcomes"]


def test_an_outcome_to_be_forgotten_that_is_not_there(damage: Damage) -> None:
    DUE_OUTCOMES.add(damage.tx, SYSTEM, 1, bytes(32))
    assert damage.found() == ["due-outcomes"]


def test_two_default_payment_methods(damage: Damage) -> None:
    partition, found = methods(damage)
    for method in found:
        as_default = msgspec.structs.replace(method, is_default=True)
        PAYMENT_METHODS.put(damage.tx, as_default, partition, method.payment_method_id)
    assert (len(found), damage.found()) == (2, ["one-default-method"])


def test_no_default_payment_method(damage: Damage) -> None:
    partition, found = methods(damage)
    default = next(method for method in found if method.is_default)
    PAYMENT_METHODS.delete(damage.tx, partition, default.payment_method_id)
    assert damage.found() == ["one-default-method"]


def test_a_buyer_without_payment_methods(damage: Damage) -> None:
    partition, found = methods(damage)
    for method in found:
        PAYMENT_METHODS.delete(damage.tx, partition, method.payment_method_id)
    assert damage.found() == []


@pytest.mark.parametrize(
    ("table", "invariant"),
    [
        (BUYER_ORDERS, "buyer-orders-exist"),
        (BUYER_TICKETS, "buyer-tickets-exist"),
        (BUYER_TRANSFERS, "buyer-transfers-exist"),
    ],
    ids=["orders", "tickets", "transfers"],
)
def test_a_buyer_finds_what_is_not_there(damage: Damage, table: Table[EventId], invariant: str) -> None:
    table.put(damage.tx, damage.event_id, buyer_partition(UserId(UNKNOWN)), UNKNOWN)
    assert damage.found() == [invariant]


def test_a_buyer_finds_the_order_of_another(damage: Damage) -> None:
    order = damage.find(ORDERS, state=OrderState.CONFIRMED)
    BUYER_ORDERS.put(damage.tx, damage.event_id, buyer_partition(UserId(UNKNOWN)), order.order_id)
    assert damage.found() == ["buyer-orders-exist"]


def test_a_listed_event_that_is_not_there(damage: Damage) -> None:
    EVENT_IDS.add(damage.tx, SYSTEM, UNKNOWN)
    assert damage.found() == ["listed-event-exists"]


@pytest.mark.parametrize(
    ("table", "invariant"),
    [(EVENT_OF_ORDER, "order-of-id-exists"), (EVENT_OF_TRANSFER, "transfer-of-id-exists")],
    ids=["order", "transfer"],
)
def test_an_id_that_leads_nowhere(damage: Damage, table: Table[EventId], invariant: str) -> None:
    table.put(damage.tx, damage.event_id, SYSTEM, UNKNOWN)
    assert damage.found() == [invariant]


def test_a_heeded_event_that_is_never_forgotten(damage: Damage) -> None:
    SEEN_HOOKS.put(damage.tx, 5, SYSTEM, b"x" * 32)
    assert damage.found() == ["due-hooks"]
    DUE_HOOKS.add(damage.tx, SYSTEM, 5, b"x" * 32)
    assert damage.found() == []
    SEEN_HOOKS.delete(damage.tx, SYSTEM, b"x" * 32)
    assert damage.found() == ["due-hooks"]
