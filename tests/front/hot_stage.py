"""A front with hot endpoints behind it that do what a lane must bear, for the tests of the fast lane."""

from __future__ import annotations

import gc
from collections.abc import Awaitable

import msgspec
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from handlers.call import Answerer, ListenerKind, RawRequest, Reply
from tests.front.raw_http import LARGE, LIMITS, App, serving
from ticketd.errors import Refusal
from ticketd.front.connections import Connection

TIMED = msgspec.structs.replace(
    LIMITS,
    header_timeout_seconds=1.0,
    body_timeout_seconds=2.0,
    idle_timeout_seconds=3.0,
    send_timeout_seconds=4.0,
    shutdown_seconds=5.0,
)
MOST_BYTES = 1000
REPLIES = {
    "/hot": Reply(status=200, body=b"hot"),
    "/hot/gone": Reply(status=204, content_type=""),
    "/hot/same": Reply(status=304, content_type="", headers=(("ETag", '"1"'),)),
    "/hot/large": Reply(status=200, body=bytes(LARGE)),
    "/hot/page": Reply(status=200, body=bytes(100_000)),
    "/hot/unsafe": Reply(status=200, headers=(("Location", "/\r\nSet-Cookie: a=b"),)),
}


class Hot:
    """A direct app for all paths under ``/hot``. It notes what it was asked. ``at_once``: whether it gives replies
    at once for which nothing has to be waited for."""

    listener = ListenerKind.PUBLIC

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once
        self.asked: list[RawRequest] = []
        self.entered = trio.Event()
        self.gate = trio.Event()
        self.outcomes: list[str] = []

    def find(self, method: str, path: str) -> Answerer | None:
        return self.begin if path.startswith("/hot") else None

    def begin(self, request: RawRequest) -> Reply | Awaitable[Reply]:
        if not self.at_once or request.path in {"/hot/echo", "/hot/gate"}:
            return self.answer_request(request)
        self.asked.append(request)
        if request.path == "/hot/raise":
            raise ValueError("secret-token in the text of an error")
        return REPLIES.get(request.path, REPLIES["/hot"])

    async def answer_request(self, request: RawRequest) -> Reply:
        self.asked.append(request)
        try:
            return await self._answer(request)
        except BaseException as error:
            self.outcomes.append(type(error).__name__)
            raise

    async def _answer(self, request: RawRequest) -> Reply:
        match request.path:
            case "/hot/echo":
                try:
                    body = await request.read_body(MOST_BYTES)
                except Refusal as refusal:
                    return Reply(status=refusal.code.status, body=refusal.code.name.encode())
                return Reply(status=200, body=body)
            case "/hot/gate":
                self.entered.set()
                await self.gate.wait()
            case "/hot/raise":
                raise ValueError("secret-token in the text of an error")
            case _:
                pass
        return REPLIES.get(request.path, REPLIES["/hot"])


def get(path: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    head = "\r\n".join((f"{method} {path} HTTP/{version}", "Host: a", *lines))
    return f"{head}\r\n\r\n".encode("latin-1")


HOT_GET = get("/hot")


async def pass_time(clock: MockClock, seconds: float) -> None:
    await wait_all_tasks_blocked()
    clock.jump(seconds)
    await wait_all_tasks_blocked()


class Stage:
    """A front with both kinds of app behind it."""

    def __init__(self, *, at_once: bool) -> None:
        self.app, self.hot = App(), Hot(at_once=at_once)

    async def exchange(self, sent: bytes, *, ends: bool = False) -> bytes:
        """All that comes for ``sent`` until the front closes; with ``ends`` nothing follows what is sent."""
        async with serving(self.app, direct=self.hot) as served:
            client = await served.connect()
            await client.send(sent)
            if ends:
                await client.stream.send_eof()
            found = await client.read_rest()
            await served.assert_alive()
        return found


def connections() -> list[Connection]:
    """Those that the process still knows, waiting for the collector or not."""
    return [one for one in gc.get_objects() if isinstance(one, Connection)]
