from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.support.daemon import Daemon, open_daemon
from tests.support.tokens import mint
from ticketd.credentials.api_keys import Scope
from ticketd.credentials.keyring import TokenKind

SESSIONS = "/v1/sessions"


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with open_daemon(tmp_path) as daemon:
        yield daemon


@pytest.mark.parametrize(
    ("ttl", "expires_at"),
    [
        (None, "2026-07-14T04:33:20Z"),
        (60, "2026-07-14T03:34:20Z"),
        (3600, "2026-07-14T04:33:20Z"),
        (86_400, "2026-07-15T03:33:20Z"),
    ],
)
async def test_a_storefront_gets_a_buyers_token(daemon: Daemon, ttl: int | None, expires_at: str) -> None:
    user = uuid4()
    body: dict[str, object] = {"user_id": str(user)}
    if ttl is not None:
        body["ttl_seconds"] = ttl
    made = await daemon.client().post(SESSIONS, body)
    assert made.status == 201
    assert set(made.json) == {"token", "expires_at"}
    assert made.json["expires_at"] == expires_at
    claims = daemon.services.keys.tokens.verify(made.json["token"], daemon.services.clock.now_ms())
    assert (claims.kind, claims.user_id) == (TokenKind.USER, user)
    assert claims.expires_at_ms - claims.issued_at_ms == (ttl or 3600) * 1000
    assert (await daemon.client().with_token(made.json["token"]).get("/v1/orders")).status == 200


async def test_two_sessions_have_two_tokens(daemon: Daemon) -> None:
    body = {"user_id": str(uuid4())}
    tokens = {(await daemon.client().post(SESSIONS, body)).json["token"] for _ in range(2)}
    assert len(tokens) == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "user_id"),
        ({"user_id": "x"}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": None}, "user_id"),
        ({"user_id": 7}, "user_id"),
        ({"user_id": str(UUID(int=1)), "ttl_seconds": 59}, "ttl_seconds"),
        ({"user_id": str(UUID(int=1)), "ttl_seconds": 86_401}, "ttl_seconds"),
        ({"user_id": str(UUID(int=1)), "ttl_seconds": "60"}, "ttl_seconds"),
        ({"user_id": str(UUID(int=1)), "ttl_seconds": 60.5}, "ttl_seconds"),
        ({"user_id": str(UUID(int=1)), "admin": True}, "admin"),
    ],
)
async def test_what_is_no_session(daemon: Daemon, body: dict[str, object], field: str | None) -> None:
    answer = await daemon.client().post(SESSIONS, body)
    assert (answer.status, answer.code) == (400, "INVALID_REQUEST")
    assert answer.json["error"]["details"].get("field") == field


@pytest.mark.parametrize("scope", [Scope.PUBLIC, Scope.OPERATOR, Scope.GATE])
async def test_nobody_else_vouches_for_a_buyer(daemon: Daemon, scope: Scope) -> None:
    answer = await daemon.client(scope).post(SESSIONS, {"user_id": str(uuid4())})
    assert (answer.status, answer.code) == (403, "SCOPE_MISSING")
    assert answer.json["error"]["details"] == {"scopes": ["storefront"]}
    token = mint(daemon, TokenKind.USER)
    with_token = await daemon.client(scope).with_token(token).post(SESSIONS, {"user_id": str(uuid4())})
    assert with_token.code == "SCOPE_MISSING"
