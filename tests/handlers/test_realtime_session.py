from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from config.settings import RateLimitSettings, Settings, StorageSettings
from handlers.websocket import MessageProblem, SessionEnds
from storage.engine import Command, Transaction
from storage.schema.events import KeysChanged
from storage.schema.ids import EventId, OrderId
from storage.schema.layout import SIGNING_KEYS, SYSTEM
from storage.schema.states import OrderState, PaymentState
from tests.domain.inventory_stage import EVENT_ID, user_id
from tests.handlers.sale_stage import SaleStage, open_plan, open_sale, unknown_id
from tests.handlers.socket_stage import Socket, open_socket
from tests.support.daemon import open_daemon
from tests.support.tokens import mint
from ticketd.credentials.keyring import TokenKind
from ticketd.realtime.connection import SUBSCRIPTIONS_MAX, Connection, Listener, Speaker
from ticketd.realtime.outbox import ANSWERS_MAX, LINE_MAX
from ticketd.realtime.updates import OrderChanged

OTHER_EVENT = EventId(UUID("0190a0b0-0000-7000-8000-0000000000ff"))


async def open_user(stage: SaleStage, user: int = 1) -> Socket:
    return await open_socket(stage.daemon, mint(stage.daemon, TokenKind.USER, user=user_id(user)))


def code_of(message: dict[str, object]) -> str:
    assert message["type"] == "error", message
    error = message["error"]
    assert isinstance(error, dict)
    assert set(error) == {"code", "message", "details", "request_id", "timestamp"}
    return str(error["code"])


# --- the client's messages ------------------------------------------------------------------------------------------


async def test_a_ping_is_answered(tmp_path: Path) -> None:
    async with open_sale(tmp_path) as stage:
        socket = await open_user(stage)
        await socket.say(type="ping")
        assert await socket.take() == {"seq": 1, "type": "pong", "timestamp": "2026-07-14T03:33:20Z"}


async def test_unsubscribing_ends_what_is_told(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_sale(tmp_path) as stage:
        socket = await open_user(stage)
        await socket.subscribe(EVENT_ID)
        await stage.block("Floor/A/1")
        await socket.say(type="unsubscribe", event_id=str(EVENT_ID))
        assert await socket.take_all() == [{"seq": 2, "type": "unsubscribed", "event_id": str(EVENT_ID)}]
        await stage.block("Floor/A/2")
        await trio.sleep(1)
        assert await socket.take_all() == []
        assert stage.daemon.services.hub.feed_count == 0
        # Once more, and for an event that was never subscribed to: the same answer.
        await socket.say(type="unsubscribe", event_id=unknown_id())
        assert [message["type"] for message in await socket.take_all()] == ["unsubscribed"]


async def test_subscribing_twice_gives_a_fresh_snapshot_and_nothing_twice(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_sale(tmp_path) as stage:
        socket = await open_user(stage)
        await socket.subscribe(EVENT_ID)
        await stage.block("Floor/A/1")
        assert (await socket.subscribe(EVENT_ID))["sections"][0]["available_seats"] == 11
        await trio.sleep(1)
        await socket.take_all()
        await stage.block("Floor/A/2")
        await trio.sleep(1)
        assert [one["available_seats"] for one in await socket.take_all()] == [10]


async def test_an_event_that_is_not_there_or_not_the_tokens(tmp_path: Path) -> None:
    async with open_sale(tmp_path) as stage:
        await stage.put(open_plan(event_id=OTHER_EVENT))
        buyer = await stage.buyer(1)
        user = await open_user(stage)
        assert code_of(await user.subscribe(unknown_id())) == "EVENT_NOT_FOUND"
        assert (await user.subscribe(OTHER_EVENT))["type"] == "subscribed"
        queue = mint(stage.daemon, TokenKind.QUEUE, event=EVENT_ID)
        for token in (buyer.token, queue):
            bound = await open_socket(stage.daemon, token or "")
            refused = await bound.subscribe(OTHER_EVENT)
            assert code_of(refused) == "EVENT_MISMATCH"
            assert refused["error"]["details"] == {"event_id": str(OTHER_EVENT)}
            assert code_of(await bound.subscribe(unknown_id())) == "EVENT_MISMATCH"
            assert (await bound.subscribe(EVENT_ID))["type"] == "subscribed"


async def test_what_each_kind_of_token_is_shown(tmp_path: Path) -> None:
    async with open_sale(tmp_path) as stage:
        for kind in TokenKind:
            socket = await open_socket(stage.daemon, mint(stage.daemon, kind, event=EVENT_ID))
            shown = set(await socket.subscribe(EVENT_ID)) - {"seq", "type", "event_id"}
            wanted = (
                {"queue_position", "status", "estimated_wait"} if kind is TokenKind.QUEUE else {"sections"}
            )
            assert shown == wanted


def test_the_bounds_are_those_that_clients_are_told() -> None:
    assert (SUBSCRIPTIONS_MAX, LINE_MAX, ANSWERS_MAX) == (50, 64, 16)


async def test_so_many_subscriptions_and_no_more(tmp_path: Path) -> None:
    async with open_sale(tmp_path) as stage:
        events = [EventId(UUID(int=EVENT_ID.int + number)) for number in range(SUBSCRIPTIONS_MAX + 1)]
        for event_id in events[1:]:
            await stage.put(open_plan(event_id=event_id))
        socket = await open_user(stage)
        for event_id in events[:-1]:
            assert (await socket.subscribe(event_id))["type"] == "subscribed"
        refused = await socket.subscribe(events[-1])
        assert code_of(refused) == "INVALID_REQUEST"
        assert refused["error"]["details"] == {"max_subscriptions": SUBSCRIPTIONS_MAX}
        assert stage.daemon.services.hub.feed_count == SUBSCRIPTIONS_MAX
        # One of them again is none more; one given up makes room.
        assert (await socket.subscribe(events[0]))["type"] == "subscribed"
        await socket.say(type="unsubscribe", event_id=str(events[0]))
        await socket.take()
        assert (await socket.subscribe(events[-1]))["type"] == "subscribed"
        socket.close()
        assert (stage.daemon.services.hub.feed_count, stage.daemon.services.hub.connection_count) == (0, 0)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        "1",
        '"ping"',
        "{}",
        '{"type":"dance"}',
        '{"type":1}',
        '{"type":null}',
        '{"type":"subscribe"}',
        '{"type":"subscribe","event_id":"no"}',
        '{"type":"subscribe","event_id":null}',
        '{"type":"subscribe","event_id":7}',
        '{"type":"ping","extra":1}',
        '{"type":"ping","type":"ping"}',
        '{"type":"ping","\\u0000":1}',
        '{"type":"subscribe","event_id":"\\u0000"}',
        '{"type":"ping","n":' + "9" * 4000 + "}",
        "[" * 2000 + "]" * 2000,
        '{"type":' * 600 + "1" + "}" * 600,
    ],
)
async def test_json_that_is_no_message_is_refused_and_the_session_goes_on(tmp_path: Path, text: str) -> None:
    async with open_sale(tmp_path) as stage:
        socket = await open_user(stage)
        socket.session.receive(text)
        assert code_of(await socket.take()) == "INVALID_REQUEST"
        await socket.say(type="ping")
        assert (await socket.take())["type"] == "pong"


