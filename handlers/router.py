"""From a method and a path to a line of the table of endpoints."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from handlers.call import ListenerKind
from handlers.endpoint import Door, Endpoint
from ticketd.errors import ErrorCode, Refusal

_Segments = tuple[str, ...]
_Methods = dict[str, Endpoint]

_NONE: Final[Mapping[str, str]] = {}


class Route(msgspec.Struct, frozen=True):
    """Where a request leads: a line of the table, and what its path has in place of the parameters."""

    endpoint: Endpoint
    parameters: Mapping[str, str]


ROUTES_KEPT: Final = 2048
"""A sale asks for few paths, and for these again and again."""
LONGEST_KEPT: Final = 128


class Router:
    """Finds endpoints. Fixed segments win over parameters, so ``/events/search`` is not an event's id."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._public, self._operator = _Lines(), _Lines()
        self._kept = functools.lru_cache(maxsize=ROUTES_KEPT)(self._look_up)
        for endpoint in endpoints:
            if endpoint.door is not Door.OPERATOR:
                self._public.add(endpoint)
            if endpoint.door is not Door.PUBLIC:
                self._operator.add(endpoint)

    def find(self, method: str, path: str, listener: ListenerKind) -> Route:
        """The endpoint and its path's parameters. Refuses NOT_FOUND, or METHOD_NOT_ALLOWED with ``details.allow``.

        HEAD finds the GET of its path. An endpoint behind another door is not found.
        """
        route = self.look_up(method, path, listener)
        if route is None:
            methods, _ = self._behind(listener).find(path)
            if not methods:
                raise Refusal(ErrorCode.NOT_FOUND)
            raise Refusal(ErrorCode.METHOD_NOT_ALLOWED, details={"allow": ", ".join(_allowed(methods))})
        return route

    def look_up(self, method: str, path: str, listener: ListenerKind) -> Route | None:
        """As ``find``; None where that refuses. What was asked for last is remembered."""
        find = self._kept if len(method) + len(path) <= LONGEST_KEPT else self._look_up
        return find(method, path, listener)

    def _look_up(self, method: str, path: str, listener: ListenerKind) -> Route | None:
        methods, parameters = self._behind(listener).find(path)
        endpoint = methods.get("GET" if method == "HEAD" else method)
        return None if endpoint is None else Route(endpoint, parameters)

    def allowed(self, path: str, listener: ListenerKind) -> list[str]:
        """The methods of a path, for OPTIONS; empty if there is nothing."""
        methods, _ = self._behind(listener).find(path)
        return _allowed(methods) if methods else []

    def _behind(self, listener: ListenerKind) -> _Lines:
        return self._public if listener is ListenerKind.PUBLIC else self._operator


class _Lines:
    """The endpoints behind one door, by their paths."""

    def __init__(self) -> None:
        self._fixed: dict[str, _Methods] = {}
        self._open: dict[int, list[_Pattern]] = {}

    def add(self, endpoint: Endpoint) -> None:
        """Adds a line of the table."""
        self._methods_at(endpoint.path)[endpoint.method] = endpoint

    def find(self, path: str) -> tuple[Mapping[str, Endpoint], Mapping[str, str]]:
        """The methods of a path, and its parameters; no methods if there is no such path."""
        if (methods := self._fixed.get(path)) is not None:
            return methods, _NONE
        segments = path.split("/")
        for pattern in self._open.get(len(segments), ()):
            found = pattern.match(segments)
            if found is not None:
                return pattern.methods, found
        return {}, _NONE

    def _methods_at(self, path: str) -> _Methods:
        if "{" not in path:
            return self._fixed.setdefault(path, {})
        segments = tuple(path.split("/"))
        patterns = self._open.setdefault(len(segments), [])
        for pattern in patterns:
            if pattern.segments == segments:
                return pattern.methods
        patterns.append(_Pattern(segments))
        return patterns[-1].methods


class _Pattern:
    """A path with parameters, taken apart once: where its fixed segments stand, and its parameters, each with the
    fixed ending that it may carry, as in ``{ticket_id}.pdf``."""

    def __init__(self, segments: _Segments) -> None:
        self.segments = segments
        self.methods: _Methods = {}
        self._fixed = tuple((at, text) for at, text in enumerate(segments) if not text.startswith("{"))
        self._parameters: list[tuple[int, str, str]] = []
        for at, text in enumerate(segments):
            if text.startswith("{"):
                name, _, ending = text[1:].partition("}")
                self._parameters.append((at, name, ending))

    def match(self, segments: Sequence[str]) -> Mapping[str, str] | None:
        """The parameters of a path of as many segments; None if it is another's."""
        for at, text in self._fixed:
            if segments[at] != text:
                return None
        found: dict[str, str] = {}
        for at, name, ending in self._parameters:
            given = segments[at]
            if not given or not given.endswith(ending):
                return None
            found[name] = given.removesuffix(ending)
        return found


def _allowed(methods: Mapping[str, Endpoint]) -> list[str]:
    return sorted({*methods, "OPTIONS", *(("HEAD",) if "GET" in methods else ())})
