"""Calling the payment gateway for orders: within a time, so many calls at once, under keys that are the order's own.

A call that is made again for the same order and step carries the same key and the same parameters, whatever happened
in between, so it moves no money twice. What is made of an answer does not belong here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from storage.schema.records import OrderRecord
from storage.schema.refunds import RefundRecord
from ticketd.domain.ledger import FREE_REF
from ticketd.ports.payments import (
    ActionRequired,
    Authorised,
    AuthoriseOutcome,
    CaptureOutcome,
    Charge,
    Declined,
    DisputePage,
    DisputeSnapshot,
    GatewayState,
    GatewayUnavailable,
    PaymentGateway,
    PaymentSnapshot,
    Refunded,
    RefundOutcome,
    VoidOutcome,
)

T = TypeVar("T")

CALLS_AT_ONCE: Final = 32
"""Calls of the gateway that are under way at most."""
KEYS_KEPT_MS: Final = 20 * 3600 * 1000
"""How long a gateway is trusted to know a key: less than the day for which Stripe keeps them
(https://docs.stripe.com/api/idempotent_requests)."""


class GatewayCalls:
    """The gateway as orders use it. ``timeout_seconds`` bounds a call, and before it the wait for its turn; ``now_ms``
    tells milliseconds UTC, as orders are dated."""

    def __init__(self, gateway: PaymentGateway, timeout_seconds: float, now_ms: Callable[[], int]) -> None:
        self._gateway = gateway
        self._now_ms = now_ms
        self._timeout_seconds = timeout_seconds
        self._turns = trio.CapacityLimiter(CALLS_AT_ONCE)

    async def call(self, call: Callable[[], Awaitable[T]]) -> T:
        """One call of the gateway. Raises GatewayUnavailable, also if it took too long."""
        try:
            with trio.fail_after(self._timeout_seconds):
                await self._turns.acquire()
        except trio.TooSlowError:
            raise GatewayUnavailable("too many calls are under way", effect_possible=False) from None
        try:
            with trio.fail_after(self._timeout_seconds):
                return await call()
        except trio.TooSlowError:
            raise GatewayUnavailable("no answer in time", effect_possible=True) from None
        finally:
            self._turns.release()

    async def authorise(self, order: OrderRecord) -> AuthoriseOutcome:
        """Sets the order's total aside. Asked again, the same outcome."""
        if order.total_minor == 0:
            return Authorised(FREE_REF)
        charge = Charge(
            order_id=order.order_id,
            amount_minor=order.total_minor,
            currency=order.currency,
            method_ref=order.method_ref,
            description=f"order {order.order_id}",
            return_url=order.return_url,
        )
        return await self.call(lambda: self._gateway.authorise(charge, f"{order.order_id}:authorise"))

    async def authorise_again(self, order: OrderRecord) -> AuthoriseOutcome:
        """The outcome of an authorisation whose answer was lost, made now if it was never asked for.

        An order that is too old for its key to be known still is looked for instead: asked again, a second sum would be
        set aside.
        """
        if order.total_minor == 0 or self._now_ms() - order.created_at_ms < KEYS_KEPT_MS:
            return await self.authorise(order)
        payment = await self.call(lambda: self._gateway.find_by_order(order.order_id, order.method_ref))
        if payment is None:
            return Declined("payment_not_found")
        match payment.state:
            case GatewayState.AUTHORISED | GatewayState.CAPTURED:
                return Authorised(payment.payment_ref)
            case GatewayState.REQUIRES_ACTION:
                return ActionRequired(payment.payment_ref, payment.redirect_url or "")
            case GatewayState.FAILED | GatewayState.VOIDED:
                return Declined(payment.decline_code or "declined", payment.payment_ref)

    async def capture(self, order: OrderRecord) -> CaptureOutcome:
        """Takes the order's total."""
        ref, key = payment_ref_of(order), f"{order.order_id}:capture"
        return await self.call(lambda: self._gateway.capture(ref, order.total_minor, key))

    async def void(self, order: OrderRecord) -> VoidOutcome:
        """Frees what was set aside for the order."""
        ref, key = payment_ref_of(order), f"{order.order_id}:void"
        return await self.call(lambda: self._gateway.void(ref, key))

    async def refund(self, order: OrderRecord, refunded_minor: int) -> RefundOutcome:
        """Gives back what is still due where ``refunded_minor``, less than ``refund_minor``, went back already."""
        # What somebody gave back by hand makes it another refund, of another amount; and what was refused while the
        # buyer's bank had the money stays refused under its key.
        part = f":{refunded_minor}" if refunded_minor else ""
        if order.dispute is not None:
            part += f":{order.dispute.value.lower()}"
        ref, key = payment_ref_of(order), f"{order.order_id}:refund{part}"
        due_minor = order.refund_minor - refunded_minor
        return await self.call(lambda: self._gateway.refund(ref, due_minor, key))

    async def refund_tickets(self, order: OrderRecord, refund: RefundRecord) -> RefundOutcome:
        """Gives back the money of some of the order's tickets."""
        ref, key = payment_ref_of(order), f"{order.order_id}:refund:{refund.refund_id}"
        return await self.call(lambda: self._gateway.refund(ref, refund.amount_minor, key))

    async def fetch(self, order: OrderRecord) -> PaymentSnapshot | None:
        """The order's payment as it stands at the gateway; None if it knows of none."""
        ref = payment_ref_of(order)
        return await self.call(lambda: self._gateway.fetch(ref))

    async def list_refunds(self, order: OrderRecord) -> tuple[Refunded, ...]:
        """All that the gateway gave back of the order's payment."""
        ref = payment_ref_of(order)
        return await self.call(lambda: self._gateway.list_refunds(ref))

    async def disputes_of(self, order: OrderRecord) -> tuple[DisputeSnapshot, ...]:
        """All disputes of the order's payment."""
        ref = payment_ref_of(order)
        return await self.call(lambda: self._gateway.disputes_of(ref))

    async def list_disputes(self, since_ms: int, cursor: str | None) -> DisputePage:
        """A page of the gateway's disputes since then."""
        return await self.call(lambda: self._gateway.list_disputes(since_ms, cursor))

    async def forget_method(self, method_ref: str) -> None:
        """Has a card forgotten."""
        await self.call(lambda: self._gateway.forget_method(method_ref))


def payment_ref_of(order: OrderRecord) -> str:
    """The gateway's name for an order's payment. An order without one is a fault in the program (LookupError)."""
    if order.payment_ref is None:
        raise LookupError(f"order {order.order_id} has no payment at the gateway")
    return order.payment_ref
