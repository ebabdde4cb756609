"""What ends while money is under way: the hold, the authorisation, the buyer's wish, the event. The real daemon dies in
between, and at rest both books agree.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from storage.schema.layout import RESERVATIONS, event_partition
from storage.schema.states import DisputeState, OrderState, PaymentState, ReservationState, TicketState
from tests.money.books import payments_of, reading
from tests.money.deaths import (
    CHALLENGED,
    CONFIRMED,
    LOST,
    POINTS,
    REFUNDED,
    VOIDED,
    Ends,
    be_challenged,
    sell,
    stand_at_payment,
    stand_at_void,
    wait_for_states,
)
from tests.money.shop import (
    AUTHORISE,
    CAPTURE,
    EVENT,
    REFUND,
    VOID,
    Buyer,
    Shop,
    open_shop,
    placed_order,
    wait_for,
)
from tests.money.test_deaths import PLENTY
from tests.stripe_judge.behaviour import Delivery
from tests.stripe_judge.faults import Fault

HOLD_SECONDS: Final = 6
ENDED: Final = (OrderState.FAILED, PaymentState.FAILED)


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """``lead`` brings an order to where something ends; ``taken``: somebody else gets its seats meanwhile."""

    lead: Callable[[Shop, Buyer], None]
    ends: Ends
    token: str = "tok_visa"
    taken: bool = False


def let_the_challenge_run_out(shop: Shop, buyer: Buyer) -> None:
    """The buyer never acts, and freeing what was begun waits for its call."""
    be_challenged(buyer)
    shop.hang(VOID, after=False)


def outlive_the_authorisation(lead: Callable[[Shop, Buyer], None]) -> Callable[[Shop, Buyer], None]:
    """What was set aside runs out at the gateway while a call waits."""

    def led(shop: Shop, buyer: Buyer) -> None:
        lead(shop, buyer)
        (payment,) = payments_of(shop.judge.ledger(), buyer.order_id())
        shop.judge.expire(payment.payment_intent)

    return led


def cancel_at(endpoint: str, *, after: bool) -> Callable[[Shop, Buyer], None]:
    """The buyer cancels while this call of the payment waits. The long form does so at every point."""

    def led(shop: Shop, buyer: Buyer) -> None:
        stand_at_payment(endpoint, after=after)(shop, buyer)
        assert buyer.cancel(buyer.order_id()).status_code == 200

    return led


ENDINGS: Final[dict[str, Ending]] = {
    "hold over, card not asked": Ending(lead=stand_at_payment(AUTHORISE, after=False), ends=CONFIRMED),
    "hold over, authorised": Ending(lead=stand_at_payment(AUTHORISE, after=True), ends=CONFIRMED),
    "hold over, card not asked, seats taken": Ending(
        lead=stand_at_payment(AUTHORISE, after=False), ends=LOST, taken=True
    ),
    "hold over, authorised, seats taken": Ending(
        lead=stand_at_payment(AUTHORISE, after=True), ends=LOST, taken=True
    ),
    "authorisation over, not captured": Ending(
        lead=outlive_the_authorisation(stand_at_payment(CAPTURE, after=False)), ends=ENDED
    ),
    "authorisation over, cancelled, not voided": Ending(
        lead=outlive_the_authorisation(stand_at_void(after=False)), ends=VOIDED
    ),
    "cancelled, not captured": Ending(lead=cancel_at(CAPTURE, after=False), ends=VOIDED),
    "cancelled, captured unheard": Ending(lead=cancel_at(CAPTURE, after=True), ends=REFUNDED),
    # The last, since its call is made only when the hold ends.
    "hold over, challenge not met": Ending(lead=let_the_challenge_run_out, ends=LOST, token=CHALLENGED),
}


def test_whatever_runs_out_before_the_daemon_dies_nobody_pays_for_nothing(tmp_path: Path) -> None:
    with open_shop(
        tmp_path, hold_seconds=HOLD_SECONDS, timeout_seconds=240, freeze_seconds=1, capture_retry_seconds=20
    ) as shop:
        shop.start()
        buyers: dict[str, Buyer] = {}
        for (name, ending), seats in zip(ENDINGS.items(), pairs_of_seats(shop), strict=False):
            buyers[name] = buyer = Buyer(shop, ending.token)
            # Named, since the best ones may be those of a hold that has just ended.
            take(buyer, seats)
            ending.lead(shop, buyer)
        wait_for(lambda: not holds_under_payment(shop), lambda: f"held: {holds_under_payment(shop)}")
        shop.wait_for_faults()
        rivals = [take_over(shop, buyers[name]) for name, ending in ENDINGS.items() if ending.taken]
        shop.kill()
        assert shop.books().problems == []

        shop.start(capture_retry_seconds=1)
        shop.rest()
        ended = {name: order_states(buyer) for name, buyer in buyers.items()}
        assert ended == {name: ending.ends for name, ending in ENDINGS.items()}
        assert {order_states(rival) for rival in rivals} == {CONFIRMED}
        shop.audit()


def holds_under_payment(shop: Shop) -> int:
    """Holds that are live: their seats are nobody else's."""
    with reading(shop.data) as reads, reads.snapshot() as view:
        holds = [hold for _, hold in RESERVATIONS.scan(view, event_partition(EVENT))]
    return sum(hold.state is ReservationState.PAYING for hold in holds)


