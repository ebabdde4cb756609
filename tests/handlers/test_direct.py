"""Which requests go around the framework: those for the hot lines of the table, and no others."""

from __future__ import annotations

import re
from typing import cast

import pytest

from handlers.call import ListenerKind
from handlers.direct import HotEndpoints
from handlers.router import Router
from handlers.routes import ENDPOINTS
from handlers.serve import Server
from handlers.services import Services
from ticketd.errors import Refusal

ROUTER = Router(ENDPOINTS)
HOT = HotEndpoints(Server(cast(Services, None), ROUTER))
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW", "get", "")
PATHS = sorted({line.path for line in ENDPOINTS})


def filled(path: str, value: str) -> str:
    return re.sub(r"\{[a-z_]+\}", value, path)


def test_there_are_hot_lines() -> None:
    hot = {line.name for line in ENDPOINTS if line.hot}
    assert {"queue_status", "join_queue", "get_event", "get_seat_map", "create_reservation"} <= hot


def takes(method: str, path: str) -> bool:
    return HOT.find(method, path) is not None


def is_hot(method: str, path: str) -> bool:
    try:
        return ROUTER.find(method, path, ListenerKind.PUBLIC).endpoint.hot
    except Refusal:
        return False


@pytest.mark.parametrize(
    "value", ["0198c0de-0000-7000-8000-00000000abcd", "x", "search", "a b", "é", "%2F", "a\nb", "{event_id}"]
)
@pytest.mark.parametrize("method", METHODS)
def test_it_takes_exactly_what_the_router_finds_to_be_hot(method: str, value: str) -> None:
    for path in PATHS:
        asked = filled(path, value)
        around = (
            f"{asked}/",
            f"/{asked}",
            f"{asked}\n",
            f"{asked}/more",
            f"{asked}?",
            asked.upper(),
            asked[1:],
        )
        for one in (asked, *around):
            assert takes(method, one) is is_hot(method, one), one


def test_a_parameter_is_never_empty_and_never_two_segments() -> None:
    for line in ENDPOINTS:
        if line.hot and "{" in line.path:
            assert takes(line.method, filled(line.path, "x"))
            assert not takes(line.method, filled(line.path, ""))
            assert not takes(line.method, filled(line.path, "x/y"))


def test_it_is_for_the_public_door() -> None:
    assert HOT.listener is ListenerKind.PUBLIC
