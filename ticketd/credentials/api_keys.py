"""API keys: their text, their scopes, and the hash that is all the store keeps of a key's secret.

A key reads ``tk_ID_SECRET``: an id of 12 characters (``a-z2-7``, public, fit for logs) and a secret of 43
(base64url of 32 random bytes). The secret has 256 random bits, so one SHA-256 of it is enough: there is
nothing to guess, and a slow hash would only slow the daemon. What a scope opens is the endpoints' table's
business.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import hmac
import re
from typing import Final, NewType

import msgspec

ApiKeyId = NewType("ApiKeyId", str)

API_KEY_RANDOM_BYTES: Final = 40
MAX_NAME_LENGTH: Final = 100

_ID_RANDOM_BYTES: Final = 8
_ID_LENGTH: Final = 12
_ID = re.compile(r"[a-z2-7]{12}")
_TEXT = re.compile(r"tk_(?P<key_id>[a-z2-7]{12})_(?P<secret>[A-Za-z0-9_-]{43})")


class Scope(enum.StrEnum):
    """Who holds the key: a browser or an app, a trusted server, the operator, a gate at the door, or a till."""

    PUBLIC = "public"
    STOREFRONT = "storefront"
    OPERATOR = "operator"
    GATE = "gate"
    BOX_OFFICE = "box_office"


class ApiKeyInvalid(ValueError):
    """The text does not have the form of an API key."""


class ApiKeyFields(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of a new key."""

    key_id: ApiKeyId
    secret_sha256: bytes
    scope: Scope
    name: str
    created_at_ms: int


class PresentedApiKey(msgspec.Struct, frozen=True):
    """A key that somebody sent, well formed and not yet checked. The secret itself is not kept."""

    key_id: ApiKeyId
    secret_sha256: bytes


def new_api_key(random: bytes, scope: Scope, name: str, now_ms: int) -> tuple[str, ApiKeyFields]:
    """A fresh key: its text, to be shown once, and what is stored of it.

    ``random`` is ``API_KEY_RANDOM_BYTES`` (40) bytes; ``name`` is 0 to 100 printable characters. Else
    ValueError.
    """
    if len(random) != API_KEY_RANDOM_BYTES:
        raise ValueError(f"an API key is made of {API_KEY_RANDOM_BYTES} random bytes, not {len(random)}")
    if len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise ValueError(f"the name of an API key is at most {MAX_NAME_LENGTH} printable characters")
    key_id = base64.b32encode(random[:_ID_RANDOM_BYTES]).decode("ascii")[:_ID_LENGTH].lower()
    secret = base64.urlsafe_b64encode(random[_ID_RANDOM_BYTES:]).decode("ascii").rstrip("=")
    fields = ApiKeyFields(
        key_id=ApiKeyId(key_id),
        secret_sha256=_hash_secret(secret),
        scope=scope,
        name=name,
        created_at_ms=now_ms,
    )
    return f"tk_{key_id}_{secret}", fields


def is_api_key_id(text: str) -> bool:
    """Whether this has the form of a key's id."""
    return _ID.fullmatch(text) is not None


def parse_api_key(text: str) -> PresentedApiKey:
    """The id of a key's text and the hash of its secret; ApiKeyInvalid if it is not of a key's form."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ApiKeyInvalid("not of the form tk_ID_SECRET")
    return PresentedApiKey(ApiKeyId(match["key_id"]), _hash_secret(match["secret"]))


def is_secret_of(presented: PresentedApiKey, stored_sha256: bytes) -> bool:
    """Whether the secret that was sent is the stored one, compared in constant time."""
    return hmac.compare_digest(presented.secret_sha256, stored_sha256)


def _hash_secret(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("ascii")).digest()
