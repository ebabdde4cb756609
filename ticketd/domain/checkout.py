"""From a hold to an order: begin a payment, then record what the gateway said to it. One commit each.

The recovery points of an order, by its two states: INTENT/STARTED (the gateway was, or will be, asked), then
PENDING/AUTHORIZED (sold, to be captured), PENDING/REQUIRES_ACTION (the buyer has to act), or FAILED. A task that died
between two of them finds the order by its due time and goes on from there. The gateway itself is never called here.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from storage.engine import Transaction
from storage.schema.ids import EventId, OrderId, PaymentMethodId, ReservationId, UserId
from storage.schema.layout import (
    BUYER_ORDERS,
    EVENT_OF_ORDER,
    ORDERS,
    RESERVATIONS,
    SYSTEM,
    buyer_partition,
    event_partition,
)
from storage.schema.movements import MovementKind
from storage.schema.records import AddressRecord, OrderRecord, ReplyPlace, ReservationRecord
from storage.schema.states import OrderState, PaymentState, ReservationState
from ticketd.domain.hoarding import forgive_lapses
from ticketd.domain.late_payment import retake_hold
from ticketd.domain.ledger import Movement, record_movement
from ticketd.domain.order_book import load_order, save_order, trail_line
from ticketd.domain.payment_methods import find_payment_method
from ticketd.domain.reservations import (
    find_reservation,
    freeze_reservation,
    sell_reservation,
    thaw_reservation,
)
from ticketd.domain.rooms import finish_entry
from ticketd.domain.sales import SalePhase, load_sale
from ticketd.errors import ErrorCode, Refusal

FIRST_LOOK_MS: Final = 5_000
LONGEST_LOOK_MS: Final = 30_000
"""How long the gateway is not asked whether a buyer has acted: at first, and later on."""


class BeginCheckout(msgspec.Struct, frozen=True, kw_only=True):
    """A buyer wants to pay a hold. ``freeze_ms`` is how long the hold may not end, ``resume_ms`` after how long the
    order is looked at again if nobody recorded an outcome; ``gateway`` is the one in use, and ``return_url`` where its
    page sends the buyer back to."""

    order_id: OrderId
    event_id: EventId
    user_id: UserId
    reservation_id: ReservationId
    payment_method_id: PaymentMethodId
    billing_address: AddressRecord
    delivery_method: str
    gateway: str
    return_url: str
    freeze_ms: int
    resume_ms: int
    session_id: str = ""
    reply: ReplyPlace | None = None


class OrderStep(msgspec.Struct, frozen=True, kw_only=True):
    """What names an order of an event in a step."""

    event_id: EventId
    order_id: OrderId


class RecordAction(OrderStep, frozen=True, kw_only=True):
    """The gateway wants the buyer to act at ``redirect_url``, or on a page that knows ``client_secret``."""

    payment_ref: str
    redirect_url: str
    client_secret: str | None = None


class RecordAuthorised(OrderStep, frozen=True, kw_only=True):
    """The gateway has set the money aside as ``payment_ref``."""

    payment_ref: str


class RecordRefused(OrderStep, frozen=True, kw_only=True):
    """The gateway has refused; no money was set aside."""

    decline_code: str
    payment_ref: str | None = None


def begin_checkout(tx: Transaction, command: BeginCheckout) -> OrderRecord:
    """Freezes the hold and writes the order as INTENT/STARTED.

    Refuses in this order: RESERVATION_NOT_FOUND, RESERVATION_EXPIRED, ORDER_EXISTS with ``order_id`` (also while
    another payment for the hold is under way; if that is this very request's, IDEMPOTENCY_KEY_IN_USE, or
    IDEMPOTENCY_KEY_REUSED if the two differ), SALE_ENDED with ``reason`` CANCELLED, INVALID_PAYMENT_METHOD. A hold may
    be paid after the sale has ended, but not for an event that will not take place.
    """
    hold = find_reservation(tx, command.event_id, command.user_id, command.reservation_id, tx.now_ms)
    if hold.state is not ReservationState.HELD:
        raise _under_payment(tx, command, hold)
    if load_sale(tx, command.event_id).cancelled:
        raise Refusal(ErrorCode.SALE_ENDED, details={"reason": SalePhase.CANCELLED.value})
    method = find_payment_method(tx, command.user_id, command.payment_method_id)
    if method is None or method.gateway != command.gateway:
        raise Refusal(ErrorCode.INVALID_PAYMENT_METHOD)
    hold = freeze_reservation(
        tx,
        command.event_id,
        command.user_id,
        command.reservation_id,
        command.order_id,
        max(hold.expires_at_ms, tx.now_ms + command.freeze_ms),
    )
    order = _new_order(tx, command, hold, method.method_ref)
    return save_order(tx, command.event_id, None, order, trail_line(tx, "payment begun", command.session_id))


def record_authorised(tx: Transaction, step: RecordAuthorised) -> OrderRecord:
    """The money is set aside: the seats are sold, the place in the room is given on, the capture is due at once.

    If the hold has ended meanwhile the very seats are taken again; if they are not free any more, or could not be
    reserved anew, or the event was cancelled, the order is FAILED instead, and its authorisation due to be voided.
    Recorded again, it changes nothing.
    """
    order = load_order(tx, step.event_id, step.order_id)
    if not _awaits_money(order):
        return order
    authorised = replace(
        order,
        payment_state=PaymentState.AUTHORIZED,
        payment_ref=step.payment_ref,
        redirect_url=None,
        client_secret=None,
        due_at_ms=tx.now_ms,
        tries=0,
    )
    set_aside = Movement(kind=MovementKind.AUTHORISED, amount_minor=order.total_minor)
    is_cancelled = load_sale(tx, step.event_id).cancelled
    if is_cancelled or not (_frozen_hold(tx, step.event_id, order) or retake_hold(tx, step.event_id, order)):
        _let_hold_live_on(tx, step.event_id, order)
        authorised = record_movement(tx, step.event_id, authorised, set_aside)
        late = replace(authorised, state=OrderState.FAILED)
        line = trail_line(tx, f"authorised {_too_late(is_cancelled)}")
        return save_order(tx, step.event_id, order, late, line)
    sell_reservation(tx, step.event_id, order.reservation_id)
    finish_entry(tx, step.event_id, order.entry_id)
    forgive_lapses(tx, step.event_id, order.entry_id)
    _show_to_buyer(tx, step.event_id, order)
    authorised = record_movement(tx, step.event_id, authorised, set_aside)
    sold = replace(authorised, state=OrderState.PENDING)
    return save_order(tx, step.event_id, order, sold, trail_line(tx, "authorised and sold"))


def record_action(tx: Transaction, step: RecordAction) -> OrderRecord:
    """The buyer has to act: the order is PENDING/REQUIRES_ACTION until the hold's own end, and the seats stay held.

    If that end has come meanwhile, or the event was cancelled, the order is FAILED instead, and its payment due to be
    voided. Recorded again, it changes nothing.
    """
    order = load_order(tx, step.event_id, step.order_id)
    if order.payment_state is not PaymentState.STARTED or order.state is not OrderState.INTENT:
        return order
    hold = _frozen_hold(tx, step.event_id, order)
    waiting = replace(
        order,
        payment_state=PaymentState.REQUIRES_ACTION,
        payment_ref=step.payment_ref,
        redirect_url=step.redirect_url,
        client_secret=step.client_secret,
        tries=0,
    )
    is_cancelled = load_sale(tx, step.event_id).cancelled
    if is_cancelled or hold is None or hold.expires_at_ms <= tx.now_ms:
        _let_hold_live_on(tx, step.event_id, order)
        late = replace(
            waiting, state=OrderState.FAILED, redirect_url=None, client_secret=None, due_at_ms=tx.now_ms
        )
        line = trail_line(tx, f"needs the buyer {_too_late(is_cancelled)}")
        return save_order(tx, step.event_id, order, late, line)
    # The buyer was told when the hold ends: that is how long there is to act.
    thaw_reservation(tx, step.event_id, order.reservation_id)
    freeze_reservation(
        tx, step.event_id, order.user_id, order.reservation_id, order.order_id, hold.expires_at_ms
    )
    _show_to_buyer(tx, step.event_id, order)
    look_at_ms = _next_look_ms(tx.now_ms, 0, hold)
    waiting = replace(waiting, state=OrderState.PENDING, due_at_ms=look_at_ms)
    return save_order(tx, step.event_id, order, waiting, trail_line(tx, "needs the buyer"))


def record_refused(tx: Transaction, step: RecordRefused) -> OrderRecord:
    """The payment was refused: the order is FAILED, and the hold lives on for another try until its own end."""
    order = load_order(tx, step.event_id, step.order_id)
    if not _awaits_money(order):
        return order
    _let_hold_live_on(tx, step.event_id, order)
    failed = replace(
        order,
        state=OrderState.FAILED,
        payment_state=PaymentState.FAILED,
        decline_code=step.decline_code,
        payment_ref=step.payment_ref or order.payment_ref,
        redirect_url=None,
        client_secret=None,
        due_at_ms=None,
    )
    return save_order(tx, step.event_id, order, failed, trail_line(tx, f"refused: {step.decline_code}"))


def record_unreachable(tx: Transaction, step: OrderStep, recheck_ms: int | None) -> OrderRecord:
    """The gateway gave no answer: the order is FAILED, the hold lives on.

    ``recheck_ms`` is after how long to ask what became of the payment, since it may have been authorised all the same;
    None if it certainly was not.
    """
    order = load_order(tx, step.event_id, step.order_id)
    if order.state is not OrderState.INTENT:
        return order
    _let_hold_live_on(tx, step.event_id, order, excused=True)
    unknown = recheck_ms is not None
    failed = replace(
        order,
        state=OrderState.FAILED,
        payment_state=PaymentState.STARTED if unknown else PaymentState.FAILED,
        due_at_ms=None if recheck_ms is None else tx.now_ms + recheck_ms,
    )
    return save_order(tx, step.event_id, order, failed, trail_line(tx, "gateway unreachable"))


def await_buyer(tx: Transaction, step: OrderStep) -> OrderRecord:
    """The buyer has not acted yet: the order is looked at again after a while, which grows, and at the hold's end. If
    that has come, the order is FAILED and its payment due to be voided."""
    order = load_order(tx, step.event_id, step.order_id)
    if order.state is not OrderState.PENDING or order.payment_state is not PaymentState.REQUIRES_ACTION:
        return order
    hold = _frozen_hold(tx, step.event_id, order)
    if hold is not None and hold.expires_at_ms > tx.now_ms:
        tries = order.tries + 1
        later = replace(order, due_at_ms=_next_look_ms(tx.now_ms, tries, hold), tries=tries)
        return save_order(tx, step.event_id, order, later, None)
    _let_hold_live_on(tx, step.event_id, order)
    failed = replace(
        order, state=OrderState.FAILED, redirect_url=None, client_secret=None, due_at_ms=tx.now_ms, tries=0
    )
    return save_order(tx, step.event_id, order, failed, trail_line(tx, "the buyer did not act in time"))


def _under_payment(tx: Transaction, command: BeginCheckout, hold: ReservationRecord) -> Refusal:
    """The refusal of a hold that another payment has frozen, or an earlier try of the same request."""
    order = (
        None if hold.order_id is None else ORDERS.get(tx, event_partition(command.event_id), hold.order_id)
    )
    first, again = None if order is None else order.reply, command.reply
    if first is None or again is None or first.digest != again.digest:
        return Refusal(ErrorCode.ORDER_EXISTS, details={"order_id": str(hold.order_id)})
    if first.fingerprint != again.fingerprint:
        return Refusal(ErrorCode.IDEMPOTENCY_KEY_REUSED)
    return Refusal(ErrorCode.IDEMPOTENCY_KEY_IN_USE)


def _frozen_hold(tx: Transaction, event_id: EventId, order: OrderRecord) -> ReservationRecord | None:
    """The order's hold, if its seats are still kept for this payment."""
    hold = RESERVATIONS.get(tx, event_partition(event_id), order.reservation_id)
    if hold is None or hold.state is not ReservationState.PAYING or hold.order_id != order.order_id:
        return None
    return hold


