"""What the judge keeps of each thing. Amounts are minor units, times are seconds; how Stripe shows them is in
``shapes.py``."""

from __future__ import annotations

import msgspec

from tests.stripe_judge.cards import Decline


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Something with an id."""

    id: str
    created: int


class Customer(Record, frozen=True, kw_only=True):
    name: str | None = None
    email: str | None = None
    phone: str | None = None
    description: str | None = None
    metadata: dict[str, str] = {}


class Method(Record, frozen=True, kw_only=True):
    """A payment method. ``card`` names one of ``CARDS``; ``spent``: detached, or used without a customer."""

    card: str
    customer: str | None = None
    spent: bool = False
    metadata: dict[str, str] = {}


class Token(Record, frozen=True, kw_only=True):
    """A token as a browser makes it: good for one use."""

    card: str
    spent: bool = False


class Intent(Record, frozen=True, kw_only=True):
    """A payment intent. ``error_method`` and ``error_charge`` are the card and the try that ``error`` was about."""

    amount: int
    currency: str
    status: str
    secret: str
    capture_method: str
    types: tuple[str, ...]
    automatic: bool
    customer: str | None = None
    method: str | None = None
    return_url: str | None = None
    description: str | None = None
    receipt_email: str | None = None
    metadata: dict[str, str] = {}
    capturable: int = 0
    received: int = 0
    charge: str | None = None
    error: Decline | None = None
    error_method: str | None = None
    error_charge: str | None = None
    canceled_at: int | None = None
    cancellation_reason: str | None = None


class Charge(Record, frozen=True, kw_only=True):
    """One try of a card. ``released`` was authorised and never taken, ``refunded`` was taken and given back."""

    amount: int
    currency: str
    intent: str
    method: str
    card: str
    customer: str | None
    decline: Decline | None = None
    captured: int = 0
    released: int = 0
    refunded: int = 0
    disputed: bool = False
    capture_before: int | None = None
    description: str | None = None
    metadata: dict[str, str] = {}


class Refund(Record, frozen=True, kw_only=True):
    amount: int
    currency: str
    charge: str
    intent: str
    status: str
    reason: str | None = None
    failure_reason: str | None = None
    metadata: dict[str, str] = {}


class Dispute(Record, frozen=True, kw_only=True):
    amount: int
    currency: str
    charge: str
    intent: str
    reason: str
    status: str


class Event(Record, frozen=True, kw_only=True):
    """``about`` is the thing as it was then, in Stripe's shape."""

    type: str
    about: msgspec.Raw
    request: str | None = None
    key: str | None = None