@pytest.mark.parametrize(
    "text", ["", " ", "ping", "{", '{"type":"ping"', "NaN", '{"a":Infinity}', '"\\ud800"', "\x00", "{'a':1}"]
)
async def test_what_is_not_json_ends_the_session(tmp_path: Path, text: str) -> None:
    async with open_sale(tmp_path) as stage:
        socket = await open_user(stage)
        with pytest.raises(SessionEnds) as ends:
            socket.session.receive(text)
        assert ends.value.code == 1003
        left = socket.session.last_message()
        assert left is not None
        assert code_of(json.loads(left)) == "INVALID_REQUEST"


@pytest.mark.parametrize(
    ("problem", "code"),
    [(MessageProblem.TOO_LARGE, "BODY_TOO_LARGE"), (MessageProblem.NOT_TEXT, "INVALID_REQUEST")],
)
async def test_a_message_that_could_not_be_taken(tmp_path: Path, problem: MessageProblem, code: str) -> None:
    async with open_sale(tmp_path) as stage:
        socket = await open_user(stage)
        socket.session.refuse_message(problem)
        left = socket.session.last_message()
        assert left is not None
        assert code_of(json.loads(left)) == code
        assert socket.session.last_message() is None


@pytest.mark.parametrize("enabled", [True, False])
async def test_messages_are_counted(autojump_clock: MockClock, tmp_path: Path, enabled: bool) -> None:
    limits = RateLimitSettings(enabled=enabled, realtime_messages_per_minute=3)
    settings = Settings(storage=StorageSettings(map_size_bytes=2**28), rate_limits=limits)
    async with open_daemon(tmp_path, settings) as daemon:
        socket = await open_socket(daemon, mint(daemon, TokenKind.USER))
        for _ in range(3):
            await socket.say(type="ping")
            assert (await socket.take())["type"] == "pong"
        await socket.say(type="ping")
        last = await socket.take()
        if not enabled:
            assert last["type"] == "pong"
            return
        assert code_of(last) == "RATE_LIMITED"
        assert last["error"]["details"] == {"class": "realtime", "limit": 3, "retry_after_seconds": 60}
        await trio.sleep(60)
        await socket.say(type="ping")
        assert (await socket.take())["type"] == "pong"


