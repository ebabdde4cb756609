"""The points at which the daemon may die between two steps of an order's money, and how to bring it to stand there.

No step is stopped from within: a call of the gateway is never answered, so that the order stands still before or after
the call's effect, or the store is looked at until a commit is in it. Then the process is killed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from storage.schema.ids import OrderId
from storage.schema.states import DisputeState, OrderState, PaymentState
from tests.money.shop import AUTHORISE, CAPTURE, LOOK, REFUND, VOID, Buyer, Shop, placed_order, wait_for
from tests.stripe_judge.faults import Fault

Ends: TypeAlias = tuple[OrderState, PaymentState]

CONFIRMED: Final = (OrderState.CONFIRMED, PaymentState.CAPTURED)
REFUNDED: Final = (OrderState.CANCELLED, PaymentState.REFUNDED)
VOIDED: Final = (OrderState.CANCELLED, PaymentState.VOIDED)
DECLINED: Final = (OrderState.FAILED, PaymentState.FAILED)
LOST: Final = (OrderState.FAILED, PaymentState.VOIDED)

DECLINING: Final = "tok_chargeCustomerFail"
CHALLENGED: Final = "tok_threeDSecure2Required"


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """``lead`` brings a buyer's order of two seats there; ``ends`` is what comes of it after the next start.
    ``gives_back_half``: one of its tickets was refunded; ``dispute``: what the order says of one of its payment."""

    lead: Callable[[Shop, Buyer], None]
    ends: Ends
    token: str = "tok_visa"
    gives_back_half: bool = False
    dispute: DisputeState | None = None


def wait_for_states(shop: Shop, order_id: OrderId, ends: Ends) -> None:
    """Until the order has these states, by the store."""

    def states() -> Ends:
        order = shop.orders()[order_id]
        return order.state, order.payment_state

    wait_for(lambda: states() == ends, lambda: f"{order_id} is {states()} and not {ends}")


def stand_at_payment(endpoint: str, *, after: bool) -> Callable[[Shop, Buyer], None]:
    """The order's payment waits for this call."""

    def lead(shop: Shop, buyer: Buyer) -> None:
        shop.hang(endpoint, after=after)
        shop.soon(buyer.pay)
        shop.wait_for_faults()

    return lead


def sell(shop: Shop, buyer: Buyer) -> OrderId:
    """An order with its tickets."""
    order_id = placed_order(buyer.pay())
    wait_for_states(shop, order_id, CONFIRMED)
    return order_id


def stand_at_refund(endpoint: str, *, after: bool) -> Callable[[Shop, Buyer], None]:
    """The buyer has cancelled, and the money's way back waits for this call."""

    def lead(shop: Shop, buyer: Buyer) -> None:
        order_id = sell(shop, buyer)
        shop.hang(endpoint, after=after)
        assert buyer.cancel(order_id).status_code == 200
        shop.wait_for_faults()

    return lead


def put_off_capture(shop: Shop, buyer: Buyer) -> OrderId:
    """An order that is sold, and whose money cannot be taken for a while."""
    shop.fault(CAPTURE, Fault.RATE_LIMIT, should_retry=False)
    order_id = placed_order(buyer.pay())
    wait_for(lambda: shop.orders()[order_id].tries == 1)
    return order_id


def stand_at_void(*, after: bool) -> Callable[[Shop, Buyer], None]:
    """Cancelled before the money was taken: what was set aside is to be freed."""

    def lead(shop: Shop, buyer: Buyer) -> None:
        order_id = put_off_capture(shop, buyer)
        shop.hang(VOID, after=after)
        assert buyer.cancel(order_id).status_code == 200
        shop.wait_for_faults()

    return lead


def lose_the_answer(shop: Shop, buyer: Buyer) -> None:
    """The gateway fails in the middle of what it does, the buyer is told so, and nobody knows yet what was done."""
    shop.fault(AUTHORISE, Fault.ERROR_AFTER, should_retry=False)
    answer = buyer.pay()
    assert answer.status_code == 503, answer.text


def cancel_and_see_it_refunded(shop: Shop, buyer: Buyer) -> None:
    order_id = sell(shop, buyer)
    assert buyer.cancel(order_id).status_code == 200
    wait_for_states(shop, order_id, REFUNDED)


def sell_and_leave(shop: Shop, buyer: Buyer) -> None:
    sell(shop, buyer)


def leave_put_off(shop: Shop, buyer: Buyer) -> None:
    put_off_capture(shop, buyer)


def refund_a_ticket(shop: Shop, order_id: OrderId) -> None:
    """The operator gives the first ticket of an order back."""
    (ticket_id, *_) = shop.orders()[order_id].ticket_ids
    shop.command("refund", str(order_id), "--ticket", str(ticket_id))


def refund_half_and_see_it_done(shop: Shop, buyer: Buyer) -> None:
    order_id = sell(shop, buyer)
    refund_a_ticket(shop, order_id)
    wait_for(lambda: shop.orders()[order_id].due_at_ms is None)


def stand_at_half_refund(*, after: bool) -> Callable[[Shop, Buyer], None]:
    """One of two tickets was taken back, and its money waits for this call."""

    def lead(shop: Shop, buyer: Buyer) -> None:
        order_id = sell(shop, buyer)
        shop.hang(REFUND, after=after)
        refund_a_ticket(shop, order_id)
        shop.wait_for_faults()

    return lead


