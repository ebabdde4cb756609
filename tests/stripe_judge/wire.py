"""A request and an answer, whoever carries them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec


@dataclass(frozen=True)
class Request:
    """``headers`` by their names in small letters."""

    method: str
    path: str
    query: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What goes back. ``headers`` are those besides the length of the body."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


def json_answer(status: int, value: object, headers: Mapping[str, str] | None = None) -> Answer:
    body = msgspec.json.encode(value)
    return Answer(status, body, {"Content-Type": "application/json", **(headers or {})})
