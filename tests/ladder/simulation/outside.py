"""The world outside of the daemon, which does not die with it: a gateway that has its troubles, and the mail."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from storage.schema.ids import OrderId
from ticketd.ports.mail import MailUnavailable, Message
from ticketd.ports.payments import (
    AuthoriseOutcome,
    CaptureOutcome,
    Charge,
    DisputePage,
    DisputeSnapshot,
    GatewayUnavailable,
    MethodOutcome,
    MethodRequest,
    PaymentGateway,
    PaymentPage,
    PaymentSnapshot,
    Refunded,
    RefundOutcome,
    VoidOutcome,
)

_T = TypeVar("_T")

SLOW_SECONDS: Final = 4.0
LOST_SECONDS: Final = 90.0
"""Longer than anybody waits for the gateway, and than a payment freezes a hold."""

_CLAIM: Final = re.compile(r"transfer=([0-9a-f-]{36})&token=([\w-]+)")


class TroubledGateway:
    """Passes every call on to ``inner``; the next calls of an operation fail, or take their time, as ``trouble`` says.

    ``before``: no answer, and nothing was done. ``after``: no answer, though it was done. ``slow``: the answer takes
    seconds. ``late``: it is done, and the answer takes longer than anybody waits. ``lost``: it takes as long, and then
    nothing was done.
    """

    def __init__(self, inner: PaymentGateway) -> None:
        self._inner = inner
        self._troubles: dict[str, deque[str]] = {}
        self.healed = False

    def trouble(self, operation: str, kind: str, times: int) -> None:
        """The next ``times`` calls of ``operation`` meet trouble."""
        self._troubles.setdefault(operation, deque()).extend([kind] * times)

    def heal(self) -> None:
        """No call meets trouble any more."""
        self.healed = True

    @property
    def name(self) -> str:
        return self._inner.name

    async def _pass_on(self, operation: str, call: Callable[[], Awaitable[_T]]) -> _T:
        troubles = self._troubles.get(operation)
        kind = troubles.popleft() if troubles and not self.healed else ""
        if kind == "before":
            raise GatewayUnavailable("no connection", effect_possible=False)
        if kind == "lost":
            await trio.sleep(LOST_SECONDS)
            raise GatewayUnavailable("no answer", effect_possible=True)
        await trio.sleep(SLOW_SECONDS if kind == "slow" else 0.05)
        outcome = await call()
        if kind == "late":
            await trio.sleep(LOST_SECONDS)
        if kind == "after":
            raise GatewayUnavailable("no answer", effect_possible=True)
        await trio.sleep(0.05)
        return outcome

    async def describe_method(self, request: MethodRequest, idempotency_key: str) -> MethodOutcome:
        return await self._pass_on(
            "describe_method", lambda: self._inner.describe_method(request, idempotency_key)
        )

    async def forget_method(self, method_ref: str) -> None:
        await self._pass_on("forget_method", lambda: self._inner.forget_method(method_ref))

    async def authorise(self, charge: Charge, idempotency_key: str) -> AuthoriseOutcome:
        return await self._pass_on("authorise", lambda: self._inner.authorise(charge, idempotency_key))

    async def capture(self, payment_ref: str, amount_minor: int, idempotency_key: str) -> CaptureOutcome:
        return await self._pass_on(
            "capture", lambda: self._inner.capture(payment_ref, amount_minor, idempotency_key)
        )

    async def void(self, payment_ref: str, idempotency_key: str) -> VoidOutcome:
        return await self._pass_on("void", lambda: self._inner.void(payment_ref, idempotency_key))

    async def refund(self, payment_ref: str, amount_minor: int, idempotency_key: str) -> RefundOutcome:
        return await self._pass_on(
            "refund", lambda: self._inner.refund(payment_ref, amount_minor, idempotency_key)
        )

    async def fetch(self, payment_ref: str) -> PaymentSnapshot | None:
        return await self._pass_on("fetch", lambda: self._inner.fetch(payment_ref))

    async def find_by_order(self, order_id: OrderId, method_ref: str | None = None) -> PaymentSnapshot | None:
        return await self._pass_on("find_by_order", lambda: self._inner.find_by_order(order_id, method_ref))

    async def list_refunds(self, payment_ref: str) -> tuple[Refunded, ...]:
        return await self._pass_on("list_refunds", lambda: self._inner.list_refunds(payment_ref))

    async def list_payments(self, since_ms: int, cursor: str | None = None) -> PaymentPage:
        return await self._pass_on("list_payments", lambda: self._inner.list_payments(since_ms, cursor))

    async def disputes_of(self, payment_ref: str) -> tuple[DisputeSnapshot, ...]:
        return await self._pass_on("disputes_of", lambda: self._inner.disputes_of(payment_ref))

    async def list_disputes(self, since_ms: int, cursor: str | None = None) -> DisputePage:
        return await self._pass_on("list_disputes", lambda: self._inner.list_disputes(since_ms, cursor))


class Letterbox:
    """Where mail arrives: what matters of it are the claims of tickets, by transfer."""

    def __init__(self) -> None:
        self.claims: dict[str, str] = {}
        self._sent = 0

    async def send(self, message: Message) -> None:
        """Takes a message; every seventh is put off."""
        self._sent += 1
        if self._sent % 7 == 0:
            raise MailUnavailable("come again")
        if (found := _CLAIM.search(message.text)) is not None:
            self.claims[found[1]] = found[2]
