from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal
from uuid import uuid4

import pytest

from config.settings import AuthSettings, Settings, StorageSettings
from handlers.call import ListenerKind
from tests.support.daemon import DEVICE, NO_RATE_LIMITS, Answer, Client, Daemon, open_daemon
from tests.support.tokens import SOMEBODY, mint
from ticketd.credentials.api_keys import Scope
from ticketd.credentials.keyring import TokenKind

USER, QUEUE, ACCESS = TokenKind.USER, TokenKind.QUEUE, TokenKind.ACCESS
ORDERS = "/v1/orders"
SEARCH = "/v1/events/search"
STATUS = "/v1/queue/status"
RESERVATION = "/v1/reservations/8283d782-d477-417b-98fc-9bc5653fa741"
PASSED = (404, "RESERVATION_NOT_FOUND")
ENDED = (410, "QUEUE_ENTRY_EXPIRED")


def settings(
    *,
    device_binding: Literal["strict", "present", "off"] = "strict",
    user_tokens: Literal["required", "optional"] = "required",
) -> Settings:
    return Settings(
        storage=StorageSettings(map_size_bytes=256 * 1024 * 1024),
        auth=AuthSettings(device_binding=device_binding, user_tokens=user_tokens),
        rate_limits=NO_RATE_LIMITS,
    )


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with open_daemon(tmp_path) as daemon:
        yield daemon


def told(answer: Answer) -> tuple[int, str]:
    """The status and, for an error, its code."""
    return answer.status, answer.code if answer.status >= 400 else ""


# --- the API key ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["", "x", "tk_", "tk_aaaaaaaaaaaa_" + "a" * 43, "Bearer tk_aaaaaaaaaaaa_" + "a" * 43, "\xff", "tk_é"],
)
async def test_a_key_that_is_missing_or_unknown_opens_nothing(daemon: Daemon, key: str) -> None:
    answer = await daemon.client().get(SEARCH, headers={"x-api-key": key})
    assert told(answer) == (401, "API_KEY_INVALID")
    assert answer.headers["www-authenticate"] == "ApiKey"
    assert answer.json["error"]["details"] == {}


async def test_a_key_with_another_secret_opens_nothing(daemon: Daemon) -> None:
    key = daemon.keys[Scope.STOREFRONT]
    for wrong in (
        key[:-2] + ("AA" if key[-2:] != "AA" else "BB"),
        key.upper(),
        key + "a",
        key[:-1],
        f" {key}",
    ):
        assert told(await daemon.client().get(SEARCH, headers={"x-api-key": wrong})) == (
            401,
            "API_KEY_INVALID",
        )


async def test_a_revoked_key_opens_nothing_from_that_moment(daemon: Daemon) -> None:
    client = daemon.client(Scope.PUBLIC)
    assert (await client.get(SEARCH)).status == 200
    key_id = daemon.keys[Scope.PUBLIC].split("_")[1]
    assert (await daemon.operator().delete(f"/v1/operator/keys/{key_id}")).status == 204
    assert told(await client.get(SEARCH)) == (401, "API_KEY_INVALID")


@pytest.mark.parametrize(
    ("scope", "search", "orders", "sessions"),
    [
        (Scope.PUBLIC, 200, 200, 403),
        (Scope.STOREFRONT, 200, 200, 201),
        (Scope.OPERATOR, 200, 403, 403),
        (Scope.GATE, 200, 403, 403),
    ],
)
async def test_each_scope_opens_its_own_doors(
    daemon: Daemon, scope: Scope, search: int, orders: int, sessions: int
) -> None:
    client = daemon.client(scope).with_token(mint(daemon, USER))
    assert (await client.get(SEARCH)).status == search
    listed = await client.get(ORDERS)
    assert listed.status == orders
    made = await client.with_token(None).post("/v1/sessions", {"user_id": str(uuid4())})
    assert made.status == sessions
    for answer in (listed, made):
        if answer.status == 403:
            assert answer.code == "SCOPE_MISSING"
            assert "storefront" in answer.json["error"]["details"]["scopes"]


async def test_the_operators_doors(daemon: Daemon) -> None:
    """404 on the public listener whatever the key; the socket's file mode is the credential; on TCP the key is."""
    operator = "/v1/operator/stats"
    for scope in Scope:
        assert told(await daemon.client(scope).get(operator)) == (404, "NOT_FOUND")
    socket = daemon.operator()
    assert (await socket.get(operator)).status == 200
    wrong = {"x-api-key": "tk_aaaaaaaaaaaa_" + "a" * 43}
    assert told(await socket.get(operator, headers=wrong)) == (401, "API_KEY_INVALID")
    for scope in Scope:
        over_tcp = Client(daemon.server, daemon.keys[scope], listener=ListenerKind.OPERATOR_TCP)
        wanted = (200, "") if scope is Scope.OPERATOR else (403, "SCOPE_MISSING")
        assert told(await over_tcp.get(operator)) == wanted
        on_socket = Client(daemon.server, daemon.keys[scope], listener=ListenerKind.OPERATOR)
        assert told(await on_socket.get(operator)) == wanted
    nobody = Client(daemon.server, None, listener=ListenerKind.OPERATOR_TCP)
    assert told(await nobody.get(operator)) == (401, "API_KEY_INVALID")