def be_challenged(buyer: Buyer) -> tuple[OrderId, str]:
    """An order that waits for its buyer, and the page of the card's bank."""
    answer = buyer.pay()
    order_id = placed_order(answer)
    assert answer.json()["payment_status"] == PaymentState.REQUIRES_ACTION
    return order_id, str(answer.json()["next_action"]["redirect_url"])


def meet_the_challenge_unheard(shop: Shop, buyer: Buyer) -> None:
    """The buyer has done what the bank wants, and the daemon that looks does not hear of it."""
    _, page = be_challenged(buyer)
    shop.hang(LOOK, after=False)
    shop.judge.finish_challenge(page)
    shop.wait_for_faults()


def give_up_the_challenge(shop: Shop, buyer: Buyer) -> None:
    order_id, _ = be_challenged(buyer)
    shop.hang(VOID, after=False)
    assert buyer.cancel(order_id).status_code == 200
    shop.wait_for_faults()


def be_declined(shop: Shop, buyer: Buyer) -> None:
    answer = buyer.pay()
    assert answer.status_code == 402, answer.text


def be_disputed(*, won: bool = False) -> Callable[[Shop, Buyer], None]:
    """The buyer's bank takes the money, and perhaps gives it again; nobody tells the daemon."""

    def lead(shop: Shop, buyer: Buyer) -> None:
        order_id = sell(shop, buyer)
        dispute = shop.judge.open_dispute(shop.orders()[order_id].payment_ref or "")
        if won:
            shop.judge.close_dispute(dispute, won=True)

    return lead


def cancel_disputed(shop: Shop, buyer: Buyer) -> None:
    """The buyer cancels what the bank is about to pay back: the refund, which waits for its call, will be refused."""
    order_id = sell(shop, buyer)
    shop.hang(LOOK, after=False)
    assert buyer.cancel(order_id).status_code == 200
    shop.wait_for_faults()
    dispute = shop.judge.open_dispute(shop.orders()[order_id].payment_ref or "")
    shop.judge.close_dispute(dispute, won=False)


POINTS: Final[dict[str, Point]] = {
    "intent written, card not asked": Point(lead=stand_at_payment(AUTHORISE, after=False), ends=CONFIRMED),
    "authorised, not sold": Point(lead=stand_at_payment(AUTHORISE, after=True), ends=CONFIRMED),
    "sold, not captured": Point(lead=stand_at_payment(CAPTURE, after=False), ends=CONFIRMED),
    "captured, no tickets": Point(lead=stand_at_payment(CAPTURE, after=True), ends=CONFIRMED),
    "tickets issued": Point(lead=sell_and_leave, ends=CONFIRMED),
    "cancelled, payment not looked at": Point(lead=stand_at_refund(LOOK, after=False), ends=REFUNDED),
    "cancelled, not refunded": Point(lead=stand_at_refund(REFUND, after=False), ends=REFUNDED),
    "refunded, not written down": Point(lead=stand_at_refund(REFUND, after=True), ends=REFUNDED),
    "refund written down": Point(lead=cancel_and_see_it_refunded, ends=REFUNDED),
    "ticket taken back, not refunded": Point(
        lead=stand_at_half_refund(after=False), ends=CONFIRMED, gives_back_half=True
    ),
    "ticket refunded, not written down": Point(
        lead=stand_at_half_refund(after=True), ends=CONFIRMED, gives_back_half=True
    ),
    "refund of a ticket written down": Point(
        lead=refund_half_and_see_it_done, ends=CONFIRMED, gives_back_half=True
    ),
    "challenge met, not seen": Point(lead=meet_the_challenge_unheard, ends=CONFIRMED, token=CHALLENGED),
    "challenge given up, not voided": Point(lead=give_up_the_challenge, ends=VOIDED, token=CHALLENGED),
    "cancelled, not voided": Point(lead=stand_at_void(after=False), ends=VOIDED),
    "voided, not written down": Point(lead=stand_at_void(after=True), ends=VOIDED),
    "answer lost, nothing known": Point(lead=lose_the_answer, ends=LOST),
    "decline not heard": Point(lead=stand_at_payment(AUTHORISE, after=True), ends=DECLINED, token=DECLINING),
    "decline heard, payment not given up": Point(
        lead=stand_at_payment(VOID, after=False), ends=DECLINED, token=DECLINING
    ),
    "decline written down": Point(lead=be_declined, ends=DECLINED, token=DECLINING),
    "disputed, not seen": Point(lead=be_disputed(), ends=CONFIRMED, dispute=DisputeState.OPEN),
    "dispute won, neither seen": Point(lead=be_disputed(won=True), ends=CONFIRMED, dispute=DisputeState.WON),
    "cancelled, not refunded, lost to the bank": Point(
        lead=cancel_disputed, ends=REFUNDED, dispute=DisputeState.LOST
    ),
    # The last, since it is tried again in its time and would meet what is ordered for the others.
    "capture put off": Point(lead=leave_put_off, ends=CONFIRMED),
}
