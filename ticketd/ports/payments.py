"""The port to whoever moves the money: what a gateway can be asked, and what it may answer.

An expected business result (a card declined, a capture refused) is an outcome, a frozen struct, never an
exception. What is raised says that there is no outcome: the gateway could not be asked, or was asked wrongly.
Amounts are integers of minor units in the payment's currency. Which gateway answers, and what an order does
with the answer, do not belong here.

A key is the caller's name for one intention, and is kept by the gateway with its outcome: the same key with
the same parameters answers the same outcome again and moves no money twice; a decline is such an outcome too,
so that another attempt needs another key. What goes with a key must therefore be made again exactly, also
after a restart with other settings: keep it with the order, or derive it from the order alone.
"""

from __future__ import annotations

import enum
from typing import Protocol, TypeAlias

import msgspec

from storage.schema.ids import OrderId, UserId
from storage.schema.states import DisputeState

MAX_KEY_CHARACTERS = 255


class GatewayUnavailable(Exception):
    """The gateway gave no usable answer: network trouble, a time-out, a status of 429 or of 500 and above.

    ``effect_possible`` is False only if it is certain that nothing was done. Where it is True, ask again with
    the same key, which either learns the outcome or makes it.
    """

    def __init__(self, what: str, *, effect_possible: bool) -> None:
        super().__init__(what)
        self.effect_possible = effect_possible


class IdempotencyMismatch(Exception):
    """A key came again with other parameters, or for another operation: a bug of the caller, nothing was
    done."""


class Outcome(msgspec.Struct, frozen=True, tag=True):
    """Base of what a gateway answers."""


# --- cards --------------------------------------------------------------------------------------------------


class MethodRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A card that a buyer wants to add. ``customer_ref`` is the gateway's name for the buyer, from an earlier
    ``CardAdded``; None for a first card."""

    card_token: str
    user_id: UserId
    customer_ref: str | None = None


class CardAdded(Outcome, frozen=True, kw_only=True):
    """The gateway keeps this card. ``expiry_month`` is 1 to 12, ``last_four`` four digits, ``brand`` as
    people write it; ``customer_ref`` is what the gateway calls the buyer, if it has a name for each."""

    gateway_method_ref: str
    brand: str
    last_four: str
    expiry_month: int
    expiry_year: int
    customer_ref: str | None = None


class MethodRefused(Outcome, frozen=True):
    """The gateway takes no card for this token; ``reason`` is its own word, for the log."""

    reason: str


# --- a payment ----------------------------------------------------------------------------------------------


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """What an order asks of a card. ``amount_minor`` is at least 1; ``currency`` an ISO 4217 code in
    capitals.

    ``return_url`` is where the gateway's page sends the buyer after a 3-D Secure challenge. Anything else is
    a ValueError.
    """

    order_id: OrderId
    amount_minor: int
    currency: str
    method_ref: str
    description: str
    return_url: str

    def __post_init__(self) -> None:
        check_amount(self.amount_minor)
        if not (len(self.currency) == 3 and self.currency.isascii() and self.currency.isupper()):
            raise ValueError("a currency is three capital letters")
        for text in (self.method_ref, self.description, self.return_url):
            text.encode()  # Lone surrogates cannot be sent: UnicodeEncodeError, a ValueError.


class Authorised(Outcome, frozen=True):
    """The amount is reserved on the card, to be captured or voided."""

    payment_ref: str


class Declined(Outcome, frozen=True):
    """The card's bank, or the gateway, said no; no money has moved.

    ``decline_code`` is one of https://docs.stripe.com/declines/codes, or the gateway's error code where it
    gives no decline code. ``payment_ref`` is None if no payment came to be.
    """

    decline_code: str
    payment_ref: str | None = None


class ActionRequired(Outcome, frozen=True):
    """The buyer must act first (3-D Secure) at ``redirect_url``; until ``expires_at_ms``, if the gateway sets
    an end. With ``client_secret`` a page of the seller's own can let the buyer act, by the gateway's script."""

    payment_ref: str
    redirect_url: str
    expires_at_ms: int | None = None
    client_secret: str | None = None


class OperationRefusal(enum.StrEnum):
    """Why a capture, a void or a refund was refused."""

    NO_SUCH_PAYMENT = "NO_SUCH_PAYMENT"
    WRONG_STATE = "WRONG_STATE"
    AMOUNT_TOO_LARGE = "AMOUNT_TOO_LARGE"
    DISPUTED = "DISPUTED"
    """Of a refund: the buyer's bank has taken the money."""