async def test_the_publics_doors_are_not_the_operators(daemon: Daemon) -> None:
    for listener in (ListenerKind.OPERATOR, ListenerKind.OPERATOR_TCP):
        client = Client(daemon.server, daemon.keys[Scope.STOREFRONT], listener=listener)
        for path in (SEARCH, ORDERS, "/docs"):
            assert told(await client.get(path)) == (404, "NOT_FOUND")
        for path in ("/healthz", "/readyz", "/v1/openapi.json"):
            assert (await client.get(path)).status == 200


# --- the token ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [ORDERS, RESERVATION, STATUS, "/v1/tickets", "/v1/transfers"])
async def test_a_call_of_a_buyer_needs_a_token(daemon: Daemon, path: str) -> None:
    answer = await daemon.client().get(path)
    assert told(answer) == (401, "TOKEN_MISSING")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header",
    [
        "x",
        "Bearer",
        "Bearer ",
        "Basic dTpw",
        "Bearer a.b.c",
        "Bearer a b",
        "bearer é",
        "Bearer " + "a" * 5000,
        "Bearer a.b.c, Bearer a.b.c",
    ],
)
@pytest.mark.parametrize("path", [ORDERS, SEARCH, STATUS])
async def test_a_token_that_is_none_is_refused_also_where_none_is_needed(
    daemon: Daemon, path: str, header: str
) -> None:
    answer = await daemon.client().get(path, headers={"authorization": header})
    assert told(answer) == (401, "TOKEN_INVALID")


@pytest.mark.parametrize(
    ("path", "kinds", "passed"),
    [
        (SEARCH, {USER, ACCESS}, (200, "")),
        (ORDERS, {USER, ACCESS}, (200, "")),
        (RESERVATION, {ACCESS}, PASSED),
        (STATUS, {QUEUE}, ENDED),
    ],
)
async def test_a_token_of_one_kind_opens_no_other_kinds_door(
    daemon: Daemon, path: str, kinds: set[TokenKind], passed: tuple[int, str]
) -> None:
    for kind in TokenKind:
        wanted = passed
        if kind not in kinds:
            wanted = (403, "QUEUE_ACCESS_ONLY" if kind is QUEUE else "TOKEN_KIND_NOT_ALLOWED")
        assert told(await daemon.client().with_token(mint(daemon, kind)).get(path)) == wanted


@pytest.mark.parametrize("kind", list(TokenKind))
async def test_a_token_ends_with_its_last_second(daemon: Daemon, kind: TokenKind) -> None:
    path = {USER: ORDERS, ACCESS: ORDERS, QUEUE: STATUS}[kind]
    passed = ENDED if kind is QUEUE else (200, "")
    live = mint(daemon, kind, age_seconds=59, ttl_seconds=60)
    assert told(await daemon.client().with_token(live).get(path)) == passed
    over = mint(daemon, kind, age_seconds=60, ttl_seconds=60)
    assert told(await daemon.client().with_token(over).get(path)) == (401, "TOKEN_EXPIRED")
    assert told(await daemon.client().with_token(over).get(SEARCH)) == (401, "TOKEN_EXPIRED")
    early = mint(daemon, kind, age_seconds=-3600)
    assert told(await daemon.client().with_token(early).get(path)) == (401, "TOKEN_INVALID")


async def test_a_forged_token_is_refused(daemon: Daemon) -> None:
    head, payload, signature = mint(daemon, USER).split(".")
    other_payload = mint(daemon, USER, user=uuid4()).split(".")[1]
    for forged in (
        f"{head}.{other_payload}.{signature}",
        f"{head}.{payload}.{signature[:-4]}AAAA",
        f"{mint(daemon, ACCESS).split('.')[0]}.{payload}.{signature}",
        f"eyJhbGciOiJub25lIn0.{payload}.",
    ):
        assert told(await daemon.client().with_token(forged).get(ORDERS)) == (401, "TOKEN_INVALID")


async def test_a_queue_token_may_stand_in_the_query_and_opens_the_queue_alone(daemon: Daemon) -> None:
    queue = mint(daemon, QUEUE)
    assert told(await daemon.client().get(f"{STATUS}?queue_token={queue}")) == ENDED
    assert told(await daemon.client().get(f"{STATUS}?queue_token=")) == (401, "TOKEN_INVALID")
    assert told(await daemon.client().get(f"{STATUS}?queue_token=x")) == (401, "TOKEN_INVALID")
    for path in (SEARCH, ORDERS, RESERVATION):
        assert told(await daemon.client().get(f"{path}?queue_token={queue}")) == (403, "QUEUE_ACCESS_ONLY")
        assert told(await daemon.client().get(f"{path}?queue_token=x")) == (401, "TOKEN_INVALID")


