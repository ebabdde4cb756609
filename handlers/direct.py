"""The hot endpoints, for a front that asks them without a framework between."""

from __future__ import annotations

from functools import partial

from handlers.call import Answerer, ListenerKind
from handlers.serve import Server


class HotEndpoints:
    """The lines of the table of endpoints that are marked ``hot``, on the public listener."""

    listener = ListenerKind.PUBLIC

    def __init__(self, server: Server) -> None:
        self._server = server

    def find(self, method: str, path: str) -> Answerer | None:
        """What answers a request for a hot endpoint; None for any other request."""
        route = self._server.router.look_up(method, path, self.listener)
        if route is None or not route.endpoint.hot:
            return None
        return partial(self._server.begin, route=route)