async def test_who_does_not_read_is_not_listened_to(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_sale(tmp_path) as stage:
        socket = await open_user(stage)
        said = 0

        async def shout() -> None:
            nonlocal said
            for _ in range(3 * ANSWERS_MAX):
                await socket.say(type="ping")
                said += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(shout)
            await trio.testing.wait_all_tasks_blocked()
            assert said == ANSWERS_MAX
            for _ in range(3 * ANSWERS_MAX):
                assert (await socket.take())["type"] == "pong"
                await trio.testing.wait_all_tasks_blocked()
        assert said == 3 * ANSWERS_MAX


def connections_of(stage: SaleStage, monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """The hub's side of all sessions that are opened from now on."""
    made: list[Connection] = []
    connect = stage.daemon.services.hub.connect

    def connect_and_note(listener: Listener, speaker: Speaker, ends_at_ms: int | None = None) -> Connection:
        made.append(connect(listener, speaker, ends_at_ms))
        return made[-1]

    monkeypatch.setattr(stage.daemon.services.hub, "connect", connect_and_note)
    return made


@pytest.mark.parametrize("orders", [LINE_MAX, LINE_MAX + 1])
async def test_who_cannot_be_told_everything_is_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orders: int
) -> None:
    async with open_sale(tmp_path) as stage:
        connections = connections_of(stage, monkeypatch)
        socket = await open_user(stage)
        for number in range(orders):
            connections[0].put(
                OrderChanged(
                    event_id=EVENT_ID,
                    order_id=OrderId(UUID(int=number)),
                    state=OrderState.PENDING,
                    payment_state=PaymentState.AUTHORIZED,
                    at_ms=0,
                )
            )
        if orders > LINE_MAX:
            assert socket.session.last_message() is None
            with pytest.raises(SessionEnds) as ends:
                await socket.take()
            assert ends.value.code == 1013
        else:
            assert len(await socket.take_all()) == LINE_MAX


async def test_a_failure_here_ends_the_session_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_sale(tmp_path) as stage:
        socket = await open_user(stage)

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(stage.daemon.services.hub, "begin", fail)
            assert code_of(await socket.subscribe(EVENT_ID)) == "INTERNAL_ERROR"
        monkeypatch.setattr(stage.daemon.services.hub, "seats_snapshot", fail)
        with pytest.raises(SessionEnds) as ends:
            await socket.subscribe(EVENT_ID)
        assert ends.value.code == 1011


# --- the token's end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_subscribed", [True, False])
async def test_the_session_ends_with_its_token(
    autojump_clock: MockClock, tmp_path: Path, is_subscribed: bool
) -> None:
    async with open_sale(tmp_path) as stage:
        token = mint(stage.daemon, TokenKind.USER, ttl_seconds=100)
        socket = await open_socket(stage.daemon, token)
        if is_subscribed:
            await socket.subscribe(EVENT_ID)
        began = trio.current_time()
        assert code_of(await socket.take()) == "TOKEN_EXPIRED"
        assert trio.current_time() - began == pytest.approx(100)
        with pytest.raises(SessionEnds) as ends:
            await socket.take()
        assert ends.value.code == 1008
        # Nothing is carried out any more, and nothing is told.
        await socket.say(type="ping")
        await stage.block("Floor/A/1")
        with pytest.raises(SessionEnds):
            await socket.take()
        socket.close()


async def test_a_token_in_the_last_moment(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_sale(tmp_path) as stage:
        socket = await open_socket(stage.daemon, mint(stage.daemon, TokenKind.USER, ttl_seconds=100))
        await trio.sleep(99.999)
        await socket.say(type="ping")
        assert (await socket.take())["type"] == "pong"
        await trio.sleep(0.001)
        await socket.say(type="ping")
        assert code_of(await socket.take()) == "TOKEN_EXPIRED"


async def test_a_key_that_is_revoked_ends_the_sessions_of_its_tokens(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_sale(tmp_path) as stage:
        user, access = await open_user(stage), await open_socket(stage.daemon, await stage.buyer(1))
        operator = stage.daemon.operator()
        old_kid = stage.daemon.services.keys.keyring.signing_key(TokenKind.USER).kid
        assert (await operator.post("/v1/operator/signing-keys/user/rotate")).status == 201
        assert await user.take_all() == []

        def take_away(tx: Transaction) -> None:
            SIGNING_KEYS.delete(tx, SYSTEM, TokenKind.USER.value, old_kid)
            tx.emit(SYSTEM, KeysChanged())

        await stage.daemon.services.engine.submit(Command("test", (SYSTEM,), take_away))
        assert code_of(await user.take()) == "TOKEN_INVALID"
        with pytest.raises(SessionEnds) as ends:
            await user.take()
        assert ends.value.code == 1008
        assert await access.take_all() == []


async def test_closing_is_done_once_and_leaves_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_sale(tmp_path) as stage:
        hub = stage.daemon.services.hub
        sockets = [await open_user(stage, user) for user in range(3)]
        for socket in sockets:
            await socket.subscribe(EVENT_ID)
        assert (hub.connection_count, hub.feed_count) == (3, 1)
        for socket in sockets:
            socket.close()
        assert (hub.connection_count, hub.feed_count) == (0, 0)
        await stage.block("Floor/A/1")
        await trio.sleep(1)
