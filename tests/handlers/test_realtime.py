from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from uuid import UUID

import pytest
from msgspec.structs import replace
from trio.testing import MockClock

from config.settings import RateLimitSettings, ServerSettings, Settings, StorageSettings
from handlers.websocket import UpgradeAccepted, UpgradeRefused
from tests.handlers.socket_stage import upgrade
from tests.support.daemon import DEVICE, Daemon, open_daemon
from tests.support.tokens import SOME_EVENT, mint
from ticketd.credentials.api_keys import Scope
from ticketd.credentials.keyring import TokenKind

STORAGE = StorageSettings(map_size_bytes=256 * 1024 * 1024)


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with open_daemon(tmp_path) as daemon:
        yield daemon


def told(answer: UpgradeAccepted | UpgradeRefused) -> tuple[int, str]:
    if isinstance(answer, UpgradeAccepted):
        answer.session.close()
        return 101, ""
    return answer.status, json.loads(answer.body)["error"]["code"]


@pytest.mark.parametrize("kind", list(TokenKind))
async def test_every_kind_of_token_opens_it_in_every_way(daemon: Daemon, kind: TokenKind) -> None:
    token = mint(daemon, kind)
    bearer = {"authorization": f"Bearer {token}"}
    assert told(await upgrade(daemon, {"token": token})) == (101, "")
    assert told(await upgrade(daemon, headers=bearer)) == (101, "")
    offered = await upgrade(daemon, subprotocols=("ticketd.v1", f"bearer.{token}"))
    assert isinstance(offered, UpgradeAccepted)
    assert offered.subprotocol == "ticketd.v1"
    assert token not in str(offered.headers)


@pytest.mark.parametrize(
    ("subprotocols", "chosen"),
    [((), None), (("chat",), None), (("chat", "ticketd.v1"), "ticketd.v1"), (("ticketd.v2",), None)],
)
async def test_the_subprotocol_that_is_chosen(
    daemon: Daemon, subprotocols: tuple[str, ...], chosen: str | None
) -> None:
    token = mint(daemon, TokenKind.USER)
    # The token is never echoed, also where it is all that is offered.
    for offered in (subprotocols, (*subprotocols, f"bearer.{token}")):
        accepted = await upgrade(daemon, {"token": token}, subprotocols=offered)
        assert isinstance(accepted, UpgradeAccepted)
        assert accepted.subprotocol == chosen
    alone = await upgrade(daemon, subprotocols=(f"bearer.{token}",))
    assert isinstance(alone, UpgradeAccepted)
    assert alone.subprotocol is None


async def test_who_may_not_open_it(daemon: Daemon) -> None:
    good = mint(daemon, TokenKind.USER)
    old = mint(daemon, TokenKind.USER, age_seconds=61, ttl_seconds=60)
    assert told(await upgrade(daemon)) == (401, "TOKEN_MISSING")
    assert told(await upgrade(daemon, {"token": ""})) == (401, "TOKEN_INVALID")
    assert told(await upgrade(daemon, {"token": "x"})) == (401, "TOKEN_INVALID")
    assert told(await upgrade(daemon, {"token": good[:-2]})) == (401, "TOKEN_INVALID")
    assert told(await upgrade(daemon, {"token": old})) == (401, "TOKEN_EXPIRED")
    assert told(await upgrade(daemon, subprotocols=("bearer.",))) == (401, "TOKEN_INVALID")
    assert told(await upgrade(daemon, headers={"authorization": "Basic eA=="})) == (401, "TOKEN_INVALID")
    assert told(await upgrade(daemon, f"token={good}&token={good}")) == (400, "INVALID_REQUEST")
    assert told(await upgrade(daemon, "token=%ff")) == (400, "INVALID_REQUEST")
    assert told(await upgrade(daemon, {"token": good}, path="/v1/realtime/")) == (404, "NOT_FOUND")
    assert told(await upgrade(daemon, {"token": good}, headers={"x-api-key": "no"})) == (
        401,
        "API_KEY_INVALID",
    )
    key = daemon.keys[Scope.PUBLIC]
    assert told(await upgrade(daemon, {"token": good}, headers={"x-api-key": key})) == (101, "")


async def test_every_token_that_is_sent_must_be_good_and_the_headers_counts(daemon: Daemon) -> None:
    user, access = mint(daemon, TokenKind.USER), mint(daemon, TokenKind.ACCESS)
    bad = {"authorization": "Bearer nonsense"}
    assert told(await upgrade(daemon, {"token": user}, headers=bad)) == (401, "TOKEN_INVALID")
    assert told(await upgrade(daemon, {"token": "nonsense"}, subprotocols=(f"bearer.{user}",))) == (
        401,
        "TOKEN_INVALID",
    )
    # Only an access token is bound to a device: with it in the header another device is found out.
    for query, header, status in ((user, access, 403), (access, user, 101)):
        sent = {"authorization": f"Bearer {header}"}
        answer = await upgrade(daemon, {"token": query, "device_id": "another"}, headers=sent)
        assert told(answer)[0] == status


