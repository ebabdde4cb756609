"""Open files: each connection is one, and a system's usual bound is far below ``server.max_connections``."""

from __future__ import annotations

import resource
from typing import Final

import structlog

_log: structlog.stdlib.BoundLogger = structlog.get_logger("ticketd.serve")

OTHERS: Final = 256
"""What is open besides the public listener's connections: the store, the log, operators, gateways, mail."""


def lift_descriptor_limit() -> int:
    """Raises the process's bound on open files as far as it may, and answers how far that is; it may be
    ``resource.RLIM_INFINITY``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def raise_descriptor_limit(max_connections: int) -> None:
    """Raises the daemon's bound on open files as far as it may, and the log says so if that is not enough."""
    hard = lift_descriptor_limit()
    if hard != resource.RLIM_INFINITY and hard < max_connections + OTHERS:
        _log.warning("descriptors.too_few", limit=hard, needed=max_connections + OTHERS)
