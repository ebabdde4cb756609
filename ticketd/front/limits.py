"""The bounds that the front puts on every connection.

Their defaults and allowed ranges are settings and do not belong here.
"""

from __future__ import annotations

import math

import msgspec


class FrontLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection, and all of them together, may take.

    ``max_connections``: open connections of *one* listener; one more is answered 503 ``OVERLOADED`` and
    closed. Each listener has its own count, so that a crowd at the public door never locks out the operator.
    ``max_connections_per_address``: of those, the ones of one address (IPv6: of one /64 network).
    ``header_timeout_seconds``: from the connection (or the first byte of a later request) to the end of its
    headers.
    ``body_timeout_seconds``: from the end of the headers to the end of the body.
    ``idle_timeout_seconds``: from the end of an answer to the first byte of the next request.
    ``send_timeout_seconds``: for each 64 KiB of an answer; a peer that does not take them in time is dropped.
    ``shutdown_seconds``: from the wish to stop until requests still in flight are cut off.
    ``max_message_bytes``: a message that comes in over a WebSocket, all its fragments together.
    ``ping_seconds``: how long a WebSocket is left alone before it is pinged; ``pong_timeout_seconds``: how long the
    pong may take. ``stalled_seconds``: how long a WebSocket's peer may take nothing of what is sent to it.
    ``max_header_bytes``: request line and headers, the empty line that ends them included.

    Raises ``ValueError`` for a number that is not above zero or not finite.
    """

    max_connections: int
    max_connections_per_address: int
    header_timeout_seconds: float
    body_timeout_seconds: float
    idle_timeout_seconds: float
    send_timeout_seconds: float
    shutdown_seconds: float
    max_header_bytes: int
    max_message_bytes: int
    ping_seconds: float
    pong_timeout_seconds: float
    stalled_seconds: float

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not (0 < value < math.inf):
                raise ValueError(f"{name} is {value}; it must be a finite number above 0")
