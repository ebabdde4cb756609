"""Rate limits through the API: every endpoint at its limit, who is counted with whom, and what each answer tells."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio.testing

from config.settings import RateLimitSettings, ServerSettings, Settings, StorageSettings
from handlers.call import Call, ListenerKind, Reply
from handlers.endpoint import OPEN, Door, Endpoint, Token
from handlers.router import Router
from handlers.routes import ENDPOINTS
from handlers.serve import Server
from handlers.services import Services
from storage.schema.ids import EventId
from tests.support.daemon import DEVICE, START_MS, Answer, Client, Daemon, open_daemon
from tests.support.events import arena_file, put_plan, room
from tests.support.tokens import mint
from ticketd.credentials.api_keys import Scope
from ticketd.credentials.keyring import TokenKind
from ticketd.rate_limits.classes import RateClass

LIMITED = [line for line in ENDPOINTS if line.rate is not RateClass.UNLIMITED]
BUYER = UUID(int=0xB)
NOTHING = str(UUID(int=0))

# What the product promises, written down apart from the settings.
PROMISED = {
    RateClass.SEARCH: 100,
    RateClass.EVENT_DETAILS: 200,
    RateClass.SEAT_MAP: 50,
    RateClass.RESERVE: 10,
    RateClass.QUEUE_STATUS: 2,
    RateClass.JOIN: 10,
    RateClass.SESSIONS: 6000,
    RateClass.ORDERS: 60,
    RateClass.BOX_OFFICE: 600,
    RateClass.WEBHOOKS: 6000,
    RateClass.TICKETS: 60,
    RateClass.TRANSFERS: 30,
    RateClass.OPERATOR: 6000,
    RateClass.OTHER: 300,
}


@asynccontextmanager
async def open_limited(data: Path, proxies: tuple[str, ...] = (), **limits: Any) -> AsyncIterator[Daemon]:
    """A daemon whose rate limits are in force, those named here as given."""
    settings = Settings(
        storage=StorageSettings(map_size_bytes=256 * 1024 * 1024),
        server=ServerSettings(trusted_proxies=proxies),
        rate_limits=RateLimitSettings(**limits),
    )
    async with open_daemon(data, settings) as daemon:
        yield daemon


def told(answer: Answer) -> tuple[int, int]:
    """Limit and remaining, as the headers have them."""
    return int(answer.headers["x-ratelimit-limit"]), int(answer.headers["x-ratelimit-remaining"])


def caller_for(daemon: Daemon, line: Endpoint, address: str) -> Client:
    """Somebody whom nobody else is counted with, and who may call this endpoint."""
    scopes = sorted(line.credential.scopes, key=lambda scope: (scope is not Scope.PUBLIC, scope.value))
    key = daemon.keys[scopes[0]] if scopes else None
    token = None
    if line.credential.token is not Token.OPTIONAL:
        token = mint(daemon, min(line.credential.kinds), user=uuid4())
    door = ListenerKind.OPERATOR_TCP if line.door is Door.OPERATOR else ListenerKind.PUBLIC
    return Client(daemon.server, key, token, DEVICE, door, address=address)


async def send(line: Endpoint, client: Client) -> Answer:
    """A call that is counted, and finds nothing."""
    parts = [f"{NOTHING}.pdf" if "{" in part and ".pdf" in part else part for part in line.path.split("/")]
    path = "/".join(NOTHING if "{" in part else part for part in parts)
    return await client.call(line.method, path)


# --- every endpoint, every class ---


async def test_every_endpoint_refuses_what_is_beyond_its_limit(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    limits: dict[str, Any] = {
        name: 3 for name in RateLimitSettings.__struct_fields__ if name.endswith(("_per_minute", "_burst"))
    }
    async with open_limited(tmp_path, **limits) as daemon:
        for number, line in enumerate(LIMITED):
            client = caller_for(daemon, line, f"198.51.100.{number}")
            answers = [await send(line, client) for _ in range(5)]
            assert [answer.status == 429 for answer in answers] == [False] * 3 + [True] * 2, line.path
            assert [told(answer) for answer in answers] == [(3, 2), (3, 1), (3, 0), (3, 0), (3, 0)], line.path
            assert answers[3].code == "RATE_LIMITED"
            wait = 60 if line.rate is not RateClass.QUEUE_STATUS else 40
            assert answers[3].json["error"]["details"] == {
                "class": line.rate.value,
                "limit": 3,
                "retry_after_seconds": wait,
            }
            assert answers[3].headers["retry-after"] == str(wait)


@pytest.mark.parametrize("rate", PROMISED, ids=lambda rate: rate.value)
async def test_every_class_allows_as_many_calls_as_promised(
    tmp_path: Path, mock_clock: trio.testing.MockClock, rate: RateClass
) -> None:
    line = next(line for line in LIMITED if line.rate is rate)
    async with open_limited(tmp_path) as daemon:
        client = caller_for(daemon, line, "198.51.100.1")
        for left in range(PROMISED[rate] - 1, -1, -1):
            answer = await send(line, client)
            assert answer.status != 429
            assert told(answer) == (PROMISED[rate], left)
        assert (await send(line, client)).status == 429


def test_every_class_of_the_table_is_promised() -> None:
    assert {line.rate for line in LIMITED} - {RateClass.REALTIME} == set(PROMISED)
    assert RateClass.TOKEN not in {line.rate for line in ENDPOINTS}


async def test_a_buyer_makes_a_thousand_calls_an_hour_over_all(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    many = 100_000
    async with open_limited(
        tmp_path, search_per_minute=many, orders_per_minute=many, tickets_per_minute=many
    ) as daemon:
        tokens = [
            mint(daemon, kind, user=BUYER, ttl_seconds=86_400)
            for kind in (TokenKind.USER, TokenKind.ACCESS, TokenKind.USER)
        ]
        clients = [daemon.client().with_token(token) for token in tokens]
        targets = ("/v1/events/search", "/v1/orders", "/v1/tickets", "/v1/transfers/x")
        for number in range(1000):
            client = clients[number % 3]
            client.address = f"198.51.100.{number % 7}"
            answer = await client.get(targets[number % 3])
            assert (answer.status, told(answer)) == (200, (1000, 999 - number))
        refused = await clients[0].get(targets[0])
        assert refused.json["error"]["details"]["class"] == "token"
        mock_clock.jump(3599.999)
        assert (await clients[1].get(targets[0])).status == 429
        mock_clock.jump(0.001)
        assert (await clients[1].get(targets[0])).status == 200


# --- who is counted with whom ---


async def test_callers_without_a_token_are_told_apart_by_key_and_address(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with open_limited(tmp_path, search_per_minute=1) as daemon:

        async def status(scope: Scope, address: str, token: str | None = None) -> int:
            client = Client(daemon.server, daemon.keys[scope], token, address=address)
            return (await client.get("/v1/events/search")).status

        assert await status(Scope.PUBLIC, "198.51.100.1") == 200
        assert await status(Scope.PUBLIC, "198.51.100.1") == 429
        assert await status(Scope.PUBLIC, "198.51.100.2") == 200
        assert await status(Scope.GATE, "198.51.100.1") == 200
        # A buyer is the same from everywhere and with every key, and nobody else.
        token, other = (mint(daemon, TokenKind.USER, user=user) for user in (BUYER, uuid4()))
        assert await status(Scope.PUBLIC, "198.51.100.1", token) == 200
        assert await status(Scope.STOREFRONT, "198.51.100.9", token) == 429
        assert await status(Scope.PUBLIC, "198.51.100.1", other) == 200


async def test_two_tokens_of_one_buyer_share_a_limit(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with open_limited(tmp_path, orders_per_minute=2) as daemon:
        kinds = (TokenKind.USER, TokenKind.ACCESS, TokenKind.USER)
        clients = [daemon.client().with_token(mint(daemon, kind, user=BUYER)) for kind in kinds]
        assert [(await client.get("/v1/orders")).status for client in clients] == [200, 200, 429]


async def test_ipv6_addresses_count_by_their_64(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    async with open_limited(tmp_path, search_per_minute=1) as daemon:
        addresses = ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1")
        clients = [dataclasses.replace(daemon.client(), address=address) for address in addresses]
        assert [(await client.get("/v1/events/search")).status for client in clients] == [200, 429, 200]


async def test_a_forged_forwarding_header_does_not_count(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with open_limited(tmp_path, search_per_minute=1) as daemon:
        statuses = [
            (
                await daemon.client().get("/v1/events/search", headers={"x-forwarded-for": f"203.0.113.{n}"})
            ).status
            for n in range(3)
        ]
        assert statuses == [200, 429, 429]


async def test_behind_a_trusted_proxy_clients_are_told_apart(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with open_limited(tmp_path, proxies=("127.0.0.1", "10.0.0.0/8"), search_per_minute=1) as daemon:

        async def status(chain: str) -> int:
            answer = await daemon.client().get("/v1/events/search", headers={"x-forwarded-for": chain})
            return answer.status

        assert await status("203.0.113.1") == 200
        assert await status("198.51.100.77, 203.0.113.1, 10.2.3.4") == 429
        assert await status("203.0.113.1, 203.0.113.2") == 200
        assert await status("203.0.113.3, nonsense") == 200
        assert await status("203.0.113.4, nonsense") == 429


async def test_an_endpoint_is_told_the_clients_address(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    seen: list[str] = []

    async def look(_: Services, call: Call[Any]) -> Reply:
        seen.append(call.client)
        return Reply(status=200)

    line = _line(look)
    async with open_limited(tmp_path, proxies=("127.0.0.1",)) as daemon:
        server = Server(daemon.services, Router([line]))
        await Client(server, None).get(line.path, headers={"x-forwarded-for": "2001:DB8::5"})
        await Client(server, None).get(line.path)
        await Client(server, None, address="::ffff:198.51.100.1").get(line.path)
        await Client(server, None, address="").get(line.path)
    assert seen == ["2001:db8::5", "127.0.0.1", "198.51.100.1", ""]


async def test_a_storefront_that_joins_for_its_buyers_has_the_limit_of_sessions(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with open_limited(tmp_path, join_per_minute=1, sessions_per_minute=3) as daemon:
        shop = daemon.client(Scope.STOREFRONT)
        assert told(await shop.post("/v1/queue/join", {})) == (3, 2)
        assert told(await shop.post("/v1/sessions", {})) == (3, 1)
        token = mint(daemon, TokenKind.USER, user=BUYER)
        assert told(await shop.with_token(token).post("/v1/queue/join", {})) == (1, 0)
        assert told(await daemon.client(Scope.PUBLIC).post("/v1/queue/join", {})) == (1, 0)
        # With a token that is not genuine it speaks for nobody but itself.
        assert told(await shop.with_token("x").post("/v1/queue/join", {})) == (3, 0)
        assert (await shop.post("/v1/queue/join", {})).status == 429


async def test_the_operators_socket_is_one_caller(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    async with open_limited(tmp_path, operator_per_minute=1, other_per_minute=1) as daemon:
        socket = dataclasses.replace(daemon.operator(), address="")
        on_tcp = Client(daemon.server, daemon.keys[Scope.OPERATOR], listener=ListenerKind.OPERATOR_TCP)
        assert (await socket.get("/v1/operator/stats")).status == 200
        assert (await socket.get("/v1/operator/stats")).status == 429
        with_key = dataclasses.replace(socket, api_key=daemon.keys[Scope.OPERATOR])
        assert (await with_key.get("/v1/operator/stats")).status == 429
        assert told(await socket.get("/v1/operator/nothing")) == (1, 0)
        assert (await on_tcp.get("/v1/operator/stats")).status == 200


# --- the order of judgement ---


async def test_the_limit_comes_after_the_key_and_before_the_token(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with open_limited(tmp_path, orders_per_minute=1, other_per_minute=1) as daemon:
        good = daemon.client().with_token(mint(daemon, TokenKind.USER, user=BUYER), device=None)
        assert (await good.get("/v1/orders")).status == 200
        assert (await good.call("POST", "/v1/orders", raw=b"x")).code == "RATE_LIMITED"
        bad = good.with_token("not.a.token")
        assert [(await bad.get("/v1/orders")).code for _ in range(2)] == ["TOKEN_INVALID", "RATE_LIMITED"]
        queueing = good.with_token(mint(daemon, TokenKind.QUEUE, user=BUYER))
        codes = [(await queueing.get("/v1/orders")).code for _ in range(2)]
        assert codes == ["QUEUE_ACCESS_ONLY", "RATE_LIMITED"]


async def test_what_finds_nothing_or_has_no_key_is_counted_and_keeps_its_own_refusal(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with open_limited(tmp_path, other_per_minute=4) as daemon:
        shop = daemon.client()
        asked = [
            await shop.get("/v1/nothing"),
            await shop.call("PATCH", "/v1/orders"),
            await Client(daemon.server, "nonsense").get("/v1/events/search"),
            await daemon.client(Scope.GATE).post("/v1/sessions", {}),
            await shop.get("/v1/nothing"),
            await Client(daemon.server, None).get("/v1/events/search"),
        ]
        assert [answer.status for answer in asked] == [404, 405, 401, 403, 404, 401]
        assert [told(answer) for answer in asked] == [(4, 3), (4, 2), (4, 1), (4, 0), (4, 0), (4, 0)]
        # They count by address alone, whatever key they bring; the key's own calls are not touched.
        assert told(await Client(daemon.server, None).get("/sandbox/payments/x")) == (4, 0)
        assert (await shop.with_token(mint(daemon, TokenKind.USER)).delete("/v1/reservations/x")).code != (
            "RATE_LIMITED"
        )


# --- what each answer tells ---


async def test_every_answer_of_a_limited_endpoint_tells_of_the_limit(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with open_limited(tmp_path) as daemon:
        event_id = await put_plan(daemon, arena_file())
        shop, buyer = daemon.client(), daemon.client().with_token(mint(daemon, TokenKind.USER, user=BUYER))
        seats = await shop.get(f"/v1/events/{event_id}/seats")
        session = {"user_id": str(BUYER)}
        once = {"idempotency-key": "a-key-of-ours"}
        answers = {
            "200": seats,
            "304": await shop.get(
                f"/v1/events/{event_id}/seats", headers={"if-none-match": seats.headers["etag"]}
            ),
            "201": await shop.post("/v1/sessions", session, headers=once),
            "422": await shop.post("/v1/sessions", {"user_id": NOTHING}, headers=once),
            "400": await shop.post("/v1/sessions", {}),
            "413": await shop.call("POST", "/v1/sessions", raw=b"x" * 70_000),
            "415": await shop.post("/v1/sessions", session, headers={"content-type": "text/plain"}),
            "401": await shop.get("/v1/orders"),
            "403": await buyer.post("/v1/seats/reserve", {}),
            "404": await buyer.get(f"/v1/orders/{NOTHING}"),
            "405": await shop.call("PUT", "/v1/orders"),
            "HEAD 200": await shop.call("HEAD", "/v1/events/search"),
        }
        for name, answer in answers.items():
            assert name.endswith(str(answer.status)), (name, answer)
            limit, remaining = told(answer)
            assert 0 <= remaining < limit
            assert (
                START_MS // 1000 + 60 <= int(answer.headers["x-ratelimit-reset"]) <= START_MS // 1000 + 3600
            )
            assert len([header for header in answer.headers if header.startswith("x-ratelimit")]) == 3


async def test_204_and_failures_of_ours_tell_of_the_limit_too(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async def fail(_: Services, __: Call[Any]) -> Reply:
        raise RuntimeError("planted")

    async def nothing(_: Services, __: Call[Any]) -> Reply:
        return Reply(status=204, content_type="")

    async with open_limited(tmp_path) as daemon:
        for function, status in ((fail, 500), (nothing, 204)):
            line = _line(function)
            answer = await Client(Server(daemon.services, Router([line])), None).get(line.path)
            assert (answer.status, told(answer)[0]) == (status, 300)


async def test_a_repetition_counts_and_tells_of_its_own_call(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with open_limited(tmp_path, sessions_per_minute=3) as daemon:
        once = {"idempotency-key": "a-key-of-ours"}
        answers = [
            await daemon.client().post("/v1/sessions", {"user_id": str(BUYER)}, headers=once)
            for _ in range(4)
        ]
        assert [answer.status for answer in answers] == [201, 201, 201, 429]
        assert [told(answer)[1] for answer in answers] == [2, 1, 0, 0]
        assert answers[1].headers["idempotency-replayed"] == "true"
        assert answers[0].body == answers[1].body
        # A refusal by the limit is no outcome: the same key answers as before once there is room again.
        mock_clock.jump(60)
        again = await daemon.client().post("/v1/sessions", {"user_id": str(BUYER)}, headers=once)
        assert (again.status, again.body) == (201, answers[0].body)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs"])
async def test_health_and_documentation_are_not_counted(
    tmp_path: Path, mock_clock: trio.testing.MockClock, path: str
) -> None:
    async with open_limited(tmp_path, other_per_minute=1) as daemon:
        for key in (None, "nonsense", None):
            answer = await Client(daemon.server, key).get(path)
            assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
        assert told(await daemon.client().get("/nothing")) == (1, 0)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_a_bad_key_at_a_health_check_is_refused_and_not_counted(
    tmp_path: Path, mock_clock: trio.testing.MockClock, path: str
) -> None:
    async with open_limited(tmp_path) as daemon:
        client = Client(daemon.server, "nonsense", listener=ListenerKind.OPERATOR_TCP)
        answer = await client.get(path)
        assert answer.status == 401
        assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


async def test_preflights_are_not_counted(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    async with open_limited(tmp_path) as daemon:
        answer = await daemon.client().call("OPTIONS", "/v1/orders")
        assert answer.status == 204
        assert "x-ratelimit-limit" not in answer.headers


async def test_turned_off_nothing_is_counted_told_or_refused(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with open_limited(tmp_path, enabled=False, search_per_minute=1) as daemon:
        answers = [await daemon.client().get("/v1/events/search") for _ in range(20)]
        assert {answer.status for answer in answers} == {200}
        assert not [name for answer in answers for name in answer.headers if "ratelimit" in name]


# --- the edges of a window, and the queue ---


async def test_a_window_ends_at_its_reset(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    async with open_limited(tmp_path, search_per_minute=1) as daemon:
        first = await daemon.client().get("/v1/events/search")
        assert int(first.headers["x-ratelimit-reset"]) == START_MS // 1000 + 60
        mock_clock.jump(59.999)
        refused = await daemon.client().get("/v1/events/search")
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        mock_clock.jump(0.001)
        answer = await daemon.client().get("/v1/events/search")
        assert answer.status == 200
        assert int(answer.headers["x-ratelimit-reset"]) == START_MS // 1000 + 120


async def _wait_in_line(daemon: Daemon, event_id: EventId, number: int) -> Client:
    user, device = UUID(int=number), f"device-{number}"
    body = {"event_id": str(event_id), "user_id": str(user), "device_fingerprint": device}
    joined = await daemon.client().post("/v1/queue/join", body)
    assert joined.status == 200, joined.body
    return daemon.client().with_token(joined.json["queue_token"], device)


async def test_a_poll_every_thirty_seconds_passes_and_each_place_has_its_own_count(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with open_limited(tmp_path) as daemon:
        event_id = await put_plan(daemon, arena_file(waiting_room=room(max_active=1, claim_seconds=3600)))
        _, *waiting = [await _wait_in_line(daemon, event_id, number) for number in (1, 2, 3)]
        for _ in range(40):
            for client in waiting:
                answer = await client.get("/v1/queue/status")
                assert (answer.status, answer.json["status"]) == (200, "QUEUED")
                assert told(answer) == (2, 1)
            mock_clock.jump(30)


async def test_a_refused_poll_never_costs_a_place(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    async with open_limited(tmp_path) as daemon:
        event_id = await put_plan(daemon, arena_file(waiting_room=room(max_active=1, claim_seconds=120)))
        first, wild, behind = [await _wait_in_line(daemon, event_id, number) for number in (1, 2, 3)]
        before = (await wild.get("/v1/queue/status")).json
        statuses = [(await wild.get("/v1/queue/status")).status for _ in range(200)]
        assert statuses == [200] + [429] * 199
        assert before["queue_position"] == 1
        assert (await behind.get("/v1/queue/status")).json["queue_position"] == 2

        assert (await first.delete("/v1/queue/leave")).status == 204
        await trio.testing.wait_all_tasks_blocked()
        # Let in meanwhile, and asking every second: one answer a minute comes through, in time to be seen.
        seen: list[str] = []
        for _ in range(119):
            mock_clock.jump(1)
            answer = await wild.get("/v1/queue/status")
            assert answer.status in {200, 429}
            if answer.status == 200:
                seen.append(answer.json["status"])
        assert seen
        assert set(seen) == {"READY"}
        assert (await behind.get("/v1/queue/status")).json["status"] == "QUEUED"


async def test_retry_after_is_when_the_next_poll_passes(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with open_limited(tmp_path) as daemon:
        event_id = await put_plan(daemon, arena_file(waiting_room=room(max_active=1)))
        _, client = [await _wait_in_line(daemon, event_id, number) for number in (1, 2)]
        answers = [await client.get("/v1/queue/status") for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        wait = int(answers[-1].headers["retry-after"])
        assert wait == 60
        mock_clock.jump(wait)
        assert (await client.get("/v1/queue/status")).status == 200


# --- what the operator sees ---


async def test_refusals_and_callers_are_among_the_metrics(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with open_limited(tmp_path, search_per_minute=1) as daemon:
        for _ in range(3):
            await daemon.client().get("/v1/events/search")
        metrics = (await daemon.operator().get("/metrics")).body.decode()
        assert 'ticketd_rate_limited_total{class="search"} 2.0' in metrics
        assert "ticketd_rate_limit_callers 1.0" in metrics


def _line(function: Any) -> Endpoint:
    return Endpoint(
        method="GET",
        path="/look",
        function=function,
        part="daemon",
        summary="Looks",
        credential=OPEN,
        rate=RateClass.OTHER,
    )
