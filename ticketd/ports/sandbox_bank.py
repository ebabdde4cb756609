"""How the sandbox decides: which charge is declined, what may be captured, voided and refunded, as Stripe's
test mode does.

Everything here is synchronous and runs within one of the ledger's commits. All checks stand before the first
write. Sources: https://docs.stripe.com/testing for the cards, https://docs.stripe.com/api/payment_intents and
https://docs.stripe.com/api/refunds for what is refused, https://docs.stripe.com/api/idempotent_requests for
the keys.
"""

from __future__ import annotations

import datetime
import enum
import hashlib
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from storage.schema.ids import OrderId
from ticketd.ports.payments import (
    ActionRequired,
    Authorised,
    AuthoriseOutcome,
    Captured,
    CaptureOutcome,
    CaptureRefused,
    CardAdded,
    Charge,
    Declined,
    GatewayState,
    MethodOutcome,
    MethodRefused,
    MethodRequest,
    OperationRefusal,
    Outcome,
    PaymentPage,
    PaymentSnapshot,
    Refunded,
    RefundOutcome,
    RefundRefused,
    Voided,
    VoidOutcome,
    VoidRefused,
)
from ticketd.ports.sandbox_cards import SANDBOX_CARDS
from ticketd.ports.sandbox_ledger import PaymentRow, SandboxLedger

LARGEST_AMOUNT_MINOR: Final = 99_999_999
"""Stripe takes no more than eight digits of minor units in one payment."""

CARD_YEARS: Final = 3
"""A test card runs out in December, this many years after the one in which it was added."""

PAGE_PAYMENTS: Final = 100
"""Payments in a page of the list, as with Stripe."""

FAILED_ACTION_CODE: Final = "payment_intent_authentication_failure"

_REF_BYTES: Final = 16

_O = TypeVar("_O", bound=Outcome)

_METHOD: Final[msgspec.json.Decoder[MethodOutcome]] = msgspec.json.Decoder(MethodOutcome)
_AUTHORISE: Final[msgspec.json.Decoder[AuthoriseOutcome]] = msgspec.json.Decoder(AuthoriseOutcome)
_CAPTURE: Final[msgspec.json.Decoder[CaptureOutcome]] = msgspec.json.Decoder(CaptureOutcome)
_VOID: Final[msgspec.json.Decoder[VoidOutcome]] = msgspec.json.Decoder(VoidOutcome)
_REFUND: Final[msgspec.json.Decoder[RefundOutcome]] = msgspec.json.Decoder(RefundOutcome)


class ActionOutcome(enum.StrEnum):
    """What the buyer did on the page of the challenge."""

    COMPLETE = "complete"
    FAIL = "fail"


class SandboxAction(msgspec.Struct, frozen=True, kw_only=True):
    """What the page of a challenge shows. ``state`` is REQUIRES_ACTION until the buyer, or the merchant,
    ended it."""

    payment_ref: str
    order_id: OrderId
    state: GatewayState
    amount_minor: int
    currency: str
    description: str
    return_url: str


