"""This daemon's own tokens: user, queue and access tokens, each a JWT (RFC 7519) signed with HMAC-SHA256.

A token's kind follows from the key that signed it, and its audience must agree. Times in a token are whole
seconds. No clock is read here, no id is made here, and whether an entry or a purchase window still lives is
not a token's to say.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Final
from uuid import UUID

import msgspec

from storage.schema.ids import EntryId, EventId, UserId
from ticketd.credentials.claims import (
    DEFAULT_LEEWAY_SECONDS,
    LAST_SECOND,
    Claims,
    TokenId,
    TokenInvalid,
    check_times,
)
from ticketd.credentials.devices import DEVICE_HASH_BYTES, DeviceHash
from ticketd.credentials.jws import (
    HS256,
    check_form,
    decode_json,
    read_header,
    sign_hs256,
    verified_hs256_payload,
)
from ticketd.credentials.keyring import Keyring, NoSigningKey, SigningKey, TokenKind

_Second = Annotated[int, msgspec.Meta(ge=0, le=LAST_SECOND)]


class _Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The claims as they are signed. The order of the fields is the order of the bytes."""

    aud: str
    sub: UUID
    jti: TokenId
    iat: _Second
    exp: _Second
    event_id: UUID | None = None
    entry_id: UUID | None = None
    device: str | None = None


_DECODER: Final = msgspec.json.Decoder(_Payload)


class PlaceGrant(msgspec.Struct, frozen=True, kw_only=True):
    """What a queue or an access token is to say: whose place in which room, on which device, how long.

    The milliseconds of ``issued_at_ms`` are cut off. ``ttl_seconds`` is 1 or more, else ValueError.
    """

    user_id: UserId
    event_id: EventId
    entry_id: EntryId
    device_hash: DeviceHash
    jti: UUID
    issued_at_ms: int
    ttl_seconds: int


class Minted(msgspec.Struct, frozen=True):
    """A new token and what it says."""

    token: str
    claims: Claims

    def __repr__(self) -> str:
        return f"Minted({self.claims!r})"


def mint_user(keyring: Keyring, user_id: UserId, jti: UUID, now_ms: int, ttl_seconds: int) -> Minted:
    """A user token, signed with the newest user key.

    ``ttl_seconds`` is 1 or more, else ValueError; NoSigningKey if no user key is in force.
    """
    iat = now_ms // 1000
    payload = _Payload(
        aud=TokenKind.USER.audience, sub=user_id, jti=str(jti), iat=iat, exp=_expiry(iat, ttl_seconds)
    )
    return _minted(payload, keyring.signing_key(TokenKind.USER))


def mint_queue(keyring: Keyring, grant: PlaceGrant) -> Minted:
    """A queue token, signed with the newest queue key; NoSigningKey without one."""
    return _minted(_place_payload(grant, TokenKind.QUEUE), keyring.signing_key(TokenKind.QUEUE))


def mint_access(keyring: Keyring, grant: PlaceGrant, kid: str) -> Minted:
    """An access token, signed with the access key ``kid``: byte for byte the same for the same arguments.

    So the token need not be stored: its grant and key id are enough to answer it again. The key may be
    retired. NoSigningKey if it was removed or is another kind's.
    """
    key = keyring.find(kid)
    if key is None or key.kind is not TokenKind.ACCESS:
        raise NoSigningKey("the access token key of this id is not in the keyring")
    return _minted(_place_payload(grant, TokenKind.ACCESS), key)


def verify_own(
    token: str, keyring: Keyring, now_ms: int, leeway_seconds: int = DEFAULT_LEEWAY_SECONDS
) -> Claims:
    """What a token of this daemon says, whatever its kind: the caller judges ``claims.kind``.

    Refuses, in this order: a malformed token, an unknown key id, another algorithm than HS256, a wrong
    signature, another key's audience, a missing, unknown or ill-typed claim, an ``iat`` in the future beyond
    the leeway (all TokenInvalid); a token whose time is over (TokenExpired).
    """
    check_form(token)
    header = read_header(token)
    key = None if header.kid is None else keyring.find(header.kid)
    if key is None:
        raise TokenInvalid("signed by an unknown key")
    if header.alg != HS256:
        raise TokenInvalid("an algorithm that is not accepted")
    payload = decode_json(
        verified_hs256_payload(token, key.secret), _DECODER, "claims that are missing or malformed"
    )
    claims = _claims(payload, key)
    check_times(claims, now_ms, leeway_seconds)
    return claims


def _expiry(iat: int, ttl_seconds: int) -> int:
    if ttl_seconds < 1:
        raise ValueError("a token lives at least a second")
    return iat + ttl_seconds


def _place_payload(grant: PlaceGrant, kind: TokenKind) -> _Payload:
    iat = grant.issued_at_ms // 1000
    return _Payload(
        aud=kind.audience,
        sub=grant.user_id,
        jti=str(grant.jti),
        iat=iat,
        exp=_expiry(iat, grant.ttl_seconds),
        event_id=grant.event_id,
        entry_id=grant.entry_id,
        device=base64.urlsafe_b64encode(grant.device_hash).decode("ascii").rstrip("="),
    )


def _minted(payload: _Payload, key: SigningKey) -> Minted:
    return Minted(sign_hs256(msgspec.json.encode(payload), key.secret, key.kid), _claims(payload, key))


def _claims(payload: _Payload, key: SigningKey) -> Claims:
    """The claims of a payload that ``key`` signed; TokenInvalid if they are not those of the key's kind."""
    if payload.aud != key.kind.audience:
        raise TokenInvalid("an audience that is not its key's")
    place = (payload.event_id, payload.entry_id, payload.device)
    if key.kind is TokenKind.USER:
        if any(part is not None for part in place):
            raise TokenInvalid("a user token that names a place in a waiting room")
    elif any(part is None for part in place):
        raise TokenInvalid("a token without its place in a waiting room")
    return Claims(
        kind=key.kind,
        user_id=UserId(payload.sub),
        jti=payload.jti,
        issued_at_ms=payload.iat * 1000,
        expires_at_ms=payload.exp * 1000,
        kid=key.kid,
        event_id=None if payload.event_id is None else EventId(payload.event_id),
        entry_id=None if payload.entry_id is None else EntryId(payload.entry_id),
        device_hash=None if payload.device is None else _device_hash(payload.device),
    )


def _device_hash(text: str) -> DeviceHash:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise TokenInvalid("a device that is not a hash") from None
    if len(raw) != DEVICE_HASH_BYTES:
        raise TokenInvalid("a device that is not a hash")
    return DeviceHash(raw)