class Captured(Outcome, frozen=True):
    """This much was taken; the rest of the authorisation, if any, is released."""

    amount_minor: int


class CaptureRefused(Outcome, frozen=True):
    """Nothing was taken."""

    reason: OperationRefusal


class Voided(Outcome, frozen=True):
    """The payment is over and nothing stays reserved."""


class VoidRefused(Outcome, frozen=True):
    """The payment stays as it is."""

    reason: OperationRefusal


class Refunded(Outcome, frozen=True):
    """This much goes back to the card."""

    refund_ref: str
    amount_minor: int


class RefundRefused(Outcome, frozen=True):
    """Nothing goes back."""

    reason: OperationRefusal


class GatewayState(enum.StrEnum):
    """Where a payment stands with the gateway. One that was refunded, wholly or in part, is still
    CAPTURED."""

    REQUIRES_ACTION = "REQUIRES_ACTION"
    AUTHORISED = "AUTHORISED"
    CAPTURED = "CAPTURED"
    VOIDED = "VOIDED"
    FAILED = "FAILED"


class PaymentSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A payment as the gateway sees it now.

    ``authorised_minor`` is reserved on the card and can still be captured: 0 unless AUTHORISED.
    ``captured_minor`` includes what was refunded since, and what the buyer's bank has taken. ``is_disputed``: the bank
    asks for the money, or has asked; ``disputes_of`` tells more. ``redirect_url`` is there while the state is
    REQUIRES_ACTION.
    """

    payment_ref: str
    order_id: OrderId
    state: GatewayState
    amount_minor: int
    currency: str
    authorised_minor: int = 0
    captured_minor: int = 0
    refunded_minor: int = 0
    is_disputed: bool = False
    decline_code: str | None = None
    redirect_url: str | None = None


class DisputeSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A dispute of a payment as the gateway sees it now; ``reason`` is its own word. ``amount_minor``, in
    ``currency``, is what the bank takes, which may differ from what was paid."""

    dispute_ref: str
    payment_ref: str
    order_id: OrderId
    state: DisputeState
    amount_minor: int
    currency: str
    reason: str


class DisputePage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the list of disputes, as ``PaymentPage``."""

    disputes: tuple[DisputeSnapshot, ...]
    next_cursor: str | None


class PaymentPage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the list of payments. ``next_cursor`` asks for the part after it; None at the end. A page may be empty
    and yet not the last."""

    payments: tuple[PaymentSnapshot, ...]
    next_cursor: str | None


MethodOutcome: TypeAlias = CardAdded | MethodRefused
AuthoriseOutcome: TypeAlias = Authorised | Declined | ActionRequired
CaptureOutcome: TypeAlias = Captured | CaptureRefused
VoidOutcome: TypeAlias = Voided | VoidRefused
RefundOutcome: TypeAlias = Refunded | RefundRefused


def check_key(idempotency_key: str) -> str:
    """The key, if it is 1 to 255 characters of printable ASCII (what an HTTP header can carry); else
    ValueError."""
    if not (
        0 < len(idempotency_key) <= MAX_KEY_CHARACTERS
        and idempotency_key.isascii()
        and idempotency_key.isprintable()
    ):
        raise ValueError(f"an idempotency key is 1 to {MAX_KEY_CHARACTERS} printable ASCII characters")
    return idempotency_key


