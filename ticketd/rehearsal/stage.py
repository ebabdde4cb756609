"""Where a rehearsal plays: a daemon that listens, an event, and a storefront's key."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from ticketd.rehearsal.client import Origin


class ScratchPlace(Struct, frozen=True, kw_only=True):
    """What is known of a daemon that the rehearsal started itself."""

    pid: int
    data: Path
    log: Path


class Stage(Struct, frozen=True, kw_only=True):
    """A daemon to rehearse against. ``scratch`` is None if it is somebody's."""

    origin: Origin
    api_key: str
    event_id: str
    scratch: ScratchPlace | None = None
