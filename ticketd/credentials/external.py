"""User tokens of the operator's own identity provider, checked with the keys that the operator configured.

Each key verifies with one algorithm, which its type alone decides; a token's header chooses among the keys
and never among the algorithms. How keys are read from files is in ``key_files``. Nothing is fetched from a
network.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from typing import Annotated, Final
from uuid import UUID

import msgspec

from storage.schema.ids import UserId
from ticketd.credentials.claims import (
    DEFAULT_LEEWAY_SECONDS,
    LAST_SECOND,
    Claims,
    TokenId,
    TokenInvalid,
    check_times,
)
from ticketd.credentials.jws import (
    JoseHeader,
    VerificationKey,
    check_form,
    decode_json,
    read_header,
    verified_payload,
)
from ticketd.credentials.keyring import TokenKind

_Instant = Annotated[float, msgspec.Meta(ge=0, le=LAST_SECOND)]


class ExternalAlgorithm(enum.StrEnum):
    """The signature algorithms (RFC 7518, RFC 8037) that an outside issuer may use."""

    RS256 = "RS256"
    ES256 = "ES256"
    EDDSA = "EdDSA"
    HS256 = "HS256"


class ExternalKey(msgspec.Struct, frozen=True):
    """A key of an outside issuer. ``kid`` is None if the issuer gave it none."""

    kid: str | None
    algorithm: ExternalAlgorithm
    key: VerificationKey

    def __repr__(self) -> str:
        return f"ExternalKey(kid={self.kid!r}, algorithm={self.algorithm.name})"


class _Payload(msgspec.Struct, frozen=True):
    """The claims that count; others are the issuer's own affair. Times may have fractions (RFC 7519)."""

    iss: str
    aud: str | list[str]
    sub: UUID
    jti: TokenId
    iat: _Instant
    exp: _Instant
    nbf: _Instant | None = None


_DECODER: Final = msgspec.json.Decoder(_Payload)


class ExternalIssuer:
    """One outside issuer of user tokens: its name (``iss``), the audience it names us by (``aud``), its keys.

    Keys of an algorithm that is not in ``algorithms`` are left aside. An empty ``issuer`` or ``audience``, or
    no key that may be used, is a ValueError.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        algorithms: Collection[ExternalAlgorithm],
        keys: Collection[ExternalKey],
    ) -> None:
        if not issuer or not audience:
            raise ValueError("an outside issuer needs its issuer and its audience")
        self._issuer = issuer
        self._audience = audience
        self._keys = tuple(key for key in keys if key.algorithm in algorithms)
        if not self._keys:
            raise ValueError(f"the keys hold none for {', '.join(sorted(algorithms)) or 'any algorithm'}")

    def verify(self, token: str, now_ms: int, leeway_seconds: int = DEFAULT_LEEWAY_SECONDS) -> Claims:
        """What a user token of this issuer says. Its ``sub`` must be a UUID.

        Refuses, in this order: a malformed token, a key id or an algorithm that no key has, a wrong
        signature, a missing or ill-typed claim (``iss``, ``aud``, ``sub``, ``jti``, ``iat`` and ``exp`` are
        required), another issuer, another audience, ``nbf`` or ``iat`` in the future beyond the leeway (all
        TokenInvalid); a token whose time and leeway are over (TokenExpired).
        """
        check_form(token)
        key = self._key_for(read_header(token))
        payload = decode_json(
            verified_payload(token, key.key, key.algorithm.value),
            _DECODER,
            "claims that are missing or malformed",
        )
        if payload.iss != self._issuer:
            raise TokenInvalid("another issuer")
        if self._audience not in (payload.aud if isinstance(payload.aud, list) else [payload.aud]):
            raise TokenInvalid("another audience")
        if payload.nbf is not None and payload.nbf * 1000 > now_ms + leeway_seconds * 1000:
            raise TokenInvalid("not valid yet")
        claims = Claims(
            kind=TokenKind.USER,
            user_id=UserId(payload.sub),
            jti=payload.jti,
            issued_at_ms=int(payload.iat * 1000),
            expires_at_ms=int(payload.exp * 1000),
            kid=key.kid,
            issuer=self._issuer,
        )
        check_times(claims, now_ms, leeway_seconds)
        return claims

    def _key_for(self, header: JoseHeader) -> ExternalKey:
        """The one key that a header can mean; TokenInvalid if there is none, or more than one."""
        able = [key for key in self._keys if key.algorithm.value == header.alg]
        if header.kid is not None:
            named = [key for key in able if key.kid == header.kid]
            # A key without an id, as a PEM file's, answers to any.
            able = named or [key for key in able if key.kid is None]
        if len(able) != 1:
            raise TokenInvalid("signed by an unknown key")
        return able[0]
