"""Tokens of every kind for a daemon of a test, also such as the daemon itself would not make any more."""

from __future__ import annotations

from uuid import UUID, uuid4

from storage.schema.ids import EntryId, EventId, UserId
from tests.support.daemon import DEVICE, Daemon
from ticketd.credentials.devices import hash_device
from ticketd.credentials.keyring import TokenKind
from ticketd.credentials.tokens import PlaceGrant, mint_access, mint_queue, mint_user

SOMEBODY = UUID("0198c0de-0000-7000-8000-00000000beef")
SOME_EVENT = UUID("0198c0de-0000-7000-8000-0000000000e0")


def mint(
    daemon: Daemon,
    kind: TokenKind,
    *,
    user: UUID = SOMEBODY,
    event: UUID = SOME_EVENT,
    age_seconds: int = 0,
    ttl_seconds: int = 3600,
) -> str:
    """A token that was issued ``age_seconds`` ago, for ``DEVICE`` and for a place that nobody has."""
    keyring = daemon.services.keys.keyring
    issued_at_ms = daemon.services.clock.now_ms() - age_seconds * 1000
    if kind is TokenKind.USER:
        return mint_user(keyring, UserId(user), uuid4(), issued_at_ms, ttl_seconds).token
    grant = PlaceGrant(
        user_id=UserId(user),
        event_id=EventId(event),
        entry_id=EntryId(uuid4()),
        device_hash=hash_device(DEVICE),
        jti=uuid4(),
        issued_at_ms=issued_at_ms,
        ttl_seconds=ttl_seconds,
    )
    if kind is TokenKind.QUEUE:
        return mint_queue(keyring, grant).token
    return mint_access(keyring, grant, keyring.signing_key(TokenKind.ACCESS).kid).token
