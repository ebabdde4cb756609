"""API keys and signing keys: created, revoked, rotated. Secrets are made outside and come in with the command.

What each key opens is the table of endpoints' business.
"""

from __future__ import annotations

from typing import Final

import msgspec

from storage.engine import Reader, Transaction
from storage.schema.events import KeysChanged
from storage.schema.layout import API_KEYS, SIGNING_KEYS, SYSTEM
from storage.schema.records import ApiKeyRecord, SigningKeyRecord
from ticketd.credentials.api_keys import Scope, new_api_key
from ticketd.credentials.keyring import KEY_RANDOM_BYTES, SECRET_BYTES, TokenKind
from ticketd.errors import ErrorCode, Refusal
from ticketd.tickets.code import new_ticket_key

TICKET_KEY_KIND: Final = "ticket"
LINK_KEY_KIND: Final = "link"
NO_SUCH_KEY: Final = "There is no API key with this id."
SIGNING_KEY_KINDS: Final = (*(kind.value for kind in TokenKind), TICKET_KEY_KIND, LINK_KEY_KIND)


class RevokeApiKey(msgspec.Struct, frozen=True):
    """Ends an API key."""

    key_id: str


def fresh_api_key(random: bytes, scope: Scope, name: str, now_ms: int) -> tuple[str, ApiKeyRecord]:
    """A new API key out of ``API_KEY_RANDOM_BYTES`` random bytes: its text, to be shown once, and what is stored of it.

    ``name`` is 0 to 100 printable characters; else ValueError.
    """
    text, fields = new_api_key(random, scope, name, now_ms)
    record = ApiKeyRecord(
        key_id=fields.key_id,
        scope=fields.scope.value,
        name=fields.name,
        secret_hash=fields.secret_sha256,
        created_at_ms=fields.created_at_ms,
    )
    return text, record


def fresh_signing_key(kind: str, random: bytes, now_ms: int) -> SigningKeyRecord:
    """A new key of one of ``SIGNING_KEY_KINDS`` out of ``KEY_RANDOM_BYTES`` random bytes: 32 are its secret, the others
    its id. A ticket key's id follows from the key itself. Another kind, or another number of bytes, is a ValueError.
    """
    if kind not in SIGNING_KEY_KINDS:
        raise ValueError(f"there are no signing keys of the kind {kind!r}")
    if len(random) != KEY_RANDOM_BYTES:
        raise ValueError(f"a signing key is made of {KEY_RANDOM_BYTES} random bytes, not {len(random)}")
    secret = random[:SECRET_BYTES]
    if kind == TICKET_KEY_KIND:
        kid: str = new_ticket_key(secret, now_ms).kid
    else:
        kid = f"{kind}-{random[SECRET_BYTES:].hex()}"
    return SigningKeyRecord(kid=kid, kind=kind, secret=secret, created_at_ms=now_ms)


def add_api_key(tx: Transaction, record: ApiKeyRecord) -> ApiKeyRecord:
    """Stores a new API key."""
    API_KEYS.put(tx, record, SYSTEM, record.key_id)
    tx.emit(SYSTEM, KeysChanged())
    return record


def revoke_api_key(tx: Transaction, command: RevokeApiKey) -> ApiKeyRecord:
    """Revokes a key at once and for good; again is no error. Refuses NOT_FOUND."""
    found = API_KEYS.get(tx, SYSTEM, command.key_id)
    if found is None:
        raise Refusal(ErrorCode.NOT_FOUND, NO_SUCH_KEY)
    if found.revoked_at_ms is not None:
        return found
    revoked = msgspec.structs.replace(found, revoked_at_ms=tx.now_ms)
    API_KEYS.put(tx, revoked, SYSTEM, command.key_id)
    tx.emit(SYSTEM, KeysChanged())
    return revoked


def list_api_keys(reader: Reader) -> list[ApiKeyRecord]:
    """All keys, oldest first, revoked ones too."""
    return sorted(
        (record for _, record in API_KEYS.scan(reader, SYSTEM)),
        key=lambda record: (record.created_at_ms, record.key_id),
    )


def add_missing_signing_keys(tx: Transaction, candidates: tuple[SigningKeyRecord, ...]) -> int:
    """Stores each candidate whose kind has no key in force yet; answers how many. For the first start on a store."""
    in_force = {record.kind for _, record in SIGNING_KEYS.scan(tx, SYSTEM) if record.retired_at_ms is None}
    missing = [record for record in candidates if record.kind not in in_force]
    for record in missing:
        SIGNING_KEYS.put(tx, record, SYSTEM, record.kind, record.kid)
    if missing:
        tx.emit(SYSTEM, KeysChanged())
    return len(missing)


def rotate_signing_key(tx: Transaction, fresh: SigningKeyRecord) -> None:
    """Puts a fresh key in force and retires the others of its kind, which go on verifying what they signed."""
    older = [
        record for _, record in SIGNING_KEYS.scan(tx, SYSTEM, fresh.kind) if record.retired_at_ms is None
    ]
    for record in older:
        retired = msgspec.structs.replace(record, retired_at_ms=tx.now_ms)
        SIGNING_KEYS.put(tx, retired, SYSTEM, record.kind, record.kid)
    SIGNING_KEYS.put(tx, fresh, SYSTEM, fresh.kind, fresh.kid)
    tx.emit(SYSTEM, KeysChanged())
