from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from ticketd.credentials.external import ExternalAlgorithm
from ticketd.credentials.key_files import (
    MAX_KEY_FILE_BYTES,
    CredentialFileError,
    read_jwks_file,
    read_pem_file,
    read_shared_secret_file,
)

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SHORT_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def rsa_jwk(key: rsa.RSAPrivateKey = RSA, **extra: object) -> dict[str, object]:
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e), **extra}


def ec_jwk(**extra: object) -> dict[str, object]:
    numbers = EC.public_key().public_numbers()
    x, y = (b64(value.to_bytes(32, "big")) for value in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, **extra}


def ed_jwk(**extra: object) -> dict[str, object]:
    raw = ED.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(raw), **extra}


def oct_jwk(length: int = 32, **extra: object) -> dict[str, object]:
    return {"kty": "oct", "k": b64(b"s" * length), **extra}


def jwks(folder: Path, *keys: object) -> Path:
    path = folder / "jwks.json"
    path.write_text(json.dumps({"keys": keys}))
    return path


def written(folder: Path, raw: bytes) -> Path:
    path = folder / "key"
    path.write_bytes(raw)
    return path


def pem(
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey,
) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_a_jwks_file_gives_each_key_the_algorithm_of_its_type(tmp_path: Path) -> None:
    keys = read_jwks_file(
        jwks(
            tmp_path,
            rsa_jwk(kid="r", use="sig", alg="RS256", x5t="unknown members are fine"),
            ec_jwk(kid="e", key_ops=["verify"]),
            ed_jwk(kid="d"),
            oct_jwk(),
        )
    )
    assert [(key.kid, key.algorithm) for key in keys] == [
        ("r", ExternalAlgorithm.RS256),
        ("e", ExternalAlgorithm.ES256),
        ("d", ExternalAlgorithm.EDDSA),
        (None, ExternalAlgorithm.HS256),
    ]
    assert keys[3].key == b"s" * 32


@pytest.mark.parametrize(
    "other",
    [
        rsa_jwk(use="enc"),
        rsa_jwk(alg="RSA-OAEP"),
        rsa_jwk(alg="RS512"),
        rsa_jwk(key_ops=["encrypt"]),
        {"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"},
        {"kty": "OKP", "crv": "X25519", "x": "AA"},
        {"kty": "of the future"},
    ],
)
def test_keys_for_other_purposes_are_passed_over(tmp_path: Path, other: dict[str, object]) -> None:
    assert len(read_jwks_file(jwks(tmp_path, other, ed_jwk()))) == 1
    with pytest.raises(CredentialFileError, match="holds no key"):
        read_jwks_file(jwks(tmp_path, other))


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (ec_jwk(d="AA"), r"keys\[1\] holds a private key"),
        (rsa_jwk(SHORT_RSA), r"keys\[1\] has 1024 bits"),
        (oct_jwk(31), r"keys\[1\] has 31 bytes"),
        (ed_jwk(kid="same"), r"keys\[1\] repeats the key id 'same'"),
        (ec_jwk(x="AA"), r"keys\[1\] is not a sound EC key"),
        (ec_jwk(x=None), r"keys\[1\] is not a sound EC key"),
        (rsa_jwk(n="!!"), r"keys\[1\] is not a sound RSA key"),
        ({"kty": "oct"}, r"keys\[1\] is not a sound oct key"),
        (ed_jwk(x="AA"), r"keys\[1\] is not a sound OKP key"),
    ],
)
def test_a_doubtful_key_refuses_the_file_and_is_named(tmp_path: Path, entry: object, reason: str) -> None:
    with pytest.raises(CredentialFileError, match=reason) as caught:
        read_jwks_file(jwks(tmp_path, ed_jwk(kid="same"), entry))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[{}]}', b'{"keys":[7]}', b"\xff", b"[" * 100_000],
)
def test_a_file_that_is_no_jwks_is_refused(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(CredentialFileError, match="not a JWKS document"):
        read_jwks_file(written(tmp_path, raw))


def test_a_pem_file_gives_its_one_key(tmp_path: Path) -> None:
    for raw, algorithm in (
        (pem(RSA.public_key()), ExternalAlgorithm.RS256),
        (RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1), ExternalAlgorithm.RS256),
        (pem(EC.public_key()), ExternalAlgorithm.ES256),
        (pem(ED.public_key()), ExternalAlgorithm.EDDSA),
    ):
        (key,) = read_pem_file(written(tmp_path, raw))
        assert (key.kid, key.algorithm) == (None, algorithm)


def test_a_certificate_gives_its_public_key(tmp_path: Path) -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "id.example")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(RSA.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=1))
        .sign(RSA, hashes.SHA256())
    )
    (key,) = read_pem_file(written(tmp_path, certificate.public_bytes(Encoding.PEM)))
    assert key.key == RSA.public_key()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "is not a public key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "is not a public key"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is not a public key"),
        (RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "private key"),
        (pem(SHORT_RSA.public_key()), "1024 bits"),
        (pem(ec.generate_private_key(ec.SECP384R1()).public_key()), "neither RSA"),
        (pem(ed448.Ed448PrivateKey.generate().public_key()), "neither RSA"),
    ],
)
def test_other_pem_files_are_refused(tmp_path: Path, raw: bytes, reason: str) -> None:
    with pytest.raises(CredentialFileError, match=reason):
        read_pem_file(written(tmp_path, raw))


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_shared_secret_is_the_content_without_its_line_end(tmp_path: Path, end: bytes) -> None:
    (key,) = read_shared_secret_file(written(tmp_path, b"s" * 32 + end))
    assert (key.algorithm, key.key) == (ExternalAlgorithm.HS256, b"s" * 32)


def test_a_short_secret_and_a_pem_key_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CredentialFileError, match="31 bytes; 32"):
        read_shared_secret_file(written(tmp_path, b"s" * 31 + b"\n"))
    with pytest.raises(CredentialFileError, match="PEM"):
        read_shared_secret_file(written(tmp_path, pem(RSA.public_key())))


@pytest.mark.parametrize("read", [read_jwks_file, read_pem_file, read_shared_secret_file])
def test_a_file_that_cannot_be_read_or_is_too_large_is_refused(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    with pytest.raises(CredentialFileError, match="No such file"):
        read(tmp_path / "absent")
    with pytest.raises(CredentialFileError, match="directory"):
        read(tmp_path)
    with pytest.raises(CredentialFileError, match="is larger than"):
        read(written(tmp_path, b"x" * (MAX_KEY_FILE_BYTES + 1)))


def test_a_file_of_the_greatest_size_is_read(tmp_path: Path) -> None:
    (key,) = read_shared_secret_file(written(tmp_path, b"x" * MAX_KEY_FILE_BYTES))
    assert isinstance(key.key, bytes)
    assert len(key.key) == MAX_KEY_FILE_BYTES
