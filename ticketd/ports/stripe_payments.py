"""The gateway that is Stripe: cards are authorised, and captured later, by payment intents.

True here: every call that changes something carries a key derived from the caller's; a payment that was declined is
cancelled at once, so that no other card can be tried on it; what Stripe refuses is an outcome, and only what it did not
answer is raised. Source: https://docs.stripe.com/payments/place-a-hold-on-a-payment-method and
https://docs.stripe.com/api/payment_intents.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import structlog
import trio

from storage.schema.ids import OrderId
from ticketd.ports.payments import (
    ActionRequired,
    Authorised,
    AuthoriseOutcome,
    Captured,
    CaptureOutcome,
    CaptureRefused,
    Charge,
    Declined,
    DisputePage,
    DisputeSnapshot,
    GatewayState,
    GatewayUnavailable,
    MethodOutcome,
    MethodRequest,
    OperationRefusal,
    PaymentPage,
    PaymentSnapshot,
    Refunded,
    RefundOutcome,
    RefundRefused,
    Voided,
    VoidOutcome,
    VoidRefused,
    check_amount,
    check_key,
)
from ticketd.ports.stripe_answers import IntentList, RefundList, StripeIntent, StripeRefund
from ticketd.ports.stripe_calls import Ask, StripeAccount, StripeCalls, step_key
from ticketd.ports.stripe_disputes import StripeDisputes
from ticketd.ports.stripe_faults import StripeRefusal
from ticketd.ports.stripe_intents import (
    COUNTED_OTHERWISE,
    GIVEN_UP,
    ORDER_KEY,
    decline_code_of,
    order_of,
    redirect_url_of,
    snapshot_of,
    state_of,
)
from ticketd.ports.stripe_methods import MISSING, MethodRef, StripeMethods, read_method_ref

if TYPE_CHECKING:
    from stripe.params import PaymentIntentListParams, RefundListParams

REFUND_KEY: Final = "refund_key"
"""Under which a refund's metadata name the caller's intention."""

PAGE_SIZE: Final = 100
PAGES_OF_A_BUYER: Final = 10
"""So many pages of a buyer's payments are looked through for an order, newest first."""