async def test_no_other_token_may_stand_in_the_query(daemon: Daemon) -> None:
    for kind in (USER, ACCESS):
        for path in (SEARCH, ORDERS, RESERVATION, STATUS):
            answer = await daemon.client().get(f"{path}?queue_token={mint(daemon, kind)}")
            assert told(answer) == (403, "TOKEN_KIND_NOT_ALLOWED")


async def test_of_two_tokens_both_must_be_good_and_the_headers_counts(daemon: Daemon) -> None:
    bearer = daemon.client().with_token(mint(daemon, QUEUE))
    assert told(await bearer.get(f"{STATUS}?queue_token={mint(daemon, USER)}")) == ENDED
    assert told(await bearer.get(f"{STATUS}?queue_token=x")) == (401, "TOKEN_INVALID")
    buyer = daemon.client().with_token(mint(daemon, USER))
    assert (await buyer.get(f"{ORDERS}?queue_token={mint(daemon, QUEUE)}")).status == 200


# --- the device -----------------------------------------------------------------------------------------------------

CARRIED = [(QUEUE, STATUS, ENDED), (ACCESS, RESERVATION, PASSED), (ACCESS, ORDERS, (200, ""))]


@pytest.mark.parametrize(("kind", "path", "passed"), CARRIED)
@pytest.mark.parametrize(
    ("binding", "without", "other"), [("strict", False, False), ("present", True, False), ("off", True, True)]
)
async def test_a_token_is_bound_to_the_device_that_joined(
    tmp_path: Path,
    binding: Literal["strict", "present", "off"],
    without: bool,
    other: bool,
    kind: TokenKind,
    path: str,
    passed: tuple[int, str],
) -> None:
    async with open_daemon(tmp_path, settings(device_binding=binding)) as daemon:
        client = daemon.client().with_token(mint(daemon, kind))
        mismatch = (403, "DEVICE_MISMATCH")
        assert told(await client.get(path)) == passed
        assert told(await client.get(path, headers={"x-device-id": ""})) == (passed if without else mismatch)
        for device in ("device-2", DEVICE.upper(), f"{DEVICE} ", "é", "x" * 300):
            answer = await client.get(path, headers={"x-device-id": device})
            assert told(answer) == (passed if other else mismatch)


async def test_a_user_token_is_bound_to_no_device(daemon: Daemon) -> None:
    client = daemon.client().with_token(mint(daemon, USER), device=None)
    assert (await client.get(ORDERS)).status == 200
    assert (await client.get(ORDERS, headers={"x-device-id": "another"})).status == 200


async def test_an_access_token_is_bound_to_its_device_also_where_none_is_needed(daemon: Daemon) -> None:
    client = daemon.client().with_token(mint(daemon, ACCESS), device="device-2")
    assert told(await client.get(SEARCH)) == (403, "DEVICE_MISMATCH")


# --- who vouches for a buyer ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user_tokens", "scope", "token", "wanted"),
    [
        ("required", Scope.PUBLIC, "none", (401, "TOKEN_MISSING")),
        ("required", Scope.PUBLIC, "own", (400, "INVALID_EVENT_ID")),
        ("required", Scope.PUBLIC, "other", (403, "USER_MISMATCH")),
        ("required", Scope.STOREFRONT, "none", (400, "INVALID_EVENT_ID")),
        ("required", Scope.STOREFRONT, "own", (400, "INVALID_EVENT_ID")),
        ("required", Scope.STOREFRONT, "other", (403, "USER_MISMATCH")),
        ("optional", Scope.PUBLIC, "none", (400, "INVALID_EVENT_ID")),
        ("optional", Scope.PUBLIC, "own", (400, "INVALID_EVENT_ID")),
        ("optional", Scope.PUBLIC, "other", (403, "USER_MISMATCH")),
        ("optional", Scope.GATE, "none", (403, "SCOPE_MISSING")),
    ],
)
async def test_who_may_join_for_whom(
    tmp_path: Path,
    user_tokens: Literal["required", "optional"],
    scope: Scope,
    token: str,
    wanted: tuple[int, str],
) -> None:
    async with open_daemon(tmp_path, settings(user_tokens=user_tokens)) as daemon:
        text = None
        if token != "none":
            text = mint(daemon, USER, user=SOMEBODY if token == "own" else uuid4())
        client = daemon.client(scope).with_token(text)
        body = {"event_id": str(uuid4()), "user_id": str(SOMEBODY), "device_fingerprint": DEVICE}
        assert told(await client.post("/v1/queue/join", body)) == wanted
