from __future__ import annotations

import json
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import HMACAlgorithm
from jwt.api_jws import PyJWS
from jwt.utils import base64url_encode

from ticketd.credentials.claims import TokenExpired, TokenInvalid
from ticketd.credentials.external import ExternalAlgorithm, ExternalIssuer, ExternalKey
from ticketd.credentials.keyring import TokenKind

NOW_MS = 1_767_866_400_000
NOW = NOW_MS // 1000
USER = UUID("11111111-1111-4111-8111-111111111111")

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
SECRET = b"s" * 32

KEYS = (
    ExternalKey("rsa-1", ExternalAlgorithm.RS256, RSA.public_key()),
    ExternalKey("ec-1", ExternalAlgorithm.ES256, EC.public_key()),
    ExternalKey("ed-1", ExternalAlgorithm.EDDSA, ED.public_key()),
    ExternalKey("hs-1", ExternalAlgorithm.HS256, SECRET),
)
PRIVATE: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | bytes] = {
    "RS256": RSA,
    "ES256": EC,
    "EdDSA": ED,
    "HS256": SECRET,
}
ISSUER = ExternalIssuer("https://id.example", "ticketd", list(ExternalAlgorithm), KEYS)


def claims(**changes: object) -> dict[str, object]:
    payload: dict[str, object] = {
        "iss": "https://id.example",
        "aud": "ticketd",
        "sub": str(USER),
        "jti": "j-1",
        "iat": NOW,
        "exp": NOW + 60,
        "email": "somebody@example.com",
        **changes,
    }
    return {name: value for name, value in payload.items() if value is not ...}


def token(alg: str = "EdDSA", kid: str | None = "ed-1") -> str:
    return token_of(claims(), alg, kid)


def token_of(payload: dict[str, object], alg: str = "EdDSA", kid: str | None = "ed-1") -> str:
    # PyJWT's own encode refuses some wrong claims, so the JSON is signed as it is.
    headers = {"kid": kid} if kid else None
    return PyJWS().encode(json.dumps(payload).encode(), PRIVATE[alg], alg, headers=headers)


def refused(text: str, issuer: ExternalIssuer = ISSUER) -> str:
    with pytest.raises(TokenInvalid) as caught:
        issuer.verify(text, NOW_MS)
    return str(caught.value)


@pytest.mark.parametrize(
    ("alg", "kid"), [("RS256", "rsa-1"), ("ES256", "ec-1"), ("EdDSA", "ed-1"), ("HS256", "hs-1")]
)
def test_each_algorithm_verifies(alg: str, kid: str) -> None:
    read = ISSUER.verify(token(alg, kid), NOW_MS)
    assert (read.kind, read.user_id, read.jti, read.kid) == (TokenKind.USER, USER, "j-1", kid)
    assert (read.issued_at_ms, read.expires_at_ms) == (NOW_MS, NOW_MS + 60_000)
    assert read.issuer == "https://id.example"
    assert (read.event_id, read.entry_id, read.device_hash) == (None, None, None)


@pytest.mark.parametrize("alg", ["RS256", "ES256", "HS256"])
def test_a_signature_of_another_key_is_refused(alg: str) -> None:
    refused(token(alg, "ed-1"))


def test_a_public_key_is_no_shared_secret() -> None:
    for form in (PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1):
        pem = RSA.public_key().public_bytes(Encoding.PEM, form)
        # PyJWT refuses to sign with a PEM text, so the forger's HMAC is made by hand.
        algorithm = HMACAlgorithm(HMACAlgorithm.SHA256)
        head = base64url_encode(json.dumps({"alg": "HS256", "kid": "rsa-1"}).encode())
        body = base64url_encode(json.dumps(claims()).encode())
        mac = base64url_encode(algorithm.sign(head + b"." + body, pem))
        forged = b".".join((head, body, mac)).decode()
        refused(forged)
        refused(forged, ExternalIssuer("https://id.example", "ticketd", list(ExternalAlgorithm), KEYS[:1]))


def test_only_the_configured_algorithms_are_accepted() -> None:
    narrow = ExternalIssuer("https://id.example", "ticketd", [ExternalAlgorithm.EDDSA], KEYS)
    assert narrow.verify(token(), NOW_MS).kid == "ed-1"
    assert "unknown key" in refused(token("HS256", "hs-1"), narrow)
    assert "unknown key" in refused(token("HS256", None), narrow)


