"""A gateway that fails, or waits, where a test wants it to; in all else it is the gateway behind it."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import trio

from storage.schema.ids import OrderId
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


class When(enum.Enum):
    """Before the gateway did anything, or after it did all and before its answer arrives."""

    BEFORE_EFFECT = enum.auto()
    AFTER_EFFECT = enum.auto()


class Pause:
    """A place where a call waits: ``reached`` is set when it is there, and it goes on when ``resume`` is set."""

    def __init__(self) -> None:
        self.reached = trio.Event()
        self.resume = trio.Event()


class CallSeen(msgspec.Struct, frozen=True):
    """A call that was made; ``idempotency_key`` is None where the operation takes none."""

    operation: str
    idempotency_key: str | None


class FaultyGateway:
    """Passes every call on to ``inner``, except for what was ordered with ``fail`` and ``pause``.

    An operation is named as the method is: ``"authorise"``, ``"capture"``. ``calls`` has all that were made, in order,
    those that failed too.
    """

    def __init__(self, inner: PaymentGateway) -> None:
        self._inner = inner
        self._faults: dict[tuple[str, When], deque[Pause | None]] = {}
        self.calls: list[CallSeen] = []

    def fail(self, operation: str, when: When = When.BEFORE_EFFECT, *, times: int = 1) -> None:
        """The next ``times`` calls raise GatewayUnavailable. Orders for one place are kept in the order given."""
        self._orders(operation, when).extend([None] * times)

    def pause(self, operation: str, when: When = When.BEFORE_EFFECT) -> Pause:
        """The next call waits there."""
        pause = Pause()
        self._orders(operation, when).append(pause)
        return pause

    def keys_of(self, operation: str) -> list[str | None]:
        """The keys with which an operation was called, in order."""
        return [call.idempotency_key for call in self.calls if call.operation == operation]

    def _orders(self, operation: str, when: When) -> deque[Pause | None]:
        if not hasattr(PaymentGateway, operation):
            raise AttributeError(f"a gateway has no {operation!r}")
        return self._faults.setdefault((operation, when), deque())

    async def _obey(self, operation: str, when: When) -> None:
        orders = self._orders(operation, when)
        if not orders:
            return
        pause = orders.popleft()
        if pause is None:
            raise GatewayUnavailable(
                f"{operation}: failed on order, {when.name}", effect_possible=when is When.AFTER_EFFECT
            )
        pause.reached.set()
        await pause.resume.wait()

    async def _pass_on(self, operation: str, key: str | None, call: Callable[[], Awaitable[_T]]) -> _T:
        self.calls.append(CallSeen(operation, key))
        await self._obey(operation, When.BEFORE_EFFECT)
        outcome = await call()
        await self._obey(operation, When.AFTER_EFFECT)
        return outcome

    @property
    def name(self) -> str:
        return self._inner.name

    async def describe_method(self, request: MethodRequest, idempotency_key: str) -> MethodOutcome:
        return await self._pass_on(
            "describe_method",
            idempotency_key,
            lambda: self._inner.describe_method(request, idempotency_key),
        )

    async def forget_method(self, method_ref: str) -> None:
        await self._pass_on("forget_method", None, lambda: self._inner.forget_method(method_ref))

    async def authorise(self, charge: Charge, idempotency_key: str) -> AuthoriseOutcome:
        return await self._pass_on(
            "authorise", idempotency_key, lambda: self._inner.authorise(charge, idempotency_key)
        )

    async def capture(self, payment_ref: str, amount_minor: int, idempotency_key: str) -> CaptureOutcome:
        return await self._pass_on(
            "capture",
            idempotency_key,
            lambda: self._inner.capture(payment_ref, amount_minor, idempotency_key),
        )

    async def void(self, payment_ref: str, idempotency_key: str) -> VoidOutcome:
        return await self._pass_on(
            "void", idempotency_key, lambda: self._inner.void(payment_ref, idempotency_key)
        )

    async def refund(self, payment_ref: str, amount_minor: int, idempotency_key: str) -> RefundOutcome:
        return await self._pass_on(
            "refund",
            idempotency_key,
            lambda: self._inner.refund(payment_ref, amount_minor, idempotency_key),
        )

    async def fetch(self, payment_ref: str) -> PaymentSnapshot | None:
        return await self._pass_on("fetch", None, lambda: self._inner.fetch(payment_ref))

    async def find_by_order(self, order_id: OrderId, method_ref: str | None = None) -> PaymentSnapshot | None:
        return await self._pass_on(
            "find_by_order", None, lambda: self._inner.find_by_order(order_id, method_ref)
        )

    async def list_refunds(self, payment_ref: str) -> tuple[Refunded, ...]:
        return await self._pass_on("list_refunds", None, lambda: self._inner.list_refunds(payment_ref))

    async def list_payments(self, since_ms: int, cursor: str | None = None) -> PaymentPage:
        return await self._pass_on("list_payments", None, lambda: self._inner.list_payments(since_ms, cursor))

    async def disputes_of(self, payment_ref: str) -> tuple[DisputeSnapshot, ...]:
        return await self._pass_on("disputes_of", None, lambda: self._inner.disputes_of(payment_ref))

    async def list_disputes(self, since_ms: int, cursor: str | None = None) -> DisputePage:
        return await self._pass_on("list_disputes", None, lambda: self._inner.list_disputes(since_ms, cursor))
