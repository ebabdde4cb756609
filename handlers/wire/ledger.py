"""Forms of the ledger and of its comparison with the gateway."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec

from handlers.wire.common import END, AnswerBody, Money, Time

When = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
        + END,
        description="RFC 3339",
        examples=["2026-08-15T19:00:00Z"],
    ),
]
"""A time in a query: a text, since a number is no time there."""


class LedgerQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which movements: those of an event, from ``since`` until before ``until``, behind the place ``after``."""

    event_id: UUID
    since: When | None = None
    until: When | None = None
    after: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,15}-[0-9a-f]{32}-[0-9]{1,9}" + END)] | None = None
    per_page: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 100


class LedgerMovement(AnswerBody, frozen=True, kw_only=True):
    """One movement of money, as the gateway confirmed it. ``number`` counts its order's, from 1."""

    at: Time
    event_id: UUID
    order_id: UUID
    number: int
    kind: str
    amount: Money
    currency: str
    gateway: str
    payment_ref: str
    movement_ref: str


class LedgerPage(AnswerBody, frozen=True, kw_only=True):
    """Movements in the order of their times. ``next`` is the ``after`` of the page behind it; null at the end."""

    movements: list[LedgerMovement]
    next: str | None


class ReconcileQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which payments: those begun at ``since`` or later, of one event or of all; the page behind ``cursor``."""

    event_id: UUID | None = None
    since: When | None = None
    cursor: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None


class ReconcileOrderQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The event of the order."""

    event_id: UUID


class LedgerDifference(AnswerBody, frozen=True, kw_only=True):
    """Where the ledger and the gateway differ; ``here`` and ``there`` are for people."""

    kind: str
    order_id: UUID
    event_id: UUID | None
    payment_ref: str
    here: str
    there: str


class ReconcilePage(AnswerBody, frozen=True, kw_only=True):
    """What comparing came to: the names of the payments that were compared, how many of them differ only for now, as
    their orders are under way, and what differs. ``next`` is the ``cursor`` of the page behind it; null at the end."""

    payment_refs: list[str]
    under_way: int
    differences: list[LedgerDifference]
    next: str | None
