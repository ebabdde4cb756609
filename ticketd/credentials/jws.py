"""The outer form of a token (RFC 7515, compact serialisation): header and signature.

Everything that a token could ask of its reader is refused here: another algorithm than the key's own,
``crit``, ``b64``, an oversized or non-ASCII text. What the payload says is for ``tokens`` and ``external``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
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

HS256: Final = "HS256"

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_JWS: Final = PyJWS(algorithms=["HS256", "RS256", "ES256", "EdDSA"])
_WRONG_SIGNATURE: Final = "a signature that does not match"


class JoseHeader(msgspec.Struct, frozen=True):
    """What a token's header says of its key, not to be trusted before the signature is checked."""

    alg: str
    kid: str | None = None
    crit: object = msgspec.UNSET
    b64: object = msgspec.UNSET


class _Hs256Header(msgspec.Struct, frozen=True):
    """The header of a token of our own. The order of the fields is the order of the bytes."""

    alg: str
    kid: str
    typ: str


_HEADER_DECODER: Final = msgspec.json.Decoder(JoseHeader)


def check_form(token: str) -> None:
    """Passes a text that has the size and the characters of a token; else TokenInvalid."""
    if len(token) > MAX_TOKEN_LENGTH:
        raise TokenInvalid(f"longer than {MAX_TOKEN_LENGTH} characters")
    if _COMPACT.fullmatch(token) is None:
        raise TokenInvalid("not three parts of base64url")


def read_header(token: str) -> JoseHeader:
    """The header of a token whose form was checked; TokenInvalid if it cannot be read or makes a demand."""
    raw = _decode_segment(token.partition(".")[0])
    header = decode_json(raw, _HEADER_DECODER, "a header that cannot be read")
    if header.crit is not msgspec.UNSET or header.b64 is not msgspec.UNSET:
        raise TokenInvalid("a header with demands that are not supported")
    return header


def verified_payload(token: str, key: VerificationKey, algorithm: str) -> bytes:
    """The payload of a token signed by ``key`` with ``algorithm``; TokenInvalid for any other token."""
    try:
        payload: object = _JWS.decode(token, key, algorithms=[algorithm])
    except (jwt.PyJWTError, ValueError):
        raise TokenInvalid(_WRONG_SIGNATURE) from None
    if not isinstance(payload, bytes):
        raise TokenInvalid("a payload that cannot be read")
    return payload


def sign_hs256(payload: bytes, secret: bytes, kid: str) -> str:
    """The token of a payload, signed with HMAC-SHA256: always the same one for the same arguments."""
    header = msgspec.json.encode(_Hs256Header(alg=HS256, kid=kid, typ="JWT"))
    signing_input = f"{_encode_segment(header)}.{_encode_segment(payload)}"
    return f"{signing_input}.{_hs256_signature(signing_input, secret)}"


def verified_hs256_payload(token: str, secret: bytes) -> bytes:
    """The payload of a token whose form was checked and which ``secret`` signed; TokenInvalid for any other.

    The same as ``verified_payload`` for this one algorithm, several times faster: every waiting buyer's poll comes
    here.
    """
    signing_input, _, signature = token.rpartition(".")
    # The texts are compared, not the bytes they stand for: so a signature has one text only.
    if not hmac.compare_digest(signature, _hs256_signature(signing_input, secret)):
        raise TokenInvalid(_WRONG_SIGNATURE)
    return _decode_segment(signing_input.rpartition(".")[2])


def decode_json(raw: bytes, decoder: msgspec.json.Decoder[P], refusal: str) -> P:
    """``raw`` as the decoder's type; TokenInvalid with ``refusal`` if it is not."""
    try:
        return decoder.decode(raw)
    # Deep nesting and broken UTF-8 leave msgspec as these two, not as its own error.
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise TokenInvalid(refusal) from None


def _hs256_signature(signing_input: str, secret: bytes) -> str:
    return _encode_segment(hmac.digest(secret, signing_input.encode("ascii"), hashlib.sha256))


def _encode_segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _decode_segment(segment: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error:
        raise TokenInvalid("a part that is not base64url") from None
