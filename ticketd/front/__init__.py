"""The front: sockets, and an ASGI app served on them in a way that no request can end.

What an answer says does not belong here; see ``handlers``.
"""

from __future__ import annotations

from ticketd.front.certificates import CertificateError
from ticketd.front.lifespan import LifespanError
from ticketd.front.limits import FrontLimits
from ticketd.front.listeners import (
    BoundAddress,
    ListenerName,
    ListenError,
    NamedListener,
    open_tcp_listener,
    open_unix_listener,
)
from ticketd.front.serve import Served, serve_listeners

__all__ = [
    "BoundAddress",
    "CertificateError",
    "FrontLimits",
    "LifespanError",
    "ListenError",
    "ListenerName",
    "NamedListener",
    "Served",
    "open_tcp_listener",
    "open_unix_listener",
    "serve_listeners",
]