def check_amount(amount_minor: int) -> int:
    """The amount, if it is at least 1; else ValueError. Whoever has nothing to take asks no gateway."""
    if amount_minor < 1:
        raise ValueError("an amount of money to move is at least 1 minor unit")
    return amount_minor


class PaymentGateway(Protocol):
    """A gateway. Every call may raise GatewayUnavailable; those with a key also IdempotencyMismatch, and
    ValueError for a key or an amount out of form.

    A call that is cancelled may have taken effect all the same: ask again with the same key.
    """

    @property
    def name(self) -> str:
        """What is kept with a card to say whose it is, such as ``sandbox`` or ``stripe``."""

    async def describe_method(self, request: MethodRequest, idempotency_key: str) -> MethodOutcome:
        """Turns a one-time token of a card into a reference that can be charged. The buyer's ``customer_ref``
        is not of the key's parameters: it may have become known between two tries."""

    async def forget_method(self, method_ref: str) -> None:
        """Ends a card's use: later charges of it are declined. Asking again, or for an unknown one, changes
        nothing."""

    async def authorise(self, charge: Charge, idempotency_key: str) -> AuthoriseOutcome:
        """Reserves the amount on the card, without taking it."""

    async def capture(self, payment_ref: str, amount_minor: int, idempotency_key: str) -> CaptureOutcome:
        """Takes ``amount_minor`` (at least 1) of an authorised payment, once, and releases the rest.

        Refuses NO_SUCH_PAYMENT, WRONG_STATE (not AUTHORISED), AMOUNT_TOO_LARGE (more than authorised), in
        this order.
        """

    async def void(self, payment_ref: str, idempotency_key: str) -> VoidOutcome:
        """Ends a payment of which nothing was taken; a FAILED one may stay so. Refuses NO_SUCH_PAYMENT, WRONG_STATE
        (CAPTURED or VOIDED)."""

    async def refund(self, payment_ref: str, amount_minor: int, idempotency_key: str) -> RefundOutcome:
        """Gives back ``amount_minor`` (at least 1) of what was taken; may be done in parts.

        Refuses NO_SUCH_PAYMENT, WRONG_STATE (not CAPTURED), DISPUTED (the buyer's bank has taken it), AMOUNT_TOO_LARGE
        (more than is left), in this order.
        """

    async def fetch(self, payment_ref: str) -> PaymentSnapshot | None:
        """The payment as it stands; None if the gateway knows none of this name."""

    async def find_by_order(self, order_id: OrderId, method_ref: str | None = None) -> PaymentSnapshot | None:
        """The order's newest payment, declined ones included; None if the gateway knows of none yet.

        None is no proof that none will come: a call may be on its way still, and a gateway's search may lag
        by minutes; less so where ``method_ref``, the card that the order was to be paid with, says where to
        look. What settles it is to authorise again with the same key, for as long as the gateway keeps keys.
        """

    async def list_refunds(self, payment_ref: str) -> tuple[Refunded, ...]:
        """All refunds of a payment, oldest first, also those that somebody made by hand at the gateway; without those
        that failed. Their sum is the snapshot's ``refunded_minor``. None of an unknown payment."""

    async def list_payments(self, since_ms: int, cursor: str | None = None) -> PaymentPage:
        """The payments that were begun at ``since_ms`` (milliseconds UTC) or later and name an order, page by page, in
        an order of the gateway's own: each once, whatever became of it. What names no order is somebody else's, and is
        left out.

        ``cursor`` is the ``next_cursor`` of the page before; another one is a ValueError. A payment that is begun
        while pages are read may be missing.
        """

    async def disputes_of(self, payment_ref: str) -> tuple[DisputeSnapshot, ...]:
        """All disputes of a payment, oldest first. None of an unknown payment."""

    async def list_disputes(self, since_ms: int, cursor: str | None = None) -> DisputePage:
        """The disputes that were begun at ``since_ms`` (milliseconds UTC) or later, of payments that name an order; as
        ``list_payments``."""