def take_over(shop: Shop, late: Buyer) -> Buyer:
    """Somebody else buys the seats of a hold that has ended."""
    rival = Buyer(shop)
    take(rival, late.hold["seat_ids"])
    wait_for_states(shop, placed_order(rival.pay()), CONFIRMED)
    return rival


def take(buyer: Buyer, seat_ids: list[str]) -> None:
    """Has the buyer hold these very seats."""
    answer = buyer.try_seats(seat_ids)
    assert answer.status_code == 201, answer.text
    buyer.hold = answer.json()


def pairs_of_seats(shop: Shop) -> list[list[str]]:
    """The first two seats of each row."""
    floor = shop.client.get(f"/v1/events/{EVENT}/seats").json()["sections"][0]
    return [[seat["seat_id"] for seat in row["seats"][:2]] for row in floor["rows"]]


def order_states(buyer: Buyer) -> Ends:
    order = buyer.order()
    assert order is not None
    return order.state, order.payment_state


# --- disputes ---------------------------------------------------------------------------------------------------------


def test_a_chargeback_is_learned_from_the_gateway_whoever_tells_of_it(tmp_path: Path) -> None:
    with open_shop(tmp_path, void_on_dispute=True) as shop:
        shop.judge.send_webhooks(delivery=Delivery.TWICE)
        shop.start()
        buyers = [Buyer(shop) for _ in range(3)]
        orders = []
        for buyer in buyers:
            buyer.reserve(2)
            orders.append(sell(shop, buyer))
        disputes = [shop.judge.open_dispute(shop.orders()[order].payment_ref or "") for order in orders]
        wait_for(lambda: {shop.orders()[order].dispute for order in orders} == {DisputeState.OPEN})
        shop.audit()
        shown = shop.operate("GET", f"/orders/{orders[0]}")
        assert (shown["dispute"], shown["disputed"]) == ("OPEN", shown["captured"])
        assert shown["disputes"][0]["dispute_id"] == disputes[0]
        assert len(shown["disputes"][0]["voided_tickets"]) == 2
        assert {ticket.state for ticket in shop.books().tickets} == {TicketState.VOID}
        assert buyers[0].cancel(orders[0]).json()["error"]["details"] == {"reason": "PAYMENT_DISPUTED"}

        shop.judge.close_dispute(disputes[0], won=True)
        wait_for(lambda: shop.orders()[orders[0]].dispute is DisputeState.WON)
        # What is decided while nobody listens is found at the next start.
        shop.judge.send_webhooks(delivery=Delivery.NEVER)
        shop.judge.close_dispute(disputes[1], won=False)
        shop.kill()
        shop.start()
        wait_for_states(shop, orders[1], REFUNDED)
        books = shop.audit()
        assert [books.live_tickets(order) for order in orders] == [2, 0, 0]
        again = Buyer(shop)
        assert again.try_seats(buyers[1].hold["seat_ids"]).status_code == 201
        assert again.try_seats(buyers[2].hold["seat_ids"]).status_code == 410
        assert not [call for call in shop.judge.calls() if call.endpoint == REFUND]

        # A refund that the gateway refuses is how this one is learned of; it is made once the money is there again.
        fickle = Buyer(shop)
        fickle.reserve(2)
        order = sell(shop, fickle)
        dispute = shop.judge.open_dispute(shop.orders()[order].payment_ref or "")
        assert fickle.cancel(order).status_code == 200
        wait_for(lambda: shop.orders()[order].dispute is DisputeState.OPEN)
        shop.judge.send_webhooks(delivery=Delivery.NORMAL)
        shop.judge.close_dispute(dispute, won=True)
        wait_for_states(shop, order, REFUNDED)
        shop.audit()
        assert shop.command("reconcile").endswith(", 0 under way, 0 differ")
        assert "DISPUTE_LOST" in shop.command("ledger", "export", "--all")


