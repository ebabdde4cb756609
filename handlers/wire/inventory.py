"""Forms of the inventory part. The bytes of a seat map are made by ``ticketd.views.seat_maps``, in the form that is
declared here."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

import msgspec

from handlers.wire.common import AnswerBody, Money, RequestBody, Time
from ticketd.event_file import bounds

MAX_SEATS = bounds.PURCHASE_LIMIT.most
"""So many seats are asked for at most in one request: as many as the purchase limit of any event may be."""

SeatStatus = Literal["AVAILABLE", "RESERVED", "SOLD", "BLOCKED"]


class SeatMapQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which seats of an event are asked for."""

    section_id: Annotated[UUID | None, msgspec.Meta(description="The seats of this section alone")] = None
    since: (
        Annotated[
            int,
            msgspec.Meta(
                ge=0,
                le=2**63 - 1,
                description="The version of an earlier answer: only what changed after it is told",
            ),
        ]
        | None
    ) = None


class Seat(AnswerBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A seat, its price without fees and taxes, and where it is to be drawn, if the venue's plan says so."""

    seat_id: UUID
    number: str
    status: SeatStatus
    price: Money
    tier_id: UUID
    x: float | msgspec.UnsetType = msgspec.UNSET
    y: float | msgspec.UnsetType = msgspec.UNSET


class SeatRow(AnswerBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row, its seats from one end to the other."""

    row: str
    seats: list[Seat]


class SeatSection(AnswerBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section, its rows in the order of the hall."""

    section_id: UUID
    name: str
    rows: list[SeatRow]


class SeatMapAnswer(AnswerBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The seats as they were at ``version``.

    With ``complete`` true these are all seats that were asked for. With false they are those that changed after the
    version that was sent as ``since``; the rest is as it was told before. An answer to ``since`` is complete, too,
    where the version lies too far back, or the plan of the hall has changed. ``last_updated`` is when a seat last
    changed.
    """

    event_id: UUID
    version: int
    complete: bool
    currency: str
    sections: list[SeatSection]
    last_updated: Time


class ReserveBody(RequestBody, frozen=True, kw_only=True):
    """A buyer asks for seats: either these very seats (``seat_ids``), or the best ``quantity`` that stand together."""

    event_id: UUID
    user_id: UUID
    seat_ids: (
        Annotated[
            list[UUID],
            msgspec.Meta(min_length=1, max_length=MAX_SEATS, description="All or none; each once"),
        ]
        | None
    ) = None
    quantity: Annotated[int, msgspec.Meta(ge=1, le=MAX_SEATS)] | None = None
    section_id: Annotated[
        UUID | None, msgspec.Meta(description="With quantity: seats of this section alone")
    ] = None
    tier_id: Annotated[UUID | None, msgspec.Meta(description="With quantity: seats of this price alone")] = (
        None
    )


class ReservedSeat(AnswerBody, frozen=True, kw_only=True):
    """A seat that is held, as it stands in the hall."""

    seat_id: UUID
    section: str
    row: str
    seat: str
    price: Money
    fees: Money


class ReservationAnswer(AnswerBody, frozen=True, kw_only=True):
    """Seats that are held until ``expires_at``, and what they cost.

    ``total_price`` is the sum of the prices, ``total`` adds the fees, ``grand_total`` the taxes as well: that is what
    the order will cost. ``status`` is HELD, or PAYING while a payment is under way.
    """

    reservation_id: UUID
    event_id: UUID
    seat_ids: list[UUID]
    seats: list[ReservedSeat]
    status: str
    expires_at: Time
    currency: str
    total_price: Money
    fees: Money
    total: Money
    taxes: Money
    grand_total: Money
