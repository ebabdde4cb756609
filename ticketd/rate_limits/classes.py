"""The classes that calls are counted in. A class's name is a label of metrics and stands in refusals."""

from __future__ import annotations

import enum


class RateClass(enum.Enum):
    """Which rate limit counts a call. UNLIMITED is for health checks and static pages."""

    SEARCH = "search"
    EVENT_DETAILS = "event_details"
    SEAT_MAP = "seat_map"
    RESERVE = "reserve"
    QUEUE_STATUS = "queue_status"
    JOIN = "join"
    SESSIONS = "sessions"
    """What a storefront's server asks for many buyers: sessions, and joining without a token."""
    ORDERS = "orders"
    TICKETS = "tickets"
    TRANSFERS = "transfers"
    REALTIME = "realtime"
    """Requests for a WebSocket."""
    BOX_OFFICE = "box_office"
    """What a till asks for: one key sells as fast as people come to its window."""
    WEBHOOKS = "webhooks"
    """What a payment gateway tells, from few addresses."""
    OPERATOR = "operator"
    OTHER = "other"
    UNLIMITED = "unlimited"
    TOKEN = "token"  # noqa: S105 -- a name, no password
    """All calls of one buyer with user and access tokens. No endpoint's class: it is counted beside that."""

    # Members are looked up with every call, and each is one object: no need to hash its name in Python.
    __hash__ = object.__hash__