class SandboxBank:
    """The decisions over one ledger. ``random_bytes`` gives what references are made of: a challenge's page
    has no other credential than the payment's reference in its address."""

    def __init__(self, ledger: SandboxLedger, random_bytes: Callable[[int], bytes]) -> None:
        self._ledger = ledger
        self._random_bytes = random_bytes

    # --- cards ----------------------------------------------------------------------------------------------

    def describe_method(self, request: MethodRequest, key: str, now_ms: int) -> MethodOutcome:
        """As PaymentGateway.describe_method."""

        def decide() -> MethodOutcome:
            card = SANDBOX_CARDS.get(request.card_token)
            if card is None:
                return MethodRefused("resource_missing")
            ref = self._new_ref("pm")
            self._ledger.add_card(ref, request.card_token)
            year = datetime.datetime.fromtimestamp(now_ms / 1000, datetime.UTC).year
            return CardAdded(
                gateway_method_ref=ref,
                brand=card.brand,
                last_four=card.last_four,
                expiry_month=12,
                expiry_year=year + CARD_YEARS,
                customer_ref=request.customer_ref or f"cus_{request.user_id.hex}",
            )

        return self._once(key, ("describe_method", request.card_token), _METHOD, decide)

    def forget_method(self, method_ref: str) -> None:
        """As PaymentGateway.forget_method."""
        self._ledger.forget_card(method_ref)

    # --- a payment ------------------------------------------------------------------------------------------

    def authorise(self, charge: Charge, key: str, now_ms: int, public_url: str) -> AuthoriseOutcome:
        """As PaymentGateway.authorise; ``public_url`` is the front of the challenge's address."""
        parameters = (
            "authorise",
            charge.order_id.hex,
            charge.amount_minor,
            charge.currency,
            charge.method_ref,
            charge.description,
            charge.return_url,
        )
        return self._once(key, parameters, _AUTHORISE, lambda: self._charge(charge, now_ms, public_url))

    def _charge(self, charge: Charge, now_ms: int, public_url: str) -> AuthoriseOutcome:
        if charge.amount_minor > LARGEST_AMOUNT_MINOR:
            return Declined("amount_too_large")
        token = self._ledger.card_token(charge.method_ref)
        if token is None:
            return Declined("resource_missing")
        card = SANDBOX_CARDS[token]
        ref = self._new_ref("pi")
        outcome: AuthoriseOutcome
        if card.decline_code is not None:
            state, outcome = GatewayState.FAILED, Declined(card.decline_code, ref)
        elif card.asks_buyer:
            url = f"{public_url.rstrip('/')}/sandbox/payments/{ref}"
            state, outcome = GatewayState.REQUIRES_ACTION, ActionRequired(ref, url)
        else:
            state, outcome = GatewayState.AUTHORISED, Authorised(ref)
        self._ledger.add_payment(
            PaymentRow(
                ref=ref,
                order_id=charge.order_id,
                card_ref=charge.method_ref,
                amount_minor=charge.amount_minor,
                currency=charge.currency,
                description=charge.description,
                return_url=charge.return_url,
                redirect_url=outcome.redirect_url if isinstance(outcome, ActionRequired) else None,
                state=state,
                decline_code=card.decline_code,
                created_at_ms=now_ms,
            )
        )
        return outcome

    def capture(self, payment_ref: str, amount_minor: int, key: str) -> CaptureOutcome:
        """As PaymentGateway.capture."""

        def decide() -> CaptureOutcome:
            payment = self._ledger.payment(payment_ref)
            if payment is None:
                return CaptureRefused(OperationRefusal.NO_SUCH_PAYMENT)
            if payment.state is not GatewayState.AUTHORISED:
                return CaptureRefused(OperationRefusal.WRONG_STATE)
            if amount_minor > payment.amount_minor:
                return CaptureRefused(OperationRefusal.AMOUNT_TOO_LARGE)
            self._ledger.change_payment(
                replace(payment, state=GatewayState.CAPTURED, captured_minor=amount_minor)
            )
            return Captured(amount_minor)

        return self._once(key, ("capture", payment_ref, amount_minor), _CAPTURE, decide)

    def void(self, payment_ref: str, key: str) -> VoidOutcome:
        """As PaymentGateway.void."""

        def decide() -> VoidOutcome:
            payment = self._ledger.payment(payment_ref)
            if payment is None:
                return VoidRefused(OperationRefusal.NO_SUCH_PAYMENT)
            if payment.state in (GatewayState.CAPTURED, GatewayState.VOIDED):
                return VoidRefused(OperationRefusal.WRONG_STATE)
            self._ledger.change_payment(replace(payment, state=GatewayState.VOIDED))
            return Voided()

        return self._once(key, ("void", payment_ref), _VOID, decide)

    def refund(self, payment_ref: str, amount_minor: int, key: str, now_ms: int) -> RefundOutcome:
        """As PaymentGateway.refund."""

        def decide() -> RefundOutcome:
            payment = self._ledger.payment(payment_ref)
            if payment is None:
                return RefundRefused(OperationRefusal.NO_SUCH_PAYMENT)
            if payment.state is not GatewayState.CAPTURED:
                return RefundRefused(OperationRefusal.WRONG_STATE)
            if amount_minor > payment.captured_minor - payment.refunded_minor:
                return RefundRefused(OperationRefusal.AMOUNT_TOO_LARGE)
            ref = self._new_ref("re")
            self._ledger.add_refund(ref, payment_ref, amount_minor, now_ms)
            self._ledger.change_payment(
                replace(payment, refunded_minor=payment.refunded_minor + amount_minor)
            )
            return Refunded(ref, amount_minor)

        return self._once(key, ("refund", payment_ref, amount_minor), _REFUND, decide)

    def fetch(self, payment_ref: str) -> PaymentSnapshot | None:
        """As PaymentGateway.fetch."""
        return _snapshot(self._ledger.payment(payment_ref))

    def find_by_order(self, order_id: OrderId) -> PaymentSnapshot | None:
        """As PaymentGateway.find_by_order."""
        return _snapshot(self._ledger.newest_payment_of(order_id))

    def list_refunds(self, payment_ref: str) -> tuple[Refunded, ...]:
        """As PaymentGateway.list_refunds."""
        return tuple(
            Refunded(ref, amount_minor) for ref, amount_minor in self._ledger.refunds_of(payment_ref)
        )

    def list_payments(self, since_ms: int, after: int) -> PaymentPage:
        """As PaymentGateway.list_payments, behind the payment with the number ``after``."""
        rows = self._ledger.payments_after(after, since_ms, PAGE_PAYMENTS)
        is_full = len(rows) == PAGE_PAYMENTS
        return PaymentPage(
            payments=tuple(_seen(row) for _, row in rows),
            next_cursor=str(rows[-1][0]) if is_full else None,
        )

    # --- the buyer's challenge ------------------------------------------------------------------------------

    def describe_action(self, payment_ref: str) -> SandboxAction | None:
        """What the challenge's page shows; None if there is no such payment, or it never asked for the
        buyer."""
        payment = self._ledger.payment(payment_ref)
        if payment is None or payment.redirect_url is None:
            return None
        return SandboxAction(
            payment_ref=payment.ref,
            order_id=payment.order_id,
            # A challenge that was failed is one still when its payment was ended for good.
            state=payment.state if payment.decline_code is None else GatewayState.FAILED,
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            description=payment.description,
            return_url=payment.return_url,
        )

    def complete_action(self, payment_ref: str, outcome: ActionOutcome) -> SandboxAction | None:
        """Ends a challenge that waits; one that is over stays as it is. Answers what is so then, as
        describe_action."""
        action = self.describe_action(payment_ref)
        payment = self._ledger.payment(payment_ref)
        if action is None or payment is None or payment.state is not GatewayState.REQUIRES_ACTION:
            return action
        if outcome is ActionOutcome.COMPLETE:
            payment = replace(payment, state=GatewayState.AUTHORISED)
        else:
            payment = replace(payment, state=GatewayState.FAILED, decline_code=FAILED_ACTION_CODE)
        self._ledger.change_payment(payment)
        return replace(action, state=payment.state)

    # --- keys and references --------------------------------------------------------------------------------

    def _once(
        self,
        key: str,
        parameters: tuple[str | int, ...],
        decoder: msgspec.json.Decoder[_O],
        decide: Callable[[], _O],
    ) -> _O:
        # ascii() writes any str or int in one way only, lone surrogates included.
        fingerprint = hashlib.sha256(ascii(parameters).encode("ascii")).digest()
        answered = self._ledger.answer_to(key, fingerprint)
        if answered is not None:
            return decoder.decode(answered)
        outcome = decide()
        self._ledger.keep_answer(key, fingerprint, msgspec.json.encode(outcome))
        return outcome

    def _new_ref(self, kind: str) -> str:
        return f"{kind}_{self._random_bytes(_REF_BYTES).hex()}"


def _snapshot(payment: PaymentRow | None) -> PaymentSnapshot | None:
    return None if payment is None else _seen(payment)


def _seen(payment: PaymentRow) -> PaymentSnapshot:
    state = payment.state
    return PaymentSnapshot(
        payment_ref=payment.ref,
        order_id=payment.order_id,
        state=state,
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        authorised_minor=payment.amount_minor if state is GatewayState.AUTHORISED else 0,
        captured_minor=payment.captured_minor,
        refunded_minor=payment.refunded_minor,
        decline_code=payment.decline_code,
        redirect_url=payment.redirect_url if state is GatewayState.REQUIRES_ACTION else None,
    )
