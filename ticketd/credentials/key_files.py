"""The files that hold an identity provider's keys: JWKS (RFC 7517), PEM, or a shared secret.

A file with anything doubtful in it is refused whole, and the refusal names the file and what to change. Keys
for other purposes (encryption, algorithms that are not supported) are passed over, since real JWKS documents
carry them. A refusal never quotes a key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import jwt
import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ticketd.credentials.external import ExternalAlgorithm, ExternalKey
from ticketd.credentials.jws import VerificationKey

MAX_KEY_FILE_BYTES: Final = 1024 * 1024
MIN_SYMMETRIC_KEY_BYTES: Final = 32
MIN_RSA_BITS: Final = 2048

_ALGORITHM_OF_TYPE: Final = {
    ("RSA", None): ExternalAlgorithm.RS256,
    ("EC", "P-256"): ExternalAlgorithm.ES256,
    ("OKP", "Ed25519"): ExternalAlgorithm.EDDSA,
    ("oct", None): ExternalAlgorithm.HS256,
}


class CredentialFileError(Exception):
    """A key file that cannot be used; the text names the file and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class _Jwk(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of a JWKS document, as far as it counts for verifying a signature."""

    kty: str
    kid: str | None = None
    use: str | None = None
    alg: str | None = None
    key_ops: list[str] | None = None
    crv: str | None = None
    n: str | None = None
    e: str | None = None
    x: str | None = None
    y: str | None = None
    k: str | None = None
    d: str | None = None


class _Jwks(msgspec.Struct, frozen=True):
    keys: list[_Jwk]


def read_jwks_file(path: Path) -> tuple[ExternalKey, ...]:
    """The keys of a JWKS file that can verify a token's signature, one or more; else CredentialFileError."""
    raw = _read(path)
    try:
        document = msgspec.json.decode(raw, type=_Jwks)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise CredentialFileError(path, f"is not a JWKS document ({error})") from None
    keys: list[ExternalKey] = []
    for index, jwk in enumerate(document.keys):
        place = f"keys[{index}]"
        algorithm = _algorithm_of(jwk)
        if algorithm is None:
            continue
        if jwk.d is not None:
            raise CredentialFileError(path, f"{place} holds a private key; only public keys belong here")
        if jwk.kid is not None and any(key.kid == jwk.kid for key in keys):
            raise CredentialFileError(path, f"{place} repeats the key id {jwk.kid!r}")
        keys.append(ExternalKey(jwk.kid, algorithm, _jwk_key(path, place, jwk, algorithm)))
    if not keys:
        raise CredentialFileError(
            path, "holds no key that can verify RS256, ES256, EdDSA or HS256 signatures"
        )
    return tuple(keys)


def read_pem_file(path: Path) -> tuple[ExternalKey, ...]:
    """The one public key of a PEM file; else CredentialFileError.

    The file holds a ``PUBLIC KEY``, an ``RSA PUBLIC KEY`` or a ``CERTIFICATE``. Of a certificate only the key
    counts: its dates and its issuer are not judged.
    """
    raw = _read(path)
    if b"PRIVATE KEY-----" in raw:
        raise CredentialFileError(path, "holds a private key; only a public key belongs here")
    try:
        if b"-----BEGIN CERTIFICATE-----" in raw:
            key: object = x509.load_pem_x509_certificate(raw).public_key()
        else:
            key = load_pem_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        raise CredentialFileError(path, "is not a public key or a certificate in PEM form") from None
    if isinstance(key, RSAPublicKey):
        return (ExternalKey(None, ExternalAlgorithm.RS256, _long_enough(path, "the RSA key", key)),)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return (ExternalKey(None, ExternalAlgorithm.ES256, key),)
    if isinstance(key, Ed25519PublicKey):
        return (ExternalKey(None, ExternalAlgorithm.EDDSA, key),)
    raise CredentialFileError(path, "holds a key that is neither RSA, nor P-256, nor Ed25519")


def read_shared_secret_file(path: Path) -> tuple[ExternalKey, ...]:
    """The HS256 key that is a file's content without its line end; else CredentialFileError.

    It has 32 bytes or more and is no PEM file.
    """
    secret = _read(path).removesuffix(b"\n").removesuffix(b"\r")
    if b"-----BEGIN " in secret:
        raise CredentialFileError(path, "holds a PEM key, which cannot be a shared secret")
    return (ExternalKey(None, ExternalAlgorithm.HS256, _secret(path, "the shared secret", secret)),)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise CredentialFileError(path, f"cannot be read ({error.strerror})") from None
    if len(raw) > MAX_KEY_FILE_BYTES:
        raise CredentialFileError(path, f"is larger than {MAX_KEY_FILE_BYTES} bytes")
    return raw


def _algorithm_of(jwk: _Jwk) -> ExternalAlgorithm | None:
    """What a JWKS entry verifies; None if it is for another purpose."""
    algorithm = _ALGORITHM_OF_TYPE.get((jwk.kty, jwk.crv))
    if algorithm is None or jwk.use not in (None, "sig") or jwk.alg not in (None, algorithm.value):
        return None
    if jwk.key_ops is not None and "verify" not in jwk.key_ops:
        return None
    return algorithm


def _jwk_key(path: Path, place: str, jwk: _Jwk, algorithm: ExternalAlgorithm) -> VerificationKey:
    try:
        key: object = jwt.PyJWK(msgspec.to_builtins(jwk), algorithm.value).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        raise CredentialFileError(path, f"{place} is not a sound {jwk.kty} key") from None
    if isinstance(key, RSAPublicKey):
        return _long_enough(path, place, key)
    if isinstance(key, bytes):
        return _secret(path, place, key)
    if isinstance(key, EllipticCurvePublicKey | Ed25519PublicKey):
        return key
    raise CredentialFileError(path, f"{place} is not a sound {jwk.kty} key")


def _long_enough(path: Path, what: str, key: RSAPublicKey) -> RSAPublicKey:
    if key.key_size < MIN_RSA_BITS:
        raise CredentialFileError(path, f"{what} has {key.key_size} bits; {MIN_RSA_BITS} are the least")
    return key


def _secret(path: Path, what: str, secret: bytes) -> bytes:
    if len(secret) < MIN_SYMMETRIC_KEY_BYTES:
        raise CredentialFileError(
            path, f"{what} has {len(secret)} bytes; {MIN_SYMMETRIC_KEY_BYTES} are the least"
        )
    return secret
