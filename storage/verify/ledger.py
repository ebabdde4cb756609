"""Invariants of the ledger: it is whole, it adds up, and it says of each order's money what the order's states say.

Orders of releases that kept no ledger have no count of movements until the daemon starts on their store; of them only
that they have no movements is looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from storage.schema.layout import MOVEMENT_SUMS, MOVEMENT_TIMES
from storage.schema.movements import BOX_OFFICE, MovementKind, MovementRecord
from storage.schema.records import OrderRecord
from storage.schema.states import PaymentState
from storage.verify.contents import EventContents
from storage.verify.problem import Problem

_K: Final = MovementKind

_NOTHING_MOVED: Final = frozenset({PaymentState.STARTED, PaymentState.REQUIRES_ACTION})
_FREED: Final = frozenset({PaymentState.VOIDED, PaymentState.FAILED})


def check_movements(event: EventContents) -> Iterator[Problem]:
    """Movements belong to an order of the event and its payment, are numbered from 1 without a gap, and the order
    counts them all."""
    for order_id, movements in event.movements.items():
        if order_id not in event.orders:
            text = f"{len(movements)} movements of money are those of no order"
            yield event.problem("movement-has-order", f"order {order_id}", text)
            continue
        order = event.orders[order_id]
        for movement in movements:
            where = f"order {order_id}, movement {movement.number}"
            if movement.amount_minor < 1:
                text = f"an amount of {movement.amount_minor} is no movement of money"
                yield event.problem("movement-amount", where, text)
            if (movement.currency, movement.payment_ref) != (order.currency, order.payment_ref):
                text = f"it is of {movement.payment_ref} in {movement.currency}, not of the order's payment"
                yield event.problem("movement-of-payment", where, text)
    for order_id, order in event.orders.items():
        numbers = [movement.number for movement in event.movements.get(order_id, ())]
        if numbers != list(range(1, len(numbers) + 1)) or len(numbers) != (order.movements or 0):
            text = f"its movements have the numbers {numbers}, and it counts {order.movements}"
            yield event.problem("movements-dense", f"order {order_id}", text)


def check_movement_sums(event: EventContents) -> Iterator[Problem]:
    """Money is set aside once, taken or freed once, and only so much is given back as was taken."""
    for order_id, movements in event.movements.items():
        counts = Counter(movement.kind for movement in movements)
        sums = _sums(movements)
        wrong: list[tuple[str, str]] = []
        if counts[_K.AUTHORISED] > 1:
            wrong.append(("one-authorisation", f"its money was set aside {counts[_K.AUTHORISED]} times"))
        if counts[_K.CAPTURED] > 1:
            wrong.append(("one-capture", f"its money was taken {counts[_K.CAPTURED]} times"))
        # A till takes money that nobody had set aside.
        if sums[_K.CAPTURED] > sums[_K.AUTHORISED] and movements[0].gateway != BOX_OFFICE:
            text = f"{sums[_K.CAPTURED]} were taken of {sums[_K.AUTHORISED]} set aside"
            wrong.append(("capture-of-authorised", text))
        if sums[_K.VOIDED] and (counts[_K.CAPTURED] or sums[_K.VOIDED] != sums[_K.AUTHORISED]):
            text = f"{sums[_K.VOIDED]} were freed, of {sums[_K.AUTHORISED]} set aside and {sums[_K.CAPTURED]} taken"
            wrong.append(("void-of-authorised", text))
        if sums[_K.REFUNDED] > sums[_K.CAPTURED]:
            text = f"{sums[_K.REFUNDED]} were given back of {sums[_K.CAPTURED]} taken"
            wrong.append(("refund-of-captured", text))
        if sums[_K.DISPUTED] and not sums[_K.CAPTURED]:
            # More than was taken may be disputed: banks count in other currencies.
            text = f"{sums[_K.DISPUTED]} were disputed, and nothing was taken"
            wrong.append(("dispute-of-captured", text))
        if sums[_K.AUTHORISED] and movements[0].kind is not _K.AUTHORISED:
            wrong.append(("authorised-first", f"its first movement is {movements[0].kind.value}"))
        for invariant, text in wrong:
            yield event.problem(invariant, f"order {order_id}", text)


def check_ledger_fits_orders(event: EventContents) -> Iterator[Problem]:
    """What the ledger says of an order's money is what the states of the order say."""
    for order in event.orders.values():
        if order.movements is None or not order.total_minor:
            continue
        wrong = _wrong_of(order, _sums(event.movements.get(order.order_id, ())))
        if wrong:
            text = f"its payment is {order.payment_state.value}, and {wrong}"
            yield event.problem("ledger-fits-order", f"order {order.order_id}", text)


def check_currency_sums(event: EventContents) -> Iterator[Problem]:
    """The event's sums, by currency and kind, are those of its movements."""
    recount: Counter[tuple[str, str]] = Counter()
    for movements in event.movements.values():
        for movement in movements:
            recount[movement.currency, movement.kind.value] += movement.amount_minor
    kept = {
        (str(currency), str(kind)): sum_minor
        for (currency, kind), sum_minor in MOVEMENT_SUMS.scan(event.reader, event.partition)
    }
    for currency, kind in sorted(recount.keys() | kept.keys()):
        found, wanted = kept.get((currency, kind), 0), recount[currency, kind]
        if found != wanted:
            text = f"the sum that is kept is {found}, its movements add up to {wanted}"
            yield event.problem("ledger-adds-up", f"{kind} in {currency}", text)


def check_movement_times(event: EventContents) -> Iterator[Problem]:
    """Exactly the movements of the ledger stand in the index of their times."""
    wanted = (
        (movement.at_ms, order_id, movement.number)
        for order_id, movements in event.movements.items()
        for movement in movements
    )
    found = MOVEMENT_TIMES.scan(event.reader, event.partition)
    return event.compare("movement-times", MOVEMENT_TIMES.name, wanted, found)


def _sums(movements: Sequence[MovementRecord]) -> Counter[MovementKind]:
    sums: Counter[MovementKind] = Counter()
    for movement in movements:
        sums[movement.kind] += movement.amount_minor
    return sums


def _wrong_of(order: OrderRecord, sums: Counter[MovementKind]) -> str:
    """How an order's states and its sums differ; empty if they fit."""
    state = order.payment_state
    set_aside, taken, freed, given_back = (
        sums[kind] for kind in (_K.AUTHORISED, _K.CAPTURED, _K.VOIDED, _K.REFUNDED)
    )
    if state in _NOTHING_MOVED:
        return f"{set_aside} were set aside" if set_aside or taken else ""
    if state is PaymentState.AUTHORIZED:
        fits = (set_aside, taken, freed) == (order.total_minor, 0, 0)
        return "" if fits else f"{set_aside} were set aside, {taken} taken and {freed} freed"
    if state in _FREED:
        return (
            "" if taken == 0 and freed == set_aside else f"{taken} were taken, {freed} of {set_aside} freed"
        )
    if state is PaymentState.REFUND_PENDING:
        return f"{freed} were freed" if freed else ""
    if state is PaymentState.REFUNDED:
        # What the buyer's bank keeps is no part of it.
        fits = taken > 0 and given_back >= order.refund_minor
        return "" if fits else f"{given_back} were given back of {taken}, where {order.refund_minor} were due"
    fits = taken == order.total_minor and given_back <= order.refund_minor
    return "" if fits else f"{taken} of {order.total_minor} were taken, {given_back} given back"
