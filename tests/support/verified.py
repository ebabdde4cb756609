"""Verifying the store of a running daemon, as a test ends."""

from __future__ import annotations

from storage.verify import verify_store
from tests.support.daemon import Daemon


def assert_verified(daemon: Daemon) -> None:
    """Fails with all that verification finds wrong in the daemon's store as it is now."""
    with daemon.services.engine.snapshot() as snapshot:
        problems = list(map(str, verify_store(snapshot)))
    assert problems == []
