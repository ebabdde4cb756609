"""Forms of the sessions part."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec

from handlers.wire.common import AnswerBody, RequestBody, Time


class CreateSession(RequestBody, frozen=True, kw_only=True):
    """A trusted server vouches for a buyer."""

    user_id: UUID
    ttl_seconds: Annotated[int, msgspec.Meta(ge=60, le=86400)] = 3600


class SessionAnswer(AnswerBody, frozen=True, kw_only=True):
    """A user token and when it ends."""

    token: str
    expires_at: Time
