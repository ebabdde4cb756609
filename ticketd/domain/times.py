"""Times as a refusal's details tell them."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(at_ms: int) -> str:
    """A time in RFC 3339 with Z; milliseconds only where there are some. ``at_ms`` is milliseconds UTC."""
    timespec = "milliseconds" if at_ms % 1000 else "seconds"
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