def _too_late(is_cancelled: bool) -> str:
    return "after the event was cancelled" if is_cancelled else "after the hold had ended"


def look_delay_ms(tries: int) -> int:
    """How long it is from the ``tries``-th look (0: the payment's begin) at a buyer who has to act to the next one:
    5 s, 10 s, 20 s, then 30 s each."""
    return min(FIRST_LOOK_MS << min(tries, 3), LONGEST_LOOK_MS)


def _next_look_ms(now_ms: int, tries: int, hold: ReservationRecord) -> int:
    return min(now_ms + look_delay_ms(tries), hold.expires_at_ms)


def _awaits_money(order: OrderRecord) -> bool:
    return order.state in {OrderState.INTENT, OrderState.PENDING} and order.payment_state in {
        PaymentState.STARTED,
        PaymentState.REQUIRES_ACTION,
    }


def _let_hold_live_on(
    tx: Transaction, event_id: EventId, order: OrderRecord, *, excused: bool = False
) -> None:
    if _frozen_hold(tx, event_id, order) is not None:
        thaw_reservation(tx, event_id, order.reservation_id, excused=excused)


def _show_to_buyer(tx: Transaction, event_id: EventId, order: OrderRecord) -> None:
    BUYER_ORDERS.put(tx, event_id, buyer_partition(order.user_id), order.order_id)
    EVENT_OF_ORDER.put(tx, event_id, SYSTEM, order.order_id)


def _new_order(
    tx: Transaction, command: BeginCheckout, hold: ReservationRecord, method_ref: str
) -> OrderRecord:
    return OrderRecord(
        order_id=command.order_id,
        user_id=command.user_id,
        reservation_id=command.reservation_id,
        entry_id=hold.entry_id,
        state=OrderState.INTENT,
        payment_state=PaymentState.STARTED,
        seats=hold.seats,
        subtotal_minor=hold.subtotal_minor,
        fees_minor=hold.fees_minor,
        taxes_minor=hold.taxes_minor,
        total_minor=hold.subtotal_minor + hold.fees_minor + hold.taxes_minor,
        currency=load_sale(tx, command.event_id).currency,
        delivery_method=command.delivery_method,
        billing_address=command.billing_address,
        payment_method_id=command.payment_method_id,
        gateway=command.gateway,
        method_ref=method_ref,
        return_url=command.return_url,
        created_at_ms=tx.now_ms,
        due_at_ms=tx.now_ms + command.resume_ms,
        reply=command.reply,
        movements=0,
    )
