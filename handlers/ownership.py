"""What a token limits its buyer to."""

from __future__ import annotations

from handlers.call import AnyCall
from storage.schema.ids import EventId
from ticketd.credentials.keyring import TokenKind
from ticketd.errors import ErrorCode, Refusal


def only_event(call: AnyCall) -> EventId | None:
    """The event that an access token is limited to; None for a user token, which opens all that is the buyer's."""
    claims = call.principal.needed_claims
    return claims.event_id if claims.kind is TokenKind.ACCESS else None


def require_event(call: AnyCall, event_id: EventId) -> None:
    """Refuses EVENT_MISMATCH to an access token of another event."""
    only = only_event(call)
    if only is not None and only != event_id:
        raise Refusal(ErrorCode.EVENT_MISMATCH)
