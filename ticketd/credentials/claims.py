"""What a verified token says, the two ways in which a token is refused, and the judgement of its times.

A refusal's text names what is wrong with the token and never quotes it. What a kind of token may do is
decided elsewhere.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from storage.schema.ids import EntryId, EventId, UserId
from ticketd.credentials.devices import DeviceHash
from ticketd.credentials.keyring import TokenKind

MAX_TOKEN_LENGTH: Final = 4096
MAX_JTI_LENGTH: Final = 256
DEFAULT_LEEWAY_SECONDS: Final = 5

LAST_SECOND: Final = 253_402_300_799
"""9999-12-31T23:59:59Z: later times cannot be written in RFC 3339."""

TokenId = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_JTI_LENGTH)]


class TokenInvalid(Exception):
    """The token is malformed, forged, of an unknown key, or says what no valid token says."""


class TokenExpired(Exception):
    """The token is genuine, and its time is over."""


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a genuine token says.

    ``event_id``, ``entry_id`` and ``device_hash`` are those of a queue or an access token, and None in a user
    token. ``kid`` is the id of the key that signed it, None only where an outside issuer's key has none.
    ``issuer`` is the outside issuer's name, None for this daemon's own tokens.
    """

    kind: TokenKind
    user_id: UserId
    jti: str
    issued_at_ms: int
    expires_at_ms: int
    kid: str | None
    event_id: EventId | None = None
    entry_id: EntryId | None = None
    device_hash: DeviceHash | None = None
    issuer: str | None = None


def check_times(claims: Claims, now_ms: int, leeway_seconds: int) -> None:
    """Passes a token that is in force at ``now_ms``.

    Refuses, in this order: issued more than the leeway in the future (TokenInvalid); at or after its expiry
    (TokenExpired). The leeway forgives a clock that was stepped back. Only an outside issuer's expiry is
    forgiven by it too, since its clock is another machine's.
    """
    leeway_ms = leeway_seconds * 1000
    if claims.issued_at_ms > now_ms + leeway_ms:
        raise TokenInvalid("issued in the future")
    if now_ms >= claims.expires_at_ms + (leeway_ms if claims.issuer is not None else 0):
        raise TokenExpired("expired")