# --- cancelled events -------------------------------------------------------------------------------------------------


CROWD: Final = 26
"""More than end in one commit."""


def test_a_cancelled_event_gives_all_money_back_once_however_often_the_daemon_dies(tmp_path: Path) -> None:
    with open_shop(tmp_path, timeout_seconds=240, capture_retry_seconds=20) as shop:
        shop.start()
        crowd = [Buyer(shop) for _ in range(CROWD)]
        for buyer in crowd:
            buyer.reserve(1)
            placed_order(buyer.pay())
        shop.rest()
        odd = {name: POINTS[name] for name in ("captured, no tickets", "refund of a ticket written down")}
        buyers = {name: Buyer(shop, point.token) for name, point in odd.items()}
        for name, buyer in buyers.items():
            buyer.reserve(2)
            odd[name].lead(shop, buyer)
        waiting, holding, asking = Buyer(shop, CHALLENGED), Buyer(shop), Buyer(shop)
        for buyer in (waiting, holding, asking):
            buyer.reserve(2)
        be_challenged(waiting)
        stand_at_payment(AUTHORISE, after=True)(shop, asking)
        # The first refunds are made and not heard of, and so it is in the next life.
        for _ in range(2):
            made = refunds_made(shop)
            shop.fault(REFUND, Fault.TIMEOUT_AFTER, times=PLENTY)
            shop.operate("POST", f"/events/{EVENT}/cancel")
            wait_for(partial(has_grown, shop, made))
            shop.kill()
            shop.judge.forget_faults()
            assert shop.books().problems == []
            shop.start(capture_retry_seconds=1)
        wait_for(lambda: bool(shop.operate("POST", f"/events/{EVENT}/cancel")["done"]))
        shop.rest()
        books = shop.audit()
        assert {order_states(buyer) for buyer in (*crowd, *buyers.values())} == {REFUNDED}
        assert [order_states(buyer) for buyer in (waiting, asking)] == [VOIDED, LOST]
        assert {ticket.state for ticket in books.tickets} == {TicketState.VOID}
        assert sum(line.captured - line.refunded for line in shop.judge.ledger()) == 0
        assert holding.pay().status_code == 410
        assert shop.command("reconcile").endswith(", 0 under way, 0 differ")


def refunds_made(shop: Shop) -> int:
    """How many payments the gateway has given money back of."""
    return sum(line.refunded > 0 for line in shop.judge.ledger())


def has_grown(shop: Shop, made: int) -> bool:
    """Whether more of them were made, or there is none left that could be: a busy machine may look late."""
    captured = sum(line.captured > 0 for line in shop.judge.ledger())
    return refunds_made(shop) > made or made == captured
