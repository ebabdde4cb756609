"""Holding the ledger against the gateway: what each says of a payment, and every difference by its name.

Nothing is changed, here or there. Both go on while they are compared: what differs at first sight is asked for again,
and compared only if the order has stood still meanwhile. An order whose money is under way may differ for a while.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final

import msgspec

from storage.engine import Engine
from storage.schema.ids import EventId, OrderId
from storage.schema.layout import EVENT_OF_ORDER, ORDERS, SYSTEM, event_partition, list_events
from storage.schema.movements import BOX_OFFICE
from storage.schema.records import OrderRecord
from storage.schema.states import DisputeState
from ticketd.domain.ledger import Balance, read_balance
from ticketd.ports.payments import DisputeSnapshot, GatewayState, PaymentSnapshot

UNDER_WAY_MS: Final = 900_000
"""So long after it last changed an unfinished order may differ: longer than the longest wait between two tries."""
_LOOKS: Final = 3
"""How often an order that changes while it is looked at is looked at anew, before it counts as under way."""

_MOVING: Final = frozenset({DisputeState.OPEN, DisputeState.WON, DisputeState.LOST})
_HOLDING: Final = frozenset({GatewayState.AUTHORISED, GatewayState.CAPTURED})

Fetch = Callable[[str], Awaitable[PaymentSnapshot | None]]
"""Asks the gateway for a payment, by its name there."""
FetchDisputes = Callable[[str], Awaitable[tuple[DisputeSnapshot, ...]]]
"""Asks the gateway for the disputes of a payment, by its name there."""


class DifferenceKind(enum.StrEnum):
    """In what the two differ."""

    UNKNOWN_AT_GATEWAY = "UNKNOWN_AT_GATEWAY"
    """The ledger tells of a payment that the gateway does not know."""
    UNKNOWN_HERE = "UNKNOWN_HERE"
    """The gateway holds money for an order that is not there, or by a payment that is not the order's."""
    AMOUNT_DIFFERS = "AMOUNT_DIFFERS"
    STATE_DIFFERS = "STATE_DIFFERS"
    REFUNDS_DIFFER = "REFUNDS_DIFFER"
    DISPUTES_DIFFER = "DISPUTES_DIFFER"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. ``here`` and ``there`` say in words what the ledger and the gateway tell."""

    kind: DifferenceKind
    order_id: OrderId
    event_id: EventId | None
    payment_ref: str
    here: str
    there: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What comparing one payment came to. ``under_way``: it differs, and its order is about to move."""

    differences: tuple[Difference, ...] = ()
    under_way: bool = False


class Reconciler:
    """Compares payments. ``fetch`` and ``fetch_disputes`` may raise what the gateway raises."""

    def __init__(self, engine: Engine, fetch: Fetch, fetch_disputes: FetchDisputes) -> None:
        self._engine = engine
        self._fetch = fetch
        self._fetch_disputes = fetch_disputes

    def find_event(self, order_id: OrderId) -> EventId | None:
        """The event of an order, also of one that came to nothing and is listed nowhere."""
        with self._engine.snapshot() as view:
            listed = EVENT_OF_ORDER.get(view, SYSTEM, order_id)
            if listed is not None:
                return listed
            for event_id in list_events(view):
                if ORDERS.get(view, event_partition(event_id), order_id) is not None:
                    return event_id
        return None

    async def compare_seen(self, payment: PaymentSnapshot, event_id: EventId | None) -> Verdict:
        """Compares a payment that the gateway listed with the order that it names; ``event_id`` is the order's."""
        order, balance = self._read(event_id, payment.order_id)
        is_disputed = payment.is_disputed or balance.dispute_refs
        if not is_disputed and not list(differences(event_id, order, balance, payment)):
            return Verdict()
        return await self._look_closely(event_id, payment.order_id, payment.payment_ref)

    async def compare_order(self, event_id: EventId, order_id: OrderId) -> Verdict:
        """Compares an order of which the gateway's list had no payment. One without a payment agrees, and one that was
        paid at a till, of which no gateway knows."""
        order, _ = self._read(event_id, order_id)
        if order is None or order.payment_ref is None or order.total_minor == 0:
            return Verdict()
        if order.gateway == BOX_OFFICE:
            return Verdict()
        return await self._look_closely(event_id, order_id, order.payment_ref)

    async def _look_closely(self, event_id: EventId | None, order_id: OrderId, payment_ref: str) -> Verdict:
        for _ in range(_LOOKS):
            before, _unused = self._read(event_id, order_id)
            payment = await self._fetch(payment_ref)
            disputes: tuple[DisputeSnapshot, ...] = ()
            if payment is not None and payment.is_disputed:
                disputes = await self._fetch_disputes(payment_ref)
            order, balance = self._read(event_id, order_id)
            if order == before:
                found = tuple(differences(event_id, order, balance, payment, disputes))
                if found and order is not None and self._is_under_way(order):
                    return Verdict(under_way=True)
                return Verdict(differences=found)
        return Verdict(under_way=True)

    def _is_under_way(self, order: OrderRecord) -> bool:
        changed_at_ms = max((line.at_ms for line in order.trail), default=order.created_at_ms)
        with self._engine.snapshot(SYSTEM) as view:
            return order.due_at_ms is not None and view.now_ms - changed_at_ms <= UNDER_WAY_MS

    def _read(self, event_id: EventId | None, order_id: OrderId) -> tuple[OrderRecord | None, Balance]:
        if event_id is None:
            return None, Balance()
        partition = event_partition(event_id)
        with self._engine.snapshot(partition) as view:
            return ORDERS.get(view, partition, order_id), read_balance(view, event_id, order_id)


