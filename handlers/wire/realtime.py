"""Forms of what is said over the WebSocket, both ways. ``seq`` is put in front of each message when it is sent."""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

import msgspec

from handlers.answers import encode_json, time_text
from handlers.errors import ErrorBody
from handlers.wire.common import AnswerBody, RequestBody, Time
from storage.schema.states import EntryState
from ticketd.domain.waits import whole_minutes
from ticketd.realtime.updates import (
    AccessGrant,
    AvailabilityChanged,
    HoldExpired,
    HoldExpiring,
    OrderChanged,
    QueueMoved,
    QueuePlace,
    QueueSnapshot,
    SeatsSnapshot,
    SubscriptionEnded,
    Update,
)

_READY: Final = "READY"
_WAITING: Final = frozenset({EntryState.LOBBY, EntryState.QUEUED})

Minutes = Annotated[int, msgspec.Meta(description="An estimate, in minutes; 0 once it is one's turn")]


class OpenRealtime(msgspec.Struct, frozen=True, kw_only=True):
    """What may stand in the address of a WebSocket."""

    token: (
        Annotated[
            str,
            msgspec.Meta(
                description="A queue, access or user token, unless it comes in the Authorization header or as the "
                "subprotocol `bearer.TOKEN` beside `ticketd.v1`"
            ),
        ]
        | None
    ) = None
    device_id: (
        Annotated[
            str,
            msgspec.Meta(description="Compared with the device that joined, if it is sent"),
        ]
        | None
    ) = None


# --- what a client says ---------------------------------------------------------------------------------------------


class Subscribe(RequestBody, frozen=True, kw_only=True, tag_field="type", tag="subscribe"):
    """Begin to listen to an event; again: a fresh snapshot."""

    event_id: UUID


class Unsubscribe(RequestBody, frozen=True, kw_only=True, tag_field="type", tag="unsubscribe"):
    """Listen no longer."""

    event_id: UUID


class Ping(RequestBody, frozen=True, kw_only=True, tag_field="type", tag="ping"):
    """Ask whether anybody is there."""


ClientMessage = Subscribe | Unsubscribe | Ping


# --- what the daemon says -------------------------------------------------------------------------------------------


class SubscribedSection(AnswerBody, frozen=True, kw_only=True):
    """A section and how many of its seats are free."""

    section_id: UUID
    section: str
    available_seats: int


class Subscribed(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="subscribed"):
    """How things are: ``sections`` for user and access tokens, the place for queue tokens."""

    event_id: UUID
    sections: list[SubscribedSection] | msgspec.UnsetType = msgspec.UNSET
    queue_position: int | msgspec.UnsetType = msgspec.UNSET
    status: str | msgspec.UnsetType = msgspec.UNSET
    estimated_wait: Minutes | msgspec.UnsetType = msgspec.UNSET
    access_token: str | msgspec.UnsetType = msgspec.UNSET
    expires_at: Time | msgspec.UnsetType = msgspec.UNSET


class Unsubscribed(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="unsubscribed"):
    """Nothing more is told of the event; ``reason`` EVENT_DELETED where that was not the client's wish."""

    event_id: UUID
    reason: str | msgspec.UnsetType = msgspec.UNSET


class Pong(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="pong"):
    """Somebody is there."""

    timestamp: Time


