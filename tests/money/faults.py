"""What may go wrong between the daemon and the gateway at each call that moves an order's money.

A cell is one call, one fault, and what comes of the order. The daemon lives on; a fault befalls the call ``times``
times in a row, and where Stripe's answer tells not to ask again, the order is taken up later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from storage.schema.ids import OrderId
from storage.schema.states import OrderState
from tests.money.books import disagreements, payments_of
from tests.money.deaths import (
    CONFIRMED,
    DECLINED,
    LOST,
    REFUNDED,
    VOIDED,
    Ends,
    put_off_capture,
    refund_a_ticket,
    sell,
)
from tests.money.shop import AUTHORISE, CAPTURE, LOOK, REFUND, VOID, Buyer, Shop, placed_order, wait_for
from tests.stripe_judge.faults import Fault

CALLS: Final = (AUTHORISE, CAPTURE, REFUND, VOID, LOOK)
KINDS: Final = (
    Fault.TIMEOUT_BEFORE,
    Fault.TIMEOUT_AFTER,
    Fault.DROP_BEFORE,
    Fault.DROP_AFTER,
    Fault.ERROR_BEFORE,
    Fault.ERROR_AFTER,
    Fault.UNAVAILABLE_BEFORE,
    Fault.UNAVAILABLE_AFTER,
    Fault.RATE_LIMIT,
    Fault.LOCK_TIMEOUT,
)


SHORT: Final = (Fault.TIMEOUT_AFTER,)
"""The fault that is worst for money: it has moved, and nobody was told. The others are for the long form."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """``final`` says that the fault's answer asks not to be tried again at once; ``part`` that it is a refund of one
    ticket of two."""

    endpoint: str
    kind: Fault
    final: bool = False
    times: int = 1
    part: bool = False

    def __str__(self) -> str:
        call = self.endpoint.removeprefix("POST /v1/").removeprefix("GET /v1/")
        said = (" final" if self.final else "") + (" of a ticket" if self.part else "")
        return f"{call} {self.kind.value}{said} x{self.times}"


def cells(kinds: tuple[Fault, ...], *, whole: bool) -> Iterator[Cell]:
    """The matrix: each call with each of these faults; ``whole``: also told to be final, and three times in a row."""
    for endpoint in CALLS:
        for kind in kinds:
            yield Cell(endpoint=endpoint, kind=kind)
            if whole:
                yield Cell(endpoint=endpoint, kind=kind, times=3)
                if kind not in _UNTOLD:
                    yield Cell(endpoint=endpoint, kind=kind, final=True)
    for kind in kinds:
        yield Cell(endpoint=REFUND, kind=kind, part=True)


_UNTOLD: Final = frozenset({Fault.TIMEOUT_BEFORE, Fault.TIMEOUT_AFTER, Fault.DROP_BEFORE, Fault.DROP_AFTER})
"""Faults without an answer."""


def play(shop: Shop, cell: Cell) -> frozenset[Ends]:
    """Takes an order through the fault; answers how it may end."""
    buyer = Buyer(shop)
    buyer.reserve(2)
    return _PLAYS[cell.endpoint](shop, buyer, cell)


def hold_together(shop: Shop, matrix: Iterable[Cell]) -> None:
    """Plays each cell to its rest, and fails unless it ends as it should and both books agree."""
    for cell in matrix:
        may_end = play(shop, cell)
        if cell.times == 1:
            shop.wait_for_faults()
        shop.rest()
        shop.judge.forget_faults()
        newest = max(shop.orders().values(), key=lambda order: order.created_at_ms)
        assert (newest.state, newest.payment_state) in may_end, str(cell)
        wrong = disagreements(shop.books(), shop.judge.ledger())
        assert wrong == [], (str(cell), wrong)


def _befall(shop: Shop, cell: Cell) -> None:
    further = {"should_retry": False} if cell.final else {}
    shop.fault(cell.endpoint, cell.kind, times=cell.times, **further)


def _pay(shop: Shop, buyer: Buyer, cell: Cell) -> frozenset[Ends]:
    _befall(shop, cell)
    answer = buyer.pay()
    if answer.status_code == 201:
        return frozenset({CONFIRMED})
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]["code"] == "PAYMENT_UNAVAILABLE"
    shop.judge.forget_faults()
    # The hold lives on: the next click is another order, under a key of its own.
    first = buyer.order_id()
    second = placed_order(buyer.pay())
    shop.rest()
    orders = shop.orders()
    assert (orders[second].state, orders[second].payment_state) == CONFIRMED
    assert orders[first].state is OrderState.FAILED
    return frozenset({CONFIRMED, LOST, DECLINED})


def _capture(shop: Shop, buyer: Buyer, cell: Cell) -> frozenset[Ends]:
    _befall(shop, cell)
    placed_order(buyer.pay())
    return frozenset({CONFIRMED})


def _refund(shop: Shop, buyer: Buyer, cell: Cell) -> frozenset[Ends]:
    order_id = sell(shop, buyer)
    _befall(shop, cell)
    if cell.part:
        refund_a_ticket(shop, order_id)
        wait_for(lambda: _given_back(shop, order_id) > 0, lambda: f"nothing was given back: {cell}")
        return frozenset({CONFIRMED})
    assert buyer.cancel(order_id).status_code == 200
    return frozenset({REFUNDED})


def _given_back(shop: Shop, order_id: OrderId) -> int:
    (payment,) = payments_of(shop.judge.ledger(), order_id)
    assert payment.refunded in {0, payment.amount // 2}
    return payment.refunded


def _void(shop: Shop, buyer: Buyer, cell: Cell) -> frozenset[Ends]:
    order_id = put_off_capture(shop, buyer)
    _befall(shop, cell)
    assert buyer.cancel(order_id).status_code == 200
    return frozenset({VOIDED})


_PLAYS: Final[dict[str, Callable[[Shop, Buyer, Cell], frozenset[Ends]]]] = {
    AUTHORISE: _pay,
    CAPTURE: _capture,
    REFUND: _refund,
    LOOK: _refund,
    VOID: _void,
}
