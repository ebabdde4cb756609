"""The whole front: starting, telling listeners apart, and stopping whatever the clients do."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from quart_trio import QuartTrio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.front.raw_http import (
    BOTH_FRONTS,
    GET,
    LIMITS,
    PATIENCE_SECONDS,
    App,
    RawClient,
    RunningFront,
    serving,
)
from ticketd.front import (
    BoundAddress,
    LifespanError,
    ListenerName,
    Served,
    open_tcp_listener,
    open_unix_listener,
    serve_listeners,
)

pytestmark = BOTH_FRONTS

GATE = b"GET /gate HTTP/1.1\r\nHost: a\r\n\r\n"
SCOPE = b"GET /scope?token=secret-token HTTP/1.1\r\nHost: a\r\n\r\n"
SHUTDOWN_SECONDS = 5.0
TIMED = msgspec.structs.replace(LIMITS, shutdown_seconds=SHUTDOWN_SECONDS)


class TestListeners:
    async def test_the_app_is_told_by_which_one_a_request_came(self, tmp_path: Path) -> None:
        listeners = [
            await open_tcp_listener("127.0.0.1:0", ListenerName.PUBLIC),
            open_unix_listener(tmp_path / "operator.sock", ListenerName.OPERATOR),
        ]
        with capture_logs() as logs:
            async with serving(App(), LIMITS, listeners) as served:
                assert served.address == listeners[0].address
                public = await served.connect()
                seen = json.loads((await public.ask(SCOPE)).body)
                assert (seen["listener"], seen["peer_uid"]) == ("public", None)
                assert seen["client"] == list(public.stream.socket.getsockname())
                operator = await RawClient.connect(listeners[1].address)
                seen = json.loads((await operator.ask(SCOPE)).body)
                assert (seen["listener"], seen["client"]) == ("operator", None)
                assert isinstance(seen["peer_uid"], int)
                await operator.close()
        assert "secret-token" not in repr(logs)
        assert not (tmp_path / "operator.sock").exists()

    async def test_all_addresses_are_reported(self) -> None:
        listeners = [await open_tcp_listener("127.0.0.1:0", name) for name in ListenerName]
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            start = nursery.start
            app = App()

            async def serve(task_status: trio.TaskStatus[list[BoundAddress]]) -> None:
                await serve_listeners(
                    Served(app=app, limits=LIMITS), listeners, stop=stop, task_status=task_status
                )

            assert await start(serve) == [listener.address for listener in listeners]
            stop.set()


@contextlib.asynccontextmanager
async def serving_uncut(app: App) -> AsyncIterator[RunningFront]:
    """A front that must come to its end without cutting anything off."""
    with capture_logs() as logs:
        async with serving(app, TIMED) as served:
            yield served
    assert "front.cut_off" not in [entry["event"] for entry in logs]


class TestStopping:
    async def test_connections_without_a_request_are_closed_at_once(self, mock_clock: MockClock) -> None:
        async with serving_uncut(App()) as served:
            fresh, idle = await served.connect(), await served.connect()
            await idle.ask()
            await wait_all_tasks_blocked()
            served.stop.set()
            await served.ended.wait()
            assert await fresh.read_rest() == b""
            assert await idle.read_rest() == b""
            with pytest.raises(OSError, match="all attempts to connect"):
                await served.connect()

    async def test_a_request_in_flight_gets_its_answer_as_the_last_one(self) -> None:
        app = App()
        async with serving_uncut(app) as served:
            client = await served.connect()
            await client.send(GATE)
            await app.entered.wait()
            served.stop.set()
            await wait_all_tasks_blocked()
            assert not served.ended.is_set()
            with pytest.raises(OSError, match="all attempts to connect"):
                await served.connect()
            app.gate.set()
            found = await client.read_answer()
            assert (found.body, found.headers["connection"]) == (b"open", "close")
            assert await client.read_rest() == b""
            await served.ended.wait()

    async def test_a_request_half_sent_may_still_be_sent(self) -> None:
        async with serving_uncut(App()) as served:
            client = await served.connect()
            await client.send(GET[:5])
            await wait_all_tasks_blocked()
            served.stop.set()
            await wait_all_tasks_blocked()
            found = await client.ask(GET[5:])
            assert (found.body, found.headers["connection"]) == (b"hello", "close")
            assert await client.read_rest() == b""
            await served.ended.wait()

    async def test_a_request_in_the_pipeline_is_dropped(self) -> None:
        app = App()
        async with serving_uncut(app) as served:
            client = await served.connect()
            await client.send(GATE + GET)
            await app.entered.wait()
            served.stop.set()
            await wait_all_tasks_blocked()
            app.gate.set()
            assert (await client.read_answer()).body == b"open"
            assert await client.read_rest() == b""
            await served.ended.wait()

    async def test_an_answer_begun_before_the_stop_is_finished(self) -> None:
        app = App()
        async with serving_uncut(app) as served:
            client = await served.connect()
            await client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            await wait_all_tasks_blocked()
            served.stop.set()
            await wait_all_tasks_blocked()
            found = await client.read_answer()
            assert len(found.body) == int(found.headers["content-length"])
            assert await client.read_rest() == b""
            await served.ended.wait()

    @pytest.mark.parametrize("path", [b"/gate", b"/endless"], ids=["app too slow", "client does not read"])
    async def test_what_takes_longer_is_cut_off(self, path: bytes, mock_clock: MockClock) -> None:
        app = App()
        with capture_logs() as logs:
            async with serving(app, TIMED) as served:
                client = await served.connect()
                await client.send(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
                await app.entered.wait()
                served.stop.set()
                await wait_all_tasks_blocked()
                mock_clock.jump(SHUTDOWN_SECONDS * 0.99)
                await wait_all_tasks_blocked()
                assert not served.ended.is_set()
                mock_clock.jump(SHUTDOWN_SECONDS)
                await served.ended.wait()
                assert app.outcomes == ["cancelled"]
        assert "front.cut_off" in [entry["event"] for entry in logs]

    async def test_being_cancelled_cuts_off_everything_and_closes_the_listeners(self, tmp_path: Path) -> None:
        app, path = App(), tmp_path / "s"
        listener = open_unix_listener(path, ListenerName.OPERATOR)
        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    lambda: serve_listeners(Served(app=app, limits=LIMITS), [listener], stop=trio.Event())
                )
                client = await RawClient.connect(listener.address)
                await client.send(GATE)
                await app.entered.wait()
                nursery.cancel_scope.cancel()
            assert app.outcomes == ["cancelled"]
            assert await client.read_rest() == b""
        assert not path.exists()


class TestApp:
    async def test_quart_is_started_before_and_shut_down_after_its_requests(self) -> None:
        app, order = QuartTrio(__name__), list[str]()

        @app.before_serving
        async def start() -> None:
            order.append("start")

        @app.after_serving
        async def end() -> None:
            order.append("end")

        @app.route("/")
        async def hello() -> str:
            order.append("request")
            return "hello"

        async with serving(app) as served:
            assert order == ["start"]
            await served.assert_alive()
        assert order == ["start", "request", "end"]

    async def test_an_app_that_does_not_start_is_an_error(self, tmp_path: Path) -> None:
        app = QuartTrio(__name__)

        @app.before_serving
        async def fail() -> None:
            raise ValueError("no licence")

        listener = open_unix_listener(tmp_path / "s", ListenerName.OPERATOR)
        with pytest.raises(ExceptionGroup) as raised:
            await serve_listeners(Served(app=app, limits=LIMITS), [listener], stop=trio.Event())
        assert raised.group_contains(LifespanError, match="did not start: no licence")
        assert not (tmp_path / "s").exists()

    async def test_an_app_whose_background_fails_ends_the_front(self) -> None:
        app = QuartTrio(__name__)

        async def fail() -> None:
            raise ValueError("background")

        @app.route("/")
        async def hello() -> str:
            app.nursery.start_soon(fail)
            return "hello"

        async def ask_and_wait() -> None:
            async with serving(app) as served:
                await (await served.connect()).send(GET)
                await trio.sleep_forever()

        with pytest.raises(ExceptionGroup) as raised:
            await ask_and_wait()
        assert raised.group_contains(ValueError, match="background")

    async def test_an_app_that_does_not_end_is_cut_off(self, mock_clock: MockClock) -> None:
        class Stubborn(App):
            async def _live(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
                await super()._live(receive, send)
                self.entered.set()
                await trio.sleep_forever()

        app = Stubborn()
        with capture_logs() as logs:
            async with serving(app, TIMED) as served:
                served.stop.set()
                await app.entered.wait()
                await wait_all_tasks_blocked()
                assert not served.ended.is_set()
                mock_clock.jump(SHUTDOWN_SECONDS * 1.01)
                await served.ended.wait()
        assert "front.app_shutdown_cut_off" in [entry["event"] for entry in logs]

    async def test_an_app_without_a_lifespan_is_an_error(self) -> None:
        async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            return

        listener = await open_tcp_listener("127.0.0.1:0", ListenerName.PUBLIC)
        with pytest.raises(ExceptionGroup) as raised:
            await serve_listeners(Served(app=app, limits=LIMITS), [listener], stop=trio.Event())
        assert raised.group_contains(LifespanError, match="must support the lifespan")
