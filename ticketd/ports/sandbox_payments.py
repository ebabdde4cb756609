"""The gateway that needs no network: it behaves as Stripe's test mode does and keeps its own ledger in a
file.

No real money moves here, and nobody should take it for the real thing; all else holds as of any gateway: what
it answered is durable, a repeated key moves nothing twice, a cancelled call may have charged all the same.
The event loop never waits for the disk: calls that meet are decided together in a thread, with one commit for
all of them. What is decided is ``sandbox_bank``'s, what is kept ``sandbox_ledger``'s; the page of the buyer's
challenge is served elsewhere.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, NoReturn, TypeVar

import trio

from storage.schema.ids import OrderId
from ticketd.ports.payments import (
    AuthoriseOutcome,
    CaptureOutcome,
    Charge,
    DisputePage,
    DisputeSnapshot,
    GatewayUnavailable,
    IdempotencyMismatch,
    MethodOutcome,
    MethodRequest,
    PaymentPage,
    PaymentSnapshot,
    Refunded,
    RefundOutcome,
    VoidOutcome,
    check_amount,
    check_key,
)
from ticketd.ports.sandbox_bank import ActionOutcome, SandboxAction, SandboxBank
from ticketd.ports.sandbox_ledger import SandboxLedger

__all__ = ["ActionOutcome", "SandboxAction", "SandboxGateway"]

_MOST_TOGETHER: Final = 256
_CURSOR_DIGITS: Final = 19

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class _Unsettled(Exception):
    """A call's result was asked for before there was one: a bug of this file."""


class _Call(Generic[_T_co]):
    """One call, from when it is made until its batch is committed or has failed."""

    def __init__(self, decide: Callable[[], _T_co]) -> None:
        self._decide = decide
        self._decided: Callable[[], _T_co] | None = None
        self.settled = False

    def run(self) -> None:
        """Decides within the ledger's commit. A mismatch is this call's alone; anything else undoes the whole
        batch."""
        try:
            value = self._decide()
        except IdempotencyMismatch as error:
            self._decided = _raiser(error)
        else:
            self._decided = lambda: value

    def settle(self) -> None:
        """What was decided is durable."""
        self.settled = True

    def fail(self, error: Exception) -> None:
        """The batch was not committed, or may not have been."""
        if isinstance(error, GatewayUnavailable):
            # Raised in two tasks, one exception would mix their tracebacks.
            error = GatewayUnavailable(str(error), effect_possible=error.effect_possible)
        self._decided = _raiser(error)
        self.settled = True

    def result(self) -> _T_co:
        """What was decided, returned or raised."""
        if not self.settled or self._decided is None:
            raise _Unsettled
        return self._decided()


def _raiser(error: Exception) -> Callable[[], NoReturn]:
    def raise_it() -> NoReturn:
        raise error

    return raise_it


def _seq_of(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < _CURSOR_DIGITS):
        raise ValueError("no such cursor was given out")
    return int(cursor)


