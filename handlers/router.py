"""From a method and a path to a line of the table of endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from handlers.call import ListenerKind
from handlers.endpoint import Door, Endpoint
from ticketd.errors import ErrorCode, Refusal

_Segments = tuple[str, ...]


class Router:
    """Finds endpoints. Fixed segments win over parameters, so ``/events/search`` is not an event's id."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._fixed: dict[str, dict[str, Endpoint]] = {}
        self._open: dict[int, list[tuple[_Segments, dict[str, Endpoint]]]] = {}
        for endpoint in endpoints:
            self._methods_at(endpoint.path)[endpoint.method] = endpoint

    def find(self, method: str, path: str, listener: ListenerKind) -> tuple[Endpoint, Mapping[str, str]]:
        """The endpoint and its path's parameters. Refuses NOT_FOUND, or METHOD_NOT_ALLOWED with ``details.allow``.

        HEAD finds the GET of its path. An endpoint behind another door is not found.
        """
        methods, parameters = self._lookup(path)
        here = {name: line for name, line in methods.items() if _is_behind(line.door, listener)}
        if not here:
            raise Refusal(ErrorCode.NOT_FOUND)
        endpoint = here.get("GET" if method == "HEAD" else method)
        if endpoint is None:
            raise Refusal(ErrorCode.METHOD_NOT_ALLOWED, details={"allow": ", ".join(_allowed(here))})
        return endpoint, parameters

    def allowed(self, path: str, listener: ListenerKind) -> list[str]:
        """The methods of a path, for OPTIONS; empty if there is nothing."""
        methods, _ = self._lookup(path)
        here = {name: line for name, line in methods.items() if _is_behind(line.door, listener)}
        return _allowed(here) if here else []

    def _lookup(self, path: str) -> tuple[Mapping[str, Endpoint], Mapping[str, str]]:
        if (methods := self._fixed.get(path)) is not None:
            return methods, {}
        segments = tuple(path.split("/"))
        for pattern, methods in self._open.get(len(segments), ()):
            found = _match(pattern, segments)
            if found is not None:
                return methods, found
        return {}, {}

    def _methods_at(self, path: str) -> dict[str, Endpoint]:
        if "{" not in path:
            return self._fixed.setdefault(path, {})
        segments = tuple(path.split("/"))
        lines = self._open.setdefault(len(segments), [])
        for pattern, methods in lines:
            if pattern == segments:
                return methods
        lines.append((segments, {}))
        return lines[-1][1]


def _allowed(methods: Mapping[str, Endpoint]) -> list[str]:
    return sorted({*methods, "OPTIONS", *(("HEAD",) if "GET" in methods else ())})


def _match(pattern: _Segments, segments: _Segments) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for expected, given in zip(pattern, segments, strict=True):
        if not expected.startswith("{"):
            # A parameter may carry a fixed ending, as in {ticket_id}.pdf.
            if expected != given:
                return None
            continue
        name, _, ending = expected[1:].partition("}")
        if not given or not given.endswith(ending):
            return None
        found[name] = given[: len(given) - len(ending)] if ending else given
    return found


def _is_behind(door: Door, listener: ListenerKind) -> bool:
    if door is Door.BOTH:
        return True
    return (door is Door.PUBLIC) == (listener is ListenerKind.PUBLIC)
