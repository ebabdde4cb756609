"""The ledger: each movement of an order's money that the gateway confirmed, written once and kept for good.

A movement is added by the transition that changes the order's states, in the same commit, so the two cannot part. An
order over nothing moves no money and has none. What somebody does by hand at the gateway is added when it is seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import replace

from storage.engine import Key, Reader, Transaction
from storage.keys import unpack_parts
from storage.schema.ids import EventId, OrderId
from storage.schema.layout import MOVEMENT_SUMS, MOVEMENT_TIMES, MOVEMENTS, ORDERS, event_partition
from storage.schema.movements import MovementKind, MovementRecord
from storage.schema.records import OrderRecord
from storage.schema.states import PaymentState

FREE_REF: Final = "free"
"""Stands for the payment of an order over nothing: no gateway is asked."""


LedgerPlace: TypeAlias = tuple[int, OrderId, int]
"""Where a movement stands in an event's ledger: its time, its order and its number."""


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """Money that has moved: ``amount_minor``, at least 1, in the order's currency. ``movement_ref`` is the gateway's
    name for this movement, where it has one."""

    kind: MovementKind
    amount_minor: int
    movement_ref: str = ""


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What an order's movements add up to, in minor units. ``refund_refs`` names the refunds among them,
    ``dispute_refs`` the disputes."""

    authorised_minor: int = 0
    captured_minor: int = 0
    voided_minor: int = 0
    refunded_minor: int = 0
    disputed_minor: int = 0
    """What the buyer's bank has taken back and not given again."""
    lost_minor: int = 0
    """Of that, what stays with the buyer."""
    dispute_refs: frozenset[str] = frozenset()
    refund_refs: frozenset[str] = frozenset()

    @property
    def reserved_minor(self) -> int:
        """What is set aside on the card, still to be taken or freed."""
        return 0 if self.captured_minor or self.voided_minor else self.authorised_minor

    @property
    def kept_minor(self) -> int:
        """What the seller has of the order's money."""
        return self.captured_minor - self.refunded_minor - self.disputed_minor

    def given_back_minor(self, order: OrderRecord) -> int:
        """What of the order's money goes back by the gateway, or went. What the buyer's bank keeps is part of what an
        order owes until its payment has ended, and goes back without anybody here."""
        if order.payment_state is not PaymentState.REFUND_PENDING:
            return order.refund_minor
        return self.beside_bank_minor(order.refund_minor)

    def beside_bank_minor(self, owed_minor: int) -> int:
        """What the gateway is left to give back, or gave, of ``owed_minor``."""
        return min(owed_minor, max(self.refunded_minor, owed_minor - self.lost_minor))


def list_movements(reader: Reader, event_id: EventId, order_id: OrderId) -> list[MovementRecord]:
    """An order's movements, in the order in which they were written."""
    return [movement for _, movement in MOVEMENTS.scan(reader, event_partition(event_id), order_id)]


def balance_of(movements: Iterable[MovementRecord]) -> Balance:
    """What the movements of one order add up to."""
    sums = dict.fromkeys(MovementKind, 0)
    refund_refs: set[str] = set()
    dispute_refs: set[str] = set()
    lost: dict[str, int] = {}
    for movement in movements:
        sums[movement.kind] += movement.amount_minor
        match movement.kind:
            case MovementKind.REFUNDED:
                refund_refs.add(movement.movement_ref)
            case MovementKind.DISPUTED:
                dispute_refs.add(movement.movement_ref)
            case MovementKind.DISPUTE_LOST:
                lost[movement.movement_ref] = movement.amount_minor
            case MovementKind.DISPUTE_WON:
                lost.pop(movement.movement_ref, None)
            case _:
                pass
    return Balance(
        authorised_minor=sums[MovementKind.AUTHORISED],
        captured_minor=sums[MovementKind.CAPTURED],
        voided_minor=sums[MovementKind.VOIDED],
        refunded_minor=sums[MovementKind.REFUNDED],
        disputed_minor=sums[MovementKind.DISPUTED] - sums[MovementKind.DISPUTE_WON],
        lost_minor=sum(lost.values()),
        refund_refs=frozenset(refund_refs),
        dispute_refs=frozenset(dispute_refs),
    )


def read_balance(reader: Reader, event_id: EventId, order_id: OrderId) -> Balance:
    """What an order's movements add up to."""
    return balance_of(list_movements(reader, event_id, order_id))


def record_movement(
    tx: Transaction, event_id: EventId, order: OrderRecord, movement: Movement
) -> OrderRecord:
    """Adds a movement to the ledger, for an order with the payment that it has in ``order``.

    Answers the order that counts it, which must be saved in this same commit. An order over nothing stays as it is.
    """
    if order.total_minor == 0:
        return order
    if movement.amount_minor < 1:
        raise ValueError(f"{movement.amount_minor} minor units are no movement of money")
    order = derive_movements(tx, event_id, order, order.gateway)
    return _add(tx, event_id, order, movement, tx.now_ms)


def note_capture(tx: Transaction, event_id: EventId, order: OrderRecord, captured_minor: int) -> OrderRecord:
    """Adds that the gateway has taken the money, unless the ledger has it; as ``record_movement``.

    Money that was taken had been set aside before: if that was not seen at the time, it is added too.
    """
    order = derive_movements(tx, event_id, order, order.gateway)
    balance = read_balance(tx, event_id, order.order_id)
    if balance.captured_minor or order.total_minor == 0:
        return order
    if not balance.authorised_minor:
        order = record_movement(
            tx, event_id, order, Movement(kind=MovementKind.AUTHORISED, amount_minor=order.total_minor)
        )
    taken = Movement(kind=MovementKind.CAPTURED, amount_minor=captured_minor)
    return record_movement(tx, event_id, order, taken)


