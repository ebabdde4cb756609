"""Ids for what a file leaves without one: name-based (UUID version 5, RFC 9562 section 5.5), so that reading the same
file twice gives the same ids.

A venue and an artist are known by their own names, and so are the same one in every event; an event by its venue, date
and name; a tier and a section by the event and their name. The words below are part of every id ever derived: they must
never change.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid5

_NAMESPACE: Final = UUID("5c3b1a52-63f0-5f0e-9d5c-0d6f6a7f4f11")


def derive_venue_id(name: str, city: str) -> UUID:
    """The id of a venue that has none in the file."""
    return _derive(_NAMESPACE, "venue", name, city)


def derive_artist_id(name: str) -> UUID:
    """The id of an artist who has none in the file."""
    return _derive(_NAMESPACE, "artist", name)


def derive_event_id(venue_name: str, venue_city: str, date_ms: int, name: str) -> UUID:
    """The id of an event that has none in the file; ``date_ms`` is its date in milliseconds UTC."""
    return _derive(_NAMESPACE, "event", venue_name, venue_city, str(date_ms), name)


def derive_tier_id(event_id: UUID, name: str) -> UUID:
    """The id of a tier that has none in the file."""
    return _derive(event_id, "tier", name)


def derive_section_id(event_id: UUID, name: str) -> UUID:
    """The id of a section that has none in the file; those of a seating plan never have one."""
    return _derive(event_id, "section", name)


def _derive(namespace: UUID, *parts: str) -> UUID:
    # No text of a file may hold U+0000, so no two lists of parts give the same name.
    return uuid5(namespace, "\0".join(parts))
