"""Forms of the queue part."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec

from handlers.wire.common import AnswerBody, Fingerprint, RequestBody, Time


class JoinQueue(RequestBody, frozen=True, kw_only=True):
    """A buyer asks for a place in an event's waiting room, or comes back to the one they have."""

    event_id: Annotated[
        str,
        msgspec.Meta(description="The event's id (a UUID)", extra_json_schema={"format": "uuid"}),
    ]
    user_id: UUID
    device_fingerprint: Fingerprint
    presale_code: (
        Annotated[
            str,
            msgspec.Meta(max_length=64, description="Needed from the presale's start to the general sale"),
        ]
        | None
    ) = None


class JoinAnswer(AnswerBody, frozen=True, kw_only=True):
    """A place. ``queue_position`` 1 is next; 0 in the lobby and when READY. ``queue_size`` is how many wait."""

    queue_token: str
    queue_position: int
    estimated_wait_minutes: int
    queue_size: int
    status: str
    poll_interval_seconds: int
    entry_id: UUID


class DrawQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which event's draw; ``full`` also asks for the two lists, once they are public."""

    event_id: Annotated[
        str,
        msgspec.Meta(description="The event's id (a UUID)", extra_json_schema={"format": "uuid"}),
    ]
    full: bool = False


class DrawAnswer(AnswerBody, frozen=True, kw_only=True):
    """The draw of an event's lobby. ``commitment`` is the SHA-256 of the 32 bytes of the seed, in hex.

    COMMITTED: ``entry_count`` is how many are in the lobby. DRAWN: ``seed`` is told; with ``full=true`` also the
    ``entry_id`` of everybody, in order of joining (``entries``) and as drawn (``order``). ``ticketd verify-draw``
    checks the full answer.
    """

    event_id: UUID
    status: str
    algorithm: str
    commitment: str
    entry_count: int
    seed: str | msgspec.UnsetType = msgspec.UNSET
    entries: list[UUID] | msgspec.UnsetType = msgspec.UNSET
    order: list[UUID] | msgspec.UnsetType = msgspec.UNSET


class StatusQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The queue token, unless it comes in the Authorization header."""

    queue_token: str | None = None


class StatusAnswer(AnswerBody, frozen=True, kw_only=True):
    """LOBBY or QUEUED with the place in line; READY with ``access_token`` and ``expires_at``.

    The first answer that says READY starts the shopping window, which ends at ``expires_at``; asking again gives the
    same token and the same time.
    """

    queue_position: int
    status: str
    access_granted: bool
    estimated_wait_minutes: int | msgspec.UnsetType = msgspec.UNSET
    queue_size: int | msgspec.UnsetType = msgspec.UNSET
    poll_interval_seconds: int | msgspec.UnsetType = msgspec.UNSET
    access_token: str | msgspec.UnsetType = msgspec.UNSET
    expires_at: Time | msgspec.UnsetType = msgspec.UNSET