@pytest.mark.parametrize(
    ("binding", "device", "status"),
    [
        ("strict", DEVICE, 101),
        ("strict", None, 101),
        ("strict", "another", 403),
        ("strict", "", 403),
        ("present", "another", 403),
        ("off", "another", 101),
    ],
)
async def test_the_device_is_looked_at_if_it_is_sent(
    tmp_path: Path, binding: str, device: str | None, status: int
) -> None:
    settings = Settings(storage=STORAGE)
    settings = replace(settings, auth=replace(settings.auth, device_binding=binding))
    async with open_daemon(tmp_path, settings) as daemon:
        for kind in (TokenKind.QUEUE, TokenKind.ACCESS):
            query = {"token": mint(daemon, kind)} | ({} if device is None else {"device_id": device})
            assert told(await upgrade(daemon, query)) == (
                status,
                "DEVICE_MISMATCH" if status == 403 else "",
            )
        user = {"token": mint(daemon, TokenKind.USER), "device_id": "another"}
        assert told(await upgrade(daemon, user)) == (101, "")


@pytest.mark.parametrize(
    ("origins", "headers", "status"),
    [
        ((), {"origin": "https://evil.test"}, 101),
        (("*",), {"origin": "https://evil.test"}, 101),
        (("https://shop.test",), {"origin": "https://shop.test"}, 101),
        (("https://shop.test",), {}, 101),
        (("https://shop.test",), {"origin": "https://evil.test"}, 403),
        (("https://shop.test",), {"origin": "null"}, 403),
        (("https://shop.test",), {"origin": "https://tickets.test", "host": "tickets.test"}, 101),
    ],
)
async def test_pages_of_other_origins(
    tmp_path: Path, origins: tuple[str, ...], headers: Mapping[str, str], status: int
) -> None:
    settings = Settings(storage=STORAGE, server=ServerSettings(cors_origins=origins))
    async with open_daemon(tmp_path, settings) as daemon:
        answer = await upgrade(daemon, {"token": mint(daemon, TokenKind.USER)}, headers=headers)
        assert told(answer)[0] == status


async def test_a_refusal_has_the_form_of_every_error(daemon: Daemon) -> None:
    request_id = "0198c0de-0000-7000-8000-00000000abcd"
    refused = await upgrade(daemon, headers={"x-request-id": request_id})
    assert isinstance(refused, UpgradeRefused)
    headers = {name.lower(): value for name, value in refused.headers}
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"] == json.loads(refused.body)["error"]["request_id"] == request_id
    assert headers["www-authenticate"] == "Bearer"
    accepted = await upgrade(
        daemon, {"token": mint(daemon, TokenKind.USER)}, headers={"x-request-id": request_id}
    )
    assert ("X-Request-ID", request_id) in accepted.headers


async def test_upgrades_are_counted(autojump_clock: MockClock, tmp_path: Path) -> None:
    settings = Settings(storage=STORAGE, rate_limits=RateLimitSettings(realtime_per_minute=2))
    async with open_daemon(tmp_path, settings) as daemon:
        token = {"token": mint(daemon, TokenKind.USER)}
        assert told(await upgrade(daemon, token)) == (101, "")
        last = await upgrade(daemon, token)
        assert ("X-RateLimit-Remaining", "0") in last.headers
        refused = await upgrade(daemon, token)
        assert told(refused) == (429, "RATE_LIMITED")
        assert ("Retry-After", "60") in refused.headers
        # Another buyer's are counted apart; a bad token counts for its address.
        other = {"token": mint(daemon, TokenKind.USER, user=UUID(int=9))}
        assert told(await upgrade(daemon, other)) == (101, "")
        assert [told(await upgrade(daemon))[0] for _ in range(3)] == [401, 401, 429]


async def test_a_call_without_an_upgrade(daemon: Daemon) -> None:
    answer = await daemon.client().get("/v1/realtime")
    assert (answer.status, answer.code, answer.headers["upgrade"]) == (426, "INVALID_REQUEST", "websocket")
    assert (await daemon.client().post("/v1/realtime")).status == 405


async def test_tokens_of_an_event_that_is_not_there(daemon: Daemon) -> None:
    # The token is good; that there is no such event is told on subscribing.
    assert told(await upgrade(daemon, {"token": mint(daemon, TokenKind.QUEUE, event=SOME_EVENT)})) == (
        101,
        "",
    )
