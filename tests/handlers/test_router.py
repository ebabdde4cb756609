from __future__ import annotations

import pytest

from handlers.call import Call, ListenerKind, Reply
from handlers.endpoint import OPEN, Door, Endpoint
from handlers.router import LONGEST_KEPT, ROUTES_KEPT, Router
from handlers.routes import ENDPOINTS
from handlers.services import Services
from ticketd.errors import ErrorCode, Refusal
from ticketd.rate_limits.classes import RateClass

PUBLIC, SOCKET, TCP = ListenerKind.PUBLIC, ListenerKind.OPERATOR, ListenerKind.OPERATOR_TCP


async def nothing(_: Services, __: Call[None]) -> Reply:
    raise AssertionError("a router calls nothing")


def line(method: str, path: str, door: Door = Door.PUBLIC) -> Endpoint:
    return Endpoint(
        method=method,
        path=path,
        function=nothing,
        part="part",
        summary="",
        credential=OPEN,
        rate=RateClass.OTHER,
        door=door,
    )


ROUTER = Router(
    (
        line("GET", "/things/{thing_id}"),
        line("DELETE", "/things/{thing_id}"),
        line("GET", "/things/search"),
        line("POST", "/things"),
        line("GET", "/things/{thing_id}/parts/{part_id}"),
        line("GET", "/files/{name}.pdf"),
        line("GET", "/inner", Door.OPERATOR),
        line("GET", "/both", Door.BOTH),
        line("GET", "/mixed", Door.OPERATOR),
        line("POST", "/mixed", Door.PUBLIC),
    )
)


def found(method: str, path: str, listener: ListenerKind = PUBLIC) -> tuple[str, dict[str, str]]:
    route = ROUTER.find(method, path, listener)
    return f"{route.endpoint.method} {route.endpoint.path}", dict(route.parameters)


def refused(method: str, path: str, listener: ListenerKind = PUBLIC) -> tuple[ErrorCode, object]:
    with pytest.raises(Refusal) as caught:
        ROUTER.find(method, path, listener)
    return caught.value.code, caught.value.details.get("allow")


def test_parameters_are_taken_out_of_the_path() -> None:
    assert found("GET", "/things/7") == ("GET /things/{thing_id}", {"thing_id": "7"})
    assert found("DELETE", "/things/7") == ("DELETE /things/{thing_id}", {"thing_id": "7"})
    assert found("GET", "/things/7/parts/é") == (
        "GET /things/{thing_id}/parts/{part_id}",
        {"thing_id": "7", "part_id": "é"},
    )
    assert found("GET", "/files/7.pdf") == ("GET /files/{name}.pdf", {"name": "7"})


def test_a_fixed_path_wins_over_a_parameter_with_all_its_methods() -> None:
    assert found("GET", "/things/search") == ("GET /things/search", {})
    assert refused("DELETE", "/things/search") == (ErrorCode.METHOD_NOT_ALLOWED, "GET, HEAD, OPTIONS")


def test_head_finds_what_get_finds() -> None:
    assert found("HEAD", "/things/7") == ("GET /things/{thing_id}", {"thing_id": "7"})
    assert refused("HEAD", "/things") == (ErrorCode.METHOD_NOT_ALLOWED, "OPTIONS, POST")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "//",
        "/thing",
        "/things/",
        "//things",
        "/things/7/",
        "/things/7/parts",
        "/things/7/parts/",
        "/files/.txt",
        "/files/pdf",
        "/THINGS/7",
        "/things/7/parts/8/9",
    ],
)
def test_anything_else_is_not_found(path: str) -> None:
    assert refused("GET", path) == (ErrorCode.NOT_FOUND, None)
    assert ROUTER.allowed(path, PUBLIC) == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "get", "TRACE", "BREW", ""])
def test_another_method_is_told_which_are_allowed(method: str) -> None:
    assert refused(method, "/things/7") == (ErrorCode.METHOD_NOT_ALLOWED, "DELETE, GET, HEAD, OPTIONS")


def test_each_door_shows_its_own_endpoints() -> None:
    assert found("GET", "/inner", SOCKET) == found("GET", "/inner", TCP) == ("GET /inner", {})
    assert refused("GET", "/inner") == refused("POST", "/inner") == (ErrorCode.NOT_FOUND, None)
    assert (
        refused("GET", "/things/7", SOCKET) == refused("GET", "/things/7", TCP) == (ErrorCode.NOT_FOUND, None)
    )
    assert found("GET", "/both") == found("GET", "/both", SOCKET) == ("GET /both", {})
    assert ROUTER.allowed("/mixed", PUBLIC) == ["OPTIONS", "POST"]
    assert ROUTER.allowed("/mixed", SOCKET) == ["GET", "HEAD", "OPTIONS"]
    assert refused("GET", "/mixed") == (ErrorCode.METHOD_NOT_ALLOWED, "OPTIONS, POST")


@pytest.mark.parametrize(("over", "is_kept"), [(-1, True), (0, True), (1, False)])
def test_what_is_remembered_of_a_request_is_short(over: int, is_kept: bool) -> None:
    router = Router((line("GET", "/things/{thing_id}"),))
    for method in ("GET", "M" * 50):
        path = "/things/".ljust(LONGEST_KEPT + over - len(method), "7")
        for _ in range(2):
            assert (router.look_up(method, path, PUBLIC) is not None) is (method == "GET")
    assert router._kept.cache_info().currsize == 2 * is_kept


def test_so_many_paths_are_remembered_and_no_more() -> None:
    router = Router((line("GET", "/things/{thing_id}"),))
    for number in range(2 * ROUTES_KEPT):
        for _ in range(2):
            route = router.look_up("GET", f"/things/{number}", PUBLIC)
            assert route is not None
            assert route.parameters == {"thing_id": str(number)}
    assert router._kept.cache_info().currsize == ROUTES_KEPT


def test_every_line_of_the_table_is_found_behind_its_door_alone() -> None:
    router = Router(ENDPOINTS)
    for endpoint in ENDPOINTS:
        path = endpoint.path.replace("{", "some-").replace("}", "")
        for listener in ListenerKind:
            wanted = Door.PUBLIC if listener is PUBLIC else Door.OPERATOR
            if endpoint.door in {wanted, Door.BOTH}:
                assert router.find(endpoint.method, path, listener).endpoint is endpoint
            else:
                assert endpoint.method not in router.allowed(path, listener)


def test_no_line_of_the_table_hides_another() -> None:
    lines = {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    assert len(lines) == len(ENDPOINTS)
    assert len({endpoint.name for endpoint in ENDPOINTS}) == len(ENDPOINTS)
