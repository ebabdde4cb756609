"""Sessions: a storefront's trusted server asks for a buyer's user token."""

from __future__ import annotations

from handlers.answers import answer, time_text
from handlers.call import Call, Reply
from handlers.services import Services
from handlers.wire.sessions import CreateSession, SessionAnswer
from storage.schema.ids import UserId
from ticketd.credentials.tokens import mint_user
from ticketd.ids import new_id


async def create_session(services: Services, call: Call[CreateSession]) -> Reply:
    """201 with a user token for ``user_id``. The token is not stored: its signature is what makes it good."""
    minted = mint_user(
        services.keys.keyring,
        UserId(call.body.user_id),
        new_id(),
        services.clock.now_ms(),
        call.body.ttl_seconds,
    )
    body = SessionAnswer(token=minted.token, expires_at=time_text(minted.claims.expires_at_ms))
    return answer(body, status=201)
