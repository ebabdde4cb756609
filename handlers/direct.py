"""The hot endpoints, for a front that asks them without a framework between."""

from __future__ import annotations

import re
from collections.abc import Iterable

from handlers.call import ListenerKind, RawRequest, Reply
from handlers.endpoint import Endpoint
from handlers.serve import Server

_PARAMETER = re.compile(r"\{[a-z_]+\}")


class HotEndpoints:
    """The lines of the table of endpoints that are marked ``hot``, on the public listener."""

    listener = ListenerKind.PUBLIC

    def __init__(self, server: Server, endpoints: Iterable[Endpoint]) -> None:
        self._server = server
        endpoints = tuple(endpoints)
        hot = {(line.method, line.path) for line in endpoints if line.hot}
        # A path that a line has as it stands, such as /events/search, is that line's.
        fixed = {(line.method, line.path) for line in endpoints if "{" not in line.path}
        self._fixed = fixed & hot
        self._others = {f"{method} {path}" for method, path in fixed - hot}
        self._open = re.compile("|".join(_pattern(method, path) for method, path in sorted(hot - fixed)))

    def takes(self, method: str, path: str) -> bool:
        """Whether a request is for a hot endpoint; HEAD counts as the GET of its path."""
        if (method, path) in self._fixed:
            return True
        asked = f"{'GET' if method == 'HEAD' else method} {path}"
        if self._open.fullmatch(asked) is not None:
            return asked not in self._others
        return method == "HEAD" and ("GET", path) in self._fixed

    async def answer_request(self, request: RawRequest) -> Reply:
        """The finished reply. Raises BodyLost."""
        return await self._server.answer_request(request)


def _pattern(method: str, path: str) -> str:
    fixed = _PARAMETER.split(path)
    return re.escape(f"{method} ") + "[^/]+".join(re.escape(part) for part in fixed)