class ErrorMessage(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """A message of the client was not carried out, or the connection is about to be closed."""

    error: ErrorBody


class AvailabilityUpdate(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="availability_update"):
    """How many seats of a section are free now."""

    event_id: UUID
    section_id: UUID
    section: str
    available_seats: int
    timestamp: Time


class QueueUpdate(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="queue_update"):
    """The buyer stands elsewhere; READY with the access token; or the place has ended, and how."""

    event_id: UUID
    queue_position: int
    status: str
    estimated_wait: Minutes
    access_token: str | msgspec.UnsetType = msgspec.UNSET
    expires_at: Time | msgspec.UnsetType = msgspec.UNSET
    timestamp: Time


class ReservationExpiring(
    AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="reservation_expiring"
):
    """A reservation ends soon."""

    event_id: UUID
    reservation_id: UUID
    expires_in_seconds: int
    expires_at: Time


class ReservationExpired(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="reservation_expired"):
    """A reservation has ended by its time; its seats are free again."""

    event_id: UUID
    reservation_id: UUID
    timestamp: Time


class OrderUpdate(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="order_update"):
    """An order is in another state, or its payment is."""

    event_id: UUID
    order_id: UUID
    status: str
    payment_status: str
    timestamp: Time


def encode_update(update: Update, now_ms: int) -> bytes:
    """An update as a JSON object, as it is to be told at ``now_ms``."""
    return encode_json(_message(update, now_ms))


def _message(update: Update, now_ms: int) -> AnswerBody:  # one for each kind
    match update:
        case AvailabilityChanged(event_id=event_id, seats=seats, at_ms=at_ms):
            return AvailabilityUpdate(
                event_id=event_id,
                section_id=seats.section_id,
                section=seats.section,
                available_seats=seats.available_seats,
                timestamp=time_text(at_ms),
            )
        case SeatsSnapshot(event_id=event_id, sections=sections):
            told = [
                SubscribedSection(section_id=section_id, section=name, available_seats=free)
                for section_id, name, free in sections
            ]
            return Subscribed(event_id=event_id, sections=told)
        case QueueSnapshot(event_id=event_id, place=place, grant=grant):
            token, expires_at = _granted(grant)
            return Subscribed(
                event_id=event_id,
                queue_position=place.position,
                status=_status(place),
                estimated_wait=_minutes(place),
                access_token=token,
                expires_at=expires_at,
            )
        case QueueMoved(event_id=event_id, place=place, grant=grant, at_ms=at_ms):
            token, expires_at = _granted(grant)
            return QueueUpdate(
                event_id=event_id,
                queue_position=place.position,
                status=_status(place),
                estimated_wait=_minutes(place),
                access_token=token,
                expires_at=expires_at,
                timestamp=time_text(at_ms),
            )
        case _:
            return _short_message(update, now_ms)


def _short_message(update: Update, now_ms: int) -> AnswerBody:
    match update:
        case HoldExpiring(event_id=event_id, reservation_id=reservation_id, due_at_ms=due_at_ms):
            return ReservationExpiring(
                event_id=event_id,
                reservation_id=reservation_id,
                expires_in_seconds=max(0, -((now_ms - due_at_ms) // 1000)),
                expires_at=time_text(due_at_ms),
            )
        case HoldExpired(event_id=event_id, reservation_id=reservation_id, at_ms=at_ms):
            return ReservationExpired(
                event_id=event_id, reservation_id=reservation_id, timestamp=time_text(at_ms)
            )
        case OrderChanged(event_id=event_id, order_id=order_id, state=state, payment_state=paid, at_ms=at_ms):
            return OrderUpdate(
                event_id=event_id,
                order_id=order_id,
                status=state.value,
                payment_status=paid.value,
                timestamp=time_text(at_ms),
            )
        case SubscriptionEnded(event_id=event_id, is_deleted=is_deleted):
            return Unsubscribed(event_id=event_id, reason="EVENT_DELETED" if is_deleted else msgspec.UNSET)
        case _:
            raise TypeError(f"{type(update).__name__} has no form")


def _granted(grant: AccessGrant | None) -> tuple[str | msgspec.UnsetType, str | msgspec.UnsetType]:
    if grant is None:
        return msgspec.UNSET, msgspec.UNSET
    return grant.token, time_text(grant.expires_at_ms)


def _status(place: QueuePlace) -> str:
    return _READY if place.state is EntryState.SHOPPING else place.state.value


def _minutes(place: QueuePlace) -> int:
    return whole_minutes(place.wait_ms) if place.state in _WAITING else 0