_PAYMENT: Final = re.compile(r"pi_[A-Za-z0-9_]{1,250}")
_NOT_REFUNDED: Final = frozenset({"failed", "canceled"})
_DECLINING: Final = frozenset({"amount_too_small", "amount_too_large", MISSING})
"""Refusals of a charge that say nothing against the set-up; others than these are logged as errors."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class StripeGateway:
    """Stripe. A charge in one of ``COUNTED_OTHERWISE`` is declined with ``currency_not_supported``."""

    def __init__(self, account: StripeAccount) -> None:
        self._calls = StripeCalls(account)
        self._methods = StripeMethods(self._calls)
        self._disputes = StripeDisputes(self._calls)

    @property
    def name(self) -> str:
        """``stripe``."""
        return "stripe"

    async def run(self) -> None:
        """Asks Stripe whether it takes the API key, tells the log if not, and closes the connections when it is
        cancelled. Nobody waits for it: a daemon starts without the network, too."""
        try:
            await self.check()
            await trio.sleep_forever()
        finally:
            await self.close()

    async def close(self) -> None:
        """Closes the connections; what is not closed within a second is left to the system."""
        with trio.move_on_after(1) as closing:
            closing.shield = True
            await self._calls.close()

    async def check(self) -> bool:
        """Whether Stripe takes the API key, by a call that every sale needs: the list of payments."""
        try:
            said = await self._list_intents({"limit": 1}, self._calls.deadline())
        except GatewayUnavailable as trouble:
            _log.error("stripe cannot be used", problem=str(trouble))
            return False
        if isinstance(said, StripeRefusal):
            _log.error("stripe cannot be used", problem=said.code, request_id=said.request_id)
            return False
        _log.info("stripe takes the API key")
        return True

    # --- cards ----------------------------------------------------------------------------------------------

    async def describe_method(self, request: MethodRequest, idempotency_key: str) -> MethodOutcome:
        """As PaymentGateway.describe_method: takes ``tok_…`` and ``pm_…`` of Stripe's scripts."""
        return await self._methods.describe(request, check_key(idempotency_key))

    async def forget_method(self, method_ref: str) -> None:
        """As PaymentGateway.forget_method."""
        await self._methods.forget(method_ref)

    # --- a payment ------------------------------------------------------------------------------------------

    async def authorise(self, charge: Charge, idempotency_key: str) -> AuthoriseOutcome:
        """As PaymentGateway.authorise. What Stripe refuses to try at all is declined with its error code."""
        key = check_key(idempotency_key)
        ref = read_method_ref(charge.method_ref)
        if ref is None:
            return Declined(MISSING)
        if charge.currency in COUNTED_OTHERWISE:
            return Declined("currency_not_supported")
        deadline = self._calls.deadline()
        said = await self._calls.ask_until_known(
            key,
            lambda key: self._create_intent(charge, ref, key, deadline),
            lambda: self._look_through(ref.customer, charge.order_id, deadline),
        )
        if isinstance(said, StripeRefusal):
            return await self._decline(said, key, deadline)
        outcome = _outcome_of(said)
        if outcome is None:
            # The key answers the same for ever, so it is the payment itself that tells how it went on.
            now = await self._retrieve(said.id, deadline)
            outcome = None if isinstance(now, StripeRefusal) else _outcome_of(now)
        if outcome is None:
            raise GatewayUnavailable("stripe: the payment is not decided yet", effect_possible=True)
        if isinstance(outcome, Declined):
            await self._give_up(said.id, key, deadline)
        return outcome

    async def capture(self, payment_ref: str, amount_minor: int, idempotency_key: str) -> CaptureOutcome:
        """As PaymentGateway.capture."""
        key, amount = check_key(idempotency_key), check_amount(amount_minor)
        if not _PAYMENT.fullmatch(payment_ref):
            return CaptureRefused(OperationRefusal.NO_SUCH_PAYMENT)
        deadline = self._calls.deadline()
        said = await self._calls.ask_until_known(
            key,
            lambda key: self._capture(payment_ref, amount, key, deadline),
            lambda: self._find_in(payment_ref, "succeeded", deadline),
        )
        return CaptureRefused(_reason(said)) if isinstance(said, StripeRefusal) else Captured(amount)

    async def void(self, payment_ref: str, idempotency_key: str) -> VoidOutcome:
        """As PaymentGateway.void. One that was declined is over already, and stays FAILED."""
        key, deadline = check_key(idempotency_key), self._calls.deadline()
        if not _PAYMENT.fullmatch(payment_ref):
            return VoidRefused(OperationRefusal.NO_SUCH_PAYMENT)
        said = await self._calls.ask_until_known(
            key,
            lambda key: self._cancel(payment_ref, key, deadline, given_up=False),
            lambda: self._find_in(payment_ref, "canceled", deadline),
        )
        if isinstance(said, StripeIntent):
            return Voided()
        reason = _reason(said)
        if reason is OperationRefusal.WRONG_STATE:
            now = await self._retrieve(payment_ref, deadline)
            if isinstance(now, StripeIntent) and now.status == "canceled" and _has_failed(now):
                return Voided()
        return VoidRefused(reason)

    async def refund(self, payment_ref: str, amount_minor: int, idempotency_key: str) -> RefundOutcome:
        """As PaymentGateway.refund. One that is on its way still counts as done."""
        key, amount = check_key(idempotency_key), check_amount(amount_minor)
        if not _PAYMENT.fullmatch(payment_ref):
            return RefundRefused(OperationRefusal.NO_SUCH_PAYMENT)
        deadline = self._calls.deadline()
        said = await self._calls.ask_until_known(
            key,
            lambda each: self._create_refund(payment_ref, amount, (key, each), deadline),
            lambda: self._find_refund(payment_ref, key, deadline),
        )
        if isinstance(said, StripeRefusal):
            return RefundRefused(_reason(said))
        if said.status in _NOT_REFUNDED:
            _log.error("stripe could not refund", payment_ref=payment_ref, status=said.status)
            return RefundRefused(OperationRefusal.WRONG_STATE)
        return Refunded(said.id, said.amount)

    # --- looking --------------------------------------------------------------------------------------------

    async def fetch(self, payment_ref: str) -> PaymentSnapshot | None:
        """As PaymentGateway.fetch; None too for a payment that names no order."""
        if not _PAYMENT.fullmatch(payment_ref):
            return None
        said = await self._retrieve(payment_ref, self._calls.deadline())
        return None if isinstance(said, StripeRefusal) else snapshot_of(said)

    async def find_by_order(self, order_id: OrderId, method_ref: str | None = None) -> PaymentSnapshot | None:
        """As PaymentGateway.find_by_order. With the card it looks through its customer's newest payments, and lags
        behind nothing; without, it is Stripe's search, which lags by a minute or more."""
        deadline = self._calls.deadline()
        ref = None if method_ref is None else read_method_ref(method_ref)
        if ref is None:
            found = await self._search(order_id, deadline)
        else:
            found = await self._look_through(ref.customer, order_id, deadline)
        if found is None:
            return None
        said = await self._retrieve(found.id, deadline)
        return None if isinstance(said, StripeRefusal) else snapshot_of(said)

    async def list_refunds(self, payment_ref: str) -> tuple[Refunded, ...]:
        """As PaymentGateway.list_refunds."""
        if not _PAYMENT.fullmatch(payment_ref):
            return ()
        found = await self._refunds_of(payment_ref, self._calls.deadline())
        return tuple(Refunded(each.id, each.amount) for each in found if each.status not in _NOT_REFUNDED)

    async def list_payments(self, since_ms: int, cursor: str | None = None) -> PaymentPage:
        """As PaymentGateway.list_payments: newest first. Stripe keeps whole seconds, so that some from just before
        ``since_ms`` may be among them."""
        params: PaymentIntentListParams = {
            "created": {"gte": since_ms // 1000},
            "limit": PAGE_SIZE,
            "expand": ["data.latest_charge"],
        }
        if cursor is not None:
            if not _PAYMENT.fullmatch(cursor):
                raise ValueError("this cursor was not given out")
            params["starting_after"] = cursor
        page = await self._list_intents(params, self._calls.deadline())
        if isinstance(page, StripeRefusal):
            raise ValueError(f"stripe knows no such cursor: {page.code}")  # noqa: TRY004 - of its value
        payments = (snapshot_of(intent) for intent in page.data)
        return PaymentPage(
            payments=tuple(payment for payment in payments if payment is not None),
            next_cursor=page.data[-1].id if page.has_more and page.data else None,
        )

    async def disputes_of(self, payment_ref: str) -> tuple[DisputeSnapshot, ...]:
        """As PaymentGateway.disputes_of."""
        return await self._disputes.of_payment(payment_ref) if _PAYMENT.fullmatch(payment_ref) else ()

    async def list_disputes(self, since_ms: int, cursor: str | None = None) -> DisputePage:
        """As PaymentGateway.list_disputes."""
        return await self._disputes.since(since_ms, cursor)

    # --- calls ----------------------------------------------------------------------------------------------

    async def _create_intent(
        self, charge: Charge, ref: MethodRef, key: str, deadline: float
    ) -> StripeIntent | StripeRefusal:
        create = self._calls.v1.payment_intents.create_async
        ask = Ask(
            endpoint="create payment",
            send=lambda: create(
                {
                    "amount": charge.amount_minor,
                    "currency": charge.currency.lower(),
                    "customer": ref.customer,
                    "payment_method": ref.method,
                    "capture_method": "manual",
                    "confirm": True,
                    "return_url": charge.return_url,
                    "description": charge.description,
                    "metadata": {ORDER_KEY: str(charge.order_id)},
                },
                {"idempotency_key": key},
            ),
        )
        return await self._calls.ask(ask, StripeIntent, deadline)

    async def _capture(
        self, payment_ref: str, amount: int, key: str, deadline: float
    ) -> StripeIntent | StripeRefusal:
        capture = self._calls.v1.payment_intents.capture_async
        ask = Ask(
            endpoint="capture",
            send=lambda: capture(payment_ref, {"amount_to_capture": amount}, {"idempotency_key": key}),
        )
        return await self._calls.ask(ask, StripeIntent, deadline)

    async def _create_refund(
        self, payment_ref: str, amount: int, keys: tuple[str, str], deadline: float
    ) -> StripeRefund | StripeRefusal:
        """``keys`` are the one that names the refund, kept with it, and the one of this call."""
        create, (name, key) = self._calls.v1.refunds.create_async, keys
        ask = Ask(
            endpoint="create refund",
            send=lambda: create(
                {"payment_intent": payment_ref, "amount": amount, "metadata": {REFUND_KEY: name}},
                {"idempotency_key": key},
            ),
        )
        return await self._calls.ask(ask, StripeRefund, deadline)

    async def _decline(self, refusal: StripeRefusal, key: str, deadline: float) -> Declined:
        if refusal.payment_ref is not None:
            await self._give_up(refusal.payment_ref, key, deadline)
        if refusal.status != 402 and refusal.code not in _DECLINING:
            _log.error(
                "stripe refuses to charge",
                code=refusal.code,
                param=refusal.param,
                request_id=refusal.request_id,
            )
        return Declined(refusal.decline_code or refusal.code, refusal.payment_ref)

    async def _give_up(self, payment_ref: str, key: str, deadline: float) -> None:
        """Ends a declined payment. If that fails it stays declined, and nobody has what would let them pay it."""
        try:
            await self._cancel(payment_ref, step_key(key, "give up"), deadline, given_up=True)
        except GatewayUnavailable as trouble:
            _log.warning("declined payment left open", problem=str(trouble))

    async def _cancel(
        self, payment_ref: str, key: str, deadline: float, *, given_up: bool
    ) -> StripeIntent | StripeRefusal:
        cancel = self._calls.v1.payment_intents.cancel_async
        ask = Ask(
            endpoint="cancel",
            send=lambda: cancel(
                payment_ref,
                {"cancellation_reason": GIVEN_UP if given_up else "requested_by_customer"},
                {"idempotency_key": key},
            ),
        )
        return await self._calls.ask(ask, StripeIntent, deadline)

    async def _retrieve(self, payment_ref: str, deadline: float) -> StripeIntent | StripeRefusal:
        retrieve = self._calls.v1.payment_intents.retrieve_async
        ask = Ask(
            endpoint="retrieve payment",
            send=lambda: retrieve(payment_ref, {"expand": ["latest_charge"]}),
            changes=False,
        )
        return await self._calls.ask(ask, StripeIntent, deadline)

    async def _find_in(self, payment_ref: str, status: str, deadline: float) -> StripeIntent | None:
        """The payment, if it has come to this status."""
        said = await self._retrieve(payment_ref, deadline)
        return said if isinstance(said, StripeIntent) and said.status == status else None

    async def _find_refund(self, payment_ref: str, name: str, deadline: float) -> StripeRefund | None:
        found = await self._refunds_of(payment_ref, deadline)
        return next((each for each in found if each.metadata.get(REFUND_KEY) == name), None)

    async def _refunds_of(self, payment_ref: str, deadline: float) -> tuple[StripeRefund, ...]:
        """All refunds of a payment, oldest first; none of an unknown one."""
        params: RefundListParams = {"payment_intent": payment_ref, "limit": PAGE_SIZE}
        found: list[StripeRefund] = []
        while True:
            page = await self._list_refunds(params, deadline)
            if isinstance(page, StripeRefusal):
                return ()
            found += page.data
            if not page.has_more or not page.data:
                return tuple(reversed(found))
            params = {**params, "starting_after": page.data[-1].id}

    async def _list_intents(
        self, params: PaymentIntentListParams, deadline: float
    ) -> IntentList | StripeRefusal:
        ask = Ask(
            endpoint="list payments",
            send=lambda: self._calls.v1.payment_intents.list_async(params),
            changes=False,
        )
        return await self._calls.ask(ask, IntentList, deadline)

    async def _list_refunds(self, params: RefundListParams, deadline: float) -> RefundList | StripeRefusal:
        ask = Ask(
            endpoint="list refunds", send=lambda: self._calls.v1.refunds.list_async(params), changes=False
        )
        return await self._calls.ask(ask, RefundList, deadline)

    async def _search(self, order_id: OrderId, deadline: float) -> StripeIntent | None:
        search = self._calls.v1.payment_intents.search_async
        query = f'metadata["{ORDER_KEY}"]:"{order_id}"'
        ask = Ask(
            endpoint="search payments",
            send=lambda: search({"query": query, "limit": PAGE_SIZE}),
            changes=False,
        )
        said = await self._calls.ask(ask, IntentList, deadline)
        if isinstance(said, StripeRefusal):
            _log.error("stripe does not search", code=said.code, request_id=said.request_id)
            raise GatewayUnavailable(f"stripe: no search, {said.code}", effect_possible=False)
        return max(said.data, key=lambda intent: intent.created, default=None)

    async def _look_through(self, customer: str, order_id: OrderId, deadline: float) -> StripeIntent | None:
        params: PaymentIntentListParams = {"customer": customer, "limit": PAGE_SIZE}
        for _ in range(PAGES_OF_A_BUYER):
            page = await self._list_intents(params, deadline)
            if isinstance(page, StripeRefusal):
                return None
            for intent in page.data:
                if order_of(intent) == order_id:
                    return intent
            if not page.has_more or not page.data:
                return None
            params = {**params, "starting_after": page.data[-1].id}
        return None


def _outcome_of(intent: StripeIntent) -> AuthoriseOutcome | None:
    """What an attempt to authorise came to; None while that is not decided."""
    match state_of(intent):
        case GatewayState.AUTHORISED | GatewayState.CAPTURED:
            return Authorised(intent.id)
        case GatewayState.FAILED | GatewayState.VOIDED:
            return Declined(decline_code_of(intent) or "declined", intent.id)
        case GatewayState.REQUIRES_ACTION:
            pass
    if intent.status != "requires_action":
        return None
    url = redirect_url_of(intent)
    if url is None:
        # Asked with a return_url, Stripe gives a page; what else it may ask for cannot be done here.
        return Declined("authentication_required", intent.id)
    return ActionRequired(intent.id, url, client_secret=intent.client_secret)


def _has_failed(intent: StripeIntent) -> bool:
    return state_of(intent) is GatewayState.FAILED


def _reason(refusal: StripeRefusal) -> OperationRefusal:
    """Why a capture, a void or a refund was refused. What is not known here is a wrong state: then it is looked at."""
    match refusal.code:
        case "resource_missing":
            return OperationRefusal.NO_SUCH_PAYMENT
        case "charge_disputed":
            return OperationRefusal.DISPUTED
        case "amount_too_large" | "charge_already_refunded":
            return OperationRefusal.AMOUNT_TOO_LARGE
        case _ if refusal.param in {"amount", "amount_to_capture"}:
            return OperationRefusal.AMOUNT_TOO_LARGE
        case _:
            return OperationRefusal.WRONG_STATE