def note_release(tx: Transaction, event_id: EventId, order: OrderRecord) -> OrderRecord:
    """Adds that nothing is set aside any more, if the ledger says that something is; as ``record_movement``."""
    order = derive_movements(tx, event_id, order, order.gateway)
    reserved_minor = read_balance(tx, event_id, order.order_id).reserved_minor
    if not reserved_minor:
        return order
    return record_movement(
        tx, event_id, order, Movement(kind=MovementKind.VOIDED, amount_minor=reserved_minor)
    )


def note_refunds(
    tx: Transaction, event_id: EventId, order: OrderRecord, refunds: Iterable[tuple[str, int]]
) -> OrderRecord:
    """Adds those refunds, by the gateway's name and amount, that the ledger does not have; as ``record_movement``."""
    order = derive_movements(tx, event_id, order, order.gateway)
    known = read_balance(tx, event_id, order.order_id).refund_refs
    for refund_ref, amount_minor in refunds:
        if refund_ref not in known:
            given_back = Movement(
                kind=MovementKind.REFUNDED, amount_minor=amount_minor, movement_ref=refund_ref
            )
            order = record_movement(tx, event_id, order, given_back)
    return order


# --- orders of releases that kept no ledger ---


_SET_ASIDE: Final = frozenset(
    {
        "authorised and sold",
        "authorised after the hold had ended",
        "authorised although no answer came",
    }
)
_TAKEN: Final = frozenset({"captured", "taken although the order was over"})
_FREED: Final = frozenset({"voided", "capture refused"})
_GIVEN_BACK: Final = "refunded"


def derive_movements(tx: Transaction, event_id: EventId, order: OrderRecord, gateway: str) -> OrderRecord:
    """Writes the movements of an order from before there was a ledger, as its trail tells them, and saves the order.

    Their times are the trail's, their amounts the order's own; refunds have no name. ``gateway`` is who is taken to
    have moved the money. An order that has its movements stays as it is.
    """
    if order.movements is not None:
        return order
    order = replace(order, movements=0, gateway=gateway)
    for movement, at_ms in _told_by_trail(order):
        order = _add(tx, event_id, order, movement, at_ms)
    ORDERS.put(tx, order, event_partition(event_id), order.order_id)
    return order


def _told_by_trail(order: OrderRecord) -> Iterator[tuple[Movement, int]]:
    """The movements of an order's trail, with their times. A line that says the money is over, or given back, implies
    those before it that were not told."""
    if order.total_minor == 0 or order.payment_ref is None:
        return
    reserved = captured = False
    for line in order.trail:
        takes, gives_back = line.what in _TAKEN, line.what == _GIVEN_BACK
        if not reserved and (line.what in _SET_ASIDE or takes or gives_back):
            reserved = True
            yield Movement(kind=MovementKind.AUTHORISED, amount_minor=order.total_minor), line.at_ms
        if not captured and (takes or gives_back):
            captured = True
            yield Movement(kind=MovementKind.CAPTURED, amount_minor=order.total_minor), line.at_ms
        if line.what in _FREED and reserved and not captured:
            yield Movement(kind=MovementKind.VOIDED, amount_minor=order.total_minor), line.at_ms
        if gives_back and order.refund_minor:
            yield Movement(kind=MovementKind.REFUNDED, amount_minor=order.refund_minor), line.at_ms


def _add(
    tx: Transaction, event_id: EventId, order: OrderRecord, movement: Movement, at_ms: int
) -> OrderRecord:
    if order.payment_ref is None:
        raise LookupError(f"order {order.order_id}: money has moved, and its payment has no name")
    partition, number = event_partition(event_id), (order.movements or 0) + 1
    record = MovementRecord(
        order_id=order.order_id,
        number=number,
        at_ms=at_ms,
        kind=movement.kind,
        amount_minor=movement.amount_minor,
        currency=order.currency,
        gateway=order.gateway,
        payment_ref=order.payment_ref,
        movement_ref=movement.movement_ref,
    )
    MOVEMENTS.put(tx, record, partition, order.order_id, number)
    MOVEMENT_TIMES.add(tx, partition, at_ms, order.order_id, number)
    sum_minor = MOVEMENT_SUMS.get(tx, partition, order.currency, movement.kind.value) or 0
    MOVEMENT_SUMS.put(tx, sum_minor + movement.amount_minor, partition, order.currency, movement.kind.value)
    return replace(order, movements=number)


# --- reading ---


def movements_between(
    reader: Reader, event_id: EventId, span_ms: tuple[int, int], after: LedgerPlace | None, limit: int
) -> list[MovementRecord]:
    """An event's movements from ``span_ms``, its end not included, in the order of their times; behind ``after``."""
    partition = event_partition(event_id)
    lo = MOVEMENT_TIMES.key(partition, span_ms[0])
    if after is not None:
        lo = max(lo, Key(MOVEMENT_TIMES.key(partition, *after) + b"\x00"))
    found: list[MovementRecord] = []
    for key, _ in reader.scan(lo, MOVEMENT_TIMES.key(partition, span_ms[1]), limit):
        *_, order_id, number = unpack_parts(key)
        movement = MOVEMENTS.get(reader, partition, order_id, number)
        if movement is None:
            raise LookupError(f"event {event_id}: a movement of order {order_id!r} is not there")
        found.append(movement)
    return found