def differences(
    event_id: EventId | None,
    order: OrderRecord | None,
    balance: Balance,
    payment: PaymentSnapshot | None,
    disputes: tuple[DisputeSnapshot, ...] = (),
) -> Iterator[Difference]:
    """Every difference between the ledger's balance of an order and a payment at the gateway with its disputes, None if
    it has none."""
    if payment is None:
        if order is not None and balance.authorised_minor:
            yield Difference(
                kind=DifferenceKind.UNKNOWN_AT_GATEWAY,
                order_id=order.order_id,
                event_id=event_id,
                payment_ref=order.payment_ref or "",
                here=_told(balance, order),
                there="no such payment",
            )
        return

    def differ(kind: DifferenceKind, here: str) -> Difference:
        return Difference(
            kind=kind,
            order_id=payment.order_id,
            event_id=event_id,
            payment_ref=payment.payment_ref,
            here=here,
            there=_told_there(payment),
        )

    if order is None or order.payment_ref != payment.payment_ref:
        if payment.state in _HOLDING:
            told = "no such order" if order is None else f"its payment is {order.payment_ref}"
            yield differ(DifferenceKind.UNKNOWN_HERE, told)
        return
    here = _told(balance, order)
    if payment.state is not _wanted_state(balance, payment.state):
        yield differ(DifferenceKind.STATE_DIFFERS, here)
    elif (payment.amount_minor, payment.currency) != (order.total_minor, order.currency) or (
        payment.captured_minor != balance.captured_minor
    ):
        yield differ(DifferenceKind.AMOUNT_DIFFERS, here)
    if payment.refunded_minor != balance.refunded_minor:
        yield differ(DifferenceKind.REFUNDS_DIFFER, here)
    with_bank_minor, lost_minor, refs = _disputed(disputes)
    if (with_bank_minor, lost_minor, refs) != (
        balance.disputed_minor,
        balance.lost_minor,
        balance.dispute_refs,
    ):
        told = f"; {with_bank_minor} with the buyer's bank, {lost_minor} of it for good"
        difference = differ(DifferenceKind.DISPUTES_DIFFER, here)
        yield msgspec.structs.replace(difference, there=difference.there + told)


def _disputed(disputes: Iterable[DisputeSnapshot]) -> tuple[int, int, frozenset[str]]:
    """What banks have of a payment, what of it they keep, and the names of the disputes by which money moved."""
    moving = [dispute for dispute in disputes if dispute.state in _MOVING]
    lost_minor = sum(dispute.amount_minor for dispute in moving if dispute.state is DisputeState.LOST)
    open_minor = sum(dispute.amount_minor for dispute in moving if dispute.state is DisputeState.OPEN)
    return open_minor + lost_minor, lost_minor, frozenset(dispute.dispute_ref for dispute in moving)


def _wanted_state(balance: Balance, found: GatewayState) -> GatewayState:
    """Where the gateway must have a payment of this balance; what it has, if that holds no money either."""
    if balance.captured_minor:
        return GatewayState.CAPTURED
    if balance.reserved_minor:
        return GatewayState.AUTHORISED
    return GatewayState.VOIDED if found in _HOLDING else found


def _told(balance: Balance, order: OrderRecord) -> str:
    state = f"{order.state.value}/{order.payment_state.value}"
    sums = f"{balance.reserved_minor} set aside, {balance.captured_minor} taken, {balance.refunded_minor} given back"
    if balance.dispute_refs:
        sums += f"; {balance.disputed_minor} with the buyer's bank, {balance.lost_minor} of it for good"
    return f"{state}: of {order.total_minor} {order.currency}, {sums}"


def _told_there(payment: PaymentSnapshot) -> str:
    sums = f"{payment.authorised_minor} set aside, {payment.captured_minor} taken, {payment.refunded_minor} given back"
    return f"{payment.state.value}: of {payment.amount_minor} {payment.currency}, {sums}"
