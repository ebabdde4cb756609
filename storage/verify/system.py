"""Invariants of what lies outside the events: a buyer's own things, the system's, and kept outcomes anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from storage.engine import Partition, Reader
from storage.schema.ids import EventId, UserId
from storage.schema.layout import (
    BUYER_ORDERS,
    BUYER_TICKETS,
    BUYER_TRANSFERS,
    DUE_HOOKS,
    DUE_OUTCOMES,
    EVENT,
    EVENT_IDS,
    EVENT_OF_ORDER,
    EVENT_OF_TRANSFER,
    ORDERS,
    OUTCOMES,
    PAYMENT_METHODS,
    SEEN_HOOKS,
    SYSTEM,
    TICKETS,
    TRANSFERS,
    buyer_partition,
    event_partition,
)
from storage.schema.tables import Table
from storage.verify.contents import differences, unique_id
from storage.verify.problem import Problem


def check_outcomes(reader: Reader, partition: Partition, where: str) -> Iterator[Problem]:
    """Exactly the kept outcomes stand in the index of what is to be forgotten."""
    wanted = ((kept.forget_at_ms, *parts) for parts, kept in OUTCOMES.scan(reader, partition))
    found = DUE_OUTCOMES.scan(reader, partition)
    for what, text in differences(wanted, found):
        yield Problem(invariant="due-outcomes", where=f"{where}, {DUE_OUTCOMES.name} {what}", text=text)


def check_seen_events(reader: Reader) -> Iterator[Problem]:
    """Exactly the events of gateways that were heeded stand in the index of what is to be forgotten."""
    wanted = ((forget_at_ms, *parts) for parts, forget_at_ms in SEEN_HOOKS.scan(reader, SYSTEM))
    found = DUE_HOOKS.scan(reader, SYSTEM)
    for what, text in differences(wanted, found):
        yield Problem(invariant="due-hooks", where=f"system, {DUE_HOOKS.name} {what}", text=text)


def check_payment_methods(reader: Reader, user_id: UserId) -> Iterator[Problem]:
    """A buyer who has payment methods has exactly one default."""
    methods = [method for _, method in PAYMENT_METHODS.scan(reader, buyer_partition(user_id))]
    defaults = sum(method.is_default for method in methods)
    if methods and defaults != 1:
        text = f"{defaults} of {len(methods)} payment methods are the default"
        yield Problem(invariant="one-default-method", where=f"buyer {user_id}", text=text)


def check_buyer_finds(reader: Reader, user_id: UserId) -> Iterator[Problem]:
    """What a buyer finds is there, and is the buyer's own."""
    partition, where = buyer_partition(user_id), f"buyer {user_id}"
    for key, event_id in _events_by_id(reader, BUYER_ORDERS, partition):
        order = ORDERS.get(reader, event_partition(event_id), key)
        if order is None or order.user_id != user_id:
            yield _not_there("buyer-orders-exist", f"{where}, order {key}", event_id)
    for key, event_id in _events_by_id(reader, BUYER_TICKETS, partition):
        ticket = TICKETS.get(reader, event_partition(event_id), key)
        if ticket is None or ticket.holder_id != user_id:
            yield _not_there("buyer-tickets-exist", f"{where}, ticket {key}", event_id)
    for key, event_id in _events_by_id(reader, BUYER_TRANSFERS, partition):
        transfer = TRANSFERS.get(reader, event_partition(event_id), key)
        if transfer is None or transfer.sender_id != user_id:
            yield _not_there("buyer-transfers-exist", f"{where}, transfer {key}", event_id)


def check_listed_events(reader: Reader) -> Iterator[Problem]:
    """Every event that is listed is there."""
    for (part,) in EVENT_IDS.scan(reader, SYSTEM):
        event_id = EventId(unique_id(part))
        if EVENT.get(reader, event_partition(event_id)) is None:
            text = "it is listed, and there is no record of it"
            yield Problem(invariant="listed-event-exists", where=f"event {event_id}", text=text)


def check_found_by_id(reader: Reader) -> Iterator[Problem]:
    """Every order and every transfer that is found by its id is in the event that it is found in."""
    for key, event_id in _events_by_id(reader, EVENT_OF_ORDER, SYSTEM):
        if ORDERS.get(reader, event_partition(event_id), key) is None:
            yield _not_there("order-of-id-exists", f"order {key}", event_id)
    for key, event_id in _events_by_id(reader, EVENT_OF_TRANSFER, SYSTEM):
        if TRANSFERS.get(reader, event_partition(event_id), key) is None:
            yield _not_there("transfer-of-id-exists", f"transfer {key}", event_id)


def _events_by_id(
    reader: Reader, table: Table[EventId], partition: Partition
) -> Iterator[tuple[UUID, EventId]]:
    for (part,), event_id in table.scan(reader, partition):
        yield unique_id(part), event_id


def _not_there(invariant: str, where: str, event_id: EventId) -> Problem:
    return Problem(invariant=invariant, where=where, text=f"there is no such one in event {event_id}")
