"""The outer form of a token (RFC 7515, compact serialisation): header and signature.

Everything that a token could ask of its reader is refused here: another algorithm than the key's own,
``crit``, ``b64``, an oversized or non-ASCII text. What the payload says is for ``tokens`` and ``external``.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final, TypeAlias, TypeVar

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.api_jws import PyJWS

from ticketd.credentials.claims import MAX_TOKEN_LENGTH, TokenInvalid

VerificationKey: TypeAlias = bytes | RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

P = TypeVar("P")

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_JWS: Final = PyJWS(algorithms=["HS256", "RS256", "ES256", "EdDSA"])


class JoseHeader(msgspec.Struct, frozen=True):
    """What a token's header says of its key, not to be trusted before the signature is checked."""

    alg: str
    kid: str | None = None
    crit: object = msgspec.UNSET
    b64: object = msgspec.UNSET


_HEADER_DECODER: Final = msgspec.json.Decoder(JoseHeader)


def check_form(token: str) -> None:
    """Passes a text that has the size and the characters of a token; else TokenInvalid."""
    if len(token) > MAX_TOKEN_LENGTH:
        raise TokenInvalid(f"longer than {MAX_TOKEN_LENGTH} characters")
    if _COMPACT.fullmatch(token) is None:
        raise TokenInvalid("not three parts of base64url")


def read_header(token: str) -> JoseHeader:
    """The header of a token whose form was checked; TokenInvalid if it cannot be read or makes a demand."""
    segment = token.partition(".")[0]
    try:
        raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error:
        raise TokenInvalid("a header that is not base64url") from None
    header = decode_json(raw, _HEADER_DECODER, "a header that cannot be read")
    if header.crit is not msgspec.UNSET or header.b64 is not msgspec.UNSET:
        raise TokenInvalid("a header with demands that are not supported")
    return header


def verified_payload(token: str, key: VerificationKey, algorithm: str) -> bytes:
    """The payload of a token signed by ``key`` with ``algorithm``; TokenInvalid for any other token."""
    try:
        payload: object = _JWS.decode(token, key, algorithms=[algorithm])
    except (jwt.PyJWTError, ValueError):
        raise TokenInvalid("a signature that does not match") from None
    if not isinstance(payload, bytes):
        raise TokenInvalid("a payload that cannot be read")
    return payload


def sign(payload: bytes, secret: bytes, kid: str) -> str:
    """The token of a payload, signed with HMAC-SHA256: always the same one for the same arguments."""
    return _JWS.encode(payload, secret, algorithm="HS256", headers={"kid": kid}, sort_headers=True)


def decode_json(raw: bytes, decoder: msgspec.json.Decoder[P], refusal: str) -> P:
    """``raw`` as the decoder's type; TokenInvalid with ``refusal`` if it is not."""
    try:
        return decoder.decode(raw)
    # Deep nesting and broken UTF-8 leave msgspec as these two, not as its own error.
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise TokenInvalid(refusal) from None
