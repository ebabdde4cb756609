"""What a store needs before it can serve: signing keys of each kind. Made once, at the first start on a data folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from storage.engine import Command, Engine
from storage.schema.layout import SYSTEM
from storage.schema.records import SigningKeyRecord
from ticketd.credentials.keyring import SECRET_BYTES, TokenKind
from ticketd.domain.keys import add_missing_signing_keys
from ticketd.tickets.code import new_ticket_key
from ticketd.views.key_book import LINK_KEY_KIND, TICKET_KEY_KIND

SIGNING_KEY_KINDS: Final = (*(kind.value for kind in TokenKind), TICKET_KEY_KIND, LINK_KEY_KIND)

_KID_BYTES: Final = 4


def fresh_signing_key(
    kind: str, now_ms: int, random: Callable[[int], bytes] = os.urandom
) -> SigningKeyRecord:
    """A new key of one of ``SIGNING_KEY_KINDS``: a secret of 32 random bytes. A ticket key's id follows from the key."""
    secret = random(SECRET_BYTES)
    if kind == TICKET_KEY_KIND:
        kid: str = new_ticket_key(secret, now_ms).kid
    else:
        kid = f"{kind}-{random(_KID_BYTES).hex()}"
    return SigningKeyRecord(kid=kid, kind=kind, secret=secret, created_at_ms=now_ms)


async def prepare_store(engine: Engine, now_ms: int) -> None:
    """Adds what is missing. On a store that was served before it changes nothing."""
    candidates = tuple(fresh_signing_key(kind, now_ms) for kind in SIGNING_KEY_KINDS)
    await engine.submit(
        Command("add_missing_signing_keys", (SYSTEM,), lambda tx: add_missing_signing_keys(tx, candidates))
    )
