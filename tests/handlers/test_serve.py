from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from config.settings import ServerSettings, Settings, StorageSettings
from handlers.call import AnyCall, RawRequest, Reply
from handlers.endpoint import OWNING, Endpoint
from handlers.router import Router
from handlers.routes import ENDPOINTS
from handlers.serve import Server
from handlers.services import Services
from storage.engine import EngineOverloaded, EngineStopped, OutcomeUnknown, StorageFull
from tests.support.daemon import DEVICE, Answer, Client, Daemon, open_daemon
from tests.support.tokens import mint
from ticketd.credentials.api_keys import Scope
from ticketd.credentials.keyring import TokenKind
from ticketd.rate_limits.classes import RateClass

CARDS = "/v1/payment-methods"
CARD = {"type": "CARD", "card_token": "tok_visa"}
LIMIT = 65_536
SECRET = "the-secret-of-the-failure"


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with open_daemon(tmp_path) as daemon:
        yield daemon


@pytest.fixture
async def buyer(daemon: Daemon) -> Client:
    return daemon.client().with_token(mint(daemon, TokenKind.USER))


def told(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code if answer.status >= 400 else ""


# --- the order of judgement -----------------------------------------------------------------------------------------


async def test_what_is_wrong_is_told_in_the_order_of_judgement(daemon: Daemon) -> None:
    """A request with everything wrong, in which one thing after the other is put right."""
    path, method = "/v1/nothing", "PUT"
    headers = {
        "x-api-key": "tk_wrong",
        "authorization": "Bearer x",
        "x-device-id": "another",
        "content-type": "text/plain",
        "idempotency-key": "short",
    }
    query = "?queue_token=x&a=1&a=2"
    body: bytes = b"{" + b" " * LIMIT
    client = daemon.client()

    async def ask() -> tuple[int, str]:
        return told(await client.call(method, f"{path}{query}", raw=body, headers=headers))

    assert await ask() == (404, "NOT_FOUND")
    path = CARDS
    assert await ask() == (405, "METHOD_NOT_ALLOWED")
    method = "POST"
    assert await ask() == (401, "API_KEY_INVALID")
    headers["x-api-key"] = daemon.keys[Scope.GATE]
    assert await ask() == (403, "SCOPE_MISSING")
    headers["x-api-key"] = daemon.keys[Scope.PUBLIC]
    assert await ask() == (401, "TOKEN_INVALID")
    headers["authorization"] = f"Bearer {mint(daemon, TokenKind.ACCESS, age_seconds=60, ttl_seconds=60)}"
    assert await ask() == (401, "TOKEN_EXPIRED")
    headers["authorization"] = f"Bearer {mint(daemon, TokenKind.QUEUE)}"
    assert await ask() == (403, "QUEUE_ACCESS_ONLY")
    headers["authorization"] = f"Bearer {mint(daemon, TokenKind.ACCESS)}"
    assert await ask() == (403, "DEVICE_MISMATCH")
    headers["x-device-id"] = DEVICE
    assert await ask() == (400, "INVALID_REQUEST")  # The query.
    query = ""
    headers["x-session-id"] = "x" * 129
    assert await ask() == (400, "INVALID_REQUEST")
    del headers["x-session-id"]
    assert await ask() == (413, "BODY_TOO_LARGE")
    body = b"{"
    assert await ask() == (415, "UNSUPPORTED_MEDIA_TYPE")
    headers["content-type"] = "application/json"
    assert await ask() == (400, "INVALID_REQUEST")
    body = json.dumps(CARD).encode()
    assert await ask() == (400, "INVALID_REQUEST")  # The idempotency key.
    del headers["idempotency-key"]
    assert await ask() == (201, "")


async def test_no_body_is_read_of_who_may_not_call(daemon: Daemon) -> None:
    async def read_body(_: int) -> bytes:
        raise AssertionError("the body was read")

    for headers in ({}, {"x-api-key": daemon.keys[Scope.GATE]}, {"x-api-key": daemon.keys[Scope.PUBLIC]}):
        client = daemon.client()
        reply = await client.server.answer_request(
            RawRequest("POST", CARDS, "", headers, "127.0.0.1", client.listener, read_body)
        )
        assert reply.status in {401, 403}


# --- the body's size ------------------------------------------------------------------------------------------------


async def test_the_largest_body(daemon: Daemon, buyer: Client) -> None:
    card = json.dumps(CARD).encode()
    full = card + b" " * (LIMIT - len(card))
    assert (await buyer.post(CARDS, raw=full)).status == 201
    over = await buyer.post(CARDS, raw=full + b" ")
    assert told(over) == (413, "BODY_TOO_LARGE")
    assert over.json["error"]["details"] == {"max_bytes": LIMIT}


async def test_the_operators_larger_bodies_are_for_event_files_alone(tmp_path: Path) -> None:
    settings = Settings(
        storage=StorageSettings(map_size_bytes=256 * 1024 * 1024),
        server=ServerSettings(max_body_bytes=4096, operator_max_body_bytes=8192),
    )
    async with open_daemon(tmp_path, settings) as daemon:
        operator = daemon.operator()
        for size, wanted in ((4096, 400), (4097, 413)):
            assert (await operator.post("/v1/operator/tokens", raw=b" " * size)).status == wanted
        for size, wanted in ((8192, 400), (8193, 413)):
            assert (await operator.post("/v1/operator/events", raw=b" " * size)).status == wanted


# --- routes and methods ---------------------------------------------------------------------------------------------


async def test_a_method_that_a_path_has_not_is_told_which_it_has(daemon: Daemon) -> None:
    for client in (daemon.client(), Client(daemon.server, None)):
        answer = await client.call("PATCH", CARDS)
        assert told(answer) == (405, "METHOD_NOT_ALLOWED")
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
        assert answer.json["error"]["details"] == {"allow": "GET, HEAD, OPTIONS, POST"}


async def test_options_needs_no_key(daemon: Daemon) -> None:
    nobody = Client(daemon.server, None, device=None)
    answer = await nobody.call("OPTIONS", "/v1/orders/7/cancel")
    assert (answer.status, answer.body, answer.headers["allow"]) == (204, b"", "OPTIONS, POST")
    assert told(await nobody.call("OPTIONS", "/v1/nothing")) == (404, "NOT_FOUND")
    assert told(await nobody.call("OPTIONS", "/v1/operator/stats")) == (404, "NOT_FOUND")


async def test_head_is_answered_as_get_is(daemon: Daemon, buyer: Client) -> None:
    for path in (CARDS, "/v1/orders", "/healthz", "/v1/openapi.json", "/v1/events/search"):
        got, head = await buyer.get(path), await buyer.call("HEAD", path)
        same = {"etag", "cache-control", "vary"}
        assert (head.status, {n: v for n, v in head.headers.items() if n in same}) == (
            got.status,
            {n: v for n, v in got.headers.items() if n in same},
        )
    assert told(await Client(daemon.server, None).call("HEAD", CARDS)) == (401, "API_KEY_INVALID")


# --- the request's and the session's name ---------------------------------------------------------------------------


async def test_a_callers_own_request_id_is_kept(daemon: Daemon) -> None:
    own = "0198C0DE-0000-7000-8000-00000000ABCD"
    for path in ("/v1/events/search", "/v1/nothing", CARDS):
        answer = await daemon.client().get(path, headers={"x-request-id": own})
        assert answer.headers["x-request-id"] == own.lower()
        if answer.status >= 400:
            assert answer.json["error"]["request_id"] == own.lower()
    options = await daemon.client().call("OPTIONS", CARDS, headers={"x-request-id": own})
    assert options.headers["x-request-id"] == own.lower()


@pytest.mark.parametrize(
    "given", ["", "x", "0198c0de000070008000000000000abc", "{0198c0de-0000-7000-8000-000000000abc}"]
)
async def test_anything_else_gets_a_new_request_id(daemon: Daemon, given: str) -> None:
    answers = [await daemon.client().get("/v1/nothing", headers={"x-request-id": given}) for _ in range(2)]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 2
    assert {answer.json["error"]["request_id"] for answer in answers} == ids
    assert all(str(UUID(one)) == one for one in ids)


@pytest.mark.parametrize(
    ("value", "status"),
    [("x", 200), (" ~", 200), ("x" * 128, 200), ("x" * 129, 400), ("é", 400), ("a\tb", 400), ("\x7f", 400)],
)
async def test_a_session_id_is_printable_and_short(buyer: Client, value: str, status: int) -> None:
    answer = await buyer.get("/v1/orders", headers={"x-session-id": value})
    assert answer.status == status
    if status == 400:
        assert answer.json["error"]["details"]["header"] == "X-Session-ID"


async def test_what_needs_no_key_minds_no_session_and_no_query(daemon: Daemon) -> None:
    nobody = Client(daemon.server, None, device=None)
    assert (await nobody.get("/healthz?a=1&a=2&%ff", headers={"x-session-id": "é"})).status == 200


async def test_what_is_sent_must_be_good_also_where_nothing_is_needed(daemon: Daemon) -> None:
    nobody = Client(daemon.server, None, device=None)
    for headers, code in (
        ({"x-api-key": "nonsense"}, "API_KEY_INVALID"),
        ({"authorization": "nonsense"}, "TOKEN_INVALID"),
        (
            {"authorization": f"Bearer {mint(daemon, TokenKind.USER, age_seconds=9, ttl_seconds=9)}"},
            "TOKEN_EXPIRED",
        ),
    ):
        assert told(await nobody.get("/v1/openapi.json", headers=headers)) == (401, code)
    for scope in Scope:
        assert (await daemon.client(scope).get("/v1/openapi.json")).status == 200


# --- the form of an error -------------------------------------------------------------------------------------------


async def test_an_error_has_its_form(daemon: Daemon) -> None:
    answer = await daemon.client().get("/v1/nothing")
    assert answer.headers["cache-control"] == "no-store"
    error = answer.json["error"]
    assert list(answer.json) == ["error"]
    assert list(error) == ["code", "message", "details", "request_id", "timestamp"]
    assert error == {
        "code": "NOT_FOUND",
        "message": "There is nothing here.",
        "details": {},
        "request_id": answer.headers["x-request-id"],
        "timestamp": "2026-07-14T03:33:20Z",
    }


def failing(daemon: Daemon, failure: BaseException) -> Client:
    """A caller of a server whose endpoints, POST and GET /v1/fail, always fail so."""

    async def fail(_: Services, __: AnyCall) -> Reply:
        raise failure

    lines = [
        Endpoint(
            method=method,
            path="/v1/fail",
            function=fail,
            part="orders",
            summary="",
            credential=OWNING,
            rate=RateClass.OTHER,
            idempotent=method == "POST",
        )
        for method in ("GET", "POST")
    ]
    server = Server(daemon.services, Router((*ENDPOINTS, *lines)))
    return Client(server, daemon.keys[Scope.STOREFRONT], mint(daemon, TokenKind.USER))


@pytest.mark.parametrize(
    ("failure", "wanted"),
    [
        (ValueError(SECRET), (500, "INTERNAL_ERROR")),
        (AssertionError(SECRET), (500, "INTERNAL_ERROR")),
        (KeyError(SECRET), (500, "INTERNAL_ERROR")),
        (RecursionError(SECRET), (500, "INTERNAL_ERROR")),
        (ExceptionGroup(SECRET, [ValueError(SECRET)]), (500, "INTERNAL_ERROR")),
        (EngineOverloaded(SECRET), (503, "OVERLOADED")),
        (EngineStopped(SECRET), (503, "STORAGE_UNAVAILABLE")),
        (StorageFull(SECRET), (503, "STORAGE_UNAVAILABLE")),
        (OutcomeUnknown(SECRET), (503, "STORAGE_UNAVAILABLE")),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_failure_tells_nothing_of_itself(
    daemon: Daemon, failure: Exception, wanted: tuple[int, str], method: str
) -> None:
    client = failing(daemon, failure)
    for _ in range(2):  # A failure is no outcome to be kept.
        with capture_logs():
            answer = await client.call(method, "/v1/fail", headers={"idempotency-key": "the-same-key"})
        assert told(answer) == wanted
        assert answer.json["error"]["details"] == {}
        assert SECRET not in f"{answer.body!r}{answer.headers}"
        assert "idempotency-replayed" not in answer.headers
        assert ("retry-after" in answer.headers) is (wanted[0] == 503)


async def test_what_nobody_foresaw_is_in_the_log_under_its_request_id(daemon: Daemon) -> None:
    with capture_logs() as lines:
        answer = await failing(daemon, ValueError(SECRET)).get("/v1/fail")
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert (line["event"], line["route"]) == ("request failed", "/v1/fail")
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["exc_info"]


async def test_a_server_that_failed_goes_on(daemon: Daemon) -> None:
    client = failing(daemon, ValueError(SECRET))
    with capture_logs():
        assert (await client.get("/v1/fail")).status == 500
    assert (await client.get("/v1/orders")).status == 200


# --- what is recorded -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "lines"), [(logging.DEBUG, 1), (logging.INFO, 1), (logging.WARNING, 0)])
async def test_the_line_of_a_request_is_made_only_where_it_is_written(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, level: int, lines: int
) -> None:
    monkeypatch.setattr(logging.getLogger("ticketd"), "level", level)
    with capture_logs() as logs:
        assert (await daemon.client().get("/healthz")).status == 200
    assert len([line for line in logs if line["event"] == "request"]) == lines


async def test_the_log_names_each_request_and_none_of_its_secrets(daemon: Daemon, buyer: Client) -> None:
    queue = mint(daemon, TokenKind.QUEUE)
    with capture_logs() as lines:
        answers = [
            await buyer.post(
                CARDS, {**CARD, "card_token": "tok_canary"}, headers={"x-session-id": "session 1"}
            ),
            await daemon.client().get(f"/v1/queue/status?queue_token={queue}"),
            await buyer.get("/v1/nothing-with-canary-in-it"),
            await buyer.call("CANARYCANARY", CARDS),
            await buyer.call("OPTIONS", CARDS),
            await daemon.client().get(CARDS, headers={"x-api-key": "tk_canary"}),
        ]
    requests = [line for line in lines if line["event"] == "request"]
    assert [line["status"] for line in requests] == [answer.status for answer in answers]
    assert [line["request_id"] for line in requests] == [a.headers["x-request-id"] for a in answers]
    assert requests[0]["session_id"] == "session 1"
    assert [line["route"] for line in requests] == [
        CARDS,
        "/v1/queue/status",
        "(none)",
        "(none)",
        "(none)",
        CARDS,
    ]
    text = repr(lines)
    for secret in ("canary", queue, str(buyer.token), str(buyer.api_key)):
        assert secret not in text


async def test_metrics_count_by_routes_of_the_table_alone(daemon: Daemon) -> None:
    for path in (f"/v1/orders/{uuid4()}", "/v1/canary", "/canary"):
        await daemon.client().get(path)
    await daemon.client().call("CANARY", "/v1/orders")
    text = (await daemon.operator().get("/metrics")).body.decode()
    assert 'ticketd_requests_total{method="GET",route="/v1/orders/{order_id}",status="401"} 1.0' in text
    assert 'ticketd_requests_total{method="GET",route="(none)",status="404"} 2.0' in text
    assert 'ticketd_requests_total{method="other",route="(none)",status="405"} 1.0' in text
    assert "canary" not in text.lower()


# --- no request whatever ends the server ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["\x00", "\xff", "é", " ", "\x80" * 5000, ",", ";", "=", "%", '"', "Bearer \x00"]
)
async def test_any_header_is_answered(daemon: Daemon, buyer: Client, value: str) -> None:
    names = ["x-api-key", "authorization", "x-device-id", "x-session-id", "x-request-id", "idempotency-key"]
    names += [
        "content-type",
        "accept-encoding",
        "if-none-match",
        "origin",
        "host",
        "access-control-request-method",
    ]
    for name in names:
        for method, path in (("GET", "/v1/events/search"), ("POST", CARDS), ("OPTIONS", CARDS)):
            answer = await buyer.call(method, path, headers={name: value})
            assert answer.status < 500, (name, method, path, answer.body)
