"""What is a buyer's own, and what a token limits the buyer to."""

from __future__ import annotations

from uuid import UUID

from handlers.call import AnyCall
from storage.engine import Reader
from storage.schema.ids import EventId
from storage.schema.layout import buyer_partition
from storage.schema.tables import RecordUnreadable, Table
from ticketd.credentials.keyring import TokenKind
from ticketd.errors import ErrorCode, Refusal


def only_event(call: AnyCall) -> EventId | None:
    """The event that an access token is limited to; None for a user token, which opens all that is the buyer's."""
    claims = call.principal.needed_claims
    return claims.event_id if claims.kind is TokenKind.ACCESS else None


def own_things(reader: Reader, call: AnyCall, table: Table[EventId]) -> list[tuple[EventId, UUID]]:
    """What a table of the buyer's own lists, newest first, as (event, id); with an access token, that of its event."""
    only = only_event(call)
    found: list[tuple[EventId, UUID]] = []
    for (thing_id,), event_id in table.scan(reader, buyer_partition(call.principal.user_id), reverse=True):
        if not isinstance(thing_id, UUID):
            raise RecordUnreadable(f"{table.name}: a key without an id")
        if only is None or event_id == only:
            found.append((event_id, thing_id))
    return found


def require_event(call: AnyCall, event_id: EventId) -> None:
    """Refuses EVENT_MISMATCH to an access token of another event."""
    only = only_event(call)
    if only is not None and only != event_id:
        raise Refusal(ErrorCode.EVENT_MISMATCH)
