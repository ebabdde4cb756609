"""Inventory: the seat map of an event, and reservations: holding seats, looking at a hold, giving it up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast
from uuid import UUID

from handlers.answers import answer, money, no_content, time_text
from handlers.call import AnyCall, Call, Reply
from handlers.coding import accepted_coding
from handlers.commit import Decision, commit
from handlers.services import Services
from handlers.wire.box_office import SellAtTillBody
from handlers.wire.inventory import ReservationAnswer, ReserveBody, ReservedSeat, SeatMapQuery
from storage.engine import Reader, Transaction
from storage.schema.ids import (
    EventId,
    ReservationId,
    SeatNumber,
    SectionId,
    TierId,
    seat_id,
    seat_number_of,
)
from storage.schema.layout import event_partition
from storage.schema.records import ReservationRecord
from ticketd.domain.hoarding import LapseLimits
from ticketd.domain.reservations import (
    ReleaseReservation,
    ReserveBest,
    ReserveSeats,
    find_reservation,
    release_reservation,
    reserve_best,
    reserve_seats,
)
from ticketd.domain.sales import load_sale
from ticketd.domain.seat_labels import SeatLabel, seat_labels
from ticketd.errors import ErrorCode, Refusal
from ticketd.ids import new_id
from ticketd.views.seat_map_text import Coding
from ticketd.views.seat_maps import SeatMapRequest


def get_seat_map(services: Services, call: AnyCall) -> Reply:
    """200 with the seats, compressed as the client likes it best."""
    event_id = EventId(call.path_id("event_id", ErrorCode.EVENT_NOT_FOUND))
    query = call.query_as(SeatMapQuery)
    coding = accepted_coding(call.headers.get("accept-encoding", ""))
    text = services.seat_maps.read(
        SeatMapRequest(
            event_id=event_id,
            section_id=None if query.section_id is None else SectionId(query.section_id),
            since=query.since,
            coding=cast("Coding | None", coding),
        )
    )
    headers: tuple[tuple[str, str], ...] = (("ETag", text.etag),)
    if text.coding is not None:
        headers += (("Content-Encoding", text.coding), ("Vary", "Accept-Encoding"))
    return Reply(status=200, body=text.body, headers=headers)


async def create_reservation(services: Services, call: Call[ReserveBody]) -> Reply:
    """201 with the reservation; asked again for exactly the seats of a live one, that one again.

    Refuses, in this order: INVALID_REQUEST; USER_MISMATCH; EVENT_MISMATCH; then as the transition does.
    """
    body = call.body
    check_choice(body)
    if body.user_id != call.principal.user_id:
        raise Refusal(ErrorCode.USER_MISMATCH)
    if body.event_id != call.principal.event_id:
        raise Refusal(ErrorCode.EVENT_MISMATCH)
    command = _reserve_command(call, LapseLimits.of(services.settings.hoarding))
    event_id = command.event_id

    def decide(tx: Transaction) -> _Shown:
        if isinstance(command, ReserveBest):
            return _shown(tx, event_id, reserve_best(tx, command))
        return _shown(tx, event_id, reserve_seats(tx, command))

    def render(shown: _Shown) -> Reply:
        place = f"/v1/reservations/{shown.reservation.reservation_id}"
        return answer(_reservation(shown), status=201, headers=(("Location", place),))

    decision = Decision("reserve_seats", (event_partition(event_id),), decide, render)
    with services.hoarding.counting(event_id):
        return await commit(services, call, decision)


async def get_reservation(services: Services, call: AnyCall) -> Reply:
    """200 with a live reservation of one's own."""
    reservation_id = ReservationId(call.path_id("reservation_id", ErrorCode.RESERVATION_NOT_FOUND))
    event_id, user_id = call.principal.event_id, call.principal.user_id
    with services.engine.snapshot(event_partition(event_id)) as view:
        found = find_reservation(view, event_id, user_id, reservation_id, view.now_ms)
        shown = _shown(view, event_id, found)
    return answer(_reservation(shown))


