"""What a store needs before it can serve: signing keys of each kind. Made once, at the first start on a data folder."""

from __future__ import annotations

import os

from storage.engine import Command, Engine
from storage.schema.layout import SYSTEM
from ticketd.credentials.keyring import KEY_RANDOM_BYTES
from ticketd.domain.keys import SIGNING_KEY_KINDS, add_missing_signing_keys, fresh_signing_key


async def prepare_store(engine: Engine, now_ms: int) -> None:
    """Adds what is missing. On a store that was served before it changes nothing."""
    candidates = tuple(
        fresh_signing_key(kind, os.urandom(KEY_RANDOM_BYTES), now_ms) for kind in SIGNING_KEY_KINDS
    )
    await engine.submit(
        Command("add_missing_signing_keys", (SYSTEM,), lambda tx: add_missing_signing_keys(tx, candidates))
    )