class SandboxGateway:
    """The sandbox, with its ledger at ``path`` (which may have to be made; its folder must be there).

    ``now_ms`` tells milliseconds UTC. ``public_url`` is the address under which the daemon is reached, or
    tells it: a challenge's page is ``{public_url}/sandbox/payments/{payment_ref}``. With ``inline`` the loop
    waits for the disk and no thread is started, so that a simulation can be repeated. Refuses LedgerUnusable.
    """

    def __init__(
        self,
        path: Path,
        *,
        now_ms: Callable[[], int],
        public_url: str | Callable[[], str],
        inline: bool = False,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._ledger = SandboxLedger(path)
        self._bank = SandboxBank(self._ledger, random_bytes)
        self._now_ms = now_ms
        self._public_url = public_url
        self._inline = inline
        self._turn = trio.Lock()
        self._thread_limit = trio.CapacityLimiter(1)
        self._waiting: list[_Call[object]] = []

    @property
    def name(self) -> str:
        """``sandbox``."""
        return "sandbox"

    def close(self) -> None:
        """Closes the ledger, once no call is under way."""
        self._ledger.close()

    # --- the port -------------------------------------------------------------------------------------------

    async def describe_method(self, request: MethodRequest, idempotency_key: str) -> MethodOutcome:
        """As PaymentGateway.describe_method: takes the tokens of ``sandbox_cards``."""
        key, now_ms = check_key(idempotency_key), self._now_ms()
        return await self._ask(lambda: self._bank.describe_method(request, key, now_ms))

    async def forget_method(self, method_ref: str) -> None:
        """As PaymentGateway.forget_method."""
        await self._ask(lambda: self._bank.forget_method(method_ref))

    async def authorise(self, charge: Charge, idempotency_key: str) -> AuthoriseOutcome:
        """As PaymentGateway.authorise. A card that is unknown or forgotten is declined with
        ``resource_missing``, more than 99,999,999 minor units with ``amount_too_large``, both without a
        payment."""
        key, now_ms = check_key(idempotency_key), self._now_ms()
        public_url = self._public_url if isinstance(self._public_url, str) else self._public_url()
        return await self._ask(lambda: self._bank.authorise(charge, key, now_ms, public_url))

    async def capture(self, payment_ref: str, amount_minor: int, idempotency_key: str) -> CaptureOutcome:
        """As PaymentGateway.capture."""
        key, amount = check_key(idempotency_key), check_amount(amount_minor)
        return await self._ask(lambda: self._bank.capture(payment_ref, amount, key))

    async def void(self, payment_ref: str, idempotency_key: str) -> VoidOutcome:
        """As PaymentGateway.void."""
        key = check_key(idempotency_key)
        return await self._ask(lambda: self._bank.void(payment_ref, key))

    async def refund(self, payment_ref: str, amount_minor: int, idempotency_key: str) -> RefundOutcome:
        """As PaymentGateway.refund."""
        key, amount, now_ms = check_key(idempotency_key), check_amount(amount_minor), self._now_ms()
        return await self._ask(lambda: self._bank.refund(payment_ref, amount, key, now_ms))

    async def fetch(self, payment_ref: str) -> PaymentSnapshot | None:
        """As PaymentGateway.fetch."""
        return await self._ask(lambda: self._bank.fetch(payment_ref))

    async def find_by_order(self, order_id: OrderId, method_ref: str | None = None) -> PaymentSnapshot | None:
        """As PaymentGateway.find_by_order; it does not lag."""
        return await self._ask(lambda: self._bank.find_by_order(order_id))

    async def list_refunds(self, payment_ref: str) -> tuple[Refunded, ...]:
        """As PaymentGateway.list_refunds."""
        return await self._ask(lambda: self._bank.list_refunds(payment_ref))

    async def list_payments(self, since_ms: int, cursor: str | None = None) -> PaymentPage:
        """As PaymentGateway.list_payments, in the order in which they were begun."""
        after = _seq_of(cursor)
        return await self._ask(lambda: self._bank.list_payments(since_ms, after))

    async def disputes_of(self, payment_ref: str) -> tuple[DisputeSnapshot, ...]:
        """As PaymentGateway.disputes_of; no bank disputes what was never paid."""
        return ()

    async def list_disputes(self, since_ms: int, cursor: str | None = None) -> DisputePage:
        """As PaymentGateway.list_disputes: there are none."""
        if cursor is not None:
            raise ValueError("no such cursor was given out")
        return DisputePage(disputes=(), next_cursor=None)

    # --- the buyer's challenge ------------------------------------------------------------------------------

    async def describe_action(self, payment_ref: str) -> SandboxAction | None:
        """What the challenge's page shows; None if there is no such payment, or it never asked for the
        buyer."""
        return await self._ask(lambda: self._bank.describe_action(payment_ref))

    async def complete_action(self, payment_ref: str, outcome: ActionOutcome) -> SandboxAction | None:
        """Ends a challenge that waits; one that is over stays as it is. Answers what is so then, as
        describe_action."""
        return await self._ask(lambda: self._bank.complete_action(payment_ref, outcome))

    # --- batches --------------------------------------------------------------------------------------------

    async def _ask(self, decide: Callable[[], _T]) -> _T:
        call = _Call(decide)
        self._waiting.append(call)
        try:
            # Turns come in the order of calling: who comes to its turn unsettled is the first of those that wait, and
            # takes the others along.
            async with self._turn:
                if not call.settled:
                    batch = self._waiting[:_MOST_TOGETHER]
                    del self._waiting[:_MOST_TOGETHER]
                    await self._commit(batch)
        finally:
            if not call.settled and call in self._waiting:
                # Cancelled before its batch began: nothing was done.
                self._waiting.remove(call)
        return call.result()

    async def _commit(self, batch: Sequence[_Call[object]]) -> None:
        steps = [call.run for call in batch]
        try:
            if self._inline:
                self._ledger.commit_together(steps)
            else:
                # Shielded, since the batch holds other tasks' calls too; it lasts one commit.
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(
                        self._ledger.commit_together, steps, limiter=self._thread_limit
                    )
        except Exception as error:
            for call in batch:
                call.fail(error)
        else:
            for call in batch:
                call.settle()