async def delete_reservation(services: Services, call: AnyCall) -> Reply:
    """204: the reservation is given up, and its seats are free."""
    command = ReleaseReservation(
        call.principal.event_id,
        call.principal.user_id,
        ReservationId(call.path_id("reservation_id", ErrorCode.RESERVATION_NOT_FOUND)),
    )

    def decide(tx: Transaction) -> None:
        release_reservation(tx, command)

    return await commit(
        services,
        call,
        Decision(
            "release_reservation",
            (event_partition(command.event_id),),
            decide,
            lambda _: no_content(),
            may_use_reserve=True,
        ),
    )


def check_choice(body: ReserveBody | SellAtTillBody) -> None:
    """Refuses INVALID_REQUEST unless the body asks for seats in exactly one of the two ways."""
    if (body.seat_ids is None) == (body.quantity is None):
        raise _invalid("seat_ids", "either seat_ids or quantity is needed, and not both")
    if body.seat_ids is None:
        return
    if body.section_id is not None or body.tier_id is not None:
        field = "tier_id" if body.section_id is None else "section_id"
        raise _invalid(field, "goes with quantity, not with seat_ids")
    if len(set(body.seat_ids)) != len(body.seat_ids):
        raise _invalid("seat_ids", "a seat is named more than once")


def _invalid(field: str, problem: str) -> Refusal:
    return Refusal(ErrorCode.INVALID_REQUEST, details={"field": field, "problem": problem})


def _reserve_command(call: Call[ReserveBody], lapse_limits: LapseLimits) -> ReserveSeats | ReserveBest:
    body, principal = call.body, call.principal
    reservation_id = ReservationId(new_id())
    if body.seat_ids is not None:
        return ReserveSeats(
            event_id=principal.event_id,
            user_id=principal.user_id,
            entry_id=principal.entry_id,
            reservation_id=reservation_id,
            lapse_limits=lapse_limits,
            seats=seat_numbers(principal.event_id, body.seat_ids),
        )
    return ReserveBest(
        event_id=principal.event_id,
        user_id=principal.user_id,
        entry_id=principal.entry_id,
        reservation_id=reservation_id,
        lapse_limits=lapse_limits,
        quantity=body.quantity or 1,
        section_id=None if body.section_id is None else SectionId(body.section_id),
        tier_id=None if body.tier_id is None else TierId(body.tier_id),
    )


def seat_numbers(event_id: EventId, seat_ids: Sequence[UUID]) -> tuple[SeatNumber, ...]:
    """The seats of these ids. Refuses SEAT_NOT_FOUND with the ``seat_ids`` that no seat of the event can have."""
    numbers = [seat_number_of(event_id, one) for one in seat_ids]
    strange = [str(one) for one, number in zip(seat_ids, numbers, strict=True) if number is None]
    if strange:
        raise Refusal(ErrorCode.SEAT_NOT_FOUND, details={"seat_ids": strange})
    return tuple(number for number in numbers if number is not None)


class _Shown(NamedTuple):
    """A reservation, and what its answer needs beside it."""

    event_id: EventId
    reservation: ReservationRecord
    currency: str
    labels: list[SeatLabel]


def _shown(reader: Reader, event_id: EventId, reservation: ReservationRecord) -> _Shown:
    currency = load_sale(reader, event_id).currency
    return _Shown(event_id, reservation, currency, seat_labels(reader, event_id, reservation.seats))


def _reservation(shown: _Shown) -> ReservationAnswer:
    event_id, reservation, currency, labels = shown
    with_fees = reservation.subtotal_minor + reservation.fees_minor
    seat_ids = [seat_id(event_id, seat) for seat in reservation.seats]
    return ReservationAnswer(
        reservation_id=reservation.reservation_id,
        event_id=event_id,
        seat_ids=seat_ids,
        seats=[
            ReservedSeat(
                seat_id=one,
                section=label.section,
                row=label.row,
                seat=label.seat,
                price=money(price_minor, currency),
                fees=money(fees_minor, currency),
            )
            for one, label, (price_minor, fees_minor) in zip(
                seat_ids, labels, reservation.prices, strict=True
            )
        ],
        status=reservation.state.value,
        expires_at=time_text(reservation.expires_at_ms),
        currency=currency,
        total_price=money(reservation.subtotal_minor, currency),
        fees=money(reservation.fees_minor, currency),
        total=money(with_fees, currency),
        taxes=money(reservation.taxes_minor, currency),
        grand_total=money(with_fees + reservation.taxes_minor, currency),
    )