def test_without_a_key_id_only_an_only_key_is_meant() -> None:
    assert ISSUER.verify(token(kid=None), NOW_MS).kid == "ed-1"
    twins = [
        ExternalKey("one", ExternalAlgorithm.EDDSA, ED.public_key()),
        ExternalKey("two", ExternalAlgorithm.EDDSA, ED.public_key()),
    ]
    assert "unknown key" in refused(
        token(kid=None), ExternalIssuer("https://id.example", "ticketd", list(ExternalAlgorithm), twins)
    )


def test_a_key_without_an_id_answers_to_any() -> None:
    nameless = ExternalIssuer(
        "https://id.example",
        "ticketd",
        list(ExternalAlgorithm),
        [ExternalKey(None, ExternalAlgorithm.EDDSA, ED.public_key())],
    )
    assert nameless.verify(token(kid="whatever"), NOW_MS).kid is None
    assert nameless.verify(token(kid=None), NOW_MS).user_id == USER


def test_an_unknown_key_id_is_refused() -> None:
    assert "unknown key" in refused(token(kid="ed-2"))


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "jti", "iat", "exp"])
@pytest.mark.parametrize("value", [..., None, "", [], {}, True])
def test_each_claim_is_required_and_of_its_type(claim: str, value: object) -> None:
    refused(token_of(claims(**{claim: value})))


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("exp", str(NOW + 60)),
        ("iat", str(NOW)),
        ("exp", -1),
        ("exp", 2**70),
        ("exp", 1e300),
        ("exp", float("inf")),
        ("exp", float("nan")),
        ("nbf", "soon"),
        ("iss", "https://id.example/"),
        ("aud", "ticketd2"),
        ("aud", ["a", "b"]),
        ("aud", ["ticketd", 7]),
        ("aud", {"ticketd": 1}),
        ("sub", "auth0|42"),
        ("jti", "j" * 257),
    ],
)
def test_claims_that_are_not_accepted(claim: str, value: object) -> None:
    refused(token_of(claims(**{claim: value})))


def test_claims_that_are_accepted() -> None:
    read = ISSUER.verify(
        token_of(claims(aud=["other", "ticketd"], exp=NOW + 60.5, nbf=NOW, jti="j" * 256)), NOW_MS
    )
    assert read.expires_at_ms == NOW_MS + 60_500


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_the_future_is_forgiven_within_the_leeway(claim: str) -> None:
    assert ISSUER.verify(token_of(claims(**{claim: NOW + 5})), NOW_MS, 5).user_id == USER
    with pytest.raises(TokenInvalid):
        ISSUER.verify(token_of(claims(**{claim: NOW + 5.001})), NOW_MS, 5)


def test_expiry_is_forgiven_within_the_leeway() -> None:
    text = token()
    assert ISSUER.verify(text, NOW_MS + 64_999, 5).user_id == USER
    with pytest.raises(TokenExpired):
        ISSUER.verify(text, NOW_MS + 65_000, 5)


@pytest.mark.parametrize("text", ["", "a.b.c", "é.é.é", "A" * 5000])
def test_a_malformed_token_is_refused(text: str) -> None:
    refused(text)


def test_demands_are_refused_though_the_signature_is_right() -> None:
    text = PyJWS().encode(
        json.dumps(claims()).encode(), ED, "EdDSA", headers={"kid": "ed-1", "b64": True, "x5u": "http://evil"}
    )
    assert (
        ISSUER.verify(text, NOW_MS).user_id == USER
    )  # PyJWT writes no b64 of true, and an x5u is never followed
    head = base64url_encode(json.dumps({"alg": "EdDSA", "kid": "ed-1", "crit": ["x5u"]}).encode())
    body = base64url_encode(json.dumps(claims()).encode())
    signature = base64url_encode(ED.sign(head + b"." + body))
    assert "demands" in refused(b".".join((head, body, signature)).decode())


def test_an_issuer_needs_names_and_a_usable_key() -> None:
    for issuer, audience in (("", "ticketd"), ("https://id.example", "")):
        with pytest.raises(ValueError, match="needs its issuer"):
            ExternalIssuer(issuer, audience, list(ExternalAlgorithm), KEYS)
    with pytest.raises(ValueError, match="none for RS256"):
        ExternalIssuer("i", "a", [ExternalAlgorithm.RS256], KEYS[1:])
    with pytest.raises(ValueError, match="none for any"):
        ExternalIssuer("i", "a", [], KEYS)


def test_a_key_is_not_shown() -> None:
    assert "sss" not in repr(KEYS[3])
